"""Energies of the mollified density, whose particle flow is an exact gradient flow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError
from wflow.estimators import given_bandwidth
from wflow.functionals.base import DensityTerm, Functional


@dataclass(frozen=True, repr=False)
class Blob(Functional):
    """F of the mollified density: Σ wᵢ e((K * μ)(xᵢ)) with e(q) = U(q)/q, K a Gaussian of standard deviation
    `bandwidth`.

    `functional` is an f-divergence, an entropy, a power, an internal energy or a sum of them: e = φ(u)/u with u = K *
    μ/p. `bandwidth` is a number or `(d,)`. On particles the velocity is minus the exact gradient of this energy, so
    that the energy falls, balances its dissipation, and momentum is kept where there is no target. Source: Carrillo,
    Craig & Patacchini, Calc. Var. 58 (2019) 53, eqs. (1.9)-(1.11). Raises `InputError` for terms without a density,
    which stand beside: `Blob(PowerEntropy(2), 0.1) + Potential("x**2")`.

    >>> from wflow.functionals import Entropy
    >>> Blob(Entropy(), 0.1)
    Blob(Entropy(), 0.1)
    """

    functional: Functional
    bandwidth: float | tuple[float, ...]

    def __init__(self, functional: Functional, bandwidth: ArrayLike) -> None:
        if not isinstance(functional, Functional):
            raise InputError(f"Blob takes a functional such as wf.Entropy(), got {type(functional).__name__}")
        for _, term in functional.terms:
            if not isinstance(term, DensityTerm):
                raise InputError(f"Blob mollifies energies of the density; {term!r} is none: add it outside of Blob")
        if isinstance(bandwidth, str):
            raise InputError(f"Blob needs a bandwidth in numbers, which stays as the cloud moves, got {bandwidth!r}")
        width = given_bandwidth(bandwidth, max(1, np.size(bandwidth)))
        plain = float(width[0]) if len(width) == 1 else tuple(width.tolist())
        object.__setattr__(self, "functional", functional)
        object.__setattr__(self, "bandwidth", plain)

    @property
    def densities(self) -> tuple[tuple[float, Any], ...]:
        """The energies of the density with their coefficients."""
        return self.functional.terms

    def __repr__(self) -> str:
        return f"Blob({self.functional!r}, {self.bandwidth!r})"
