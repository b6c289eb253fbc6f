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

from wflow.errors import InputError
from wflow.store import files, lock, slots, trailer
from wflow.store.building import Room, build, may_replace, rows_of
from wflow.store.disk import Disk
from wflow.store.layout import FRAME_SUM, PACKED, STEP, STEP_SUM, STREAMED, Layout
from wflow.store.reader import View, checkpoint, look
from wflow.store.rows import checked, frame_sum, step_sums

FIRST_FRAMES = 64
FIRST_STEPS = 1024


class Writer:
    """Stream frames to `path`; a process killed at any instant leaves a file with every committed frame.

    The file stands at `path` as soon as this returns. `frame` commits a frame, `close(status)` packs the
    file and gives it its status. Leaving a `with` block without `close` keeps the file as it stands,
    "running". An existing file is refused unless `overwrite`, and then only a wflow file is replaced.
    With `at_once` the file takes its place when `close` has packed it: until then, and without, what is there stays.
    `checkpoint` keeps arrays from which the work can go on; with `resume` what was committed before the newest
    checkpoint of an existing file is taken over, and that checkpoint is `resumed`. Without one the file starts anew.
    Cost of a frame: its bytes and two flushes, about 1 ms for a dozen small series on a busy machine.
    Disk use until `close`: the frames expected, doubled each time they do not suffice; at `close` the
    packed copy beside it.
    Raises `InputError` for an existing file, `FileError` if the folder cannot be written, the disk is full,
    another writer is at work or the file to be replaced is not of this package.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layout: Layout,
        overwrite: bool = False,
        resume: bool = False,
        at_once: bool = False,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self._stand = self._beside("new") if at_once else self.path
        self.layout = layout
        self.committed = 0
        self.committed_steps = 0
        self.resumed: slots.Checkpoint | None = None
        self._order = sorted(v.name for v in layout.framed)
        self._shapes = {v.name: v.shape for v in layout.framed} | {"time": ()}
        self._pending: list[list[float]] = []
        self._number, self._last = 0, -np.inf
        self._file: h5py.File | None = None
        self._disk: Disk | None = None
        with files.reported(f"cannot write {path}"):
            files.make_folder(self.path.parent)
            self._lock: int | None = lock.acquire(self.path)
        try:
            may_replace(self.path, overwrite or resume)
            self._room = Room(FIRST_FRAMES if layout.frames is None else max(1, layout.frames), self._step_room())
            self._begin(look(self.path) if resume and self.path.exists() else None)
        except BaseException:
            self._release()
            raise

    def _begin(self, old: View | None) -> None:
        """Start the file, with what `old` holds up to its newest checkpoint."""
        try:
            self.resumed = None if old is None else checkpoint(old)
            if old is None or self.resumed is None:
                self._replace(*self._build(STREAMED, None))
                return
            self.committed, self.committed_steps = self.resumed.frames, self.resumed.steps
            self._number = self.resumed.number
            self._last = float(old.file["time"][self.committed - 1]) if self.committed else -np.inf
            frames, steps = max(self._room.frames, self.committed), max(self._room.steps, self.committed_steps)
            self._room = Room(frames, steps, old.file[slots.NAME].shape[1])
            self._replace(*self._build(STREAMED, old.file))
        finally:
            if old is not None:
                files.finish(old.file, old.disk)

    def frame(self, values: Mapping[str, ArrayLike]) -> None:
        """Commit one frame, and the steps since the last: `time` and every framed variable, by name.

        Raises `InputError` for wrong names, shapes or kinds, `FileError` if it cannot be written; nothing
        that was committed before is lost.
        """
        arrays = checked(values, self._shapes)
        if not self._last < arrays["time"] < np.inf:
            raise InputError(
                f"the time of a frame must be after {self._last:g}, that of the last; got {arrays['time']:g}"
            )
        file = self._open()
        with files.reported(f"cannot write a frame to {self.path}"):
            if self.committed == self._room.frames or self._missing_room():
                file = self._grow(self.committed + 1)
            for name, array in arrays.items():
                self._write(name, self.committed, array[np.newaxis])
            self._write(FRAME_SUM, self.committed, np.array([frame_sum(arrays, self._order)]))
            self._commit(file, 1)
        self._last = float(arrays["time"])

    def step(self, values: Mapping[str, float]) -> None:
        """Note the numbers of one step, by name without "step_"; they are written with the next frame.

        A name left out is NaN; an unknown one raises `InputError`.
        """
        self._open()
        unknown = set(values) - set(self.layout.stepped)
        if unknown:
            raise InputError(f"unknown per-step names {sorted(unknown)}; the layout has {list(self.layout.stepped)}")
        self._pending.append([float(values.get(name, np.nan)) for name in self.layout.stepped])

    def checkpoint(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Commit the steps noted so far and keep `arrays`, of any shapes, in the place of the older checkpoint.

        A process killed meanwhile leaves the newer one. Cost: their bytes, a checksum and three flushes.
        """
        file = self._open()
        with files.reported(f"cannot write a checkpoint to {self.path}"):
            if self._missing_room():
                file = self._grow(self._room.frames)
            if self._pending:
                self._commit(file, 0)
            number = self._number + 1
            point = slots.Checkpoint(number, self.committed, self.committed_steps, dict(arrays))
            data = slots.encode(point)
            if len(data) > self._room.blocks * slots.BLOCK:
                file = self._grow(self._room.frames, slots.blocks(len(data)))
            whole = data.ljust(-(-len(data) // slots.BLOCK) * slots.BLOCK, b"\0")
            rows = np.frombuffer(whole, np.uint8).reshape(1, -1, slots.BLOCK)
            self._write(slots.NAME, number % 2, rows)
            self._flush(file)
            self._number = number

    def leave(self, status: str) -> None:
        """Give the file a status and leave it unpacked, with its checkpoints: a run that may go on."""
        file, text = self._open(), files.sentence(status)
        try:
            with files.reported(f"cannot write {self.path}"):
                self._settle(file)
                files.write_attribute(self._open(), "status", text)
                self._flush(self._open())
        finally:
            self.abandon()

    def close(self, status: str) -> None:
        """Pack the file beside itself, with `status`, and put it in its place; a second call does nothing.

        Raises `FileError` if that fails (a full disk); the streamed file then stays, complete, with its
        status.
        """
        if self._file is None:
            return
        file, text = self._open(), files.sentence(status)
        try:
            kept = f"{self.path} keeps all its frames, but could not be packed"
            with files.reported(kept if self._stand == self.path else f"cannot write {self.path}"):
                self._settle(file)
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
        if self._stand != self.path:
            with suppress(OSError):
                self._stand.unlink(missing_ok=True)
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

    def _write(self, name: str, first: int, block: np.ndarray) -> None:
        """Write rows from `first` on where they lie in the file: HDF5 has nothing to add to plain preallocated rows,
        and takes forty microseconds for each."""
        place, row = self._places[name]
        if self._disk is not None and block.size:
            self._disk.seek(place + first * row)
            self._disk.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)

    def _commit(self, file: h5py.File, frames: int) -> None:
        """Write the steps, count, flush: the counters never speak of what is not yet in the file."""
        block = np.array(self._pending).reshape(len(self._pending), len(self.layout.stepped))
        first = self.committed_steps
        if self._pending:
            for name, column in zip(self.layout.stepped, block.T, strict=True):
                self._write(STEP + name, first, np.ascontiguousarray(column))
            self._write(STEP_SUM, first, step_sums(dict(zip(self.layout.stepped, block.T, strict=True))))
        if self._disk is not None:
            self._disk.check()
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

    def _settle(self, file: h5py.File) -> None:
        """Write the steps that wait for a frame."""
        if self._pending:
            self._commit(self._grow(self._room.frames) if self._missing_room() else file, 0)

    def _step_room(self) -> int:
        """Rows for steps: at least a twentieth of the frames' bytes, lest large files are copied for steps."""
        row = 8 * (2 + sum(int(np.prod(v.shape)) for v in self.layout.framed))
        frames = FIRST_FRAMES if self.layout.frames is None else max(1, self.layout.frames)
        return max(FIRST_STEPS, frames * row // (20 * 8 * (1 + len(self.layout.stepped))))

    def _missing_room(self) -> bool:
        return self.committed_steps + len(self._pending) > self._room.steps

    def _grow(self, frames: int, blocks: int = 0) -> h5py.File:
        """Copy what is committed into a file with more room, and put that in its place."""
        before = self._room
        try:
            rows, steps = before.frames, before.steps
            if frames > rows:
                rows = max(frames, 2 * rows)
            if self._missing_room():
                steps = max(self.committed_steps + len(self._pending), 4 * steps)
            self._room = Room(rows, steps, max(before.blocks, blocks))
            self._replace(*self._build(STREAMED, self._open()))
        except BaseException:
            self._room = before
            raise
        return self._open()

    def _build(self, storage: str, source: h5py.File | None) -> tuple[h5py.File, Disk]:
        """Make the file under another name beside its place, with the committed rows of `source`."""
        kept = Room(self.committed, self.committed_steps)
        with files.reported(f"cannot write {self.path}"):
            return build(self._beside(), self.layout, self._room, storage, source, kept)

    def _replace(self, file: h5py.File, disk: Disk) -> None:
        try:
            with files.reported(f"cannot write {self.path}"):
                os.replace(self._beside(), self._stand)
        except BaseException:
            files.discard(file, disk, self._beside())
            raise
        files.finish(self._file, self._disk)
        self._file, self._disk = file, disk
        names = [*rows_of(self.layout), *([slots.NAME] if self._room.blocks else [])]
        self._places = {name: files.place(file[name]) for name in names}

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

    def _beside(self, end: str = "part") -> Path:
        return self.path.with_name(f".{self.path.name}.{end}")
