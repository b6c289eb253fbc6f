"""What a metric is: a direction from the covector δF and a way to move along it."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError


class Metric(Protocol):
    """A direction of steepest descent and a retraction.

    Directions of one state add up, whatever stepper adds them. Where the metric is `flat` they are rates of the
    coordinates; elsewhere they live in the metric's own coordinates (a chart, the dual space), in which it moves.
    """

    @property
    def states(self) -> tuple[type, ...]:
        """The kinds of state on which it is defined."""

    @property
    def flat(self) -> bool:
        """Whether moving is adding to the coordinates."""

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        """The direction from the gradient of F in the coordinates; `hessian()` gives that of F where there is one."""

    def move(self, state: Any, direction: Array, step: float) -> Any:
        """The state a step along the direction."""

    def velocity(self, state: Any, direction: Array) -> Array:
        """dx/dt of the coordinates along a direction at the state."""


def straight(state: Any, direction: Array, step: float) -> Any:
    """Moving where moving is adding."""
    return state.at(state.coordinates + step * direction)


def solve_metric(matrix: Array, covector: Array, damping: float, what: str) -> Array:
    """-(matrix + damping)⁻¹ covector; `InputError` where that does not descend, nan where the matrix is not
    finite."""
    if not np.all(np.isfinite(matrix)):
        return np.full_like(covector, np.nan)
    damped = matrix if damping == 0.0 else matrix + damping * np.eye(len(matrix))
    values = np.linalg.eigvalsh(damped)
    low = float(values[0])
    if low <= len(values) * np.finfo(float).eps * float(values[-1]):  # zero, to its rounding
        raise InputError(
            f"{what} has the smallest eigenvalue {low:g}, so the step would not descend; "
            f"take a damping above {damping - min(low, 0.0) + 1e-6 * max(abs(float(values[-1])), 1e-300):.3g}, or "
            "metrics.Euclidean() there"
        )
    return np.asarray(-np.linalg.solve(damped, covector), dtype=np.float64)
