"""Several stages of a polynomial in a linear operator, in one sweep over the cells.

A stage is  Y⁺ = μ Y + ν Y⁻ + γ G + μ̃ Σ_f k_f (Y_neighbour - Y)/p,  with G given and rows (μ, ν, γ, μ̃). Stage s + 1
follows stage s one slab behind, so that a slab is read from memory once for all stages of a sweep; what stands
between is kept in a ring of four slabs a stage. A slab is a plane of a 3-D grid and a row of a 2-D one, which comes
as (nx, 1, ny) with its axis of one cell periodic. Stripes of slabs are independent: each repeats the few slabs of its
neighbours that it needs, so that the number of threads changes no bit; so does a periodic first axis at its seam.

Y is kept in a frame of zeros, (nx + 1, ny + 1, nz + 2) with the cells at [:nx, :ny, 1:-1]: outside a wall Y is 0, which
only counts where the face in the wall is open. The first and the last of a line are its neighbours if it is periodic.
"""

import numpy as np
from numba import get_num_threads, njit, prange

RING = 4


@njit(cache=True)
def _row(src, h, low, high, old, o, given, inverse, kx, kz, wrap, i, weights, s, dst, d):
    """Stage s on row i of a 2-D grid: row d of `dst` from rows h, low and high of `src` and o of `old`.

    Whole arrays and indices, no slices: a slice costs as much as thirty cells.
    """
    mu, nu, fixed, factor = weights[s, 0], weights[s, 1], weights[s, 2], weights[s, 3]
    n = given.shape[2]
    for k in range(n):
        here = src[h, 0, k + 1]
        across = kx[i, 0, k] * (src[low, 0, k + 1] - here) + kx[i + 1, 0, k] * (src[high, 0, k + 1] - here)
        along = kz[i, 0, k] * (src[h, 0, k] - here) + kz[i, 0, k + 1] * (src[h, 0, k + 2] - here)
        moved = mu * here + nu * old[o, 0, k + 1] + fixed * given[i, 0, k]
        dst[d, 0, k + 1] = moved + factor * (inverse[i, 0, k] * (across + along))
    if wrap[2]:
        dst[d, 0, 0], dst[d, 0, n + 1] = dst[d, 0, n], dst[d, 0, 1]


@njit(cache=True)
def _plane(src, h, low, high, old, o, given, inverse, kx, ky, kz, wrap, i, weights, s, dst, d):
    """The same on plane i of a 3-D grid."""
    mu, nu, fixed, factor = weights[s, 0], weights[s, 1], weights[s, 2], weights[s, 3]
    ny, n = given.shape[1], given.shape[2]
    for j in range(ny):
        below, above = j - 1 if j > 0 else (ny - 1 if wrap[1] else ny), 0 if wrap[1] and j == ny - 1 else j + 1
        for k in range(n):
            here = src[h, j, k + 1]
            across = kx[i, j, k] * (src[low, j, k + 1] - here) + kx[i + 1, j, k] * (src[high, j, k + 1] - here)
            side = ky[i, j, k] * (src[h, below, k + 1] - here) + ky[i, j + 1, k] * (src[h, above, k + 1] - here)
            along = kz[i, j, k] * (src[h, j, k] - here) + kz[i, j, k + 1] * (src[h, j, k + 2] - here)
            moved = mu * here + nu * old[o, j, k + 1] + fixed * given[i, j, k]
            dst[d, j, k + 1] = moved + factor * (inverse[i, j, k] * (across + side + along))
        if wrap[2]:
            dst[d, j, 0], dst[d, j, n + 1] = dst[d, j, n], dst[d, j, 1]


@njit(cache=True)
def _stripe(prev, before, given, inverse, kx, ky, kz, wrap, weights, first, last, out_before, out_prev):
    """All stages on the slabs first to last - 1, with as many more on either side as they need."""
    n, stages, flat = given.shape[0], weights.shape[0], given.shape[1] == 1 and wrap[1]
    empty = stages * RING
    ring = np.zeros((empty + 1, prev.shape[1], prev.shape[2]))
    lowest, highest = (-stages, n + stages) if wrap[0] else (0, n)
    for tick in range(first - stages + 1, last + 2 * stages):
        for s in range(stages):
            i, more = tick - s, stages - 1 - s
            if i < max(lowest, first - more) or i >= min(highest, last + more):
                continue
            e, under = i % n if wrap[0] else i, (s - 1) * RING
            dst, d = (out_prev, i) if s == stages - 1 else (ring, s * RING + i % RING)
            h, o = under + i % RING, under - RING + i % RING
            low = empty if i == 0 and not wrap[0] else under + (i - 1) % RING
            high = empty if i == n - 1 and not wrap[0] else under + (i + 1) % RING
            # Two calls each, not one function that chooses: arrays handed through it cost a count of references a row.
            if s == 0:
                b, c = ((e - 1) % n, (e + 1) % n) if wrap[0] else (e - 1 if e > 0 else n, e + 1)
                if flat:
                    _row(prev, e, b, c, before, e, given, inverse, kx, kz, wrap, e, weights, s, dst, d)
                else:
                    _plane(prev, e, b, c, before, e, given, inverse, kx, ky, kz, wrap, e, weights, s, dst, d)
            elif s == 1:
                if flat:
                    _row(ring, h, low, high, prev, e, given, inverse, kx, kz, wrap, e, weights, s, dst, d)
                else:
                    _plane(ring, h, low, high, prev, e, given, inverse, kx, ky, kz, wrap, e, weights, s, dst, d)
            elif flat:
                _row(ring, h, low, high, ring, o, given, inverse, kx, kz, wrap, e, weights, s, dst, d)
            else:
                _plane(ring, h, low, high, ring, o, given, inverse, kx, ky, kz, wrap, e, weights, s, dst, d)
            if first <= i < last and s == stages - 2:
                out_before[i] = ring[d]


@njit(cache=True)
def sweep_serial(prev, before, given, inverse, kx, ky, kz, wrap, weights, stripes, out_before, out_prev):
    """`weights` `(stages, 4)` with at least two stages; the last two stages go to `out_before` and `out_prev`."""
    n = given.shape[0]
    for t in range(stripes):
        first, last = t * n // stripes, (t + 1) * n // stripes
        _stripe(prev, before, given, inverse, kx, ky, kz, wrap, weights, first, last, out_before, out_prev)


@njit(cache=True, parallel=True)
def sweep_parallel(prev, before, given, inverse, kx, ky, kz, wrap, weights, stripes, out_before, out_prev):
    """The same with a stripe a thread."""
    n = given.shape[0]
    for t in prange(stripes):
        first, last = t * n // stripes, (t + 1) * n // stripes
        _stripe(prev, before, given, inverse, kx, ky, kz, wrap, weights, first, last, out_before, out_prev)


def threads() -> int:
    """How many stripes keep all threads busy."""
    return int(get_num_threads())
