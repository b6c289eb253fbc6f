"""The march: accepted steps one after another, fixed or adapted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, Status
from wflow.kernels import noise as kernels
from wflow.loop.control import Controller, first_step, open_controller
from wflow.loop.ledger import Ledger, open_ledger
from wflow.loop.plan import Plan
from wflow.loop.recorder import step_names
from wflow.steppers import Framed, Memory, Step


@dataclass(frozen=True)
class CounterNoise:
    """Random numbers of one step, a function of (seed, step, particle) alone."""

    seed: int
    step: int

    def normals(self, shape: tuple[int, ...], ahead: int = 0) -> Array:
        return kernels.normals(self.seed, self.step + ahead, np.empty(shape))

    def fill(self, low: int, out: Array, ahead: int = 0) -> None:
        kernels.fill_normals(np.uint64(self.seed), np.uint64((self.step + ahead) % 2**64), low, out)

    def uniforms(self, count: int) -> Array:
        return kernels.uniforms(self.seed, self.step, 1, np.empty(count))


@dataclass(frozen=True)
class Moment:
    """Where a run stands after an accepted step: time, state, its numbers, and whether a frame is due; `extras` is
    what of the stepper's memory belongs to a frame."""

    time: float
    state: Any
    numbers: dict[str, float]
    energy: float
    status: Status
    due: bool
    extras: dict[str, Array] = field(default_factory=dict)
    note: str = ""


def beginning(plan: Plan) -> Memory:
    """The memory of the stepper before the first step."""
    if isinstance(plan.stepper, Framed):
        return plan.stepper.begin(plan.flow, plan.state, CounterNoise(plan.seed, 0))
    return {}


def extras(plan: Plan, memory: Memory) -> dict[str, Array]:
    """The part of a memory that belongs to a frame."""
    return {name: memory[name] for name in plan.stepper.framed} if isinstance(plan.stepper, Framed) else {}


def march(plan: Plan, memory: Memory) -> Iterator[Moment]:
    """Accepted steps until the end, from the stepper's `memory` on; the last moment carries the final status.

    A moment with empty `numbers` is no step: it repeats the last state with the status that ended the run.
    """
    # At once, not with the first step: a flow that is not defined at the start is refused before any file is made.
    return _march(plan, _first(plan), memory)


def _march(plan: Plan, dt: float, memory: Memory) -> Iterator[Moment]:
    time, state, done = 0.0, plan.state, 0
    controller = open_controller(plan.flow, state, plan.tol, plan.t_end)
    pending = [] if plan.frames is None else [float(t) for t in plan.frames]
    ledger = open_ledger(plan)
    while True:
        if plan.max_steps is not None and done >= plan.max_steps:
            yield Moment(time, state, {}, np.nan, Status.MAX_STEPS, False, extras(plan, memory))
            return
        goal = pending[0] if pending else plan.t_end
        noise = CounterNoise(plan.seed, done)
        if plan.dt is None:
            attempt = _adaptive_step(plan, controller, time, state, dt, goal, memory, noise)
        else:
            attempt = _fixed_step(plan, time, state, done, memory, noise)
        if attempt.status is not Status.RUNNING:
            yield Moment(time, state, {}, np.nan, attempt.status, False, extras(plan, memory), attempt.step.note)
            return
        step, new_time, controller, dt = attempt.step, attempt.time, attempt.controller, attempt.dt
        state, memory, done = step.state, step.memory, done + 1
        ended = new_time >= plan.t_end
        energy = _energy(plan, step, new_time)
        if ledger is not None:
            ledger = ledger.after(plan, new_time, state, memory, energy)
        numbers = _numbers(plan, step, new_time, new_time - time, energy, attempt.rejections, ledger)
        time = new_time
        stopped = plan.stop is not None and bool(plan.stop(time, state))
        due = plan.frames is None or ended or stopped or (bool(pending) and time >= pending[0] * (1.0 - 1e-13))
        while pending and time >= pending[0] * (1.0 - 1e-13):
            pending.pop(0)
        status = Status.COMPLETE if ended else Status.STOPPED if stopped else Status.RUNNING
        yield Moment(time, state, numbers, energy, status, due, extras(plan, memory))
        if ended or stopped:
            return


def _energy(plan: Plan, step: Step, time: float) -> float:
    """The energy after a step: the step's own, or taken now where it is cheap."""
    if np.isfinite(step.energy) or not plan.flow.facts.metered:
        return step.energy
    with np.errstate(all="ignore"):
        return plan.flow.energy(time, step.state)


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


@dataclass(frozen=True)
class Attempt:
    """One step tried until it is good: the step, the time it reaches, the controller and the next dt."""

    step: Step
    time: float
    controller: Controller
    dt: float
    rejections: int
    status: Status


def _try(plan: Plan, time: float, state: Any, dt: float, memory: Memory, noise: CounterNoise) -> Step:
    try:
        with np.errstate(all="ignore"):
            return plan.stepper.step(plan.flow, time, state, dt, memory, noise)
    except (InputError, np.linalg.LinAlgError) as error:
        # The flow is not defined at a state reached inside the step.
        return Step(state, status=Status.UNDEFINED, note=str(error))


def _fixed_step(plan: Plan, time: float, state: Any, done: int, memory: Memory, noise: CounterNoise) -> Attempt:
    assert plan.dt is not None
    # Times are multiples of dt, not sums: no rounding piles up.
    last = plan.count is not None and done + 1 >= plan.count
    new_time = plan.t_end if last else (done + 1) * plan.dt
    dt = plan.dt if not last else min(plan.dt, plan.t_end - done * plan.dt)
    dt = plan.dt if abs(dt - plan.dt) <= 1e-9 * plan.dt else dt
    step = _try(plan, time, state, dt, memory, noise)
    return Attempt(step, new_time, Controller(plan.tol, False), plan.dt, 0, step.status)


def _adaptive_step(
    plan: Plan,
    controller: Controller,
    time: float,
    state: Any,
    dt: float,
    goal: float,
    memory: Memory,
    noise: CounterNoise,
) -> Attempt:
    rejections, wanted, step = 0, dt, None
    while True:
        # Two steps of nearly equal size reach a frame better than a long and a tiny one.
        gap = goal - time
        lands = dt >= gap * (1.0 - 1e-10)
        size = gap if lands else min(dt, 0.5 * gap) if dt > 0.5 * gap else dt
        if size < 1e-15 * plan.t_end or time + size == time:
            status = Status.STEP_UNDERFLOW if step is None or not step.note else Status.UNDEFINED
            return Attempt(step or Step(state), time, controller, dt, rejections, status)
        step = _try(plan, time, state, size, memory, noise)
        # A second-order step asks for a few smaller ones at most; one that still fails stands at a singularity.
        singular = controller.singular or rejections >= 3 or step.counts.get("fallbacks", 0.0) > 0.0
        ratio = controller.ratio(step.error, size, singular) if step.status is Status.RUNNING else np.nan
        if ratio <= 1.0:
            after, following = controller.accepted(ratio, size, step.error)
            following = plan.t_end if plan.stepper.order == np.inf else following
            # A step cut short to land on a frame says little about the next one.
            following = max(following, wanted) if lands and rejections == 0 and wanted > size else following
            return Attempt(step, goal if lands else time + size, after, following, rejections, Status.RUNNING)
        dt, rejections = controller.rejected(ratio, size), rejections + 1
        if rejections > 100:
            status = step.status if step.status is not Status.RUNNING else Status.STEP_UNDERFLOW
            return Attempt(step, time, controller, dt, rejections, status)


def _numbers(
    plan: Plan, step: Step, time: float, dt: float, energy: float, rejections: int, ledger: Ledger | None
) -> dict[str, float]:
    values = {"time": time, "dt": dt, "energy": energy, "error": step.error, "rejections": float(rejections)}
    if ledger is not None:
        values |= {"dissipation": ledger.power, "balance": ledger.residual}
    if plan.flow.facts.per_time:
        values |= plan.flow.measures(time, step.state)
    return {name: float({**values, **step.counts}.get(name, 0.0)) for name in step_names(plan)}
