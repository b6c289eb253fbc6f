"""Tridiagonal systems in O(n), open or closed to a ring."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True)
def solve(lower, diag, upper, rhs):
    """Solve lower_i x_(i-1) + diag_i x_i + upper_i x_(i+1) = rhs_i.

    All arrays are (n,); lower_0 and upper_(n-1) are unused. Elimination without exchange of rows, stable
    where the matrix is diagonally dominant by rows or by columns (an implicit step of a flow on a grid always
    is). Accuracy a few roundings times the condition number.

    >>> solve(np.array([0.0, -1.0]), np.array([2.0, 2.0]), np.array([-1.0, 0.0]), np.array([1.0, 1.0]))
    array([1., 1.])
    """
    n = diag.size
    ratio, x = np.empty(n), np.empty(n)
    pivot = diag[0]
    x[0] = rhs[0] / pivot
    for i in range(1, n):
        ratio[i] = upper[i - 1] / pivot
        pivot = diag[i] - lower[i] * ratio[i]
        x[i] = (rhs[i] - lower[i] * x[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        x[i] -= ratio[i + 1] * x[i + 1]
    return x


@njit(cache=True)
def solve_periodic(lower, diag, upper, rhs):
    """The same on a ring of n cells: lower_0 multiplies x_(n-1) and upper_(n-1) multiplies x_0.

    The last unknown is eliminated by hand (bordering), which needs no rank-one correction of the diagonal and
    so stays stable wherever `solve` is.

    >>> ones = np.ones(4)
    >>> solve_periodic(-ones, 3 * ones, -ones, ones)
    array([1., 1., 1., 1.])
    """
    n = diag.size
    x = np.empty(n)
    if n == 1:
        x[0] = rhs[0] / (lower[0] + diag[0] + upper[0])
        return x
    m = n - 1
    border = np.zeros(m)
    border[0] = lower[0]
    border[m - 1] += upper[m - 1]
    base = solve(lower[:m], diag[:m], upper[:m], rhs[:m])
    shift = solve(lower[:m], diag[:m], upper[:m], border)
    before, after = lower[m], upper[m]
    pivot = diag[m] - before * shift[m - 1] - after * shift[0]
    x[m] = (rhs[m] - before * base[m - 1] - after * base[0]) / pivot
    for i in range(m):
        x[i] = base[i] - shift[i] * x[m]
    return x


@njit(cache=True)
def solve_network(ground, faces, periodic, rhs, out):
    """Solve ground_i x_i + faces_i (x_i - x_(i-1)) + faces_(i+1) (x_i - x_(i+1)) = rhs_i into `out`.

    `ground`, `rhs`, `out` are (n,), `faces` (n+1,); the coefficients are not negative. On a ring the first
    and last face are one; else x = 0 outside. The elimination subtracts nothing (Grassmann, Taksar & Heyman,
    Oper. Res. 33 (1985) 1107): for rhs >= 0 every x_i has full relative accuracy, over any range of weights.
    A cell tied to nothing keeps what `out` holds.

    >>> x = np.empty(2)
    >>> solve_network(np.array([1e-300, 1.0]), np.array([0.0, 1e-200, 0.0]), False, np.array([0.0, 1.0]), x)
    >>> x
    array([1., 1.])
    """
    n = ground.size
    share, tie, pivot = np.zeros(n), np.zeros(n), np.zeros(n)
    own = ground.copy()
    load = rhs.copy()
    ring = periodic and n > 1
    if not periodic:
        own[0] += faces[0]
        own[n - 1] += faces[n]
    link = faces[0] if ring else 0.0
    for i in range(n - 1):
        step = faces[i + 1]
        if ring and i == n - 2:
            step, link = step + link, 0.0
        total = own[i] + step + link
        pivot[i] = total
        if total <= 0.0:
            link = 0.0
            continue
        share[i], tie[i] = step / total, link / total
        own[i + 1] += share[i] * own[i]
        load[i + 1] += share[i] * load[i]
        own[n - 1] += tie[i] * own[i]
        load[n - 1] += tie[i] * load[i]
        link *= share[i]
    if own[n - 1] > 0.0:
        out[n - 1] = load[n - 1] / own[n - 1]
    for i in range(n - 2, -1, -1):
        if pivot[i] > 0.0:
            out[i] = load[i] / pivot[i] + share[i] * out[i + 1] + tie[i] * out[n - 1]
