"""W * q on a grid by FFT: zero-padded on bounded axes, to the nearest image on periodic ones."""

from dataclasses import dataclass

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
    mesh = np.stack([m.ravel() for m in np.meshgrid(*offsets, indexing="ij")], axis=1)
    kernel = field.value(mesh).reshape(lengths) * grid.volume
    if not np.all(np.isfinite(kernel)):
        raise InputError(f"an interaction on a grid needs W finite, at distance 0 too, which {field.text!r} is not")
    closing = axis if axis is not None and grid.periodic[axis] else None
    return Convolution(shape, tuple(lengths), closing, fft.rfftn(kernel))
