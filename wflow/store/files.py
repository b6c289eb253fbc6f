"""A new file and the copying of rows from one to another: everything that knows how bytes lie in HDF5.

While a run writes, every dataset is contiguous and preallocated with NaN. Growing a chunked dataset in place
is not safe: its index tree splits at the 65th chunk, and a process killed between the writes of a split
leaves committed rows that cannot be reached. So a file that is full is copied into a larger one beside it,
which then takes its name.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOTDIR
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wflow.errors import FileError, InputError
from wflow.store import slots
from wflow.store.disk import Disk
from wflow.store.layout import FRAME_SUM, RUNNING, SCHEMA, STEP, STEP_SUM, Layout, checksum, plain

SLAB = 1 << 24
CHUNK = 1 << 19
SMALL = 1 << 14
STATUS = 256  # bytes of a status in a file


def access(disk: Disk) -> Any:
    """Property list for opening through `disk`, without a buffer around small writes."""
    plist = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    plist.set_fileobj_driver(h5py.h5fd.fileobj_driver, disk)
    plist.set_sieve_buf_size(0)
    return plist


def _name(disk: Disk) -> bytes:
    """A name for messages; one that is no path, so that HDF5 opens nothing by it."""
    return b"disk " + os.fsencode(disk.path.name)


def open_read(disk: Disk) -> h5py.File:
    """Open a file to read it; nothing is locked."""
    return h5py.File(h5py.h5f.open(_name(disk), h5py.h5f.ACC_RDONLY, access(disk)))


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Turn what HDF5 and the system raise into `FileError`, with `what` as the beginning of the sentence."""
    try:
        yield
    except (FileError, InputError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise FileError(f"{what}: {text}") from None


def new(disk: Disk) -> h5py.File:
    """Start a file whose root keeps its attributes in its header, the counters first: a small write commits.

    The format is that of HDF5 1.8, which leaves no mark in a file that was never closed.
    """
    plist = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    plist.set_attr_phase_change(1000, 0)
    plist.set_obj_track_times(False)
    opened = access(disk)
    opened.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    return h5py.File(h5py.h5f.create(_name(disk), h5py.h5f.ACC_TRUNC, fapl=opened, fcpl=plist))


def contents(layout: Layout, rows: int, steps: int) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return name -> (dims, values, or the shape of what is to be filled in)."""
    parts: dict[str, tuple[tuple[str, ...], Any]] = {
        "time": (("time",), (rows,)),
        FRAME_SUM: (("time",), (rows,)),
    }
    if layout.stepped:
        parts["step"] = (("step",), np.arange(steps))
        parts |= dict.fromkeys((*(STEP + name for name in layout.stepped), STEP_SUM), (("step",), (steps,)))
    for dim, size in layout.sizes.items():
        parts[dim] = ((dim,), np.asarray(layout.coordinates.get(dim, np.arange(size))))
    parts |= {v.name: (v.dims, (rows, *v.shape)) for v in layout.framed}
    parts |= {name: (dims, np.asarray(array)) for name, (dims, array) in layout.static.items()}
    return parts


def fill(file: h5py.File, layout: Layout, room: tuple[int, int], storage: str, sample: h5py.File | None) -> None:
    """Write attributes, fixed arrays and, as NaN, the rows to come: `room` for frames and steps; `sample` asks for
    packed storage."""
    for counter in ("committed", "committed_steps"):
        file.attrs.create(counter, np.int64(0))
    _attribute(file, "status", np.array(RUNNING.encode(), f"S{STATUS}"))
    _attribute(file, "storage", plain("storage", storage))
    file.attrs.create("wflow_schema", np.array(SCHEMA, np.int64))
    parts = contents(layout, *room)
    made = {}
    for name, (_, values) in parts.items():
        if isinstance(values, tuple):
            last = None if sample is None else _last(sample[name], values[0])
            made[name] = _create(file, name, values, np.dtype("f8"), last)
        else:
            dtype = np.dtype("i8" if values.dtype.kind in "iu" else "f8")
            values = np.ascontiguousarray(values, dtype)
            made[name] = _create(file, name, values.shape, dtype, None if sample is None else values)
            made[name][...] = values
            made[name].attrs.create("crc32", np.int64(checksum(values)))
    _scale(made, {name: dims for name, (dims, _) in parts.items()})
    for name, value in layout.attributes.items():
        _attribute(file, name, plain(name, value))


def _scale(made: dict[str, h5py.Dataset], dims: dict[str, tuple[str, ...]]) -> None:
    """Every axis has the dataset of its name for a scale; reading goes by the attribute `dimensions`."""
    for dim in sorted({dim for names in dims.values() for dim in names}):
        made[dim].make_scale(dim)
    for name, names in dims.items():
        _attribute(made[name], "dimensions", plain(name, list(names)))
        for axis, dim in enumerate(names):
            if name != dim:
                h5py.h5ds.attach_scale(made[name].id, made[dim].id, axis)


def add_slots(file: h5py.File, count: int) -> None:
    """Two slots of `count` blocks of bytes for checkpoints, their space taken and not yet filled."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_attr_phase_change(1000, 0)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    shape = (2, count, slots.BLOCK)
    made = {slots.NAME: file.create_dataset(slots.NAME, shape, "u1", dcpl=plist)}
    for dim, size in zip(slots.DIMS, shape, strict=True):
        made[dim] = _create(file, dim, (size,), np.dtype("i8"), None)
        made[dim][...] = np.arange(size)
    _scale(made, {slots.NAME: slots.DIMS, **{dim: (dim,) for dim in slots.DIMS}})


def _attribute(file: h5py.File | h5py.Dataset, name: str, value: np.ndarray) -> None:
    """Fixed-length text must say that it is UTF-8; NumPy's own type would be stored as ASCII."""
    if value.dtype.kind != "S":
        file.attrs.create(name, value)
        return
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(value.dtype.itemsize)
    kind.set_strpad(h5py.h5t.STR_NULLPAD)
    kind.set_cset(h5py.h5t.CSET_UTF8)
    array = np.ascontiguousarray(value)
    space = h5py.h5s.create_simple(value.shape) if value.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5a.create(file.id, name.encode(), kind, space).write(array.reshape(value.shape), mtype=kind)


def _create(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype, sample: Any) -> h5py.Dataset:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_attr_phase_change(1000, 0)
    options: dict[str, Any] = {}
    if sample is not None and np.prod(shape, dtype=float) * 8 >= SMALL:
        options = {"chunks": chunks(shape), "fletcher32": True}
        if _shrinks(sample):
            options |= {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    else:
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    if dtype.kind == "f":
        options["fillvalue"] = np.nan
    return file.create_dataset(name, shape, dtype, dcpl=plist, **options)


def chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return chunks of at most half a megabyte, whole along the last axes: a frame is read with few of them.

    >>> chunks((100, 10, 8)), chunks((11, 1000000, 2))
    ((100, 10, 8), (1, 32768, 2))
    """
    left = CHUNK // 8
    sizes = []
    for size in reversed(shape):
        sizes.append(max(1, min(size, left)))
        left //= sizes[-1]
    return tuple(reversed(sizes))


def _last(dataset: h5py.Dataset, rows: int) -> np.ndarray:
    """The last of so many rows, or the last numbers of a series; what is beyond has not been written."""
    return dataset[max(0, rows - (1 if dataset.ndim > 1 else SMALL)) : rows]


def _shrinks(sample: np.ndarray) -> bool:
    """Whether compression saves a third, a second for each 30 megabytes; on random positions it saves a tenth, on
    smooth densities a fifth."""
    part = np.ascontiguousarray(sample.reshape(-1)[:SMALL])
    octets = part.view(np.uint8).reshape(-1, 8).T.tobytes()
    return len(zlib.compress(octets, 4)) < 0.67 * len(octets)


def place(dataset: h5py.Dataset) -> tuple[int, int]:
    """Return where the first row of a contiguous dataset lies in the file, and the bytes of a row."""
    return dataset.id.get_offset() or 0, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))


def copy_rows(source: h5py.Dataset, target: h5py.Dataset, rows: int) -> None:
    """Copy the first `rows` rows in slabs of whole chunks."""
    width = max(1, source.dtype.itemsize * int(np.prod(source.shape[1:])))
    unit = target.chunks[0] if target.chunks else 1
    slab = unit * max(1, SLAB // (width * unit))
    for start in range(0, rows, slab):
        stop = min(start + slab, rows)
        target[start:stop] = source[start:stop]


def write_attribute(file: h5py.File, name: str, value: Any) -> None:
    """Overwrite an attribute where it stands; h5py's own assignment deletes it first."""
    attribute = h5py.h5a.open(file.id, name.encode())
    attribute.write(np.array(value, attribute.dtype))


def sentence(status: str) -> bytes:
    """A status as it stands in the file."""
    text = status.encode()
    if len(text) > STATUS or not text or b"\0" in text:
        raise InputError(f"the status must be a sentence of at most {STATUS} bytes, got {status!r}")
    return text


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(ENOTDIR, f"{path} is a file, not a folder")
    path.mkdir(parents=True, exist_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finish(file: h5py.File | None, disk: Disk | None) -> None:
    """Close both; whether everything reached the disk is `disk.check()`."""
    with suppress(OSError, RuntimeError, ValueError):
        if file is not None:
            file.close()
    if disk is not None:
        disk.close()


def discard(file: h5py.File | None, disk: Disk | None, path: Path) -> None:
    """Close and remove a file that could not be finished."""
    finish(file, disk)
    with suppress(OSError):
        path.unlink(missing_ok=True)
