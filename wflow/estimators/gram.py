"""Gram matrices of Gaussian kernels, and the median rule of their width."""

import numpy as np
from scipy.spatial.distance import pdist

from wflow.errors import InputError, choose
from wflow.estimators.bandwidth import check_bandwidth, given_bandwidth
from wflow.estimators.cloud import Array

MOST = 5000  # samples: 200 MB a matrix, some seconds a factorisation
ENOUGH = 1000  # for a median


def median_distance(positions: Array) -> float:
    """Median distance of pairs of positions (n, d), n > 1, from at most 1000 of them, evenly picked.

    >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    return float(np.median(pdist(positions[:: -(-len(positions) // ENOUGH)])))


def check_width(
    bandwidth: str | float | tuple[float, ...], rules: tuple[str, ...] = ("median",)
) -> str | float | tuple[float, ...]:
    """One of the rules, or a positive number or one per axis."""
    if isinstance(bandwidth, str):
        return choose(bandwidth, rules, "bandwidth of a Gram matrix")
    width = given_bandwidth(bandwidth, max(1, np.size(bandwidth)))
    return float(width[0]) if len(width) == 1 else tuple(width.tolist())


def scaled(positions: Array, bandwidth: str | float | tuple[float, ...]) -> tuple[Array, Array]:
    """Positions (n, d) in units of the width, from their middle, and the width (d,).

    "median" is the median distance, as usual with these estimators. A wider kernel suits normal samples better, whose
    score is linear, and others worse: √2 times the median doubles the error of Stein on two separate normals. Raises
    `InputError`: too many samples, or coincident ones.
    """
    n, d = positions.shape
    if not 2 <= n <= MOST:
        raise InputError(f"score estimators with a Gram matrix serve 2 to {MOST} samples, got {n}; take Kernel()")
    if isinstance(bandwidth, str):
        middle = median_distance(positions)
        if not middle > 0.0:
            raise InputError("the median distance of the samples is zero; give a bandwidth in numbers")
        width = np.full(d, middle)
    else:
        width = check_bandwidth(bandwidth, d)
    return (positions - positions.mean(axis=0)) / width, width


def gram(points: Array) -> Array:
    """exp(-|zᵢ - zⱼ|²/2), (n, n), of scaled positions (n, d)."""
    squares = np.sum(points**2, axis=1)
    distances = squares[:, None] + squares - 2.0 * points @ points.T
    return np.exp(-0.5 * np.maximum(distances, 0.0))
