"""Symmetric filters along the axes of a mesh, in real space.

A filter is its weights from the middle out, (4 g + 1,): four pairs of neighbours are read and added at once, so that a
row passes through the registers g times. `ends` says which node stands for each of those beyond either end of an axis,
-1 for none, first those below (from far to near), then those above (from near to far): (2 (4 g),). Work is cut into
stripes of rows and no sum crosses a row, so that threads do not change a bit.
"""

import numpy as np
from numba import njit, prange

_REASSOCIATE = {"reassoc", "contract", "nsz"}
ONE = np.uint64(1)


@njit(cache=True, fastmath=_REASSOCIATE)
def _four(flat, middle, up, step, width, out, into, a, b, c, d):
    """out += the four pairs at `up`, `up` + step, … from the middle; all are places in flat arrays."""
    p, q, r, s = up, up + step, up + step + step, up + step + step + step
    for k in range(width):
        m = middle + k
        near = a * (flat[m - p] + flat[m + p]) + b * (flat[m - q] + flat[m + q])
        far = c * (flat[m - r] + flat[m + r]) + d * (flat[m - s] + flat[m + s])
        out[into + k] += near + far


@njit(cache=True, fastmath=_REASSOCIATE)
def _filter_row(flat, middle, step, width, weights, out, into):
    """A row of `width` nodes at `middle`, all neighbours of which are there, `step` apart."""
    first = weights[0]
    for k in range(width):
        out[into + k] = first * flat[middle + k]
    for g in range(0, len(weights) - 1, 4):
        a, b, c, d = weights[g + 1], weights[g + 2], weights[g + 3], weights[g + 4]
        _four(flat, middle, np.uint64(g + 1) * step, step, width, out, into, a, b, c, d)


@njit(cache=True)
def _neighbour(j, t, m, ends):
    """The node that stands for j + t, -1 for none."""
    reach = len(ends) // 2
    if 0 <= j + t < m:
        return j + t
    return ends[j + t + reach] if j + t < 0 else ends[j + t - m + reach]


@njit(cache=True)
def _edge_row(slab, j, ends, weights, out):
    """Row j of a slab near an end of its axis."""
    for k in range(out.size):
        out[k] = weights[0] * slab[j, k]
    for t in range(1, len(weights)):
        for other in (_neighbour(j, -t, len(slab), ends), _neighbour(j, t, len(slab), ends)):
            if other >= 0:
                for k in range(out.size):
                    out[k] += weights[t] * slab[other, k]


@njit(cache=True)
def _across(values, ends, weights, out, first, last):
    """Rows first to last - 1 of all outer × m, filtered along the middle axis of (outer, m, inner)."""
    m, inner = values.shape[1], values.shape[2]
    reach = len(weights) - 1
    flat, target = values.reshape(-1), out.reshape(-1)
    for row in range(first, last):
        o, j = row // m, row % m
        if reach <= j < m - reach:
            place = np.uint64(row * inner)
            _filter_row(flat, place, np.uint64(inner), np.uint64(inner), weights, target, place)
        else:
            _edge_row(values[o], j, ends, weights, out[o, j])


@njit(cache=True)
def _along(values, ends, weights, out, first, last):
    """Rows first to last - 1 of (rows, m), filtered along themselves."""
    m, reach = values.shape[1], len(weights) - 1
    line, target = np.empty(m + 2 * reach), out.reshape(-1)
    for row in range(first, last):
        line[reach : reach + m] = values[row]
        for t in range(reach):
            low, high = ends[t], ends[reach + t]
            line[t] = values[row, low] if low >= 0 else 0.0
            line[reach + m + t] = values[row, high] if high >= 0 else 0.0
        _filter_row(line, np.uint64(reach), ONE, np.uint64(m), weights, target, np.uint64(row * m))


@njit(cache=True, parallel=True)
def _across_stripes(values, ends, weights, out, stripes):
    rows = values.shape[0] * values.shape[1]
    for s in prange(stripes):
        _across(values, ends, weights, out, rows * s // stripes, rows * (s + 1) // stripes)


@njit(cache=True, parallel=True)
def _along_stripes(values, ends, weights, out, stripes):
    for s in prange(stripes):
        _along(values, ends, weights, out, len(values) * s // stripes, len(values) * (s + 1) // stripes)


@njit(cache=True)
def smooth(values, ends, weights, out, stripes):
    """The middle axis of (outer, m, inner) filtered; a single stripe starts no threads."""
    outer, m, inner = values.shape
    if inner > 1:
        if stripes > 1:
            _across_stripes(values, ends, weights, out, stripes)
        else:
            _across(values, ends, weights, out, 0, outer * m)
    elif stripes > 1:
        _along_stripes(values.reshape(outer, m), ends, weights, out.reshape(outer, m), stripes)
    else:
        _along(values.reshape(outer, m), ends, weights, out.reshape(outer, m), 0, outer)
