"""The Metropolis-adjusted Langevin algorithm."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows import Flow, Pointwise
from wflow.kernels import metropolis as kernels
from wflow.kernels.langevin import overdamped
from wflow.kernels.noise import BLOCK
from wflow.kernels.shares import share_out
from wflow.states import Particles
from wflow.steppers.protocol import Memory, Noise, Step
from wflow.steppers.stochastic import (
    NOTHING,
    Schedule,
    check_cloud,
    check_schedule,
    compiled,
    heat,
    said,
    stretch,
    walls,
)

# Best acceptance of the algorithm in many dimensions: Roberts and Rosenthal, J. R. Statist. Soc. B 60 (1998) 255.
ACCEPTANCE = 0.574
# Robbins–Monro gains FIRST k^-POWER: a hundred of them move the step by up to five orders of magnitude, and the last
# are small enough to average the noise of a single particle's acceptance.
FIRST, POWER = 2.0, 0.6


@dataclass(frozen=True, repr=False)
class MALA:
    """Langevin proposals, accepted or refused so that the invariant law is exactly the target's, at any step.

    Each step proposes x + h b(x) + sqrt(2 T h) ξ and accepts it with the probability of Metropolis and Hastings
    (Roberts and Tweedie, Bernoulli 2 (1996) 341). h is dt at first; in the first `warmup` steps it is tuned, one for
    all particles, until 0.574 of the proposals are accepted, and then stays, so only the steps after are exact; where a
    run has none of these, `info["stepper_reason"]` says so. Every
    step counts as dt of time, whatever h is: the path is no solution of the SDE, its law in the end is what matters.

    `temperature` multiplies T, as in `Langevin`; the law is then p^(1/temperature). Per step: `acceptance`, the mean
    probability of acceptance, and `proposal_dt`, the h used. At walls proposals are folded back, which is exact.
    Needs an invariant density: an entropy or reverse KL with potentials, without interactions or drift. Where V grows
    faster than a quadratic, particles far out refuse nearly all long steps (Roberts and Tweedie, theorem 4.2): start
    the cloud where the mass is.
    """

    warmup: int = 100
    temperature: Schedule = None

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates", "acceptance", "proposal_dt")

    def __post_init__(self) -> None:
        if isinstance(self.warmup, bool) or not isinstance(self.warmup, int | np.integer) or self.warmup < 0:
            raise InputError(f"warmup is a number of steps, 0 for none, got {self.warmup!r}")
        check_schedule(self.temperature)

    def check(self, flow: Flow, state: Any) -> None:
        check_cloud(self, flow, state)
        bad = np.flatnonzero(np.isnan(flow.log_density(0.0, state)))
        if len(bad):
            raise InputError(
                f"MALA needs an invariant density at the start: it is not a number at {len(bad)} of {len(state)} "
                f"particles, the first of them number {bad[0]}"
            )

    def stretch(self, flow: Flow, state: Any, memory: Memory) -> int:
        return stretch(flow, state) if float(memory.get("steps", 0.0)) >= self.warmup else 1

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return self.sweep(flow, np.array([time]), state, dt, memory, noise)

    def sweep(self, flow: Flow, times: Array, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        heated = np.array([heat(flow, self.temperature, time) for time in times])
        if heated.min() == 0.0:
            raise InputError("MALA needs a positive temperature; take an ordinary stepper where there is no noise")
        dt = float(np.exp(memory["log_dt"])) if memory else dt
        done, parts = int(memory.get("steps", 0)), compiled(flow, state)
        if parts is None:
            step, chances = _slowly(flow, times[0], state, dt, float(heated[0]), memory, noise)
        else:
            step, chances = _swept(parts, flow, times, state, dt, heated, noise)
        mean = chances / len(state)
        gain = FIRST * (done + 1.0) ** -POWER if done < self.warmup else 0.0
        log_dt = np.array(np.log(dt) + gain * (mean[-1] - ACCEPTANCE))
        tuned = {"log_dt": log_dt, "steps": np.array(float(done + len(times)))}
        counts = {"rates": 1, "acceptance": mean, "proposal_dt": dt}
        return replace(step, memory=step.memory | tuned, counts=counts)

    def __repr__(self) -> str:
        return said(self)


def _swept(
    parts: Pointwise, flow: Flow, times: Array, state: Any, dt: float, heated: Array, noise: Noise
) -> tuple[Step, Array]:
    """Steps inside the kernel, and the sums of the chances of each."""
    x, box, out = np.ascontiguousarray(state.coordinates), walls(state), flow.empty(state.coordinates.shape)
    law = parts.law or NOTHING.drift
    beta = flow.temperature() / heated
    how = (parts.drift.arrays, law.arrays, flow.facts.timed, times, dt, np.sqrt(2.0 * heated * dt), beta)
    chances = np.empty((-(-len(x) // BLOCK), len(times)))

    def work(low: int, high: int) -> None:
        rows, blocks = slice(low, high), slice(low // BLOCK, -(-high // BLOCK))
        arrays = (*noise.source(rows, x.shape[1]), low, *box.arrays, out[rows], chances[blocks])
        kernels.metropolis(x[rows], *how, *arrays)

    share_out(work, len(x))
    return Step(state.at(out)), np.ascontiguousarray(chances.T).sum(axis=1)


def _slowly(
    flow: Flow, time: float, state: Any, dt: float, heated: float, memory: Memory, noise: Noise
) -> tuple[Step, Array]:
    """One step whose drift and law come from outside the kernels, and the sum of the chances."""
    known = memory if "drift" in memory and not flow.facts.timed else _here(flow, time, state)
    x, box, place = np.ascontiguousarray(state.coordinates), walls(state), np.empty(state.coordinates.shape)
    scale, none = float(np.sqrt(2.0 * heated * dt)), np.empty((0, x.shape[1]))
    source: tuple[Any, ...] = noise.source(slice(None), x.shape[1])
    how = (NOTHING.drift.arrays, np.array([time]), dt, np.array([scale]), False, *source, 0)
    arrays: tuple[Any, ...] = (*how, none, *box.arrays, place, none)
    overdamped(x, known["drift"], *arrays)
    there = _proposed(flow, time, state, place)
    ahead: tuple[Any, ...] = (place, there["drift"], there["log_density"])
    more: tuple[Any, ...] = (dt, scale, flow.temperature() / heated, *source, *box.arrays)
    total = kernels.decide(x, known["drift"], known["log_density"], *ahead, *more)
    return Step(state.at(place), there), np.array([total])


def _here(flow: Flow, time: float, state: Particles) -> dict[str, Array]:
    drift = np.array(flow.drift(time, state), order="C")
    return {"drift": drift, "log_density": np.array(flow.log_density(time, state))}


def _proposed(flow: Flow, time: float, state: Particles, place: Array) -> dict[str, Array]:
    """Drift and log density of proposals; those that are not finite are put back, with log density -inf."""
    lost = ~np.isfinite(place).all(axis=1)
    place[lost] = state.coordinates[lost]
    found = _here(flow, time, state.at(place[:]))
    found["log_density"][lost] = -np.inf
    return found
