"""The Metropolis-adjusted Langevin algorithm for a share of the particles, as `kernels.langevin`."""

import numpy as np
from numba import njit

from wflow.kernels.lanes import widest
from wflow.kernels.langevin import add_parts, draw, euler, fold, into_box, put, room, take
from wflow.kernels.noise import BLOCK, block_uniforms
from wflow.kernels.sums import exp_block

STREAM = np.uint64(1)  # of the uniforms


@njit(cache=True, nogil=True, error_model="numpy")
def _ratios(slope, steep, noise, dt, scale, out):
    """out += half of |ξ|² - |ξ'|², ξ' being the noise that would lead back in free space."""
    widest()
    for axis in range(slope.shape[0]):
        b, c, xi = slope[axis], steep[axis], noise[axis]
        for i in range(BLOCK):
            back = (dt * b[i] + scale * xi[i] + dt * c[i]) / scale
            out[i] += 0.5 * (xi[i] * xi[i] - back * back)


@njit(cache=True, nogil=True, error_model="numpy")
def _ratios_folded(here, slope, steep, noise, dt, scale, lower, length, wall, out):
    """As `_ratios` with walls: in the unfolded space a mirrored particle sees a mirrored drift."""
    for axis in range(slope.shape[0]):
        for i in range(BLOCK):
            xi, move = noise[axis, i], dt * slope[axis, i] + scale * noise[axis, i]
            _, sign = fold(here[axis, i] + move, lower[axis], length[axis], wall[axis])
            back = (move + dt * sign * steep[axis, i]) / scale
            out[i] += 0.5 * (xi * xi - back * back)


@njit(cache=True, nogil=True, error_model="numpy")
def _choose(uniforms, chance, new, old):
    """old = new where it is accepted."""
    widest()
    for axis in range(old.shape[0]):
        a, b = new[axis], old[axis]
        for i in range(BLOCK):
            b[i] = a[i] if uniforms[i] < chance[i] else b[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _chances(log_p, log_q, beta, chance):
    """chance = min(1, exp(beta (log_q - log_p) + chance)), and as good as 0 where that is no number."""
    widest()
    for i in range(BLOCK):
        log_ratio = beta * (log_q[0, i] - log_p[0, i]) + chance[i]
        chance[i] = 0.0 if log_ratio >= 0.0 else log_ratio
    exp_block(chance, BLOCK, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _accept(here, ahead, slope, steep, log_p, log_q, noise, uniforms, dt, scale, beta, lower, length, wall, chance):
    """Move what is accepted to the proposals `ahead`, with its drift and log density; `chance` (BLOCK,) is left."""
    chance[:] = 0.0
    if wall.size:
        _ratios_folded(here, slope, steep, noise, dt, scale, lower, length, wall, chance)
    else:
        _ratios(slope, steep, noise, dt, scale, chance)
    _chances(log_p, log_q, beta, chance)
    _choose(uniforms, chance, ahead, here)
    _choose(uniforms, chance, steep, slope)
    _choose(uniforms, chance, log_q, log_p)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _total(chance, size):
    """The sum of the first `size` entries of a block, always in the order of the whole block; clears the others."""
    chance[size:] = 0.0
    total = 0.0
    for i in range(BLOCK):
        total += chance[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def metropolis(
    x, parts, laws, timed, times, dt, scales, betas, given, seed, step, start, lower, length, wall, out, chances
):
    """Steps of proposals x + h b + scale ξ, accepted with their probability under p to the power beta, or refused.

    As `langevin.overdamped`; `laws` are the parts of log p. `timed`: both depend on the time. `chances` (blocks, k) are
    the sums over each block of the probabilities of acceptance.
    """
    count, dim = x.shape
    words, noise, carried = np.empty((2, BLOCK), np.uint64), room(dim + dim % 2), room(dim)
    here, ahead, slope, steep = room(dim), room(dim), room(dim), room(dim)
    uniforms, chance, log_p, log_q = np.empty(BLOCK), np.empty(BLOCK), room(1), room(1)
    for low in range(0, count, BLOCK):
        rows = slice(low, min(low + BLOCK, count))
        take(x[rows], here)
        for k in range(times.size):
            if k == 0 or timed:
                add_parts(parts, here, times[k], slope)
                add_parts(laws, here, times[k], log_p)
            draw(given, seed, step + np.uint64(k), start, low, words, noise)
            block_uniforms(seed, step + np.uint64(k), STREAM, start + low, uniforms)
            ahead[:], carried[:] = here, noise[:dim]
            euler(ahead, slope, dt, scales[k], noise)
            into_box(ahead, carried, lower, length, wall)
            add_parts(parts, ahead, times[k], steep)
            add_parts(laws, ahead, times[k], log_q)
            _accept(
                here, ahead, slope, steep, log_p, log_q, noise, uniforms, dt, scales[k], betas[k], lower, length, wall,
                chance,
            )  # fmt: skip
            chances[low // BLOCK, k] = _total(chance, min(BLOCK, count - low))
        put(here, out[rows])


@njit(cache=True, nogil=True, error_model="numpy")
def decide(x, drift, log_p, ahead, drift_ahead, log_p_ahead, dt, scale, beta, given, seed, step, lower, length, wall):
    """The second half of one step, for proposals (m, d) whose drift and log density (m,) are given: they are
    overwritten where refused. Gives the sum of the probabilities of acceptance."""
    count, dim = x.shape
    words, noise, uniforms, chance = (
        np.empty((2, BLOCK), np.uint64),
        room(dim + dim % 2),
        np.empty(BLOCK),
        np.empty(BLOCK),
    )
    here, there, slope, steep = room(dim), room(dim), room(dim), room(dim)
    before, after, total = room(1), room(1), 0.0
    for low in range(0, count, BLOCK):
        size = min(BLOCK, count - low)
        rows = slice(low, low + size)
        take(x[rows], here)
        take(drift[rows], slope)
        take(ahead[rows], there)
        take(drift_ahead[rows], steep)
        take(log_p[rows].reshape(size, 1), before)
        take(log_p_ahead[rows].reshape(size, 1), after)
        draw(given, seed, step, 0, low, words, noise)
        block_uniforms(seed, step, STREAM, low, uniforms)
        _accept(
            here, there, slope, steep, before, after, noise, uniforms, dt, scale, beta, lower, length, wall,
            chance,
        )  # fmt: skip
        put(here, ahead[rows])
        put(slope, drift_ahead[rows])
        put(before, log_p_ahead[rows].reshape(size, 1))
        total += _total(chance, size)
    return total
