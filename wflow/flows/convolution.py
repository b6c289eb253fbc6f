"""W * q on a grid by FFT: zero-padded on bounded axes, to the nearest image on periodic ones."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import fft

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.expression import Field
from wflow.grid import Grid


@dataclass(frozen=True, eq=False)
class Convolution:
    """(W * q) at the cell centres, or at the face centres of one axis; O(N log N), exact for the discrete sum."""

    shape: tuple[int, ...]
    lengths: tuple[int, ...]
    closing: int | None
    transform: Array

    def __call__(self, values: Array) -> Array:
        """values: cell averages; returns an array of `shape`."""
        spectrum = fft.rfftn(values, self.lengths) * self.transform
        full = fft.irfftn(spectrum, self.lengths)
        if self.closing is not None:  # the last face of a periodic axis is the first
            index = [slice(0, n - (a == self.closing)) for a, n in enumerate(self.shape)]
            inner = full[tuple(index)]
            return np.concatenate([inner, np.take(inner, [0], axis=self.closing)], axis=self.closing)
        return full[tuple(slice(0, n) for n in self.shape)]


def convolution(grid: Grid, field: Field, axis: int | None = None) -> Convolution:
    """The convolution with W at cell centres (`axis` None) or at the centres of the faces normal to `axis`."""
    shape = grid.cells if axis is None else grid.face_shape(axis)
    lengths, offsets = [], []
    for a in range(grid.dim):
        n, h, count = grid.cells[a], grid.spacing[a], shape[a]
        shift = 0.5 if a == axis else 0.0
        if grid.periodic[a]:
            length, index = n, np.arange(n) - shift
            index = index - n * np.round(index / n)
        else:
            length = fft.next_fast_len(count + n - 1, real=True)
            index = np.arange(length, dtype=np.float64)
            index = np.where(index < count, index, index - length) - shift
        lengths.append(length)
        offsets.append(h * index)
    kernel = _even_kernel(grid, field, offsets).reshape(lengths) * grid.volume
    if not np.all(np.isfinite(kernel)):
        raise InputError(f"an interaction on a grid needs W finite, at distance 0 too, which {field.text!r} is not")
    closing = axis if axis is not None and grid.periodic[axis] else None
    return Convolution(shape, tuple(lengths), closing, fft.rfftn(kernel))


def _even_kernel(grid: Grid, field: Field, offsets: list[Array]) -> Array:
    """W at the offsets; half a period away, where two images are equally near, their mean, so that it stays even."""
    halves = [0.5 * (high - low) for low, high in zip(grid.lower, grid.upper, strict=True)]
    ties = [
        p and bool(np.any(np.isclose(np.abs(o), h))) for p, o, h in zip(grid.periodic, offsets, halves, strict=True)
    ]
    values = []
    for signs in product(*((1.0, -1.0) if tie else (1.0,) for tie in ties)):
        turned = [
            np.where(np.isclose(np.abs(o), h), sign * o, o) if tie else o
            for o, h, tie, sign in zip(offsets, halves, ties, signs, strict=True)
        ]
        mesh = np.stack([m.ravel() for m in np.meshgrid(*turned, indexing="ij")], axis=1)
        values.append(field.value(mesh))
    return np.mean(values, axis=0)
