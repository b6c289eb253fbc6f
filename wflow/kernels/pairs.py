"""Gaussian sums over runs of sorted sources, several fields at once: near neighbours only, or all pairs.

Sources are columns (d, n) in units of the bandwidth, sorted so that what a group of points feels lies in a few runs
of consecutive columns. Each group is summed by one thread in a fixed order, so the bits do not depend on the number
of threads.
"""

import numpy as np
from numba import njit, prange

from wflow.kernels.sums import BLOCK, exp_block

_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_REASSOCIATE)
def _exponents(out, point, columns, start, size):
    """out[j] = -|x_j - y|^2 / 2."""
    for j in range(size):
        out[j] = 0.0
    for k in range(columns.shape[0]):
        row = columns[k, start : start + size]
        y = point[k]
        for j in range(size):
            delta = row[j] - y
            out[j] -= 0.5 * delta * delta


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_block(values, slope, terms, point, columns, masses, start, size):
    """values[f] += sum of m_f k; slope[k] += sum of m_0 k (x_k - y_k). The terms are overwritten."""
    for f in range(masses.shape[0] - 1, -1, -1):
        row = masses[f, start : start + size]
        total = 0.0
        for j in range(size):
            total += terms[j] * row[j]
        values[f] += total
    row = masses[0, start : start + size]
    for j in range(size):
        terms[j] *= row[j]
    for k in range(columns.shape[0]):
        row = columns[k, start : start + size]
        y = point[k]
        total = 0.0
        for j in range(size):
            total += terms[j] * (row[j] - y)
        slope[k] += total


@njit(cache=True, parallel=True)
def run_sums(points, groups, columns, masses, starts, stops):
    """Sums of m_f exp(-|x_j - y_i|^2 / 2) for each field f (n, fields), and for field 0 of that times x_j - y_i (n,
    d).

    points (n, d); group g is points groups[g] to groups[g + 1] and feels the columns starts[g, r] to stops[g, r] for
    each r; masses (fields, sources) of any sign.
    """
    n, d = points.shape
    values = np.zeros((n, masses.shape[0]))
    slopes = np.zeros((n, d))
    for g in prange(len(groups) - 1):
        terms = np.empty(BLOCK)
        for i in range(groups[g], groups[g + 1]):
            for r in range(starts.shape[1]):
                for start in range(starts[g, r], stops[g, r], BLOCK):
                    size = min(BLOCK, stops[g, r] - start)
                    _exponents(terms, points[i], columns, start, size)
                    exp_block(terms, size, 0.0)
                    _add_block(values[i], slopes[i], terms, points[i], columns, masses, start, size)
    return values, slopes
