"""Newton's method in other coordinates: the inverse-simulator update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.expression import Field, as_field, mapped
from wflow.metrics.inverse import check_branch, check_image, given_inverse, numerical_inverse
from wflow.metrics.local import check_damping
from wflow.metrics.protocol import solve_metric
from wflow.states import Point


@dataclass(frozen=True, eq=False)
class Chart:
    """Newton's step for F(x) = L(y(x)) in the coordinates y, mapped back: y⁺ = y - dt (H_L + λ)⁻¹ ∇L, x⁺ = y⁻¹(y⁺).

    `map` is y: d fields, or a vectorised function `(n, d) -> (n, d)`. `inverse(y, near=x)`, of arrays `(d,)`, gives
    the solution nearest to x; without one the equation is solved by SciPy's L-BFGS-B and Newton's method from x.
    ∇L and H_L are got from the derivatives of F and y by the chain rule, which needs a regular Jacobian; `loss`, the
    field L(y), spares that. λ is `damping`. Directions are dy/dt, so explicit steppers have their order in y.

    Raises `InputError` for an inverse that does not lead back to x, a `loss` that is not the objective's, a singular
    Jacobian, and an L that is not convex at y. Source: Holl, Koltun & Thuerey, Scale-invariant learning by physics
    inversion, NeurIPS 2022.
    """

    map: Any
    inverse: Callable[..., Any] | None = None
    loss: Any = None
    damping: float = 0.0

    states: ClassVar[tuple[type, ...]] = (Point,)
    flat: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "damping", check_damping(self.damping))
        if not callable(self.map):
            if isinstance(self.map, str) or not isinstance(self.map, Sequence):
                raise InputError("the map of a Chart is a list of d fields or a function (n, d) -> (n, d)")
            object.__setattr__(self, "map", tuple(as_field(part) for part in self.map))
        if self.inverse is not None and not callable(self.inverse):
            raise InputError(f"inverse must be a function (y, near), got {type(self.inverse).__name__}")
        if self.loss is not None:
            object.__setattr__(self, "loss", as_field(self.loss))

    def fields(self, dim: int) -> tuple[Field, ...]:
        """The components of y."""
        fields = mapped(self.map, dim) if callable(self.map) else self.map
        if len(fields) != dim:
            raise InputError(f"a Chart needs as many coordinates as the point, {dim}, got {len(fields)}")
        for part in fields:
            part.check_dim(dim)
        return fields

    def image(self, x: Array) -> Array:
        """y at x, both `(d,)`."""
        return np.array([part.value(x[None])[0] for part in self.fields(x.size)])

    def jacobian(self, x: Array) -> Array:
        """∂y/∂x at x: `(d, d)`, a row for each y."""
        return np.stack([part.gradient(x[None])[0] for part in self.fields(x.size)])

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        x = state.coordinates
        image = self.image(x)
        if self.inverse is not None and np.all(np.isfinite(image)):
            check_branch(self.inverse, image, x)
        if self.loss is None and not np.any(covector):
            return np.zeros_like(covector)
        slope, curvature = self._loss(x, covector, hessian) if self.loss is None else self._given(x, image, covector)
        return solve_metric(curvature, slope, self.damping, f"at {state!r} the chart's Hessian")

    def _loss(self, x: Array, covector: Array, hessian: Callable[[], Array]) -> tuple[Array, Array]:
        """∇L and H_L from H_x = Jᵀ H_L J + Σ ∂L/∂yₖ ∇²yₖ."""
        transposed = self.jacobian(x).T
        try:
            slope = np.linalg.solve(transposed, covector)
            bend = sum(s * part.hessian(x[None])[0] for s, part in zip(slope, self.fields(x.size), strict=True))
            half = np.linalg.solve(transposed, hessian() - bend)
            curvature = np.linalg.solve(transposed, half.T)
        except np.linalg.LinAlgError:
            raise InputError(
                f"the Jacobian of the chart is singular at {x.tolist()}; give Chart its loss=..."
            ) from None
        return np.asarray(slope, dtype=np.float64), 0.5 * (curvature + curvature.T)

    def _given(self, x: Array, image: Array, covector: Array) -> tuple[Array, Array]:
        slope = self.loss.gradient(image[None])[0]
        pulled = self.jacobian(x).T @ slope
        size = np.linalg.norm(covector) + np.linalg.norm(pulled)
        if not np.linalg.norm(pulled - covector) <= 1e-6 * size + 1e-12:
            raise InputError(
                f"the loss of the Chart is not the objective's: its gradient in x is {pulled.tolist()}, that of the "
                f"objective {covector.tolist()}"
            )
        return slope, self.loss.hessian(image[None])[0]

    def move(self, state: Any, direction: Array, step: float) -> Any:
        x = state.coordinates
        target = self.image(x) + step * direction
        if not np.all(np.isfinite(target)):
            return state.at(np.full_like(x, np.nan))
        if self.inverse is None:
            found = numerical_inverse(self.image, self.jacobian, target, x)
        else:
            found = given_inverse(self.inverse, target, x)
        check_image(self.image(found), target)
        return state.at(found)

    def velocity(self, state: Any, direction: Array) -> Array:
        if not np.any(direction):
            return direction
        return np.asarray(np.linalg.solve(self.jacobian(state.coordinates), direction), dtype=np.float64)
