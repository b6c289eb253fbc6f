"""Flows and steps that stay Gaussian, and divergences between Gaussians.

Means are (d,), covariances a number, (d,) or (d, d).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wflow.errors import InputError

Array = NDArray[np.float64]


def gaussian_kl_wasserstein(mean: float, sd: float, t: float) -> tuple[float, float]:
    """Mean and standard deviation at time t of the Wasserstein flow of KL(q | N(0, 1)) from N(mean, sd^2).

    mean e^(-t), sqrt(1 + (sd^2 - 1) e^(-2t)). Source: `ornstein_uhlenbeck`, whose law it is.

    >>> tuple(round(v, 10) for v in gaussian_kl_wasserstein(1.0, 2.0, t=1.0))
    (0.3678794412, 1.1857511753)
    """
    return mean * float(np.exp(-t)), float(np.sqrt(1 + (sd**2 - 1) * np.exp(-2 * t)))


def gaussian_kl_natural(mean: float, sd: float, t: float) -> tuple[float, float]:
    """The same for the natural gradient (Fisher metric): natural parameters relax as th* + (th0 - th*)
    e^(-t).

    Source: Amari, Information Geometry and Its Applications (2016), ch. 12: in an exponential family the
    natural gradient of KL(q | p) is the difference of the natural parameters.

    >>> tuple(round(v, 10) for v in gaussian_kl_natural(1.0, 2.0, t=1.0))
    (0.1270143312, 1.1751778561)
    """
    precision = 1 + (sd**-2 - 1) * np.exp(-t)
    return float(mean / sd**2 * np.exp(-t) / precision), float(precision**-0.5)


def gaussian_kl_both(mean: float, sd: float, t: float) -> tuple[float, float]:
    """The same for both at once, the Wasserstein–Fisher–Rao metric with reaction 1.

    Precision l' = (1 - l)(1 + 2 l) and mean' = -mean (1 + 1/l), so that y = (1 - l)/(1 + 2 l) falls as e^(-3t): l =
    (1 - y)/(1 + 2 y), mean e^(-2t) (1 - y0)/(1 - y). Source: the sum of the two flows above, which both stay Gaussian.

    >>> tuple(round(v, 10) for v in gaussian_kl_both(1.0, 2.0, t=1.0))
    (0.0693951317, 1.0375871659)
    """
    start = (1 - sd**-2) / (1 + 2 * sd**-2)
    y = start * np.exp(-3 * t)
    return float(mean * np.exp(-2 * t) * (1 - start) / (1 - y)), float(np.sqrt((1 + 2 * y) / (1 - y)))


def jko_gaussian_step(mean: float, sd: float, tau: float) -> tuple[float, float]:
    """One JKO step of length tau for KL(q | N(0, 1)) from N(mean, sd^2).

    mean/(1 + tau) and the positive root of (1/tau + 1) s^2 - (sd/tau) s - 1 = 0. Source: minimise W2^2/(2
    tau) + KL, both closed on Gaussians; Wibisono, COLT 2018 (PMLR 75, 2093), sec. 4.

    >>> tuple(round(v, 10) for v in jko_gaussian_step(1.0, 2.0, tau=0.1))
    (0.9090909091, 1.8668776139)
    """
    return mean / (1 + tau), float((sd + np.sqrt(sd**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau)))


def explicit_gaussian_step(mean: float, sd: float, tau: float) -> tuple[float, float]:
    """One explicit Euler step of the same flow, the map x - tau (x - (x - mean)/sd^2) put on N(mean, sd^2).

    >>> explicit_gaussian_step(1.0, 2.0, tau=0.1)
    (0.9, 1.85)
    """
    return mean * (1 - tau), sd * (1 - tau * (1 - sd**-2))


def euler_maruyama_variance(step: float) -> float:
    """Variance at which Euler-Maruyama for dx = -x dt + sqrt(2) dW comes to rest: v = (1 - h)^2 v + 2h, 0 < h
    < 2.

    >>> round(euler_maruyama_variance(0.1), 7)
    1.0526316
    """
    if not 0 < step < 2:
        raise InputError(f"Euler-Maruyama comes to rest for 0 < step < 2, got {step}; take another step")
    return 1 / (1 - step / 2)


def gaussian_kl(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """KL(a | b) = E_a log(a/b) = (tr(B^-1 A) + d'B^-1 d - dim + log det B - log det A)/2.

    Here and below d is the difference of the means, A and B are the covariances. Source: Pardo, Statistical
    Inference Based on Divergence Measures (2006), sec. 1.2.

    >>> round(gaussian_kl([0.0], 1.0, [1.0], 4.0), 10), round(gaussian_kl([1.0], 4.0, [0.0], 1.0), 10)
    (0.4431471806, 1.3068528194)
    """
    shift, a, b = _pair(mean_a, cov_a, mean_b, cov_b)
    square = shift @ np.linalg.solve(b, shift)
    return float(0.5 * (np.trace(np.linalg.solve(b, a)) + square - shift.size + _log_det(b) - _log_det(a)))


def gaussian_chi2(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Pearson's chi2(a | b), the integral of (a - b)^2/b; inf unless 2B - A is positive definite.

    det B (det A det(2B - A))^(-1/2) exp(d'(2B - A)^-1 d) - 1. Source: Nielsen, Nock, IEEE Signal Process.
    Lett. 21 (2014) 10.

    >>> round(gaussian_chi2([0.0], 1.0, [1.0], 1.0), 10)  # e - 1
    1.7182818285
    """
    shift, a, b = _pair(mean_a, cov_a, mean_b, cov_b)
    middle = 2 * b - a
    if np.linalg.eigvalsh(middle).min() <= 0:
        return float("inf")
    square = shift @ np.linalg.solve(middle, shift)
    return float(np.expm1(_log_det(b) - 0.5 * (_log_det(a) + _log_det(middle)) + square))


def gaussian_hellinger(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Squared Hellinger distance, the integral of (sqrt(a) - sqrt(b))^2, between 0 and 2.

    2 - 2 det(AB)^(1/4) det((A + B)/2)^(-1/2) exp(-d'((A + B)/2)^-1 d/8). Source: Pardo (2006), sec. 1.2.

    >>> round(gaussian_hellinger([0.0], 1.0, [1.0], 4.0), 10)  # 2 - 2 sqrt(4/5) e^(-1/20)
    0.2983890757
    """
    shift, a, b = _pair(mean_a, cov_a, mean_b, cov_b)
    middle = 0.5 * (a + b)
    square = shift @ np.linalg.solve(middle, shift)
    return float(-2 * np.expm1(0.25 * (_log_det(a) + _log_det(b)) - 0.5 * _log_det(middle) - square / 8))


def gaussian_fisher(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Fisher divergence E_a |grad log(a/b)|^2 / 2 = (tr(G A G) + |B^-1 d|^2)/2 with G = B^-1 - A^-1.

    Half of the rate at which KL(a | b) falls along the flow of a to b. Source: Hyvarinen, JMLR 6 (2005) 695,
    eq. (2).

    >>> gaussian_fisher([0.0], 1.0, [1.0], 4.0), gaussian_fisher([1.0], 4.0, [0.0], 1.0)
    (0.3125, 1.625)
    """
    shift, a, b = _pair(mean_a, cov_a, mean_b, cov_b)
    gap, pull = np.linalg.inv(b) - np.linalg.inv(a), np.linalg.solve(b, shift)
    return float(0.5 * (np.trace(gap @ a @ gap) + pull @ pull))


def _pair(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> tuple[Array, Array, Array]:
    """Difference of means (d,) and both covariances (d, d)."""
    a, b = np.atleast_1d(np.asarray(mean_a, float)), np.atleast_1d(np.asarray(mean_b, float))
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"the means must have one shape (d,), got {a.shape} and {b.shape}")
    return a - b, _matrix(cov_a, a.size), _matrix(cov_b, a.size)


def _matrix(cov: ArrayLike, dim: int) -> Array:
    cov = np.asarray(cov, float)
    full = cov if cov.ndim == 2 else np.diag(np.broadcast_to(cov, dim))
    if full.shape != (dim, dim) or np.linalg.eigvalsh(full).min() <= 0:
        shapes = f"a number, ({dim},) or ({dim}, {dim})"
        raise InputError(f"a covariance must be positive definite and {shapes}, got {cov}")
    return full


def _log_det(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])
