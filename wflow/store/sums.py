"""Checksums of rows, as they are written and as they are verified."""

from collections.abc import Mapping

import numpy as np

from wflow.store.layout import checksum


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
