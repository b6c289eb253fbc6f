"""First derivatives of what cubic splines spread and second ones of what they read, as particles move.

Meshes are as in `kernels.splines`, with four taps. One, two and three dimensions share the loops: an axis that is
missing has one node, of weight 1.
"""

import numpy as np
from numba import njit, prange

from wflow.kernels.splines import BLOCK, buffers, place
from wflow.kernels.taps import spline
from wflow.kernels.vectors import axpy, dot, full, load, pick, scaled, store

TAPS = 4
CUBIC = (0.0,) * TAPS  # what `spline` takes the order from
_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True, inline="always")
def _coordinate(rows, q, axis):
    """Row q (d,) on one of three axes, of which the first may be missing: 0 there."""
    missing = 3 - rows.shape[1]
    return rows[q, axis - missing] if axis >= missing else rows[q, 0] * 0


@njit(cache=True, inline="always")
def _weights(t, taps):
    """Weights of an axis, 1 at the only node of a missing one."""
    return spline(t, CUBIC, 0) if taps > 1 else full(1.0, CUBIC)


@njit(cache=True, fastmath=_REASSOCIATE)
def _add(mesh, sides, taps, base, fraction, mass, moves, inverse):
    d, stride = moves.shape[1], np.uint64(sides[2])
    for q in range(len(mass)):
        x, y, z = _coordinate(fraction, q, 0), _coordinate(fraction, q, 1), _coordinate(fraction, q, 2)
        bx, by, bz = _coordinate(base, q, 0), _coordinate(base, q, 1), np.uint64(_coordinate(base, q, 2))
        lead, slope, side, tilt = _weights(x, taps[0]), spline(x, CUBIC, 1), _weights(y, taps[1]), spline(y, CUBIC, 1)
        still, along = spline(z, CUBIC, 0), scaled(moves[q, d - 1] * inverse[d - 1], spline(z, CUBIC, 1))
        for i in range(np.uint64(taps[0])):
            for j in range(np.uint64(taps[1])):
                node = np.uint64((bx + i) * sides[1] + by + j) * stride + bz
                both = pick(lead, i) * pick(side, j)
                change = mass[q] * both
                if d > 1:
                    change += moves[q, d - 2] * inverse[d - 2] * pick(lead, i) * pick(tilt, j)
                if d > 2:
                    change += moves[q, 0] * inverse[0] * pick(slope, i) * pick(side, j)
                store(mesh, node, axpy(change, still, axpy(both, along, load(mesh, node, CUBIC))))


@njit(cache=True)
def _spread_stripe(mesh, sides, taps, positions, mass, moves, offset, inverse, first, last):
    base, fraction, low, scale = buffers(offset, inverse)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        place(positions[start:stop], base, fraction, low, scale)
        _add(mesh, sides, taps, base, fraction, mass[start:stop], moves[start:stop], inverse)


@njit(cache=True, parallel=True)
def _spread_stripes(meshes, sides, taps, positions, mass, moves, offset, inverse):
    n, stripes = len(positions), len(meshes)
    for s in prange(stripes):
        first, last = n * s // stripes, n * (s + 1) // stripes
        _spread_stripe(meshes[s], sides, taps, positions, mass, moves, offset, inverse, first, last)


@njit(cache=True)
def spread(sides, taps, positions, mass, moves, offset, inverse, stripes):
    """Σ mass (n,) B + Σ moves (n, d) · ∇B onto a flat mesh of three `sides`; `taps` of the three axes, 1 where missing.

    ∇ is for the particle: with moves = m v this is the derivative of what particles of mass m spread along v.
    """
    meshes = np.zeros((stripes, sides[0] * sides[1] * sides[2]))
    if stripes > 1:
        _spread_stripes(meshes, sides, taps, positions, mass, moves, offset, inverse)
        for s in range(1, stripes):
            meshes[0] += meshes[s]
    else:
        _spread_stripe(meshes[0], sides, taps, positions, mass, moves, offset, inverse, 0, len(positions))
    return meshes[0]


@njit(cache=True, fastmath=_REASSOCIATE)
def _read(mesh, sides, taps, base, fraction, inverse, out):
    """Second derivatives of the three axes, of which the last d are kept."""
    d, stride = out.shape[1], np.uint64(sides[2])
    for q in range(len(out)):
        x, y, z = _coordinate(fraction, q, 0), _coordinate(fraction, q, 1), _coordinate(fraction, q, 2)
        bx, by, bz = _coordinate(base, q, 0), _coordinate(base, q, 1), np.uint64(_coordinate(base, q, 2))
        lead, slope, curve = _weights(x, taps[0]), spline(x, CUBIC, 1), spline(x, CUBIC, 2)
        side, tilt, bend = _weights(y, taps[1]), spline(y, CUBIC, 1), spline(y, CUBIC, 2)
        along, steep = spline(z, CUBIC, 0), spline(z, CUBIC, 1)
        v, xx, xy, yy, gx, gy = (
            full(0.0, CUBIC),
            full(0.0, CUBIC),
            full(0.0, CUBIC),
            full(0.0, CUBIC),
            full(0.0, CUBIC),
            full(0.0, CUBIC),
        )
        for i in range(np.uint64(taps[0])):
            for j in range(np.uint64(taps[1])):
                node = np.uint64((bx + i) * sides[1] + by + j) * stride + bz
                row = load(mesh, node, CUBIC)
                v = axpy(pick(lead, i) * pick(side, j), row, v)
                gx = axpy(pick(slope, i) * pick(side, j), row, gx)
                gy = axpy(pick(lead, i) * pick(tilt, j), row, gy)
                xx = axpy(pick(curve, i) * pick(side, j), row, xx)
                xy = axpy(pick(slope, i) * pick(tilt, j), row, xy)
                yy = axpy(pick(lead, i) * pick(bend, j), row, yy)
        out[q, d - 1, d - 1] = dot(v, spline(z, CUBIC, 2)) * inverse[d - 1] ** 2
        if d > 1:
            out[q, d - 2, d - 2] = dot(yy, along) * inverse[d - 2] ** 2
            out[q, d - 2, d - 1] = out[q, d - 1, d - 2] = dot(gy, steep) * inverse[d - 2] * inverse[d - 1]
        if d > 2:
            out[q, 0, 0] = dot(xx, along) * inverse[0] ** 2
            out[q, 0, 1] = out[q, 1, 0] = dot(xy, along) * inverse[0] * inverse[1]
            out[q, 0, 2] = out[q, 2, 0] = dot(gx, steep) * inverse[0] * inverse[2]


@njit(cache=True)
def _read_stripe(mesh, sides, taps, positions, offset, inverse, out, first, last):
    base, fraction, low, scale = buffers(offset, inverse)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        place(positions[start:stop], base, fraction, low, scale)
        _read(mesh, sides, taps, base, fraction, inverse, out[start:stop])


@njit(cache=True, parallel=True)
def _read_stripes(mesh, sides, taps, positions, offset, inverse, out, stripes):
    n = len(positions)
    for s in prange(stripes):
        _read_stripe(mesh, sides, taps, positions, offset, inverse, out, n * s // stripes, n * (s + 1) // stripes)


@njit(cache=True)
def curvature(mesh, sides, taps, positions, offset, inverse, out, stripes):
    """Second derivatives (n, d, d) of the spline whose coefficients are the flat mesh, into `out`."""
    if stripes > 1:
        _read_stripes(mesh, sides, taps, positions, offset, inverse, out, stripes)
    else:
        _read_stripe(mesh, sides, taps, positions, offset, inverse, out, 0, len(positions))
