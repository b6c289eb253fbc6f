"""The only time loop."""

import sys
import warnings
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wflow.arrays import Array
from wflow.errors import InputError, InterruptionWarning, RunWarning, Status
from wflow.flows import DensityFlow
from wflow.loop.march import Moment, march
from wflow.loop.plan import DEFAULTS, Plan, make_plan
from wflow.loop.recorder import Recorder, describe
from wflow.loop.resumption import RESUMING, asked_for, go_on
from wflow.loop.signals import Signals
from wflow.loop.standing import opening
from wflow.results import Result


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
    estimator: for particles, a bandwidth or an object from `wf.estimators`; None is `Kernel("score")`, a width for the
        score. `result.info["estimator"]` says which. With an entropy a cloud rests at a variance smaller by the
        bandwidth squared.
    tol: on a density the L1 error per unit of time, elsewhere the mixed absolute–relative RMS error of a step.
    save: a number of equally spaced frames, an array of times, "ends" or "all".
    stop: `stop(time, state) -> bool`, asked after each step.
    diagnostics: `{name: f(time, state)}`, extra series at the frames.
    out: a path; frames stream to this HDF5 file as they are made. An older result there is replaced.
    resume: go on from the last checkpoint in `out`, bit for bit as if the run had never stopped; start anew where
        there is no file, give back a run that has ended. Refused where anything but `max_steps` has changed;
        functions are compared by their names and by the numbers and velocities of the first frame. A checkpoint that
        no such run could have left is refused with the file as it was.
    rng: an int seed or a `numpy.random.Generator`.
    progress: True, False, or None for a bar when the output is a terminal.
    max_steps: stop with a status after so many steps.

    Raises `InputError` before any work for bad input. A run that cannot go on keeps its frames, warns once and says
    why in `result.status`. What a function given to it raises comes through; the file then keeps its frames, and its
    status says so. SIGINT ends it after the step with status INTERRUPTED (a second one at once); one that
    comes when the last step is under way raises `KeyboardInterrupt` once the file is whole. With `out` SIGTERM ends it
    so too and then takes its own effect, by default exit code 143. With `out` the state is kept every
    few seconds, at a cost of at most a fiftieth of the time, so a process that is killed loses no more than that.

    >>> from wflow import Point, Potential
    >>> run(Potential("x**2 / 2"), Point([1.0]), steps=2, dt=0.5).final
    Point([0.25])
    """
    if not isinstance(out, str | PathLike | None):
        raise InputError(f"out is the path of a file, got {type(out).__name__}")
    if resume and out is None:
        raise InputError("resume=True goes on with a file: give its path as out=...")
    path = None if out is None else Path(out)
    max_steps = None if path is not None and asked_for(path) else max_steps
    given = {
        "t_end": t_end, "dt": dt, "steps": steps, "stepper": stepper, "metric": metric, "drift": drift, "tol": tol,
        "estimator": estimator, "save": save, "stop": stop, "diagnostics": diagnostics, "rng": rng,
        "max_steps": max_steps,
    }  # fmt: skip
    plan = make_plan(functional, state, given)
    recorder = Recorder(plan, describe(plan, functional, given), path, _target(plan, functional))
    ended = go_on(recorder) if resume or RESUMING.get() is not None else None
    return _record(plan, recorder, progress) if ended is None else ended


def iterate(
    functional: Any,
    state: Any,
    t_end: float | None = None,
    dt: float | None = None,
    steps: int | None = None,
    **arguments: Any,
) -> Iterator[tuple[float, Any]]:
    """The steps of a run one by one: a generator of (time, state), the first included; arguments as in `run`.

    Every step is given, so `save` plays no part; nothing is written, so `out` and `resume` are refused. A step that
    fails ends it with a `RunWarning`.
    """
    arguments = {name: value for name, value in arguments.items() if value or name not in ("out", "resume")}
    unknown = set(arguments) - set(DEFAULTS) - {"progress"}
    if unknown:
        raise InputError(f"iterate does not take {', '.join(sorted(unknown))}; it takes what run takes, but no file")
    given = {**DEFAULTS, **arguments, "t_end": t_end, "dt": dt, "steps": steps, "save": "all"}
    plan = make_plan(functional, state, given)
    return ((moment.time, moment.state) for moment in _start_and(plan))


def _start_and(plan: Plan) -> Iterator[Moment]:
    start = opening(plan)
    yield Moment(start, (), np.nan, Status.RUNNING, True)
    for moment in march(plan, start, recorded=False):
        if moment.status not in (Status.RUNNING, Status.COMPLETE, Status.STOPPED):
            warnings.warn(told(moment.status, moment), RunWarning, stacklevel=3)
        if moment.numbers:
            yield moment


def _record(plan: Plan, recorder: Recorder, progress: bool | None) -> Result:
    bar, signals, status = _bar(plan, progress), Signals(terminate=recorder.out is not None), Status.RUNNING
    try:
        with signals:
            try:
                moment, status = _follow(plan, recorder, signals, bar)
                result = recorder.finish(status)
            except BaseException as error:
                recorder.abandon(error)
                raise
            finally:
                if bar is not None:
                    bar.close()
        if not status.good:
            kind = InterruptionWarning if status is Status.INTERRUPTED else RunWarning
            warnings.warn(told(status, moment) + _hint(status, recorder.out), kind, stacklevel=3)
    finally:
        signals.after(answered=status is Status.INTERRUPTED)
    return result


def _hint(status: Status, out: Path | None) -> str:
    if out is None or not status.resumable:
        return ""
    more = " and a larger max_steps" if status is Status.MAX_STEPS else ""
    return f"; to go on: resume=True{more}, or wflow resume {out}"


def _bar(plan: Plan, progress: bool | None) -> Any:
    """A bar where it is asked for or the error stream is a terminal, else none: even one that is disabled starts a
    thread and takes a lock that forked processes share."""
    if not ((sys.stderr is not None and sys.stderr.isatty()) if progress is None else progress):
        return None
    return tqdm(total=plan.t_end, unit="t", leave=False, delay=0.5)


def _follow(plan: Plan, recorder: Recorder, signals: Signals, bar: Any) -> tuple[Moment | None, Status]:
    """Steps to the end, recorded; the last moment and how it ended."""
    start, moment, status = recorder.start(), None, Status.RUNNING
    try:
        for moment in march(plan, start):
            for numbers in moment.numbers:
                recorder.step(numbers)
            if bar is not None:
                bar.update(moment.time - bar.n)
            if moment.due:
                recorder.frame(moment.time, moment.state, moment.extras, moment.energy)
            status = moment.status
            if status is Status.RUNNING:
                recorder.keep(moment.standing)
                if signals.seen is not None:
                    status = Status.INTERRUPTED
                    break
    except KeyboardInterrupt:
        if signals.seen is not None:  # the second one: the file stays as it is
            raise
        status = Status.INTERRUPTED
    if status.resumable:
        recorder.keep(start if moment is None else moment.standing, always=True)
    if moment is not None and moment.time > recorder.recorded:
        recorder.frame(moment.time, moment.state, moment.extras, moment.energy)
    return moment, status


def told(status: Status, moment: Moment | None) -> str:
    """What a run that stopped early tells: why, when, and what was said inside the step."""
    time = 0.0 if moment is None else moment.time
    note = f": {moment.note}" if moment is not None and moment.note else ""
    verb = "was " if status is Status.INTERRUPTED else ""
    return f"the run {verb}{status.value} (at t = {time:g}){note}"


def _target(plan: Plan, functional: Any) -> Array | None:
    """The target on the grid, where a density has exactly one."""
    if not isinstance(plan.flow, DensityFlow):
        return None
    return plan.flow.variation.target()
