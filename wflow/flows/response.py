"""An energy of the masses of cells, and how they follow from what acts on them, for the JKO step on grids of more than
one axis."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.flows.terms import diffusivity, slope_of
from wflow.flows.variation import Variation, cell_energies
from wflow.functionals import Generator, Logarithmic
from wflow.functionals.powers import Weighted

LOGS = np.linspace(-1400.0, 1400.0, 14001)  # of ratios b/π: flows take log π down to -1290
LARGEST = 600.0  # log of the largest mass: what is multiplied with it stays within float64
BISECTIONS = 20  # of 2000 in log b, to 0.002, from where Newton's method converges
POLISHED = 6, 1e-13  # Newton's iterations at most, and the last change that matters


@dataclass(frozen=True, eq=False)
class Local:
    """An energy Σ Σₖ πₖ φₖ(b/πₖ) + V b of masses b in cells, with πₖ = exp(`logs`[k])."""

    generators: tuple[Generator, ...]
    logs: tuple[Array, ...]
    shift: Array

    @cached_property
    def open(self) -> Any:
        """Where masses may be."""
        return np.logical_and.reduce([one > -np.inf for one in self.logs])

    @property
    def reference(self) -> Array:
        """log π₁ where masses may be, 0 elsewhere: masses beside it are smoother than alone."""
        return self._held[0]

    @cached_property
    def _held(self) -> list[Array]:
        return [np.where(self.open, one, 0.0) for one in self.logs]

    def value(self, b: Array) -> float:
        """Its value."""
        parts = zip(self.generators, self.logs, strict=True)
        return sum((float(cell_energies(g, b, one).sum()) for g, one in parts), start=float(np.sum(self.shift * b)))

    def slope(self, log_b: Array) -> Array:
        """Σₖ φₖ'(b/πₖ): its slope where V = 0."""
        return self._sum(slope_of, log_b)

    def steepness(self, log_b: Array) -> Array:
        """b times its second derivative."""
        return self._sum(diffusivity, log_b)

    def _sum(self, function: Any, log_b: Array) -> Array:
        total = np.zeros(np.broadcast_shapes(log_b.shape, self.shift.shape))
        for generator, one in zip(self.generators, self._held, strict=True):
            total = total + function(generator, log_b - one)
        return total


@dataclass(frozen=True, eq=False)
class Response:
    """Masses b by `share` log b + `theta` ∂F/∂b = w, F the energy; none where it has no room for any."""

    energy: Local
    theta: float
    share: float = 0.5

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """w for ratios b/π, where there is one π."""
        with np.errstate(all="ignore"):
            levels = self.share * LOGS + self.theta * slope_of(self.energy.generators[0], LOGS)
        levels = np.where(np.isfinite(levels), levels, -np.inf)
        good = (levels > -np.inf) & (levels > np.append(-np.inf, np.maximum.accumulate(levels)[:-1]))
        return levels[good], LOGS[good]

    def masses(self, w: Array) -> Array:
        """The masses; inf above exp(`LARGEST`)."""
        with np.errstate(all="ignore"):
            w = w - self.theta * self.energy.shift
            log_b, low, high = self._start(w)
            for _ in range(POLISHED[0]):
                step = np.clip(np.nan_to_num((w - self._acting(log_b)) / self._steepness(log_b)), -0.5, 0.5)
                log_b = np.clip(log_b + step, low, high)
                if np.abs(step).max() < POLISHED[1]:
                    break
            found = np.where((log_b < high) & (log_b < LARGEST), np.exp(log_b), np.inf)
        return np.where(self.energy.open, found, 0.0)

    def _start(self, w: Array) -> tuple[Array, Array, Array]:
        """log b to begin from, and the range that it is held in."""
        if len(self.energy.logs) == 1:
            (levels, logs), base = self._table, self.energy.reference
            return base + np.interp(w - self.share * base, levels, logs), base + logs[0], base + logs[-1]
        low, high = np.full(w.shape, LOGS[0]), np.full(w.shape, LARGEST + 1.0)
        ends = low, high
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            above = ~(self._acting(middle) <= w)  # not a number beyond float64
            high, low = np.where(above, middle, high), np.where(above, low, middle)
        return 0.5 * (low + high), *ends

    def slope(self, masses: Array) -> Array:
        """d mass/dw."""
        with np.errstate(all="ignore"):
            return np.where(masses > 0.0, masses / self._steepness(np.log(masses)), 0.0)

    def force(self, masses: Array) -> Array:
        """`theta` ∂F/∂b of given masses."""
        with np.errstate(all="ignore"):
            acting = self.theta * (self.energy.slope(np.log(masses)) + self.energy.shift)
            return np.where(self.energy.open, acting, 0.0)

    def _acting(self, log_b: Array) -> Array:
        return self.share * log_b + self.theta * self.energy.slope(log_b)

    def _steepness(self, log_b: Array) -> Array:
        return self.share + self.theta * self.energy.steepness(log_b)


def local_energy(variation: Variation, time: float) -> Local:
    """The density terms and potentials of a functional. Reverse KL divergences, entropies and potentials beside them
    are one, from the product of their targets and exp(-V/T); others are one for each target."""
    terms, grid = variation.terms, variation.grid
    shift = variation.potential(time) if terms.potential else np.zeros(grid.cells)
    logs = [np.zeros(grid.cells) if one is None else one for one in variation.log_targets]
    rows = [(weight, term.generator, one) for (weight, term), one in zip(terms.densities, logs, strict=True)]
    parts: list[tuple[Weighted, Array]] = []
    if linear := [row for row in rows if isinstance(row[1], Logarithmic)]:
        heat = sum(weight for weight, _, _ in linear)
        mixed = sum((weight * one for weight, _, one in linear), start=-shift) / heat
        parts, shift = [(Weighted((heat,), (Logarithmic(),)), mixed)], np.zeros(grid.cells)
    for weight, generator, one in rows:
        if isinstance(generator, Logarithmic):
            continue
        same = [k for k, (_, other) in enumerate(parts) if np.array_equal(one, other)]
        if same:
            whole = parts[same[0]][0]
            parts[same[0]] = Weighted((*whole.weights, weight), (*whole.parts, generator)), one
        else:
            parts.append((Weighted((weight,), (generator,)), one))
    parts = parts or [(Weighted((0.0,), (Logarithmic(),)), np.zeros(grid.cells))]
    log_volume = np.log(grid.volume)
    return Local(tuple(g for g, _ in parts), tuple(one + log_volume for _, one in parts), shift)
