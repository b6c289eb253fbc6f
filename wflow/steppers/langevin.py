"""Overdamped Langevin dynamics: the entropy acts as noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import Status, choose
from wflow.flows import Flow
from wflow.kernels import langevin as kernels
from wflow.kernels.shares import share_out
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

SCHEMES = ("leimkuhler-matthews", "euler-maruyama")


@dataclass(frozen=True, repr=False)
class Langevin:
    """Overdamped Langevin dynamics, dx = drift dt + sqrt(2 T) dW, for an entropy or reverse KL with potentials.

    "leimkuhler-matthews": x' = x + h b(x) + sqrt(2 T h) (ξ + ξ')/2 with ξ' the noise ξ of the next step (Leimkuhler
    and Matthews, Appl. Math. Res. Express 2013, 34). At the cost of Euler–Maruyama its stationary law has
    error O(h²), and none on a Gaussian target; at a fixed time its weak order is 1.

    "euler-maruyama": weak order 1; on a quadratic k x²/2 with T = 1 its stationary variance is exactly 1/(k (1 - h
    k/2)).

    `temperature` multiplies T: text in t such as "1 + 9*exp(-t)", or a function of t.

    Let the end be a multiple of dt: after a last step cut short the law is off by O(h). Cost: one drift and one
    normal per coordinate and step, and one more normal a sweep of up to 32 steps between frames; then 4.2 ns of one
    core a particle and step in 2-D for a polynomial potential, 8 for a Gaussian target, 14 for a mixture of three, else
    12. Memory beside the state: none, as the noise of the last step is drawn again from its counter; with reflecting
    walls that noise, mirrored where its particle was, so that they keep the invariant law.
    """

    scheme: str = "leimkuhler-matthews"
    temperature: Schedule = None

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        choose(self.scheme, SCHEMES, "scheme of Langevin")
        check_schedule(self.temperature)

    def check(self, flow: Flow, state: Any) -> None:
        check_cloud(self, flow, state)

    def stretch(self, flow: Flow, state: Any, memory: Memory) -> int:
        return stretch(flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return self.sweep(flow, np.array([time]), state, dt, memory, noise)

    def sweep(self, flow: Flow, times: Array, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        scales = np.sqrt(2.0 * dt * np.array([heat(flow, self.temperature, time) for time in times]))
        smooth = self.scheme == "leimkuhler-matthews" and scales.max() > 0.0
        x, box, parts = np.ascontiguousarray(state.coordinates), walls(state), compiled(flow, state)
        none = np.empty((0, x.shape[1]))
        drift = none if parts else np.ascontiguousarray(flow.drift(times[0], state))
        out, old = flow.empty(x.shape), memory.get("noise", none)
        new = flow.empty(x.shape) if smooth and box.mirrors else none
        how, bad = ((parts or NOTHING).drift.arrays, times, dt, scales, smooth), []

        def work(low: int, high: int) -> None:
            rows = slice(low, high)
            arrays = (*noise.source(rows, x.shape[1]), low, old[rows], *box.arrays, out[rows], new[rows])
            bad.append(kernels.overdamped(x[rows], drift[rows], *how, *arrays))

        share_out(work, len(x))
        status = Status.NOT_FINITE if any(bad) else Status.RUNNING
        return Step(state.at(out), {"noise": new} if len(new) else {}, status=status, counts={"rates": 1})

    def __repr__(self) -> str:
        return said(self)
