"""Stochastic dynamics of a share of the particles, several steps at a time, in blocks that stay in the cache.

Positions and what goes with them are (n, d) float64 in C order. A block of them is turned over into scratch of one row
an axis, (d, BLOCK), where every loop runs over neighbours in memory and becomes vector code; there it takes all its
steps before it is written back, so that memory is read and written once for many steps.

The drift is a sum of `parts`: (addresses, factors, axes, tables) of functions as in `expression.Blocks`, each with the
address of its numbers; a part with an axis gives that component alone, one with axis -1 is a gradient. Without parts it
is `drift`, given at the positions, and there is one step. `lower`, `length` and `wall` `(d,)` describe a box: wall 1
reflects, 2 wraps; arrays of size 0 stand for free space. A reflection mirrors whatever vector the particle carries
along.
"""

import numpy as np
from numba import njit

from wflow.kernels.lanes import call_block, widest
from wflow.kernels.noise import BLOCK, block_normals

REFLECT, WRAP = 1, 2
_ONE, _TWO = np.float64(1.0), np.float64(2.0)
_ROW = 8 * BLOCK  # bytes of a row of scratch


@njit(cache=True, inline="always")
def fold(z, low, length, wall):
    """The place of z in the box, and -1 where it comes out mirrored, else 1; nan stays nan."""
    high, sign = low + length, _ONE
    if not (z < low or z > high):
        return z, sign
    if wall == REFLECT:
        away = np.mod(z - low, _TWO * length)
        place = low + (length - np.abs(away - length))
        if away > length:
            sign = -_ONE
    else:
        place = low + np.mod(z - low, length)
    # Rounding may lead out of the box by a unit in the last place.
    if place < low:
        place = low
    if place > high:
        place = high
    return place, sign


@njit(cache=True, inline="always")
def room(dim):
    """Scratch for a block. Rows unpacked from one larger array would lose its order in memory, and with it vectors."""
    return np.empty((dim, BLOCK))


@njit(cache=True, nogil=True, error_model="numpy")
def take(rows, block):
    """Rows (m, d), m <= BLOCK, turned over into a block; lanes left over repeat the first row."""
    for axis in range(block.shape[0]):
        for i in range(rows.shape[0]):
            block[axis, i] = rows[i, axis]
        for i in range(rows.shape[0], BLOCK):
            block[axis, i] = rows[0, axis]


@njit(cache=True, nogil=True, error_model="numpy")
def put(block, rows):
    """A block turned back into rows (m, d); gives the number of entries that are not finite."""
    bad = 0
    for axis in range(block.shape[0]):
        for i in range(rows.shape[0]):
            rows[i, axis] = block[axis, i]
            bad += block[axis, i] - block[axis, i] != 0.0
    return bad


@njit(cache=True, nogil=True, error_model="numpy")
def draw(given, seed, step, start, low, words, noise):
    """The normals of a block from row `low` on: those given (m, d), or without rows by counter."""
    if given.shape[0]:
        take(given[low : min(low + BLOCK, given.shape[0])], noise[: given.shape[1]])
    else:
        block_normals(seed, step, start + low, words, noise)


@njit(cache=True, nogil=True, error_model="numpy")
def add_parts(parts, place, time, out):
    """out = the sum of the parts of the drift, or of a scalar, at a block."""
    addresses, factors, axes, tables = parts
    out[:] = 0.0
    for k in range(addresses.size):
        row = out.ctypes.data + _ROW * max(axes[k], 0)
        call_block(addresses[k], place.ctypes.data, time, factors[k], row, tables[k])


@njit(cache=True, nogil=True, error_model="numpy")
def into_box(place, carried, lower, length, wall):
    """Fold a block of positions, and mirror what they carry with them."""
    for axis in range(wall.size):
        for i in range(BLOCK):
            place[axis, i], sign = fold(place[axis, i], lower[axis], length[axis], wall[axis])
            carried[axis, i] *= sign


@njit(cache=True, nogil=True, error_model="numpy")
def euler(place, drift, dt, scale, noise):
    """place += dt b + scale ξ."""
    widest()
    for axis in range(place.shape[0]):
        x, b, xi = place[axis], drift[axis], noise[axis]
        for i in range(BLOCK):
            x[i] = x[i] + (dt * b[i] + scale * xi[i])


@njit(cache=True, nogil=True, error_model="numpy")
def averaged(place, drift, dt, scale, old, new):
    """place += dt b + scale (ξ + ξ')/2."""
    widest()
    half = 0.5 * scale
    for axis in range(place.shape[0]):
        x, b, first, second = place[axis], drift[axis], old[axis], new[axis]
        for i in range(BLOCK):
            x[i] = x[i] + (dt * b[i] + half * (first[i] + second[i]))


@njit(cache=True, nogil=True, error_model="numpy")
def overdamped(
    x, drift, parts, times, dt, scales, smooth, given, seed, step, start, old, lower, length, wall, out, new
):
    """Steps of Euler–Maruyama, or if `smooth` of Leimkuhler and Matthews, one for each of `times` and `scales` (k,).

    x, out: (m, d), the particles start, start + 1, ...; step: uint64, the number of the first step, which with `seed`
    keys the noise; or it is `given` (m, d), the same in all steps. Leimkuhler and Matthews begin with the noise `old`
    (m, d), or with that of the counter where it has no rows, and leave the last in `new` unless it has none. Gives
    the number of entries that are not finite in the end; one that once is not finite stays so.
    """
    widest()
    count, dim = x.shape
    words, noise = np.empty((2, BLOCK), np.uint64), np.zeros((2, dim + dim % 2, BLOCK))
    place, slope = np.empty((dim, BLOCK)), np.zeros((dim, BLOCK))
    noisy, bad = scales.max() > 0.0, 0
    for low in range(0, count, BLOCK):
        rows = slice(low, min(low + BLOCK, count))
        take(x[rows], place)
        if smooth and old.shape[0]:
            take(old[rows], noise[0, :dim])
        elif smooth:
            draw(given, seed, step, start, low, words, noise[0])
        for k in range(times.size):
            now, ahead = noise[k % 2], noise[(k + 1) % 2]
            if parts[0].size:
                add_parts(parts, place, times[k], slope)
            elif drift.shape[0]:
                take(drift[rows], slope)
            if smooth:
                draw(given, seed, step + np.uint64(k + 1), start, low, words, ahead)
                averaged(place, slope, dt, scales[k], now, ahead)
            else:
                if noisy:
                    draw(given, seed, step + np.uint64(k), start, low, words, ahead)
                euler(place, slope, dt, scales[k], ahead)
            into_box(place, ahead, lower, length, wall)
        if new.shape[0]:
            put(noise[times.size % 2, :dim], new[rows])
        bad += put(place, out[rows])
    return bad
