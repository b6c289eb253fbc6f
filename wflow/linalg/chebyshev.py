"""exp(-t H) for a symmetric H with spectrum in [0, R], as a polynomial in H.

With X = 1 - 2 H/R, whose spectrum is in [-1, 1], and z = t R/2,

    exp(-t H) = Σₖ cₖ Tₖ(X),   c₀ = e^(-z) I₀(z),   cₖ = 2 e^(-z) Iₖ(z),

with modified Bessel functions Iₖ. What is left out is at most Σ cₖ in norm, a bound known beforehand. Terms fall like
exp(-k²/2z), so some sqrt(2 z log(1/ε)) of them reach ε. Source: Tal-Ezer & Kosloff, J. Chem. Phys. 81 (1984) 3967;
Hochbruck & Lubich, SIAM J. Numer. Anal. 34 (1997) 1911, Theorem 2.
"""

import numpy as np
from scipy.special import ive

from wflow.arrays import Array


def terms_needed(z: float, tol: float) -> int:
    """A degree beyond which the coefficients sum to less than `tol`, an estimate from above.

    >>> terms_needed(4500.0, 1e-9)
    475
    """
    depth = np.log(1.0 / tol) + 2.0
    # exp(-k²/2z) for k < z; beyond that terms fall faster still, like (e z/2k)^k.
    return int(np.ceil(np.sqrt(2.0 * depth * z) + depth))


def exponential_coefficients(z: float, tol: float) -> tuple[Array, float]:
    """c₀ … c_K with K even, and the sum of those left out, less than `tol` unless rounding forbids.

    >>> coefficients, rest = exponential_coefficients(2.0, 1e-10)
    >>> len(coefficients), bool(abs(coefficients.sum() - 1.0) < 1e-10), rest < 1e-10
    (13, True, True)
    >>> len(exponential_coefficients(1e-13, 1e-10)[0])
    3
    """
    every = 2.0 * ive(np.arange(int(1.2 * terms_needed(z, tol)) + 10), z)
    every[0] *= 0.5
    tails = np.cumsum(every[::-1])[::-1]  # tails[k] = cₖ + …
    count = max(3, int(np.argmax(tails < tol)) if tails[-1] < tol else len(every))
    count += 1 - count % 2
    kept = every[:count]
    return kept, float(every[count:].sum())


def clenshaw_rows(coefficients: Array, scale: float) -> Array:
    """Rows (μ, ν, γ, μ̃) of Clenshaw's recurrence for Σ cₖ Tₖ(1 - 2 H/R) with `scale` = 2/R, from b_K = c_K on.

    b_k = c_k + 2 X b_(k+1) - b_(k+2), and last c₀ + X b₁ - b₂; a row is a stage of `kernels.wavefront`, in which H is
    minus the sum over the faces.
    """
    rows = np.empty((len(coefficients) - 1, 4))
    rows[:] = 2.0, -1.0, 0.0, 2.0 * scale
    rows[:, 2] = coefficients[-2::-1]
    rows[-1, [0, 3]] = 1.0, scale
    return rows
