"""Simple terms of an objective: not smooth, but with a proximal step in closed form.

They stand beside a `Potential` on a point, and `steppers.ProximalGradient` follows the sum. Source: Parikh & Boyd,
Proximal Algorithms, Found. Trends Optim. 1 (2014) 127, chapter 6.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import InputError
from wflow.functionals.base import Functional


@runtime_checkable
class Simple(Protocol):
    """g(x), convex, of a point x `(d,)`."""

    def penalty(self, x: Array) -> float:
        """g(x), inf outside of a constraint."""

    def proximal(self, x: Array, step: float) -> Array:
        """argmin of g(y) + |y - x|²/(2 step)."""


def _positive(name: str, value: Any) -> float:
    number = floats(name, value)
    if number.ndim or number <= 0.0:
        raise InputError(f"{name} must be a positive number, got {value}")
    return float(number)


@dataclass(frozen=True)
class L1(Functional):
    """weight · Σ |xᵢ|: its proximal step shrinks every coordinate by weight · step, to zero at most.

    >>> L1(2.0).proximal(np.array([3.0, -0.5]), 0.5)
    array([ 2., -0.])
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _positive("the weight of L1", self.weight))

    def penalty(self, x: Array) -> float:
        """weight · |x|₁."""
        return self.weight * float(np.abs(x).sum())

    def proximal(self, x: Array, step: float) -> Array:
        """Soft thresholding."""
        return np.sign(x) * np.maximum(np.abs(x) - self.weight * step, 0.0)


@dataclass(frozen=True)
class Box(Functional):
    """0 inside lower ≤ x ≤ upper, inf outside: its proximal step is the projection. Bounds are numbers, which may be
    infinite, or `(d,)`."""

    lower: Any
    upper: Any

    def __post_init__(self) -> None:
        try:
            low, high = (np.asarray(side, dtype=np.float64) for side in (self.lower, self.upper))
        except (TypeError, ValueError):
            raise InputError(f"the sides of Box must be numbers, got {self.lower!r} and {self.upper!r}") from None
        if low.ndim > 1 or high.ndim > 1 or not np.all(low <= high):
            raise InputError(f"Box needs lower <= upper, numbers or (d,), got {self.lower!r} and {self.upper!r}")
        object.__setattr__(self, "lower", low.tolist())
        object.__setattr__(self, "upper", high.tolist())

    def penalty(self, x: Array) -> float:
        """0, or inf outside."""
        return 0.0 if np.array_equal(self.proximal(x, 1.0), x) else np.inf

    def proximal(self, x: Array, step: float) -> Array:
        """The nearest point of the box."""
        return np.clip(x, self.lower, self.upper)


@dataclass(frozen=True)
class Ball(Functional):
    """0 where |x| ≤ radius, inf outside: its proximal step is the projection."""

    radius: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", _positive("the radius of Ball", self.radius))

    def penalty(self, x: Array) -> float:
        """0, or inf outside, to rounding."""
        return 0.0 if np.linalg.norm(x) <= self.radius * (1.0 + 1e-14) else np.inf

    def proximal(self, x: Array, step: float) -> Array:
        """The nearest point of the ball."""
        size = float(np.linalg.norm(x))
        return x if size <= self.radius else x * (self.radius / size)
