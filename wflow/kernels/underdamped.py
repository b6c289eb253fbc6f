"""BAOAB for a share of the particles: as `kernels.langevin`, for particles with velocities.

Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34: kick (B) and glide (A) by halves, and between the glides
the Ornstein–Uhlenbeck step of the velocity (O), exactly.
"""

import numpy as np
from numba import njit

from wflow.kernels.lanes import widest
from wflow.kernels.langevin import add_parts, draw, into_box, put, take
from wflow.kernels.noise import BLOCK


@njit(cache=True, nogil=True, error_model="numpy")
def add(block, dt, slope):
    """block += dt slope."""
    widest()
    for axis in range(block.shape[0]):
        x, b = block[axis], slope[axis]
        for i in range(BLOCK):
            x[i] += dt * b[i]


@njit(cache=True, nogil=True, error_model="numpy")
def thermostat(velocity, keep, scale, noise):
    """velocity = keep velocity + scale ξ."""
    widest()
    for axis in range(velocity.shape[0]):
        v, xi = velocity[axis], noise[axis]
        for i in range(BLOCK):
            v[i] = keep * v[i] + scale * xi[i]


@njit(cache=True, nogil=True, error_model="numpy")
def kick(velocity, force, dt):
    """velocity += dt force, arrays (n, d), in place: the last half kick of `baoab` without parts."""
    v, f = velocity.reshape(-1), force.reshape(-1)
    for i in range(v.size):
        v[i] += dt * f[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _to_the_last_kick(place, speed, slope, dt, keep, scale, noise, lower, length, wall):
    """Half a kick, half a glide, the thermostat, half a glide."""
    add(speed, 0.5 * dt, slope)
    add(place, 0.5 * dt, speed)
    into_box(place, speed, lower, length, wall)
    thermostat(speed, keep, scale, noise)
    add(place, 0.5 * dt, speed)
    into_box(place, speed, lower, length, wall)


@njit(cache=True, nogil=True, error_model="numpy")
def baoab(
    x,
    velocity,
    force,
    parts,
    times,
    dt,
    keep,
    scales,
    given,
    seed,
    step,
    start,
    lower,
    length,
    wall,
    out,
    new_velocity,
    new_force,
):
    """Steps of BAOAB: one for each of `times`, at which it begins, and `scales` (k,), of the noise.

    `force` (m, d) is the one at x. Without `parts` of it, `new_force` has no rows, and the last half kick of the one
    step is left to `kick`. Gives the number of positions and velocities that are not finite.
    """
    count, dim = x.shape
    words, noise = np.empty((2, BLOCK), np.uint64), np.empty((dim + dim % 2, BLOCK))
    place, speed, slope = np.empty((dim, BLOCK)), np.empty((dim, BLOCK)), np.zeros((dim, BLOCK))
    bad = 0
    for low in range(0, count, BLOCK):
        rows = slice(low, min(low + BLOCK, count))
        take(x[rows], place)
        take(velocity[rows], speed)
        take(force[rows], slope)
        for k in range(times.size):
            draw(given, seed, step + np.uint64(k), start, low, words, noise)
            _to_the_last_kick(place, speed, slope, dt, keep, scales[k], noise, lower, length, wall)
            if new_force.shape[0]:
                add_parts(parts, place, times[k] + dt, slope)
                add(speed, 0.5 * dt, slope)
        if new_force.shape[0]:
            put(slope, new_force[rows])
        bad += put(place, out[rows]) + put(speed, new_velocity[rows])
    return bad
