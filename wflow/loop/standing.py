"""Where a run stands between two steps: all that the next one depends on, and its form as plain arrays."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.kernels import noise as kernels
from wflow.loop.control import Controller, first_step, open_controller
from wflow.loop.ledger import Ledger, open_ledger
from wflow.loop.plan import Plan
from wflow.steppers import Framed, Memory

NUMBERS = ("time", "dt", "done", "last", "reserve", "singular")
LEDGER = ("time", "start", "spent", "power", "residual")
MEMORY = "memory/"


@dataclass(frozen=True)
class CounterNoise:
    """Random numbers of one step, a function of (seed, step, particle) alone."""

    seed: int
    step: int

    def normals(self, shape: tuple[int, ...], ahead: int = 0) -> Array:
        return kernels.normals(self.seed, self.step + ahead, np.empty(shape))

    def source(self, rows: slice, dim: int) -> tuple[Array, np.uint64, np.uint64]:
        return np.empty((0, dim)), np.uint64(self.seed % 2**64), np.uint64(self.step % 2**64)


@dataclass(frozen=True)
class Standing:
    """Time, state, the stepper's memory, the next step to try, the controller, the balance, and steps done.

    Noise needs nothing: it is counted by the steps done. The frames still to come follow from the time.
    """

    time: float
    state: Any
    memory: Memory
    dt: float
    controller: Controller
    ledger: Ledger | None
    done: int


def opening(plan: Plan) -> Standing:
    """Where a run stands before its first step. A flow that is not defined at the start is refused here, before any
    file is made."""
    with np.errstate(all="ignore"):
        if plan.flow.facts.metered and np.isnan(plan.flow.energy(0.0, plan.state)):
            raise InputError(f"the energy of {plan.state!r} is not a number: the functional is not defined there")
    dt = _first(plan)
    memory: Memory = {}
    if isinstance(plan.stepper, Framed):
        memory = plan.stepper.begin(plan.flow, plan.state, CounterNoise(plan.seed, 0))
    controller = open_controller(plan.flow, plan.state, plan.tol, plan.t_end)
    return Standing(0.0, plan.state, memory, dt, controller, open_ledger(plan), 0)


def extras(plan: Plan, memory: Memory) -> dict[str, Array]:
    """The part of a memory that belongs to a frame."""
    return {name: memory[name] for name in plan.framed}


def to_arrays(standing: Standing, weighted: bool = False) -> dict[str, Array]:
    """A standing as named arrays, from which `from_arrays` makes it again bit for bit; with the weights of a cloud
    where they change."""
    control, ledger = standing.controller, standing.ledger
    numbers = (standing.time, standing.dt, standing.done, control.last, control.reserve, control.singular)
    found = {"coordinates": standing.state.coordinates, "numbers": np.array([float(x) for x in numbers])}
    if weighted:
        found["weights"] = standing.state.weights
    if ledger is not None:
        found["ledger"] = np.array([getattr(ledger, name) for name in LEDGER])
    return found | {MEMORY + name: np.asarray(array) for name, array in standing.memory.items()}


def from_arrays(plan: Plan, arrays: dict[str, Array]) -> Standing:
    """The standing that `to_arrays` wrote, for the same plan; raises `InputError` where it does not fit."""
    coordinates, numbers = arrays.get("coordinates", np.empty(0)), arrays.get("numbers", np.empty(0))
    wanted = np.shape(plan.state.coordinates)
    if coordinates.shape != wanted or numbers.shape != (len(NUMBERS),):
        raise InputError(f"the checkpoint holds {coordinates.shape} coordinates, the state {wanted}: it is another run")
    time, dt, done, last, reserve, singular = (float(x) for x in numbers)
    opened = open_controller(plan.flow, plan.state, plan.tol, plan.t_end)
    controller = replace(opened, last=last, reserve=reserve, singular=bool(singular))
    ledger = Ledger(*(float(x) for x in arrays["ledger"])) if "ledger" in arrays else None
    memory = {name.removeprefix(MEMORY): array for name, array in arrays.items() if name.startswith(MEMORY)}
    state = plan.state.at(coordinates)
    if "weights" in arrays:
        state = state.with_parts(coordinates, arrays["weights"], state.domain)
    return Standing(time, state, memory, dt, controller, ledger, int(done))


def _first(plan: Plan) -> float:
    """The first step to try: the fixed one, the whole way for an exact stepper, or a guess."""
    if plan.dt is not None:
        if plan.stepper.order is not None:
            with np.errstate(all="ignore"):
                plan.flow.rate(0.0, plan.state)
        return plan.dt
    if plan.stepper.order == np.inf:
        return plan.t_end
    return first_step(plan.flow, plan.state, plan.t_end, plan.tol)
