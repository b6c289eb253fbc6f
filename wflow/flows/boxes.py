"""Arrays of a grid in the three-dimensional form of the kernels, and faces."""

from collections.abc import Callable

import numpy as np

from wflow.arrays import Array
from wflow.grid import Grid


def padded(grid: Grid, array: Array) -> Array:
    """A cell or face array with leading axes of length one, three axes in all."""
    return np.ascontiguousarray(array).reshape((1,) * (3 - grid.dim) + array.shape)


def wraps(grid: Grid) -> tuple[bool, bool, bool]:
    """Which of the three kernel axes are periodic; those that the grid does not have count as such, and are skipped."""
    first, second, third = (True,) * (3 - grid.dim) + grid.periodic
    return first, second, third


def on_faces(grid: Grid, function: Callable[[Array], Array]) -> list[Array]:
    """A function of position at the centres of the faces, one array per axis."""
    return [function(grid.faces(axis)).reshape(grid.face_shape(axis)) for axis in range(grid.dim)]


def face_factors(grid: Grid, axis: int) -> Array:
    """1/h² at every face of an axis: 0 at a closed wall, 2/h² at an absorbing one, whose cell is half as far away."""
    low, high = grid.boundary[axis]
    weights = {"no-flux": 0.0, "absorbing": 2.0, "periodic": 1.0}
    factors = np.ones(grid.cells[axis] + 1)
    factors[0], factors[-1] = weights[low], weights[high]
    shape = [1] * grid.dim
    shape[axis] = -1
    return factors.reshape(shape) / grid.spacing[axis] ** 2


def kernel_faces(grid: Grid, faces: list[Array]) -> tuple[Array, Array, Array]:
    """Face arrays of all three kernel axes; zero across the axes that the grid does not have."""
    shape = (1,) * (3 - grid.dim) + grid.cells
    missing = [np.zeros([n + (a == axis) for a, n in enumerate(shape)]) for axis in range(3 - grid.dim)]
    first, second, third = [*missing, *(padded(grid, face) for face in faces)]
    return first, second, third


def mean_on_faces(grid: Grid, q: Array, axis: int) -> Array:
    """The mean of the two cells of each face, over h²; 0 at walls."""
    ends = (np.take(q, [-1], axis), np.take(q, [0], axis))
    left, right = np.concatenate([ends[0], q], axis), np.concatenate([q, ends[1]], axis)
    inner = face_factors(grid, axis)
    return 0.5 * (left + right) * np.where(inner * grid.spacing[axis] ** 2 == 1.0, inner, 0.0)
