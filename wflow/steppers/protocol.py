"""What a stepper is: one pure step of a flow, which it knows only through its methods.

A new stepper is a frozen dataclass with `step`, `order` and `adaptive`, in a file of its own or beside its kin, and
its name in `STEPPERS`; all law, order and round-trip tests then run on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from wflow.arrays import Array
from wflow.errors import Status
from wflow.flows import Flow, Memory


class Noise(Protocol):
    """The randomness of one step: the same for the same seed and step, on any number of threads."""

    def normals(self, shape: tuple[int, ...], ahead: int = 0) -> Array:
        """Independent standard normals `(n, d)` of this step, or of the one `ahead` steps later; -1 before the first
        step is a draw that no step uses."""

    def source(self, rows: slice, dim: int) -> tuple[Array, Any, Any]:
        """What a kernel draws from: normals given for those rows, `(m, dim)`, or none, `(0, dim)`; and the seed and
        step, uint64, that key all others and the uniforms."""


@dataclass(frozen=True)
class Step:
    """A step taken: the new state, what the next step needs, the error estimate, a status, and what it cost.

    `error` is in the measure of `flow.error`, nan where there is no estimate. `status` RUNNING is good; anything
    else rejects the step: an adaptive run tries a smaller one, any other stops. `memory` holds plain arrays, so that
    it can be saved. `energy` is F at the new state where the step had to know it, else nan.
    """

    state: Any
    memory: Memory = field(default_factory=dict)
    error: float = float("nan")
    status: Status = Status.RUNNING
    energy: float = float("nan")
    counts: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


class Stepper(Protocol):
    """One step forward."""

    @property
    def order(self) -> float | None:
        """Order of convergence in time; inf where it is exact, so that steps go from frame to frame; None: a
        sampler."""

    @property
    def adaptive(self) -> bool:
        """Whether `step` estimates its error."""

    @property
    def counters(self) -> tuple[str, ...]:
        """Names of `Step.counts` that a result keeps for every step."""

    def check(self, flow: Flow, state: Any) -> None:
        """Raise `InputError` when the stepper cannot serve the flow."""

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        """The state after dt. `memory` is what the last accepted step returned, at first empty or from `begin`."""


@runtime_checkable
class Sweeping(Protocol):
    """A stepper that may take several steps in one pass over memory, with the bits of single ones."""

    def stretch(self, flow: Flow, state: Any, memory: Memory) -> int:
        """The most steps that a sweep may take from here; at least one."""

    def sweep(self, flow: Flow, times: Array, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        """The state after steps of dt that begin at `times` (k,), with `noise` that of the first; `counts` are of each
        step, numbers or arrays (k,). A status other than RUNNING says that one of them failed: take them singly."""


@runtime_checkable
class Tuned(Protocol):
    """A stepper that is not what it will be in its first steps."""

    @property
    def warmup(self) -> int:
        """How many."""


@runtime_checkable
class Framed(Protocol):
    """A stepper part of whose memory belongs to the frames of a result, such as velocities."""

    @property
    def framed(self) -> tuple[str, ...]:
        """Names in the memory; each array has the shape of the state's coordinates."""

    def begin(self, flow: Flow, state: Any, noise: Noise) -> Memory:
        """The memory before the first step."""
