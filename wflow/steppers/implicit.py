"""Implicit steppers: each stage is the flow's resolvent, y - s · rate(y) = b."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import Status
from wflow.flows import Flow
from wflow.steppers.explicit import check_flat, check_unfolded, judge
from wflow.steppers.protocol import Memory, Noise, Step

CUTS = 8  # halvings of a step of implicit Euler before it is given up


def rises(flow: Flow, before: float, after: float) -> bool:
    """Whether an energy that must decay has risen beyond rounding."""
    if not flow.facts.decays or not np.isfinite(before):
        return False
    return not after <= before + 1e-13 * (1.0 + abs(before))


def implicit_euler(flow: Flow, time: float, state: Any, dt: float) -> Step:
    """y = x + dt · rate(time + dt, y)."""
    answer = flow.resolvent(time + dt, state, state.coordinates, dt)
    status = judge(flow, answer.state) if answer.converged else Status.SOLVER_FAILED
    return Step(answer.state, status=status, counts={"newton": answer.iterations, "linear": answer.linear})


@dataclass(frozen=True)
class ImplicitEuler:
    """Backward Euler: on a point the proximal point method.

    Monotone: the energy of a gradient flow never rises. That is a theorem for convex energies and for the fluxes in
    u = q/p; elsewhere, as with an attracting interaction, a step that would raise the energy, or that does not
    solve, is cut in halves and counted in `cuts`.
    """

    order: ClassVar[int] = 1
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("newton", "linear", "cuts")

    def check(self, flow: Flow, state: Any) -> None:
        check_flat(self, flow)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        before = flow.energy(time, state) if flow.facts.decays else np.nan
        return guarded(flow, time, state, dt, before, CUTS)


def guarded(flow: Flow, time: float, state: Any, dt: float, before: float, depth: int) -> Step:
    """Implicit Euler over dt, in halves of halves where that is needed for the energy to fall."""
    step = implicit_euler(flow, time, state, dt)
    after = flow.energy(time + dt, step.state) if flow.facts.decays and step.status is Status.RUNNING else np.nan
    failed = step.status is Status.SOLVER_FAILED or (np.isfinite(after) and rises(flow, before, after))
    if not failed:
        return replace(step, energy=after)
    if depth == 0:
        return replace(step, status=Status.SOLVER_FAILED, note=UNSOLVED)
    first = guarded(flow, time, state, 0.5 * dt, before, depth - 1)
    if first.status is not Status.RUNNING:
        return first
    second = guarded(flow, time + 0.5 * dt, first.state, 0.5 * dt, first.energy, depth - 1)
    counts = {"cuts": 1.0}
    for part in (step, first, second):
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0.0) + count
    return replace(second, counts=counts)


UNSOLVED = (
    "x - dt rate(x) = x before has no solution near, or F rises there: F may fall without bound; take a smaller dt"
)
GAMMA = 2.0 - np.sqrt(2.0)
# The error constant of Bank et al. (1985), eq. (33): 2 k dt [f₀/γ - f_γ/(γ(1-γ)) + f₁/(1-γ)].
ERROR = (-3.0 * GAMMA**2 + 4.0 * GAMMA - 2.0) / (6.0 * (2.0 - GAMMA))


@dataclass(frozen=True)
class TRBDF2:
    """Trapezoidal rule to time γ dt, then the second-order backward difference: order 2, L-stable, adaptive.

    Source: Bank et al., IEEE Trans. Electron Devices 32 (1985) 436; Hosea & Shampine, Appl. Numer. Math. 20 (1996)
    21. A step that would make a density negative, raise an energy that must decay, or does not solve is done again
    by implicit Euler (two half steps against a whole one for the error) and counted in `fallbacks`.
    """

    order: ClassVar[int] = 2
    adaptive: ClassVar[bool] = True
    counters: ClassVar[tuple[str, ...]] = ("newton", "linear", "fallbacks")

    def check(self, flow: Flow, state: Any) -> None:
        check_flat(self, flow)
        check_unfolded(self, flow)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        before = _energy_before(flow, time, state, memory)
        with np.errstate(all="ignore"):
            first = memory["rate"] if "rate" in memory and float(memory["time"]) == time else flow.rate(time, state)
        trial = _pair(flow, time, state, dt, first) if np.all(np.isfinite(first)) else None
        if trial is not None and trial.status is Status.RUNNING:
            after = flow.energy(time + dt, trial.state) if flow.facts.decays else np.nan
            if not rises(flow, before, after):
                return Step(
                    trial.state,
                    _remember(flow, time + dt, trial.state, after),
                    trial.error,
                    Status.RUNNING,
                    after,
                    trial.counts,
                )
        return _fallback(flow, time, state, dt, before, trial)


def _energy_before(flow: Flow, time: float, state: Any, memory: Memory) -> float:
    if not flow.facts.decays:
        return np.nan
    return float(memory["energy"]) if "energy" in memory else flow.energy(time, state)


def _remember(flow: Flow, time: float, state: Any, energy: float) -> Memory:
    """The rate, which the next step begins with and the dissipation needs, and the energy where it is known."""
    with np.errstate(all="ignore"):
        memory = {"rate": flow.rate(time, state), "time": np.array(time)}
    return memory | ({"energy": np.array(energy)} if np.isfinite(energy) else {})


def _pair(flow: Flow, time: float, state: Any, dt: float, first: Array) -> Step:
    """The two stages and the error estimate; both stages have the same scale γ dt/2."""
    scale, x = 0.5 * GAMMA * dt, state.coordinates
    middle = flow.resolvent(time + GAMMA * dt, state, x + scale * first, scale)
    if not middle.converged:
        return Step(state, status=Status.SOLVER_FAILED)
    base = (middle.state.coordinates - (1.0 - GAMMA) ** 2 * x) / (GAMMA * (2.0 - GAMMA))
    end = flow.resolvent(time + dt, middle.state, base, scale)
    counts = {"newton": middle.iterations + end.iterations, "linear": middle.linear + end.linear}
    if not end.converged:
        return Step(state, status=Status.SOLVER_FAILED, counts=counts)
    # The rates at the solved stages, read off the stage equations.
    second = (middle.state.coordinates - x) / scale - first
    third = (end.state.coordinates - base) / scale
    delta = ERROR * dt * (first / GAMMA - second / (GAMMA * (1.0 - GAMMA)) + third / (1.0 - GAMMA))
    # Stiff components, which the step damps, would dominate the raw estimate (Hosea & Shampine, section 4).
    delta = flow.smooth(time + dt, end.state, delta, scale)
    return Step(end.state, error=flow.error(end.state, delta), status=judge(flow, end.state), counts=counts)


def _fallback(flow: Flow, time: float, state: Any, dt: float, before: float, trial: Step | None) -> Step:
    whole = implicit_euler(flow, time, state, dt)
    half = implicit_euler(flow, time, state, 0.5 * dt)
    steps = [whole, half]
    if whole.status is half.status is Status.RUNNING:
        steps.append(implicit_euler(flow, time + 0.5 * dt, half.state, 0.5 * dt))
    counts = {"fallbacks": 1.0}
    for step in [*steps, *([trial] if trial is not None else [])]:
        for name, count in step.counts.items():
            counts[name] = counts.get(name, 0.0) + count
    bad = next((step.status for step in steps if step.status is not Status.RUNNING), None)
    if bad is not None:
        return Step(state, status=bad, counts=counts)
    new = steps[2].state
    after = flow.energy(time + dt, new) if flow.facts.decays else np.nan
    status = Status.SOLVER_FAILED if rises(flow, before, after) else Status.RUNNING
    error = flow.error(new, new.coordinates - whole.state.coordinates)
    return Step(new, _remember(flow, time + dt, new, after), error, status, after, counts)
