"""Looking for damage."""

import os
from pathlib import Path

import h5py
import numpy as np

from wflow.errors import FileError
from wflow.store import files, trailer
from wflow.store.layout import FRAME_SUM, PACKED, STEP, STEP_SUM, checksum
from wflow.store.reader import View, look
from wflow.store.rows import frame_sum, step_sums, stuck
from wflow.store.slots import DIMS, NAME

SHOWN = 5


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Return what is wrong with a file, a sentence each; an empty list says that nothing is.

    In a completed file any changed, missing or added byte is found, by a checksum of the whole; in one that
    is still being written (or was left so) any change in the data of a committed frame or step, by CRC-32 of
    each row.
    Cost: the file is read twice. Never raises for the state of the file.
    """
    place = Path(os.path.abspath(path))
    try:
        problems, packed = _whole(place)
        view = look(place)
    except FileError as error:
        return [str(error)]
    except OSError as error:
        return [f"cannot read {place}: {error.strerror}"]
    try:
        if view.attributes["storage"] == PACKED and not packed:
            problems.append(
                "the line with the checksum of the whole file is missing: the file is cut short or rewritten"
            )
        for what in (_frames, _steps, _fixed):
            try:
                with files.reported("data cannot be read"):
                    problems += what(view)
            except FileError as error:
                problems.append(str(error))
    finally:
        files.finish(view.file, view.disk)
    return problems


def _whole(path: Path) -> tuple[list[str], bool]:
    """Compare the checksum at the end, if there is one, before HDF5 looks at the file."""
    stored = trailer.read(path) if path.is_file() else None
    if stored is None:
        return [], False
    found = trailer.digest(path, path.stat().st_size - trailer.LENGTH)
    if found == stored:
        return [], True
    kept = bytes(stored).decode(errors="replace")
    return [f"the file is not as it was written: its checksum is {found.decode()}, not {kept}"], True


def _frames(view: View) -> list[str]:
    names = [name for name, dims in view.dims.items() if dims[:1] == ("time",) and name != FRAME_SUM]
    order = sorted(set(names) - {"time"})
    count = view.attributes["committed"]
    sums = view.file[FRAME_SUM][:count]
    bad = []
    for start, stop in _blocks([view.file[name] for name in names], count):
        block = {name: np.ascontiguousarray(view.file[name][start:stop]) for name in names}
        for i in range(stop - start):
            if (
                frame_sum({name: np.ascontiguousarray(rows[i]) for name, rows in block.items()}, order)
                != sums[start + i]
            ):
                bad.append(start + i)
    late = stuck(view.file["time"][:count])
    rising = [f"time does not rise at the frames {_listed(late)}"] if late else []
    return _told("frames", bad) + rising


def _blocks(sets: list[h5py.Dataset], count: int) -> list[tuple[int, int]]:
    row = sum(item.dtype.itemsize * int(np.prod(item.shape[1:])) for item in sets)
    rows = max(1, files.SLAB // max(1, row))
    return [(start, min(start + rows, count)) for start in range(0, count, rows)]


def _steps(view: View) -> list[str]:
    names = [name for name in view.dims if name.startswith(STEP) and name != STEP_SUM]
    if not names:
        return []
    count = view.attributes["committed_steps"]
    sums = step_sums({name.removeprefix(STEP): view.file[name][:count] for name in names})
    return _told("steps", np.flatnonzero(sums != view.file[STEP_SUM][:count]).tolist())


def _fixed(view: View) -> list[str]:
    problems = []
    for name, dims in view.dims.items():
        if dims[:1] != ("time",) and not name.startswith(STEP) and name not in (NAME, *DIMS):
            values = np.ascontiguousarray(view.file[name][...])
            if checksum(values) != view.file[name].attrs.get("crc32"):
                problems.append(f"{name!r} is damaged: its values do not have the checksum they were written with")
    return problems


def _told(what: str, bad: list[int]) -> list[str]:
    if not bad:
        return []
    return [f"{len(bad)} {what} damaged: the values of {what} {_listed(bad)} do not have their checksum"]


def _listed(bad: list[int]) -> str:
    return ", ".join(map(str, bad[:SHOWN])) + (", …" if len(bad) > SHOWN else "")
