"""Result: what a run gives, in memory or read lazily from its file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, overload

import numpy as np

from wflow.arrays import Array
from wflow.errors import FileError, InputError, Status, readable
from wflow.records import STATE_ARRAYS, check_datasets, form, read_state, rebuild_grid, row, weights_change
from wflow.store import STATUS, Layout, Reader, Variable, Writer, stuck

JSON_ATTRIBUTES = ("arguments", "grid", "versions")
# Attributes that speak of the file, not of the run.
OF_FILE = (
    "wflow_schema", "status", "committed", "committed_steps", "storage", "written_as", "fingerprint",
)  # fmt: skip


class NoFrameError(InputError, IndexError):
    """A frame was asked for and there is none; an `IndexError` too, as which it ends a loop over the states."""


class FileFrames(Sequence[Any]):
    """States or arrays of `count` frames of a file, one read at a time."""

    def __init__(self, count: int, read: Callable[[int], Any]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not len(self):
            raise NoFrameError("the file has no frame: its run was killed before the first one")
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return self._read(index % len(self))


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A run: `times` `(T,)`, `states`, `diagnostics` at the frames, `steps` at every accepted step, `status`, `info`.

    `diagnostics` holds arrays `(T,)` — `energy`, `dissipation`, `mass`, `minimum`, … — where they mean something;
    `steps` holds `time`, `dt`, `energy`, `error`, `rejections` and what the stepper counts. `info` says what made
    it. `target` is the target density at the cells of a grid, if there is one. `extras` holds what else the stepper
    puts in the frames, by name: `extras["velocity"][k]` `(n, d)` belongs to `states[k]`.
    """

    times: Array
    states: Sequence[Any]
    diagnostics: dict[str, Array]
    steps: dict[str, Array]
    status: Status
    info: dict[str, Any]
    target: Array | None = None
    path: Path | None = field(default=None)
    extras: dict[str, Sequence[Array]] = field(default_factory=dict)

    @property
    def final(self) -> Any:
        """The last state; `InputError` where there is none, in the file of a run that was killed at its start."""
        return self.states[-1]

    def save(self, path: str | Path) -> Path:
        """Write the result to an HDF5 file of the package's layout, replacing a result that is there, if all went
        well."""
        names, like = tuple(self.diagnostics), self.states[0]
        counted, more = tuple(self.steps), tuple(self.extras)
        moving = weights_change(self.states)
        layout = make_layout(like, len(self.times), names, counted, self.info, self.target, more, moving)
        with Writer(path, layout, overwrite=True, at_once=True) as writer:
            for index in range(len(self.steps.get("time", ()))):
                writer.step({name: series[index] for name, series in self.steps.items()})
            for index, time in enumerate(self.times):
                extra: dict[str, Any] = {name: series[index] for name, series in self.diagnostics.items()}
                extra |= {name: rows[index] for name, rows in self.extras.items()}
                writer.frame({"time": time, **row(self.states[index], moving), **extra})
            writer.close(self.status.value)
        return Path(path)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the variables of the file; needs xarray, which the extra `[xarray]` installs."""
        try:
            xarray = import_module("xarray")
        except ImportError:
            raise InputError("to_xarray needs xarray, which is not installed here: pip install xarray") from None
        like, moving = self.states[0], weights_change(self.states)
        state = form(like, moving)
        rows = [row(s, moving) for s in self.states]
        variables: dict[str, Any] = {v.name: (v.dims, np.stack([r[v.name] for r in rows])) for v in state.framed}
        variables |= {name: (state.framed[0].dims, np.stack(list(array))) for name, array in self.extras.items()}
        variables |= {name: ("time", series) for name, series in self.diagnostics.items()}
        variables |= {f"step_{name}": ("step", series) for name, series in self.steps.items()}
        variables |= {name: (dims, array) for name, (dims, array) in state.static.items()}
        if self.target is not None:
            variables["target"] = (state.framed[0].dims[1:], self.target)
        attributes = encode_info(self.info) | {"status": self.status.value}
        return xarray.Dataset(variables, {"time": self.times, **state.coordinates}, attributes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result) or len(self.states) != len(other.states):
            return NotImplemented if not isinstance(other, Result) else False
        series = [(self.diagnostics, other.diagnostics), (self.steps, other.steps)]
        return (
            np.array_equal(self.times, other.times)
            and all(_same(a, b) for a, b in series)
            and all(_same(row(a, True), row(b, True)) for a, b in zip(self.states, other.states, strict=True))
            and _same(_static(self), _static(other))
            and self.extras.keys() == other.extras.keys()
            and all(
                _same(dict(enumerate(rows)), dict(enumerate(other.extras[name]))) for name, rows in self.extras.items()
            )
            and (self.status, self.info) == (other.status, other.info)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kinds = f"{self.info.get('state', '?')}, {self.info.get('stepper', '?')}"
        end = f" to t = {self.times[-1]:g}" if len(self.times) else ""
        return f"<Result: {len(self.times)} frames{end}, {kinds}: {self.status.value}>"


def _static(result: Result) -> dict[str, Array]:
    shape = form(result.states[0], True).static if len(result.states) else {}
    fixed = {name: array for name, (_, array) in shape.items()}
    return fixed if result.target is None else fixed | {"target": result.target}


def _same(a: dict[Any, Array], b: dict[Any, Array]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


def encode_info(info: dict[str, Any]) -> dict[str, Any]:
    """Info as plain attributes: nested data as JSON text."""
    return {name: json.dumps(value) if name in JSON_ATTRIBUTES else value for name, value in info.items()}


def make_layout(
    state: Any,
    frames: int | None,
    diagnostics: tuple[str, ...],
    steps: tuple[str, ...],
    info: dict[str, Any],
    target: Array | None,
    extras: tuple[str, ...] = (),
    weighted: bool = False,
) -> Layout:
    """The layout of a result file; `extras` are arrays in the shape of the state's coordinates."""
    shape = form(state, weighted)
    static = dict(shape.static)
    if target is not None:
        static["target"] = (shape.framed[0].dims[1:], target)
    first = shape.framed[0]
    framed = shape.framed + tuple(Variable(name, first.dims, first.shape) for name in extras)
    framed += tuple(Variable(name, ("time",)) for name in diagnostics)
    return Layout(frames, shape.coordinates, framed, static, steps, encode_info(info))


def tell(status: Status, words: str) -> str:
    """A status with its cause, as it stands in a file: one line, no longer than there is room for."""
    line = readable(" ".join(words.replace("\0", " ").split()))
    return f"{status.value}: {line}".encode()[:STATUS].decode(errors="ignore")


def heard(text: str) -> tuple[Status, str]:
    """The status and the cause that `tell` made one text of; without a cause, the status and nothing.

    >>> heard(tell(Status.RAISED, "ZeroDivisionError: division by zero"))[1]
    'ZeroDivisionError: division by zero'
    """
    if not text.startswith(Status.RAISED.value):
        return Status(text), ""
    return Status.RAISED, text.removeprefix(Status.RAISED.value).removeprefix(": ")


def load(path: str | Path, live: bool = False) -> Result:
    """The result in a file; states are read when they are asked for. `live` reads a file that is being written, as
    far as it is when this is called.

    Raises `FileError` for a file that is damaged or not of this package. Reading runs no code from the file.
    """
    reader = Reader(path, live=live)
    info = {name: value for name, value in reader.attributes.items() if name not in OF_FILE}
    try:
        info |= {name: json.loads(info[name]) for name in JSON_ATTRIBUTES if name in info}
        wrong = [name for name in ("arguments", "versions") if not isinstance(info.get(name, {}), dict)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must be a table")
        grid = rebuild_grid(info.get("grid"))
        status, words = heard(reader.attributes["status"])
        info |= {"message": words} if words else {}
        word = str(info.get("state"))
        dims = check_datasets(reader, word, grid)
        names = [name for name in reader.names if reader.dims(name) == ("time",)]
        series = reader.columns(["time", *names])
        times = series.pop("time")
        if late := stuck(times):
            raise FileError(f"the time of frame {late[0]} is not after the one before")
    except FileError as error:
        raise FileError(str(error) if str(reader.path) in str(error) else f"cannot read {path}: {error}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise FileError(f"{path} has attributes that this package did not write: {error}") from None
    more = [name for name in reader.names if name not in STATE_ARRAYS and reader.dims(name) == dims]
    target = reader.static("target") if "target" in reader.static_names else None
    return Result(
        times=times,
        states=FileFrames(len(times), lambda index: read_state(reader, index, word, grid)),
        diagnostics=series,
        steps=reader.steps,
        status=status,
        info=info,
        target=target,
        path=Path(path),
        extras={name: FileFrames(len(times), partial(reader.frame, name)) for name in more},
    )
