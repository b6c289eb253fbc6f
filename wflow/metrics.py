"""Metrics: what "steepest" means. Each is a direction from the covector δF and a way to move along it.

Adding one: a small class here and its name in `METRICS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, choose
from wflow.estimators import check_bandwidth, gaussian_sums, median_distance
from wflow.states import Density, Gaussian, Particles, Point


class Metric(Protocol):
    """A direction of steepest descent and a retraction, in the coordinates of the state."""

    @property
    def states(self) -> tuple[type, ...]:
        """The kinds of state on which it is defined."""

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        """dx/dt from the gradient of F in the coordinates; `hessian()` gives that of F where there is one."""

    def move(self, state: Any, direction: Array, step: float) -> Any:
        """The state a step along the direction."""


@dataclass(frozen=True)
class Euclidean:
    """|dx|²: gradient descent. On a point the Wasserstein metric is this one."""

    states: ClassVar[tuple[type, ...]] = (Point,)

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return -covector

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return state.at(state.coordinates + step * direction)


@dataclass(frozen=True)
class Wasserstein:
    """∫ q |v|²: a velocity for particles, a flux for densities, Bures' metric for Gaussians, which is flat in (mean
    | L).

    On clouds and densities the covector handed in is minus the velocity or the rate itself, already divided by the
    weights (Jordan, Kinderlehrer & Otto 1998; Otto 2001).
    """

    states: ClassVar[tuple[type, ...]] = (Point, Particles, Density, Gaussian)

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return -covector

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return state.at(state.coordinates + step * direction)


@dataclass(frozen=True)
class Newton:
    """The Hessian of F as the metric: direction -H⁻¹ ∇F. Refuses a Hessian that is not positive definite."""

    states: ClassVar[tuple[type, ...]] = (Point,)

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        matrix = hessian()
        if not np.all(np.isfinite(matrix)):
            return np.full_like(covector, np.nan)
        low = float(np.linalg.eigvalsh(matrix)[0])
        if low <= 0.0:
            raise InputError(
                f"Newton's direction does not descend at {state!r}: the Hessian's smallest eigenvalue is {low:g}; "
                "take metrics.Euclidean() there"
            )
        return np.asarray(-np.linalg.solve(matrix, covector), dtype=np.float64)

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return state.at(state.coordinates + step * direction)


@dataclass(frozen=True)
class Natural:
    """The Fisher information of the family as the metric (Amari 1998).

    For N(mean, L Lᵀ): d mean/dt = -C ∂F/∂mean and dL/dt = -½ C ∂F/∂L with C = L Lᵀ, that is dC/dt = -2 C (∂F/∂C) C.
    """

    states: ClassVar[tuple[type, ...]] = (Gaussian,)

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        scaled = state.cov @ covector
        scaled[:, 1:] *= 0.5
        return -scaled

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return state.at(state.coordinates + step * direction)


@dataclass(frozen=True)
class Stein:
    """The Wasserstein metric smoothed by a kernel, of a reproducing kernel Hilbert space: its flow is SVGD.

    dxᵢ/dt = Σⱼ wⱼ [k(xⱼ, xᵢ) ∇log p(xⱼ) + ∇ₓⱼ k(xⱼ, xᵢ)], k = exp(-|x - y|²/(2 σ²)), for reverse KL to p, or entropy
    with potentials and interactions: the entropy's own part, ∇log q, is moved onto the kernel by parts, so that no
    density is estimated. `bandwidth` is σ, a number or `(d,)`, or "median": σ² = ½ (median distance)²/log(n + 1),
    anew at every step, the median from at most 1000 particles. For d ≤ 3 and many particles the sums go by a mesh,
    O(n); else over pairs. Source: Liu & Wang, Stein variational gradient descent, NeurIPS 2016, eq. (8).
    """

    bandwidth: str | float | tuple[float, ...] = "median"

    states: ClassVar[tuple[type, ...]] = (Particles,)

    def __post_init__(self) -> None:
        if isinstance(self.bandwidth, str):
            choose(self.bandwidth, ("median",), "bandwidth of Stein")
        else:
            width = check_bandwidth(self.bandwidth, max(1, np.size(self.bandwidth)))
            object.__setattr__(self, "bandwidth", float(width[0]) if len(width) == 1 else tuple(width.tolist()))

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return self.entropic(state, covector, 0.0)

    def entropic(self, state: Any, covector: Array, temperature: float) -> Array:
        """The direction for a covector plus temperature · ∇log q."""
        x, weights = state.positions, state.weights
        given = median_width(x) if isinstance(self.bandwidth, str) else self.bandwidth
        sums = gaussian_sums(x, check_bandwidth(given, state.dim))
        values, gradient = sums(np.ascontiguousarray(np.vstack((weights, (weights[:, None] * covector).T))))
        return -values[1:].T - temperature * gradient

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return state.at(state.coordinates + step * direction)


def median_width(x: Array) -> float:
    """σ of the median rule for positions (n, d); 1 for one particle, which feels only itself."""
    if len(x) == 1:
        return 1.0
    middle = median_distance(x)
    if not middle > 0.0:
        raise InputError("the median distance of the particles is zero; give metrics.Stein a bandwidth in numbers")
    return middle * float(np.sqrt(0.5 / np.log(len(x) + 1.0)))


METRICS = (Euclidean, Wasserstein, Newton, Natural, Stein)


def as_metric(metric: Any, state: Any) -> Metric:
    """The metric given, or the default of the state; refused where it is not defined."""
    if metric is None:
        return Euclidean() if isinstance(state, Point) else Wasserstein()
    if isinstance(metric, type) or not isinstance(metric, METRICS):
        names = ", ".join(f"wf.metrics.{m.__name__}()" for m in METRICS)
        raise InputError(f"metric must be one of {names}, got {metric!r}")
    if not isinstance(state, metric.states):
        names = ", ".join(s.__name__ for s in metric.states)
        raise InputError(f"metric {type(metric).__name__} is defined on {names}, not on {type(state).__name__}")
    return metric
