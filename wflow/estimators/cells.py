"""A cell list: which sources lie within reach of which points, for clouds too clustered for a dense mesh."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from wflow.estimators.box import Box
from wflow.estimators.cloud import Array
from wflow.kernels import pairs

CUT = 6.5  # bandwidths: the kernel there is 7e-10 of its peak
SPLIT = 2  # cells on a cut: with 2, five cells an axis hold all neighbours
GROUP = 16  # points of one task where every pair is summed
MOST_KEYS = 2.0**62

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over near pairs, or all: points and sources in bandwidths, sorted, and the runs of sources that each group
    feels (see `kernels.pairs`). `order` sorts the points, `source` says which particle each source stands for."""

    points: Array
    order: Index
    groups: Index
    columns: Array
    source: Index
    starts: Index
    stops: Index
    width: Array

    def __call__(self, masses: Array) -> tuple[Array, Array]:
        """Sums of masses (fields, n) times exp(-|x/width|^2/2), (fields, n), and the gradient of the first, (n,
        d)."""
        carried = np.ascontiguousarray(masses[:, self.source])
        found, slopes = pairs.run_sums(self.points, self.groups, self.columns, carried, self.starts, self.stops)
        values, gradient = np.empty_like(found), np.empty_like(slopes)
        values[self.order], gradient[self.order] = found, slopes / self.width
        return np.ascontiguousarray(values.T), gradient

    @property
    def pairs(self) -> float:
        """How many pairs are summed."""
        felt = np.sum(self.stops - self.starts, axis=1)
        return float(np.diff(self.groups) @ felt.astype(float))


def all_pairs(positions: Array, width: Array) -> PairSums:
    """Every pair, without a cut and without a box."""
    n = len(positions)
    scaled = (positions - positions[0]) / width
    everyone = np.arange(n)
    groups = np.append(np.arange(0, n, GROUP), n)
    starts = np.zeros((len(groups) - 1, 1), dtype=np.int64)
    return PairSums(
        scaled, everyone, groups, np.ascontiguousarray(scaled.T), everyone, starts, np.full_like(starts, n), width
    )


def near_pairs(positions: Array, width: Array, box: Box | None = None) -> PairSums | None:
    """Pairs up to 6.5 bandwidths apart, images in a box included; None where that cannot be done.

    It cannot where a box is shorter than the cut, or cells are too many to be counted. Cost: sorting, O(n log n).
    """
    reach = CUT * width
    low = positions.min(axis=0) if box is None else box.lower
    if box is not None and np.any(box.upper - box.lower < reach):
        return None
    sources, source = (positions, np.arange(len(positions))) if box is None else _with_images(positions, reach, box)
    edge = reach / SPLIT
    points, low = (positions - low) / edge, (sources - low) / edge
    first = np.floor(low.min(axis=0)) - SPLIT
    sides = np.floor(low.max(axis=0)) - first + SPLIT + 1
    if np.prod(sides) > MOST_KEYS:
        return None
    strides = np.append(np.cumprod(sides[:0:-1])[::-1], 1.0).astype(np.int64)
    keys = np.floor(low - first).astype(np.int64) @ strides
    own = np.floor(points - first).astype(np.int64) @ strides
    by_key, order = np.argsort(keys, kind="stable"), np.argsort(own, kind="stable")
    occupied, begins = np.unique(own[order], return_index=True)
    starts, stops = _runs(keys[by_key], occupied, strides)
    scale = edge / width
    columns = np.ascontiguousarray((low[by_key] * scale).T)
    groups = np.append(begins, len(points)).astype(np.int64)
    return PairSums(points[order] * scale, order, groups, columns, source[by_key], starts, stops, width)


def _runs(keys: Index, occupied: Index, strides: Index) -> tuple[Index, Index]:
    """Where the sorted keys of the neighbours of each occupied cell begin and end: one run a line along the last
    axis."""
    lines = product(range(-SPLIT, SPLIT + 1), repeat=len(strides) - 1)
    shifts = np.array([sum(o * int(s) for o, s in zip(line, strides[:-1], strict=True)) for line in lines])
    wanted = occupied[:, None] + shifts
    return np.searchsorted(keys, wanted - SPLIT, "left"), np.searchsorted(keys, wanted + SPLIT, "right")


def _with_images(positions: Array, reach: Array, box: Box) -> tuple[Array, Index]:
    """Sources with the images in walls and around rings that lie within reach of the box, and whom they stand for."""
    everyone, who = positions, np.arange(len(positions))
    for axis, side in enumerate(box.sides):
        x, low, high = everyone[:, axis], box.lower[axis], box.upper[axis]
        bottom, top = x < low + reach[axis], x > high - reach[axis]
        if side == "periodic":
            images = ((top, x[top] - (high - low)), (bottom, x[bottom] + (high - low)))
        else:
            images = ((bottom, 2.0 * low - x[bottom]), (top, 2.0 * high - x[top]))
        parts, owners = [everyone], [who]
        for chosen, place in images:
            image = everyone[chosen].copy()
            image[:, axis] = place
            parts.append(image)
            owners.append(who[chosen])
        everyone, who = np.concatenate(parts), np.concatenate(owners)
    return everyone, who
