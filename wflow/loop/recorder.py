"""Frames and steps as they are made: kept in memory, or streamed to a file."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, Status, readable
from wflow.flows import density_estimator, pair_sums
from wflow.loop.fingerprint import fingerprint
from wflow.loop.ledger import keeps_balance, measured
from wflow.loop.plan import Plan
from wflow.loop.standing import Standing, extras, from_arrays, opening, to_arrays
from wflow.records import box, describe_grid, row
from wflow.results import Result, load, make_layout, tell
from wflow.states import kind
from wflow.store import Layout, Writer

RECORDED = "recorded"
VERSIONED = ("wflow", "numpy", "scipy", "numba", "h5py", "sympy")
# Seconds between checkpoints, at least; and how many times what one costs, so that they cost a fiftieth at most.
PERIOD, SPARSE = 5.0, 50.0
# Bytes of frames of every step for which room is made at once.
AHEAD = 1 << 28


@dataclass
class Recorder:
    """Collects a run. With `out` each frame goes to the file at once and only there, and where the run stands is
    kept now and then."""

    plan: Plan
    info: dict[str, Any]
    out: Path | None
    target: Array | None = None
    times: list[float] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    frames: list[dict[str, float]] = field(default_factory=list)
    extras: dict[str, list[Array]] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    writer: Writer | None = None
    recorded: float = np.nan
    kept: float = field(default_factory=perf_counter)
    cost: float = 0.0

    def start(self) -> Standing:
        """Where the run starts: at its beginning, which is recorded, or at the checkpoint of the file."""
        if self.writer is not None and self.writer.resumed is not None:
            arrays = self.writer.resumed.arrays
            self.recorded = float(arrays[RECORDED])
            return from_arrays(self.plan, arrays)
        begun = opening(self.plan)
        self.frame(0.0, self.plan.state, extras(self.plan, begun.memory))
        return begun

    def go_on(self, first: Mapping[str, float], held: Mapping[str, Array]) -> None:
        """Open the file that is there, to go on from its checkpoint; `first` and `held` belong to the first frame."""
        assert self.out is not None
        self.writer = Writer(self.out, self._layout(self.plan.state, first, held), resume=True)

    def frame(self, time: float, state: Any, extras: dict[str, Array], energy: float = np.nan) -> None:
        """Record a state and what else belongs to the frame; `energy` where it is known already."""
        with np.errstate(all="ignore"):  # the last frame of a run that broke may hold any number
            values = measure(self.plan, time, state, energy)
        self.recorded = time
        if self.out is None:
            if not self.times:  # a result that could not be saved is refused at the start
                self._layout(state, values, extras)
            self.times.append(time)
            self.states.append(state)
            self.frames.append(values)
            for name, array in extras.items():
                self.extras.setdefault(name, []).append(array)
            return
        if self.writer is None:
            self.writer = Writer(self.out, self._layout(state, values, extras), overwrite=True)
        self.writer.frame({"time": np.float64(time), **row(state, self.weighted), **extras, **values})

    def _layout(self, state: Any, values: Mapping[str, float], held: Mapping[str, Array]) -> Layout:
        planned = _planned(self.plan)
        names, more = step_names(self.plan), tuple(held)
        info = self.info
        if self.out is not None:
            info = info | {"written_as": readable(self.out.name), "fingerprint": fingerprint(self.plan)}
        return make_layout(state, planned, tuple(values), names, info, self.target, more, self.weighted)

    @property
    def weighted(self) -> bool:
        """Whether weights of a cloud belong to every frame."""
        return self.plan.flow.facts.weighted

    def keep(self, standing: Standing, always: bool = False) -> None:
        """Keep where the run stands, if it is time to."""
        if self.writer is None:
            return
        now = perf_counter()
        if always or now - self.kept >= max(PERIOD, SPARSE * self.cost):
            self.writer.checkpoint(to_arrays(standing, self.weighted) | {RECORDED: np.array(self.recorded)})
            self.kept = perf_counter()
            self.cost = self.kept - now

    def step(self, values: dict[str, float]) -> None:
        """Record the numbers of an accepted step."""
        if self.writer is not None:
            self.writer.step(values)
        else:
            self.steps.append(values)

    def finish(self, status: Status) -> Result:
        """Close the file, if there is one, and return the result."""
        if self.writer is not None and self.out is not None:
            (self.writer.leave if status.resumable else self.writer.close)(status.value)
            return load(self.out)
        names = tuple(self.frames[0])
        diagnostics = {name: np.array([frame[name] for frame in self.frames]) for name in names}
        steps = {name: np.array([step[name] for step in self.steps]) for name in step_names(self.plan)}
        times = np.array(self.times)
        extras: dict[str, Sequence[Array]] = {name: tuple(rows) for name, rows in self.extras.items()}
        return Result(times, tuple(self.states), diagnostics, steps, status, self.info, self.target, extras=extras)

    def abandon(self, error: BaseException) -> None:
        """Leave the file as it stands, every frame in it readable; its status tells of an error, but not of a signal
        that leaves no time for it."""
        if self.writer is None:
            return
        if isinstance(error, Exception):
            with suppress(OSError, InputError):  # a disk that is full, a file that is closed already
                self.writer.leave(tell(Status.RAISED, f"{type(error).__name__}: {error}"))
        self.writer.abandon()


def _planned(plan: Plan) -> int | None:
    """How many frames are expected; None where nobody knows, or where they would take much of a disk before the first
    step."""
    if plan.frames is not None:
        return 1 + len(plan.frames)
    small = plan.count is not None and plan.count * plan.state.coordinates.nbytes <= AHEAD
    return 1 + plan.count if small and plan.count is not None else None


def step_names(plan: Plan) -> tuple[str, ...]:
    """The per-step series of a run."""
    facts = plan.flow.facts
    energy: tuple[str, ...] = ("energy",)
    if keeps_balance(plan):
        energy += ("dissipation", "balance")
    if facts.per_time:  # a density
        energy += tuple(plan.flow.measures(0.0, plan.state))
    error = ("error",) if plan.stepper.adaptive else ()
    return ("time", "dt", *energy, *error, "rejections", *plan.stepper.counters)


def measure(plan: Plan, time: float, state: Any, energy: float) -> dict[str, float]:
    """Diagnostics of a frame."""
    flow, values = plan.flow, {}
    with np.errstate(all="ignore"):  # of a state about to overflow: the status says so
        if plan.energetic:
            values["energy"] = energy if np.isfinite(energy) else measured(flow.energy, time, state)
        if flow.facts.balanced:
            values["dissipation"] = measured(flow.dissipation, time, state)
        values |= flow.measures(time, state)
    for name, function in plan.diagnostics.items():
        if name in values:
            raise InputError(f"the diagnostic {name!r} is there already; take another name")
        found = np.asarray(function(time, state))
        if found.size != 1 or found.dtype.kind not in "fiub":
            raise InputError(f"the diagnostic {name!r} must give a number, got {found.dtype} of shape {found.shape}")
        values[name] = float(found.item())
    return values


def describe(plan: Plan, functional: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What made a result, as plain data."""
    arguments = {name: value for name, value in given.items() if name not in ("stepper", "rng")}
    ways = {"estimator": density_estimator(plan.flow), "sums": pair_sums(plan.flow, plan.state)}
    return {
        "wflow_version": installed("wflow"),
        "state": kind(plan.state),
        "functional": "none" if functional is None else repr(functional),
        "stepper": repr(plan.stepper),
        "stepper_reason": plan.reason,
        "metric": plan.flow.name,
        **{name: text for name, text in ways.items() if text},
        "grid": describe_grid(box(plan.state)),
        "arguments": {name: plain(value) for name, value in arguments.items()},
        "seed": plan.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": readable(shlex.join(sys.argv)),
        "git_commit": git_commit(),
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in VERSIONED}},
    }


def plain(value: Any) -> Any:
    """A value as JSON takes it; objects as their text, functions so that no expression reads the same."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value) and not hasattr(value, "__dataclass_fields__"):
        return f"function {getattr(value, '__qualname__', type(value).__name__)}"
    return repr(value)


@lru_cache(maxsize=16)
def installed(name: str) -> str:
    """Version of an installed package, or "none"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


@lru_cache(maxsize=1)
def git_commit() -> str:
    """The commit of the repository one stands in, or "none"."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return answer.stdout.strip()
