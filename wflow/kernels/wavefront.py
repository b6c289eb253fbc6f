"""Several stages of a stabilised step in one sweep over the cells, for linear flows without periodic sides.

Stage s + 1 follows stage s one slab behind, so that a slab is read from memory once for all stages of a sweep; what
stands between is kept in a ring of four slabs a stage. A slab is a plane of a 3-D grid and a row of a 2-D one, which
comes as (nx, 1, ny). Stripes of slabs are independent: each repeats the few slabs of its neighbours that it needs,
so that the number of threads changes no bit.
"""

import numpy as np
from numba import njit, prange

RING = 4


@njit(cache=True)
def _rate_line(src, h, low, high, j, kx, ky, kz, i, row):
    """row = Σ_f k_f (neighbour - here) for one line of cells; `low`, `high` are the slabs on either side, h at a
    wall.

    Whole arrays and indices, no slices: a slice costs as much as thirty cells.
    """
    ny, n = src.shape[1], src.shape[2]
    # Counting from 0 with k + 1 in the middle: an index that is never negative needs no wrapping, and vectorises.
    for k in range(n - 2):
        here = src[h, j, k + 1]
        across = kx[i, j, k + 1] * (src[low, j, k + 1] - here) + kx[i + 1, j, k + 1] * (src[high, j, k + 1] - here)
        along = kz[i, j, k + 1] * (src[h, j, k] - here) + kz[i, j, k + 2] * (src[h, j, k + 2] - here)
        row[k + 1] = across + along
    for k in (0, n - 1):
        here = src[h, j, k]
        row[k] = kx[i, j, k] * (src[low, j, k] - here) + kx[i + 1, j, k] * (src[high, j, k] - here)
        row[k] += kz[i, j, k] * (src[h, j, k - 1] - here if k > 0 else -here)
        row[k] += kz[i, j, k + 1] * (src[h, j, k + 1] - here if k < n - 1 else -here)
    if ny > 1:
        below, above = max(j - 1, 0), min(j + 1, ny - 1)
        for k in range(n):
            here = src[h, j, k]
            row[k] += ky[i, j, k] * (src[h, below, k] - here) + ky[i, j + 1, k] * (src[h, above, k] - here)
        if j == 0:
            for k in range(n):
                row[k] -= ky[i, 0, k] * src[h, j, k]
        if j == ny - 1:
            for k in range(n):
                row[k] -= ky[i, ny, k] * src[h, j, k]


@njit(cache=True)
def _slab(src, h, low, high, old, o, start, slope, inverse, kx, ky, kz, i, weights, s, row, dst, d):
    """Stage s on slab i: slab d of `dst` from slabs h of `src` and o of `old`."""
    mu, nu, mu_rate, gamma = weights[s, 0], weights[s, 1], weights[s, 2], weights[s, 3]
    rest = 1.0 - mu - nu
    for j in range(src.shape[1]):
        _rate_line(src, h, low, high, j, kx, ky, kz, i, row)
        if i == 0:
            for k in range(row.size):
                row[k] -= kx[0, j, k] * src[h, j, k]
        if i == start.shape[0] - 1:
            for k in range(row.size):
                row[k] -= kx[i + 1, j, k] * src[h, j, k]
        for k in range(row.size):
            fixed = rest * start[i, j, k] + gamma * slope[i, j, k]
            moving = mu * src[h, j, k] + nu * old[o, j, k]
            dst[d, j, k] = moving + fixed + mu_rate * (inverse[i, j, k] * row[k])


@njit(cache=True)
def _stripe(prev, before, start, slope, inverse, kx, ky, kz, weights, first, last, out_before, out_prev):
    """All stages on the slabs first to last - 1, with as many more on either side as they need."""
    n, ny, nz = prev.shape
    stages = weights.shape[0]
    ring, row = np.empty((stages * RING, ny, nz)), np.empty(nz)
    for tick in range(max(0, first - stages + 1), last + 2 * stages):
        for s in range(stages):
            i, more = tick - s, stages - 1 - s
            if i < max(0, first - more) or i >= min(n, last + more):
                continue
            low, high, here, d = max(i - 1, 0), min(i + 1, n - 1), i % RING, s * RING + i % RING
            under = (s - 1) * RING
            if s == 0:
                _slab(prev, i, low, high, before, i, start, slope, inverse, kx, ky, kz, i, weights, s, row, ring, d)
            else:
                a, b, c = under + here, under + low % RING, under + high % RING
                old, o = (prev, i) if s == 1 else (ring, under - RING + here)
                _slab(ring, a, b, c, old, o, start, slope, inverse, kx, ky, kz, i, weights, s, row, ring, d)
            if first <= i < last and s == stages - 2:
                out_before[i] = ring[d]
            elif first <= i < last and s == stages - 1:
                out_prev[i] = ring[d]


@njit(cache=True)
def sweep_serial(prev, before, start, slope, inverse, kx, ky, kz, weights, stripes, out_before, out_prev):
    """`weights` `(stages, 4)` with at least two stages; the last two stages go to `out_before` and `out_prev`."""
    n = prev.shape[0]
    for t in range(stripes):
        first, last = t * n // stripes, (t + 1) * n // stripes
        _stripe(prev, before, start, slope, inverse, kx, ky, kz, weights, first, last, out_before, out_prev)


@njit(cache=True, parallel=True)
def sweep_parallel(prev, before, start, slope, inverse, kx, ky, kz, weights, stripes, out_before, out_prev):
    """The same with a stripe a thread."""
    n = prev.shape[0]
    for t in prange(stripes):
        first, last = t * n // stripes, (t + 1) * n // stripes
        _stripe(prev, before, start, slope, inverse, kx, ky, kz, weights, first, last, out_before, out_prev)
