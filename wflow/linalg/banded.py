"""Symmetric tridiagonal systems that may fail to be positive, and descent by conjugate gradients that stop there."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, solveh_banded

from wflow.arrays import Array

Map = Callable[[Array], Array]


def solve_positive(diag: Array, off: Array, rhs: Array) -> Array | None:
    """x with diag_i x_i + off_(i-1) x_(i-1) + off_i x_(i+1) = rhs_i, or None where the matrix is not positive.

    Rows are scaled to a diagonal of one first, so that digits are kept over any range of weights.

    >>> solve_positive(np.array([2.0, 2e-200]), np.array([0.0]), np.array([2.0, 2e-200]))
    array([1., 1.])
    """
    if not (np.all(diag > 0.0) and np.all(np.isfinite(off))):
        return None
    scale = 1.0 / np.sqrt(diag)
    bands = np.zeros((2, diag.size))
    bands[0, 1:] = off * scale[:-1] * scale[1:]
    bands[1] = 1.0
    try:
        return scale * np.asarray(solveh_banded(bands, scale * rhs, check_finite=False))
    except LinAlgError:
        return None


def descent(product: Map, precondition: Map, slope: Array, rtol: float, most: int = 200) -> tuple[Array, int]:
    """An approximate -H⁻¹ slope by preconditioned conjugate gradients: (direction, products).

    Stops at a residual of `rtol` in the norm of the preconditioner, or where H is not positive along a direction
    (Steihaug, SIAM J. Numer. Anal. 20 (1983) 626); always a direction of descent.
    """
    residual = -slope
    z = precondition(residual)
    total, ahead = np.zeros_like(slope), z
    size = first = float(np.vdot(residual, z))
    for count in range(1, most + 1):
        image = product(ahead)
        curvature = float(np.vdot(ahead, image))
        if not curvature > 0.0:
            return (ahead if count == 1 else total), count
        total = total + (size / curvature) * ahead
        residual = residual - (size / curvature) * image
        z = precondition(residual)
        before, size = size, float(np.vdot(residual, z))
        if not size > rtol**2 * first:
            return total, count
        ahead = z + (size / before) * ahead
    return total, most
