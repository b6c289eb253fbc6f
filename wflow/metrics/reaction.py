"""Metrics in which mass is born and dies in place: Fisher–Rao, and Fisher–Rao beside Wasserstein.

On a density the covector is ξ = δF/δq at the cells, on a cloud ξ at the particles, `(n, 1)`. The mean of ξ under q is
taken out, so that the mass stays: ∂q/∂t = -q (ξ - ⟨ξ⟩). Moving is multiplying, q⁺ ∝ q exp(step · direction), which
is adding in log q: no step makes a density negative, and what is empty stays empty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import InputError
from wflow.metrics.protocol import straight
from wflow.states import Density, Particles


@dataclass(frozen=True)
class FisherRao:
    """∫ (∂q)²/q: the metric of information geometry, ∂q/∂t = -q (ξ - ⟨ξ⟩), on densities and weighted clouds.

    Nothing moves: a cloud keeps its positions and changes its weights. Under reverse KL, log q - log p shrinks as
    e^-t, up to a constant, whatever the target: no barrier slows it, but where q has no mass none comes. Directions
    are rates of log q. Source: Amari, Information Geometry and Its Applications (2016), ch. 2; Lu, Slepčev & Wang,
    Nonlinearity 36 (2023) 5731. On a Gaussian it is `Natural()`.
    """

    states: ClassVar[tuple[type, ...]] = (Density, Particles)
    flat: ClassVar[bool] = False

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return -centred(mass_of(state, covector), covector)

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return grown(state, step * direction)

    def velocity(self, state: Any, direction: Array) -> Array:
        return mass_of(state, direction) * direction


@dataclass(frozen=True)
class WassersteinFisherRao:
    """Transport and reaction at once: ∂q/∂t = ∇·(q ∇ξ) - a q (ξ - ⟨ξ⟩) with a = `reaction`.

    Also called Hellinger–Kantorovich, and in samplers birth and death. It loses F at the sum of both rates. On a
    cloud the covector is (∇ξ | ξ) `(n, d + 1)`, positions move by their velocity and weights by their growth; on a
    density, where the rate of q itself is handed in, moving is adding. Source: Gallouët & Monsaingeon, SIAM J. Math.
    Anal. 49 (2017) 1100; Lu, Lu & Nolen, Accelerating Langevin sampling with birth-death (2019), eq. (1.4).
    """

    reaction: float = 1.0

    states: ClassVar[tuple[type, ...]] = (Density, Particles)
    flat: ClassVar[bool] = False

    def __post_init__(self) -> None:
        rate = floats("reaction", self.reaction)
        if rate.ndim or rate <= 0.0:
            raise InputError(f"reaction must be a positive number, got {self.reaction}; without one take Wasserstein()")
        object.__setattr__(self, "reaction", float(rate))

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        if isinstance(state, Density):
            return -covector
        growth = self.reaction * centred(state.weights[:, None], covector[:, -1:])
        return -np.column_stack([covector[:, :-1], growth])

    def move(self, state: Any, direction: Array, step: float) -> Any:
        if isinstance(state, Density):
            return straight(state, direction, step)
        return grown(straight(state, direction[:, :-1], step), step * direction[:, -1:])

    def velocity(self, state: Any, direction: Array) -> Array:
        if isinstance(state, Density):
            return direction
        return np.column_stack([direction[:, :-1], state.weights * direction[:, -1]])


def mass_of(state: Any, like: Array) -> Array:
    """q at the cells, or the weights as a column."""
    return state.values if isinstance(state, Density) else state.weights.reshape(like.shape)


def centred(mass: Array, xi: Array) -> Array:
    """ξ minus its mean under the mass; 0 where there is none, whatever ξ is there."""
    held = mass > 0.0
    inside = np.where(held, xi, 0.0)
    return np.where(held, inside - float(np.sum(mass * inside)) / float(mass.sum()), 0.0)


def grown(state: Any, growth: Array) -> Any:
    """The state with each mass times exp(growth), scaled to the mass it had; all nan where the growth is no number."""
    mass = mass_of(state, growth)
    held = mass > 0.0
    top = float(growth[held].max())
    if not np.isfinite(top) or np.isnan(growth[held]).any():
        return state.at(np.full_like(state.coordinates, np.nan))
    # From the largest down, so that nothing overflows; a mass below the range of float64 is zero from then on.
    new = np.where(held, mass * np.exp(np.where(held, growth - top, 0.0)), 0.0)
    new *= float(mass.sum()) / float(new.sum())
    if isinstance(state, Density):
        return state.at(new)
    return state.with_parts(state.positions, new.ravel(), state.domain)
