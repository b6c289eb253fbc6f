"""Sums over all pairs of points and samples, in log space.

Each point is summed by one thread, so the bits do not depend on the number of threads.
"""

import math

import numpy as np
from numba import njit, prange

BLOCK = 512
LOWEST = -708.0  # exp of it is still a normal number
ROUND = 6755399441055744.0  # 1.5 * 2^52
LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693147180369123816490  # 32 trailing zero bits: n * LN2_HIGH is exact
LN2_LOW = 1.90821492927058770002e-10
SKIP = 40.0  # exp(-40) is below rounding next to 1
_REASSOCIATE = {"reassoc", "contract", "nsz"}
_COMPARE = {"reassoc", "contract", "nsz", "nnan"}


@njit(cache=True, fastmath={"contract"})
def exp_block(values, size, top):
    """exp(values[:size] - top) in place, values <= top; relative error below 1e-15 down to `LOWEST`, then flat.

    Without a call in the loop, so that it vectorises. Cody and Waite (1980): reduction by ln 2 in two parts,
    Taylor to degree 12 on |r| <= ln(2)/2 (remainder 2e-16). Adding `ROUND` leaves the nearest integer n in
    the lowest bits, from where it is shifted into the exponent; reassociation would undo that, so it is not
    allowed here.
    """
    for i in range(size):
        x = values[i] - top
        x = x if x > LOWEST else LOWEST
        rounded = x * LOG2_E + ROUND
        n = rounded - ROUND
        r = (x - n * LN2_HIGH) - n * LN2_LOW
        p = 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        power = np.int64((np.float64(rounded).view(np.int64) << 52) + (1023 << 52))
        values[i] = p * power.view(np.float64)


@njit(cache=True, fastmath=_REASSOCIATE)
def _exponents(out, point, samples, log_weights, start, size):
    """out[j] = log w_j - |x_j - y|^2 / 2 of one block of samples."""
    for j in range(size):
        out[j] = log_weights[start + j]
    for k in range(samples.shape[0]):
        row = samples[k, start : start + size]
        y = point[k]
        for j in range(size):
            delta = row[j] - y
            out[j] -= 0.5 * delta * delta


@njit(cache=True, fastmath=_COMPARE)
def _largest(values, size):
    top = values[0]
    for j in range(size):
        top = values[j] if values[j] > top else top
    return top


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_block(sums, terms, point, samples, start, size):
    """sums[0] += sum of terms, sums[1 + k] += sum of terms * (x_k - y_k)."""
    total = 0.0
    for j in range(size):
        total += terms[j]
    sums[0] += total
    for k in range(samples.shape[0]):
        row = samples[k, start : start + size]
        y = point[k]
        total = 0.0
        for j in range(size):
            total += terms[j] * (row[j] - y)
        sums[1 + k] += total


@njit(cache=True)
def _log_sum_point(point, samples, log_weights, terms, sums):
    """Log of the sum over the samples; leaves the mean shift in sums[1:]. Rescales where a block has a larger
    term."""
    top = -1e300
    sums[:] = 0.0
    for start in range(0, samples.shape[1], BLOCK):
        size = min(BLOCK, samples.shape[1] - start)
        _exponents(terms, point, samples, log_weights, start, size)
        highest = _largest(terms, size)
        if highest > top:
            sums *= math.exp(max(top - highest, LOWEST))
            top = highest
        exp_block(terms, size, top)
        _add_block(sums, terms, point, samples, start, size)
    sums[1:] /= sums[0]
    return top + math.log(sums[0])


@njit(cache=True, parallel=True)
def log_sums(points, samples, log_weights):
    """Log of sum_j w_j exp(-|x_j - y_i|^2 / 2), and the weighted mean of x_j - y_i.

    points (m, d), samples (d, n), both in units of the bandwidth; log_weights (n,) finite. Gives (m,), (m, d).
    """
    m, d = points.shape
    logs = np.empty(m)
    shifts = np.empty((m, d))
    chunk = 16
    for c in prange((m + chunk - 1) // chunk):
        terms = np.empty(BLOCK)
        sums = np.empty(d + 1)
        for i in range(c * chunk, min(m, (c + 1) * chunk)):
            logs[i] = _log_sum_point(points[i], samples, log_weights, terms, sums)
            shifts[i] = sums[1:]
    return logs, shifts


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_products(sums, terms, point, samples, start, size):
    """sums[k, l] += sum of terms * (x_k - y_k) (x_l - y_l), for l <= k."""
    for k in range(samples.shape[0]):
        for l in range(k + 1):
            total = 0.0
            for j in range(size):
                total += terms[j] * (samples[k, start + j] - point[k]) * (samples[l, start + j] - point[l])
            sums[k, l] += total


@njit(cache=True, parallel=True)
def squares(points, samples, log_weights, logs):
    """The weighted mean of (x_j - y_i)(x_j - y_i)^T, (m, d, d), with the `logs` of `log_sums`."""
    m, d = points.shape
    out = np.zeros((m, d, d))
    chunk = 16
    for c in prange((m + chunk - 1) // chunk):
        terms = np.empty(BLOCK)
        for i in range(c * chunk, min(m, (c + 1) * chunk)):
            for start in range(0, samples.shape[1], BLOCK):
                size = min(BLOCK, samples.shape[1] - start)
                _exponents(terms, points[i], samples, log_weights, start, size)
                exp_block(terms, size, logs[i])
                _add_products(out[i], terms, points[i], samples, start, size)
            for k in range(d):
                for l in range(k):
                    out[i, l, k] = out[i, k, l]
    return out


@njit(cache=True)
def _nearest(x, y, period, mirrored):
    """Offset from y to the nearest image of x: with mirrors the sample itself, as both lie in the box."""
    delta = x - y
    if not mirrored:
        delta -= period * math.floor(delta / period + 0.5)
    return delta


@njit(cache=True)
def _images(x, y, nearest, period, mirrored, reach):
    """Sums of exp(-(s^2 - nearest^2)/2) and of s times it, over the offsets s of all images on one axis."""
    total = 0.0
    moment = 0.0
    least = nearest * nearest
    for shift in range(-reach, reach + 1):
        s = nearest + shift * period
        half = 0.5 * (s * s - least)
        if half < SKIP:
            term = math.exp(-half)
            total += term
            moment += s * term
        if mirrored:
            s = -x - y + shift * period
            half = 0.5 * (s * s - least)
            if half < SKIP:
                term = math.exp(-half)
                total += term
                moment += s * term
    return total, moment


@njit(cache=True)
def _log_sum_boxed(point, samples, log_weights, period, mirrored, reach, shift):
    """As `_log_sum_point` with images, whose sum factorises over the axes. Two passes: largest, then sum."""
    d, n = samples.shape
    top = -1e300
    for j in range(n):
        e = log_weights[j]
        for k in range(d):
            e -= 0.5 * _nearest(samples[k, j], point[k], period[k], mirrored[k]) ** 2
        top = max(top, e)
    value = 0.0
    shift[:] = 0.0
    mean = np.empty(d)
    for j in range(n):
        e = log_weights[j] - top
        factor = 1.0
        for k in range(d):
            near = _nearest(samples[k, j], point[k], period[k], mirrored[k])
            e -= 0.5 * near * near
            total, moment = _images(samples[k, j], point[k], near, period[k], mirrored[k], reach[k])
            factor *= total
            mean[k] = moment / total
        term = math.exp(max(e, LOWEST)) * factor
        value += term
        for k in range(d):
            shift[k] += term * mean[k]
    shift /= value
    return top + math.log(value)


@njit(cache=True, parallel=True)
def log_sums_boxed(points, samples, log_weights, period, mirrored, reach):
    """As `log_sums` in a box whose lower corner is 0, with the images of every sample.

    period (d,): side of the box, twice the side on a mirrored axis; reach (d,): images from -reach to reach
    periods.
    """
    m, d = points.shape
    logs = np.empty(m)
    shifts = np.empty((m, d))
    for i in prange(m):
        logs[i] = _log_sum_boxed(points[i], samples, log_weights, period, mirrored, reach, shifts[i])
    return logs, shifts
