"""exp(-t H) z for a symmetric H ≥ 0 by Lanczos on its resolvent (1 + γ H)⁻¹.

Steps to an accuracy do not depend on the stiffness of H, unlike polynomial Krylov and Chebyshev methods, which need
sqrt(t |H|) of them. Source: van den Eshof & Hochbruck, SIAM J. Sci. Comput. 27 (2006) 1438.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from wflow.arrays import Array

# v to (1 + γ H)⁻¹ v, the iterations it took, and whether it converged.
Solver = Callable[[Array], tuple[Array, int, bool]]


@dataclass(frozen=True)
class Exponential:
    """exp(-t H) z, the Lanczos steps and the linear iterations inside them, the last change, convergence."""

    z: Array
    steps: int
    linear: int
    change: float
    converged: bool


def exponential(
    resolvent: Solver, z: Array, shift: float, time: float, size: Callable[[Array], float], tol: float, most: int = 120
) -> Exponential:
    """exp(-time · H) z, with the resolvent of `shift` · H.

    Converged when two further steps change the result by less than `tol` in the norm `size`, and every resolvent did.
    Memory: one vector a step.
    """
    largest = float(np.abs(z).max())
    if largest == 0.0:
        return Exponential(z, 0, 0, 0.0, True)
    norm = largest * float(np.linalg.norm(z / largest))  # squares of little mass underflow
    basis, diagonal, off = [z / norm], np.zeros(most), np.zeros(most)
    before, linear, change = z, 0, np.inf
    for m in range(1, most + 1):
        w, count, solved = resolvent(basis[-1])
        linear += count
        if not solved:
            return Exponential(before, m, linear, change, False)
        diagonal[m - 1] = float(np.vdot(basis[-1], w))
        # Against the whole basis, which is short, and twice: once leaves rounding, and where nothing else is left of w
        # that would be taken for a direction.
        for v in (*basis, *basis):
            w = w - float(np.vdot(v, w)) * v
        off[m - 1] = float(np.linalg.norm(w))
        last = off[m - 1] <= 1e-14
        if m % 2 == 0 or last:
            here = _combine(basis, diagonal[:m], off[: m - 1], shift, time, norm)
            change, before = size(here - before), here
            if change <= tol or last:
                return Exponential(here, m, linear, change, True)
        basis.append(w / off[m - 1])
    return Exponential(before, most, linear, change, False)


def _combine(basis: list[Array], diagonal: Array, off: Array, shift: float, time: float, norm: float) -> Array:
    values, vectors = eigh_tridiagonal(diagonal, off) if len(diagonal) > 1 else (diagonal, np.ones((1, 1)))
    # Eigenvalues 1/(1 + γ λ) outside (0, 1] are rounding.
    rates = (1.0 / np.clip(values, 1e-300, 1.0) - 1.0) / shift
    weights = norm * (vectors * np.exp(-time * rates)) @ vectors[0]
    out = weights[0] * basis[0]
    for weight, v in zip(weights[1:], basis[1:], strict=False):
        out = out + weight * v
    return out
