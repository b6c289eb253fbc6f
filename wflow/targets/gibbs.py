"""Densities stated by a potential, or uniform on a box."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow.arrays import Array, floats, frozen, generator, positions, vector
from wflow.errors import InputError
from wflow.expression import Expression, Field, as_field


@dataclass(frozen=True, repr=False)
class Gibbs:
    """p ∝ exp(-V/temperature), known up to a constant. `V`, `grad`: as in `Potential`; `dim` where V does not say
    it.

    A density on a grid scales p to mass 1 on its cells. Particles, Gaussians and points take exp(-V/temperature) as it
    is: their energies are another's, of a reverse-KL less by log Z, Z = ∫ exp(-V/temperature), and may be negative.
    """

    V: str | Callable[..., Any]
    temperature: float = 1.0
    dim: int | None = None
    grad: Callable[..., Any] | None = None

    normalized = False

    def __post_init__(self) -> None:
        temperature = floats("temperature", self.temperature)
        if temperature.ndim or temperature <= 0.0:
            raise InputError(f"temperature must be one positive number, got {self.temperature}")
        object.__setattr__(self, "temperature", float(temperature))
        if self.dim is None:
            object.__setattr__(self, "dim", max(1, self.field.dim) if isinstance(self.field, Expression) else None)
        if not isinstance(self.dim, int | np.integer) or self.dim < 1:
            raise InputError("Gibbs with a callable V needs dim=..., the number of coordinates")
        self.field.check_dim(self.dim)
        if self.field.timed:
            raise InputError(f"a target must not depend on the time, got {self.field.text!r}; use Entropy + Potential")

    @cached_property
    def field(self) -> Field:
        """V with its derivatives."""
        return as_field(self.V, self.grad)

    def log_density(self, x: ArrayLike) -> Array:
        return -self.field.value(positions("x", x, self.dim)) / self.temperature

    def density(self, x: ArrayLike) -> Array:
        return np.exp(self.log_density(x))

    def score(self, x: ArrayLike) -> Array:
        return -self.field.gradient(positions("x", x, self.dim)) / self.temperature

    def hessian(self, x: ArrayLike) -> Array:
        return -self.field.hessian(positions("x", x, self.dim)) / self.temperature

    def sample(self, n: int, rng: Any = 0) -> Array:
        raise InputError("a Gibbs target has no direct sampler: put it on a grid, or run wf.steppers.Langevin()")

    def __repr__(self) -> str:
        return f"Gibbs({self.field.text!r}, temperature={self.temperature:g}, dim={self.dim})"


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Uniform:
    """The uniform density on the box [lower, upper]."""

    lower: Array
    upper: Array

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        low, high = np.broadcast_arrays(vector("lower", lower), vector("upper", upper))
        if np.any(high <= low):
            raise InputError(f"upper must exceed lower on every axis, got lower {low} and upper {high}")
        object.__setattr__(self, "lower", frozen(low.copy()))
        object.__setattr__(self, "upper", frozen(high.copy()))

    normalized = True

    @property
    def dim(self) -> int:
        return self.lower.size

    def log_density(self, x: ArrayLike) -> Array:
        points = positions("x", x, self.dim)
        inside = np.all((points >= self.lower) & (points <= self.upper), axis=1)
        return np.where(inside, -np.log(self.upper - self.lower).sum(), -np.inf)

    def density(self, x: ArrayLike) -> Array:
        return np.exp(self.log_density(x))

    def score(self, x: ArrayLike) -> Array:
        return np.zeros_like(positions("x", x, self.dim))

    def hessian(self, x: ArrayLike) -> Array:
        return np.zeros((len(positions("x", x, self.dim)), self.dim, self.dim))

    def within(self, lower: Array, upper: Array) -> float:
        """See `Bounded`; exact."""
        common = np.minimum(upper, self.upper) - np.maximum(lower, self.lower)
        return float(np.prod(np.maximum(common, 0.0) / (self.upper - self.lower)))

    def sample(self, n: int, rng: Any = 0) -> Array:
        return generator(rng).uniform(self.lower, self.upper, size=(n, self.dim))

    def __repr__(self) -> str:
        return f"Uniform({self.lower.tolist()}, {self.upper.tolist()})"
