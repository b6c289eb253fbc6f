"""Mirror descent: gradient steps in the dual coordinates of a convex function."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as member
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, choose
from wflow.expression import Field, as_field
from wflow.metrics.inverse import check_branch, check_image, given_inverse
from wflow.states import Point

OFF_SIMPLEX = 1e-9


@dataclass(frozen=True, eq=False)
class Mirror:
    """The Hessian of a convex ψ as the metric, followed in θ = ∇ψ(x): θ⁺ = θ - dt ∇F, x⁺ = (∇ψ)⁻¹(θ⁺).

    `psi` is "entropy", Σ x log x on the simplex, where a step is x exp(-dt ∇F) scaled to sum one (exponentiated
    gradient: positive, exactly on the simplex); or a strictly convex field, with `grad` where it is a function that
    autograd cannot follow. `inverse(theta)` is the inverse of ∇ψ; without one it is found by Newton's method. Source:
    Beck & Teboulle, Oper. Res. Lett. 31 (2003) 167.

    Raises `InputError` for a point off the simplex, a ψ that is not convex, and an inverse that is none.
    """

    psi: Any = "entropy"
    grad: Callable[..., Any] | None = None
    inverse: Callable[..., Any] | None = None
    field: Field | None = member(init=False, repr=False, default=None)

    states: ClassVar[tuple[type, ...]] = (Point,)
    flat: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.inverse is not None and not callable(self.inverse):
            raise InputError(f"inverse must be a function of theta, got {type(self.inverse).__name__}")
        if isinstance(self.psi, str) and self.psi.isidentifier() and self.psi not in ("x", "y", "z", "t"):
            choose(self.psi, ("entropy",), "psi of Mirror")
            if self.grad is not None or self.inverse is not None:
                raise InputError("Mirror('entropy') has its own gradient and inverse")
            return
        object.__setattr__(self, "field", as_field(self.psi, self.grad))

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        x = state.coordinates
        if self.field is None:
            if x.min() < 0.0 or abs(x.sum() - 1.0) > OFF_SIMPLEX:
                raise InputError(f"Mirror('entropy') needs a point of the simplex, x >= 0 with sum 1, got {x.tolist()}")
        elif self.inverse is not None:
            check_branch(self.inverse, self.field.gradient(x[None])[0], x)
        return -covector

    def move(self, state: Any, direction: Array, step: float) -> Any:
        x = state.coordinates
        push = step * direction
        if self.field is None:
            weights = x * np.exp(push - push[x > 0.0].max()) if np.any(x > 0.0) else x
            return state.at(weights / weights.sum())
        theta = self.field.gradient(x[None])[0] + push
        if not np.all(np.isfinite(theta)):
            return state.at(np.full_like(x, np.nan))
        found = dual_inverse(self.field, theta, x) if self.inverse is None else given_inverse(self.inverse, theta, x)
        check_image(self.field.gradient(found[None])[0], theta)
        return state.at(found)

    def velocity(self, state: Any, direction: Array) -> Array:
        x = state.coordinates
        if self.field is None:
            return x * (direction - x @ direction)
        return np.linalg.solve(self.field.hessian(x[None])[0], direction)


def dual_inverse(psi: Field, theta: Array, start: Array, most: int = 100) -> Array:
    """x with ∇ψ(x) = θ: the minimiser of ψ(x) - θ · x by Newton's method with halved steps, from `start`.

    Steps are halved until the value falls and is finite, which keeps x inside the domain of ψ.
    """
    x = start.copy()

    def merit(y: Array) -> float:
        return float(psi.value(y[None])[0] - theta @ y)

    for _ in range(most):
        slope = psi.gradient(x[None])[0] - theta
        if np.linalg.norm(slope) <= 1e-15 * (1.0 + np.linalg.norm(theta)):
            break
        matrix = psi.hessian(x[None])[0]
        if not np.all(np.isfinite(matrix)) or np.linalg.eigvalsh(matrix)[0] <= 0.0:
            raise InputError(f"psi of Mirror is not strictly convex at {x.tolist()}")
        step, length, here = -np.linalg.solve(matrix, slope), 1.0, merit(x)
        slack = 8.0 * np.finfo(float).eps * (abs(here) + float(np.abs(theta) @ np.abs(x)))
        while length > 1e-12 and not merit(x + length * step) <= here + 1e-4 * length * float(slope @ step) + slack:
            length *= 0.5
        x = x + length * step
        if np.linalg.norm(length * step) <= 1e-15 * np.linalg.norm(x):
            break
    return x
