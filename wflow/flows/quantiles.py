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
from wflow.kernels import quantiles
from wflow.linalg.banded import descent, solve_positive
from wflow.linalg.proximal import minimise

EPS = float(np.finfo(float).eps)
BARRIERS = 10.0 ** -np.arange(11.0)
NEARNESS = 1e-3  # of the root of a barrier's weight: how well the step with it is solved, in units of the box
AT_THE_END = 1e-9
RIDGES = (0.0, 1e-12, 1e-8, 1e-4)  # of the diagonal, where rounding leaves a convex matrix not positive
NARROWEST = 1e-12  # of the box: nodes nearer than this would not be apart any more after rounding


@dataclass(frozen=True, eq=False)
class Energy:
    """The terms of F on the line, in units where a cell has length one."""

    terms: tuple[Divergence | Field, ...]
    pairs: tuple[Pairs, ...]

    def value(self, y: Array, m: Array) -> float:
        """F, without what the vacuum costs."""
        return sum(term.value(y, m) for term in (*self.terms, *self.pairs))

    @cached_property
    def fills(self) -> bool:
        """Whether a vacuum has infinite energy, so that the quantiles reach from wall to wall."""
        return any(isinstance(term, Divergence) and not np.isfinite(term.vacuum) for term in self.terms)


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

    @cached_property
    def _guards(self) -> Array:
        return self.barrier * np.maximum(self.masses, self.masses.mean())

    def value(self, rows: Array) -> Array:
        y = rows[0]
        gaps = np.diff(y)
        if not np.all(gaps > 0.0):
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
        rhs, diag, off = -g, diag.copy(), off.copy()
        free = np.ones(y.size)
        for node, move in held.items():
            inner, edge = (1, 0) if node == 0 else (y.size - 2, y.size - 2)
            rhs[inner] -= off[edge] * move
            rhs[node], diag[node], off[edge], free[node] = move, 1.0, 0.0, 0.0
        first = solve_positive(diag, off, rhs)
        if first is None or not matrices:
            return first

        def product(v: Array) -> Array:
            sums, tri = v[:-1] + v[1:], diag * v
            tri[:-1] += off * v[1:]
            tri[1:] += off * v[:-1]
            for matrix in matrices:
                pulled = matrix @ sums
                tri += free * gathered(pulled, pulled)
            return tri

        def precondition(r: Array) -> Array:
            solved = solve_positive(diag, off, r)
            return r / diag if solved is None else solved

        return descent(product, precondition, -rhs, 1e-8)[0]

    def reach(self, rows: Array, direction: Array) -> Array:
        gaps, closing = np.diff(rows[0]), -np.diff(direction[0])
        shrink = np.max(closing / gaps)
        return np.array([1.0 if shrink <= 0.95 else 0.95 / shrink])

    def small(self, rows: Array, slope: Array, factor: float) -> bool:
        y, g, length = rows[0], slope[0].copy(), self.walls[1] - self.walls[0]
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
        if self.barrier > 0.0 and -float(self.slope(rows)[0] @ direction[0]) <= 8.0 * EPS * self._size(rows):
            return True
        return bool(np.all(np.abs(direction) <= 8.0 * EPS * (1.0 + np.abs(rows))))

    def _size(self, rows: Array) -> float:
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


def solve(step: Step, start: Array) -> tuple[Array, int, bool]:
    """The nodes that minimise a step, from rising ones: (nodes, Newton iterations, converged).

    Where Newton's method stops short, its nodes pressed together, it goes from the start again along a barrier, which
    ends 2e-12 (length of the box)² (mass) or less above the minimum of the merit.
    """
    y, count, good = minimise(step, start[None])
    if good:
        return y[0], count, True
    for turning in (True, False):
        y, more, good = _along_barriers(replace(step, turning=turning, last={}), start)
        count += more
        if good:
            break
    return y[0], count, good


def _along_barriers(step: Step, start: Array) -> tuple[Array, int, bool]:
    # The weight of a barrier is a length squared. The minimiser may have nodes that meet: no step without one is left.
    y, count, good, size = start[None], 0, False, 0.01 * float(step.walls[1] - step.walls[0]) ** 2
    for barrier in BARRIERS:
        last = barrier == BARRIERS[-1]
        goal = AT_THE_END if last else NEARNESS * float(np.sqrt(barrier))
        y, more, good = minimise(replace(step, barrier=barrier * size, rtol=goal, last={}), y, 300 if last else 60)
        count += more
    return y, count, good and bool(step.value(y)[0] <= step.value(start[None])[0])


def opened(y: Array, length: float) -> Array:
    """Nodes moved apart by rounding's worth, where they have met."""
    narrowest = NARROWEST * length
    if np.all(np.diff(y) >= narrowest):
        return y
    ramp = narrowest * np.arange(y.size)
    rising = ramp + np.maximum.accumulate(y - ramp)
    over = rising[-1] - y[-1]
    return np.asarray(rising if over <= 0.0 else np.minimum(rising, y[-1] - ramp[::-1]))


def cells_as_nodes(values: Array, table: Array, flat: bool = False) -> tuple[Array, Array]:
    """Nodes and masses (in units of density times cell) of cell averages: the edges, and more of them in full cells.

    Cells are split until no interval holds more than the mean; runs of empty cells are one interval without mass. Over
    a cell q/p is linear, with slopes limited by van Leer's rule, or `flat`, when the energy is that of the cells.
    """
    count, total = values.size, float(values.sum())
    full = values > 1e-300 * total
    splits = np.where(full, np.maximum(1, np.ceil(values * count / total - 1e-9)), 1).astype(np.int64)
    first = np.repeat(np.arange(count), splits)
    inner = np.arange(first.size) - np.repeat(np.cumsum(splits) - splits, splits)
    nodes = np.append(first + inner / splits[first], float(count))
    logs = np.empty(first.size)
    quantiles.log_masses(nodes, table, logs)
    ends = np.cumsum(splits) - splits
    within = np.exp(logs - np.repeat(np.maximum.reduceat(logs, ends), splits))
    if not flat:
        total_logs = np.logaddexp.reduceat(logs, ends)
        within *= 1.0 + tilts(values, total_logs)[first] * ((inner + 0.5) / splits[first] - 0.5)
    within /= np.repeat(np.add.reduceat(within, ends), splits)
    masses = np.where(full[first], values[first] * within, 0.0)
    return without_empty(nodes, masses)


def tilts(values: Array, logs: Array) -> Array:
    """Limited slopes of u = q/p over the cells, relative to u, from log p in the cells; 0 at the walls."""
    u = values * np.exp(logs.min() - logs)
    down, up = np.zeros(u.size), np.zeros(u.size)
    down[1:], up[:-1] = np.diff(u), np.diff(u)
    size = np.minimum(2.0 * np.minimum(np.abs(down), np.abs(up)), 0.5 * np.abs(down + up))
    slope = np.where(down * up > 0.0, np.sign(up) * size, 0.0)
    return np.divide(slope, u, out=np.zeros(u.size), where=u > 0.0)


def without_empty(nodes: Array, masses: Array) -> tuple[Array, Array]:
    """Intervals without mass joined, and dropped at the ends."""
    inside = np.flatnonzero(masses > 0.0)
    nodes, masses = nodes[inside[0] : inside[-1] + 2], masses[inside[0] : inside[-1] + 1]
    keep = np.insert((masses[1:] > 0.0) | (masses[:-1] > 0.0), 0, True)
    return np.append(nodes[:-1][keep], nodes[-1]), masses[keep]
