"""The Metropolis-adjusted Langevin algorithm."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows import Flow
from wflow.kernels import langevin as kernels
from wflow.kernels.shares import share_out
from wflow.states import Particles
from wflow.steppers.protocol import Memory, Noise, Step
from wflow.steppers.stochastic import Schedule, check_cloud, check_schedule, heat, said, walls

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
    all particles, until 0.574 of the proposals are accepted, and then stays, so only the steps after are exact. Every
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
        flow.log_density(0.0, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        heated = heat(flow, self.temperature, time)
        if heated == 0.0:
            raise InputError("MALA needs a positive temperature; take an ordinary stepper where there is no noise")
        known = memory if "drift" in memory and not flow.facts.timed else _here(flow, time, state)
        dt = float(np.exp(memory["log_dt"])) if memory else dt
        scale, done = float(np.sqrt(2.0 * heated * dt)), int(memory.get("steps", 0))
        x, xi, box = np.ascontiguousarray(state.coordinates), noise.normals(state.coordinates.shape), walls(state)
        place, edges = flow.empty(x.shape), (box.lower, box.length, box.kind)

        def propose(low: int, high: int) -> None:
            rows = slice(low, high)
            carried = xi[rows].copy()  # walls mirror it, and the way back needs the noise as it was
            kernels.euler_maruyama(x[rows], known["drift"][rows], dt, scale, carried, *edges, place[rows])

        share_out(lambda _: propose, len(x))
        there = _proposed(flow, time, state, place)
        uniforms, chance = noise.uniforms(len(x)), np.empty(len(x))
        beta = flow.temperature() / heated

        def decide(low: int, high: int) -> None:
            rows = slice(low, high)
            here = (x[rows], known["drift"][rows], known["log_density"][rows], xi[rows], dt, scale, beta)
            ahead = (place[rows], there["drift"][rows], there["log_density"][rows], uniforms[rows])
            kernels.metropolis(*here, *ahead, *edges, chance[rows])

        share_out(lambda _: decide, len(x))
        mean = float(chance.mean())
        gain = FIRST * (done + 1.0) ** -POWER if done < self.warmup else 0.0
        tuned = {"log_dt": np.array(np.log(dt) + gain * (mean - ACCEPTANCE)), "steps": np.array(float(done + 1))}
        counts = {"rates": 1, "acceptance": mean, "proposal_dt": dt}
        return Step(state.at(place), there | tuned, counts=counts)

    def __repr__(self) -> str:
        return said(self)


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
