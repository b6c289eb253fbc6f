"""Terms of a functional on intervals between nodes of a line, each with its derivatives.

Nodes y `(n + 1,)` are counted in cells, masses m `(n,)` stay. A density term is the divergence of the masses from those
of its reference between the nodes,

    F = Σ πᵢ φ(mᵢ/πᵢ),   πᵢ = ∫ p over interval i,

which is F of the density that is p times a constant on each interval. With the edges of the cells as nodes this is the
energy of the grid, and sharing the masses out over cells never raises it (Jensen): both are why the energy of a JKO
step falls on the grid too. A vacuum costs φ(0) ∫ p, here taken off where it is finite.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.flows.pairs import mean_force, mean_value
from wflow.flows.terms import diffusivity, per_mass, pressure_per_mass
from wflow.functionals import Generator
from wflow.kernels import quantiles

THIRD = np.polynomial.legendre.leggauss(3)
PLACES, SHARES = 0.5 * (THIRD[0] + 1.0), 0.5 * THIRD[1]
STEEPEST, BENT = 700.0, 200.0


@dataclass(frozen=True)
class Blocks:
    """Derivatives of Σ Eᵢ(yᵢ, yᵢ₊₁): by the left and the right node `(n,)`, and second ones.

    Where a term is asked for `convex` blocks, it leaves out of the second ones what could make them indefinite.
    """

    left: Array
    right: Array
    left_left: Array
    left_right: Array
    right_right: Array

    def __add__(self, other: "Blocks") -> "Blocks":
        return Blocks(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def scaled(self, factor: float) -> "Blocks":
        """All of them times a factor."""
        return Blocks(*(factor * getattr(self, name) for name in self.__dataclass_fields__))


def gathered(left: Array, right: Array) -> Array:
    """What intervals give to their left and right nodes, at the nodes `(n + 1,)`."""
    return np.append(left, 0.0) + np.insert(right, 0, 0.0)


@dataclass(frozen=True, eq=False)
class Divergence:
    """weight · Σ π φ(m/π) with the reference of `table`, see `kernels.quantiles`."""

    weight: float
    generator: Generator
    table: Array

    @cached_property
    def vacuum(self) -> float:
        """φ(0), maybe inf."""
        with np.errstate(all="ignore"):
            return float(self.generator.value(np.zeros(1))[0])

    @property
    def base(self) -> float:
        """φ(0), and 0 where that is inf."""
        return self.vacuum if np.isfinite(self.vacuum) else 0.0

    def log_masses(self, y: Array) -> Array:
        """log of the reference mass of each interval."""
        out = np.empty(y.size - 1)
        quantiles.log_masses(y, self.table, out)
        return out

    def _logs(self, y: Array, m: Array) -> tuple[Array, Array]:
        log_mass = self.log_masses(y)
        with np.errstate(divide="ignore"):
            return log_mass, np.log(m) - log_mass

    def value(self, y: Array, m: Array) -> float:
        """F, without what the vacuum costs."""
        log_mass, log_u = self._logs(y, m)
        with np.errstate(all="ignore"):
            each = m * per_mass(self.generator, log_u)
            if self.base != 0.0:
                each = each - self.base * np.exp(log_mass)
        return self.weight * float(np.sum(np.where(m > 0.0, each, 0.0)))

    def blocks(self, y: Array, m: Array, convex: bool = False) -> Blocks:
        """dE = -Π dπ with Π = u φ' - φ + φ(0), up to a constant where φ(0) = ∞, and dΠ/dπ = -Φ' u/π; the turn of p is
        what may be indefinite."""
        log_mass, log_u = self._logs(y, m)
        log_p, turn = np.empty(y.size), np.empty(y.size)
        quantiles.log_values(y, self.table, log_p, turn)
        full = m > 0.0
        if convex:
            turn[:] = 0.0
        with np.errstate(all="ignore"):
            pressure = pressure_per_mass(self.generator, log_u)
            push = [np.where(full, np.exp(log_u + logs) * pressure, 0.0) for logs in (log_p[:-1], log_p[1:])]
            stiff = diffusivity(self.generator, log_u)
            second = [
                np.where(full, stiff * np.exp(log_u - log_mass + one + other), 0.0)
                for one, other in ((log_p[:-1],) * 2, (log_p[:-1], log_p[1:]), (log_p[1:],) * 2)
            ]
        return Blocks(
            push[0],
            -push[1],
            second[0] + push[0] * turn[:-1],
            -second[1],
            second[2] - push[1] * turn[1:],
        ).scaled(self.weight)


@dataclass(frozen=True, eq=False)
class Field:
    """Σ mᵢ times the mean of V over interval i, by Gauss points; positions are lower + h y."""

    potential: Any
    time: float
    lower: float
    spacing: float

    def _points(self, y: Array) -> Array:
        return (self.lower + self.spacing * (y[:-1] + PLACES[:, None] * np.diff(y))).reshape(-1, 1)

    def value(self, y: Array, m: Array) -> float:
        """∫ V q."""
        values = self.potential.value(self._points(y), self.time).reshape(3, -1)
        return float(SHARES @ values @ m)

    def blocks(self, y: Array, m: Array, convex: bool = False) -> Blocks:
        """By the chain rule at the Gauss points."""
        x, h = self._points(y), self.spacing
        first = h * SHARES[:, None] * self.potential.gradient(x, self.time).reshape(3, -1) * m
        second = h * h * SHARES[:, None] * self.potential.hessian(x, self.time).reshape(3, -1) * m
        second = np.maximum(second, 0.0) if convex else second
        near, far = 1.0 - PLACES, PLACES
        return Blocks(near @ first, far @ first, near**2 @ second, (near * far) @ second, far**2 @ second)


@dataclass(frozen=True, eq=False)
class Pairs:
    """½ Σ mᵢ mⱼ W(xᵢ - xⱼ) between the midpoints of the intervals; second derivatives are a dense matrix."""

    weight: float
    field: Any
    lower: float
    spacing: float

    def _middles(self, y: Array) -> Array:
        return (self.lower + 0.5 * self.spacing * (y[:-1] + y[1:])).reshape(-1, 1)

    def value(self, y: Array, m: Array) -> float:
        """½∬ W q q."""
        return 0.5 * self.weight * float(m @ mean_value(self.field, self._middles(y), m, None))

    def force(self, y: Array, m: Array) -> Array:
        """The derivative by either node of each interval `(n,)`."""
        pull = mean_force(self.field, self._middles(y), m, None)[:, 0]
        return 0.5 * self.weight * self.spacing * m * pull

    def matrix(self, y: Array, m: Array) -> Array:
        """Second derivatives by the two nodes of two intervals, alike for all four pairs of nodes `(n, n)`."""
        x = self._middles(y)
        bend = self.field.hessian((x - x.T).reshape(-1, 1)).reshape(m.size, m.size)
        bend = np.where(np.isfinite(bend), bend, 0.0) * np.outer(m, m)
        np.fill_diagonal(bend, 0.0)
        return 0.25 * self.weight * self.spacing**2 * (np.diag(bend.sum(axis=1)) - bend)


def log_table(log_cells: Array, log_faces: Array) -> Array:
    """Rows (a, d, c) `(cells, 3)`: a continuous log p with the mass of every cell as finite volumes count it.

    That mass is p at the centre, not the mean of p; their ratio is a smooth factor, 1 - O(h²), which is spread over the
    faces before what is left of it bends log p within its cell. Where log p turns by more than e^700 between centre
    and face, or would have to bend by more than e^50 within, the mass of the cell gives way.
    """
    a, b = (np.clip(face, log_cells - STEEPEST, log_cells + STEEPEST) for face in (log_faces[:-1], log_faces[1:]))
    bend = np.clip(4.0 * log_cells - 2.0 * (a + b), -BENT, BENT)
    excess = -_log_means(a - log_cells, b - a, bend)[0]
    at_faces = np.concatenate([excess[:1], 0.5 * (excess[:-1] + excess[1:]), excess[-1:]])
    a, b = a + at_faces[:-1], b + at_faces[1:]
    for _ in range(100):
        log_mean, middle = _log_means(a - log_cells, b - a, bend)
        before, bend = bend, np.clip(bend - np.clip(log_mean / middle, -4.0, 4.0), -BENT, BENT)
        if np.all((np.abs(log_mean) <= 1e-15) | (bend == before)):
            break
    return np.ascontiguousarray(np.stack([a, b - a, bend], axis=1))


def _log_means(a: Array, d: Array, c: Array) -> tuple[Array, Array]:
    """log of the mean of exp(a + d s + c s (1 - s)) over a cell, and its derivative by c."""
    parts = max(1, int(np.ceil(np.max(np.abs(d) + np.abs(c)) / quantiles.STEEP)))
    s = ((np.arange(parts)[:, None] + quantiles.POINTS) / parts).reshape(-1, 1)
    logs = a + d * s + c * s * (1.0 - s)
    top = logs.max(axis=0)
    weights = np.tile(quantiles.WEIGHTS / parts, parts)[:, None] * np.exp(logs - top)
    total = weights.sum(axis=0)
    return top + np.log(total), np.sum(weights * s * (1.0 - s), axis=0) / total
