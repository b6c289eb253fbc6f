"""The operator (M w)_i = diag_i w_i + sum over the faces f of cell i of k_f (w_i - w_j), on a box of cells.

Arrays are always three-dimensional, (nx, ny, nz); a grid of fewer dimensions has leading axes of length one.
The face coefficients are `kx (nx+1, ny, nz)`, `ky (nx, ny+1, nz)`, `kz (nx, ny, nz+1)`: entry i is the lower
face of cell i. Outside a wall w is 0. On a periodic axis the first and the last face are one face, and both
entries hold its coefficient. `wrap` holds one bool per axis. Weights may span the whole range of float64:
nothing here subtracts two of them.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def _ends(i, n, wrap):
    """Neighbours of cell i on an axis, and 1 or 0 for whether they are there."""
    around = 1.0 if wrap and n > 1 else 0.0
    below = i - 1 if i > 0 else n - 1
    above = i + 1 if i < n - 1 else 0
    return below, above, (1.0 if i > 0 else around), (1.0 if i < n - 1 else around)


@njit(cache=True)
def _pull(lower, upper, below, above, has_below, has_above, out):
    """out_k += k_f w_j over two opposite faces, for a row of cells."""
    for k in range(out.size):
        out[k] += has_below * (lower[k] * below[k]) + has_above * (upper[k] * above[k])


@njit(cache=True)
def _flow(lower, upper, below, above, has_below, has_above, here, out):
    """out_k += k_f (w_i - w_j) over two opposite faces: differences first, so that a constant gives exactly
    0.
    """
    for k in range(out.size):
        out[k] += lower[k] * (here[k] - has_below * below[k]) + upper[k] * (here[k] - has_above * above[k])


@njit(cache=True)
def _pull_row(kx, ky, b, wrap, w, i, j, row):
    """row_k = b_i + sum of k_f w_j over the faces to other rows: a row is a loop over plain arrays, or it is
    slow.
    """
    row[:] = b[i, j]
    below, above, has_below, has_above = _ends(j, w.shape[1], wrap[1])
    _pull(ky[i, j], ky[i, j + 1], w[i, below], w[i, above], has_below, has_above, row)
    if w.shape[0] > 1 or not wrap[0]:
        below, above, has_below, has_above = _ends(i, w.shape[0], wrap[0])
        _pull(kx[i, j], kx[i + 1, j], w[below, j], w[above, j], has_below, has_above, row)


@njit(cache=True)
def _flow_row(kx, ky, kz, wrap, w, i, j, row):
    """row_k = sum over all faces of k_f (w_i - w_j)."""
    nz = w.shape[2]
    here, faces = w[i, j], kz[i, j]
    for k in range(1, nz - 1):
        row[k] = faces[k] * (here[k] - here[k - 1]) + faces[k + 1] * (here[k] - here[k + 1])
    for k in (0, nz - 1):
        below, above, has_below, has_above = _ends(k, nz, wrap[2])
        flow = faces[k] * (here[k] - has_below * here[below]) + faces[k + 1] * (here[k] - has_above * here[above])
        row[k] = 0.0 if wrap[2] and nz == 1 else flow
    below, above, has_below, has_above = _ends(j, w.shape[1], wrap[1])
    if w.shape[1] > 1 or not wrap[1]:
        _flow(ky[i, j], ky[i, j + 1], w[i, below], w[i, above], has_below, has_above, here, row)
    if w.shape[0] > 1 or not wrap[0]:
        below, above, has_below, has_above = _ends(i, w.shape[0], wrap[0])
        _flow(kx[i, j], kx[i + 1, j], w[below, j], w[above, j], has_below, has_above, here, row)


@njit(cache=True)
def diagonal(diag, kx, ky, kz, wrap, out):
    """Full diagonal of M: diag plus all faces of the cell."""
    nx, ny, nz = diag.shape
    fx = 0.0 if wrap[0] and nx == 1 else 1.0
    fy = 0.0 if wrap[1] and ny == 1 else 1.0
    fz = 0.0 if wrap[2] and nz == 1 else 1.0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                across = fx * (kx[i, j, k] + kx[i + 1, j, k]) + fy * (ky[i, j, k] + ky[i, j + 1, k])
                out[i, j, k] = diag[i, j, k] + across + fz * (kz[i, j, k] + kz[i, j, k + 1])


@njit(cache=True)
def reciprocal(full, out):
    """1/full, and 0 where that would overflow: such cells hold nothing and are left out."""
    a, b = full.ravel(), out.ravel()
    for i in range(a.size):
        b[i] = 1.0 / a[i] if a[i] > 1e-307 else 0.0


@njit(cache=True)
def apply(diag, kx, ky, kz, wrap, w, out):
    """out = M w, and the return value is w . M w."""
    total = 0.0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            row = out[i, j]
            _flow_row(kx, ky, kz, wrap, w, i, j, row)
            for k in range(w.shape[2]):
                row[k] += diag[i, j, k] * w[i, j, k]
                total += row[k] * w[i, j, k]
    return total


@njit(cache=True)
def line_factors(diag, kx, ky, kz, wrap, inverse, share):
    """Eliminate every row of cells along the last axis, the other rows held fixed.

    `inverse` gets the reciprocal pivots, `share` the part of a load handed on to the next cell. The pivots
    are sums of what ties a cell to the ground and to the next one; differences would lose them where weights
    fall fast.
    """
    nx, ny, nz = diag.shape
    fx = 0.0 if wrap[0] and nx == 1 else 1.0
    fy = 0.0 if wrap[1] and ny == 1 else 1.0
    fz = 0.0 if wrap[2] and nz == 1 else 1.0
    for i in range(nx):
        for j in range(ny):
            handed = fz * kz[i, j, 0]
            for k in range(nz):
                across = fx * (kx[i, j, k] + kx[i + 1, j, k]) + fy * (ky[i, j, k] + ky[i, j + 1, k])
                ground = diag[i, j, k] + across + handed
                face = fz * kz[i, j, k + 1]
                pivot = ground + face
                inverse[i, j, k] = 1.0 / pivot if pivot > 1e-307 else 0.0
                share[i, j, k] = face * inverse[i, j, k] if k < nz - 1 else 0.0
                handed = share[i, j, k] * ground


@njit(cache=True)
def _line(inverse, share, row, here):
    """Solve one row for its load `row`, which is used up."""
    n = here.size
    for k in range(1, n):
        row[k] += share[k - 1] * row[k - 1]
    here[n - 1] = inverse[n - 1] * row[n - 1]
    for k in range(n - 2, -1, -1):
        here[k] = inverse[k] * row[k] + share[k] * here[k + 1]


@njit(cache=True)
def _sweep_row(inverse, share, kx, ky, kz, wrap, b, w, i, j, row):
    nz = w.shape[2]
    _pull_row(kx, ky, b, wrap, w, i, j, row)
    if wrap[2] and nz > 1:
        row[0] += kz[i, j, 0] * w[i, j, nz - 1]
        row[nz - 1] += kz[i, j, nz] * w[i, j, 0]
    _line(inverse[i, j], share[i, j], row, w[i, j])


@njit(cache=True)
def sweep(inverse, share, kx, ky, kz, wrap, b, w, down):
    """Gauss-Seidel in place, row by row, every plane of the first axis both ways.

    The planes go in rising or, with `down`, in falling order; the two are adjoint to each other.
    """
    nx, ny, nz = w.shape
    row = np.empty(nz)
    for step in range(nx):
        i = nx - 1 - step if down else step
        for j in range(ny):
            _sweep_row(inverse, share, kx, ky, kz, wrap, b, w, i, j, row)
        for j in range(ny - 1, -1, -1):
            _sweep_row(inverse, share, kx, ky, kz, wrap, b, w, i, j, row)


@njit(cache=True)
def _gather(b, diag, w, row, parent, out):
    for k in range(row.size):
        out[parent[k]] += b[k] - diag[k] * w[k] - row[k]


@njit(cache=True)
def restrict_residual(diag, kx, ky, kz, wrap, b, w, parents, out):
    """out = sum over the children of a coarse cell of b - M w."""
    out[:] = 0.0
    row = np.empty(w.shape[2])
    px, py, pz = parents
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            _flow_row(kx, ky, kz, wrap, w, i, j, row)
            _gather(b[i, j], diag[i, j], w[i, j], row, pz, out[px[i], py[j]])


@njit(cache=True)
def prolong_add(coarse, parents, w):
    """w += the value of the coarse cell a cell lies in."""
    px, py, pz = parents
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            row, here = coarse[px[i], py[j]], w[i, j]
            for k in range(here.size):
                here[k] += row[pz[k]]


@njit(cache=True)
def accumulate(fine, parents, factors, out):
    """out[parent] += factors * fine, axis by axis; entries with a negative parent are left out."""
    out[:] = 0.0
    px, py, pz = parents
    fx, fy, fz = factors
    for i in range(fine.shape[0]):
        if px[i] < 0:
            continue
        for j in range(fine.shape[1]):
            if py[j] < 0:
                continue
            factor = fx[i] * fy[j]
            for k in range(fine.shape[2]):
                if pz[k] >= 0:
                    out[px[i], py[j], pz[k]] += factor * fz[k] * fine[i, j, k]


@njit(cache=True)
def _join(off, a, b, value):
    off[a, b] += value
    off[b, a] += value


@njit(cache=True)
def dense(kx, ky, kz, wrap, shape, off):
    """off_ab = sum of the faces between the cells a and b, cells in C order."""
    nx, ny, nz = shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                a = (i * ny + j) * nz + k
                if nx > 1 and (i < nx - 1 or wrap[0]):
                    _join(off, a, ((i + 1) % nx * ny + j) * nz + k, kx[i + 1, j, k])
                if ny > 1 and (j < ny - 1 or wrap[1]):
                    _join(off, a, (i * ny + (j + 1) % ny) * nz + k, ky[i, j + 1, k])
                if nz > 1 and (k < nz - 1 or wrap[2]):
                    _join(off, a, (i * ny + j) * nz + (k + 1) % nz, kz[i, j, k + 1])


@njit(cache=True)
def grounds(diag, kx, ky, kz, wrap, out):
    """diag plus the faces to the outside."""
    nx, ny, nz = diag.shape
    out[:] = diag
    if not wrap[1]:
        out[:, 0] += ky[:, 0]
        out[:, ny - 1] += ky[:, ny]
    if not wrap[2]:
        out[:, :, 0] += kz[:, :, 0]
        out[:, :, nz - 1] += kz[:, :, nz]
    if not wrap[0]:
        out[0] += kx[0]
        out[nx - 1] += kx[nx]


@njit(cache=True)
def factor(off, ground, pivot):
    """Eliminate in place the network with conductances `off` (n, n) and `ground` (n,) to the ground.

    Row i of `off` right of the diagonal becomes the multipliers, `pivot` the reciprocal pivots (0 for a cell
    tied to nothing). No subtraction, so every entry keeps its relative accuracy: Grassmann, Taksar & Heyman,
    Oper. Res. 33 (1985) 1107.
    """
    n = ground.size
    for i in range(n):
        total = ground[i]
        for j in range(i + 1, n):
            total += off[i, j]
        pivot[i] = 1.0 / total if total > 1e-307 else 0.0
        for j in range(i + 1, n):
            share = off[i, j] * pivot[i]
            if share > 0.0:
                ground[j] += share * ground[i]
                for k in range(i + 1, n):
                    off[j, k] += share * off[i, k]
        for j in range(i + 1, n):
            off[i, j] *= pivot[i]


@njit(cache=True)
def solve_factored(off, pivot, b, x):
    """Solve with the factors; flat arrays of n."""
    n = pivot.size
    x[:] = b
    for i in range(n):
        for j in range(i + 1, n):
            x[j] += off[i, j] * x[i]
    for i in range(n - 1, -1, -1):
        x[i] *= pivot[i]
        for j in range(i + 1, n):
            x[i] += off[i, j] * x[j]
