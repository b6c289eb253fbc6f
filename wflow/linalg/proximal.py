"""Newton's method for merits that a step must not raise, and the proximal step |y - b|²/(2 τ) + V(y) by it.

One routine, `minimise`, serves a point (one row), a cloud in a potential (a row a particle), a Gaussian (one row of
mean and factor), the quantiles of a density on the line (one row, tridiagonal) and a cloud whose particles act on each
other (one row, matrix-free). Directions are of descent (Nocedal & Wright, Numerical Optimization, 2006, algorithm
3.3), and Armijo backtracking keeps every step one of decrease, so that the merit of the answer is no larger than that
of the start, convex or not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wflow.arrays import Array


class Merit(Protocol):
    """A function of each row of `(n, k)`, to be minimised row by row."""

    def value(self, y: Array) -> Array:
        """The merit `(n,)`; inf or nan where it is not defined."""

    def slope(self, y: Array) -> Array:
        """Its gradient `(n, k)`."""

    def direction(self, y: Array, slope: Array) -> Array:
        """A direction of descent `(n, k)`, Newton's where the Hessian is positive."""

    def reach(self, y: Array, direction: Array) -> Array:
        """The longest step `(n,)`, at most 1, that may be tried along a direction."""

    def small(self, y: Array, slope: Array, factor: float) -> bool:
        """Whether the gradient is zero to `factor` times the tolerance, in every row."""

    def tiny(self, y: Array, direction: Array) -> bool:
        """Whether a step along the direction is nothing but rounding of y."""

    def noise(self, y: Array) -> Array:
        """What rounding of y alone does to the merit `(n,)`, in units of the spacing of floats."""


@dataclass(frozen=True)
class Objective:
    """V at rows `(n, k)`: value `(n,)`, gradient `(n, k)`, Hessian `(n, k, k)`."""

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    hessian: Callable[[Array], Array]


@dataclass(frozen=True)
class Proximity:
    """½|y - base|² + tau V(y): the merit of a proximal step in a flat metric."""

    objective: Objective
    base: Array
    tau: float
    rtol: float

    def value(self, y: Array) -> Array:
        return 0.5 * np.sum((y - self.base) ** 2, axis=1) + self.tau * self.objective.value(y)

    def slope(self, y: Array) -> Array:
        return y - self.base + self.tau * self.objective.gradient(y)

    def direction(self, y: Array, slope: Array) -> Array:
        return lifted(np.eye(y.shape[1]) + self.tau * self.objective.hessian(y), slope)

    def reach(self, y: Array, direction: Array) -> Array:
        return np.ones(len(y))

    def small(self, y: Array, slope: Array, factor: float) -> bool:
        goal = factor * self.rtol * (1.0 + np.linalg.norm(y, axis=1))
        return bool(np.all(np.linalg.norm(slope, axis=1) <= goal))

    def tiny(self, y: Array, direction: Array) -> bool:
        return False

    def noise(self, y: Array) -> Array:
        pull, push = y - self.base, self.tau * self.objective.gradient(y)
        # Where V is near 0 this is more than rounding of the merit.
        return np.linalg.norm(y, axis=1) * (np.linalg.norm(pull, axis=1) + np.linalg.norm(push, axis=1))


def proximal_rows(
    objective: Objective, start: Array, base: Array, tau: float, rtol: float = 1e-12, most: int = 60
) -> tuple[Array, int, bool]:
    """Minimise |y - base|²/(2 tau) + V(y) for each row from `start`: (y, iterations, converged).

    Converged when the gradient, times tau, is below `rtol` (1 + |y|) in every row. Cost: O(n k³) an iteration.
    """
    return minimise(Proximity(objective, base, tau, rtol), start, most)


def minimise(merit: Merit, start: Array, most: int = 60) -> tuple[Array, int, bool]:
    """Minimise a merit from `start` `(n, k)`: (y, iterations, converged)."""
    y = start.copy()
    for iteration in range(most):
        slope = merit.slope(y)
        if not np.all(np.isfinite(slope)):
            return y, iteration, False
        if merit.small(y, slope, 1.0):
            return y, iteration, True
        direction = merit.direction(y, slope)
        if merit.tiny(y, direction):
            return y, iteration, True
        moved = _backtrack(merit, y, slope, direction)
        if np.array_equal(moved, y):
            # No decrease is left that rounding can see: converged if the gradient is at its own rounding.
            return y, iteration, merit.small(y, slope, 1e3)
        y = moved
    return y, most, False


def lifted(matrix: Array, slope: Array) -> Array:
    """-(matrix + shift)⁻¹ slope with the eigenvalues of each matrix lifted to at least 1e-3 in modulus."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + np.swapaxes(matrix, 1, 2)))
    inner = np.einsum("nji,nj->ni", vectors, slope) / np.maximum(np.abs(values), 1e-3)
    return -np.einsum("nij,nj->ni", vectors, inner)


def _backtrack(merit: Merit, y: Array, slope: Array, direction: Array) -> Array:
    here, fall = merit.value(y), np.sum(direction * slope, axis=1)
    # Rounding of the merit itself: a smaller rise is none.
    slack = 8.0 * np.finfo(float).eps * (np.abs(here) + merit.noise(y))
    length = merit.reach(y, direction)
    for _ in range(40):
        trial = y + length[:, None] * direction
        with np.errstate(all="ignore"):
            bad = ~(merit.value(trial) <= here + 1e-4 * length * fall + slack)
        if not bad.any():
            return trial
        length[bad] *= 0.5
    length[bad] = 0.0
    return y + length[:, None] * direction
