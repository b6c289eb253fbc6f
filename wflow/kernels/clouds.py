"""Passes over clouds: bounds, moments, and work on rows in place.

Clouds are cut into a fixed number of stripes, so the bits do not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

STRIPES = 16
MANY = 2**17  # rows from which a pass over them is worth a second thread
_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True)
def _bounds_of(flat, low, high, wrong):
    """Smallest and largest numbers of every class of places modulo the length of `low`, and zeros, or NaN where one
    is not finite: loops over neighbours, whatever the dimension."""
    lanes = len(low)
    for first in range(0, len(flat), lanes):
        row = flat[first : first + lanes]
        for j in range(len(row)):
            v = row[j]
            low[j] = v if v < low[j] else low[j]
            high[j] = v if v > high[j] else high[j]
            wrong[j] += v * 0.0


@njit(cache=True, parallel=True)
def _bounds_in_stripes(positions, low, high, wrong):
    n = len(positions)
    for s in prange(STRIPES):
        rows = positions[n * s // STRIPES : n * (s + 1) // STRIPES]
        _bounds_of(rows.reshape(-1), low[s], high[s], wrong[s])


@njit(cache=True)
def bounds(positions):
    """Smallest and largest coordinate of each axis of (n, d), as (2, d); NaN where a number is not finite."""
    n, d = positions.shape
    lanes = 64 * d
    low = np.full((STRIPES, lanes), np.inf)
    high = np.full((STRIPES, lanes), -np.inf)
    wrong = np.zeros((STRIPES, lanes))
    if n < MANY:
        _bounds_of(positions.reshape(-1), low[0], high[0], wrong[0])
    else:
        _bounds_in_stripes(positions, low, high, wrong)
    out = np.empty((2, d))
    for k in range(d):
        bad = wrong[:, k::d].sum()
        out[0, k] = low[:, k::d].min() + bad
        out[1, k] = high[:, k::d].max() + bad
    return out


@njit(cache=True, fastmath=_REASSOCIATE)
def _deviation(positions, weights, axis, center, power):
    """Sum of w (x - center)^power, power 1 or 2."""
    total = 0.0
    if power == 1:
        for i in range(len(weights)):
            total += weights[i] * (positions[i, axis] - center)
    else:
        for i in range(len(weights)):
            delta = positions[i, axis] - center
            total += weights[i] * delta * delta
    return total


@njit(cache=True, fastmath=_REASSOCIATE)
def _squares(weights):
    total = 0.0
    for i in range(len(weights)):
        total += weights[i] * weights[i]
    return total


@njit(cache=True, parallel=True)
def moments(positions, weights):
    """Sum of w^2, mean (d,) and mean square deviation (d,) for weights of sum 1, in two passes."""
    n, d = positions.shape
    squares = np.zeros(STRIPES)
    first = np.zeros((STRIPES, d))
    second = np.zeros((STRIPES, d))
    center = positions[0].copy()
    for s in prange(STRIPES):
        a, b = n * s // STRIPES, n * (s + 1) // STRIPES
        squares[s] = _squares(weights[a:b])
        for k in range(d):
            first[s, k] = _deviation(positions[a:b], weights[a:b], k, center[k], 1)
    mean = center + first.sum(axis=0)
    for s in prange(STRIPES):
        a, b = n * s // STRIPES, n * (s + 1) // STRIPES
        for k in range(d):
            second[s, k] = _deviation(positions[a:b], weights[a:b], k, mean[k], 2)
    return squares.sum(), mean, second.sum(axis=0)


@njit(cache=True, parallel=True)
def _raise_many(values, weights, scale):
    for i in prange(len(values)):
        values[i] = max(values[i], scale * weights[i])


@njit(cache=True)
def raise_to(values, weights, scale):
    """values (n,) = max(values, scale * weights), in place: fresh memory costs more than the work, at
    10^6."""
    if len(values) >= MANY:
        _raise_many(values, weights, scale)
    else:
        for i in range(len(values)):
            values[i] = max(values[i], scale * weights[i])


@njit(cache=True)
def _divide(rows, divisor):
    for i in range(len(divisor)):
        inverse = 1.0 / divisor[i]
        for k in range(rows.shape[1]):
            rows[i, k] *= inverse


@njit(cache=True, parallel=True)
def _divide_many(rows, divisor):
    n = len(divisor)
    for s in prange(STRIPES):
        a, b = n * s // STRIPES, n * (s + 1) // STRIPES
        _divide(rows[a:b], divisor[a:b])


@njit(cache=True)
def divide_rows(rows, divisor):
    """rows (n, d) /= divisor (n,), in place."""
    if len(divisor) >= MANY:
        _divide_many(rows, divisor)
    else:
        _divide(rows, divisor)


@njit(cache=True, fastmath=_REASSOCIATE)
def weighted_mean(weights, rows):
    """Sum of w rows (d,) for weights of sum 1, in one order: neither threads nor BLAS change a bit."""
    n, d = rows.shape
    out = np.zeros(d)
    for k in range(d):
        total = 0.0
        for i in range(n):
            total += weights[i] * rows[i, k]
        out[k] = total
    return out


@njit(cache=True)
def centre_rows(rows, weights):
    """rows (n, d) less their weighted mean, in place."""
    mean = weighted_mean(weights, rows)
    for i in range(len(weights)):
        for k in range(rows.shape[1]):
            rows[i, k] -= mean[k]


@njit(cache=True)
def combine_rows(rows, factor, others):
    """rows (n, d) = -factor (n,) others (n, d) - rows, in place."""
    for i in range(len(factor)):
        for k in range(rows.shape[1]):
            rows[i, k] = -factor[i] * others[i, k] - rows[i, k]


@njit(cache=True)
def turn_rows(matrices, rows, out):
    """out (n, d) += matrices (n, d, d) · rows (n, d)."""
    n, d = rows.shape
    for i in range(n):
        for k in range(d):
            for j in range(d):
                out[i, k] += matrices[i, k, j] * rows[i, j]
