"""What every estimator takes and gives: a weighted cloud checked at the border, and an `Estimate`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wflow.arrays import shown
from wflow.errors import InputError
from wflow.estimators.box import Box
from wflow.kernels import clouds

Array = NDArray[np.float64]
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Estimate:
    """density (n,) and score = ∇ log density (n, d) at the particles, in the units of the positions."""

    density: Array
    score: Array


def check_positions(positions: ArrayLike, box: Box | None = None, what: str = "samples") -> tuple[Array, Array]:
    """Positions as contiguous float64 (n, d), read-only, and their smallest and largest coordinates (2, d).

    Raises `InputError` unless they are finite, at least one, and within the box.
    """
    positions = shown(np.ascontiguousarray(positions, dtype=float))
    if positions.ndim != 2 or 0 in positions.shape:
        raise InputError(f"{what} need the shape (n, d), got {positions.shape}; for d = 1 use x[:, None]")
    extent = clouds.bounds(positions)
    if not np.all(np.isfinite(extent)):
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        raise InputError(f"{what} must be finite: {len(bad)} rows are not, row {bad[0]} is {positions[bad[0]]}")
    if box is None:
        return positions, extent
    if positions.shape[1] != len(box.lower):
        raise InputError(f"the box has {len(box.lower)} axes, the {what} have {positions.shape[1]}")
    if np.any(extent[0] < box.lower) or np.any(extent[1] > box.upper):
        raise InputError(
            f"{what} must lie in the box {box.lower} to {box.upper}; they reach {extent[0]} to {extent[1]}"
        )
    return positions, extent


def check_weights(weights: ArrayLike | None, n: int) -> Array:
    """Weights (n,) >= 0, read-only, scaled to sum 1 but where it is 1 to rounding; None for equal weights."""
    if weights is None:
        return shown(np.full(n, 1.0 / n))
    weights = np.ascontiguousarray(weights, dtype=float)
    if weights.shape != (n,):
        raise InputError(f"weights need one number per sample, shape ({n},), got {weights.shape}")
    total = weights.sum()
    if not (weights.min() >= 0 and 0 < total < np.inf):
        raise InputError(f"weights must be finite, none negative and some positive; least {weights.min()}, sum {total}")
    return shown(weights if abs(total - 1.0) < ROUNDING else weights / total)
