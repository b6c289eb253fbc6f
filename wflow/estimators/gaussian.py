"""A Gaussian fitted to the cloud."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError
from wflow.estimators.box import Box
from wflow.estimators.cloud import Estimate, check_positions, check_weights
from wflow.kernels import clouds
from wflow.kernels.shares import threads_for


@dataclass(frozen=True)
class GaussianFit:
    """Density and score of the Gaussian with the mean and covariance of the cloud; O(n d^2). No box is felt.

    The covariance divides by 1 - sum w^2, that is by n - 1 for equal weights. `InputError` where it is
    singular.

    >>> GaussianFit()([[-1.0], [0.0], [1.0]]).score.round(12)[0].tolist()
    [1.0]
    """

    gives_density: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, _ = check_positions(positions, box)
        weights = check_weights(weights, len(positions))
        n, d = positions.shape
        with threads_for(2.0 * positions.size):
            squares, mean, _ = clouds.moments(positions, weights)
        delta = positions - mean
        # Without BLAS, whose bits may depend on its threads.
        covariance = np.einsum("i,ij,ik->jk", weights, delta, delta) / max(1 - squares, np.finfo(float).tiny)
        if np.linalg.matrix_rank(covariance, hermitian=True) < d:
            raise InputError(f"the covariance of {n} samples in {d} dimensions is singular; add samples or noise")
        score = -np.einsum("ij,jk->ik", delta, np.linalg.inv(covariance))
        log_norm = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
        return Estimate(np.exp(0.5 * np.sum(delta * score, axis=1) - log_norm), score)
