"""The JKO step of a density on the line, in its quantiles, where the Wasserstein metric is flat.

A density is kept as nodes and the masses between them, which do not change: the density is p times a constant on each
interval (p = 1 without a target). Squared distances of such quantiles, linear in the level, are

    W2² = Σ mᵢ (dl² + dl dr + dr²)/3,   dl, dr the moves of the two ends of interval i,

exact for densities constant on intervals. The step minimises W2²/2τ + F over rising nodes by Newton with a tridiagonal
Hessian (interactions add a dense one, taken in by conjugate gradients). Walls hold the outermost nodes. Nodes never
meet: a step along the line stops short of that, and where the minimiser has them meet (pure potentials, pressures
bounded above, closing gaps) a vanishing logarithmic barrier leads there.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.flows.line import Blocks, Divergence, Field, Pairs, gathered
from wflow.linalg.banded import descent, solve_positive

EPS = float(np.finfo(float).eps)
RIDGES = (0.0, 1e-12, 1e-8, 1e-4)  # of the diagonal, where rounding leaves a convex matrix not positive


@dataclass(frozen=True, eq=False)
class Energy:
    """The terms of F on the line, in units where a cell has length one."""

    terms: tuple[Divergence | Field, ...]
    pairs: tuple[Pairs, ...]

    def value(self, y: Array, m: Array) -> float:
        """F, without what the vacuum costs."""
        return sum(term.value(y, m) for term in (*self.terms, *self.pairs))

    def empty(self, walls: tuple[float, float]) -> float:
        """What a vacuum from wall to wall costs in the terms where that is finite: `value` plus this is F."""
        finite = (term for term in self.terms if isinstance(term, Divergence) and term.base != 0.0)
        return sum(term.weight * term.base * float(np.exp(term.log_masses(np.array(walls))[0])) for term in finite)

    @cached_property
    def filling(self) -> tuple[Divergence, ...]:
        """The terms of which a vacuum has infinite energy."""
        return tuple(t for t in self.terms if isinstance(t, Divergence) and not np.isfinite(t.vacuum))

    @cached_property
    def fills(self) -> bool:
        """Whether a vacuum has infinite energy, so that the quantiles reach from wall to wall."""
        return bool(self.filling)


@dataclass(frozen=True, eq=False)
class Step:
    """½ W2² + scale F in units of cells, as `linalg.proximal.minimise` takes it: one row of nodes.

    `left` and `right` `(n,)` are where the ends of the intervals come from; `walls` hold the outermost nodes. Where
    second derivatives are not positive, those of each interval are lifted, or, not `turning`, go without those of p.
    """

    energy: Energy
    masses: Array
    left: Array
    right: Array
    scale: float
    walls: tuple[float, float]
    rtol: float
    barrier: float = 0.0
    turning: bool = True
    last: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def length(self) -> float:
        """The length of the box."""
        return self.walls[1] - self.walls[0]

    @cached_property
    def _guards(self) -> Array:
        return self.barrier * np.maximum(self.masses, self.masses.mean())

    def value(self, rows: Array) -> Array:
        y = rows[0]
        gaps = np.diff(y)
        worn = 8.0 * EPS * (1.0 + self.walls[1])
        if not np.all(gaps > 0.0) or y[0] < self.walls[0] - worn or y[-1] > self.walls[1] + worn:
            return np.array([np.inf])
        dl, dr = y[:-1] - self.left, y[1:] - self.right
        total = float(self.masses @ (dl * dl + dl * dr + dr * dr)) / 6.0
        if self.barrier > 0.0:
            total -= float(self._guards @ np.log(gaps))
        return np.array([total + self.scale * self.energy.value(y, self.masses)])

    def _at(self, rows: Array) -> Blocks:
        """The blocks at the rows of one iteration, which asks for them up to five times."""
        if self.last.get("rows") is not rows:
            self.last.update(rows=rows, blocks=self._blocks(rows[0]))
        return self.last["blocks"]

    def _blocks(self, y: Array, convex: bool = False) -> Blocks:
        m, dl, dr = self.masses, y[:-1] - self.left, y[1:] - self.right
        total = Blocks(m * (2.0 * dl + dr) / 6.0, m * (dl + 2.0 * dr) / 6.0, m / 3.0, m / 6.0, m / 3.0)
        for term in self.energy.terms:
            total = total + term.blocks(y, m, convex).scaled(self.scale)
        for pair in self.energy.pairs:
            force = self.scale * pair.force(y, m)
            total = total + Blocks(force, force, 0.0 * m, 0.0 * m, 0.0 * m)
        if self.barrier > 0.0:
            push = self._guards / np.diff(y)
            second = push / np.diff(y)
            total = total + Blocks(push, -push, second, -second, second)
        return total

    def slope(self, rows: Array) -> Array:
        blocks = self._at(rows)
        return gathered(blocks.left, blocks.right)[None]

    def direction(self, rows: Array, slope: Array) -> Array:
        y, g = rows[0], slope[0]
        move = self._descent(y, g, self._at(rows), 0.0)
        if move is None:
            convex = lifted(self._at(rows), self.masses / 6.0) if self.turning else self._blocks(y, convex=True)
            tried = (self._descent(y, g, convex, ridge) for ridge in RIDGES)
            move = next((found for found in tried if found is not None), -g)
        return move[None]

    def _descent(self, y: Array, g: Array, blocks: Blocks, ridge: float) -> Array | None:
        """Newton's direction with the walls kept; None where the tridiagonal part is not positive."""
        diag, off = gathered(blocks.left_left, blocks.right_right) * (1.0 + ridge), blocks.left_right
        matrices = [self.scale * pair.matrix(y, self.masses) for pair in self.energy.pairs]
        move = self._solve(y, g, diag, off, self._held(y, g), matrices)
        if move is None:
            return None
        # A wall that the step would cross holds the node from here on: the rest follows suit.
        low, high = y[0] + move[0] < self.walls[0], y[-1] + move[-1] > self.walls[1]
        if low or high:
            held = dict(self._held(y, g))
            held |= {0: self.walls[0] - y[0]} if low else {}
            held |= {y.size - 1: self.walls[1] - y[-1]} if high else {}
            move = self._solve(y, g, diag, off, held, matrices)
        return move

    def _held(self, y: Array, g: Array) -> dict[int, float]:
        """Nodes that stay at a wall."""
        held = {}
        if y[0] <= self.walls[0] and (g[0] > 0.0 or self.energy.fills):
            held[0] = 0.0
        if y[-1] >= self.walls[1] and (g[-1] < 0.0 or self.energy.fills):
            held[y.size - 1] = 0.0
        return held

    def _solve(
        self, y: Array, g: Array, diag: Array, off: Array, held: dict[int, float], matrices: list[Array]
    ) -> Array | None:
        fixed, free = np.zeros(y.size), np.ones(y.size)
        for node, move in held.items():
            fixed[node], free[node] = move, 0.0

        def product(v: Array) -> Array:
            sums, total = v[:-1] + v[1:], diag * v
            total[:-1] += off * v[1:]
            total[1:] += off * v[:-1]
            for matrix in matrices:
                pulled = matrix @ sums
                total += gathered(pulled, pulled)
            return free * total

        rhs = -free * g - product(fixed)
        inner_diag, inner_off = np.where(free > 0.0, diag, 1.0), off * free[:-1] * free[1:]
        first = solve_positive(inner_diag, inner_off, rhs)
        if first is None or not matrices:
            return first if first is None else fixed + first

        def precondition(r: Array) -> Array:
            solved = solve_positive(inner_diag, inner_off, r)
            return r / inner_diag if solved is None else solved

        return fixed + descent(product, precondition, -rhs, 1e-8)[0]

    def reach(self, rows: Array, direction: Array) -> Array:
        gaps, closing = np.diff(rows[0]), -np.diff(direction[0])
        shrink = np.max(closing / gaps)
        return np.array([1.0 if shrink <= 0.95 else 0.95 / shrink])

    def small(self, rows: Array, slope: Array, factor: float) -> bool:
        y, g, length = rows[0], slope[0].copy(), self.length
        for node in self._held(y, g):
            g[node] = 0.0
        blocks, worn = self._at(rows), EPS * (1.0 + np.abs(y[1:]) / np.diff(y))  # of the length of an interval
        rounding = 8.0 * gathered(worn * np.abs(blocks.left), worn * np.abs(blocks.right))
        if self.barrier > 0.0:
            # The distance to the minimiser, were F convex: the barrier lends the tails a mass.
            loads = np.maximum(self.masses, self.masses.mean())
            excess, loads = np.maximum(np.abs(g) - rounding, 0.0), gathered(0.5 * loads, 0.5 * loads)
            return bool(np.sum(excess**2 / loads) <= (factor * self.rtol * length) ** 2 * self.masses.sum())
        m = gathered(0.5 * self.masses, 0.5 * self.masses)
        # In units of length: the residual of a node over the mass it carries.
        return bool(np.all(np.abs(g) <= factor * (self.rtol * length * m + rounding)))

    def tiny(self, rows: Array, direction: Array) -> bool:
        if self.barrier > 0.0 and self._decrement(rows, direction) <= 8.0 * EPS * self.size(rows):
            return True
        return bool(np.all(np.abs(direction) <= 8.0 * EPS * (1.0 + np.abs(rows))))

    def settled(self, rows: Array) -> bool:
        """Whether what Newton's step could still take off the merit is below its rounding."""
        slope = self.slope(rows)
        if not np.all(np.isfinite(slope)):
            return False
        return self._decrement(rows, self.direction(rows, slope)) <= 8.0 * EPS * self.size(rows)

    def _decrement(self, rows: Array, direction: Array) -> float:
        return -float(self.slope(rows)[0] @ direction[0])

    def size(self, rows: Array) -> float:
        """What rounding of the merit is proportional to."""
        return abs(float(self.value(rows)[0])) + float(self.noise(rows)[0])

    def noise(self, rows: Array) -> Array:
        blocks = self._at(rows)
        return np.array([np.abs(rows[0]) @ gathered(np.abs(blocks.left), np.abs(blocks.right))])


def lifted(blocks: Blocks, least: Array) -> Blocks:
    """Second derivatives of each interval with their eigenvalues in modulus, and at least `least` `(n,)`."""
    a, b, c = blocks.left_left, blocks.left_right, blocks.right_right
    middle, half = 0.5 * (a + c), 0.5 * (a - c)
    radius = np.hypot(half, b)
    # Of middle + radius and middle - radius the one near zero comes from the determinant.
    far = middle + np.copysign(radius, middle)
    near = np.divide(a * c - b * b, far, out=np.zeros_like(far), where=far != 0.0)
    high, low = np.where(middle < 0.0, near, far), np.where(middle < 0.0, far, near)
    high, low = np.maximum(np.abs(high), least), np.maximum(np.abs(low), least)
    along = np.divide(half, radius, out=np.zeros_like(half), where=radius > 0.0)
    across = np.divide(b, radius, out=np.zeros_like(half), where=radius > 0.0)
    mean, gap = 0.5 * (high + low), 0.5 * (high - low)
    return replace(blocks, left_left=mean + gap * along, left_right=gap * across, right_right=mean - gap * along)
