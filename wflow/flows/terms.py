"""A functional sorted by what its terms act on, and sums of fields."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.expression import Callback, Field
from wflow.functionals import (
    Blob,
    DensityTerm,
    Functional,
    Generator,
    Interaction,
    Logarithmic,
    Potential,
    Power,
    Simple,
)
from wflow.functionals.powers import Weighted

# Ratios are held between e^-340 and e^340, so that their squares stay within float64.
DEEPEST = 340.0


@dataclass(frozen=True)
class Fields:
    """Σ cᵢ Vᵢ(x, t): a field like its parts; the empty sum is zero."""

    parts: tuple[tuple[float, Field], ...]

    @property
    def timed(self) -> bool:
        return any(field.timed for _, field in self.parts)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def value(self, x: Array, t: float = 0.0) -> Array:
        return self._sum([w * field.value(x, t) for w, field in self.parts], np.zeros(len(x)))

    def gradient(self, x: Array, t: float = 0.0) -> Array:
        return self._sum([w * field.gradient(x, t) for w, field in self.parts], np.zeros(x.shape))

    def hessian(self, x: Array, t: float = 0.0) -> Array:
        return self._sum([w * field.hessian(x, t) for w, field in self.parts], np.zeros((*x.shape, x.shape[1])))

    @staticmethod
    def _sum(values: list[Array], zero: Array) -> Array:
        return sum(values[1:], start=values[0]) if values else zero


@dataclass(frozen=True)
class Terms:
    """The terms of a functional, each with its coefficient: energies of the density, potentials, interactions, blobs,
    `shapes`, which are energies of its gradient or of all cells, and `simple` ones of a point."""

    densities: tuple[tuple[float, Any], ...]
    potential: Fields
    interactions: tuple[tuple[float, Interaction], ...]
    blobs: tuple[tuple[float, Blob], ...] = ()
    shapes: tuple[tuple[float, Any], ...] = ()
    simple: tuple[tuple[float, Simple], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.densities or self.potential or self.interactions or self.blobs or self.shapes)

    @property
    def logarithmic(self) -> bool:
        """Whether every density term is an entropy or a reverse KL divergence: a linear diffusion."""
        return (
            bool(self.densities)
            and not self.shapes
            and all(isinstance(t.generator, Logarithmic) for _, t in self.densities)
        )

    @property
    def temperature(self) -> float:
        """Total weight of the entropy."""
        return sum(weight for weight, _ in self.densities)

    def pull(self, x: Array) -> Array | float:
        """Σ c ∇log p of the targets, 0 without."""
        return sum((w * term.target.score(x) for w, term in self.densities if term.target is not None), start=0.0)

    def law(self, x: Array, time: float) -> Array:
        """The log of the invariant density of a Langevin form, (-V + Σ c log p)/T up to a constant."""
        pulls = (w * term.target.log_density(x) for w, term in self.densities if term.target is not None)
        return sum(pulls, start=-self.potential.value(x, time)) / self.temperature


def sort_terms(
    functional: Functional | None, dim: int, blobs_for: str | None = "a density on a grid", on: str = ""
) -> Terms:
    """Sort the terms and check that each fits the dimension; `blobs_for` names what a Blob cannot be put on, if it
    cannot; `on` is "cells" where there are some for gradients, "point" where there is one to shrink."""
    if functional is not None and not isinstance(functional, Functional):
        raise InputError(f"a functional is wf.Entropy, wf.Potential, ... or a sum, got {type(functional).__name__}")
    found: dict[str, list[tuple[float, Any]]] = {name: [] for name in KINDS}
    terms: tuple[tuple[float, Any], ...] = functional.terms if functional is not None else ()
    for weight, term in terms:
        sort = _kind(term)
        CHECKS[sort](term, dim)
        if sort == "blobs" and blobs_for is not None:
            raise InputError(f"Blob mollifies a cloud of Particles, not {blobs_for}; take {term.functional!r} itself")
        if sort == "simple" and (on != "point" or found[sort]):
            raise InputError(f"{term!r} is a simple term of an objective: one of them, beside a Potential on a Point")
        if sort == "shapes" and on != "cells":
            raise InputError(f"{term!r} is an energy of a density on a grid, followed by wf.run: take a Density")
        found[sort].append((weight, term.field if sort == "potential" else term))
    potential = Fields(tuple(found.pop("potential")))
    return Terms(potential=potential, **{name: tuple(rows) for name, rows in found.items()})


def _kind(term: Any) -> str:
    if isinstance(term, Potential):
        return "potential"
    if isinstance(term, Interaction):
        return "interactions"
    if isinstance(term, Blob):
        return "blobs"
    if isinstance(term, DensityTerm):
        return "densities"
    return "simple" if isinstance(term, Simple) else "shapes"


def check_potential(term: Potential, dim: int) -> None:
    """Refuse a field of another dimension, and derivatives that are not its own."""
    term.field.check_dim(dim)
    if isinstance(term.field, Callback):
        term.field.probe(dim)


def check_interaction(term: Interaction, dim: int) -> None:
    """Refuse a field of another dimension, and one that is not even."""
    term.field.check_dim(dim)
    term.check_even(dim)


def check_target(term: Any, dim: int) -> None:
    """Refuse a target of another dimension."""
    if getattr(term, "target", None) is not None and term.target.dim != dim:
        raise InputError(f"the target has dimension {term.target.dim}, the state {dim}")


def check_blob(blob: Blob, dim: int) -> None:
    """Refuse targets and bandwidths of another dimension."""
    for _, term in blob.densities:
        check_target(term, dim)
    if isinstance(blob.bandwidth, tuple) and len(blob.bandwidth) != dim:
        raise InputError(f"the bandwidth of {blob!r} has {len(blob.bandwidth)} axes, the state {dim}")


CHECKS: dict[str, Callable[[Any, int], None]] = {
    "densities": check_target,
    "potential": check_potential,
    "interactions": check_interaction,
    "blobs": check_blob,
    "shapes": check_target,
    "simple": lambda term, dim: None,
}
KINDS = tuple(CHECKS)


def _by_parts(function: Callable[[Generator, Array], Array]) -> Callable[[Generator, Array], Array]:
    """A function of a sum as the sum of those of its parts, each of which knows more than the sum far out in log u."""

    @wraps(function)
    def summed(generator: Generator, log_u: Array) -> Array:
        if not isinstance(generator, Weighted):
            return function(generator, log_u)
        total = np.zeros_like(log_u)
        for weight, part in zip(generator.weights, generator.parts, strict=True):
            total = total + weight * summed(part, log_u)
        return total

    return summed


@_by_parts
def per_mass(generator: Generator, log_u: Array) -> Array:
    """φ(u)/u, the energy per unit of mass, from log u."""
    if isinstance(generator, Logarithmic):
        return log_u
    if isinstance(generator, Power):
        return np.exp((generator.m - 1.0) * log_u) / (generator.m - 1.0)
    with np.errstate(all="ignore"):
        u = np.exp(np.clip(log_u, -DEEPEST, DEEPEST))
        return _beyond(log_u, generator.value(u) / u)


def _beyond(log_u: Array, values: Array) -> Array:
    """Values taken at a ratio held in range: bounded ones are at their limit there, growing ones overflow."""
    outside = (np.abs(log_u) > DEEPEST) & (np.abs(values) > 1e100)
    return np.where(outside, np.copysign(np.inf, values), values)


@_by_parts
def per_mass_slope(generator: Generator, log_u: Array) -> Array:
    """d(φ(u)/u)/d log u = φ'(u) - φ(u)/u."""
    if isinstance(generator, Logarithmic):
        return np.ones_like(log_u)
    if isinstance(generator, Power):  # one exponential for two powers, and no overflow of u
        return np.exp((generator.m - 1.0) * log_u)
    with np.errstate(all="ignore"):
        u = np.exp(np.clip(log_u, -DEEPEST, DEEPEST))
        return _beyond(log_u, generator.slope(u) - generator.value(u) / u)


@_by_parts
def pressure_per_mass(generator: Generator, log_u: Array) -> Array:
    """Φ(u)/u from log u, with Φ(0) = 0 where that is finite: without the difference of φ' and φ/u, which at large u is
    nothing but their rounding."""
    if isinstance(generator, Logarithmic | Power):
        return per_mass_slope(generator, log_u)
    with np.errstate(all="ignore"):
        u = np.exp(np.clip(log_u, -DEEPEST, DEEPEST))
        bottom = generator.pressure(np.zeros(1))[0]
        return _beyond(log_u, (generator.pressure(u) - (bottom if np.isfinite(bottom) else 0.0)) / u)


@_by_parts
def diffusivity(generator: Generator, log_u: Array) -> Array:
    """Φ'(u) from log u."""
    if isinstance(generator, Logarithmic):
        return np.ones_like(log_u)
    if isinstance(generator, Power):
        return generator.m * np.exp((generator.m - 1.0) * log_u)
    with np.errstate(all="ignore"):
        return _beyond(log_u, generator.diffusivity(np.exp(np.clip(log_u, -DEEPEST, DEEPEST))))


@_by_parts
def slope_of(generator: Generator, log_u: Array) -> Array:
    """ξ = φ'(u) from log u; not as φ(u)/u + d(φ(u)/u)/d log u, which cancel where φ(0) > 0 and u < 1e-32."""
    if isinstance(generator, Logarithmic):
        return log_u + 1.0
    if isinstance(generator, Power):
        return generator.m / (generator.m - 1.0) * np.exp((generator.m - 1.0) * log_u)
    with np.errstate(all="ignore"):
        return _beyond(log_u, generator.slope(np.exp(np.clip(log_u, -DEEPEST, DEEPEST))))
