"""A cell list: which sources lie within reach of which points, for clouds too clustered for a dense mesh."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from wflow.estimators.box import Box
from wflow.estimators.cloud import Array
from wflow.kernels import pairs
from wflow.kernels.shares import threads_for

CUT = 6.5  # bandwidths: the kernel there is 7e-10 of its peak
SPLIT = 2  # cells on a cut: with 2, five cells an axis hold all neighbours
GROUP = 16  # points of one task where every pair is summed
MOST_KEYS = 2.0**62

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over near pairs, or all: points and sources in bandwidths, sorted, and the runs of sources that each group
    feels (see `kernels.pairs`). `order` sorts the points, `source` says which particle each source stands for, and
    `facing` (sources, d) is -1 for its images in walls, along the axis that they turn round."""

    points: Array
    order: Index
    groups: Index
    columns: Array
    source: Index
    starts: Index
    stops: Index
    width: Array
    facing: Array | None = None

    def __call__(self, masses: Array) -> tuple[Array, Array]:
        """Sums of masses (fields, n) times exp(-|x/width|^2/2), (fields, n), and the gradient of the first, (n,
        d)."""
        carried = np.ascontiguousarray(masses[:, self.source])
        with threads_for(self.pairs):
            found, slopes = pairs.run_sums(self.points, self.groups, self.columns, carried, self.starts, self.stops)
        values, gradient = np.empty_like(found), np.empty_like(slopes)
        values[self.order], gradient[self.order] = found, slopes / self.width
        return np.ascontiguousarray(values.T), gradient

    def tangent(self, change: Array, moves: Array) -> tuple[Array, Array]:
        """The derivative of the sums (n,) and of their gradient (n, d) at points at rest, as masses change by `change`
        (n,) and move; `moves` (n, d) are masses times velocities."""
        carried = moves[self.source] / self.width
        carried = np.ascontiguousarray((carried if self.facing is None else carried * self.facing).T)
        shape = self.points, self.groups, self.columns
        with threads_for(self.pairs):
            found, slopes = pairs.run_tangents(*shape, change[self.source], carried, self.starts, self.stops)
        values, gradient = np.empty_like(found), np.empty_like(slopes)
        values[self.order], gradient[self.order] = found, slopes / self.width
        return values, gradient

    def curvature(self, masses: Array) -> Array:
        """The second derivatives (n, d, d) of the sums of masses (n,)."""
        runs = self.starts, self.stops
        with threads_for(self.pairs):
            found = pairs.run_curvatures(self.points, self.groups, self.columns, masses[self.source], *runs)
        out = np.empty_like(found)
        out[self.order] = found / (self.width[:, None] * self.width)
        return out

    @cached_property
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
    corner = positions.min(axis=0) if box is None else box.lower
    if box is not None and np.any(box.upper - box.lower < reach):
        return None
    sources, source, facing = positions, np.arange(len(positions)), None
    if box is not None:
        sources, source, facing = _with_images(positions, reach, box)
    edge = reach / SPLIT
    points, felt = (positions - corner) / edge, (sources - corner) / edge
    first = np.floor(felt.min(axis=0)) - SPLIT
    sides = np.floor(felt.max(axis=0)) - first + SPLIT + 1
    if np.prod(sides) > MOST_KEYS:
        return None
    strides = np.append(np.cumprod(sides[:0:-1])[::-1], 1.0).astype(np.int64)
    keys = np.floor(felt - first).astype(np.int64) @ strides
    own = np.floor(points - first).astype(np.int64) @ strides
    by_key, order = np.argsort(keys, kind="stable"), np.argsort(own, kind="stable")
    occupied, begins = np.unique(own[order], return_index=True)
    starts, stops = _runs(keys[by_key], occupied, strides)
    scale = edge / width
    columns = np.ascontiguousarray((felt[by_key] * scale).T)
    groups = np.append(begins, len(points)).astype(np.int64)
    facing = None if facing is None else facing[by_key]
    return PairSums(points[order] * scale, order, groups, columns, source[by_key], starts, stops, width, facing)


def _runs(keys: Index, occupied: Index, strides: Index) -> tuple[Index, Index]:
    """Where the sorted keys of the neighbours of each occupied cell begin and end: one run a line along the last
    axis."""
    lines = product(range(-SPLIT, SPLIT + 1), repeat=len(strides) - 1)
    shifts = np.array([sum(o * int(s) for o, s in zip(line, strides[:-1], strict=True)) for line in lines])
    wanted = occupied[:, None] + shifts
    return np.searchsorted(keys, wanted - SPLIT, "left"), np.searchsorted(keys, wanted + SPLIT, "right")


def _with_images(positions: Array, reach: Array, box: Box) -> tuple[Array, Index, Array]:
    """Sources with the images in walls and around rings that lie within reach of the box, whom they stand for, and
    which way they face."""
    everyone, who, facing = positions, np.arange(len(positions)), np.ones(positions.shape)
    for axis, side in enumerate(box.sides):
        x, low, high = everyone[:, axis], box.lower[axis], box.upper[axis]
        bottom, top = x < low + reach[axis], x > high - reach[axis]
        if side == "periodic":
            images = ((top, x[top] - (high - low)), (bottom, x[bottom] + (high - low)))
        else:
            images = ((bottom, 2.0 * low - x[bottom]), (top, 2.0 * high - x[top]))
        parts, owners, turned = [everyone], [who], [facing]
        for chosen, place in images:
            image, way = everyone[chosen].copy(), facing[chosen].copy()
            image[:, axis] = place
            way[:, axis] *= 1.0 if side == "periodic" else -1.0
            parts.append(image)
            owners.append(who[chosen])
            turned.append(way)
        everyone, who, facing = np.concatenate(parts), np.concatenate(owners), np.concatenate(turned)
    return everyone, who, facing
