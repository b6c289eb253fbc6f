"""Low-rank columns of Gaussian Gram matrices and their weighted products.

Loops, and no BLAS: its threads meet at every column of a factorisation, which costs a time slice each where other
work keeps the cores busy, a hundred times the arithmetic; and its bits may depend on them.
"""

import numpy as np
from numba import njit

_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True)
def _kernel(points, pivot, out):
    """out = exp(-|x - x_pivot|^2 / 2) for points (d, n)."""
    out[:] = 0.0
    for k in range(points.shape[0]):
        row = points[k]
        y = row[pivot]
        for i in range(len(row)):
            delta = row[i] - y
            out[i] -= 0.5 * delta * delta
    for i in range(len(out)):
        out[i] = np.exp(out[i])


@njit(cache=True)
def pivoted(points, most, exact):
    """Rows Z (r, n) with K = Z^T Z up to `exact` on the diagonal, the Gram matrix K of points (d, n), and the r
    points at which it is exact: each next row that of the point which those before serve worst."""
    n = points.shape[1]
    z = np.empty((min(most, n), n))
    pivots = np.empty(len(z), np.int64)
    left = np.ones(n)
    for r in range(len(z)):
        pivot = np.argmax(left)
        if left[pivot] <= exact:
            return z[:r].copy(), pivots[:r].copy()
        row = z[r]
        _kernel(points, pivot, row)
        for q in range(r):
            factor, other = z[q, pivot], z[q]
            for i in range(n):
                row[i] -= factor * other[i]
        scale = 1.0 / np.sqrt(left[pivot])
        for i in range(n):
            row[i] *= scale
            left[i] -= row[i] * row[i]
        left[pivot] = 0.0
        for q in range(r):
            row[pivots[q]] = 0.0  # but for rounding
        pivots[r] = pivot
    return z, pivots


@njit(cache=True, fastmath=_REASSOCIATE)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True)
def products(z, weights):
    """Z diag(weights) Z^T (r, r) of rows Z (r, n)."""
    r = len(z)
    out = np.empty((r, r))
    for a in range(r):
        weighted = z[a] * weights
        for b in range(a + 1):
            out[a, b] = _dot(weighted, z[b])
            out[b, a] = out[a, b]
    return out


@njit(cache=True)
def tridiagonal(a):
    """Diagonal (r,) and off-diagonal (r - 1,) of Q^T A Q for symmetric A (r, r), overwritten, and the Householder
    vectors V (r - 2, r), of length 1 or 0, with Q = H_0 H_1 ..., H = 1 - 2 v v^T (Golub and Van Loan 2013, section
    8.3.1)."""
    r = len(a)
    vectors = np.zeros((max(r - 2, 0), r))
    p = np.empty(r)
    for k in range(r - 2):
        v = vectors[k]
        v[k + 1 :] = a[k, k + 1 :]
        length = np.sqrt(_dot(v, v))
        v[k + 1] += length if v[k + 1] > 0.0 else -length
        size = np.sqrt(_dot(v, v))
        if size == 0.0:
            continue
        v /= size
        for i in range(k, r):
            p[i] = 2.0 * _dot(a[i, k:], v[k:])
        share = _dot(p[k:], v[k:])
        for i in range(k, r):
            p[i] -= share * v[i]
        for i in range(k, r):
            row, vi, pi = a[i], v[i], p[i]
            for j in range(k, r):
                row[j] -= vi * p[j] + pi * v[j]
    beside = np.empty(r - 1)
    for k in range(r - 1):
        beside[k] = a[k, k + 1]
    return np.diag(a).copy(), beside, vectors


@njit(cache=True)
def turned(vectors, x):
    """Q x for rows x (m, r), in place."""
    for row in x:
        for k in range(len(vectors) - 1, -1, -1):
            v = vectors[k]
            factor = 2.0 * _dot(v, row)
            for i in range(k + 1, len(row)):
                row[i] -= factor * v[i]
