"""Metrics: what "steepest" means. Each is a direction from the covector δF and a way to move along it.

Adding one: a small class here and its name in `METRICS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
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


METRICS = (Euclidean, Wasserstein, Newton, Natural)


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
