"""The ridge-regularised Stein estimator of the score."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve

from wflow.errors import InputError
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array, Estimate, check_positions, check_weights
from wflow.estimators.gram import check_width, gram, scaled


@dataclass(frozen=True)
class Stein:
    """Score at the samples from Stein's identity E[k(x, ·) ∇log q + ∇k] = 0, solved with a ridge; no density (nan).

    With Gaussian k of width `bandwidth` (a number, `(d,)`, or "median": the median distance) the score g of
    weighted samples solves (n K W + ridge) g = -n ∇K w. Source: Li & Turner, ICLR 2018, eq. (10), there with equal
    weights. Mean relative squared error on N(0, I), n = 256: 0.095 in 1-D, 0.086 in 2-D. Cost O(n³), up to 5000
    samples; a box is not felt. Bits may depend on the threads of BLAS. Raises `InputError` as `Kernel`.

    >>> Stein()([[-1.0], [0.0], [1.0]]).score.round(4)[2].tolist()
    [-0.4704]
    """

    bandwidth: str | float | tuple[float, ...] = "median"
    ridge: float = 1.0

    gives_density: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "bandwidth", check_width(self.bandwidth))
        if not 0.0 < self.ridge < np.inf:
            raise InputError(f"the ridge of Stein must be positive and finite, got {self.ridge}")

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, _ = check_positions(positions, box)
        weights = check_weights(weights, len(positions))
        points, width = scaled(positions, self.bandwidth)
        return Estimate(np.full(len(points), np.nan), _score(gram(points), points, weights, self.ridge) / width)


def _score(kernel: Array, points: Array, weights: Array, ridge: float) -> Array:
    """g from h = √w g: (√W K √W + ridge/n) h = -√w ∇K w, so that the matrix is symmetric."""
    mean = kernel @ weights
    pull = mean[:, None] * points - kernel @ (weights[:, None] * points)  # Σⱼ wⱼ ∇ⱼ k(xᵢ, xⱼ)
    root, level = np.sqrt(weights), ridge / len(weights)
    matrix = root[:, None] * kernel * root
    matrix[np.diag_indices_from(matrix)] += level
    solved = cho_solve(cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False), -root[:, None] * pull)
    # Back without dividing by the root, which may be 0.
    return -(pull + kernel @ (root[:, None] * solved)) / level
