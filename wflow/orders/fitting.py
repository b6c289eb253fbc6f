"""Orders from errors: straight lines on log scales, estimates by Richardson, and doubt."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from wflow.arrays import Array

DRIFT = 0.1  # with sizes doubled what an order still has to go is about what it went last
ORDERS = (0.1, 20.0)
ROUNDS = 50


@dataclass(frozen=True)
class Fit:
    """A straight line through log(error) against log(h): error ≈ `constant` h^`order`.

    `band`: 95 % confidence limits of the order by Student's t, nan for two sizes without seeds. `scatter`: standard
    deviation of the orders between neighbouring sizes. `doubt`: why the study is not asymptotic, empty if it is.
    """

    order: float
    constant: float
    band: tuple[float, float]
    scatter: float
    doubt: str


def slopes(h: Array, error: Array) -> Array:
    """Orders between neighbours."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.diff(np.log(error)) / np.diff(np.log(h))


def richardson(h: Array, gaps: Array) -> Array:
    """Errors from the differences to the next finer size; the order is found with them."""
    ratio, order, errors = h[1:] / h[:-1], 1.0, gaps
    for _ in range(ROUNDS if h.size > 2 and np.all(gaps.mean(axis=0) > 0.0) else 0):
        errors = gaps / (1.0 - ratio**order)
        order = float(np.clip(np.polyfit(np.log(h[:-1]), np.log(errors.mean(axis=0)), 1)[0], *ORDERS))
    return errors


def fitted(h: Array, errors: Array, floor: float) -> Fit:
    """Least squares on the logarithms; errors at rounding are left out."""
    mean = errors.mean(axis=0)
    kept = np.isfinite(mean) & (mean > floor)
    x, y, count, seeds = np.log(h[kept]), np.log(mean[kept]), int(kept.sum()), len(errors)
    if count < 2:
        return Fit(np.nan, np.nan, (np.nan, np.nan), np.nan, "fewer than two errors are above rounding")
    centered = x - x.mean()
    order = float(centered @ y / (centered @ centered))
    residual = y - y.mean() - order * centered
    # Of log(mean error): the relative spread over the seeds, taken as one for all sizes.
    noise = float(np.mean(errors[:, kept].var(axis=0, ddof=1) / mean[kept] ** 2) / seeds) if seeds > 1 else 0.0
    variance = max(noise, float(residual @ residual) / (count - 2) if count > 2 else 0.0)
    free = count * (seeds - 1) if seeds > 1 else count - 2
    half = float(student.ppf(0.975, free) * (variance / (centered @ centered)) ** 0.5) if free else np.nan
    steps = slopes(h[kept], mean[kept])
    scatter = float(steps.std(ddof=1)) if count > 2 else np.nan
    constant = float(np.exp(y.mean() - order * x.mean()))
    return Fit(order, constant, (order - half, order + half), scatter, _doubt(x, steps, noise))


def _doubt(x: Array, slopes: Array, noise: float) -> str:
    if slopes.size < 2:
        return "fewer than three errors show no trend: take more sizes"
    if slopes[-2:].min() <= 0.0:
        return "the errors do not fall"
    # The noise of y1 - 2 y2 + y3, on the shorter of the last two steps.
    allowed = max(DRIFT, 2.0 * (6.0 * noise) ** 0.5 / float(np.abs(np.diff(x)[-2:]).min()))
    if abs(slopes[-1] - slopes[-2]) > allowed:
        return f"the order still moves, {slopes[-2]:.2f} to {slopes[-1]:.2f}: take finer sizes, or more seeds"
    return ""
