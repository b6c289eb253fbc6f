"""Variational steps: the proximal step of the metric, which in the Wasserstein metric is the JKO step."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from wflow.errors import InputError, Status
from wflow.flows import Flow, Solve, Split
from wflow.steppers.explicit import judge
from wflow.steppers.implicit import rises
from wflow.steppers.protocol import Memory, Noise, Step
from wflow.steppers.splitting import splits

COUNTERS = ("newton", "linear", "restarts", "distance", "moving")


@dataclass(frozen=True)
class JKO:
    """q⁺ = argmin W2²(·, q)/(2 dt) + F: implicit Euler of the Wasserstein metric, of order 1, stable at any dt.

    On a density of one axis in quantiles, whose nodes are carried from step to step, so that nothing is smoothed by
    going to the grid and back; of two or three axes by entropic transport with its bias taken out, which is W2² to
    O(h⁴) where masses are smooth on the scale of cells, for internal energies, divergences, potentials and
    interactions; on Gaussians in (mean | factor); on points the proximal point method; on clouds with each particle
    tied to its place before. `distance` of a step is how far it went. The energy never rises: a step in quantiles that
    would raise the energy of the cells by going to the grid starts from the cells again, and is counted in `restarts`.
    On the line, with potentials or interactions beside more than an entropy, the energy of a run is counted on from
    that of the cells at its start by what it falls in quantiles; that of later cells is within O(h²) of it.

    Under `metrics.WassersteinFisherRao` a density takes it between two half steps of the reaction, through which its
    quantiles go with it (Gallouët & Monsaingeon, SIAM J. Math. Anal. 49 (2017) 1100, here with the reaction solved
    exactly).

    On the line none of 5230 hard ones fails (`experiments/benchmarks/jko_line.py`); where F is not convex in quantiles,
    the answer is a state of smaller merit that need not be the least. Masses below 1e-100 of all (1e-20
    where a vacuum has infinite energy) count as none. Source: Jordan, Kinderlehrer & Otto, SIAM J. Math. Anal. 29
    (1998) 1, eq. (13).

    On more axes detail as fine as the widest cells moves too easily, so that cells more than four times as long along
    one axis as along another are refused. A potential or an interaction alone overshoots at edges, and where it presses
    mass on a wall, by up to a third of the density in the cells beside them, however many cells. `moving` of a step is
    the share of the mass that its last iterations still moved, where it ended before that was a thousandth of what the
    step had moved, 0 else: that happens where dt is less than a hundredth of h² and masses are rough on the scale of
    cells. What is left may be twenty times `moving`, and half of what should move; a step that leaves more than 0.5 %
    of the mass moving ends as SOLVER_FAILED. With interactions F need not be convex, and the answer is a state of
    smaller merit that need not be the least; of 320 hard steps with dt from 1e-5 to 10 one fails, at dt = 10.
    """

    order: ClassVar[int] = 1
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = COUNTERS

    def check(self, flow: Flow, state: Any) -> None:
        check_proximal(self, flow)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return guarded(flow, time, state, dt, memory, flow.proximal(time + dt, state, dt, memory))


@dataclass(frozen=True)
class VariationalBDF2:
    """q⁺ = argmin W2²(·, q)/dt - W2²(·, q')/(4 dt) + F, q' the state before q: of order 2 where the metric is flat.

    That is in quantiles, (mean | factor), positions; the two distances are then one, from q + (q - q')/3, which is
    what is minimised. The first step is two of SDIRK2, the second from ahead of the first; a step whose energy would
    rise is JKO's. Between the half reactions of `metrics.WassersteinFisherRao` every step is a first one, since the
    masses change, and the order is 2 too. Source: Matthes & Plazotta, Numer. Math. 141 (2019) 1, eq. (3), with the
    coefficients of steps that change from dt' to ω dt'; Alexander, SIAM J. Numer. Anal. 14 (1977) 1006, for the first.
    """

    order: ClassVar[int] = 2
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = COUNTERS

    def check(self, flow: Flow, state: Any) -> None:
        if check_proximal(self, flow).facts.curved:
            raise InputError("VariationalBDF2 needs coordinates in which the metric is flat; take steppers.JKO()")

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        if "previous" not in memory:
            answer = _first(flow, time, state, dt, memory)
        else:
            ratio = dt / float(memory["dt"])
            scale, ahead = dt * (1.0 + ratio) / (1.0 + 2.0 * ratio), ratio**2 / (1.0 + 2.0 * ratio)
            answer = flow.proximal(time + dt, state, scale, memory, ahead)
        step = guarded(flow, time, state, dt, memory, answer)
        return replace(step, memory={**step.memory, "dt": np.array(dt)})


UNSOLVED = "no minimum of W2²/2dt + F was found: F may fall without bound, or jump; take a smaller dt"
SDIRK = 1.0 - np.sqrt(0.5)


def _first(flow: Flow, time: float, state: Any, dt: float, memory: Memory) -> Solve:
    """The two stages x₁ = x + γ dt k₁ and x + (1 - γ) dt k₁ + γ dt k₂, both proximal steps."""
    stage = flow.proximal(time + SDIRK * dt, state, SDIRK * dt, memory)
    end = flow.proximal(time + dt, stage.state, SDIRK * dt, stage.memory, (1.0 - 2.0 * SDIRK) / SDIRK)
    kept = dict(end.memory)
    before = stage.memory.get("previous")
    if "previous" in kept and before is not None and before.shape == kept["previous"].shape:
        kept["previous"] = before
    else:
        kept.pop("previous", None)
    both = (stage.iterations + end.iterations, stage.linear + end.linear, stage.converged and end.converged)
    energies = None if stage.energies is None or end.energies is None else (stage.energies[0], end.energies[1])
    return Solve(end.state, *both, kept, np.hypot(stage.distance, end.distance), energies)


def check_proximal(stepper: Any, flow: Flow) -> Flow:
    """Refuse flows without a proximal step. Of a flow that is split it is the transport that takes it."""
    served: Any = flow
    if isinstance(flow, Split) and flow.transport is not None and splits(stepper, flow):
        served = flow.transport
    if served.facts.jko:
        raise InputError(f"{type(stepper).__name__} does not serve this flow: {served.facts.jko}")
    return served


def guarded(flow: Flow, time: float, state: Any, dt: float, memory: Memory, answer: Solve) -> Step:
    """The step as solved; that of JKO where the energy has risen or the solver has failed: without the memory, unless
    the energy is counted in what that holds."""
    before, after = _energies(flow, time, state, dt, answer)
    newton, linear, restarts = answer.iterations, answer.linear, {}
    # Without a memory the step was solved as it would be again.
    if answer.memory and (not answer.converged or rises(flow, before, after)):
        held = answer.converged and answer.energies is not None
        answer = flow.proximal(time + dt, state, dt, memory if held else None)
        after = _energies(flow, time, state, dt, answer)[1]
        newton, linear, restarts = newton + answer.iterations, linear + answer.linear, {"restarts": 1.0}
    spent = {"newton": float(newton), "linear": float(linear), **restarts}
    counts = spent | {"distance": answer.distance, "moving": answer.moving}
    if answer.converged:
        return Step(answer.state, answer.memory, status=judge(flow, answer.state), energy=after, counts=counts)
    return Step(answer.state, status=Status.SOLVER_FAILED, energy=after, counts=counts, note=UNSOLVED)


def _energies(flow: Flow, time: float, state: Any, dt: float, answer: Solve) -> tuple[float, float]:
    if answer.energies is not None:
        return answer.energies
    if not flow.facts.decays:
        return np.nan, np.nan
    return flow.energy(time, state), flow.energy(time + dt, answer.state)
