"""Sums over pairs of particles, Σⱼ wⱼ W(xᵢ - xⱼ) and its gradient: exact, O(n²), in blocks of bounded memory."""

from collections.abc import Iterator

import numpy as np

from wflow.arrays import Array
from wflow.estimators import Box
from wflow.expression import Field

BLOCK = 1 << 20


def mean_value(field: Field, x: Array, weights: Array, box: Box | None = None) -> Array:
    """(W * q)(xᵢ) `(n,)`, the self term W(0) included, as in the discrete energy."""
    out = np.empty(len(x))
    for rows, differences in _blocks(x, x, box):
        values = field.value(differences).reshape(-1, len(x))
        out[rows] = values @ weights
    return out


def mean_force(field: Field, x: Array, weights: Array, box: Box | None = None, points: Array | None = None) -> Array:
    """(∇W * q) at the particles, or at points `(m, d)`: `(m, d)`. Pairs cancel to rounding where W is even. A particle
    exerts no force on itself."""
    points = x if points is None else points
    out = np.empty_like(points)
    for rows, differences in _blocks(points, x, box):
        forces = field.gradient(differences).reshape(-1, *x.shape)
        # At distance 0 the gradient of a pointed W such as |x| is not defined; by symmetry the force is zero.
        forces[~np.any(differences.reshape(forces.shape) != 0.0, axis=2)] = 0.0
        out[rows] = np.einsum("j,ijk->ik", weights, forces)
    return out


def _blocks(points: Array, x: Array, box: Box | None) -> Iterator[tuple[slice, Array]]:
    n, d = x.shape
    size = max(1, BLOCK // (n * d))
    for start in range(0, len(points), size):
        rows = slice(start, min(start + size, len(points)))
        yield rows, nearest((points[rows, None, :] - x[None, :, :]).reshape(-1, d), box)


def nearest(differences: Array, box: Box | None) -> Array:
    """Differences `(m, d)` to the nearest periodic image."""
    if box is None or "periodic" not in box.sides:
        return differences
    wrapped = differences.copy()
    for axis, side in enumerate(box.sides):
        if side == "periodic":
            length = box.upper[axis] - box.lower[axis]
            wrapped[:, axis] -= length * np.round(wrapped[:, axis] / length)
    return wrapped
