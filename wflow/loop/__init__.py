"""The only time loop."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wflow.arrays import Array
from wflow.errors import InputError, RunWarning, Status
from wflow.flows import DensityFlow
from wflow.kernels import noise as kernels
from wflow.loop.control import Controller, first_step
from wflow.loop.plan import Plan, make_plan
from wflow.loop.recorder import Recorder, describe, step_names
from wflow.results import Result
from wflow.steppers import Memory, Step


@dataclass(frozen=True)
class CounterNoise:
    """Random numbers of one step, a function of (seed, step, particle) alone."""

    seed: int
    step: int

    def normals(self, shape: tuple[int, ...]) -> Array:
        return kernels.normals(self.seed, self.step, np.empty(shape))

    def uniforms(self, count: int) -> Array:
        return kernels.uniforms(self.seed, self.step, 1, np.empty(count))


@dataclass(frozen=True)
class Moment:
    """Where a run stands after an accepted step: time, state, its numbers, and whether a frame is due."""

    time: float
    state: Any
    numbers: dict[str, float]
    energy: float
    status: Status
    due: bool


def run(
    functional: Any,
    state: Any,
    t_end: float | None = None,
    dt: float | None = None,
    steps: int | None = None,
    stepper: Any = None,
    metric: Any = None,
    drift: Any = None,
    estimator: Any = None,
    tol: float = 1e-3,
    save: Any = 11,
    stop: Any = None,
    diagnostics: Any = None,
    out: Any = None,
    resume: bool = False,
    rng: Any = 0,
    progress: bool | None = None,
    max_steps: int | None = None,
) -> Result:
    """Follow the steepest descent of a functional from a state.

    functional: a functional or sum of them, or None with a `drift`.
    state: Density, Particles, Point or Gaussian.
    t_end, steps: exactly one; `steps` needs `dt`, for an optimizer the learning rate.
    stepper: from `wf.steppers`; None picks by state, functional and stiffness and says so in `result.info`.
    metric: from `wf.metrics`; None is Euclidean on a point, Wasserstein elsewhere.
    drift: an extra velocity b(x, t), one field per axis, or a function `(n, d) -> (n, d)` of x or (x, t).
    estimator: for particles, a bandwidth or an object from `wf.estimators`.
    tol: on a density the L1 error per unit of time, elsewhere the mixed absolute–relative RMS error of a step.
    save: a number of equally spaced frames, an array of times, "ends" or "all".
    stop: `stop(time, state) -> bool`, asked after each step.
    diagnostics: `{name: f(time, state)}`, extra series at the frames.
    out: a path; frames stream to this HDF5 file as they are made. An older result there is replaced.
    rng: an int seed or a `numpy.random.Generator`.
    progress: True, False, or None for a bar when the output is a terminal.
    max_steps: stop with a status after so many steps.

    Raises `InputError` before any work for bad input. A run that cannot go on keeps its frames, warns once and says
    why in `result.status`.

    >>> from wflow import Point, Potential
    >>> run(Potential("x**2 / 2"), Point([1.0]), steps=2, dt=0.5).final
    Point([0.25])
    """
    arguments = {
        "t_end": t_end, "dt": dt, "steps": steps, "drift": drift, "estimator": estimator, "tol": tol, "save": save,
        "max_steps": max_steps,
    }  # fmt: skip
    if resume:
        raise InputError("resume=True is not built yet; leave it out to run from the start")
    plan = make_plan(
        functional, state, t_end, dt, steps, stepper, metric, drift, estimator, tol, save, stop, diagnostics, rng, max_steps
    )  # fmt: skip
    path = None if out is None else Path(out)
    recorder = Recorder(plan, describe(plan, functional, arguments), path, _target(plan, functional))
    return _record(plan, recorder, progress)


def iterate(functional: Any, state: Any, **arguments: Any) -> Iterator[tuple[float, Any]]:
    """The steps of a run one by one: a generator of (time, state), the first included; arguments as in `run`.

    `save`, `out`, `resume` and `progress` play no part. A step that fails ends it with a `RunWarning`.
    """
    defaults = dict.fromkeys(
        (
            "t_end",
            "dt",
            "steps",
            "stepper",
            "metric",
            "drift",
            "estimator",
            "stop",
            "diagnostics",
            "max_steps",
        )
    )
    unknown = set(arguments) - set(defaults) - {"tol", "save", "rng", "out", "resume", "progress"}
    if unknown:
        raise InputError(f"unknown argument(s) {', '.join(sorted(unknown))}; iterate takes those of run")
    given = {**defaults, "tol": 1e-3, "rng": 0, **arguments, "save": "all"}
    for name in ("out", "resume", "progress"):
        given.pop(name, None)
    plan = make_plan(functional, state, **given)
    return ((moment.time, moment.state) for moment in _start_and(plan))


def _start_and(plan: Plan) -> Iterator[Moment]:
    yield Moment(0.0, plan.state, {}, np.nan, Status.RUNNING, True)
    for moment in march(plan):
        if moment.status not in (Status.RUNNING, Status.COMPLETE, Status.STOPPED):
            warnings.warn(f"the run {moment.status.value} (at t = {moment.time:g})", RunWarning, stacklevel=3)
        if moment.numbers:
            yield moment


def _record(plan: Plan, recorder: Recorder, progress: bool | None) -> Result:
    status = Status.RUNNING
    # disable=None: no bar where the output is no terminal.
    bar = tqdm(total=plan.t_end, disable=None if progress is None else not progress, unit="t", leave=False, delay=0.5)
    try:
        recorder.frame(0.0, plan.state)
        moment, recorded = None, 0.0
        try:
            for moment in march(plan):
                if moment.numbers:
                    recorder.step(moment.numbers)
                    bar.update(moment.time - bar.n)
                if moment.due:
                    recorder.frame(moment.time, moment.state, moment.energy)
                    recorded = moment.time
                status = moment.status
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        if moment is not None and moment.time > recorded:
            recorder.frame(moment.time, moment.state, moment.energy)
        result = recorder.finish(status)
    except BaseException:
        recorder.abandon()
        raise
    finally:
        bar.close()
    if not status.good:
        time = 0.0 if moment is None else moment.time
        warnings.warn(f"the run {status.value} (at t = {time:g})", RunWarning, stacklevel=3)
    return result


def march(plan: Plan) -> Iterator[Moment]:
    """Accepted steps until the end; the last moment carries the final status.

    A moment with empty `numbers` is no step: it repeats the last state with the status that ended the run.
    """
    memory: Memory = {}
    time, state, done = 0.0, plan.state, 0
    controller = Controller(plan.tol, plan.flow.facts.per_time)
    dt = _first(plan)
    pending = [] if plan.frames is None else [float(t) for t in plan.frames]
    while True:
        if plan.max_steps is not None and done >= plan.max_steps:
            yield Moment(time, state, {}, np.nan, Status.MAX_STEPS, False)
            return
        goal = pending[0] if pending else plan.t_end
        noise = CounterNoise(plan.seed, done)
        if plan.dt is None:
            attempt = _adaptive_step(plan, controller, time, state, dt, goal, memory, noise)
        else:
            attempt = _fixed_step(plan, time, state, done, memory, noise)
        if attempt.status is not Status.RUNNING:
            yield Moment(time, state, {}, np.nan, attempt.status, False)
            return
        step, new_time, controller, dt = attempt.step, attempt.time, attempt.controller, attempt.dt
        state, memory, done = step.state, step.memory, done + 1
        ended = new_time >= plan.t_end
        energy = step.energy
        if plan.flow.facts.metered and not np.isfinite(energy):
            energy = plan.flow.energy(new_time, state)
        numbers = _numbers(plan, step, new_time, new_time - time, energy, attempt.rejections)
        time = new_time
        stopped = plan.stop is not None and bool(plan.stop(time, state))
        due = plan.frames is None or ended or stopped or (bool(pending) and time >= pending[0] * (1.0 - 1e-13))
        while pending and time >= pending[0] * (1.0 - 1e-13):
            pending.pop(0)
        status = Status.COMPLETE if ended else Status.STOPPED if stopped else Status.RUNNING
        yield Moment(time, state, numbers, energy, status, due)
        if ended or stopped:
            return


def _first(plan: Plan) -> float:
    """The first step to try: the fixed one, the whole way for an exact stepper, or a guess."""
    if plan.dt is not None:
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
    except (InputError, np.linalg.LinAlgError):
        # The flow is not defined at a state reached inside the step.
        return Step(state, status=Status.UNDEFINED)


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
    rejections, wanted = 0, dt
    while True:
        # Two steps of nearly equal size reach a frame better than a long and a tiny one.
        gap = goal - time
        lands = dt >= gap * (1.0 - 1e-10)
        size = gap if lands else min(dt, 0.5 * gap) if dt > 0.5 * gap else dt
        if size < 1e-15 * plan.t_end or time + size == time:
            return Attempt(Step(state), time, controller, dt, rejections, Status.STEP_UNDERFLOW)
        step = _try(plan, time, state, size, memory, noise)
        ratio = controller.ratio(step.error, size) if step.status is Status.RUNNING else np.nan
        if ratio <= 1.0:
            after, following = controller.accepted(ratio, size)
            following = plan.t_end if plan.stepper.order == np.inf else following
            # A step cut short to land on a frame says little about the next one.
            following = max(following, wanted) if lands and rejections == 0 and wanted > size else following
            return Attempt(step, goal if lands else time + size, after, following, rejections, Status.RUNNING)
        dt, rejections = controller.rejected(ratio, size), rejections + 1
        if rejections > 100:
            status = step.status if step.status is not Status.RUNNING else Status.STEP_UNDERFLOW
            return Attempt(step, time, controller, dt, rejections, status)


def _numbers(plan: Plan, step: Step, time: float, dt: float, energy: float, rejections: int) -> dict[str, float]:
    values = {
        "time": time,
        "dt": dt,
        "energy": energy,
        "error": step.error,
        "rejections": float(rejections),
        **step.counts,
    }
    return {name: float(values.get(name, 0.0)) for name in step_names(plan)}


def _target(plan: Plan, functional: Any) -> Array | None:
    """The target on the grid, where a density has exactly one."""
    if not isinstance(plan.flow, DensityFlow):
        return None
    return plan.flow.variation.target()
