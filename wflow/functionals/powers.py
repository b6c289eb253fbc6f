"""Generators with a parameter: powers, a user's convex function, and weighted sums of generators."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.expression import ScalarFunction
from wflow.functionals.generators import Generator


@dataclass(frozen=True)
class Alpha:
    """φ = (u^(1-a) - a - (1-a) u)/(a (a-1)): f = (r^a - a r - (1 - a))/(a (a - 1)), a not 0 or 1."""

    a: float

    @property
    def steep(self) -> bool:
        return self.a > 0.0

    def value(self, u: Array) -> Array:
        return (u ** (1.0 - self.a) - self.a - (1.0 - self.a) * u) / (self.a * (self.a - 1.0))

    def slope(self, u: Array) -> Array:
        return (1.0 - u**-self.a) / self.a

    def curvature(self, u: Array) -> Array:
        return u ** (-self.a - 1.0)

    def pressure(self, u: Array) -> Array:
        return u ** (1.0 - self.a) / (1.0 - self.a)

    def diffusivity(self, u: Array) -> Array:
        return u**-self.a

    def inverse(self, w: Array) -> Array:
        return ((1.0 - self.a) * w) ** (1.0 / (1.0 - self.a))


@dataclass(frozen=True)
class Power:
    """φ = u^m/(m - 1), m > 0, m ≠ 1: porous medium (m > 1) and fast diffusion (m < 1)."""

    m: float

    @property
    def steep(self) -> bool:
        return self.m < 1.0

    def value(self, u: Array) -> Array:
        return u**self.m / (self.m - 1.0)

    def slope(self, u: Array) -> Array:
        return self.m / (self.m - 1.0) * u ** (self.m - 1.0)

    def curvature(self, u: Array) -> Array:
        return self.m * u ** (self.m - 2.0)

    def pressure(self, u: Array) -> Array:
        return u**self.m

    def diffusivity(self, u: Array) -> Array:
        return self.m * u ** (self.m - 1.0)

    def inverse(self, w: Array) -> Array:
        return w ** (1.0 / self.m)


@dataclass(frozen=True)
class Convex:
    """φ = U, a convex function given by an expression."""

    function: ScalarFunction

    @cached_property
    def steep(self) -> bool:
        # Nothing but values of U is known: a diffusivity that has grown a thousandfold at 1e-12 counts as unbounded.
        near, one = self.diffusivity(np.array([1e-12, 1.0]))
        return bool(near > 1e3 * one)

    def value(self, u: Array) -> Array:
        return at_vacuum(self.function.value, u)

    def slope(self, u: Array) -> Array:
        return at_vacuum(self.function.slope, u)

    def curvature(self, u: Array) -> Array:
        return at_vacuum(self.function.curvature, u)

    def pressure(self, u: Array) -> Array:
        return at_vacuum(lambda s: s * self.function.slope(s) - self.function.value(s), u)

    def diffusivity(self, u: Array) -> Array:
        return at_vacuum(lambda s: s * self.function.curvature(s), u)

    def inverse(self, w: Array) -> Array:
        return invert_pressure(self, w)


@dataclass(frozen=True)
class Weighted:
    """φ = Σ cᵢ φᵢ with cᵢ > 0, all against one reference p."""

    weights: tuple[float, ...]
    parts: tuple[Generator, ...]

    @property
    def steep(self) -> bool:
        return any(part.steep for part in self.parts)

    def value(self, u: Array) -> Array:
        return _sum(self.weights, [part.value(u) for part in self.parts])

    def slope(self, u: Array) -> Array:
        return _sum(self.weights, [part.slope(u) for part in self.parts])

    def curvature(self, u: Array) -> Array:
        return _sum(self.weights, [part.curvature(u) for part in self.parts])

    def pressure(self, u: Array) -> Array:
        return _sum(self.weights, [part.pressure(u) for part in self.parts])

    def diffusivity(self, u: Array) -> Array:
        return _sum(self.weights, [part.diffusivity(u) for part in self.parts])

    def inverse(self, w: Array) -> Array:
        if len(self.parts) == 1:
            return self.parts[0].inverse(w / self.weights[0])
        return invert_pressure(self, w)


def at_vacuum(function: Callable[[Array], Array], u: Array) -> Array:
    """A function of the density, with its limit at u = 0 where text such as q*log(q) has no value there."""
    with np.errstate(all="ignore"):
        values = function(u)
        undefined = np.isnan(values) & (u == 0.0)
        return np.where(undefined, function(np.full_like(u, 1e-300)), values) if np.any(undefined) else values


def _sum(weights: tuple[float, ...], values: list[Array]) -> Array:
    total = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total = total + weight * value
    return total


def invert_pressure(generator: Generator, w: Array) -> Array:
    """u with Φ(u) = w by bisection in log u on [1e-300, 1e300], to about two units in the last place of log u."""
    low, high = np.full_like(w, -690.0), np.full_like(w, 690.0)
    with np.errstate(all="ignore"):
        for _ in range(64):
            middle = 0.5 * (low + high)
            above = ~(generator.pressure(np.exp(middle)) <= w)  # beyond its overflow Φ may be nan
            high, low = np.where(above, middle, high), np.where(above, low, middle)
    return np.exp(0.5 * (low + high))


def check_convex(function: ScalarFunction) -> None:
    """Refuse U that is not convex, or not finite, at two hundred densities from 1e-8 to 1e8."""
    s = np.logspace(-8, 8, 200)
    with np.errstate(all="ignore"):
        curvature = function.curvature(s)
        finite = np.isfinite(function.value(s))
    good = np.isfinite(curvature) & finite
    if not good.any():
        raise InputError(f"InternalEnergy needs U finite for densities q > 0, got {function.text!r}")
    if np.any(curvature[good] < 0.0):
        where = s[good][np.argmin(curvature[good])]
        raise InputError(f"InternalEnergy needs a convex U, but U'' < 0 at q = {where:g} for {function.text!r}")
