"""Going on with a run from its file: what must not have changed, and what has ended."""

import json
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, RunWarning, Status, abridged
from wflow.loop.fingerprint import fingerprint
from wflow.loop.recorder import Recorder, measure
from wflow.loop.restoring import check_checkpoint
from wflow.loop.standing import extras, opening
from wflow.records import form, row
from wflow.results import Result, load
from wflow.store import Reader

# The file that `wflow resume` was asked for: meanwhile every run with a file goes on with it.
RESUMING: ContextVar[Path | None] = ContextVar("RESUMING", default=None)
SAME = ("state", "functional", "stepper", "metric", "grid", "seed")
KEPT = ("stepper_reason", "created", "command", "git_commit", "wflow_version", "versions")
COMPUTING = ("wflow", "numpy", "scipy", "numba")
# How far numbers of the first frame may move under other versions of what computes them, relatively.
CLOSE = 1e-9


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
    changed = _changed(recorder, result.info)
    with Reader(recorder.out) as reader:
        point, mark = reader.checkpoint(), reader.attributes.get("fingerprint")
    first = measure(plan, 0.0, plan.state, np.nan)
    held = extras(plan, opening(plan).memory)
    _refuse(recorder, _first_frame(recorder, result, first, held, mark, CLOSE if changed else 0.0))
    if _ended(result, plan.max_steps):
        if not result.status.good:
            warnings.warn(f"{recorder.out} is of a run that {result.status.value}", RunWarning, stacklevel=4)
        return result
    if point is not None:
        check_checkpoint(plan, point, result)
    if changed:
        text = f"going on with {recorder.out} under other versions ({', '.join(changed)}): last digits may differ"
        warnings.warn(text, RunWarning, stacklevel=4)
    recorder.info |= {name: result.info[name] for name in KEPT if name in result.info}
    recorder.go_on(first, held)
    return None


def asked_for(path: Path) -> bool:
    """Whether it is the very file that `wflow resume` was asked to bring to its end, beyond `max_steps`."""
    named = RESUMING.get()
    return named is not None and named.resolve() == path.resolve()


def _refuse(recorder: Recorder, differences: list[str]) -> None:
    if differences:
        advice = "give what made it, or leave out resume to start anew"
        raise InputError(f"cannot go on with {recorder.out}: {'; '.join(differences)}; {advice}")


def _ended(result: Result, max_steps: int | None) -> bool:
    if result.status is Status.MAX_STEPS:
        return max_steps is not None and len(result.steps.get("time", ())) >= max_steps
    return not result.status.resumable


def _arguments(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs in the arguments, a phrase each."""
    before, now = dict(old.get("arguments", {})), dict(new["arguments"])
    pairs = [(name, old.get(name), new[name]) for name in SAME]
    pairs += [(name, before.get(name), now[name]) for name in now if name != "max_steps"]
    return [f"{name} was {_said(a)} and is {_said(b)}" for name, a, b in pairs if json.dumps(a) != json.dumps(b)]


def _said(value: Any) -> str:
    return abridged(value if isinstance(value, str) else json.dumps(value))


def _first_frame(
    recorder: Recorder, result: Result, first: dict[str, float], held: dict[str, Array], mark: Any, close: float
) -> list[str]:
    """What differs in the first frame: the start, the target, and the numbers that the functional gives there, those
    by more than `close`."""
    plan, old = recorder.plan, result.states[0]
    pairs: dict[str, tuple[Any, Any]] = {name: (row(old).get(name), array) for name, array in row(plan.state).items()}
    was, fixed = form(old).static, form(plan.state).static
    pairs |= {name: (was[name][1] if name in was else None, array) for name, (_, array) in fixed.items()}
    pairs["target"] = (result.target, recorder.target)
    differ = [name for name, (a, b) in pairs.items() if not _same(a, b)]
    pairs = {name: (result.extras[name][0] if name in result.extras else None, held[name]) for name in held}
    mine = {name: value for name, value in first.items() if name not in plan.diagnostics}
    pairs |= {name: (result.diagnostics[name][0] if name in result.diagnostics else None, mine[name]) for name in mine}
    differ += [name for name, (a, b) in pairs.items() if not _same(a, b, close)]
    if mark is not None and not _alike(mark, fingerprint(plan), close):
        differ.append("the velocities: another drift, potential or set of data")
    if set(result.diagnostics) != set(first):
        differ.append("the names of the diagnostics")
    return [f"its first frame differs in {', '.join(differ)}"] if differ else []


def _same(a: Any, b: Any, close: float = 0.0) -> bool:
    if a is None or b is None:
        return a is b
    one, other = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return one.shape == other.shape and np.allclose(one, other, rtol=close, atol=0.0, equal_nan=True)


def _alike(mark: Any, now: list[float], close: float) -> bool:
    """Two fingerprints: by the checksum of the bits, or where those may move by the numbers beside their size."""
    if not isinstance(mark, list) or len(mark) != len(now):
        return False
    if not close or not now:
        return _same(mark[:1], now[:1])
    return bool(np.all(np.abs(np.subtract(mark[1:], now[1:])) <= close * now[1]))


def _changed(recorder: Recorder, old: dict[str, Any]) -> list[str]:
    """What computes and has another version now, a phrase each."""
    before, now = old.get("versions", {}), recorder.info["versions"]
    return [f"{n} {before.get(n)} to {now[n]}" for n in COMPUTING if before.get(n) != now[n]]
