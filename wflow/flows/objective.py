"""What a JKO step on a grid of more than one axis makes least, and the bound from above by which it does.

    S/2τ + F = OT(a, b)/2τ + Σ πφ(b/π) + V b  -  ½ OT(b, b)/2τ  +  ½ Σ b W * b  -  what depends on a alone

The last two terms keep it from being one concave problem of a potential, and are bounded by what touches them at the
last masses b'. In units of ε and of 1/b, -½ OT(b, b) has a Hessian of at most k/(1 + k) for what the blur of its plan
damps to k ≤ 1: its tangent and ½ KL(b‖b') are above it. A concave interaction is below its tangent; of any other, the
tangent and m KL(b‖b') are above it, at most with m = θ (max W - min W)/2 by Pinsker's inequality, θ = 2τ/ε. That is far
more than it takes, so m begins at 0 and grows where the sum has risen.

The next masses are then those of a transport from a (`linalg.semidual`) with potential g and

    (½ + m) log b + θ ∂(Σ πφ + V b)/∂b = base - g,   base = p + (½ + m) log b' - θ W * b',

p the potential of the transport of b' to itself.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from wflow.arrays import Array
from wflow.flows.levels import Level
from wflow.flows.response import Response
from wflow.linalg.semidual import Semidual
from wflow.linalg.softmin import Axes, SelfTransport, logs_of, self_transport, soft

SHARPNESS = 1.25  # ε in squares of the spacing: below 1 the lattice shows (exp(-π² ε/h²)), above, more bias
FAINTEST = 1e-250  # of the mass: emptier cells count as this, since what is maximised needs log b
SPILL = 0.1  # of masses blurred, at least, to start from: what has to grow from nothing does so by small factors
OWN = 1e-10  # what the transport of a to itself may leave: no more than that to b ever has to
ROUNDING = 1e-14  # of potentials
FIRST, GROWTH = 1 / 64, 4.0  # m begins at that share of its bound where it has to grow, by that factor


@dataclass(frozen=True, eq=False)
class Objective:
    """S(a, ·)/2τ + F on one grid: the masses a and energy of `level`, tau, ε over its usual value, and m."""

    level: Level
    tau: float
    widened: float = 1.0
    damping: float = 0.0

    @property
    def a(self) -> Array:
        return self.level.masses

    @property
    def eps(self) -> float:
        return self.widened * SHARPNESS * self.level.widest**2

    @property
    def theta(self) -> float:
        return 2.0 * self.tau / self.eps

    @cached_property
    def law(self) -> Response:
        """How masses answer to what acts on them."""
        return Response(self.level.energy, self.theta, 0.5 + self.damping)

    @cached_property
    def axes(self) -> Axes:
        return self.level.axes(np.sqrt(self.eps))

    @cached_property
    def rest(self) -> SelfTransport:
        """The transport of the masses a to themselves."""
        return self.own(self.a, OWN)

    @cached_property
    def spilled(self) -> Array:
        """A share of the masses a, blurred by the kernel."""
        found = np.exp(soft(logs_of(self.a), self.axes))
        return found * (SPILL * self.a.sum() / found.sum())

    def held(self, b: Array) -> Array:
        """Masses that have a logarithm, where there may be any."""
        return np.where(self.level.energy.open, np.maximum(b, FAINTEST * float(self.a.sum())), 0.0)

    def own(self, b: Array, tol: float, start: Array | None = None) -> SelfTransport:
        """The transport of b to itself."""
        return self_transport(partial(soft, axes=self.axes), b, tol, start)

    def base(self, b: Array, p: Array) -> Array:
        """What acts on the next masses beside their transport, b the last and p their own potential."""
        log_b = np.log(np.where(b > 0.0, b, 1.0))
        return p + self.law.share * log_b - self.theta * self.level.pull(b)

    def squared(self, dual: Semidual, b: Array, own: SelfTransport) -> tuple[float, float]:
        """S(a, b), 0 where it is nothing but rounding, and that rounding, b scaled to the mass of a.

        From values of the duals, which are off to second order where potentials are to first.
        """
        mass = float(self.a.sum())
        scale = mass / float(b.sum())  # potentials are known up to a constant, and long steps make them large
        there, back = self.a * (dual.f - self.rest.mean), scale * b * (dual.g - own.mean)
        rounding = ROUNDING * float(np.abs(there).sum() + np.abs(back).sum() + mass)
        total = float(there.sum() + back.sum()) + 0.5 * mass * np.log(scale)
        return self.eps * total if total > rounding else 0.0, self.eps * rounding

    def acting(self, b: Array) -> Array:
        """What acts where masses are b."""
        return self.law.share * np.log(np.where(b > 0.0, b, 1.0)) + self.law.force(b)

    @property
    def damped(self) -> "Objective":
        """The same with a larger m; itself where there is no interaction, or m is at its bound."""
        bound = 0.5 * self.theta * self.level.span * float(self.a.sum())
        if self.damping >= bound:
            return self
        return replace(self, damping=min(max(FIRST * bound, GROWTH * self.damping), bound))
