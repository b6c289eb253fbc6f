"""Making a file beside its place, with what is committed in another: when it starts, grows, goes on and is packed."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py

from wflow.errors import FileError, InputError
from wflow.store import files
from wflow.store.disk import Disk
from wflow.store.layout import FRAME_SUM, PACKED, STEP, STEP_SUM, Layout
from wflow.store.slots import NAME


@dataclass(frozen=True)
class Room:
    """Rows for frames and for steps, and blocks for each of two checkpoints."""

    frames: int
    steps: int
    blocks: int = 0


def rows_of(layout: Layout) -> list[str]:
    """Names of the datasets with a row to a frame or a step."""
    names = ["time", FRAME_SUM, *sorted(v.name for v in layout.framed)]
    return names + ([*(STEP + name for name in layout.stepped), STEP_SUM] if layout.stepped else [])


def build(
    path: Path, layout: Layout, room: Room, storage: str, source: h5py.File | None, kept: Room
) -> tuple[h5py.File, Disk]:
    """Make a file at `path` with the `kept` rows of `source`; nothing is left behind where that fails.

    A packed file has room for what is kept and no checkpoint.
    """
    disk, file, packed = None, None, storage == PACKED
    try:
        disk = Disk(path)
        file = files.new(disk)
        size = kept if packed else room
        files.fill(file, layout, (size.frames, size.steps), storage, source if packed else None)
        if room.blocks and not packed:
            files.add_slots(file, room.blocks)
        if source is not None:
            _copy(source, file, layout, kept)
        h5py.h5f.flush(file.id)
        disk.check()
    except BaseException:
        files.discard(file, disk, path)
        raise
    return file, disk


def _copy(source: h5py.File, target: h5py.File, layout: Layout, kept: Room) -> None:
    for name in rows_of(layout):
        files.copy_rows(source[name], target[name], kept.steps if name.startswith(STEP) else kept.frames)
    if NAME in source and NAME in target:
        target[NAME][:, : source[NAME].shape[1]] = source[NAME][...]
    files.write_attribute(target, "committed_steps", kept.steps)
    files.write_attribute(target, "committed", kept.frames)


def may_replace(path: Path, overwrite: bool) -> None:
    """Refuse to write over an existing file, unless it is asked for and the file is of this package."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InputError(f"{path} exists; take another name, or overwrite=True")
    disk, ours = None, False
    with suppress(OSError):
        if not path.is_file():  # to open a pipe waits for its other end
            raise FileNotFoundError
        disk = Disk(path, new=False)
        with files.open_read(disk) as file:
            ours = "wflow_schema" in file.attrs
    files.finish(None, disk)
    if not ours:
        raise FileError(f"{path} exists and is not a whole wflow file: it is not overwritten; move it away")
