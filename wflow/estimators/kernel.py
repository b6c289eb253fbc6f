"""Estimators of density and score at the particles of a cloud: Gaussian kernels and a fitted Gaussian.

An estimator is a frozen dataclass with one method, `__call__(positions (n, d), weights (n,) | None,
box=None)`, that gives an `Estimate`; its `text` stands in files. A new one is a class here or beside, and its
name in `ESTIMATORS`.
"""

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError, choose
from wflow.estimators.bandwidth import RULES, check_bandwidth, rule_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array, Estimate, check_positions, check_weights
from wflow.estimators.direct import direct_log_density
from wflow.estimators.mesh import at_particles
from wflow.estimators.plan import MAX_CELLS, ORDERS, mesh_cells, plan_mesh
from wflow.kernels import sums

METHODS = ("auto", "mesh", "direct")
RATIO = 3.0
DIRECT_BELOW = {1: 200, 2: 300, 3: 2000}  # samples up to which the direct sum is the faster one, by d


class Estimator(Protocol):
    """Density and score at the particles themselves."""

    @property
    def text(self) -> str:
        """How to write this estimator in Python."""

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        """Estimate at positions (n, d) with weights (n,) or None; `InputError` where that cannot be done."""


@dataclass(frozen=True)
class Kernel:
    """Gaussian kernel density estimate, self term included.

    bandwidth: a rule ("scott", "silverman", "score", "isj"), taken anew at every call, or a standard
    deviation in the units of the positions, a number or one per axis. method: "direct" is exact and O(n^2) in
    any dimension, "mesh" O(n) to about 1e-4 of the density (`order` 4) or 1e-6 (6) for d <= 3; "auto" takes
    the mesh but for few samples, d > 3 or a mesh that would be too big. Cost at 10^6 samples in 2-D: 36 ms
    of one core, 4 ms more for a rule.

    >>> Kernel(0.5)([[0.0], [1.0]]).score.round(6).tolist()
    [[0.476812], [-0.476812]]
    """

    bandwidth: str | float | tuple[float, ...] = "score"
    method: str = "auto"
    order: int = 4

    def __post_init__(self) -> None:
        choose(self.method, METHODS, "method of a kernel density estimate")
        if self.order not in ORDERS:
            raise InputError(f"the order of the splines must be one of {ORDERS}, got {self.order}")
        if isinstance(self.bandwidth, str):
            choose(self.bandwidth, RULES, "bandwidth rule")
        else:
            width = check_bandwidth(self.bandwidth, max(1, np.size(self.bandwidth)))
            plain = float(width[0]) if len(width) == 1 else tuple(width.tolist())
            object.__setattr__(self, "bandwidth", plain)

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, extent = check_positions(positions, box)
        weights = check_weights(weights, len(positions))
        if isinstance(self.bandwidth, str):
            width = rule_bandwidth(positions, weights, self.bandwidth)
        else:
            width = check_bandwidth(self.bandwidth, positions.shape[1])
        if self._direct(positions, extent, width, box):
            log_density, score = direct_log_density(positions, positions, weights, width, box)
            return Estimate(np.exp(log_density), score)
        mesh = plan_mesh(extent, width, box, self.order, RATIO)
        density, gradient = at_particles(mesh, positions, weights, width)
        sums.divide_rows(gradient, density)
        return Estimate(density, gradient)

    def _direct(self, positions: Array, extent: Array, width: Array, box: Box | None) -> bool:
        n, d = positions.shape
        if self.method != "auto":
            return self.method == "direct"
        return d > 3 or n <= DIRECT_BELOW[d] or not mesh_cells(extent, width, box, self.order, RATIO) <= MAX_CELLS


@dataclass(frozen=True)
class GaussianFit:
    """Density and score of the Gaussian with the mean and covariance of the cloud; O(n d^2). No box is felt.

    The covariance divides by 1 - sum w^2, that is by n - 1 for equal weights. `InputError` where it is
    singular.

    >>> GaussianFit()([[-1.0], [0.0], [1.0]]).score.round(12)[0].tolist()
    [1.0]
    """

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, _ = check_positions(positions, box)
        weights = check_weights(weights, len(positions))
        n, d = positions.shape
        squares, mean, _ = sums.moments(positions, weights)
        delta = positions - mean
        # Without BLAS, whose bits may depend on its threads.
        covariance = np.einsum("i,ij,ik->jk", weights, delta, delta) / max(1 - squares, np.finfo(float).tiny)
        if np.linalg.matrix_rank(covariance, hermitian=True) < d:
            raise InputError(f"the covariance of {n} samples in {d} dimensions is singular; add samples or noise")
        score = -np.einsum("ij,jk->ik", delta, np.linalg.inv(covariance))
        log_norm = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
        return Estimate(np.exp(0.5 * np.sum(delta * score, axis=1) - log_norm), score)


ESTIMATORS = (Kernel, GaussianFit)


def as_estimator(given: Estimator | str | ArrayLike | None) -> Estimator:
    """An estimator, from None (`Kernel()`), a bandwidth (a number, one per axis or a rule) or an estimator.

    >>> as_estimator("scott")
    Kernel(bandwidth='scott', method='auto', order=4)
    """
    if given is None:
        return Kernel()
    if isinstance(given, type):
        raise InputError(f"an estimator is an object, got the class {given.__name__}; write {given.__name__}()")
    if callable(given):
        return given
    return Kernel(bandwidth=cast("str | float | tuple[float, ...]", given))
