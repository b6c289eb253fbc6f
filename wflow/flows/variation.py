"""The energy on a grid and its first variation, term by term: exact derivatives of the discrete energy.

F = h Σᵢ [Σ cₖ pₖ φₖ(q/pₖ) + V q + ½ q (W * q)]ᵢ with h the volume of a cell;  ξᵢ = ∂F/∂qᵢ / h. Energies of gradients
are in `shapes.py`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, diags

from wflow.arrays import Array
from wflow.flows.convolution import Convolution
from wflow.flows.reference import checked_cells, convolution, target_logs
from wflow.flows.shapes import GradientPart, ValuePart, make_shape
from wflow.flows.terms import DEEPEST, Terms, per_mass
from wflow.grid import Grid

# Below this a density counts as this inside logarithms, so that the velocity towards a vacuum is large, not infinite.
TINY = 1e-300


@dataclass(frozen=True)
class Variation:
    """F, ξ = δF/δq and δ²F/δq² (its local part) at cell averages."""

    grid: Grid
    terms: Terms
    mass: float

    @cached_property
    def log_targets(self) -> list[Array | None]:
        """log p at the cells for each density term, None where it has no target."""
        return [
            None if term.target is None else target_logs(self.grid, term.target, self.mass)[0]
            for _, term in self.terms.densities
        ]

    @cached_property
    def _static(self) -> Array:
        return checked_cells(self.grid, self.terms.potential.value)

    @cached_property
    def _convolutions(self) -> list[tuple[float, Convolution]]:
        return [(weight, convolution(self.grid, term.field)) for weight, term in self.terms.interactions]

    @cached_property
    def shapes(self) -> list[tuple[float, GradientPart | ValuePart]]:
        """The terms of gradients and of all cells."""
        return [(weight, make_shape(self.grid, term, self.mass)) for weight, term in self.terms.shapes]

    def check(self) -> None:
        """Take everything that does not change, so that bad input is refused now and not at the first step."""
        _ = self.log_targets, self._convolutions, self.shapes
        if self.terms.potential and not self.terms.potential.timed:
            _ = self._static

    def potential(self, time: float) -> Array:
        """Σ c V at the cell centres."""
        if not self.terms.potential.timed:
            return self._static
        return self.terms.potential.value(self.grid.points(), time).reshape(self.grid.cells)

    def target(self) -> Array | None:
        """p at the cells where the functional has exactly one target."""
        logs = [log for log in self.log_targets if log is not None]
        return np.exp(logs[0]) if len(logs) == 1 else None

    def energy(self, time: float, q: Array) -> float:
        """F[q]."""
        total = 0.0
        for (weight, term), logs in zip(self.terms.densities, self.log_targets, strict=True):
            total += weight * float(cell_energies(term.generator, q, logs).sum())
        if self.terms.potential:
            total += float((q * self.potential(time)).sum())
        for weight, conv in self._convolutions:
            total += 0.5 * weight * float((q * conv(q)).sum())
        total += sum(weight * part.energy(q) for weight, part in self.shapes)
        return total * self.grid.volume

    def slope(self, time: float, q: Array) -> Array:
        """ξ at the cells; q is held above 1e-300 in the density terms."""
        out = np.zeros(self.grid.cells)
        for (weight, term), u in zip(self.terms.densities, self._ratios(q), strict=True):
            with np.errstate(all="ignore"):
                out += weight * term.generator.slope(u)
        if self.terms.potential:
            out += self.potential(time)
        for weight, conv in self._convolutions:
            out += weight * conv(q)
        for weight, part in self.shapes:
            out += weight * part.slope(q)
        return out

    def stiffness(self, q: Array) -> Array:
        """Σ cₖ φₖ''(q/pₖ)/pₖ, the local part of δξ/δq."""
        out = np.zeros(self.grid.cells)
        held = np.maximum(q, TINY)
        for (weight, term), u in zip(self.terms.densities, self._ratios(q), strict=True):
            with np.errstate(all="ignore"):
                out += weight * term.generator.diffusivity(u) / held
        return out

    def along(self, q: Array, change: Array) -> Array:
        """The derivative of ξ where q changes; energies of gradients are left out."""
        out = self.stiffness(q) * change
        for weight, conv in self._convolutions:
            out += weight * conv(change)
        return out

    def curvature(self, q: Array) -> Any:
        """δξ/δq without interactions, a sparse matrix of the cells."""
        local = diags(self.stiffness(q).ravel())
        return csc_matrix(local + sum(weight * part.matrix(q) for weight, part in self.shapes))

    def _ratios(self, q: Array) -> list[Array]:
        held = np.maximum(q, TINY)
        with np.errstate(over="ignore"):
            return [held if logs is None else np.exp(np.log(held) - logs) for logs in self.log_targets]


def cell_energies(generator: Any, q: Array, logs: Array | None) -> Array:
    """p φ(q/p) in each cell; with p = 0 a cell costs nothing while it is empty."""
    out = np.zeros(q.shape)
    filled = q > 0.0
    log_u = np.log(q[filled]) - (0.0 if logs is None else logs[filled])
    with np.errstate(all="ignore"):
        parts = q[filled] * per_mass(generator, log_u)
        thin = log_u < -DEEPEST
        if thin.any():  # there φ(u)/u may overflow, p φ(u) does not: a cell all but empty
            p = 1.0 if logs is None else np.exp(logs[filled][thin])
            parts[thin] = p * generator.value(np.exp(log_u[thin]))
    out[filled] = parts
    if not filled.all():
        empty = ~filled
        p = np.ones(q.shape)[empty] if logs is None else np.exp(logs[empty])
        with np.errstate(all="ignore"):
            at_zero = float(generator.value(np.zeros(1))[0])
        out[empty] = np.where(p > 0.0, p * at_zero, 0.0) if at_zero != 0.0 else 0.0
    return out
