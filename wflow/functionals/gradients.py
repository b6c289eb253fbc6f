"""Energies of the gradient of a density, and energies given as a plain function of its cell averages.

A gradient energy is F[q] = c/2 ∫ p |∇ψ(u)|², u = q/p, p = 1 where there is no target. Its first variation is not the
derivative of an integrand but Euler and Lagrange's, δF/δq = -c ψ'(u)/p ∇·(p ∇ψ(u)), and its Wasserstein flow is of
fourth order. For densities on grids, where the derivative is that of the discrete energy, exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from wflow.arrays import Array
from wflow.derivatives import grad
from wflow.errors import InputError
from wflow.functionals.base import Functional
from wflow.targets import Target


@runtime_checkable
class GradientTerm(Protocol):
    """c/2 ∫ p |∇ψ(q/p)|²."""

    @property
    def factor(self) -> float:
        """c."""

    @property
    def target(self) -> Any:
        """p, or None."""

    def profile(self, u: Array) -> Array:
        """ψ(u)."""

    def profile_slope(self, u: Array) -> Array:
        """ψ'(u)."""

    def profile_curvature(self, u: Array) -> Array:
        """ψ''(u)."""


@dataclass(frozen=True)
class Dirichlet(Functional):
    """½ ∫ |∇q|² dx, with δF/δq = -Δq; its flow is the thin-film equation ∂q/∂t = -∇·(q ∇Δq).

    Source: Otto, Comm. PDE 23 (1998) 2077; Giacomelli & Otto, Calc. Var. 13 (2001) 377.
    """

    factor: ClassVar[float] = 1.0
    target: ClassVar[None] = None

    def profile(self, u: Array) -> Array:
        """u."""
        return u

    def profile_slope(self, u: Array) -> Array:
        """1."""
        return np.ones_like(u)

    def profile_curvature(self, u: Array) -> Array:
        """0."""
        return np.zeros_like(u)


@dataclass(frozen=True, repr=False)
class FisherInformation(Functional):
    """∫ q |∇ log q|² dx = 4 ∫ |∇√q|² dx; with a target ∫ q |∇ log(q/p)|², at which the reverse KL divergence falls.

    δF/δq = -4 Δ√q/√q, Bohm's potential, and the flow is the quantum drift-diffusion (Derrida–Lebowitz–Speer–Spohn)
    equation; start it from a positive density, since towards a vacuum its velocity is unbounded. Source: Gianazza,
    Savaré & Toscani, Arch. Ration. Mech. Anal. 194 (2009) 133.
    """

    target: Target | None = None

    factor: ClassVar[float] = 8.0

    def __post_init__(self) -> None:
        if self.target is not None and (isinstance(self.target, type) or not isinstance(self.target, Target)):
            raise InputError(f"the target must be a density such as wf.Gaussian(0.0, 1.0), got {self.target!r}")

    def profile(self, u: Array) -> Array:
        """√u."""
        return np.sqrt(u)

    def profile_slope(self, u: Array) -> Array:
        """1/(2√u)."""
        return 0.5 / np.sqrt(u)

    def profile_curvature(self, u: Array) -> Array:
        """-u^(-3/2)/4."""
        return -0.25 * u**-1.5

    def __repr__(self) -> str:
        return "FisherInformation()" if self.target is None else f"FisherInformation({self.target!r})"


@dataclass(frozen=True, repr=False)
class ValueFunctional(Functional):
    """F[q] = value(q), a function of the array of cell averages, differentiated by reverse mode.

    Write it with operators and `autograd.numpy`, the volume of a cell included; δF/δq is its gradient over that volume,
    exact to rounding. At its first use the gradient is held against differences, since some calls are traced wrongly in
    silence. Cost: a few evaluations a rate. Raises `InputError` where autograd cannot follow or is wrong.

    >>> ValueFunctional(lambda q: 0.1 * (q**2).sum()).gradient(np.array([1.0, 2.0]))
    array([0.2, 0.4])
    """

    value: Callable[[Any], Any]

    def __post_init__(self) -> None:
        if not callable(self.value):
            raise InputError(f"ValueFunctional takes a function of the cell averages, got {type(self.value).__name__}")

    @cached_property
    def _slopes(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        return grad(self.value), grad(self.value, check=False)

    @cached_property
    def _seen(self) -> set[tuple[int, ...]]:
        return set()

    def gradient(self, q: Array) -> Array:
        """∂F/∂q, of the shape of q; checked at its first use on every shape."""
        checked, plain = self._slopes
        found = np.asarray((plain if q.shape in self._seen else checked)(q), dtype=np.float64)
        self._seen.add(q.shape)
        return found

    def __repr__(self) -> str:
        return f"ValueFunctional({getattr(self.value, '__name__', type(self.value).__name__)})"
