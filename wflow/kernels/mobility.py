"""What other terms add to the two-point flux of a filtration, along one axis of a box.

With S = φ'(u) and P = Φ(u) of a divergence and η the first variation of everything else, mass moves by q ∇(S + η). The
filtration's own flux is k ΔP, k = p/h² at the face; beside it stands q* Δη with

    q* = c + ρ² (q↑/h² - c),   c = k ΔP/ΔS,   ρ = |ΔS + Δη|/(|ΔS| + |Δη|).

c is the mean of q that obeys the chain rule, so that the flux is c Δ(S + η), and nothing, where both balance. It goes
to zero with u on either side, as it must where S is infinite; but what η carries into a vacuum is q↑, upwind. Where the
two oppose and S is the stronger, no more than c is carried, so that the flux has the sign of Δ(S + η): energy falls.
"""

import numpy as np
from numba import njit

from wflow.kernels.upwind import carried

ALIKE = 1e-5  # of u: closer values have their arithmetic mean, equal to c/k up to the square of this
STEP = 1e-7  # the largest relative change of a difference


@njit(cache=True)
def _flux(below, left, right, above, k, drift, spacing, walled):
    """Into the left cell, over h. Each cell is (q, u, S, P, η)."""
    out, push = 0.0, right[4] - left[4]
    if push != 0.0:
        pull, chain, share = right[2] - left[2], 0.0, 1.0
        if np.isfinite(pull):
            alike = abs(right[1] - left[1]) <= ALIKE * (right[1] + left[1])
            chain = 0.5 * k * (left[1] + right[1]) if alike or pull == 0.0 else k * (right[3] - left[3]) / pull
            share = abs(pull + push) / (abs(pull) + abs(push))
        upwind = carried(below[0], left[0], right[0], above[0], push < 0.0, walled) / spacing**2
        if push * pull < 0.0 and abs(pull) > abs(push):
            upwind = min(upwind, chain)
        out += push * (chain + share**2 * (upwind - chain))
    if drift != 0.0:
        out -= drift / spacing * carried(below[0], left[0], right[0], above[0], drift > 0.0, walled)
    return out


@njit(cache=True)
def _cell(fields, slopes, step, a, i, b):
    return (
        fields[0, a, i, b] + step * slopes[0, a, i, b],
        fields[1, a, i, b] + step * slopes[1, a, i, b],
        fields[2, a, i, b] + step * slopes[2, a, i, b],
        fields[3, a, i, b] + step * slopes[3, a, i, b],
        fields[4, a, i, b] + step * slopes[4, a, i, b],
    )


@njit(cache=True)
def add_flux(fields, faces, drift, spacing, periodic, out):
    """out += the divergence of q* ∇η - q b, from cells (5, pre, n, post) of q, u, S, P and η, and p/h² and b at n + 1
    faces."""
    _, pre, n, post = fields.shape
    for a in range(pre):
        for f in range(0 if periodic else 1, n):
            i, j = (f - 1) % n, f
            ends = (i - 1) % n, (j + 1) % n
            walled = (i == 0 and not periodic, j == n - 1 and not periodic)
            for b in range(post):
                below, left = _cell(fields, fields, 0.0, a, ends[0], b), _cell(fields, fields, 0.0, a, i, b)
                right, above = _cell(fields, fields, 0.0, a, j, b), _cell(fields, fields, 0.0, a, ends[1], b)
                flux = _flux(below, left, right, above, faces[a, f, b], drift[a, f, b], spacing, walled)
                out[a, i, b] += flux
                out[a, j, b] -= flux


@njit(cache=True)
def add_change(fields, slopes, relative, faces, drift, spacing, periodic, out):
    """out += the derivative of `add_flux` in the direction `slopes` of the cells, in which q changes by q · `relative`.

    By a difference at each face of its own, as long as the four cells that it sees allow: one for all would say nothing
    of cells whose q is 1e-20 of others'.
    """
    _, pre, n, post = fields.shape
    for a in range(pre):
        for f in range(0 if periodic else 1, n):
            i, j = (f - 1) % n, f
            ends = (i - 1) % n, (j + 1) % n
            walled = (i == 0 and not periodic, j == n - 1 and not periodic)
            for b in range(post):
                change = max(abs(relative[a, ends[0], b]), abs(relative[a, i, b]))
                change = max(change, abs(relative[a, j, b]), abs(relative[a, ends[1], b]))
                push = abs(slopes[4, a, j, b] - slopes[4, a, i, b])
                size = abs(fields[4, a, j, b] - fields[4, a, i, b])
                change = max(change, push / size if size > 0.0 else push)
                if not 0.0 < change < np.inf:
                    continue
                step = STEP / change
                k, speed = faces[a, f, b], drift[a, f, b]
                difference = 0.0
                for sign in (1.0, -1.0):
                    below = _cell(fields, slopes, sign * step, a, ends[0], b)
                    left = _cell(fields, slopes, sign * step, a, i, b)
                    right = _cell(fields, slopes, sign * step, a, j, b)
                    above = _cell(fields, slopes, sign * step, a, ends[1], b)
                    difference += sign * _flux(below, left, right, above, k, speed, spacing, walled)
                flux = 0.5 * difference / step
                out[a, i, b] += flux
                out[a, j, b] -= flux
