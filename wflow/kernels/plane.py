"""The envelope min over y of ½ Σ κₐ (yₐ - xₐ)² + ξ(y) on the cells of a rectangle, and mass carried to its minima.

Positions are in units of cells, centres at k + ½; ξ is a cubic spline whose coefficients stand in the cells, even
about the walls. Shapes: coefficients and masses (n, m); minima `to` (n, m, 2); inverse Hessians (n, m, 3), entries 00,
01 and 11.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def line_envelope(values, kappa, low, arg, hull, ends):
    """low_x = min over j of values_j + κ/2 (x - j)² and the j: the parabolas' lower envelope, O(n).

    Felzenszwalb & Huttenlocher, Theory of Computing 8 (2012) 415. `hull` (n,) and `ends` (n + 1,) are scratch.
    """
    n, k = values.size, 0
    hull[0], ends[0], ends[1] = 0, -np.inf, np.inf
    for q in range(1, n):
        while True:
            p = hull[k]
            s = (values[q] - values[p]) / (kappa * (q - p)) + 0.5 * (q + p)
            if s > ends[k] or k == 0:
                break
            k -= 1
        if s <= ends[k]:
            hull[k], ends[k + 1] = q, np.inf
            continue
        k += 1
        hull[k], ends[k], ends[k + 1] = q, s, np.inf
    k = 0
    for x in range(n):
        while ends[k + 1] < x:
            k += 1
        j = hull[k]
        arg[x], low[x] = j, values[j] + 0.5 * kappa * (x - j) ** 2


@njit(cache=True)
def envelope(values, kappa, to):
    """The cell of the minimum over all cells, its centre into `to`."""
    n, m = values.shape
    rows, second = np.empty((n, m)), np.empty((n, m), np.int64)
    size = max(n, m)
    hull, ends = np.empty(size, np.int64), np.empty(size + 1)
    for i in range(n):
        line_envelope(values[i], kappa[1], rows[i], second[i], hull, ends)
    column, low, arg = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for j in range(m):
        column[:] = rows[:, j]
        line_envelope(column, kappa[0], low, arg, hull, ends)
        for i in range(n):
            to[i, j, 0] = arg[i] + 0.5
            to[i, j, 1] = second[arg[i], j] + 0.5


@njit(cache=True)
def place(y):
    """The cell whose centre is the last below y, and how far y lies beyond it."""
    cell = int(math.floor(y - 0.5))
    return cell, y - 0.5 - cell


@njit(cache=True)
def splines(t):
    """The four cubic splines that reach a place t between two centres, and their slopes."""
    s, third = 1.0 - t, 1.0 / 6.0
    values = (third * s * s * s, third * (4.0 - 3.0 * t * t * (2.0 - t)), third * (4.0 - 3.0 * s * s * (2.0 - s)))
    slopes = (-0.5 * s * s, 0.5 * t * (3.0 * t - 4.0), -0.5 * s * (3.0 * s - 4.0), 0.5 * t * t)
    return (values[0], values[1], values[2], third * t * t * t), slopes


@njit(cache=True)
def near(cell, n):
    """The four cells about a place, those beyond a wall mirrored."""
    return (mirror(cell - 1, n), mirror(cell, n), mirror(cell + 1, n), mirror(cell + 2, n))


@njit(cache=True)
def mirror(k, n):
    """A cell index reflected at the walls."""
    if k < 0:
        k = -1 - k
    if k >= n:
        k = 2 * n - 1 - k
    return min(max(k, 0), n - 1)


@njit(cache=True)
def spline(c, y0, y1):
    """ξ, its gradient and its Hessian (00, 01, 11) at a position."""
    n, m = c.shape
    i, t0 = place(y0)
    j, t1 = place(y1)
    b0, d0 = splines(t0)
    b1, d1 = splines(t1)
    e0, e1 = (1.0 - t0, 3.0 * t0 - 2.0, 1.0 - 3.0 * t0, t0), (1.0 - t1, 3.0 * t1 - 2.0, 1.0 - 3.0 * t1, t1)
    rows, columns = near(i, n), near(j, m)
    f, g0, g1, h00, h01, h11 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for a in range(4):
        v, d, e = 0.0, 0.0, 0.0
        for b in range(4):
            here = c[rows[a], columns[b]]
            v += here * b1[b]
            d += here * d1[b]
            e += here * e1[b]
        f += b0[a] * v
        g0 += d0[a] * v
        g1 += b0[a] * d
        h00 += e0[a] * v
        h01 += d0[a] * d
        h11 += b0[a] * e
    return f, g0, g1, h00, h01, h11


@njit(cache=True)
def minima(c, kappa, mass, to, value, inverse):
    """From cells of the envelope to its minima: Newton's method at every cell that has mass.

    `value` gets the envelope, `inverse` the inverse of κ + D²ξ at the minimum; along an axis on which a wall holds the
    minimum it is zero.
    """
    n, m = c.shape
    for i in range(n):
        for j in range(m):
            if mass[i, j] == 0.0:
                continue
            x0, x1, y0, y1 = i + 0.5, j + 0.5, to[i, j, 0], to[i, j, 1]
            f, g0, g1, h00, h01, h11 = spline(c, y0, y1)
            best = f + 0.5 * kappa[0] * (y0 - x0) ** 2 + 0.5 * kappa[1] * (y1 - x1) ** 2
            for _ in range(30):
                r0, r1 = g0 + kappa[0] * (y0 - x0), g1 + kappa[1] * (y1 - x1)
                a00, a01, a11 = max(h00 + kappa[0], 1e-3 * kappa[0]), h01, max(h11 + kappa[1], 1e-3 * kappa[1])
                held0 = (y0 <= 0.0 and r0 > 0.0) or (y0 >= n and r0 < 0.0)
                held1 = (y1 <= 0.0 and r1 > 0.0) or (y1 >= m and r1 < 0.0)
                if a00 * a11 - a01 * a01 <= 1e-6 * a00 * a11:
                    a01 = 0.0
                if held0 or held1:
                    a01 = 0.0
                det = a00 * a11 - a01 * a01
                s0 = 0.0 if held0 else -(a11 * r0 - a01 * r1) / det
                s1 = 0.0 if held1 else -(a00 * r1 - a01 * r0) / det
                inverse[i, j, 0] = 0.0 if held0 else a11 / det
                inverse[i, j, 1] = -a01 / det
                inverse[i, j, 2] = 0.0 if held1 else a00 / det
                if abs(s0) + abs(s1) <= 1e-13 * (n + m):
                    break
                length, moved = 1.0, False
                for _ in range(12):
                    t0, t1 = min(max(y0 + length * s0, 0.0), float(n)), min(max(y1 + length * s1, 0.0), float(m))
                    f, p0, p1, q00, q01, q11 = spline(c, t0, t1)
                    trial = f + 0.5 * kappa[0] * (t0 - x0) ** 2 + 0.5 * kappa[1] * (t1 - x1) ** 2
                    if trial <= best + 1e-15 * abs(best):
                        y0, y1, best, g0, g1, h00, h01, h11 = t0, t1, trial, p0, p1, q00, q01, q11
                        moved = True
                        break
                    length *= 0.5
                if not moved:
                    break
            to[i, j, 0], to[i, j, 1], value[i, j] = y0, y1, best


@njit(cache=True)
def deposit(mass, to, out):
    """Add each mass to the sixteen splines at its minimum."""
    n, m = out.shape
    for i in range(n):
        for j in range(m):
            if mass[i, j] == 0.0:
                continue
            k, t0 = place(to[i, j, 0])
            l, t1 = place(to[i, j, 1])
            b0, b1 = splines(t0)[0], splines(t1)[0]
            rows, columns = near(k, n), near(l, m)
            for a in range(4):
                for b in range(4):
                    out[rows[a], columns[b]] += mass[i, j] * b0[a] * b1[b]


@njit(cache=True)
def product(v, mass, to, inverse, out):
    """Add the Hessian of -Σ mass · envelope times v: Σ mass ∇Bᵀ (κ + D²ξ)⁻¹ ∇B v."""
    n, m = v.shape
    for i in range(n):
        for j in range(m):
            w = mass[i, j]
            if w == 0.0:
                continue
            k, t0 = place(to[i, j, 0])
            l, t1 = place(to[i, j, 1])
            b0, d0 = splines(t0)
            b1, d1 = splines(t1)
            rows, columns = near(k, n), near(l, m)
            g0, g1 = 0.0, 0.0
            for a in range(4):
                plain, slope = 0.0, 0.0
                for b in range(4):
                    here = v[rows[a], columns[b]]
                    plain += here * b1[b]
                    slope += here * d1[b]
                g0 += d0[a] * plain
                g1 += b0[a] * slope
            f0 = w * (inverse[i, j, 0] * g0 + inverse[i, j, 1] * g1)
            f1 = w * (inverse[i, j, 1] * g0 + inverse[i, j, 2] * g1)
            for a in range(4):
                left, right = f0 * d0[a], f1 * b0[a]
                for b in range(4):
                    out[rows[a], columns[b]] += left * b1[b] + right * d1[b]
