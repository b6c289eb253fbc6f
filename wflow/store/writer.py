"""Writing: a row, a flush, the counter, a flush."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import FileError, InputError
from wflow.store import files, lock, trailer
from wflow.store.disk import Disk
from wflow.store.layout import FRAME_SUM, PACKED, STEP, STEP_SUM, STREAMED, Layout, checksum

FIRST_FRAMES = 64
FIRST_STEPS = 1024


class Writer:
    """Stream frames to `path`; a process killed at any instant leaves a file with every committed frame.

    The file stands at `path` as soon as this returns. `frame` commits a frame, `close(status)` packs the
    file and gives it its status. Leaving a `with` block without `close` keeps the file as it stands,
    "running". An existing file is refused unless `overwrite`, and then only a wflow file is replaced.
    Cost of a frame: its bytes and two flushes, about 1 ms for a dozen small series on a busy machine.
    Disk use until `close`: the frames expected, doubled each time they do not suffice; at `close` the
    packed copy beside it.
    Raises `InputError` for an existing file, `FileError` if the folder cannot be written, the disk is full,
    another writer is at work or the file to be replaced is not of this package.
    """

    def __init__(self, path: str | os.PathLike[str], layout: Layout, overwrite: bool = False) -> None:
        self.path = Path(os.path.realpath(path))
        self.layout = layout
        self.committed = 0
        self.committed_steps = 0
        self._order = sorted(v.name for v in layout.framed)
        self._rows = ["time", FRAME_SUM, *self._order]
        if layout.stepped:
            self._rows += [*(STEP + name for name in layout.stepped), STEP_SUM]
        self._shapes = {v.name: v.shape for v in layout.framed} | {"time": ()}
        self._pending: list[list[float]] = []
        self._file: h5py.File | None = None
        self._disk: Disk | None = None
        with files.reported(f"cannot write {path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = lock.acquire(self.path)
        try:
            _may_replace(self.path, overwrite)
            self._frames = FIRST_FRAMES if layout.frames is None else max(1, layout.frames)
            self._steps = self._step_room()
            self._replace(*self._build(STREAMED, None))
        except BaseException:
            self._release()
            raise

    def frame(self, values: Mapping[str, ArrayLike]) -> None:
        """Commit one frame, and the steps since the last: `time` and every framed variable, by name.

        Raises `InputError` for wrong names, shapes or kinds, `FileError` if it cannot be written; nothing
        that was committed before is lost.
        """
        arrays = self._checked(values)
        file = self._open()
        with files.reported(f"cannot write a frame to {self.path}"):
            if self.committed == self._frames or self._missing_room():
                file = self._grow(self.committed + 1)
            for name, array in arrays.items():
                self._write(name, self.committed, array[np.newaxis])
            self._write(FRAME_SUM, self.committed, np.array([frame_sum(arrays, self._order)]))
            self._commit(file, 1)

    def step(self, values: Mapping[str, float]) -> None:
        """Note the numbers of one step, by name without "step_"; they are written with the next frame.

        A name left out is NaN; an unknown one raises `InputError`.
        """
        self._open()
        unknown = set(values) - set(self.layout.stepped)
        if unknown:
            raise InputError(f"unknown per-step names {sorted(unknown)}; the layout has {list(self.layout.stepped)}")
        self._pending.append([float(values.get(name, np.nan)) for name in self.layout.stepped])

    def close(self, status: str) -> None:
        """Pack the file beside itself, with `status`, and put it in its place; a second call does nothing.

        Raises `FileError` if that fails (a full disk); the streamed file then stays, complete, with its
        status.
        """
        if self._file is None:
            return
        file = self._open()
        text = status.encode()
        if len(text) > files.STATUS or not text or b"\0" in text:
            raise InputError(f"the status must be a sentence of at most {files.STATUS} bytes, got {status!r}")
        try:
            with files.reported(f"{self.path} keeps all its frames, but could not be packed"):
                if self._pending:
                    file = self._grow(self._frames) if self._missing_room() else file
                    self._commit(file, 0)
                self._pack(text)
        except BaseException:
            with suppress(OSError, RuntimeError, ValueError):
                files.write_attribute(self._open(), "status", text)
            raise
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave the file as it stands, streamed and readable, and give the lock back."""
        files.finish(self._file, self._disk)
        self._file = self._disk = None
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def _open(self) -> h5py.File:
        if self._file is None:
            raise InputError(f"{self.path} is closed; make a new Writer")
        return self._file

    def _release(self) -> None:
        if self._lock is not None:
            lock.release(self.path, self._lock)
        self._lock = None

    def _checked(self, values: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        if set(values) != set(self._shapes):
            missing, unknown = set(self._shapes) - set(values), set(values) - set(self._shapes)
            raise InputError(f"a frame lacks {sorted(missing)} and has unknown {sorted(unknown)}")
        arrays = {}
        for name, value in values.items():
            array = np.asarray(value)
            if array.dtype.kind not in "fiu" or array.shape != self._shapes[name]:
                raise InputError(
                    f"{name!r} must be real, of shape {self._shapes[name]}; got {array.dtype} {array.shape}"
                )
            arrays[name] = np.ascontiguousarray(array, np.float64).reshape(array.shape)
        return arrays

    def _write(self, name: str, first: int, block: np.ndarray) -> None:
        """Write rows from `first` on, by HDF5's own calls: a tenth of the time of h5py's slices."""
        dataset, space = self._sets[name]
        space.select_hyperslab((first,) + (0,) * (block.ndim - 1), block.shape)
        dataset.write(h5py.h5s.create_simple(block.shape), space, block)

    def _commit(self, file: h5py.File, frames: int) -> None:
        """Write the steps, flush, count, flush: the counters never speak of what is not yet in the file."""
        block = np.array(self._pending).reshape(len(self._pending), len(self.layout.stepped))
        first = self.committed_steps
        if self._pending:
            for name, column in zip(self.layout.stepped, block.T, strict=True):
                self._write(STEP + name, first, np.ascontiguousarray(column))
            self._write(STEP_SUM, first, step_sums(dict(zip(self.layout.stepped, block.T, strict=True))))
        self._flush(file)
        files.write_attribute(file, "committed_steps", first + len(self._pending))
        files.write_attribute(file, "committed", self.committed + frames)
        self._flush(file)
        self.committed += frames
        self.committed_steps += len(self._pending)
        self._pending.clear()

    def _flush(self, file: h5py.File) -> None:
        h5py.h5f.flush(file.id)
        if self._disk is not None:
            self._disk.check()

    def _step_room(self) -> int:
        """Rows for steps: at least a twentieth of the frames' bytes, lest large files are copied for
        steps.
        """
        row = 8 * (2 + sum(int(np.prod(v.shape)) for v in self.layout.framed))
        return max(FIRST_STEPS, self._frames * row // (20 * 8 * (1 + len(self.layout.stepped))))

    def _missing_room(self) -> bool:
        return self.committed_steps + len(self._pending) > self._steps

    def _grow(self, frames: int) -> h5py.File:
        """Copy what is committed into a file with twice the room, and put that in its place."""
        before = self._frames, self._steps
        try:
            if frames > self._frames:
                self._frames = max(frames, 2 * self._frames)
            if self._missing_room():
                self._steps = max(self.committed_steps + len(self._pending), 4 * self._steps)
            self._replace(*self._build(STREAMED, self._open()))
        except BaseException:
            self._frames, self._steps = before
            raise
        return self._open()

    def _build(self, storage: str, source: h5py.File | None) -> tuple[h5py.File, Disk]:
        """Make the file under another name beside its place, with the committed rows of `source`."""
        disk, file, packed = None, None, storage == PACKED
        try:
            with files.reported(f"cannot write {self.path}"):
                disk = Disk(self._beside())
                file = files.new(disk)
                rows = (self.committed, self.committed_steps) if packed else (self._frames, self._steps)
                files.fill(file, self.layout, *rows, storage, source if packed else None)
                if source is not None:
                    self._copy(source, file)
                h5py.h5f.flush(file.id)
                disk.check()
        except BaseException:
            files.discard(file, disk, self._beside())
            raise
        return file, disk

    def _copy(self, source: h5py.File, target: h5py.File) -> None:
        for name in self._rows:
            rows = self.committed_steps if name.startswith(STEP) else self.committed
            files.copy_rows(source[name], target[name], rows)
        files.write_attribute(target, "committed_steps", self.committed_steps)
        files.write_attribute(target, "committed", self.committed)

    def _replace(self, file: h5py.File, disk: Disk) -> None:
        try:
            os.replace(self._beside(), self.path)
        except BaseException:
            files.discard(file, disk, self._beside())
            raise
        files.finish(self._file, self._disk)
        self._file, self._disk = file, disk
        self._sets = {name: (file[name].id, file[name].id.get_space()) for name in self._rows}

    def _pack(self, status: bytes) -> None:
        file, disk = self._build(PACKED, self._open())
        beside = self._beside()
        try:
            files.write_attribute(file, "status", status)
            file.close()
            disk.check()
            disk.close()
            trailer.append(beside)
            files.sync(beside)
            os.replace(beside, self.path)
        except BaseException:
            files.discard(file, disk, beside)
            raise
        files.sync(self.path.parent)

    def _beside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")


def _may_replace(path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InputError(f"{path} exists; take another name, or overwrite=True")
    disk, ours = None, False
    with suppress(OSError):
        disk = Disk(path, new=False)
        with files.open_read(disk) as file:
            ours = "wflow_schema" in file.attrs
    files.finish(None, disk)
    if not ours:
        raise FileError(f"{path} exists and is not a whole wflow file: it is not overwritten; move it away")


def frame_sum(arrays: Mapping[str, np.ndarray], order: list[str]) -> float:
    """Return the CRC-32 of time and the variables of a frame; a float, as rows not yet written are NaN."""
    total = checksum(arrays["time"])
    for name in order:
        total = checksum(arrays[name], total)
    return float(total)


def step_sums(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the CRC-32 of each step, (n,), columns in the order of their names."""
    block = np.column_stack([columns[name] for name in sorted(columns)])
    return np.array([float(checksum(row)) for row in block])
