"""Eigenfunctions of a Gaussian kernel under a weighted cloud, from a kernel of low rank.

The Gram matrix of a Gaussian is smooth, so that a few rows hold it: K ≈ Zᵀ Z by a Cholesky factorisation with pivots
(Harbrecht, Peters & Schneider, Appl. Numer. Math. 62 (2012) 428), O(n r²) for r rows where a dense eigenproblem takes
O(n³). Its eigenfunctions under weights w are those of the small matrix Z diag(w) Zᵀ, which is made tridiagonal by
loops of our own: LAPACK does it by BLAS, whose threads meet at every column.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal, solve_triangular

from wflow.estimators.cloud import Array
from wflow.kernels import lowrank

EXACT = 1e-11  # of the diagonal: what no row adds to any more
LEAST = 1e-9  # of the largest eigenvalue: below, an eigenfunction is rounding
MOST = 500  # rows


@dataclass(frozen=True, eq=False)
class Features:
    """Rows Z (r, n), and for gradients the kernel C (r, n) at r points P (r, d), Z = L⁻¹ C, L (r, r), of points (n,
    d)."""

    points: Array
    rows: Array
    pivots: Array
    kernel: Array
    factor: Array

    def products(self, weights: Array, held: slice = slice(None)) -> Array:
        """Z diag(w) Zᵀ over some of the samples."""
        return lowrank.products(np.ascontiguousarray(self.rows[:, held]), np.ascontiguousarray(weights[held]))

    def pulls(self, weights: Array, held: slice = slice(None)) -> Array:
        """Σ wᵢ ∇k(xᵢ, P) over some of the samples, (r, d)."""
        part, w = self.kernel[:, held], weights[held]
        return self.pivots * (part @ w)[:, None] - part @ (w[:, None] * self.points[held])

    def series(self, products: Array, pulls: Array, keep: float, blend: float = 1.0) -> tuple[Array, Array]:
        """The score Σ βⱼ ψⱼ as a combination of rows of Z, and of C, (r, d) both, with the eigenfunctions ψⱼ that hold
        the share `keep` of the trace, of sums over weights of sum 1; with a `blend` above 1 the mean over what is left
        out, 1 - keep, from 1/blend to `blend` times as much, which is continuous in the cloud."""
        missing = (1.0 - keep) / blend
        eigenvalues, vectors = _leading(products, 1.0 - missing)
        # ψⱼ = uⱼ · z/√λⱼ, so that Σ βⱼ ψⱼ = -z · Σⱼ uⱼ (uⱼ · E[∇z])/λⱼ.
        slopes = _solved(self.factor, pulls, lower=True)
        shares = _within(eigenvalues, missing, blend) if blend > 1.0 else 1.0
        along = -vectors.T @ ((vectors @ slopes) * (shares / eigenvalues)[:, None])
        return along, _solved(self.factor.T, along, lower=False)

    def score(self, along: Array) -> Array:
        """Of all samples, (n, d)."""
        return self.rows.T @ along

    def divergence(self, through: Array, held: slice) -> Array:
        """∇·s at some of the samples from the combination of C."""
        part, x = self.kernel[:, held], self.points[held]
        return part.T @ np.sum(self.pivots * through, axis=1) - np.sum(x * (part.T @ through), axis=1)


def features(points: Array) -> Features:
    """Of exp(-|x - y|²/2) at points (n, d)."""
    rows, chosen = lowrank.pivoted(np.ascontiguousarray(points.T), MOST, EXACT)
    factor = np.ascontiguousarray(rows[:, chosen].T)
    pivots = points[chosen]
    squares = np.sum(pivots**2, axis=1)[:, None] + np.sum(points**2, axis=1) - 2.0 * pivots @ points.T
    return Features(points, rows, pivots, np.exp(-0.5 * np.maximum(squares, 0.0)), factor)


def _leading(products: Array, keep: float) -> tuple[Array, Array]:
    """Eigenvalues (J,), the largest first, and eigenvectors (J, r) that hold a share of the trace, which is 1."""
    diagonal, beside, reflectors = lowrank.tridiagonal(products.copy())
    eigenvalues = eigvalsh_tridiagonal(diagonal, beside, check_finite=False)[::-1]
    sound = max(1, int(np.count_nonzero(eigenvalues > LEAST * eigenvalues[0])))
    count = min(int(np.searchsorted(np.cumsum(eigenvalues[:sound]), keep)) + 1, sound)
    ends = (len(diagonal) - count, len(diagonal) - 1)
    found, inner = eigh_tridiagonal(diagonal, beside, select="i", select_range=ends, check_finite=False)
    vectors = np.ascontiguousarray(inner.T[::-1])
    lowrank.turned(reflectors, vectors)
    return found[::-1], vectors


def _within(eigenvalues: Array, missing: float, blend: float) -> Array:
    """Of the limits on a logarithmic scale from `missing` to blend² times that the share at which each eigenfunction is
    taken: where more than the limit is missing before it."""
    tail = np.maximum(1.0 - (np.cumsum(eigenvalues) - eigenvalues), missing)
    return np.minimum(np.log(tail / missing) / (2.0 * np.log(blend)), 1.0)


def _solved(factor: Array, columns: Array, lower: bool) -> Array:
    """Column by column: of several at once the threads of BLAS take hold, for matrices of any size."""
    each = [solve_triangular(factor, column, lower=lower, check_finite=False) for column in columns.T]
    return np.stack(each, axis=1)
