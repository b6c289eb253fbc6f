"""Going on with a run from its file: what must not have changed, and what has ended."""

import json
import warnings
from contextvars import ContextVar
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, RunWarning, Status
from wflow.loop.recorder import Recorder, measure
from wflow.loop.standing import extras, opening
from wflow.records import form, row
from wflow.results import Result, load

# Whether every run with a file goes on with it, as `wflow resume` asks for.
RESUMING: ContextVar[bool] = ContextVar("RESUMING", default=False)
SAME = ("state", "functional", "stepper", "metric", "grid", "seed")
KEPT = ("stepper_reason", "created", "command", "git_commit", "wflow_version", "versions")
COMPUTING = ("wflow", "numpy", "scipy", "numba")


def go_on(recorder: Recorder) -> Result | None:
    """Open the file of a recorder to go on with it; gives the result instead where the run in it has ended.

    Raises `InputError` with the differences where the file is of another run, `FileError` where it is damaged.
    """
    if recorder.out is None or not recorder.out.exists():
        return None
    plan, result = recorder.plan, load(recorder.out)
    if not len(result.times):
        return None
    _refuse(recorder, _arguments(result.info, recorder.info))
    first = measure(plan, 0.0, plan.state, np.nan)
    held = extras(plan, opening(plan).memory)
    _refuse(recorder, _first_frame(recorder, result, first, held))
    if _ended(result, plan.max_steps):
        if not result.status.good:
            warnings.warn(f"{recorder.out} is of a run that {result.status.value}", RunWarning, stacklevel=4)
        return result
    _check_versions(recorder, result.info)
    recorder.info |= {name: result.info[name] for name in KEPT if name in result.info}
    recorder.go_on(first, held)
    return None


def _refuse(recorder: Recorder, differences: list[str]) -> None:
    if differences:
        advice = "give what made it, or leave out resume to start anew"
        raise InputError(f"cannot go on with {recorder.out}: {'; '.join(differences)}; {advice}")


def _ended(result: Result, max_steps: int | None) -> bool:
    if result.status is Status.MAX_STEPS:
        return max_steps is not None and len(result.steps["time"]) >= max_steps
    return not result.status.resumable


def _arguments(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs in the arguments, a phrase each."""
    before, now = dict(old.get("arguments", {})), dict(new["arguments"])
    pairs = [(name, old.get(name), new[name]) for name in SAME]
    pairs += [(name, before.get(name), now[name]) for name in now if name != "max_steps"]
    return [f"{name} was {_said(a)} and is {_said(b)}" for name, a, b in pairs if json.dumps(a) != json.dumps(b)]


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_frame(recorder: Recorder, result: Result, first: dict[str, float], held: dict[str, Array]) -> list[str]:
    """What differs in the first frame: the start, the target, and the numbers that the functional gives there."""
    plan, old = recorder.plan, result.states[0]
    pairs: dict[str, tuple[Any, Any]] = {name: (row(old).get(name), array) for name, array in row(plan.state).items()}
    was, fixed = form(old).static, form(plan.state).static
    pairs |= {name: (was[name][1] if name in was else None, array) for name, (_, array) in fixed.items()}
    pairs["target"] = (result.target, recorder.target)
    pairs |= {name: (result.extras[name][0] if name in result.extras else None, held[name]) for name in held}
    mine = {name: value for name, value in first.items() if name not in plan.diagnostics}
    pairs |= {name: (result.diagnostics[name][0] if name in result.diagnostics else None, mine[name]) for name in mine}
    differ = [name for name, (a, b) in pairs.items() if not _same(a, b)]
    if set(result.diagnostics) != set(first):
        differ.append("the names of the diagnostics")
    return [f"its first frame differs in {', '.join(differ)}"] if differ else []


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(np.asarray(a, dtype=float), np.asarray(b, dtype=float), equal_nan=True)


def _check_versions(recorder: Recorder, old: dict[str, Any]) -> None:
    before, now = old.get("versions", {}), recorder.info["versions"]
    changed = [f"{n} {before.get(n)} to {now[n]}" for n in COMPUTING if before.get(n) != now[n]]
    if changed:
        text = f"going on with {recorder.out} under other versions ({', '.join(changed)}): last digits may differ"
        warnings.warn(text, RunWarning, stacklevel=5)
