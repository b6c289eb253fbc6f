"""What the stochastic steppers share: a temperature that changes with time, walls, and how many steps at a time."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.expression import COMPILE_FROM, Expression
from wflow.flows import Flow, Parts, Pointwise
from wflow.states import Particles

Schedule = str | Callable[[float], float] | None


def check_schedule(temperature: Schedule) -> None:
    """Refuse what is neither None, text in t alone, nor a function of t."""
    if temperature is None or callable(temperature):
        return
    if not isinstance(temperature, str):
        raise InputError(f"temperature is text in t such as 'exp(-t)', or a function of t, got {temperature!r}")
    if Expression(temperature).dim:
        raise InputError(f"temperature may depend on t alone, got {temperature!r}")


_schedule = lru_cache(maxsize=32)(Expression)  # reading an expression takes a millisecond, a step may take less


def heat(flow: Flow, temperature: Schedule, time: float) -> float:
    """The temperature of the flow times its schedule at a time."""
    base = flow.temperature()
    if temperature is None:
        return base
    if isinstance(temperature, str):
        factor = float(_schedule(temperature).value(np.zeros((1, 1)), time)[0])
    else:
        factor = float(temperature(time))
    if not (np.isfinite(factor) and factor >= 0.0):
        raise InputError(f"the temperature's factor must be finite and not negative, got {factor} at t = {time:g}")
    return base * factor


def check_cloud(stepper: Any, flow: Flow, state: Any) -> None:
    """Refuse other states than clouds, and flows without a noisy form."""
    if not isinstance(state, Particles):
        raise InputError(f"{type(stepper).__name__} moves Particles, not a {type(state).__name__}")
    heat(flow, stepper.temperature, 0.0)
    flow.drift(0.0, state)


def said(stepper: Any) -> str:
    """A stepper as text: functions by their name, not by their place in memory."""
    values = [(f.name, getattr(stepper, f.name)) for f in fields(stepper)]
    parts = [f"{name}={getattr(value, '__qualname__', repr(value))}" for name, value in values]
    return f"{type(stepper).__name__}({', '.join(parts)})"


@dataclass(frozen=True)
class Walls:
    """A box as the kernels take it: `kind` 1 reflects, 2 wraps; arrays of size 0 are free space."""

    lower: Array
    length: Array
    kind: Any

    @property
    def arrays(self) -> tuple[Any, ...]:
        return self.lower, self.length, self.kind

    @property
    def mirrors(self) -> bool:
        """Whether a wall turns round what a particle carries."""
        return bool(np.any(self.kind == 1))


def walls(state: Particles) -> Walls:
    """The walls of a cloud."""
    domain = state.domain
    if domain is None:
        return Walls(np.empty(0), np.empty(0), np.empty(0, np.int64))
    kind = np.array([2 if periodic else 1 for periodic in domain.periodic])
    return Walls(np.array(domain.lower), domain.upper - domain.lower, kind)


NOTHING = Pointwise(Parts(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), ()), None)
SWEEP = 32  # steps in one pass: reading, writing and drawing the first noise again cost a tenth of so many


def compiled(flow: Flow, state: Particles) -> Pointwise | None:
    """The drift and law as machine code; None where there is none, or the cloud is too small to be worth it."""
    return flow.compiled() if len(state) >= COMPILE_FROM else None


def stretch(flow: Flow, state: Particles) -> int:
    """How many steps a sweep may take: one where the drift comes from outside the kernels."""
    return 1 if compiled(flow, state) is None else SWEEP
