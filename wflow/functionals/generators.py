"""Convex functions φ behind the energies F[q] = ∫ p φ(q/p) dx: pointwise, knowing neither grid nor particle.

For a divergence D_f(p‖q) = ∫ q f(p/q) the function is the dual generator φ(u) = u f(1/u), u = q/p; for an internal
energy ∫ U(q) it is U, with p = 1. In both cases

    first variation   ξ = φ'(u)          (equals f(r) - r f'(r) with r = 1/u)
    pressure          Φ(u) = u φ'(u) - φ(u) + const,   Φ'(u) = u φ''(u)
    flow              ∂q/∂t = ∇·(q ∇ξ) = ∇·(p ∇Φ(u)),   particle velocity  -∇ξ = -Φ'(u) ∇ log u

Sources: Liese & Vajda, IEEE Trans. Inf. Theory 52 (2006) 4394 for the generators; Ambrosio, Gigli & Savaré, Gradient
Flows (2008), section 10.4.3 for the flow. A generator is steep when Φ'(0) = ∞: an infinite diffusivity at vacuum.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from scipy.special import wrightomega, xlogy

from wflow.arrays import Array


class Generator(Protocol):
    """φ and what follows from it, vectorised over u ≥ 0; u = 0 may give ±inf."""

    @property
    def steep(self) -> bool:
        """Whether Φ'(0) = ∞."""

    def value(self, u: Array) -> Array:
        """φ(u)."""

    def slope(self, u: Array) -> Array:
        """ξ = φ'(u)."""

    def curvature(self, u: Array) -> Array:
        """φ''(u); φ''(1) = f''(1) is the relaxation rate in units of the spectral gap."""

    def pressure(self, u: Array) -> Array:
        """Φ(u)."""

    def diffusivity(self, u: Array) -> Array:
        """Φ'(u) = u φ''(u), finite where u φ'' is."""

    def inverse(self, w: Array) -> Array:
        """u with Φ(u) = w; used by the solver where Φ is steep."""


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """φ = u log u: the reverse KL divergence, f = -log r, and the entropy."""

    steep: ClassVar[bool] = False

    def value(self, u: Array) -> Array:
        return xlogy(u, u)

    def slope(self, u: Array) -> Array:
        return np.log(u) + 1.0

    def curvature(self, u: Array) -> Array:
        return 1.0 / u

    def pressure(self, u: Array) -> Array:
        return u

    def diffusivity(self, u: Array) -> Array:
        return np.ones_like(u)

    def inverse(self, w: Array) -> Array:
        return w


@dataclass(frozen=True, slots=True)
class KullbackLeibler:
    """φ = -log u: f = r log r."""

    steep: ClassVar[bool] = True

    def value(self, u: Array) -> Array:
        return -np.log(u)

    def slope(self, u: Array) -> Array:
        return -1.0 / u

    def curvature(self, u: Array) -> Array:
        return 1.0 / u**2

    def pressure(self, u: Array) -> Array:
        return np.log(u)

    def diffusivity(self, u: Array) -> Array:
        return 1.0 / u

    def inverse(self, w: Array) -> Array:
        return np.exp(w)


@dataclass(frozen=True, slots=True)
class Pearson:
    """φ = (1 - u)²/u: f = (r - 1)²."""

    steep: ClassVar[bool] = True

    def value(self, u: Array) -> Array:
        return (1.0 - u) ** 2 / u

    def slope(self, u: Array) -> Array:
        return 1.0 - 1.0 / u**2

    def curvature(self, u: Array) -> Array:
        return 2.0 / u**3

    def pressure(self, u: Array) -> Array:
        return -2.0 / u

    def diffusivity(self, u: Array) -> Array:
        return 2.0 / u**2

    def inverse(self, w: Array) -> Array:
        return -2.0 / w


@dataclass(frozen=True, slots=True)
class Neyman:
    """φ = (u - 1)²: f = (1 - r)²/r."""

    steep: ClassVar[bool] = False

    def value(self, u: Array) -> Array:
        return (u - 1.0) ** 2

    def slope(self, u: Array) -> Array:
        return 2.0 * (u - 1.0)

    def curvature(self, u: Array) -> Array:
        return np.full_like(u, 2.0)

    def pressure(self, u: Array) -> Array:
        return u * u

    def diffusivity(self, u: Array) -> Array:
        return 2.0 * u

    def inverse(self, w: Array) -> Array:
        return np.sqrt(w)


@dataclass(frozen=True, slots=True)
class Hellinger:
    """φ = (1 - √u)²: f = (√r - 1)²."""

    steep: ClassVar[bool] = True

    def value(self, u: Array) -> Array:
        return (1.0 - np.sqrt(u)) ** 2

    def slope(self, u: Array) -> Array:
        return 1.0 - 1.0 / np.sqrt(u)

    def curvature(self, u: Array) -> Array:
        return 0.5 * u**-1.5

    def pressure(self, u: Array) -> Array:
        return np.sqrt(u)

    def diffusivity(self, u: Array) -> Array:
        return 0.5 / np.sqrt(u)

    def inverse(self, w: Array) -> Array:
        return w * w


@dataclass(frozen=True, slots=True)
class JensenShannon:
    """φ = ½[u log u - (1 + u) log((1 + u)/2)]: f = ½[r log r - (r + 1) log((r + 1)/2)]."""

    steep: ClassVar[bool] = False

    def value(self, u: Array) -> Array:
        return 0.5 * (xlogy(u, u) - (1.0 + u) * np.log(0.5 * (1.0 + u)))

    def slope(self, u: Array) -> Array:
        return 0.5 * np.log(2.0 * u / (1.0 + u))

    def curvature(self, u: Array) -> Array:
        return 0.5 / (u * (1.0 + u))

    def pressure(self, u: Array) -> Array:
        return 0.5 * np.log1p(u)

    def diffusivity(self, u: Array) -> Array:
        return 0.5 / (1.0 + u)

    def inverse(self, w: Array) -> Array:
        return np.expm1(2.0 * w)


@dataclass(frozen=True, slots=True)
class Jeffreys:
    """φ = (u - 1) log u: f = (r - 1) log r."""

    steep: ClassVar[bool] = True

    def value(self, u: Array) -> Array:
        return (u - 1.0) * np.log(u)

    def slope(self, u: Array) -> Array:
        return np.log(u) + 1.0 - 1.0 / u

    def curvature(self, u: Array) -> Array:
        return (1.0 + 1.0 / u) / u

    def pressure(self, u: Array) -> Array:
        return u + np.log(u)

    def diffusivity(self, u: Array) -> Array:
        return 1.0 + 1.0 / u

    def inverse(self, w: Array) -> Array:
        return wrightomega(w)  # u + log u = w is Wright's ω


@dataclass(frozen=True, slots=True)
class Triangular:
    """φ = (1 - u)²/(1 + u): f = (r - 1)²/(r + 1), Le Cam's."""

    steep: ClassVar[bool] = False

    def value(self, u: Array) -> Array:
        return (1.0 - u) ** 2 / (1.0 + u)

    def slope(self, u: Array) -> Array:
        return (u - 1.0) * (u + 3.0) / (1.0 + u) ** 2

    def curvature(self, u: Array) -> Array:
        return 8.0 / (1.0 + u) ** 3

    def pressure(self, u: Array) -> Array:
        return 4.0 * (u / (1.0 + u)) ** 2

    def diffusivity(self, u: Array) -> Array:
        return 8.0 * u / (1.0 + u) ** 3

    def inverse(self, w: Array) -> Array:
        root = np.sqrt(w)
        return root / (2.0 - root)
