"""What a difference is worth: held against that of a sample of the reference itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import t as student

from wflow.arrays import Array
from wflow.distances import l1, wasserstein2_with_method
from wflow.states import Density, Gaussian, Particles

RARE = 1e-3  # the share of samples that are said to differ in their moments
# Samples of the reference for W2, and what share of further ones would differ were log W2 normal: on the line, where
# one takes a millisecond; beyond, up to FEW points, a second or two for all; of more points, half a second each. log
# W2 is skew, by 0.2 on the line and 0.5 beyond. Shares measured: of 20 to 5000 points on the line 1.2e-3 to 1.6e-3; of
# 50 to 500 in the plane and in space by sixteen 1.2e-3 to 2.1e-3, by eight 1.0e-3 to 1.4e-3.
ON_LINE, OF_FEW, OF_MANY = (64, 1e-3), (16, 2.5e-4), (8, 5e-4)
FEW = 1000
POOL = 100_000  # draws for the spread of the moments


@dataclass(frozen=True)
class Verdict:
    """The difference of one result from the reference at the last common time.

    `dim`: of the space. `w2`, `l1`: the distances. The rest is for a cloud held against a reference that can be
    sampled, else None. `expected_w2` and `expected_l1` are (mean, standard deviation) of the same distance over a few
    samples of the reference of the same size and weights, found in the same way, so that the errors of the estimate
    itself are in them; W2 of one or two samples in a thousand is beyond `w2_bound`. `mean_errors` and
    `covariance_errors`: the difference of mean and covariance in standard errors of a sample, the largest over their
    entries; one sample in a thousand has any of them beyond `errors_bound`. W2 alone sees little beyond the line: it is
    far from 0 for every sample, and hardly moves where all points move by a hundredth.
    """

    name: str
    time: float
    dim: int
    w2: float
    l1: float
    expected_w2: tuple[float, float] | None = None
    expected_l1: tuple[float, float] | None = None
    w2_bound: float | None = None
    mean_errors: float | None = None
    covariance_errors: float | None = None
    errors_bound: float | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether W2, mean and covariance are no more than sampling explains; None where there is nothing to hold
        them against."""
        return None if self.w2_bound is None else not self.beyond

    @property
    def beyond(self) -> tuple[str, ...]:
        """Which of "W2", "mean", "covariance" differ by more than sampling explains."""
        pairs = {
            "W2": (self.w2, self.w2_bound),
            "mean": (self.mean_errors, self.errors_bound),
            "covariance": (self.covariance_errors, self.errors_bound),
        }
        return tuple(name for name, (found, most) in pairs.items() if found is not None and most and found > most)

    def __str__(self) -> str:
        head = f"{self.name} at t = {self.time:g}: W2 {self.w2:.3g}"
        if self.expected_w2 is None:
            return head + ("" if np.isnan(self.l1) else f", L1 {self.l1:.3g}")
        mean, spread = self.expected_w2
        end = f"differs in {', '.join(self.beyond)}" if self.beyond else "agrees within the sampling error"
        return (
            f"{head}, a sample of its size has {mean:.2g} ± {spread:.1g}, at most {self.w2_bound:.2g}; mean and "
            f"covariance {self.mean_errors:.2g} and {self.covariance_errors:.2g} standard errors off, a sample at most "
            f"{self.errors_bound:.2g}: {end}"
        )


def judge(name: str, time: float, reference: Any, state: Any, found: dict[str, Any], seed: int) -> Verdict:
    """The verdict on a state; `found` holds its distances already."""
    head = (name, time, state.dim, found["w2"], found["l1"])
    if not (isinstance(state, Particles) and isinstance(reference, Density | Gaussian) and np.isfinite(found["w2"])):
        return Verdict(*head)
    draws, share = ON_LINE if state.dim == 1 else OF_FEW if len(state) <= FEW else OF_MANY
    clouds = [Particles(reference.sample(len(state), rng=seed + 1 + k), state.weights) for k in range(draws)]
    w2 = np.array([wasserstein2_with_method(reference, cloud, seed)[0] for cloud in clouds])
    seen = np.array([l1(reference, cloud) for cloud in clouds]) if np.isfinite(found["l1"]) else None
    expected_l1 = None if seen is None else _spread(seen)
    return Verdict(*head, _spread(w2), expected_l1, _bound(w2, share), *_moment_errors(reference, state, seed))


def _spread(values: Array) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1))


def _bound(distances: Array, share: float) -> float:
    """What one more draw exceeds with about this probability: Student's t for the few draws, of log W2, which is much
    nearer to normal than W2."""
    mean, spread = _spread(np.log(np.maximum(distances, np.finfo(float).tiny)))
    count = len(distances)
    return float(np.exp(mean + student.isf(share, count - 1) * np.sqrt(1.0 + 1.0 / count) * spread))


def _moment_errors(reference: Any, state: Particles, seed: int) -> tuple[float, float, float]:
    """Standard errors of mean and covariance, the largest of each, and the most that a sample has of both.

    With c = x - m and s = Σ w²: Var(Σ w c_i) = s Var c_i, and Var(Σ w c_i c_j) = s Var(c_i c_j) to leading order, about
    normal for many points; of few points the covariance is skew, so that clouds cut from the same draws count too.
    """
    pool = reference.sample(POOL, rng=seed) - reference.mean
    squares = pool**2
    spreads = pool.std(axis=0), np.sqrt(np.maximum(squares.T @ squares / POOL - (pool.T @ pool / POOL) ** 2, 0.0))
    mean, cov = _errors(reference, spreads, state.positions[None] - reference.mean, state.weights)
    entries = state.dim * (state.dim + 3) / 2
    most = float(-ndtri(0.5 * RARE / entries))
    count = min(POOL // len(state), round(1.0 / RARE))
    if count > 0:
        cut = pool[: count * len(state)].reshape(count, len(state), state.dim)
        most = max(most, float(np.quantile(np.maximum(*_errors(reference, spreads, cut, state.weights)), 1.0 - RARE)))
    return float(mean[0]), float(cov[0]), most


def _errors(reference: Any, spreads: tuple[Array, Array], clouds: Array, weights: Array) -> tuple[Array, Array]:
    """For each of the clouds `(k, n, d)`, relative to the mean of the reference, the largest standard error of the mean
    and of the covariance."""
    share = float(np.sum(weights**2))
    means = np.einsum("n,kni->ki", weights, clouds)
    centred = clouds - means[:, None]
    covs = np.swapaxes(centred * weights[:, None], 1, 2) @ centred
    off = np.abs(covs - (1.0 - share) * reference.cov)
    if isinstance(reference, Density):  # its variance is known to h²/12, whether its values are averages or at centres
        off = np.maximum(off - np.diag(reference.grid.spacing**2) / 12.0, 0.0)
    least = np.finfo(float).tiny
    scale = np.sqrt(share)
    mean_errors = np.max(np.abs(means) / np.maximum(scale * spreads[0], least), axis=1)
    return mean_errors, np.max(off / np.maximum(scale * spreads[1], least), axis=(1, 2))
