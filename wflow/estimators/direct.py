"""Kernel density estimate by the sum over all pairs: exact, in any dimension, O(m n)."""

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError
from wflow.estimators.bandwidth import check_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array, check_positions, check_weights
from wflow.kernels import sums
from wflow.kernels.shares import threads_for

ZERO_WEIGHT = -1e300  # a finite stand-in for log 0


def direct_log_density(
    points: ArrayLike,
    samples: ArrayLike,
    weights: ArrayLike | None,
    bandwidth: ArrayLike,
    box: Box | None = None,
) -> tuple[Array, Array]:
    """Log density (m,) and score (m, d) at points (m, d) of the Gaussian kernel estimate of samples (n, d).

    log p(y) = log sum_j w_j N(y; x_j, diag(bandwidth^2)), score = sum_j a_j (x_j - y) / bandwidth^2 with a
    the softmax weights of the terms: summed relative to the largest term, so that both are right (to 1e-14
    relative to the largest exponent) however far the point is from the samples. weights (n,) or None are
    scaled to sum 1; bandwidth is a standard deviation, a number or (d,).

    In a box every sample has its images: all of them on periodic and no-flux axes until what is left out is
    below 1e-14 of the sum; points and samples must lie in it. Cost: about 1 ns a pair on two cores in 2-D,
    without a box; some 30 times that with one. Raises `InputError`.

    >>> log_density, score = direct_log_density([[1.0]], [[0.0]], None, 1.0)
    >>> round(float(log_density[0]), 12), round(float(score[0, 0]), 12)
    (-1.418938533205, -1.0)
    """
    points, samples, extent, width, log_weights = _checked(points, samples, weights, bandwidth, box)
    if box is None:
        rows, columns = _scaled(points, samples, extent, width)
        with threads_for(float(len(points)) * len(samples)):
            logs, shifts = sums.log_sums(rows, columns, log_weights)
    else:
        logs, shifts = _boxed(points, samples, log_weights, width, box)
    log_norm = np.sum(np.log(width)) + 0.5 * len(width) * np.log(2 * np.pi)
    return logs - log_norm, shifts / width


def direct_curvature(points: ArrayLike, samples: ArrayLike, weights: ArrayLike | None, bandwidth: ArrayLike) -> Array:
    """Second derivatives (m, d, d) of the log density of `direct_log_density`, without a box, as accurate.

    In units of the bandwidth they are the covariance of x_j - y under the softmax weights, less 1.

    >>> float(direct_curvature([[1.0]], [[0.0]], None, 2.0)[0, 0, 0])
    -0.25
    """
    points, samples, extent, width, log_weights = _checked(points, samples, weights, bandwidth, None)
    rows, columns = _scaled(points, samples, extent, width)
    with threads_for(float(len(points)) * len(samples)):
        logs, shifts = sums.log_sums(rows, columns, log_weights)
        spread = sums.squares(rows, columns, log_weights, logs)
    spread -= shifts[:, :, None] * shifts[:, None, :] + np.eye(len(width))
    return spread / (width[:, None] * width)


def _checked(
    points: ArrayLike, samples: ArrayLike, weights: ArrayLike | None, bandwidth: ArrayLike, box: Box | None
) -> tuple[Array, Array, Array, Array, Array]:
    """Points, samples, their extent, the bandwidth (d,) and log weights, all checked."""
    points, _ = check_positions(points, box, "points")
    samples, extent = check_positions(samples, box)
    if points.shape[1] != samples.shape[1]:
        raise InputError(
            f"points and samples must have the same dimension, got {points.shape[1]} and {samples.shape[1]}"
        )
    width = check_bandwidth(bandwidth, samples.shape[1])
    weights = check_weights(weights, len(samples))
    log_weights = np.full(len(samples), ZERO_WEIGHT)
    np.log(weights, out=log_weights, where=weights > 0)
    return points, samples, extent, width, log_weights


def _scaled(points: Array, samples: Array, extent: Array, width: Array) -> tuple[Array, Array]:
    """In units of the bandwidth, samples as columns; from their middle, which keeps the digits of a cloud far from the
    origin."""
    middle = extent.mean(axis=0)
    return (points - middle) / width, np.ascontiguousarray(((samples - middle) / width).T)


def _boxed(points: Array, samples: Array, log_weights: Array, width: Array, box: Box) -> tuple[Array, Array]:
    mirrored = box.mirrored
    period = np.where(mirrored, 2.0, 1.0) * (box.upper - box.lower) / width
    reach = np.ceil(9.0 / period + 0.5).astype(np.int64)
    columns = np.ascontiguousarray(((samples - box.lower) / width).T)
    with threads_for(30.0 * len(points) * len(samples)):
        return sums.log_sums_boxed((points - box.lower) / width, columns, log_weights, period, mirrored, reach)
