"""The march: accepted steps one after another, fixed or adapted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, Status
from wflow.flows import Split
from wflow.loop.control import Controller
from wflow.loop.ledger import Ledger, measured
from wflow.loop.plan import Plan
from wflow.loop.recorder import step_names
from wflow.loop.standing import CounterNoise, Standing, extras
from wflow.steppers import Step, Sweeping, advance


@dataclass(frozen=True)
class Moment:
    """An accepted step, or several taken at once: where the run stands after it, the numbers of each, and whether a
    frame is due; `extras` is what of the stepper's memory belongs to a frame."""

    standing: Standing
    numbers: tuple[dict[str, float], ...]
    energy: float
    status: Status
    due: bool
    extras: dict[str, Array] = field(default_factory=dict)
    note: str = ""

    @property
    def time(self) -> float:
        return self.standing.time

    @property
    def state(self) -> Any:
        return self.standing.state


def march(plan: Plan, standing: Standing, recorded: bool = True) -> Iterator[Moment]:
    """Accepted steps from a standing until the end; the last moment carries the final status. Unless `recorded`,
    energies are taken only where they are cheap.

    A moment with empty `numbers` is no step: it repeats the last state with the status that ended the run.
    """
    pending = [] if plan.frames is None else [float(t) for t in plan.frames if not _reached(standing.time, t)]
    while True:
        if plan.max_steps is not None and standing.done >= plan.max_steps:
            yield Moment(standing, (), np.nan, Status.MAX_STEPS, False, extras(plan, standing.memory))
            return
        goal = pending[0] if pending else plan.t_end
        attempt = _fixed_step(plan, standing, goal) if plan.dt else _adaptive_step(plan, standing, goal)
        if attempt.status is not Status.RUNNING:
            held = extras(plan, standing.memory)
            yield Moment(standing, (), np.nan, attempt.status, False, held, attempt.step.note)
            return
        before, energy = standing.time, _energy(plan, attempt.step, attempt.time, recorded)
        if np.isnan(energy) and plan.flow.facts.metered:
            held = extras(plan, standing.memory)
            yield Moment(standing, (), np.nan, Status.NOT_FINITE, False, held, "the energy is not a number there")
            return
        standing = _after(plan, standing, attempt, energy)
        time, state = standing.time, standing.state
        ended = time >= plan.t_end
        stopped = plan.stop is not None and bool(plan.stop(time, state))
        due = plan.frames is None or ended or stopped or (bool(pending) and _reached(time, pending[0]))
        while pending and _reached(time, pending[0]):
            pending.pop(0)
        if recorded and due and np.isnan(energy) and plan.energetic:  # which the frame needs anyhow
            energy = _measured(plan, time, state)
        numbers = _numbers(plan, attempt, before, energy, standing.ledger)
        status = Status.COMPLETE if ended else Status.STOPPED if stopped else Status.RUNNING
        yield Moment(standing, numbers, energy, status, due, extras(plan, standing.memory))
        if ended or stopped:
            return


def _reached(time: float, frame: float) -> bool:
    return time >= frame * (1.0 - 1e-13)


def _after(plan: Plan, standing: Standing, attempt: "Attempt", energy: float) -> Standing:
    step, ledger = attempt.step, standing.ledger
    if ledger is not None:
        ledger = ledger.after(plan, attempt.time, step.state, step.memory, energy)
    done = standing.done + len(attempt.times)
    return Standing(attempt.time, step.state, step.memory, attempt.dt, attempt.controller, ledger, done)


def _energy(plan: Plan, step: Step, time: float, recorded: bool) -> float:
    """The energy after a step: the step's own, or taken now where it is cheap."""
    taken = plan.gauged if recorded else plan.flow.facts.metered
    return step.energy if np.isfinite(step.energy) or not taken else _measured(plan, time, step.state)


def _measured(plan: Plan, time: float, state: Any) -> float:
    with np.errstate(all="ignore"):
        return measured(plan.flow.energy, time, state)


@dataclass(frozen=True)
class Attempt:
    """One step tried until it is good: the step, the time it reaches, the controller and the next dt. Or a sweep of
    several, with all the times that they reach."""

    step: Step
    times: tuple[float, ...]
    controller: Controller
    dt: float
    rejections: int
    status: Status

    @property
    def time(self) -> float:
        return self.times[-1]


def _fixed_step(plan: Plan, standing: Standing, goal: float) -> Attempt:
    assert plan.dt is not None
    # Times are multiples of dt, not sums: no rounding piles up.
    done = standing.done
    ahead = _sweepable(plan, standing, goal)
    if ahead > 1:
        swept = _try(plan, standing, plan.dt, ahead)
        if swept.status is Status.RUNNING:
            times = tuple((done + k) * plan.dt for k in range(1, ahead + 1))
            return Attempt(swept, times, standing.controller, plan.dt, 0, swept.status)
        # Some step of it failed: singly, those before it are kept.
    last = plan.count is not None and done + 1 >= plan.count
    new_time = plan.t_end if last else (done + 1) * plan.dt
    dt = plan.dt if not last else min(plan.dt, plan.t_end - done * plan.dt)
    dt = plan.dt if abs(dt - plan.dt) <= 1e-9 * plan.dt else dt
    step = _try(plan, standing, dt)
    return Attempt(step, (new_time,), standing.controller, plan.dt, 0, step.status)


def _sweepable(plan: Plan, standing: Standing, goal: float) -> int:
    """How many steps may be taken at once: as long as nobody asks between them, up to the next frame, but for the
    last one, which may be cut short."""
    asked = plan.stop is not None or plan.frames is None or plan.flow.facts.metered or standing.ledger is not None
    asked = asked or (isinstance(plan.flow, Split) and plan.flow.transport is not None)
    if asked or plan.count is None or plan.dt is None or not isinstance(plan.stepper, Sweeping):
        return 1
    most = min(plan.stepper.stretch(plan.flow, standing.state, standing.memory), plan.count - 1 - standing.done)
    if plan.max_steps is not None:
        most = min(most, plan.max_steps - standing.done)
    return next((k for k in range(1, most) if _reached((standing.done + k) * plan.dt, goal)), most)


def _adaptive_step(plan: Plan, standing: Standing, goal: float) -> Attempt:
    time, controller, dt = standing.time, standing.controller, standing.dt
    rejections, wanted, step, failed = 0, dt, None, (np.nan, np.nan)
    while True:
        # Two steps of nearly equal size reach a frame better than a long and a tiny one.
        gap = goal - time
        lands = dt >= gap * (1.0 - 1e-10)
        size = gap if lands else min(dt, 0.5 * gap) if dt > 0.5 * gap else dt
        if size < 1e-15 * plan.t_end or time + size == time:
            status = Status.STEP_UNDERFLOW if step is None or not step.note else Status.UNDEFINED
            return Attempt(step or Step(standing.state), (time,), controller, dt, rejections, status)
        step = _try(plan, standing, size)
        # A second-order step asks for a few smaller ones at most; one that still fails stands at a singularity. So may
        # the first one: out of a vacuum none is regular.
        singular = time == 0.0 or controller.singular or rejections >= 3 or step.counts.get("fallbacks", 0.0) > 0.0
        ratio = controller.ratio(step.error, size, singular) if step.status is Status.RUNNING else np.nan
        if ratio <= 1.0:
            after, following = controller.accepted(ratio, size, step.error)
            following = min(following, size) if rejections else following  # what has just failed would fail again
            following = plan.t_end if plan.stepper.order == np.inf else following
            # A step cut short to land on a frame says little about the next one.
            following = max(following, wanted) if lands and rejections == 0 and wanted > size else following
            return Attempt(step, (goal if lands else time + size,), after, following, rejections, Status.RUNNING)
        dt, rejections, failed = controller.rejected(ratio, size, failed), rejections + 1, (ratio, size)
        if rejections > 100:
            status = step.status if step.status is not Status.RUNNING else Status.STEP_UNDERFLOW
            return Attempt(step, (time,), controller, dt, rejections, status)


def _try(plan: Plan, standing: Standing, dt: float, ahead: int = 1) -> Step:
    state, noise, stepper = standing.state, CounterNoise(plan.seed, standing.done), plan.stepper
    try:
        with np.errstate(all="ignore"):
            if ahead > 1 and isinstance(stepper, Sweeping):
                times = dt * np.arange(standing.done, standing.done + ahead, dtype=float)
                return stepper.sweep(plan.flow, times, state, dt, standing.memory, noise)
            return advance(stepper, plan.flow, standing.time, state, dt, standing.memory, noise)
    except (InputError, np.linalg.LinAlgError) as error:
        # The flow is not defined at a state reached inside the step.
        return Step(state, status=Status.UNDEFINED, note=str(error))


def _numbers(
    plan: Plan, attempt: Attempt, before: float, energy: float, ledger: Ledger | None
) -> tuple[dict[str, float], ...]:
    step, rejections, names = attempt.step, float(attempt.rejections), step_names(plan)
    values = {"error": step.error, "rejections": rejections}
    if ledger is not None:
        values |= {"dissipation": ledger.power, "balance": ledger.residual}
    if plan.flow.facts.per_time:
        values |= plan.flow.measures(attempt.time, step.state)
    counts = {name: np.broadcast_to(count, len(attempt.times)) for name, count in step.counts.items()}
    found = []
    for k, (start, time) in enumerate(pairwise((before, *attempt.times))):
        # Of steps taken at once the energy is known after the last.
        known = energy if k == len(attempt.times) - 1 else np.nan
        own = {
            **values,
            "energy": known,
            "time": time,
            "dt": time - start,
            **{name: count[k] for name, count in counts.items()},
        }
        found.append({name: float(own.get(name, 0.0)) for name in names})
    return tuple(found)
