"""The JKO step of a density on a grid of two or three axes, by entropic transport with its bias taken out.

    q⁺ = argmin S(q, b)/2τ + F(b),   S(a, b) = OT(a, b) - ½ OT(a, a) - ½ OT(b, b),   ε = 1.25 h²

OT(a, b) = min over plans π of ∫ |x - y|² dπ + ε KL(π‖a⊗b), h the widest spacing. S is convex in b, never negative and
zero only for b = a (Feydy et al., AISTATS 2019), and W2² + O(ε²) for smooth densities: the step is one of descent at
any τ, rests exactly at equilibria, and is off by O(h⁴), but for edges of masses; detail of one cell costs less than in
W2. `flows.objective` is what is made least, `flows.majorant` how. Coarser grids come first, for the start.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from wflow.arrays import Array
from wflow.flows.levels import Level, between, hierarchy
from wflow.flows.majorant import Goal, Iterate, iterated, started
from wflow.flows.objective import Objective
from wflow.flows.protocol import Solve
from wflow.flows.response import local_energy
from wflow.flows.terms import Terms
from wflow.flows.variation import Variation
from wflow.grid import Grid
from wflow.states import Density

LONGEST = 4.0  # cells: a wave along the other axis is then off by 1.5 % of what moves, of 8 by 8 %
WIDENED = (64.0, 16.0, 4.0, 1.0)  # times ε on the coarsest grid, where potentials start from nothing
ROUGH = Goal(left=1e-3, share=0.0, mass=1e-2, most=4, falling=False)  # on coarser grids, which give starts alone
SOUND = replace(ROUGH, most=12, falling=True)  # with interactions, under which plain iterations may run away
PATIENT = Goal(most=150)  # where damped iterations go by small steps
LOOSE = 5e-3  # of the mass: what may still move in the last iteration of all
THIN = 1e-3  # of what comes: what is less is no start for it, since masses grow by factors
ROUNDING = 1e-14  # of δF/δq


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
    if terms.shapes:
        return (
            f"{terms.shapes[0][1]!r} is an energy of gradients or of all cells, and on grids of more than one axis it "
            "takes those of single cells, potentials and interactions; take steppers.ImplicitEuler()"
        )
    return ""


def box_step(variation: Variation, state: Density, time: float, tau: float) -> Solve:
    """argmin of S(q, ·)/2 tau + F; `distance` is √S. Converged where S/2 tau + F has not risen and little moves in the
    last iteration; `moving` is how much of the mass does, 0 where the iteration has met its goal.

    Cost, processor time: some 0.2 s on 64², 0.5 s on 128², 1.5 s on 256² cells; ten times that where mass moves far
    in a vacuum.
    """
    volume = state.grid.volume
    if _rests(variation.slope(time, state.values), state.values):
        return Solve(state, 0, 0, True, {}, 0.0)
    energy, interactions = local_energy(variation, time), variation.terms.interactions
    levels = hierarchy(Level(state.values * volume, energy, interactions, state.grid.spacing))
    target, before = Objective(levels[0], tau), variation.energy(time, state.values)
    goal = PATIENT if interactions else Goal()
    logs, newton, linear = _guess(levels, tau)
    values, squared, good, moving = state.values, 0.0, False, 0.0
    for start in _starts(target, logs):
        one = iterated(target, start, goal, before)
        newton, linear = newton + one.newton, linear + one.linear
        values, squared = one.b * (target.a.sum() / one.b.sum()) / volume, one.squared
        moving = 0.0 if goal.met(one) else one.moving
        after = variation.energy(time, values)
        good = moving <= LOOSE and after + squared / (2.0 * tau) <= before + one.rounding
        if good and after > before:  # by nothing but the rounding of S/2τ
            values, squared = state.values, 0.0
        if good:
            break
    return Solve(state.at(values), newton, linear, good, {}, float(np.sqrt(squared)), moving=moving)


def _guess(levels: list[Level], tau: float) -> tuple[Array, int, int]:
    """log b/π on the finest grid from the coarser ones, and what they took."""
    a = levels[-1].masses
    logs, newton, linear = np.log(a + THIN * a.mean()) - levels[-1].energy.reference, 0, 0
    for number, level in enumerate(reversed(levels[1:])):
        for widened in WIDENED if number == 0 else (1.0,):
            target = Objective(level, tau, widened)
            guess = np.exp(between(logs, level.masses.shape) + level.energy.reference)
            start = started(target, np.maximum(guess, target.spilled))
            if start is not None:
                one = iterated(target, start, SOUND if level.interactions else ROUGH)
                logs = np.log(one.b) - level.energy.reference
                newton, linear = newton + one.newton, linear + one.linear
    return between(logs, levels[0].masses.shape), newton, linear


def _starts(target: Objective, logs: Array) -> Iterator[Iterate]:
    """The better of what coarser grids say and of the masses as they are with what of it will come to nearly empty
    cells; then the masses alone, for steps so short that a vacuum stays one."""
    a = target.a
    coarse = np.maximum(np.exp(logs + target.level.energy.reference), target.spilled)
    thick = a > THIN * coarse
    near = a if thick.all() else np.maximum(np.where(thick, a, coarse), target.spilled)
    found = [one for guess in (coarse, near) if (one := started(target, guess)) is not None]
    if found:
        yield min(found, key=lambda one: one.dual.residual)
    if (alone := started(target, a)) is not None:
        yield alone


def _rests(xi: Array, q: Array) -> bool:
    """Whether δF/δq is the same, to rounding, wherever there is mass, and no less elsewhere: q itself is the answer."""
    full = xi[q > 0.0]
    largest = np.abs(full).max()
    return bool(largest < np.inf and np.ptp(full) <= ROUNDING * (1.0 + largest) and np.all(xi >= full.min()))
