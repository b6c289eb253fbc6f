"""Limited second-order upwind fluxes: of a velocity -∇ξ from cell values, and of a prescribed drift."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.grid import Grid
from wflow.kernels.upwind import subtract_divergence


def upwind_rate(grid: Grid, q: Array, velocities: list[Array]) -> Array:
    """-∇·(q v) for v at the faces of each axis; walls are closed."""
    out = np.zeros(grid.cells)
    for axis, velocity in enumerate(velocities):
        pre = int(np.prod(grid.cells[:axis]))
        n, post = grid.cells[axis], int(np.prod(grid.cells[axis + 1 :]))
        subtract_divergence(
            q.reshape(pre, n, post),
            np.ascontiguousarray(velocity).reshape(pre, n + 1, post),
            grid.spacing[axis],
            grid.periodic[axis],
            out.reshape(pre, n, post),
        )
    return out


def descent_velocities(grid: Grid, xi: Array) -> list[Array]:
    """-∇ξ at the faces: exactly zero where ξ is constant."""
    out = []
    for axis in range(grid.dim):
        ends = (np.take(xi, [-1], axis), np.take(xi, [0], axis))
        if not grid.periodic[axis]:
            ends = (ends[1], ends[0])
        wide = np.concatenate([ends[0], xi, ends[1]], axis=axis)
        out.append(-np.diff(wide, axis=axis) / grid.spacing[axis])
    return out


@dataclass(frozen=True)
class Drift:
    """A prescribed velocity b(x, t) at the faces, normal component."""

    grid: Grid
    field: Any

    def __post_init__(self) -> None:
        if not self.field.timed:
            for velocity in self._static:
                if not np.all(np.isfinite(velocity)):
                    raise InputError(f"the drift {self.field.text!r} is not finite everywhere in the box")

    @cached_property
    def _static(self) -> list[Array]:
        return self._at(0.0)

    def _at(self, time: float) -> list[Array]:
        faces = []
        for axis in range(self.grid.dim):
            normal = self.field.value(self.grid.faces(axis), time)[:, axis].reshape(self.grid.face_shape(axis))
            faces.append(_joined(normal, axis) if self.grid.periodic[axis] else normal)
        return faces

    def velocities(self, time: float) -> list[Array]:
        """One face array per axis."""
        return self._at(time) if self.field.timed else self._static


def _joined(faces: Array, axis: int) -> Array:
    """The first and the last face of a periodic axis are one, also where the field is not periodic: their mean."""
    out = np.moveaxis(faces.copy(), axis, 0)
    out[0] = out[-1] = 0.5 * (out[0] + out[-1])
    return np.moveaxis(out, 0, axis)
