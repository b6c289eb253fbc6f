"""The density part of a flow on a grid as one filtration equation, ∂q/∂t = ∇·(p ∇Φ(u)), u = q/p.

Two-point flux with p at the cell centre in the cell and p at the face centre on the face: conserves mass, keeps u =
const to the last bit, and decreases ∫ p φ(u) for every convex φ. Entropy plus potentials and interactions, and sums
of reverse KL divergences, are ε times the reverse KL divergence to p ∝ exp((Σ cₖ log pₖ - V - W * q)/ε).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.boxes import face_factors, kernel_faces, on_faces, padded, wraps
from wflow.flows.convolution import Convolution, convolution
from wflow.flows.terms import Terms
from wflow.functionals import Generator
from wflow.functionals.powers import Weighted
from wflow.grid import Grid
from wflow.kernels import stencil

# Weights below exp(-690) of the largest are held there: float64 ends at exp(-708), and sums of them must still add up.
LOWEST = -690.0
# Where only ratios of weights matter, the largest may be exp(600) instead of 1: then w = q/p, down to exp(-600) q,
# and sums of squares q²/p still have all their digits.
LIFT = 600.0
STEEP = (0.8, 1.6)


@dataclass(frozen=True, eq=False)
class Weights:
    """p in the cells and p/h² on the faces, in the kernels' three-dimensional form; cells with p = 0 are walls.

    `floor` is where p is held in cells that lie deeper.
    """

    cells: Array
    faces: tuple[Array, Array, Array]
    wraps: tuple[bool, bool, bool]
    floor: float = float(np.exp(LOWEST))

    @cached_property
    def inverse(self) -> Array:
        """1/p, and 0 in walls."""
        return np.divide(1.0, self.cells, out=np.zeros_like(self.cells), where=self.cells > 0.0)

    @cached_property
    def outflow(self) -> Array:
        """Σ_f p_f/h² over the faces of a cell, over p."""
        out = np.empty(self.cells.shape)
        stencil.diagonal(np.zeros(self.cells.shape), *self.faces, self.wraps, out)
        return out * self.inverse

    @cached_property
    def walls(self) -> bool:
        """Whether p = 0 in some cell."""
        return bool(self.cells.min() == 0.0)

    @cached_property
    def leaks(self) -> bool:
        """Whether some wall is absorbing."""
        ends = zip(self.faces, self.wraps, (0, 1, 2), strict=True)
        return any(not wrap and (np.take(k, 0, a).any() or np.take(k, -1, a).any()) for k, wrap, a in ends)

    @cached_property
    def radius(self) -> float:
        """Gershgorin's bound of the spectral radius of u ↦ -∇·(p∇u)/p."""
        return 2.0 * float(self.outflow.max())


@dataclass(frozen=True, eq=False)
class Reference:
    """Φ and log p; `fields` are what log p owes to the time, `convolutions` what it owes to q (cells first, then
    faces)."""

    grid: Grid
    generator: Generator
    log_cells: Array
    log_faces: list[Array]
    fields: Any
    convolutions: tuple[tuple[float, tuple[Convolution, ...]], ...]
    fixed: Weights | None

    @property
    def linear(self) -> bool:
        """Whether the flow is linear: Φ = u and p does not depend on q."""
        return self.fields is not None and not self.convolutions

    def weights(self, time: float, values: Array) -> Weights:
        """The weights at a time and a density."""
        if self.fixed is not None:
            return self.fixed
        cells, faces = self.log_cells, list(self.log_faces)
        if self.fields is not None and self.fields.timed:
            cells = cells - self.fields.value(self.grid.points(), time).reshape(self.grid.cells)
            extra = on_faces(self.grid, lambda x: self.fields.value(x, time))
            faces = [face - more for face, more in zip(faces, extra, strict=True)]
        for weight, (at_cells, *at_faces) in self.convolutions:
            cells = cells - weight * at_cells(values)
            faces = [face - weight * at(values) for face, at in zip(faces, at_faces, strict=True)]
        return exponentiate(self.grid, cells, faces, liftable=not self.convolutions)


def exponentiate(grid: Grid, cells: Array, faces: list[Array], liftable: bool = False) -> Weights:
    """Weights from log p, scaled to a largest cell value of 1, or of up to exp(600) where that is `liftable` and lets
    deeper cells in."""
    top = cells.max()
    slowed = [_slowed(grid, face, cells, axis) for axis, face in enumerate(faces)]
    if liftable:
        deepest = min(float(logs.min(where=logs > -np.inf, initial=top)) for logs in (cells, *slowed))
        # One more, so that no cell within reach stands on the floor itself, where spectra make it a wall.
        top -= np.clip(top - deepest + LOWEST + 1.0, 0.0, LIFT)
    p = _held_exp(cells - top)
    k = [_held_exp(face - top) * face_factors(grid, axis) for axis, face in enumerate(slowed)]
    for axis, face in enumerate(k):  # a wall is closed on all its faces, also where p at the face is not 0
        _close(grid, face, p == 0.0, axis)
        if grid.periodic[axis]:
            _join(face, axis)
    return Weights(padded(grid, p), kernel_faces(grid, k), wraps(grid))


def _slowed(grid: Grid, face: Array, cells: Array, axis: int) -> Array:
    """log p at the faces of an axis, turned into another mean of p where p changes too much from cell to cell.

    With 2δ the change of log p from cell to cell, p at the face carries mass downhill sinh δ/δ times as fast as the
    drift: right while δ is small. Between δ = 0.8 and 1.6 it turns into the weight of Scharfetter & Gummel, IEEE Trans.
    Electron Devices 16 (1969) 64, δ/sinh δ times the geometric mean of the two cells, which has the right speed at any
    δ, but four digits less in a spectral gap. Measured: from 0.5 on the gap of a double well at ε = 0.1 on 40 cells is
    wrong by 2e-3, not 1e-5; only from 1 on, a mean under x²/2 at ε = 0.01 on 200 cells by 0.12 instead of 5e-3.
    """
    ends = np.take(cells, [-1], axis), np.take(cells, [0], axis)
    low, high = np.concatenate([ends[0], cells], axis), np.concatenate([cells, ends[1]], axis)
    with np.errstate(invalid="ignore"):
        delta = 0.5 * np.abs(high - low)
    delta = np.where(np.isfinite(delta), delta, 0.0)
    if not grid.periodic[axis]:
        np.moveaxis(delta, axis, 0)[[0, -1]] = 0.0  # walls
    if delta.max() <= STEEP[0]:
        return face
    share = np.clip((delta - STEEP[0]) / (STEEP[1] - STEEP[0]), 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    held = np.maximum(delta, STEEP[0])
    gummel = 0.5 * (low + high) + np.log(2.0 * held) - held - np.log1p(-np.exp(-2.0 * held))
    return np.where(share > 0.0, (1.0 - share) * face + share * gummel, face)


def _held_exp(logs: Array) -> Array:
    return np.where(logs > -np.inf, np.exp(np.clip(logs, LOWEST, -LOWEST)), 0.0)


def _close(grid: Grid, face: Array, walls: Array, axis: int) -> None:
    if not walls.any():
        return
    lower, upper = [slice(None)] * grid.dim, [slice(None)] * grid.dim
    lower[axis], upper[axis] = slice(0, -1), slice(1, None)
    face[tuple(lower)] = np.where(walls, 0.0, face[tuple(lower)])
    face[tuple(upper)] = np.where(walls, 0.0, face[tuple(upper)])


def _join(face: Array, axis: int) -> None:
    """The first and the last face of a periodic axis are one, also where p itself is not periodic: their geometric
    mean."""
    seam = np.sqrt(np.take(face, 0, axis)) * np.sqrt(np.take(face, -1, axis))
    for end in (0, -1):
        index: list[Any] = [slice(None)] * face.ndim
        index[axis] = end
        face[tuple(index)] = seam


def reference(grid: Grid, terms: Terms, mass: float) -> Reference | None:
    """The filtration form of the density terms, or None where they have none."""
    if terms.logarithmic:
        return _linear(grid, terms)
    targets = [term.target for _, term in terms.densities]
    alike = all(t is targets[0] or t == targets[0] for t in targets)
    if not targets or terms.potential or terms.interactions or terms.shapes or not alike:
        return None
    weights = tuple(weight for weight, _ in terms.densities)
    generators = tuple(term.generator for _, term in terms.densities)
    generator = generators[0] if weights == (1.0,) else Weighted(weights, generators)
    cells, faces = np.zeros(grid.cells), [np.zeros(grid.face_shape(a)) for a in range(grid.dim)]
    if targets[0] is not None:
        cells, faces = target_logs(grid, targets[0], mass)
    # p itself, not p up to a factor, enters a nonlinear Φ(q/p).
    top = float(cells.max())
    fixed = exponentiate(grid, cells, faces)
    scale = np.exp(top)
    fixed = Weights(fixed.cells * scale, tuple(k * scale for k in fixed.faces), fixed.wraps, fixed.floor * scale)
    return Reference(grid, generator, cells, faces, None, (), fixed)


def _linear(grid: Grid, terms: Terms) -> Reference:
    epsilon = terms.temperature
    cells, faces = np.zeros(grid.cells), [np.zeros(grid.face_shape(a)) for a in range(grid.dim)]
    for weight, term in terms.densities:
        if term.target is not None:
            at_cells, at_faces = target_logs(grid, term.target, 1.0)
            cells = cells + weight / epsilon * at_cells
            faces = [face + weight / epsilon * more for face, more in zip(faces, at_faces, strict=True)]
    potential = _Scaled(terms.potential, 1.0 / epsilon)
    if terms.potential and not terms.potential.timed:
        cells = cells - checked_cells(grid, potential.value)
        faces = [face - more for face, more in zip(faces, on_faces(grid, potential.value), strict=True)]
    convolutions = tuple((weight / epsilon, convolutions_of(grid, term.field)) for weight, term in terms.interactions)
    fixed = None if potential.timed or convolutions else exponentiate(grid, cells, faces, liftable=True)
    generator: Generator = Weighted((epsilon,), (terms.densities[0][1].generator,))
    return Reference(grid, generator, cells, faces, potential, convolutions, fixed)


@dataclass(frozen=True)
class _Scaled:
    fields: Any
    factor: float

    @property
    def timed(self) -> bool:
        return bool(self.fields.timed)

    def value(self, x: Array, t: float = 0.0) -> Array:
        return self.factor * self.fields.value(x, t)


def convolutions_of(grid: Grid, field: Any) -> tuple[Convolution, ...]:
    """W * q at the cells, then at the faces of each axis."""
    return (convolution(grid, field), *(convolution(grid, field, axis) for axis in range(grid.dim)))


def target_logs(grid: Grid, target: Any, mass: float) -> tuple[Array, list[Array]]:
    """log p at the cells and at the faces, scaled so that the cells hold `mass`; -inf where p = 0."""
    cells = target.log_density(grid.points()).reshape(grid.cells)
    if np.isnan(cells).any() or np.any(cells == np.inf):
        raise InputError(f"log p is not a number somewhere on the grid: {target!r}")
    if not np.any(cells > -np.inf):
        raise InputError(f"the target is zero in every cell of the grid: {target!r}; move or enlarge the box")
    top = cells.max()
    norm = top + np.log(np.exp(cells - top).sum() * grid.volume) - np.log(mass)
    return cells - norm, [face - norm for face in on_faces(grid, target.log_density)]


def checked_cells(grid: Grid, value: Callable[[Array], Array]) -> Array:
    """A potential at the cell centres; `InputError` where it is not finite."""
    cells = value(grid.points()).reshape(grid.cells)
    if not np.all(np.isfinite(cells)):
        where = grid.points()[int(np.argmin(np.isfinite(cells.ravel())))]
        raise InputError(f"the potential is not finite at {where.tolist()}; keep the box away from its singularity")
    return cells
