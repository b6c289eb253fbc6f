"""What a file must be before anything of it is read: hostile and damaged ones are refused.

Nothing outside the file is opened. The links, then the storage of every dataset are looked at before its
shape is believed or its data touched.
"""

import os
from typing import Any

import h5py
import numpy as np

from wflow.errors import FileError
from wflow.store.layout import RESERVED, SCHEMA
from wflow.store.slots import NAME

MAX_BYTES = 1 << 42
MAX_CHUNK = 1 << 28
MAX_ATTRIBUTE = 1 << 26
MAX_OBJECTS = 10_000
DEFLATE_LIMIT = 1040
"""Deflate cannot shrink below 1/1032, so a larger claim is not of this data."""

FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher",
}
NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)


def attributes(file: h5py.File) -> dict[str, Any]:
    """Return the root's attributes as plain Python values; kinds this package does not write are left out.

    Raises `FileError` if the file is not of this package, of a newer major schema, or lacks what every file
    has.
    """
    found: dict[str, Any] = {}
    for name in list(file.attrs):
        item = file.attrs.get_id(name)
        if _readable(item):
            found[name] = _plain(file.attrs[name])
    schema = found.get("wflow_schema")
    if not (isinstance(schema, list) and len(schema) == 2 and all(isinstance(part, int) for part in schema)):
        raise FileError("not a wflow file: it has no attribute wflow_schema")
    if schema[0] > SCHEMA[0]:
        raise FileError(f"its schema is {schema[0]}.{schema[1]}, this wflow reads up to {SCHEMA[0]}: update wflow")
    missing = [name for name in RESERVED if name not in found]
    if missing:
        raise FileError(f"it lacks the attributes {', '.join(missing)}")
    for name in ("committed", "committed_steps"):
        if not isinstance(found[name], int) or found[name] < 0:
            raise FileError(f"its attribute {name!r} is {found[name]!r}, not a count")
    return found


def datasets(file: h5py.File, size: int) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[int, ...]]]:
    """Return dims and shape of every dataset of a file of `size` bytes by name; groups are never entered.

    Raises `FileError` for links, storage outside the file, virtual data, unknown filters, other types than
    numbers, claims beyond what the file can hold and axes without a name.
    """
    if len(file) > MAX_OBJECTS:
        raise FileError(f"it holds {len(file)} objects")
    links = file.id.links
    names = [name for name in file if _hard(links.get_info(name.encode()).type, name)]
    kinds = {name: h5py.h5o.get_info(file.id, name.encode()).type for name in names}
    sets = {name: h5py.h5d.open(file.id, name.encode()) for name in names if kinds[name] == h5py.h5o.TYPE_DATASET}
    for name, dataset in sets.items():
        _check_storage(name, dataset)
        _check_claim(name, dataset, size)
    dims = {name: _dims(name, dataset) for name, dataset in sets.items()}
    return dims, {name: dataset.shape for name, dataset in sets.items()}


def check_axes(dims: dict[str, tuple[str, ...]], shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise `FileError` for an axis without a scale, or of another length."""
    for name in set(dims) - {NAME}:
        for dim, length in zip(dims[name], shapes[name], strict=True):
            if dims.get(dim) != (dim,):
                raise FileError(f"the axis {dim!r} of {name!r} has no scale")
            if shapes[dim] != (length,):
                raise FileError(f"{name!r} has {length} along {dim!r}, the scale of that has {shapes[dim][0]}")


def _readable(item: h5py.h5a.AttrID) -> bool:
    """Whether an attribute is of the kinds this package writes: text of variable length is not."""
    kind = item.get_type()
    claim = item.get_space().get_simple_extent_npoints() * kind.get_size()
    text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    return claim <= MAX_ATTRIBUTE and (text or kind.get_class() in NUMBERS)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.reshape(-1)]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value


def _hard(kind: int, name: str) -> bool:
    if kind != h5py.h5l.TYPE_HARD:
        what = "an external link" if kind == h5py.h5l.TYPE_EXTERNAL else "a soft link"
        raise FileError(f"{name!r} is {what}; wflow files hold none")
    return True


def _check_storage(name: str, dataset: h5py.h5d.DatasetID) -> None:
    """Everything here is known from the header alone."""
    plist = dataset.get_create_plist()
    if plist.get_external_count():
        raise FileError(f"{name!r} keeps its data in another file ({os.fsdecode(plist.get_external(0)[0])})")
    if plist.get_layout() == h5py.h5d.VIRTUAL:
        raise FileError(f"{name!r} is a virtual dataset, put together from others")
    unknown = [k for k in range(plist.get_nfilters()) if plist.get_filter(k)[0] not in FILTERS]
    if unknown:
        number, _, _, text = plist.get_filter(unknown[0])
        raise FileError(f"{name!r} has the filter {number} ({text.decode(errors='replace')}), which wflow does not use")
    if dataset.get_type().get_class() not in NUMBERS or dataset.dtype.itemsize > 8:
        raise FileError(f"{name!r} does not hold plain numbers but {dataset.get_type().dtype}")


def _check_claim(name: str, dataset: h5py.h5d.DatasetID, size: int) -> None:
    """A shape is believed only as far as bytes in the file stand behind it."""
    plist = dataset.get_create_plist()
    width = dataset.dtype.itemsize
    claim = width * dataset.get_space().get_simple_extent_npoints()
    stored = dataset.get_storage_size()
    chunked = plist.get_layout() == h5py.h5d.CHUNKED
    deflated = any(plist.get_filter(k)[0] == h5py.h5z.FILTER_DEFLATE for k in range(plist.get_nfilters()))
    if claim > min(MAX_BYTES, stored * (DEFLATE_LIMIT if deflated else 1)):
        raise FileError(f"{name!r} claims {claim} bytes, but only {stored} are stored")
    end = stored + (0 if chunked else dataset.get_offset() or 0)
    if end > size:
        raise FileError(f"{name!r} claims bytes up to {end}, but the file has {size}: it is cut short or made up")
    if chunked and width * int(np.prod([int(n) for n in plist.get_chunk()], dtype=object)) > MAX_CHUNK:
        raise FileError(f"{name!r} has chunks of shape {plist.get_chunk()}, too large to read")


def _dims(name: str, dataset: h5py.h5d.DatasetID) -> tuple[str, ...]:
    """Names of the axes, from our own attribute: HDF5 keeps its lists of scales in a heap without checksum.

    HDF5 2.0 does not return from a damaged heap.
    """
    rank = dataset.get_space().get_simple_extent_ndims()
    if not h5py.h5a.exists(dataset, b"dimensions"):
        raise FileError(f"the axes of {name!r} have no names (its attribute 'dimensions' is missing)")
    item = h5py.h5a.open(dataset, b"dimensions")
    if not _readable(item) or item.shape != (rank,) or item.dtype.kind != "S":
        raise FileError(f"the attribute 'dimensions' of {name!r} does not name its {rank} axes")
    found = np.empty(rank, item.dtype)
    item.read(found)
    return tuple(text.decode(errors="replace") for text in found.tolist())
