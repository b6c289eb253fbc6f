"""Optimizers with memory, in PyTorch's conventions: on points, and wherever the coordinates are free of constraints.

The gradient g is minus the rate of the flow, in the flow's metric; dt is the learning rate. They are no
discretisation of the flow to an order: `time` counts dt a step.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows import Flow
from wflow.states import Density
from wflow.steppers.explicit import judge
from wflow.steppers.protocol import Memory, Noise, Step


def check_free(stepper: Any, flow: Flow, state: Any) -> None:
    """Refuse densities, whose coordinates are not free, and flows that are not defined at the start."""
    if isinstance(state, Density):
        raise InputError(
            f"{type(stepper).__name__} moves points, particles and Gaussians; on a density, which must stay positive "
            "with its mass, take TRBDF2"
        )
    with np.errstate(all="ignore"):
        flow.rate(0.0, state)


def check_share(name: str, value: float) -> None:
    """Refuse what is not in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0:
        raise InputError(f"{name} must be a number from 0 to below 1, got {value!r}")


def check_small(name: str, value: float) -> None:
    """Refuse what is no positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < np.inf:
        raise InputError(f"{name} must be a positive number, got {value!r}")


def finish(flow: Flow, state: Any, direction: Array, dt: float, memory: Memory) -> Step:
    """The step along a direction."""
    new = flow.move(state, direction, dt)
    return Step(new, memory, status=judge(flow, new), counts={"rates": 1})


@dataclass(frozen=True)
class Momentum:
    """The heavy ball (Polyak 1964): v ← μ v + (1 - damping) g, at first v = g; x ← x - dt v.

    For small dt it follows x'' = -∇F - ((1 - μ)/√dt) x' in the time √dt per step: a second-order flow.
    """

    momentum: float = 0.9
    damping: float = 0.0

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        check_share("momentum", self.momentum)
        check_share("damping", self.damping)

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        rate = flow.rate(time, state)
        push = self.momentum * memory["push"] + (1.0 - self.damping) * rate if memory else rate
        return finish(flow, state, push, dt, {"push": push})


@dataclass(frozen=True)
class Nesterov:
    """Nesterov's momentum (Sutskever et al., ICML 2013): v ← μ v + g, x ← x - dt (g + μ v)."""

    momentum: float = 0.9

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        check_share("momentum", self.momentum)

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        rate = flow.rate(time, state)
        push = self.momentum * memory["push"] + rate if memory else rate
        return finish(flow, state, rate + self.momentum * push, dt, {"push": push})


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1): m ← β₁ m + (1 - β₁) g, s ← β₂ s + (1 - β₂) g²;
    x ← x - dt m̂/(√ŝ + eps) with m̂ = m/(1 - β₁ᵏ), ŝ = s/(1 - β₂ᵏ)."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            raise InputError(f"betas must be a pair of numbers, got {self.betas!r}")
        for value in self.betas:
            check_share("each of betas", value)
        check_small("eps", self.eps)

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        rate, (first, second) = flow.rate(time, state), self.betas
        zero = np.zeros_like(rate)
        mean = first * memory.get("mean", zero) + (1.0 - first) * rate
        square = second * memory.get("square", zero) + (1.0 - second) * rate**2
        count = float(memory.get("count", 0.0)) + 1.0
        size = np.sqrt(square) / np.sqrt(1.0 - second**count) + self.eps
        kept = {"mean": mean, "square": square, "count": np.array(count)}
        return finish(flow, state, mean / (1.0 - first**count) / size, dt, kept)


@dataclass(frozen=True)
class AdaGrad:
    """AdaGrad (Duchi, Hazan & Singer, JMLR 12 (2011) 2121): s ← s + g², x ← x - dt g/(√s + eps)."""

    eps: float = 1e-10

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        check_small("eps", self.eps)

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        rate = flow.rate(time, state)
        total = memory.get("total", np.zeros_like(rate)) + rate**2
        return finish(flow, state, rate / (np.sqrt(total) + self.eps), dt, {"total": total})


@dataclass(frozen=True)
class RMSProp:
    """RMSProp (Tieleman & Hinton 2012): s ← α s + (1 - α) g², x ← x - dt g/(√s + eps)."""

    alpha: float = 0.99
    eps: float = 1e-8

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def __post_init__(self) -> None:
        check_share("alpha", self.alpha)
        check_small("eps", self.eps)

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        rate = flow.rate(time, state)
        square = self.alpha * memory.get("square", np.zeros_like(rate)) + (1.0 - self.alpha) * rate**2
        return finish(flow, state, rate / (np.sqrt(square) + self.eps), dt, {"square": square})
