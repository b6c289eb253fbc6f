"""The proximal step by Newton: argmin of |y - b|²/(2 τ) + V(y), row by row.

One routine for a point (one row), for a cloud in a potential (a row a particle) and for a Gaussian (one row of mean
and factor). Newton with Cholesky shifts keeps every direction one of descent (Nocedal & Wright, Numerical
Optimization, 2006, algorithm 3.3), Armijo backtracking keeps every step one of decrease, so that V(y) + |y - b|²/(2
τ) ≤ V(y₀) + |y₀ - b|²/(2 τ) holds for any τ, convex or not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array


@dataclass(frozen=True)
class Objective:
    """V at rows `(n, k)`: value `(n,)`, gradient `(n, k)`, Hessian `(n, k, k)`."""

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    hessian: Callable[[Array], Array]


def proximal_rows(
    objective: Objective, start: Array, base: Array, tau: float, rtol: float = 1e-12, most: int = 60
) -> tuple[Array, int, bool]:
    """Minimise |y - base|²/(2 tau) + V(y) for each row from `start`: (y, iterations, converged).

    Converged when the gradient, times tau, is below `rtol` (1 + |y|) in every row. Cost: O(n k³) an iteration.
    """
    y = start.copy()
    for iteration in range(most):
        pull, push = y - base, tau * objective.gradient(y)
        slope = pull + push
        size = np.linalg.norm(slope, axis=1)
        if not np.all(np.isfinite(size)):
            return y, iteration, False
        if np.all(size <= rtol * (1.0 + np.linalg.norm(y, axis=1))):
            return y, iteration, True
        direction = _descent(np.eye(y.shape[1]) + tau * objective.hessian(y), slope)
        # What rounding of y alone does to the merit: where V is near 0 it is more than rounding of the merit.
        noise = np.linalg.norm(y, axis=1) * (np.linalg.norm(pull, axis=1) + np.linalg.norm(push, axis=1))
        moved = _backtrack(objective, y, base, tau, direction, np.sum(direction * slope, axis=1), noise)
        if np.array_equal(moved, y):
            # No decrease is left that rounding can see: converged if the gradient is at its own rounding.
            return y, iteration, bool(np.all(size <= 1e3 * rtol * (1.0 + np.linalg.norm(y, axis=1))))
        y = moved
    return y, most, False


def _descent(matrix: Array, slope: Array) -> Array:
    """-(matrix + shift)⁻¹ slope with the eigenvalues of each matrix lifted to at least 1e-3 in modulus."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + np.swapaxes(matrix, 1, 2)))
    lifted = np.maximum(np.abs(values), 1e-3)
    inner = np.einsum("nji,nj->ni", vectors, slope) / lifted
    return -np.einsum("nij,nj->ni", vectors, inner)


def _backtrack(
    objective: Objective, y: Array, base: Array, tau: float, direction: Array, slope: Array, noise: Array
) -> Array:
    def merit(rows: Array) -> Array:
        return 0.5 * np.sum((rows - base) ** 2, axis=1) + tau * objective.value(rows)

    here = merit(y)
    # Rounding of the merit itself: a smaller rise is none.
    slack = 8.0 * np.finfo(float).eps * (np.abs(here) + noise)
    length = np.ones(len(y))
    for _ in range(40):
        trial = y + length[:, None] * direction
        with np.errstate(all="ignore"):
            bad = ~(merit(trial) <= here + 1e-4 * length * slope + slack)
        if not bad.any():
            return trial
        length[bad] *= 0.5
    length[bad] = 0.0
    return y + length[:, None] * direction
