"""Metrics that are a matrix at each point: the Hessian of F, or the Fisher information of a family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import InputError, choose
from wflow.metrics.families import FAMILIES
from wflow.metrics.protocol import solve_metric, straight
from wflow.states import Gaussian, Point


def check_damping(damping: Any) -> float:
    """A number that is not negative."""
    number = floats("damping", damping)
    if number.ndim or number < 0.0:
        raise InputError(f"damping must be a number that is not negative, got {damping}")
    return float(number)


@dataclass(frozen=True)
class Newton:
    """The Hessian of F, plus `damping` times the identity, as the metric: direction -(H + λ)⁻¹ ∇F.

    Refuses a matrix that is not positive definite: the direction would not descend. Cost: O(d³) a step.
    """

    damping: float = 0.0

    states: ClassVar[tuple[type, ...]] = (Point,)
    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "damping", check_damping(self.damping))

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return solve_metric(
            hessian(), covector, self.damping, f"Newton's direction does not descend at {state!r}: the Hessian"
        )

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction


@dataclass(frozen=True, eq=False)
class Natural:
    """The Fisher information of a family as the metric (Amari, Neural Computation 10 (1998) 251).

    On a Gaussian state without arguments: d mean/dt = -C ∂F/∂mean and dL/dt = -½ C ∂F/∂L with C = L Lᵀ, that is
    dC/dt = -2 C (∂F/∂C) C.

    On a point whose x are the parameters of a family: -(G + λ)⁻¹ ∇F with λ = `damping` and G the information. It is
    given as `fisher`: the name of a family ("normal", "bernoulli", "poisson", "categorical", see
    `metrics.families`), a matrix `(d, d)`, or a function of x `(d,)` that gives one, such as an expected Hessian. Or
    as `scores`, a function of x that gives ∇ₓ log p of samples at x, `(n, d)`: G = Σ s sᵀ/n.

    Raises `InputError` where G + λ is not positive definite.
    """

    fisher: Any = None
    scores: Callable[[Array], Any] | None = None
    damping: float = 0.0

    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "damping", check_damping(self.damping))
        if self.fisher is not None and self.scores is not None:
            raise InputError("give Natural one of fisher and scores, not both")
        if self.scores is not None and not callable(self.scores):
            raise InputError(f"scores must be a function of x giving (n, d), got {type(self.scores).__name__}")
        if isinstance(self.fisher, str):
            choose(self.fisher, FAMILIES, "family of Natural")
        elif self.fisher is not None and not callable(self.fisher):
            object.__setattr__(self, "fisher", floats("the Fisher matrix", self.fisher))
        if self.damping > 0.0 and self.fisher is None and self.scores is None:
            raise InputError("damping goes with fisher or scores; a Gaussian's own information is never singular")

    @property
    def states(self) -> tuple[type, ...]:
        """Gaussians, whose information is known; with one given, points."""
        return (Gaussian,) if self.fisher is None and self.scores is None else (Point,)

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        if isinstance(state, Point):
            return solve_metric(self.information(state.x), covector, self.damping, f"at {state!r} the Fisher matrix")
        scaled = state.cov @ covector
        scaled[:, 1:] *= 0.5
        return -scaled

    def information(self, x: Array) -> Array:
        """G at the parameters x `(d,)`: `(d, d)`."""
        if self.scores is not None:
            rows = np.asarray(self.scores(x), dtype=np.float64)
            if rows.ndim != 2 or rows.shape[1] != x.size or len(rows) == 0:
                raise InputError(f"scores must give shape (n, {x.size}), got {rows.shape}")
            return rows.T @ rows / len(rows)
        known = FAMILIES[self.fisher] if isinstance(self.fisher, str) else self.fisher
        matrix = np.asarray(known(x) if callable(known) else known, dtype=np.float64)
        if matrix.shape != (x.size, x.size):
            raise InputError(f"the Fisher matrix must have shape ({x.size}, {x.size}), got {matrix.shape}")
        if not np.all(np.isfinite(matrix)):
            raise InputError(f"the Fisher matrix is not finite at x = {x.tolist()}: {matrix.tolist()}")
        if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=1e-14 * np.abs(matrix).max()):
            raise InputError("the Fisher matrix must be symmetric")
        return matrix

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction
