"""The JKO step of a density on a grid of two or three axes, by entropic transport with its bias taken out.

    q⁺ = argmin S(q, b)/2τ + F(b),   S(a, b) = OT(a, b) - ½ OT(a, a) - ½ OT(b, b),   ε = 1.25 h²

OT(a, b) = min over plans π of ∫ |x - y|² dπ + ε KL(π‖a⊗b), h the widest spacing. S is convex in b, never negative and
zero only for b = a (Feydy et al., AISTATS 2019), and W2² + O(ε²) for smooth densities: the step is one of descent at
any τ, rests exactly at equilibria, and is off by O(h⁴), but for edges of masses; detail of one cell costs less than in
W2. Transport to b itself enters by its potential p: with ½ log b + p taken
from the iterate before and ½ log b from the new one, which is a majorant (of Hessian ½/b, where -½ OT(b, b) has at most
k/(1 + k)/b), every iteration lowers S/2τ + F; what a blur by √(ε/2) damps to k is off by (1 - k)²/(1 + k²) of what it
was, or less. Each is one concave maximisation (`linalg.semidual`) with masses ½ log b + (2τ/ε) δF/δq = w. Coarser grids
come first, for the start.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wflow.arrays import Array
from wflow.flows.levels import Level, between, hierarchy
from wflow.flows.protocol import Solve
from wflow.flows.response import Response, local_energy
from wflow.flows.terms import Terms
from wflow.flows.variation import Variation
from wflow.grid import Grid
from wflow.linalg.anderson import Mixing
from wflow.linalg.semidual import Semidual, at, climb
from wflow.linalg.softmin import Axes, logs_of, self_potential, soft
from wflow.states import Density

SHARPNESS = 1.25  # ε in squares of the spacing: below 1 the lattice shows (exp(-π² ε/h²)), above, more bias
LONGEST = 4.0  # cells: a wave along the other axis is then off by 1.5 % of what moves, of 8 by 8 %
START = (64.0, 16.0, 4.0, 1.0)  # times ε on the coarsest grid, where potentials start from nothing
FAINTEST = 1e-250  # of the mass: emptier cells count as this while they are solved for
GOAL = 1e-10  # of the mass, in L1: what the potentials leave
SETTLED = 1e-3, 1e-8  # of what has moved, of the mass: changes and residuals that end the iteration
ROUGH = 4, 1e-2, 1e-3  # iterations on a coarser grid at most, changes that end them, residuals
MOST, MIXED, MOST_NEWTON = 45, 30, 60
THIN = 1e-3  # of what comes: what is less is no start for it, since masses grow by factors
SPILL = 0.1  # of masses blurred, at least, to start from: what has to grow from nothing does so by small factors
NEAR = 0.1  # a residual that is near enough to start from
AHEAD = 1.0  # how far the mixing of iterates may go beyond the last, in log b
LOOSE = 5e-3  # of the mass: what may still move in the last iteration of all
ROUNDING = 1e-14  # of δF/δq, and of potentials
NOISE = 1e-12  # of the energy, which may rise by it


def box_refusal(grid: Grid, terms: Terms) -> str:
    """Why there is no step on a grid of more than one axis; "" where there is."""
    if any(pair != ("no-flux", "no-flux") for pair in grid.boundary):
        return f"optimal transport on a grid needs no-flux sides, not {grid.boundary}; take steppers.ImplicitEuler()"
    spacings = [h for h, n in zip(grid.spacing, grid.cells, strict=True) if n > 1]
    if spacings and max(spacings) > LONGEST * min(spacings):
        return (
            f"cells may be {LONGEST:g} times as long along one axis as along another, not "
            f"{max(spacings) / min(spacings):.3g} times; take other cells, or steppers.ImplicitEuler()"
        )
    targets = [term.target for _, term in terms.densities]
    alike = terms.logarithmic or all(t is targets[0] or t == targets[0] for t in targets)
    if terms.interactions or terms.shapes or not alike:
        return (
            "on grids of more than one axis it takes internal energies, divergences from one target, reverse KL "
            "divergences, and potentials; take steppers.ImplicitEuler()"
        )
    return ""


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
    enough = min(1e-3, max(goal, 1e-2 * one.moved))
    dual = climb(problem.law, problem.a, one.base, problem.axes, one.dual, enough, MOST_NEWTON)
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
    eps = factor * SHARPNESS * level.widest**2
    energy = level.energy
    law = Response(energy.generator, energy.logs, energy.shift, 2.0 * tau / eps)
    return Problem(level, law, eps, level.axes(np.sqrt(eps)))


def _guess(levels: list[Level], tau: float) -> tuple[Array, int, int]:
    """log b/π on the finest grid from the coarser ones, and what they took."""
    a = levels[-1].masses
    logs, newton, linear = np.log(a + THIN * a.mean()) - levels[-1].energy.logs, 0, 0
    for number, level in enumerate(reversed(levels[1:])):
        for factor in START if number == 0 else (1.0,):
            problem = _problem(level, tau, factor)
            guess = np.exp(between(logs, level.masses.shape) + level.energy.logs)
            one, memory = _started(problem, np.maximum(guess, problem.spilled)), Mixing(level.masses)
            for _ in range(ROUGH[0]):
                if one is None or one.moved < ROUGH[1]:
                    break
                one = _advanced(problem, one, memory, ROUGH[2])
            if one is not None:
                logs = np.log(one.b) - level.energy.logs
                newton, linear = newton + one.newton, linear + one.linear
    return between(logs, levels[0].masses.shape), newton, linear


def _starts(problem: Problem, logs: Array) -> Iterator[Iterate]:
    """The better of what coarser grids say and of the masses as they are with what of it will come to nearly empty
    cells; then the masses alone, for steps so short that a vacuum stays one."""
    a = problem.a
    coarse = np.maximum(np.exp(logs + problem.law.held_logs), problem.spilled)
    thick = a > THIN * coarse
    near = a if thick.all() else np.maximum(np.where(thick, a, coarse), problem.spilled)
    found = [one for guess in (coarse, near) if (one := _started(problem, guess)) is not None]
    if found:
        yield min(found, key=lambda one: one.dual.residual)
    if (alone := _started(problem, a)) is not None:
        yield alone


def box_step(variation: Variation, state: Density, time: float, tau: float) -> Solve:
    """argmin of S(q, ·)/2 tau + F; `distance` is √S. Converged where no more moves and S/2 tau + F has not risen.

    Cost, processor time: some 0.2 s on 64², 0.5 s on 128², 1.5 s on 256² cells; ten times that where mass moves far
    in a vacuum.
    """
    volume = state.grid.volume
    if _rests(variation.slope(time, state.values), state.values):
        return Solve(state, 0, 0, True, {}, 0.0)
    levels = hierarchy(Level(state.values * volume, local_energy(variation, time), state.grid.spacing))
    problem = _problem(levels[0], tau)
    logs, newton, linear = _guess(levels, tau)
    before = variation.energy(time, state.values)

    def fallen(one: Iterate) -> tuple[Array, float, bool]:
        values = one.b * (problem.a.sum() / one.b.sum()) / volume
        squared, after = _squared(problem, one), variation.energy(time, values)
        return values, squared, after + squared / (2.0 * tau) <= before + NOISE * (1.0 + abs(after))

    values, squared, good = state.values, 0.0, False
    for start in _starts(problem, logs):
        one, (values, squared, falls) = _iterated(problem, start, fallen)
        newton, linear, good = newton + one.newton, linear + one.linear, falls and one.moved <= LOOSE
        if good:
            break
    return Solve(state.at(values), newton, linear, good, {}, float(np.sqrt(squared)))


def _iterated(
    problem: Problem, one: Iterate, fallen: Callable[[Iterate], tuple[Array, float, bool]]
) -> tuple[Iterate, tuple[Array, float, bool]]:
    """Iterates until next to nothing moves and the merit has fallen, and what `fallen` says of the last."""
    memory: Mixing | None = Mixing(problem.a)
    for number in range(MOST):
        one = _advanced(problem, one, memory if number < MIXED else None, GOAL)
        away = float(np.abs(one.b - problem.a).sum() / problem.a.sum())
        if max(one.moved, one.dual.residual) <= max(SETTLED[0] * away, SETTLED[1]):
            verdict = fallen(one)
            if verdict[2]:
                return one, verdict
            memory = None  # mixing may rest where the merit has risen, which plain iterations lower
    return one, fallen(one)


def _rests(xi: Array, q: Array) -> bool:
    """Whether δF/δq is the same, to rounding, wherever there is mass, and no less elsewhere: q itself is the answer."""
    full = xi[q > 0.0]
    return bool(np.ptp(full) <= ROUNDING * (1.0 + np.abs(full).max()) and np.all(xi >= full.min()))


def _squared(problem: Problem, one: Iterate) -> float:
    """S(a, b), 0 where it is nothing but rounding."""
    b = one.b * (problem.a.sum() / one.b.sum())  # potentials are known up to a constant, and long steps make them large
    rest, own = problem.own(problem.a, GOAL), problem.own(b, GOAL, one.p)
    there, back = problem.a * (one.dual.f - rest), b * (one.dual.g - own)
    rounding = ROUNDING * float(np.abs(there).sum() + np.abs(back).sum() + problem.a.sum())
    total = float(there.sum() + back.sum())
    return problem.eps * total if total > rounding else 0.0
