"""Stochastic steppers: the entropy acts as noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.errors import InputError, choose
from wflow.flows import Flow
from wflow.states import Particles
from wflow.steppers.explicit import judge
from wflow.steppers.protocol import Memory, Noise, Step

SCHEMES = ("euler-maruyama",)


@dataclass(frozen=True)
class Langevin:
    """Overdamped Langevin dynamics, dx = drift dt + sqrt(2 T) dW, for an entropy or reverse KL with potentials.

    "euler-maruyama": weak order 1; on a quadratic k x²/2 with T = 1 its stationary variance is exactly 1/(k (1 - h
    k/2)).
    """

    scheme: str = "euler-maruyama"

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        choose(self.scheme, SCHEMES, "scheme of Langevin")

    def check(self, flow: Flow, state: Any) -> None:
        if not isinstance(state, Particles):
            raise InputError(f"Langevin moves Particles, not a {type(state).__name__}")
        flow.drift(0.0, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        kick = np.sqrt(2.0 * flow.temperature() * dt) * noise.normals(state.coordinates.shape)
        moved = flow.move(state, dt * flow.drift(time, state) + kick, 1.0)
        return Step(moved, status=judge(flow, moved), counts={"rates": 1})
