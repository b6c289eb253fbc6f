"""Particles to a mesh and back with uniform B-splines, in one, two and three dimensions.

A mesh is flat, row-major and has ghost nodes: tap i of a particle at mesh coordinate u goes to node floor(u)
+ i of the extended mesh. `taps` is a tuple of `order` numbers, 4 or 6: its type carries the order (the degree plus
one), so that the short loops are unrolled; `shape` a tuple of the extended mesh, whose type carries the
dimension. Weights are made for blocks of particles, so that they vectorise. The number of stripes is given,
so the bits do not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange

BLOCK = 256
_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_REASSOCIATE)
def place(block, axis, offset, inverse, base, fraction):
    """Mesh coordinate u = (x - offset) / h, split into its floor and the rest; the border makes sure that u >= 0."""
    for q in range(len(block)):
        u = (block[q, axis] - offset[axis]) * inverse[axis]
        base[axis, q] = int(u)
        fraction[axis, q] = u - base[axis, q]


@njit(cache=True, fastmath=_REASSOCIATE)
def _cubic(weights, fraction):
    """B-splines of order 4 at distance 1 + t, t, 1 - t and 2 - t of a particle at t between its nodes."""
    for q in range(BLOCK):
        t = fraction[q]
        s = 1.0 - t
        weights[0, q] = s * s * s / 6.0
        weights[1, q] = 2.0 / 3.0 - t * t * (1.0 - 0.5 * t)
        weights[2, q] = 2.0 / 3.0 - s * s * (1.0 - 0.5 * s)
        weights[3, q] = t * t * t / 6.0


@njit(cache=True, fastmath=_REASSOCIATE)
def _cubic_slopes(slopes, fraction, inverse):
    for q in range(BLOCK):
        t = fraction[q]
        s = 1.0 - t
        slopes[0, q] = -0.5 * s * s * inverse
        slopes[1, q] = t * (1.5 * t - 2.0) * inverse
        slopes[2, q] = -s * (1.5 * s - 2.0) * inverse
        slopes[3, q] = 0.5 * t * t * inverse


@njit(cache=True, inline="always")
def _middle(t):
    """120 times the B-spline of order 6 at t, its slope, and both at 1 + t, for t in [0, 1]."""
    value = 66.0 + t * t * (-60.0 + t * t * (30.0 - 10.0 * t))
    slope = t * (-120.0 + t * t * (120.0 - 50.0 * t))
    outer = 26.0 + t * (-50.0 + t * (20.0 + t * (20.0 + t * (-20.0 + 5.0 * t))))
    outer_slope = -50.0 + t * (40.0 + t * (60.0 + t * (-80.0 + 25.0 * t)))
    return value, slope, outer, outer_slope


@njit(cache=True, fastmath=_REASSOCIATE)
def _quintic(weights, fraction):
    """B-splines of order 6 at distance 2 + t, 1 + t, t, 1 - t, 2 - t and 3 - t."""
    for q in range(BLOCK):
        t = fraction[q]
        s = 1.0 - t
        near, _, far, _ = _middle(t)
        near_up, _, far_up, _ = _middle(s)
        weights[0, q], weights[5, q] = s * s * s * s * s / 120.0, t * t * t * t * t / 120.0
        weights[1, q], weights[4, q] = far / 120.0, far_up / 120.0
        weights[2, q], weights[3, q] = near / 120.0, near_up / 120.0


@njit(cache=True, fastmath=_REASSOCIATE)
def _quintic_slopes(slopes, fraction, inverse):
    scale = inverse / 120.0
    for q in range(BLOCK):
        t = fraction[q]
        s = 1.0 - t
        _, near, _, far = _middle(t)
        _, near_up, _, far_up = _middle(s)
        slopes[0, q], slopes[5, q] = -5.0 * s * s * s * s * scale, 5.0 * t * t * t * t * scale
        slopes[1, q], slopes[4, q] = far * scale, -far_up * scale
        slopes[2, q], slopes[3, q] = near * scale, -near_up * scale


@njit(cache=True)
def _weights(weights, fraction, order):
    if order == 4:
        _cubic(weights, fraction)
    else:
        _quintic(weights, fraction)


@njit(cache=True)
def weights_and_slopes(weights, slopes, fraction, inverse, order):
    """B-splines of order 4 or 6 and their slopes for a block of fractions."""
    _weights(weights, fraction, order)
    if order == 4:
        _cubic_slopes(slopes, fraction, inverse)
    else:
        _quintic_slopes(slopes, fraction, inverse)


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
            place(block, k, offset, inverse, base, fraction)
            _weights(weights[k], fraction[k], len(taps))
        if d == 1:
            _add_1d(mesh, base, weights, mass[start:stop], taps)
        elif d == 2:
            _add_2d(mesh, shape, base, weights, mass[start:stop], taps)
        else:
            _add_3d(mesh, shape, base, weights, mass[start:stop], taps)


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
            place(block, k, offset, inverse, base, fraction)
            weights_and_slopes(weights[k], slopes[k], fraction[k], inverse[k], len(taps))
        v, g = value[start:stop], gradient[start:stop]
        if d == 1:
            _read_1d(mesh, base, weights, slopes, v, g, taps)
        elif d == 2:
            _read_2d(mesh, shape, base, weights, slopes, v, g, taps)
        else:
            _read_3d(mesh, shape, base, weights, slopes, v, g, taps)


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
