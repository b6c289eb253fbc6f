"""Metrics in which the gradient, or a fixed matrix or norm of it, is the direction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import InputError
from wflow.metrics.protocol import straight
from wflow.states import Density, Gaussian, Particles, Point


@dataclass(frozen=True)
class Euclidean:
    """|dx|²: gradient descent. On a point the Wasserstein metric is this one."""

    states: ClassVar[tuple[type, ...]] = (Point,)
    flat: ClassVar[bool] = True

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return -covector

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction


@dataclass(frozen=True)
class Wasserstein:
    """∫ q |v|²: a velocity for particles, a flux for densities, Bures' metric for Gaussians, which is flat in (mean
    | L).

    On clouds and densities the covector handed in is minus the velocity or the rate itself, already divided by the
    weights (Jordan, Kinderlehrer & Otto 1998; Otto 2001).
    """

    states: ClassVar[tuple[type, ...]] = (Point, Particles, Density, Gaussian)
    flat: ClassVar[bool] = True

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return -covector

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction


@dataclass(frozen=True, eq=False)
class Preconditioned:
    """dx · P dx with a fixed matrix P: direction -P⁻¹ ∇F.

    `matrix` is P, symmetric positive definite `(d, d)`, or its diagonal `(d,)`. Raises `InputError` where it is not.
    """

    matrix: Any

    states: ClassVar[tuple[type, ...]] = (Point,)
    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = floats("the matrix of Preconditioned", self.matrix)
        matrix = np.diag(given) if given.ndim == 1 else given
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise InputError(f"Preconditioned needs a matrix (d, d) or its diagonal (d,), got shape {given.shape}")
        if not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
            raise InputError("the matrix of Preconditioned must be symmetric; take (P + P.T) / 2")
        low = float(np.linalg.eigvalsh(matrix)[0])
        if low <= 0.0:
            raise InputError(
                f"the matrix of Preconditioned must be positive definite, its smallest eigenvalue is {low:g}"
            )
        object.__setattr__(self, "matrix", matrix)

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        if len(self.matrix) != state.dim:
            raise InputError(f"Preconditioned has a matrix for dimension {len(self.matrix)}, the point {state.dim}")
        return np.asarray(-np.linalg.solve(self.matrix, covector), dtype=np.float64)

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction


@dataclass(frozen=True)
class Norm:
    """Steepest descent in the p-norm, `order` = p: the step of length one that lowers the linear model most.

    The direction is argmin of ∇F · u over |u|_p ≤ 1, so that dt is the length of the step: -∇F/|∇F| at p = 2, one
    coordinate at p = 1 (the first of the steepest), the signs at p = inf; between them -sign(g) |g|^(s-1)/|g|_s^(s-1)
    with 1/p + 1/s = 1. Where ∇F = 0 it stays. Source: Boyd & Vandenberghe, Convex Optimization (2004), section 9.4.

    >>> Norm(np.inf).direction(Point([0.0, 0.0]), np.array([3.0, -4.0]), np.array)
    array([-1.,  1.])
    """

    order: float

    states: ClassVar[tuple[type, ...]] = (Point,)
    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or not isinstance(self.order, int | float) or not self.order >= 1.0:
            raise InputError(f"the order of Norm is a number of at least 1, or inf, got {self.order!r}")

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        size = np.abs(covector)
        top = size.max()
        if top == 0.0 or not np.isfinite(top):
            return -covector
        if self.order == 1.0:
            chosen = np.arange(size.size) == int(np.argmax(size))
            return -np.sign(covector) * chosen
        dual = 1.0 if self.order == np.inf else self.order / (self.order - 1.0)
        share = size / top  # so that no power overflows
        lengths = share ** (dual - 1.0) * (size > 0.0)
        return -np.sign(covector) * lengths / np.sum(share**dual) ** (1.0 - 1.0 / dual)

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction
