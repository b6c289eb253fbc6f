"""Normal mixtures at blocks of particles, as machine code that `langevin.add_parts` calls by address.

A table holds d, the number of components, and of each log(weight) - log sqrt(det 2 pi C), the mean (d,) and the inverse
(d, d) of its covariance C. Blocks are (d, BLOCK), one row an axis.
"""

from functools import lru_cache

import numpy as np
from numba import carray, cfunc, njit

from wflow.kernels.lanes import widest
from wflow.kernels.noise import BLOCK
from wflow.kernels.sums import exp_block

SIGNATURE = "void(CPointer(f8), f8, f8, CPointer(f8), CPointer(f8))"


@njit(cache=True, nogil=True, error_model="numpy")
def _component(place, table, logs, pulls):
    """log(weight N) of a component into logs (BLOCK,), and its inverse covariance times x - mean into pulls."""
    widest()
    d = place.shape[0]
    logs[:] = table[0]
    for a in range(d):
        row, pull, center = place[a], pulls[a], table[1 + a]
        pull[:] = 0.0
        for b in range(d):
            other, middle, share = place[b], table[1 + b], table[1 + d + a * d + b]
            for i in range(BLOCK):
                pull[i] += share * (other[i] - middle)
        for i in range(BLOCK):
            logs[i] -= 0.5 * (row[i] - center) * pull[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _components(place, table, logs, pulls):
    d = place.shape[0]
    size = 1 + d + d * d
    for c in range(logs.shape[0]):
        _component(place, table[2 + c * size : 2 + (c + 1) * size], logs[c], pulls[c])


@njit(cache=True, nogil=True, error_model="numpy")
def _shares(logs, top, total):
    """The logs to exp(log - top), top (BLOCK,) their largest, and the sum of these."""
    widest()
    top[:] = logs[0]
    for c in range(1, logs.shape[0]):
        row = logs[c]
        for i in range(BLOCK):
            top[i] = row[i] if row[i] > top[i] else top[i]
    total[:] = 0.0
    for c in range(logs.shape[0]):
        row = logs[c]
        for i in range(BLOCK):
            row[i] -= top[i]
        exp_block(row, BLOCK, 0.0)
        for i in range(BLOCK):
            total[i] += row[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _subtract(factor, logs, total, pulls, out):
    """out -= factor times the pulls weighted by their shares."""
    widest()
    for c in range(logs.shape[0]):
        row = logs[c]
        for i in range(BLOCK):
            row[i] *= factor / total[i]
        for a in range(out.shape[0]):
            pull, total_row = pulls[c, a], out[a]
            for i in range(BLOCK):
                total_row[i] -= row[i] * pull[i]


@njit(cache=True, nogil=True, error_model="numpy")
def mixture(place, table, factor, value, gradient):
    """Add factor times log p to value (1, BLOCK), and the score to gradient (d, BLOCK): either may have no rows."""
    d, count = place.shape[0], int(table[1])
    logs, pulls = np.empty((count, BLOCK)), np.empty((count, d, BLOCK))
    top, total = np.empty(BLOCK), np.empty(BLOCK)
    _components(place, table, logs, pulls)
    if value.shape[0] and count == 1:
        value[0] += factor * logs[0]
        return
    _shares(logs, top, total)
    if value.shape[0]:
        for i in range(BLOCK):
            value[0, i] += factor * (top[i] + np.log(total[i]))
    if gradient.shape[0]:
        _subtract(factor, logs, total, pulls, gradient)


@njit(cache=True, nogil=True, error_model="numpy")
def _unpacked(x, data):
    """The table and the block at two places in memory."""
    head = carray(data, 2)
    d, count = int(head[0]), int(head[1])
    return carray(data, 2 + count * (1 + d + d * d)), carray(x, (d, BLOCK))


def _add_value(x, t, factor, out, data):
    table, place = _unpacked(x, data)
    mixture(place, table, factor, carray(out, (1, BLOCK)), carray(x, (0, BLOCK)))


def _add_gradient(x, t, factor, out, data):
    table, place = _unpacked(x, data)
    mixture(place, table, factor, carray(x, (0, BLOCK)), carray(out, place.shape))


@lru_cache(maxsize=1)
def _code():
    """Kept: machine code is freed with its object."""
    return tuple(cfunc(SIGNATURE, cache=True, error_model="numpy")(f) for f in (_add_value, _add_gradient))


def addresses():
    """Of log p and of the score, `void f(double *x, double t, double factor, double *out, double *table)`; compiled
    when first asked for."""
    value, gradient = _code()
    return value.address, gradient.address
