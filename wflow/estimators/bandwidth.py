"""Bandwidths of Gaussian kernels: rules per axis.

The normal-reference rules minimise the mean integrated squared error of the density (Silverman 1986, 4.14) or
of its gradient (Chacón, Duong and Wand 2011, eq. 4 with r = 1) if the samples were normal; "isj" assumes no
shape.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dct
from scipy.optimize import brentq

from wflow.errors import InputError, choose
from wflow.estimators.cloud import Array, check_positions, check_weights
from wflow.estimators.likelihood import likelihood_factor
from wflow.kernels import clouds
from wflow.kernels.shares import threads_for

BINS = 2**12
MOMENTS = 7  # Botev's l: stages of the plug-in
LATEST = 0.1  # t, in squared lengths of the binned range: a wider kernel than a third of it is no bandwidth
SMALLEST, LARGEST = 1e-100, 1e100  # beyond, powers of the bandwidth leave the range of float64
TINY = 1e-14  # a deviation below this share of the coordinates is rounding


def _scott(n: float, d: int) -> float:
    return n ** (-1 / (d + 4))


def _silverman(n: float, d: int) -> float:
    return (4 / ((d + 2) * n)) ** (1 / (d + 4))


def _score(n: float, d: int) -> float:
    return (4 / ((d + 4) * n)) ** (1 / (d + 6))


FACTORS = {"scott": _scott, "silverman": _silverman, "score": _score}
RULES = (*FACTORS, "isj", "likelihood")


def check_bandwidth(bandwidth: ArrayLike, d: int) -> Array:
    """A number or (d,) as (d,) float64, positive and finite; otherwise `InputError`."""
    try:
        width = np.asarray(bandwidth, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"a bandwidth is a number, {d} numbers or one of {RULES}, got {bandwidth!r}") from None
    if width.shape not in ((), (1,), (d,)):
        raise InputError(f"a bandwidth is one number or one per axis ({d}), got the shape {width.shape}")
    if not np.all(np.isfinite(width) & (width > 0)):
        raise InputError(f"a bandwidth must be positive and finite, got {width}")
    return np.ascontiguousarray(np.broadcast_to(width, (d,)))


def given_bandwidth(bandwidth: ArrayLike, d: int) -> Array:
    """As `check_bandwidth`, for what a user gives: within the range where its powers are numbers. The rules may give
    others, to a cloud that flies apart."""
    width = check_bandwidth(bandwidth, d)
    if np.any((width < SMALLEST) | (width > LARGEST)):
        raise InputError(f"a bandwidth must lie between {SMALLEST:g} and {LARGEST:g}, got {width}")
    return width


def bandwidths(samples: ArrayLike, weights: ArrayLike | None, rule: str | ArrayLike) -> Array:
    """Standard deviation (d,) of the kernel on each axis, in the units of samples (n, d).

    With s the standard deviation of an axis and n the effective number of samples, 1 / sum w^2: "scott" s
    n^(-1/(d+4)); "silverman" s (4/((d+2) n))^(1/(d+4)); "score" s (4/((d+4) n))^(1/(d+6)), right for the
    gradient; "isj" the improved Sheather-Jones rule (`isj_bandwidth`) of each axis alone, "silverman" where
    it has no root; "likelihood" s times the factor of the largest leave-one-out likelihood (`likelihood_factor`), or
    "silverman". A number or (d,) is checked and passed through. s divides by 1 - sum w^2, that is by n - 1
    for equal weights. Raises `InputError`: unknown rule, one sample, coincident samples, numbers not finite
    or not positive.

    >>> bandwidths([[0.0], [2.0]], None, "scott").round(6)
    array([1.231144])
    """
    samples, _ = check_positions(samples)
    if not isinstance(rule, str):
        return check_bandwidth(rule, samples.shape[1])
    weights = check_weights(weights, len(samples))
    return rule_bandwidth(samples, weights, rule)


def rule_bandwidth(samples: Array, weights: Array, rule: str) -> Array:
    """As `bandwidths`, for checked samples and weights of sum 1."""
    choose(rule, RULES, "bandwidth rule")
    d = samples.shape[1]
    with threads_for(2.0 * samples.size):
        squares, mean, variance = clouds.moments(samples, weights)
    if squares > 1 - 1e-12:
        raise InputError(f"the bandwidth rule {rule!r} needs two samples with weight, found one; give a number")
    deviation = np.sqrt(variance / (1 - squares))
    flat = np.flatnonzero(deviation <= TINY * np.abs(mean))
    if len(flat):
        raise InputError(f"all samples coincide on axis {flat[0]}, so {rule!r} gives no bandwidth there; give a number")
    if rule in FACTORS:
        return deviation * FACTORS[rule](1 / squares, d)
    if rule == "likelihood":
        factor = likelihood_factor(samples, weights, deviation, _scott(1 / squares, d))
        return deviation * (_silverman(1 / squares, d) if factor is None else factor)
    found = [isj_bandwidth(samples[:, k], weights) for k in range(d)]
    fallback = deviation * _silverman(1 / squares, d)
    return np.array([fall if width is None else width for width, fall in zip(found, fallback, strict=True)])


def isj_bandwidth(samples: Array, weights: Array) -> float | None:
    """Improved Sheather-Jones bandwidth of samples (n,) with weights (n,) of sum 1; None where it has no root.

    Botev, Grotowski and Kroese (2010), Annals of Statistics 38, section 5: the fixed point t = xi
    gamma^[7](t), with the functionals from the cosine transform of 4096 bins (the error of binning is below
    1e-3 of the bandwidth for bandwidths of a few bins, 1/3500 of the range). Cost O(n).
    """
    low, high = samples.min(), samples.max()
    pad = 0.1 * (high - low)
    length = high - low + 2 * pad
    counts, _ = np.histogram(samples, bins=BINS, range=(low - pad, high + pad), weights=weights)
    squared = (0.5 * dct(counts)[1:]) ** 2
    frequency = np.arange(1, BINS, dtype=float) ** 2
    count = 1 / np.sum(weights**2)

    def residual(t: float) -> float:
        return t - _plug_in(t, count, squared, frequency)

    upper = 1e-5
    while residual(upper) <= 0 and upper < LATEST:
        upper *= 2
    # Below one bin the histogram, not the samples, would be smoothed.
    lower = 1.0 / BINS**2
    if not (residual(lower) < 0 < residual(upper)):
        return None
    return float(np.sqrt(brentq(residual, lower, upper, xtol=1e-14)) * length)


def _plug_in(t: float, count: float, squared: Array, frequency: Array) -> float:
    """xi gamma^[7](t): squared norms of derivatives of order 7 down to 2, each by the bandwidth for the last."""
    time = t
    for s in range(MOMENTS, 1, -1):
        norm = 2 * np.pi ** (2 * s) * np.sum(frequency**s * squared * np.exp(-frequency * np.pi**2 * time))
        if s == 2 or norm <= 0:
            break
        odd = np.prod(np.arange(1.0, 2 * s - 2, 2)) / np.sqrt(2 * np.pi)
        constant = (1 + 0.5 ** (s - 0.5)) / 3
        time = (2 * constant * odd / (count * norm)) ** (2 / (1 + 2 * s))
    return (2 * count * np.sqrt(np.pi) * norm) ** (-0.4) if norm > 0 else np.inf
