"""Reading, lazily by frame; files under the pen of another process too."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import h5py
import numpy as np

from wflow.errors import FileError, InputError, choose
from wflow.store import files, guard, slots
from wflow.store.disk import Disk
from wflow.store.layout import FRAME_SUM, STEP, STEP_SUM

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ATTEMPTS = 8
PAUSE = 0.02
SETTLED = 100_000_000
"""Nanoseconds: clocks of file systems tick slowly, so a younger file may change without showing it."""

T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """A file as it was when it was opened."""

    file: h5py.File
    disk: Disk
    stamp: tuple[int, ...]
    settled: bool
    attributes: dict[str, Any]
    dims: dict[str, tuple[str, ...]]
    shapes: dict[str, tuple[int, ...]]


class Reader:
    """The committed frames of a wflow file; one open handle until `close`.

    Nothing is locked, and the file may be replaced or removed meanwhile. With `live` the file is opened anew
    whenever it has changed, so `frames` grows while another process writes.
    Cost: 4 ms to open; a frame costs its own bytes, or in a packed file its chunks (half a megabyte each).
    Raises `FileError` with what was found if the file is missing, damaged, hostile, not of this package or
    of a newer major schema. Reading never runs code from the file.
    """

    def __init__(self, path: str | os.PathLike[str], live: bool = False) -> None:
        self.path = Path(os.path.abspath(path))
        self.live = live
        self._view: View | None = None
        self._view = self._patiently(lambda: look(self.path))

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the file: text, numbers and lists of them."""
        return dict(self._now().attributes)

    @property
    def frames(self) -> int:
        """How many frames are safely in the file."""
        return self._now().attributes["committed"]

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that have a row to a frame, besides `time`."""
        return tuple(n for n in _leading(self._now(), "time") if n not in ("time", FRAME_SUM))

    @property
    def static_names(self) -> tuple[str, ...]:
        """The arrays written once, coordinates among them."""
        return _fixed(self._now())

    def checkpoint(self) -> slots.Checkpoint | None:
        """Return the newest whole checkpoint, None where there is none."""
        return self._patiently(lambda: checkpoint(self._fresh()))

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """The per-step series by name, without "step_", each (steps,), as far as they are committed."""
        return self._patiently(lambda: _steps(self._fresh()))

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the names of the axes of a dataset."""
        dims = self._now().dims
        return dims[choose(name, dims, "dataset")]

    def frame(self, name: str, i: int) -> np.ndarray:
        """Return row `i` of a variable, negative from the end; `IndexError` beyond the committed frames."""
        return self._patiently(lambda: _frame(self._fresh(), name, i))

    def column(self, name: str) -> np.ndarray:
        """Return all committed rows of `time` or a variable, (frames, ...)."""
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return all committed rows of some of them, as many of each: also while another process writes."""
        return self._patiently(lambda: _columns(self._fresh(), names))

    def static(self, name: str) -> np.ndarray:
        """Return an array that was written once."""
        return self._patiently(lambda: _static(self._fresh(), name))

    def close(self) -> None:
        """Close the handle; a second call does nothing."""
        view, self._view = self._view, None
        if view is not None:
            files.finish(view.file, view.disk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _now(self) -> View:
        return self._patiently(self._fresh)

    def _fresh(self) -> View:
        if self._view is None:
            raise InputError(f"{self.path} is closed; make a new Reader")
        if self.live and (not self._view.settled or _stamp(self.path) != self._view.stamp):
            old, self._view = self._view, look(self.path)
            files.finish(old.file, old.disk)
        return self._view

    def _patiently(self, what: Callable[[], T]) -> T:
        """Do it; in a live file again, because the writer may have been in the middle of a write."""
        for attempt in range(ATTEMPTS if self.live else 1):
            try:
                with files.reported(f"cannot read {self.path}"):
                    return what()
            except FileError as error:
                last = error
                if self.live and attempt + 1 < ATTEMPTS:
                    time.sleep(PAUSE)
        raise last


def look(path: Path) -> View:
    """Open a file and check it; nothing stays open if it is refused."""
    disk, file = None, None
    try:
        with files.reported(f"cannot read {path}"):
            stamp = _stamp(path)
            settled = time.time_ns() - stamp[2] > SETTLED
            if not path.is_file():
                raise FileError("it is not a file")
            disk = Disk(path, new=False)
            if disk.start() != SIGNATURE:
                raise FileError("not an HDF5 file")
            file = files.open_read(disk)
            view = View(file, disk, stamp, settled, guard.attributes(file), *guard.datasets(file, stamp[3]))
            _check_rows(view)
    except FileError as error:
        files.finish(file, disk)
        text = str(error) if str(path) in str(error) else f"cannot read {path}: {error}"
        raise FileError(text) from None
    except BaseException:
        files.finish(file, disk)
        raise
    return view


def checkpoint(view: View) -> slots.Checkpoint | None:
    """The newest whole checkpoint of a file."""
    if slots.NAME not in view.dims:
        return None
    dataset = view.file[slots.NAME]
    if dataset.ndim != 3 or dataset.shape[0] != 2 or dataset.dtype != np.uint8:
        raise FileError(f"{slots.NAME!r} is {dataset.dtype} {dataset.shape}, not two slots of bytes")
    return slots.newest(dataset[...], view.attributes)


def _stamp(path: Path) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _leading(view: View, dim: str) -> list[str]:
    return [name for name, dims in view.dims.items() if dims[:1] == (dim,)]


def _fixed(view: View) -> tuple[str, ...]:
    apart = (slots.NAME, *slots.DIMS)
    return tuple(n for n, dims in view.dims.items() if dims[:1] not in (("time",), ("step",)) and n not in apart)


def _static(view: View, name: str) -> np.ndarray:
    return view.file[choose(name, _fixed(view), "static dataset")][...]


def _check_rows(view: View) -> None:
    missing = {"time", FRAME_SUM} - set(view.dims)
    if missing:
        raise FileError(f"it lacks the datasets {', '.join(sorted(missing))}")
    guard.check_axes(view.dims, view.shapes)
    for dim, counter in (("time", "committed"), ("step", "committed_steps")):
        for name in _leading(view, dim):
            rows = view.shapes[name][0]
            if rows < view.attributes[counter]:
                raise FileError(f"{name!r} has {rows} rows, but {view.attributes[counter]} are {counter}")
            if view.file[name].dtype != np.float64 and name != "step":
                raise FileError(f"{name!r} holds {view.file[name].dtype}, not float64")


def _frame(view: View, name: str, i: int) -> np.ndarray:
    name = choose(name, _leading(view, "time"), "variable")
    count = view.attributes["committed"]
    if not -count <= i < count:
        raise IndexError(f"frame {i} of {count}")
    return np.asarray(view.file[name][i % count])


def _columns(view: View, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: _rows(view, name, "time", "committed") for name in names}


def _rows(view: View, name: str, dim: str, counter: str) -> np.ndarray:
    return view.file[choose(name, _leading(view, dim), "variable")][: view.attributes[counter]]


def _steps(view: View) -> dict[str, np.ndarray]:
    names = [name for name in _leading(view, "step") if name not in ("step", STEP_SUM)]
    return {name.removeprefix(STEP): _rows(view, name, "step", "committed_steps") for name in names}
