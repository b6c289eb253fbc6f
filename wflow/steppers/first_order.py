"""Gradient steps on sums: of a smooth and a simple term, and of many alike, some of which are drawn at each step."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from scipy.special import ndtr

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows import Flow
from wflow.states import Point
from wflow.steppers.explicit import ExplicitEuler, Heun, judge
from wflow.steppers.optimizers import AdaGrad, Adam, Momentum, Nesterov, RMSProp
from wflow.steppers.protocol import Memory, Noise, Step

INSIDE = (ExplicitEuler, Heun, Momentum, Nesterov, Adam, AdaGrad, RMSProp)


@runtime_checkable
class Summed(Protocol):
    """A flow of an objective that is a sum."""

    def shrunk(self, state: Any, step: float) -> Any:
        """The proximal step of its simple term; the state itself where there is none."""

    def sampled(self, uniforms: Array) -> Flow:
        """The flow of the mean over data drawn by uniforms on (0, 1); `InputError` where it has no data."""


@dataclass(frozen=True)
class ProximalGradient:
    """x⁺ = prox(x - dt ∇f(x)) for f + g with a simple g: explicit in f, implicit in g; f + g falls for dt ≤ 1/L.

    `accelerated` steps from y = x + (t - 1)/t⁺ (x - x₋) with t⁺ = (1 + √(1 + 4 t²))/2: the error falls as 1/k², not
    1/k, but not at every step. Source: Beck & Teboulle, SIAM J. Imaging Sci. 2 (2009) 183, eqs. (4.1)-(4.3).
    """

    accelerated: bool = False

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        if not isinstance(state, Point) or not isinstance(flow, Summed):
            raise InputError(f"ProximalGradient moves a Point, not a {type(state).__name__}")
        if not flow.facts.flat:
            raise InputError(f"a proximal gradient step needs the Euclidean metric, not {flow.name}")

    def step(self, flow: Any, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        start, kept = state, {}
        if self.accelerated:
            count = float(memory.get("count", 1.0))
            following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * count**2))
            push = (count - 1.0) / following * (state.coordinates - memory.get("before", state.coordinates))
            start, kept = state.at(state.coordinates + push), {"count": np.array(following), "before": state.x}
        new = flow.shrunk(flow.move(start, flow.rate(time, start), dt), dt)
        return Step(new, kept, status=judge(flow, new), counts={"rates": 1})


@dataclass(frozen=True)
class MiniBatch:
    """A stepper with the gradient of a few data in place of all: `size` of them drawn anew at each step, with
    replacement.

    For a `Potential(FiniteSum(loss, data))` on a point. The gradient is right in the mean, with a noise whose variance
    falls as 1/size; the draws depend on seed and step alone. At constant dt the point ends in a cloud about the
    minimum: for ExplicitEuler on a quadratic of curvature h, gradient variance s², of variance dt s²/(h (2 - dt h)).
    Source: Robbins & Monro, Ann. Math. Stat. 22 (1951) 400.
    """

    size: int = 1
    stepper: Any = field(default_factory=ExplicitEuler)

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int | np.integer) or self.size < 1:
            raise InputError(f"the size of a MiniBatch is a whole number of at least 1, got {self.size!r}")
        if not isinstance(self.stepper, INSIDE):
            names = ", ".join(s.__name__ for s in INSIDE)
            raise InputError(f"a MiniBatch goes with {names}, got {self.stepper!r}")

    def check(self, flow: Flow, state: Any) -> None:
        if not isinstance(flow, Summed):
            raise InputError(f"MiniBatch moves a Point in a mean over data, not a {type(state).__name__}")
        self.stepper.check(flow.sampled(np.array([0.5])), state)

    def step(self, flow: Any, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        part = flow.sampled(ndtr(noise.normals((int(self.size), 1))).ravel())
        return replace(self.stepper.step(part, time, state, dt, memory, noise), energy=np.nan)
