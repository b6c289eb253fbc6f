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


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_tangent(slope, terms, point, columns, change, moves, start, size):
    """Returns Σ (c - v · Δ) k, Δ = x_j - y, and adds Σ ((c - v · Δ) Δ + v) k to the slope. The terms stay."""
    d, value = len(point), 0.0
    for j in range(start, start + size):
        along = change[j]
        for k in range(d):
            along -= moves[k, j] * (columns[k, j] - point[k])
        value += along * terms[j - start]
        for k in range(d):
            slope[k] += (along * (columns[k, j] - point[k]) + moves[k, j]) * terms[j - start]
    return value


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_curvature(matrix, terms, point, columns, mass, start, size):
    """matrix += Σ m (Δ Δᵀ - 1) k."""
    for j in range(start, start + size):
        own = mass[j] * terms[j - start]
        for k in range(len(point)):
            for m in range(len(point)):
                matrix[k, m] += own * (columns[k, j] - point[k]) * (columns[m, j] - point[m])
            matrix[k, k] -= own


@njit(cache=True, parallel=True)
def run_tangents(points, groups, columns, change, moves, starts, stops):
    """Derivatives of the sums of `run_sums` and of their gradients in y, (n,) and (n, d), as masses change by `change`
    (sources,) and sources move; `moves` (d, sources) are masses times velocities."""
    values, slopes = np.zeros(len(points)), np.zeros(points.shape)
    for g in prange(len(groups) - 1):
        terms = np.empty(BLOCK)
        for i in range(groups[g], groups[g + 1]):
            for r in range(starts.shape[1]):
                for start in range(starts[g, r], stops[g, r], BLOCK):
                    size = min(BLOCK, stops[g, r] - start)
                    _exponents(terms, points[i], columns, start, size)
                    exp_block(terms, size, 0.0)
                    values[i] += _add_tangent(slopes[i], terms, points[i], columns, change, moves, start, size)
    return values, slopes


@njit(cache=True, parallel=True)
def run_curvatures(points, groups, columns, mass, starts, stops):
    """Second derivatives in y of the sums of `run_sums` with masses (sources,), (n, d, d)."""
    n, d = points.shape
    found = np.zeros((n, d, d))
    for g in prange(len(groups) - 1):
        terms = np.empty(BLOCK)
        for i in range(groups[g], groups[g + 1]):
            for r in range(starts.shape[1]):
                for start in range(starts[g, r], stops[g, r], BLOCK):
                    size = min(BLOCK, stops[g, r] - start)
                    _exponents(terms, points[i], columns, start, size)
                    exp_block(terms, size, 0.0)
                    _add_curvature(found[i], terms, points[i], columns, mass, start, size)
    return found
