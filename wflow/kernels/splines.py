"""Particles to a mesh and back with uniform B-splines, in one, two and three dimensions.

A mesh is flat, row-major and has ghost nodes: tap i of a particle at mesh coordinate u goes to node floor(u)
+ i of the extended mesh. `taps` is a tuple of `order` numbers: its type carries the order (the degree plus
one), so that the short loops are unrolled; `shape` a tuple of the extended mesh, whose type carries the
dimension. Weights are made for blocks of particles, so that they vectorise. The number of stripes is given,
so the bits do not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

BLOCK = 256
_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_REASSOCIATE)
def _place(block, axis, offset, inverse, base, fraction):
    """Mesh coordinate u = (x - offset) / h, split into its floor and the rest; the border makes sure that u >= 0."""
    for q in range(len(block)):
        u = (block[q, axis] - offset[axis]) * inverse[axis]
        base[axis, q] = int(u)
        fraction[axis, q] = u - base[axis, q]


@njit(cache=True, fastmath=_REASSOCIATE)
def _raise_order(weights, fraction, m):
    """B-spline values of order m from those of order m - 1 (de Boor's recursion on a uniform grid), in place."""
    scale = 1.0 / (m - 1)
    for q in range(BLOCK):
        weights[m - 1, q] = scale * fraction[q] * weights[m - 2, q]
    for j in range(1, m - 1):
        for q in range(BLOCK):
            left = (fraction[q] + j) * weights[m - 2 - j, q]
            weights[m - 1 - j, q] = scale * (left + (m - j - fraction[q]) * weights[m - 1 - j, q])
    for q in range(BLOCK):
        weights[0, q] *= scale * (1.0 - fraction[q])


@njit(cache=True, fastmath=_REASSOCIATE)
def _weights(weights, fraction, order):
    for q in range(BLOCK):
        weights[0, q] = 1.0 - fraction[q]
        weights[1, q] = fraction[q]
    for m in range(3, order + 1):
        _raise_order(weights, fraction, m)


@njit(cache=True, fastmath=_REASSOCIATE)
def _weights_and_slopes(weights, slopes, fraction, inverse, order):
    """Slopes are differences of the spline one order lower, divided by h."""
    _weights(weights, fraction, order - 1)
    for q in range(BLOCK):
        slopes[0, q] = -weights[0, q] * inverse
        slopes[order - 1, q] = weights[order - 2, q] * inverse
    for j in range(1, order - 1):
        for q in range(BLOCK):
            slopes[j, q] = (weights[j - 1, q] - weights[j, q]) * inverse
    _raise_order(weights, fraction, order)


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_1d(mesh, base, weights, mass, taps):
    for q in range(len(mass)):
        node = np.uint64(base[0, q])
        w = mass[q]
        for i in range(np.uint64(len(taps))):
            mesh[node + i] += w * weights[0, i, q]


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_2d(mesh, shape, base, weights, mass, taps):
    order = np.uint64(len(taps))
    stride = np.uint64(shape[-1])
    for q in range(len(mass)):
        node = np.uint64(base[0, q]) * stride + np.uint64(base[1, q])
        w = mass[q]
        for i in range(order):
            row = w * weights[0, i, q]
            for j in range(order):
                mesh[node + j] += row * weights[1, j, q]
            node += stride


@njit(cache=True, fastmath=_REASSOCIATE)
def _add_3d(mesh, shape, base, weights, mass, taps):
    order = np.uint64(len(taps))
    stride = np.uint64(shape[-1])
    plane = np.uint64(shape[-2] * shape[-1])
    for q in range(len(mass)):
        node = np.uint64(base[0, q]) * plane + np.uint64(base[1, q]) * stride + np.uint64(base[2, q])
        w = mass[q]
        for i in range(order):
            for j in range(order):
                row = w * weights[0, i, q] * weights[1, j, q]
                here = node + i * plane + j * stride
                for k in range(order):
                    mesh[here + k] += row * weights[2, k, q]


@njit(cache=True)
def _spread_stripe(mesh, shape, positions, mass, offset, inverse, first, last, taps):
    d = len(shape)
    base = np.zeros((d, BLOCK), np.int64)
    fraction = np.zeros((d, BLOCK))
    weights = np.empty((d, len(taps), BLOCK))
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        block = positions[start:stop]
        for k in range(d):
            _place(block, k, offset, inverse, base, fraction)
            _weights(weights[k], fraction[k], len(taps))
        if d == 1:
            _add_1d(mesh, base, weights, mass[start:stop], taps)
        elif d == 2:
            _add_2d(mesh, shape, base, weights, mass[start:stop], taps)
        else:
            _add_3d(mesh, shape, base, weights, mass[start:stop], taps)


@njit(cache=True, parallel=True)
def spread(shape, positions, mass, offset, inverse, stripes, taps):
    """Masses (n,) at positions (n, d) onto a flat mesh of `shape`; one mesh per stripe, added in order."""
    n = len(positions)
    cells = 1
    for side in shape:
        cells *= side
    meshes = np.empty((stripes, cells))
    for s in prange(stripes):
        meshes[s] = 0.0
        first, last = n * s // stripes, n * (s + 1) // stripes
        _spread_stripe(meshes[s], shape, positions, mass, offset, inverse, first, last, taps)
    out = meshes[0]
    if stripes > 1:
        for c in prange(cells):
            for s in range(1, stripes):
                out[c] += meshes[s, c]
    return out


@njit(cache=True, fastmath=_REASSOCIATE)
def _read_1d(mesh, base, weights, slopes, value, gradient, taps):
    for q in range(len(value)):
        node = np.uint64(base[0, q])
        v, gx = 0.0, 0.0
        for i in range(np.uint64(len(taps))):
            v += mesh[node + i] * weights[0, i, q]
            gx += mesh[node + i] * slopes[0, i, q]
        value[q] = v
        gradient[q, 0] = gx


@njit(cache=True, fastmath=_REASSOCIATE)
def _read_2d(mesh, shape, base, weights, slopes, value, gradient, taps):
    order = np.uint64(len(taps))
    stride = np.uint64(shape[-1])
    for q in range(len(value)):
        node = np.uint64(base[0, q]) * stride + np.uint64(base[1, q])
        v, gx, gy = 0.0, 0.0, 0.0
        for i in range(order):
            row, slope = 0.0, 0.0
            for j in range(order):
                m = mesh[node + j]
                row += m * weights[1, j, q]
                slope += m * slopes[1, j, q]
            v += weights[0, i, q] * row
            gx += slopes[0, i, q] * row
            gy += weights[0, i, q] * slope
            node += stride
        value[q] = v
        gradient[q, 0] = gx
        gradient[q, 1] = gy


@njit(cache=True, fastmath=_REASSOCIATE)
def _read_3d(mesh, shape, base, weights, slopes, value, gradient, taps):
    order = np.uint64(len(taps))
    stride = np.uint64(shape[-1])
    plane = np.uint64(shape[-2] * shape[-1])
    for q in range(len(value)):
        node = np.uint64(base[0, q]) * plane + np.uint64(base[1, q]) * stride + np.uint64(base[2, q])
        v, gx, gy, gz = 0.0, 0.0, 0.0, 0.0
        for i in range(order):
            for j in range(order):
                here = node + i * plane + j * stride
                row, slope = 0.0, 0.0
                for k in range(order):
                    m = mesh[here + k]
                    row += m * weights[2, k, q]
                    slope += m * slopes[2, k, q]
                both = weights[0, i, q] * weights[1, j, q]
                v += both * row
                gx += slopes[0, i, q] * weights[1, j, q] * row
                gy += weights[0, i, q] * slopes[1, j, q] * row
                gz += both * slope
        value[q] = v
        gradient[q, 0], gradient[q, 1], gradient[q, 2] = gx, gy, gz


@njit(cache=True)
def _gather_stripe(mesh, shape, positions, offset, inverse, value, gradient, first, last, taps):
    d = len(shape)
    base = np.zeros((d, BLOCK), np.int64)
    fraction = np.zeros((d, BLOCK))
    weights = np.empty((d, len(taps), BLOCK))
    slopes = np.empty((d, len(taps), BLOCK))
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        block = positions[start:stop]
        for k in range(d):
            _place(block, k, offset, inverse, base, fraction)
            _weights_and_slopes(weights[k], slopes[k], fraction[k], inverse[k], len(taps))
        v, g = value[start:stop], gradient[start:stop]
        if d == 1:
            _read_1d(mesh, base, weights, slopes, v, g, taps)
        elif d == 2:
            _read_2d(mesh, shape, base, weights, slopes, v, g, taps)
        else:
            _read_3d(mesh, shape, base, weights, slopes, v, g, taps)


@njit(cache=True, parallel=True)
def gather(mesh, shape, positions, offset, inverse, value, gradient, stripes, taps):
    """Value (n,) and gradient (n, d) of the spline whose coefficients are the flat mesh, into given arrays."""
    n = len(positions)
    for s in prange(stripes):
        first, last = n * s // stripes, n * (s + 1) // stripes
        _gather_stripe(mesh, shape, positions, offset, inverse, value, gradient, first, last, taps)
