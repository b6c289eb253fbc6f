"""Geometry of boxes: cells, faces, boundary kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow.arrays import Array, frozen, vector
from wflow.errors import InputError, choose

BOUNDARIES = ("no-flux", "periodic", "absorbing")


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """A box in d = 1, 2 or 3 dimensions, cut into equal cells.

    `lower` and `upper` are numbers or `(d,)`; `cells` is a number for all axes or one per axis; `boundary` is one of
    "no-flux", "periodic", "absorbing" for all axes, one per axis, or a (lower, upper) pair per axis.

    >>> grid = Grid([-2, -1], [2, 1], (4, 2))
    >>> grid.dim, grid.cells, grid.volume
    (2, (4, 2), 1.0)
    >>> grid.centers[0]
    array([-1.5, -0.5,  0.5,  1.5])
    """

    lower: Array
    upper: Array
    cells: tuple[int, ...]
    boundary: tuple[tuple[str, str], ...]

    def __init__(
        self, lower: ArrayLike, upper: ArrayLike, cells: int | Sequence[int], boundary: Any = "no-flux"
    ) -> None:
        low, high = vector("lower", lower), vector("upper", upper)
        counts = np.atleast_1d(np.asarray(cells, dtype=object))
        dim = max(low.size, high.size, counts.size)
        if dim > 3:
            raise InputError(f"a grid has 1, 2 or 3 dimensions, got {dim}; take particles beyond")
        for name, size in (("lower", low.size), ("upper", high.size), ("cells", counts.size)):
            if size not in (1, dim):
                raise InputError(f"{name} has {size} entries, but the grid has {dim} dimensions")
        low, high = (np.broadcast_to(a, dim).astype(np.float64) for a in (low, high))
        if np.any(high <= low):
            raise InputError(f"upper must exceed lower on every axis, got lower {low} and upper {high}")
        object.__setattr__(self, "lower", frozen(low))
        object.__setattr__(self, "upper", frozen(high))
        object.__setattr__(self, "cells", _counts(counts, dim))
        object.__setattr__(self, "boundary", _sides(boundary, dim))

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.cells)

    @cached_property
    def spacing(self) -> Array:
        """Edge lengths of a cell `(d,)`."""
        return frozen((self.upper - self.lower) / np.array(self.cells))

    @cached_property
    def volume(self) -> float:
        """Volume of one cell, so that `density.values.sum() * grid.volume` is the mass."""
        return float(np.prod(self.spacing))

    @cached_property
    def centers(self) -> tuple[Array, ...]:
        """Cell centres, one 1-D array per axis."""
        rows = zip(self.lower, self.spacing, self.cells, strict=True)
        return tuple(frozen(low + h * (np.arange(n) + 0.5)) for low, h, n in rows)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether each axis is periodic."""
        return tuple(pair[0] == "periodic" for pair in self.boundary)

    def points(self) -> Array:
        """All cell centres `(n, d)`, in the order of `values.ravel()`."""
        return _product(self.centers)

    def faces(self, axis: int) -> Array:
        """Centres of the faces normal to `axis`, walls included: `(n, d)` in C order of the face array."""
        edges = self.lower[axis] + self.spacing[axis] * np.arange(self.cells[axis] + 1)
        return _product(tuple(edges if a == axis else c for a, c in enumerate(self.centers)))

    def face_shape(self, axis: int) -> tuple[int, ...]:
        """Shape of an array of the faces normal to `axis`."""
        return tuple(n + (a == axis) for a, n in enumerate(self.cells))

    def contains(self, x: Array) -> Array:
        """Whether each position `(n, d)` lies in the closed box: `(n,)`."""
        return np.all((x >= self.lower) & (x <= self.upper), axis=1)

    def _key(self) -> tuple[Any, ...]:
        return (*self.lower.tolist(), *self.upper.tolist(), self.cells, self.boundary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        sides = [pair[0] if pair[0] == pair[1] else pair for pair in self.boundary]
        kind = repr(sides[0]) if all(side == sides[0] for side in sides) else repr(sides)
        return f"Grid({self.lower.tolist()}, {self.upper.tolist()}, {list(self.cells)}, {kind})"


def _counts(counts: Any, dim: int) -> tuple[int, ...]:
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise InputError(f"cells must be whole numbers of at least 1, got {list(counts)}")
    return tuple(int(c) for c in np.broadcast_to(counts, dim))


def _sides(boundary: Any, dim: int) -> tuple[tuple[str, str], ...]:
    if not isinstance(boundary, str | Sequence):
        raise InputError(f"boundary is a name, one per axis or pairs of names, got {type(boundary).__name__}")
    rows = [boundary] * dim if isinstance(boundary, str) else list(boundary)
    if len(rows) != dim:
        raise InputError(f"boundary has {len(rows)} entries, but the grid has {dim} dimensions")
    pairs = [(row, row) if isinstance(row, str) else tuple(row) for row in rows]
    for pair in pairs:
        if len(pair) != 2:
            raise InputError(f"a boundary pair is (lower, upper), got {pair}")
        for side in pair:
            choose(side, BOUNDARIES, "boundary")
        if (pair[0] == "periodic") != (pair[1] == "periodic"):
            raise InputError(f"an axis is periodic on both sides or on none, got {pair}")
    return tuple((str(low), str(high)) for low, high in pairs)


def _product(axes: tuple[Array, ...]) -> Array:
    out = np.empty((*(len(axis) for axis in axes), len(axes)))
    for number, axis in enumerate(axes):
        shape = [1] * len(axes)
        shape[number] = -1
        out[..., number] = axis.reshape(shape)
    return out.reshape(-1, len(axes))
