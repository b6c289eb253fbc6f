"""First derivatives of what cubic splines spread and second ones of what they read, as particles move.

Meshes are as in `kernels.splines`, with four taps. One, two and three dimensions share the loops: an axis that is
missing has one node, of weight 1 and slope 0.
"""

import numpy as np
from numba import njit, prange

from wflow.kernels.splines import BLOCK, place, weights_and_slopes

TAPS = 4
_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_REASSOCIATE)
def _curves(curves, fraction, inverse):
    """Second derivatives of cubic B-splines: second differences of hats."""
    scale = inverse * inverse
    for q in range(BLOCK):
        t = fraction[q]
        curves[0, q], curves[1, q] = (1.0 - t) * scale, (3.0 * t - 2.0) * scale
        curves[2, q], curves[3, q] = (1.0 - 3.0 * t) * scale, t * scale


@njit(cache=True)
def _tables(missing):
    """Places, weights, slopes and second derivatives of a block, those of the missing axes filled."""
    base, tables = np.zeros((3, BLOCK), np.int64), np.zeros((3, 3, TAPS, BLOCK))
    tables[0, :missing, 0] = 1.0
    return base, tables


@njit(cache=True)
def _fill(block, offset, inverse, base, tables, curved):
    """The tables of a block of particles (m, d), in the last d rows."""
    fraction, d = np.zeros((block.shape[1], BLOCK)), block.shape[1]
    for k in range(d):
        row = 3 - d + k
        place(block, k, offset, inverse, base[3 - d :], fraction)
        weights_and_slopes(tables[0, row], tables[1, row], fraction[k], inverse[k], TAPS)
        if curved:
            _curves(tables[2, row], fraction[k], inverse[k])


@njit(cache=True, fastmath=_REASSOCIATE)
def _add(mesh, sides, taps, base, tables, mass, moves):
    w, s = tables[0], tables[1]
    last, stride = moves.shape[1] - 1, np.uint64(sides[2])
    for q in range(len(mass)):
        for i in range(taps[0]):
            for j in range(taps[1]):
                node = np.uint64((base[0, q] + i) * sides[1] + base[1, q] + j) * stride + np.uint64(base[2, q])
                both = w[0, i, q] * w[1, j, q]
                lead = mass[q] * both
                if last > 0:
                    lead += moves[q, last - 1] * w[0, i, q] * s[1, j, q]
                if last > 1:
                    lead += moves[q, 0] * s[0, i, q] * w[1, j, q]
                along = moves[q, last] * both
                for k in range(np.uint64(TAPS)):
                    mesh[node + k] += lead * w[2, k, q] + along * s[2, k, q]


@njit(cache=True)
def _spread_stripe(mesh, sides, taps, positions, mass, moves, offset, inverse, first, last):
    base, tables = _tables(3 - positions.shape[1])
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _fill(positions[start:stop], offset, inverse, base, tables, False)
        _add(mesh, sides, taps, base, tables, mass[start:stop], moves[start:stop])


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
def _read(mesh, sides, taps, base, tables, out):
    """Second derivatives of the three axes, of which the last d are kept."""
    w, s, c = tables[0], tables[1], tables[2]
    d, stride = out.shape[1], np.uint64(sides[2])
    for q in range(len(out)):
        xx, xy, xz, yy, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(taps[0]):
            for j in range(taps[1]):
                node = np.uint64((base[0, q] + i) * sides[1] + base[1, q] + j) * stride + np.uint64(base[2, q])
                value, slope, curve = 0.0, 0.0, 0.0
                for k in range(np.uint64(TAPS)):
                    m = mesh[node + k]
                    value += m * w[2, k, q]
                    slope += m * s[2, k, q]
                    curve += m * c[2, k, q]
                xx += c[0, i, q] * w[1, j, q] * value
                xy += s[0, i, q] * s[1, j, q] * value
                xz += s[0, i, q] * w[1, j, q] * slope
                yy += w[0, i, q] * c[1, j, q] * value
                yz += w[0, i, q] * s[1, j, q] * slope
                zz += w[0, i, q] * w[1, j, q] * curve
        out[q, d - 1, d - 1] = zz
        if d > 1:
            out[q, d - 2, d - 2] = yy
            out[q, d - 2, d - 1] = out[q, d - 1, d - 2] = yz
        if d > 2:
            out[q, 0, 0] = xx
            out[q, 0, 1] = out[q, 1, 0] = xy
            out[q, 0, 2] = out[q, 2, 0] = xz


@njit(cache=True)
def _read_stripe(mesh, sides, taps, positions, offset, inverse, out, first, last):
    base, tables = _tables(3 - positions.shape[1])
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _fill(positions[start:stop], offset, inverse, base, tables, True)
        _read(mesh, sides, taps, base, tables, out[start:stop])


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
