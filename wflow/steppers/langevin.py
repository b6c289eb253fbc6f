"""Overdamped Langevin dynamics: the entropy acts as noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.errors import Status, choose
from wflow.flows import Flow
from wflow.kernels import langevin as kernels
from wflow.kernels.shares import Work, share_out
from wflow.steppers.protocol import Memory, Noise, Step
from wflow.steppers.stochastic import Schedule, check_cloud, check_schedule, drift_by_shares, heat, said, walls

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
    normal per coordinate and step; 9 ns of one core a particle in 2-D for a polynomial potential. Memory beside the
    state: the noise ξ', mirrored where its particle was, so that reflecting walls keep the invariant law.
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

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        scale = float(np.sqrt(2.0 * heat(flow, self.temperature, time) * dt))
        smooth = self.scheme == "leimkuhler-matthews" and scale > 0.0
        x, box, drift = np.ascontiguousarray(state.coordinates), walls(state), drift_by_shares(flow, time, state)
        out, new = flow.empty(x.shape), flow.empty(x.shape if smooth else (0,))
        old, bad = memory.get("noise"), []

        def prepare(count: int) -> Work:
            slopes, draws = np.empty((count, x.shape[1])), np.zeros((count, x.shape[1]))

            def work(low: int, high: int) -> None:
                rows, xi = slice(low, high), draws[: high - low]
                b, edges = drift(low, high, slopes), (box.lower, box.length, box.kind, out[rows])
                if smooth and old is not None:
                    xi = old[rows]
                elif scale > 0.0:
                    noise.fill(low, xi)
                if smooth:
                    noise.fill(low, new[rows], ahead=1)
                    bad.append(kernels.leimkuhler_matthews(x[rows], b, dt, scale, xi, new[rows], *edges))
                else:
                    bad.append(kernels.euler_maruyama(x[rows], b, dt, scale, xi, *edges))

            return work

        share_out(prepare, len(x))
        status = Status.NOT_FINITE if any(bad) else Status.RUNNING
        return Step(state.at(out), {"noise": new} if smooth else {}, status=status, counts={"rates": 1})

    def __repr__(self) -> str:
        return said(self)
