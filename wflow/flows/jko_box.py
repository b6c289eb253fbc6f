"""The JKO step of a density on a grid of two or three axes, by entropic transport with its bias taken out.

    q⁺ = argmin S(q, b)/2τ + F(b),   S(a, b) = OT(a, b) - ½ OT(a, a) - ½ OT(b, b),   ε = 1.25 h²

OT(a, b) = min over plans π of ∫ |x - y|² dπ + ε KL(π‖a⊗b). S is convex in b, never negative and zero only for b = a
(Feydy et al., AISTATS 2019), and W2² + O(ε²) for smooth densities: the step is one of descent at any τ, rests exactly
at equilibria, and is off by O(h⁴); detail of one cell costs less than in W2. Transport to b itself enters by its
potential p: with ½ log b + p taken from the iterate before and ½ log b from the new one, which is a majorant, every
iteration lowers S/2τ + F, by (1 - k)²/(1 + k²) in what a blur by √(ε/2) damps to k. Each is one concave maximisation
(`linalg.semidual`) with masses ½ log b + (2τ/ε) δF/δq = w. Coarser grids come first, for the start.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wflow.arrays import Array
from wflow.flows.protocol import Solve
from wflow.flows.response import Local, Response, local_energy
from wflow.flows.terms import Terms
from wflow.flows.variation import Variation
from wflow.grid import Grid
from wflow.linalg.anderson import Mixing
from wflow.linalg.semidual import Semidual, at, climb
from wflow.linalg.softmin import Axes, logs_of, self_potential, soft
from wflow.states import Density

SHARPNESS = 1.25  # ε in squares of the spacing: below 1 the lattice shows (exp(-π² ε/h²)), above, more bias
COARSEST = 8  # cells along an axis
START = (64.0, 16.0, 4.0, 1.0)  # times ε on the coarsest grid, where potentials start from nothing
FAINTEST = 1e-250  # of the mass: emptier cells count as this while they are solved for
GOAL = 1e-10  # of the mass, in L1: what the potentials leave
SETTLED = 1e-3, 1e-8  # of what has moved, of the mass: changes that end the iteration
MOST, MIXED, MOST_NEWTON = 45, 30, 60
THIN = 1e-3  # of what comes: what is less is no start for it, since masses grow by factors
SPILL = 0.1  # of masses blurred, at least, to start from: what has to grow from nothing does so by small factors
NEAR = 0.1  # a residual that is near enough to start from
AHEAD = 1.0  # how far the mixing of iterates may go beyond the last, in log b
LOOSE = 5e-3  # of the mass: what may still move in the last iteration of all
ROUNDING = 1e-14  # of δF/δq
NOISE = 1e-12  # of the energy, which may rise by it
EMPTY = -700.0  # log of the smallest ratio of weights on coarser grids


def box_refusal(grid: Grid, terms: Terms) -> str:
    """Why there is no step on a grid of more than one axis; "" where there is."""
    if any(pair != ("no-flux", "no-flux") for pair in grid.boundary):
        return f"optimal transport on a grid needs no-flux sides, not {grid.boundary}; take steppers.ImplicitEuler()"
    targets = [term.target for _, term in terms.densities]
    alike = terms.logarithmic or all(t is targets[0] or t == targets[0] for t in targets)
    if terms.interactions or terms.shapes or not alike:
        return (
            "on grids of more than one axis it takes internal energies, divergences from one target, reverse KL "
            "divergences, and potentials; take steppers.ImplicitEuler()"
        )
    return ""


@dataclass(frozen=True, eq=False)
class Level:
    """The problem on one grid: the masses that move, the energy of where they go, the spacing."""

    masses: Array
    energy: Local
    spacing: Array

    @property
    def coarser(self) -> "Level":
        """Half as many cells along the axes of more than `COARSEST`."""
        shape = tuple((n + 1) // 2 if n > COARSEST else n for n in self.masses.shape)
        top = self.energy.logs.max()
        weights = _joined(np.exp(np.maximum(self.energy.logs - top, EMPTY)), shape)
        shift = _joined(self.energy.shift, shape) * (np.prod(shape) / self.masses.size)
        energy = Local(self.energy.generator, top + np.log(weights), shift)
        return Level(_joined(self.masses, shape), energy, self.spacing * self.masses.shape / np.array(shape))

    def sharpness(self, factor: float) -> tuple[float, Axes]:
        """ε, and the axes in units of √ε; axes of one cell have no say."""
        cells = self.masses.shape
        wide = [h for h, n in zip(self.spacing, cells, strict=True) if n > 1] or list(self.spacing)
        eps = factor * SHARPNESS * float(max(wide)) ** 2
        return eps, [np.arange(n) * float(h / np.sqrt(eps)) for h, n in zip(self.spacing, cells, strict=True)]


def _joined(values: Array, shape: tuple[int, ...]) -> Array:
    """Sums over the cells of a coarser grid, finer ones shared where its sides cut them."""
    for axis, n in enumerate(shape):
        lines = np.moveaxis(values, axis, -1)
        m = lines.shape[-1]
        edges, total = np.linspace(0.0, m, n + 1), np.zeros((*lines.shape[:-1], n))
        first = np.floor(edges[:-1]).astype(np.int64)
        for cell in (first, first + 1, first + 2):
            shares = np.minimum(edges[1:], cell + 1.0) - np.maximum(edges[:-1], cell)
            total += np.maximum(shares, 0.0) * lines[..., np.minimum(cell, m - 1)]
        values = np.moveaxis(total, -1, axis)
    return values


def _between(values: Array, shape: tuple[int, ...]) -> Array:
    """Values at the centres of a finer grid, linear between those of a coarser one and flat beyond the last."""
    for axis, n in enumerate(shape):
        lines = np.moveaxis(values, axis, -1)
        m = lines.shape[-1]
        place = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0.0, m - 1.0)
        below = np.floor(place).astype(np.int64)
        rest = place - below
        found = (1.0 - rest) * lines[..., below] + rest * lines[..., np.minimum(below + 1, m - 1)]
        values = np.moveaxis(found, -1, axis)
    return values


@dataclass(frozen=True, eq=False)
class Problem:
    """One step on one grid: masses a, the law of those that they become, and ε."""

    level: Level
    law: Response
    eps: float
    axes: Axes

    @property
    def a(self) -> Array:
        return self.level.masses

    @cached_property
    def spilled(self) -> Array:
        """A share of the masses a, blurred by the kernel."""
        found = np.exp(soft(logs_of(self.a), self.axes))
        return found * (SPILL * self.a.sum() / found.sum())

    def held(self, b: Array) -> Array:
        """Masses that have a logarithm, where π is positive."""
        return np.where(self.law.open, np.maximum(b, FAINTEST * float(self.a.sum())), 0.0)

    def own(self, b: Array, tol: float, start: Array | None = None) -> Array:
        """The potential of the transport of b to itself."""
        return self_potential(b, self.axes, tol, start)


def _base(b: Array, p: Array) -> Array:
    return p + 0.5 * np.log(np.where(b > 0.0, b, 1.0))


@dataclass(frozen=True, eq=False)
class Iterate:
    """Masses b, the potential p of their transport to themselves, a transport towards them, how much has moved last."""

    b: Array
    p: Array
    dual: Semidual
    base: Array
    moved: float = 1.0
    newton: int = 0
    linear: int = 0


def _started(problem: Problem, guess: Array) -> Iterate | None:
    b = problem.held(guess)
    p = problem.own(b, 1e-3)
    base = _base(b, p)
    f = -soft(p - problem.law.force(b) + logs_of(b), problem.axes)
    dual = at(problem.law, problem.a, base, problem.axes, f)
    return None if dual is None else Iterate(b, p, dual, base)


def _advanced(problem: Problem, one: Iterate, memory: Mixing | None, goal: float) -> Iterate:
    """One maximisation, from transport to itself of the masses before."""
    dual = climb(
        problem.law, problem.a, one.base, problem.axes, one.dual, min(1e-3, max(goal, 1e-2 * one.moved)), MOST_NEWTON
    )
    b = problem.held(dual.b)
    moved = float(np.abs(b - one.b).sum() / problem.a.sum())
    p = problem.own(b, max(goal, 1e-2 * moved), one.p)
    image = _base(b, p)
    bases = [image]
    if memory is not None:
        memory.weights = np.sqrt(b)
        ahead = np.clip(memory.mixed(one.base, image) - image, -AHEAD, AHEAD)
        bases.insert(0, image + ahead * (b / (b + THIN * problem.a.mean())))
    base, following = _followed(problem, dual, one.base, bases, b)
    return Iterate(b, p, following, base, moved, one.newton + dual.iterations, one.linear + dual.linear)


def _followed(problem: Problem, dual: Semidual, before: Array, bases: list[Array], b: Array) -> tuple[Array, Semidual]:
    """Where the next maximisation starts: with its masses as they are, or with f as it is, whichever lacks less."""
    best = bases[-1], dual
    for base in bases:
        for f in (-soft(dual.g + base - before + logs_of(b), problem.axes), dual.f):
            start = at(problem.law, problem.a, base, problem.axes, f)
            if start is not None and (best[1] is dual or start.residual < best[1].residual):
                best = base, start
            if best[1] is not dual and best[1].residual < NEAR:
                return best
    return best


def _problem(level: Level, tau: float, factor: float = 1.0) -> Problem:
    eps, axes = level.sharpness(factor)
    energy = level.energy
    return Problem(level, Response(energy.generator, energy.logs, energy.shift, 2.0 * tau / eps), eps, axes)


def _guess(levels: list[Level], tau: float) -> tuple[Array, int, int]:
    """log b/π on the finest grid from the coarser ones, and what they took."""
    a = levels[-1].masses
    logs, newton, linear = np.log(a + 1e-3 * a.mean()) - levels[-1].energy.logs, 0, 0
    for number, level in enumerate(reversed(levels[1:])):
        for factor in START if number == 0 else (1.0,):
            problem = _problem(level, tau, factor)
            guess = np.exp(_between(logs, level.masses.shape) + level.energy.logs)
            one = _started(problem, np.maximum(guess, problem.spilled))
            memory = Mixing(level.masses)
            for _ in range(4):
                if one is None or one.moved < 1e-2:
                    break
                one = _advanced(problem, one, memory, 1e-3)
            if one is not None:
                logs = np.log(one.b) - level.energy.logs
                newton, linear = newton + one.newton, linear + one.linear
    return logs, newton, linear


def box_step(variation: Variation, state: Density, time: float, tau: float) -> Solve:
    """argmin of S(q, ·)/2 tau + F; `distance` is √S. Converged where no more moves and S/2 tau + F has not risen.

    Cost, processor time: some 0.1 s on 64², 0.4 s on 128², 1.5 s on 256² cells; more where mass moves far in a vacuum.
    """
    volume, grid = state.grid.volume, state.grid
    if _rests(variation.slope(time, state.values), state.values):
        return Solve(state, 0, 0, True, {}, 0.0)
    levels = [Level(state.values * volume, local_energy(variation, time), grid.spacing)]
    while max(levels[-1].masses.shape) > COARSEST:
        levels.append(levels[-1].coarser)
    a, problem = levels[0].masses, _problem(levels[0], tau)
    logs, newton, linear = _guess(levels, tau)
    coarse = np.exp(_between(logs, a.shape) + problem.law.held_logs)
    coarse = np.maximum(coarse, problem.spilled)
    near = a if np.all(a > THIN * coarse) else np.maximum(np.where(a > THIN * coarse, a, coarse), problem.spilled)
    starts = [one for guess in (coarse, near) if (one := _started(problem, guess)) is not None]
    one = min(starts, key=lambda start: start.dual.residual)
    memory: Mixing | None = Mixing(a)
    before = variation.energy(time, state.values)
    for number in range(MOST):
        one = _advanced(problem, one, memory if number < MIXED else None, GOAL)
        settled = one.moved <= max(SETTLED[0] * float(np.abs(one.b - a).sum() / a.sum()), SETTLED[1])
        if not settled and number < MOST - 1:
            continue
        values = one.b * (a.sum() / one.b.sum()) / volume
        squared, after = _squared(problem, one), variation.energy(time, values)
        falls = after + squared / (2.0 * tau) <= before + NOISE * (1.0 + abs(after))
        if settled and falls:
            break
        memory = None  # mixing may rest where the merit has risen, which plain iterations lower
    good = falls and (settled or one.moved <= LOOSE)
    distance = float(np.sqrt(max(squared, 0.0)))
    return Solve(state.at(values), newton + one.newton, linear + one.linear, good, {}, distance)


def _rests(xi: Array, q: Array) -> bool:
    """Whether δF/δq is the same, to rounding, wherever there is mass, and no less elsewhere: q itself is the answer."""
    full = xi[q > 0.0]
    return bool(np.ptp(full) <= ROUNDING * (1.0 + np.abs(full).max()) and np.all(xi >= full.min()))


def _squared(problem: Problem, one: Iterate) -> float:
    """S(a, b)."""
    rest, own = problem.own(problem.a, GOAL), problem.own(one.b, GOAL, one.p)
    return problem.eps * float(np.sum(problem.a * (one.dual.f - rest)) + np.sum(one.b * (one.dual.g - own)))
