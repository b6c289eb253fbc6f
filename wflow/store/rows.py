"""Rows: what may be one, and their checksums, as they are written and as they are verified."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError
from wflow.store.layout import checksum


def checked(values: Mapping[str, ArrayLike], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of a frame as contiguous float64; raises `InputError` for wrong names, shapes or kinds."""
    if set(values) != set(shapes):
        missing, unknown = set(shapes) - set(values), set(values) - set(shapes)
        raise InputError(f"a frame lacks {sorted(missing)} and has unknown {sorted(unknown)}")
    arrays = {}
    for name, value in values.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fiu" or array.shape != shapes[name]:
            raise InputError(f"{name!r} must be real, of shape {shapes[name]}; got {array.dtype} {array.shape}")
        arrays[name] = np.ascontiguousarray(array, np.float64).reshape(array.shape)
    return arrays


def stuck(times: np.ndarray) -> list[int]:
    """Frames whose time is not a number, or not after that of the frame before.

    >>> stuck(np.array([0.0, 1.0, 1.0, np.nan, 2.0]))
    [2, 3, 4]
    """
    before = np.concatenate([[-np.inf], times[:-1]])
    return np.flatnonzero(~((times > before) & np.isfinite(times))).tolist()


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
