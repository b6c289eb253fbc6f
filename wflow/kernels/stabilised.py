"""Stages of the stabilised Runge–Kutta–Legendre method, fused: one pass over the cells a stage, no temporaries.

Arrays are three-dimensional as in `stencil`; the first axis of a 1-D or 2-D grid has one cell and is skipped. Work
is cut into rows along the last two axes, and no sum crosses a row, so that threads do not change a bit.
"""

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def _row_rate(w, kx, ky, kz, wrap, i, j, out):
    """out = Σ_f k_f (w_neighbour - w) along one row of cells; outside a wall w is 0."""
    nx, ny, nz = w.shape
    here = w[i, j]
    low, high = ky[i, j], ky[i, j + 1]
    below = w[i, j - 1 if j > 0 else ny - 1]
    above = w[i, j + 1 if j < ny - 1 else 0]
    down = 1.0 if j > 0 or wrap[1] else 0.0
    up = 1.0 if j < ny - 1 or wrap[1] else 0.0
    for k in range(nz):
        out[k] = low[k] * (down * below[k] - here[k]) + high[k] * (up * above[k] - here[k])
    if nx > 1 or not wrap[0]:
        low, high = kx[i, j], kx[i + 1, j]
        below = w[i - 1 if i > 0 else nx - 1, j]
        above = w[i + 1 if i < nx - 1 else 0, j]
        down = 1.0 if i > 0 or wrap[0] else 0.0
        up = 1.0 if i < nx - 1 or wrap[0] else 0.0
        for k in range(nz):
            out[k] += low[k] * (down * below[k] - here[k]) + high[k] * (up * above[k] - here[k])
    row = kz[i, j]
    for k in range(1, nz - 1):
        out[k] += row[k] * (here[k - 1] - here[k]) + row[k + 1] * (here[k + 1] - here[k])
    first = here[nz - 1] if wrap[2] else 0.0
    last = here[0] if wrap[2] else 0.0
    out[0] += row[0] * (first - here[0]) + row[1] * ((here[1] if nz > 1 else last) - here[0])
    if nz > 1:
        out[nz - 1] += row[nz - 1] * (here[nz - 2] - here[nz - 1]) + row[nz] * (last - here[nz - 1])


@njit(cache=True, inline="always")
def _row_stage(w, kx, ky, kz, wrap, inverse, prev, before, start, first, weights, i, j, out):
    """One row of out = μ prev + ν before + (1 - μ - ν) start + μ̃ (rate of w)/p + γ̃ first."""
    mu, nu, mu_rate, gamma = weights
    rest = 1.0 - mu - nu
    row = np.empty(w.shape[2])
    _row_rate(w, kx, ky, kz, wrap, i, j, row)
    a, b, c, d, inv, target = prev[i, j], before[i, j], start[i, j], first[i, j], inverse[i, j], out[i, j]
    for k in range(row.size):
        target[k] = mu * a[k] + nu * b[k] + rest * c[k] + mu_rate * (inv[k] * row[k]) + gamma * d[k]


@njit(cache=True)
def rate_serial(w, kx, ky, kz, wrap, inverse, out):
    """out = (Σ_f k_f (w_neighbour - w))/p."""
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            row = out[i, j]
            _row_rate(w, kx, ky, kz, wrap, i, j, row)
            for k in range(row.size):
                row[k] *= inverse[i, j, k]


@njit(cache=True)
def stage_serial(w, kx, ky, kz, wrap, inverse, prev, before, start, first, weights, out):
    """One stage; `weights` are (μ, ν, μ̃, γ̃), the last two times the step."""
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            _row_stage(w, kx, ky, kz, wrap, inverse, prev, before, start, first, weights, i, j, out)


@njit(cache=True, parallel=True)
def stage_parallel(w, kx, ky, kz, wrap, inverse, prev, before, start, first, weights, out):
    """The same on all threads."""
    ny = w.shape[1]
    for r in prange(w.shape[0] * ny):
        _row_stage(w, kx, ky, kz, wrap, inverse, prev, before, start, first, weights, r // ny, r % ny, out)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def stage_flat(prev, before, start, rate, first, weights, out):
    """The same for flat arrays and a rate that is known."""
    mu, nu, mu_rate, gamma = weights
    rest = 1.0 - mu - nu
    for k in range(out.size):
        out[k] = mu * prev[k] + nu * before[k] + rest * start[k] + mu_rate * rate[k] + gamma * first[k]
