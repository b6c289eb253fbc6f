"""Particles to a mesh and back with uniform B-splines, in one, two and three dimensions.

A mesh is flat, row-major and has ghost nodes: tap i of a particle at mesh coordinate u goes to node floor(u)
+ i of the extended mesh. `taps` is a tuple of `order` numbers, 4 or 6: its type carries the order (the degree plus
one) and with it the length of the vectors; `shape` a tuple of the extended mesh, whose type carries the dimension. The
taps along the last axis are one vector, whose weights are made in registers: 10⁶ particles in any order take 4 ms of
one thread to spread on 192² nodes and 6 ms to read, with tables of weights and loops over single taps 9 and 12. Places
are found for blocks of particles, so that the division into cells vectorises. The number of stripes is given, so the
bits do not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

from wflow.kernels.taps import spline
from wflow.kernels.vectors import axpy, dot, full, load, pick, scaled, store

BLOCK = 256
_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True)
def buffers(offset, inverse):
    """Cells and fractions (BLOCK, d) of a block of particles, to be filled; offset and inverse, flat, repeated for
    each."""
    d = len(offset)
    low, scale = np.empty(BLOCK * d), np.empty(BLOCK * d)
    for k in range(len(low)):
        low[k], scale[k] = offset[k % d], inverse[k % d]
    return np.zeros((BLOCK, d), np.int64), np.zeros((BLOCK, d)), low, scale


@njit(cache=True, fastmath=_REASSOCIATE)
def _place(x, base, fraction, low, scale):
    for k in range(len(x)):
        u = (x[k] - low[k]) * scale[k]
        base[k] = int(u)
        fraction[k] = u - base[k]


@njit(cache=True)
def place(block, base, fraction, low, scale):
    """Mesh coordinates u = (x - low) scale of a block, split into their floors and the rest; the border makes sure that
    u >= 0. One loop over neighbours in memory, whatever the dimension."""
    _place(block.reshape(-1), base.reshape(-1), fraction.reshape(-1), low, scale)


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_1d(mesh, base, fraction, mass, taps):
    for q in range(len(mass)):
        node = np.uint64(base[q, 0])
        store(mesh, node, axpy(mass[q], spline(fraction[q, 0], taps, 0), load(mesh, node, taps)))


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_2d(mesh, shape, base, fraction, mass, taps):
    stride = np.uint64(shape[-1])
    for q in range(len(mass)):
        node = np.uint64(base[q, 0]) * stride + np.uint64(base[q, 1])
        lead = spline(fraction[q, 0], taps, 0)
        row = scaled(mass[q], spline(fraction[q, 1], taps, 0))
        for i in range(np.uint64(len(taps))):
            store(mesh, node, axpy(pick(lead, i), row, load(mesh, node, taps)))
            node += stride


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_3d(mesh, shape, base, fraction, mass, taps):
    order = np.uint64(len(taps))
    stride = np.uint64(shape[-1])
    plane = np.uint64(shape[-2] * shape[-1])
    for q in range(len(mass)):
        node = np.uint64(base[q, 0]) * plane + np.uint64(base[q, 1]) * stride + np.uint64(base[q, 2])
        lead, side = spline(fraction[q, 0], taps, 0), spline(fraction[q, 1], taps, 0)
        row = scaled(mass[q], spline(fraction[q, 2], taps, 0))
        for i in range(order):
            here = node + i * plane
            for j in range(order):
                store(mesh, here, axpy(pick(lead, i) * pick(side, j), row, load(mesh, here, taps)))
                here += stride


@njit(cache=True)
def _spread_stripe(mesh, shape, positions, mass, offset, inverse, first, last, taps):
    base, fraction, low, scale = buffers(offset, inverse)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        place(positions[start:stop], base, fraction, low, scale)
        if len(shape) == 1:
            _add_1d(mesh, base, fraction, mass[start:stop], taps)
        elif len(shape) == 2:
            _add_2d(mesh, shape, base, fraction, mass[start:stop], taps)
        else:
            _add_3d(mesh, shape, base, fraction, mass[start:stop], taps)


@njit(cache=True, parallel=True)
def _spread_stripes(shape, positions, mass, offset, inverse, stripes, taps, meshes):
    n = len(positions)
    for s in prange(stripes):
        meshes[s] = 0.0
        first, last = n * s // stripes, n * (s + 1) // stripes
        _spread_stripe(meshes[s], shape, positions, mass, offset, inverse, first, last, taps)
    out = meshes[0]
    for c in prange(out.size):
        for s in range(1, stripes):
            out[c] += meshes[s, c]


@njit(cache=True)
def spread(shape, positions, mass, offset, inverse, stripes, taps):
    """Masses (n,) at positions (n, d) onto a flat mesh of `shape`; one mesh per stripe, added in order. A single
    stripe starts no threads."""
    cells = 1
    for side in shape:
        cells *= side
    meshes = np.empty((stripes, cells))
    if stripes > 1:
        _spread_stripes(shape, positions, mass, offset, inverse, stripes, taps, meshes)
        return meshes[0]
    meshes[0] = 0.0
    _spread_stripe(meshes[0], shape, positions, mass, offset, inverse, 0, len(positions), taps)
    return meshes[0]


@njit(cache=True, fastmath=_REASSOCIATE)
def _read_1d(mesh, base, fraction, inverse, value, gradient, taps):
    for q in range(len(value)):
        t, row = fraction[q, 0], load(mesh, np.uint64(base[q, 0]), taps)
        value[q] = dot(row, spline(t, taps, 0))
        gradient[q, 0] = dot(row, spline(t, taps, 1)) * inverse[0]


@njit(cache=True, fastmath=_REASSOCIATE)
def _read_2d(mesh, shape, base, fraction, inverse, value, gradient, taps):
    stride = np.uint64(shape[-1])
    for q in range(len(value)):
        node = np.uint64(base[q, 0]) * stride + np.uint64(base[q, 1])
        x, y = fraction[q, 0], fraction[q, 1]
        lead, slope = spline(x, taps, 0), spline(x, taps, 1)
        v, g = full(0.0, taps), full(0.0, taps)
        for i in range(np.uint64(len(taps))):
            row = load(mesh, node, taps)
            v, g = axpy(pick(lead, i), row, v), axpy(pick(slope, i), row, g)
            node += stride
        along = spline(y, taps, 0)
        value[q] = dot(v, along)
        gradient[q, 0] = dot(g, along) * inverse[0]
        gradient[q, 1] = dot(v, spline(y, taps, 1)) * inverse[1]


@njit(cache=True, fastmath=_REASSOCIATE)
def _read_3d(mesh, shape, base, fraction, inverse, value, gradient, taps):
    order = np.uint64(len(taps))
    stride = np.uint64(shape[-1])
    plane = np.uint64(shape[-2] * shape[-1])
    for q in range(len(value)):
        node = np.uint64(base[q, 0]) * plane + np.uint64(base[q, 1]) * stride + np.uint64(base[q, 2])
        x, y, z = fraction[q, 0], fraction[q, 1], fraction[q, 2]
        lead, slope = spline(x, taps, 0), spline(x, taps, 1)
        side, tilt = spline(y, taps, 0), spline(y, taps, 1)
        v, gx, gy = full(0.0, taps), full(0.0, taps), full(0.0, taps)
        for i in range(order):
            sheet, steep = full(0.0, taps), full(0.0, taps)
            here = node + i * plane
            for j in range(order):
                row = load(mesh, here, taps)
                sheet, steep = axpy(pick(side, j), row, sheet), axpy(pick(tilt, j), row, steep)
                here += stride
            v, gx = axpy(pick(lead, i), sheet, v), axpy(pick(slope, i), sheet, gx)
            gy = axpy(pick(lead, i), steep, gy)
        along = spline(z, taps, 0)
        value[q] = dot(v, along)
        gradient[q, 0], gradient[q, 1] = dot(gx, along) * inverse[0], dot(gy, along) * inverse[1]
        gradient[q, 2] = dot(v, spline(z, taps, 1)) * inverse[2]


@njit(cache=True)
def _gather_stripe(mesh, shape, positions, offset, inverse, value, gradient, first, last, taps):
    base, fraction, low, scale = buffers(offset, inverse)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        place(positions[start:stop], base, fraction, low, scale)
        v, g = value[start:stop], gradient[start:stop]
        if len(shape) == 1:
            _read_1d(mesh, base, fraction, inverse, v, g, taps)
        elif len(shape) == 2:
            _read_2d(mesh, shape, base, fraction, inverse, v, g, taps)
        else:
            _read_3d(mesh, shape, base, fraction, inverse, v, g, taps)


@njit(cache=True, parallel=True)
def _gather_stripes(mesh, shape, positions, offset, inverse, value, gradient, stripes, taps):
    n = len(positions)
    for s in prange(stripes):
        first, last = n * s // stripes, n * (s + 1) // stripes
        _gather_stripe(mesh, shape, positions, offset, inverse, value, gradient, first, last, taps)


@njit(cache=True)
def gather(mesh, shape, positions, offset, inverse, value, gradient, stripes, taps):
    """Value (n,) and gradient (n, d) of the spline whose coefficients are the flat mesh, into given arrays. A single
    stripe starts no threads."""
    if stripes > 1:
        _gather_stripes(mesh, shape, positions, offset, inverse, value, gradient, stripes, taps)
    else:
        _gather_stripe(mesh, shape, positions, offset, inverse, value, gradient, 0, len(positions), taps)
