"""What a file holds: names, dimensions and shapes, checked before anything is written."""

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wflow.errors import InputError
from wflow.store.slots import DIMS, NAME

SCHEMA = (1, 0)
STEP = "step_"
FRAME_SUM = "crc32"
STEP_SUM = STEP + FRAME_SUM
RESERVED = ("wflow_schema", "status", "storage", "committed", "committed_steps")
RUNNING = "running"
STREAMED, PACKED = "streamed", "packed"

Attribute = str | int | float | list[int] | list[float] | list[str]


@dataclass(frozen=True)
class Variable:
    """One series of arrays, a row to a frame: `dims` begins with "time"; `shape` is that of one row."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What a file holds besides `time`, which every file has.

    `frames`: how many frames are expected, None if unknown; more may be written at the price of a copy.
    `coordinates`: values of a dimension, (n,); a dimension without any gets 0, 1, …
    `framed`: a row to a frame. `static`: name -> (dims, array), written once. `stepped`: names of per-step
    numbers, stored as `step_NAME`. `attributes`: of the file.
    Raises `InputError` for names used twice or reserved, for lengths that disagree and for values HDF5 has
    no plain type for (booleans, None, complex numbers, mixed lists).

    >>> Layout(3, {"x": np.array([0.25, 0.75])}, (Variable("density", ("time", "x"), (2,)),)).sizes
    {'x': 2}
    """

    frames: int | None
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)
    framed: tuple[Variable, ...] = ()
    static: dict[str, tuple[tuple[str, ...], np.ndarray]] = field(default_factory=dict)
    stepped: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 0:
            raise InputError(f"frames must be a count or None, got {self.frames}")
        for variable in self.framed:
            if variable.dims[:1] != ("time",) or len(variable.dims) != 1 + len(variable.shape):
                raise InputError(
                    f"{variable.name!r} has dims {variable.dims} and rows of shape {variable.shape}: "
                    "dims must be 'time' and then one name for each axis of a row"
                )
        names = ["time", FRAME_SUM, "step", STEP_SUM, NAME, *DIMS, *self.sizes]
        names += [v.name for v in self.framed] + [*self.static] + [STEP + name for name in self.stepped]
        for name in names:
            _check_name(name)
        stepped = [name for name in (*(v.name for v in self.framed), *self.static) if name.startswith(STEP)]
        if stepped:
            raise InputError(f"{', '.join(stepped)}: names of per-step series; rename what is not one")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"names used twice or reserved: {', '.join(twice)}; rename them")
        for name, value in self.attributes.items():
            if name in RESERVED:
                raise InputError(f"the attribute {name!r} is written by the store; leave it out")
            plain(name, value)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension except time and step."""
        found: dict[str, int] = {}
        parts: list[tuple[str, tuple[str, ...], tuple[int, ...]]] = []
        parts += [(name, (name,), np.shape(values)) for name, values in self.coordinates.items()]
        parts += [(v.name, v.dims[1:], v.shape) for v in self.framed]
        parts += [(name, dims, np.shape(array)) for name, (dims, array) in self.static.items()]
        for name, dims, shape in parts:
            if len(dims) != len(shape) or len(set(dims)) != len(dims) or {"time", "step"} & set(dims):
                raise InputError(f"{name!r} has dims {dims} for shape {shape}: one different name for each axis")
            for dim, size in zip(dims, shape, strict=True):
                if found.setdefault(dim, int(size)) != size:
                    raise InputError(f"{name!r} has {size} along {dim!r}, others have {found[dim]}")
        return found


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name or "/" in name or "\0" in name or name.strip(". ") == "":
        raise InputError(f"{name!r} cannot name a dataset: take a word without '/'")
    plain(name, name)


def checksum(array: np.ndarray, start: int = 0) -> int:
    """Return the CRC-32 of the bytes of a contiguous array, continued from `start`.

    >>> checksum(np.array([1.0]))
    3354924009
    """
    return zlib.crc32(array.reshape(-1).view(np.uint8).data, start)


def plain(name: str, value: Attribute) -> np.ndarray:
    """Return `value` as an array for one attribute: text has a fixed length, which HDF5's checksums cover."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list | tuple) and texts and all(isinstance(text, str) for text in texts):
        try:
            encoded = [str(text).encode() for text in texts]
        except UnicodeEncodeError as error:
            raise InputError(f"the text of {name!r} cannot be written as UTF-8: {error}") from None
        if any(b"\0" in text for text in encoded):
            raise InputError(f"the text of {name!r} holds a NUL character; leave it out")
        array = np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")
        return array.reshape(()) if isinstance(value, str) else array
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        raise InputError(f"the attribute {name!r} must be text, a number or a flat list of one kind, got {value!r}")
    return array
