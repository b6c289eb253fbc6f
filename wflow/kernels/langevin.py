"""One step of stochastic dynamics on a share of the particles.

All arrays are (n, d) float64 in C order. `lower`, `length` and `wall` `(d,)` describe a box: wall 1 reflects, 2
wraps; arrays of size 0 stand for free space. A reflection mirrors whatever vector the particle carries along.
"""

import numpy as np
from numba import njit

REFLECT, WRAP = 1, 2
_ONE, _TWO = np.float64(1.0), np.float64(2.0)


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


@njit(cache=True, nogil=True, error_model="numpy")
def _into_box(x, carried, lower, length, wall):
    """Fold positions, and mirror what they carry with them."""
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            x[i, k], sign = fold(x[i, k], lower[k], length[k], wall[k])
            carried[i, k] *= sign


@njit(cache=True, nogil=True, error_model="numpy")
def euler_maruyama(x, drift, dt, scale, noise, lower, length, wall, out):
    """out = x + dt b + scale ξ; gives the number of entries that are not finite. Mirrors `noise` at walls."""
    a, b, c, z = x.reshape(-1), drift.reshape(-1), noise.reshape(-1), out.reshape(-1)
    bad = 0
    for i in range(z.size):
        z[i] = a[i] + (dt * b[i] + scale * c[i])
        bad += z[i] - z[i] != 0.0
    if wall.size:
        _into_box(out, noise, lower, length, wall)
    return bad


@njit(cache=True, nogil=True, error_model="numpy")
def leimkuhler_matthews(x, drift, dt, scale, old, new, lower, length, wall, out):
    """out = x + dt b + scale (ξ + ξ')/2; gives the number of entries that are not finite. Mirrors ξ' at walls."""
    a, b, c, e, z = x.reshape(-1), drift.reshape(-1), old.reshape(-1), new.reshape(-1), out.reshape(-1)
    half, bad = 0.5 * scale, 0
    for i in range(z.size):
        z[i] = a[i] + (dt * b[i] + half * (c[i] + e[i]))
        bad += z[i] - z[i] != 0.0
    if wall.size:
        _into_box(out, new, lower, length, wall)
    return bad


@njit(cache=True, nogil=True, error_model="numpy")
def kick(velocity, force, dt):
    """velocity += dt force, in place."""
    v, f = velocity.reshape(-1), force.reshape(-1)
    for i in range(v.size):
        v[i] += dt * f[i]


@njit(cache=True, nogil=True, error_model="numpy")
def glide(x, velocity, dt, lower, length, wall, out):
    """out = x + dt velocity, straight on; velocities are mirrored at reflecting walls, in place."""
    a, v, z = x.reshape(-1), velocity.reshape(-1), out.reshape(-1)
    bad = 0
    for i in range(z.size):
        z[i] = a[i] + dt * v[i]
        bad += z[i] - z[i] != 0.0
    if wall.size:
        _into_box(out, velocity, lower, length, wall)
    return bad


@njit(cache=True, nogil=True, error_model="numpy")
def thermostat(velocity, keep, scale, noise):
    """velocity = keep velocity + scale ξ, in place."""
    v, c = velocity.reshape(-1), noise.reshape(-1)
    for i in range(v.size):
        v[i] = keep * v[i] + scale * c[i]


@njit(cache=True, nogil=True, error_model="numpy")
def metropolis(
    x, drift, log_p, noise, dt, scale, beta, place, drift_there, log_p_there, uniforms, lower, length, wall, out
):
    """Accept the proposals of `euler_maruyama`, or stay.

    `place`, `drift_there`, `log_p_there` are of the proposals and are overwritten where one is refused, so that they
    become those of the new positions; `out` (n,) are the probabilities of acceptance under p to the power beta. The
    way back is taken in the unfolded space, where a mirrored particle sees a mirrored drift; `noise` is as it was
    drawn.
    """
    n, d = x.shape
    for i in range(n):
        forth, back = 0.0, 0.0
        for k in range(d):
            move = dt * drift[i, k] + scale * noise[i, k]
            sign = _ONE
            if wall.size:
                _, sign = fold(x[i, k] + move, lower[k], length[k], wall[k])
            forth += noise[i, k] * noise[i, k]
            back += ((move + dt * sign * drift_there[i, k]) / scale) ** 2
        log_ratio = beta * (log_p_there[i] - log_p[i]) + 0.5 * (forth - back)
        # A nan is never accepted.
        out[i] = 1.0 if log_ratio >= 0.0 else np.exp(log_ratio) if log_ratio < 0.0 else 0.0
        if not uniforms[i] < out[i]:
            log_p_there[i] = log_p[i]
            for k in range(d):
                place[i, k], drift_there[i, k] = x[i, k], drift[i, k]
