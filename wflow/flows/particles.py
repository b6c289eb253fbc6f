"""A functional on particles: plug-in, blob and Stein flows, potentials, interactions, and the Langevin form.

The plug-in flow puts a density estimate q̂ into the velocity -∇δF/δq,

    v = Σ -c Φ'(u) (∇ log q̂ - ∇ log p) - ∇V - ∇W * q,    u = q̂/p,

and is the gradient flow of no discrete energy: its dissipation is not claimed. Entropy and reverse KL have the noisy
form dx = (c ∇ log p - ∇V - ∇W * q) dt + sqrt(2c) dW. A Blob adds minus the exact gradient of its own discrete energy
(`flows.blob`). In metrics with a reaction weights change too, d log wᵢ/dt = -a (ξᵢ - ⟨ξ⟩) with ξ = Σ c φ'(u) + V +
W * q at the particles: rates are (velocity | growth), `(n, d + 1)`, or the growth alone.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.estimators import Box, Estimate
from wflow.flows.blob import BlobPart, linearised
from wflow.flows.buffers import Buffers, Latest
from wflow.flows.interactions import InteractionPart
from wflow.flows.jko_cloud import Tied, cloud_refusal, moved
from wflow.flows.point import mixed_rms, potential_objective
from wflow.flows.pointwise import Pointwise, pointwise
from wflow.flows.protocol import Facts, Memory, Solve, ahead_of, recurrence
from wflow.flows.reaction import reach, reaction_of
from wflow.flows.terms import Fields, Terms, diffusivity, per_mass, slope_of
from wflow.linalg.krylov import Map, newton_krylov, power_radius, solve_linear
from wflow.linalg.proximal import minimise, proximal_rows
from wflow.metrics import FisherRao, Metric, Stein, Wasserstein, WassersteinFisherRao, centred, grown
from wflow.states import Particles


@dataclass(frozen=True)
class ParticleFlow:
    """dx/dt = v(x); `log_norms` are log ∫ p of the targets, 0 where they are normalised or do not need to be."""

    terms: Terms
    metric: Metric
    extra: Any
    estimator: Any
    rtol: float
    log_norms: tuple[float, ...]
    box: Box | None
    blobs: tuple[BlobPart, ...] = ()
    pulls: tuple[InteractionPart, ...] = ()
    buffers: Buffers = field(default_factory=Buffers, repr=False, compare=False)
    latest: Latest = field(default_factory=Latest, repr=False, compare=False)

    @cached_property
    def facts(self) -> Facts:
        stein = isinstance(self.metric, Stein)
        pure = not self.terms.densities and self.extra is None and not stein
        noisy, reacting = not self.terms.densities or self.terms.logarithmic, reaction_of(self.metric) > 0.0
        return Facts(
            flat=not reacting,
            weighted=reacting,
            folded=self.box is not None,
            decays=pure and not self.terms.potential.timed and self.box is None and not reacting,
            stiff=self._only_blobs and not reacting,
            metered=pure and not self.terms.interactions and not self.blobs,
            gauged=not self.terms.densities or self.estimator.gives_density,
            balanced=pure and self.box is None and not self.terms.potential.timed,
            noisy=noisy and not self.blobs and not stein and not isinstance(self.metric, FisherRao),
            jko=cloud_refusal(self.terms, self.extra, self.metric, self.box),
            timed=self.terms.potential.timed or (self.extra is not None and self.extra.timed),
        )

    @cached_property
    def transport(self) -> "ParticleFlow | None":
        """The flow without its reaction, where it has both: what samplers move, between two half reactions."""
        return replace(self, metric=Wasserstein()) if isinstance(self.metric, WassersteinFisherRao) else None

    def react(self, time: float, state: Particles, dt: float) -> Particles:
        """Weights alone over dt, ξ taken once: exact for ξ = ε log q̂ + V were q̂ to grow with the weights."""
        warmth = self.terms.temperature if self.terms.logarithmic else 0.0
        length = reach(reaction_of(self.metric), warmth, dt)
        xi = self._slope(time + 0.5 * dt, state)[:, None]
        return grown(state, -length * centred(state.weights[:, None], xi))

    def apart(self, time: float, one: Particles, other: Particles) -> float:
        """The distance of two clouds; samplers, for whom it is there, do not adapt."""
        return self.error(one, one.coordinates - other.coordinates)

    @property
    def _pairs(self) -> tuple[InteractionPart | BlobPart, ...]:
        """What depends on pairs of particles, each the exact gradient of its energy."""
        return (*self.pulls, *self.blobs)

    @cached_property
    def _only_blobs(self) -> bool:
        """Whether nothing moves the cloud but internal energies of its mollified density."""
        other = self.terms.densities or self.terms.potential or self.terms.interactions or self.extra is not None
        return (
            bool(self.blobs)
            and not other
            and all(t.target is None for part in self.blobs for _, t in part.blob.densities)
        )

    @property
    def name(self) -> str:
        return type(self.metric).__name__

    def estimate(self, state: Particles) -> Estimate:
        """Density and score at the particles."""
        x, weights = state.positions, state.weights
        return self.latest.of(x, weights, lambda: self.estimator(x, weights, self.box))

    def energy(self, time: float, state: Particles) -> float:
        x, total = state.positions, 0.0
        if self.terms.densities:
            try:
                logs = np.log(self.estimate(state).density)
            except InputError:
                if self.facts.noisy and np.any(np.ptp(x, axis=0) == 0.0):
                    return np.inf  # the entropy of a Dirac, from which Langevin may start
                raise
            for (weight, term), norm in zip(self.terms.densities, self.log_norms, strict=True):
                log_u = logs if term.target is None else logs - term.target.log_density(x) + norm
                total += weight * float(state.weights @ per_mass(term.generator, log_u))
        if self.terms.potential:
            total += float(state.weights @ self.terms.potential.value(x, time))
        return total + sum(part.energy(state) for part in self._pairs)

    def dissipation(self, time: float, state: Particles, rate: Array | None = None) -> float:
        if not self.facts.balanced:
            return np.nan
        squares = self.rate(time, state) ** 2
        if (reaction := reaction_of(self.metric)) > 0.0:
            squares[:, -1] /= reaction
        return float(np.einsum("i,ik->", state.weights, squares))  # no BLAS, which starts threads for this

    def rate(self, time: float, state: Particles) -> Array:
        if isinstance(self.metric, FisherRao):
            return self.metric.direction(state, self._slope(time, state)[:, None], _no_hessian)
        if isinstance(self.metric, WassersteinFisherRao):
            covector = np.column_stack([-self._velocity(time, state), self._slope(time, state)])
            return self.metric.direction(state, covector, _no_hessian)
        return self._velocity(time, state)

    def _slope(self, time: float, state: Particles) -> Array:
        """ξ at the particles `(n,)`; of blobs ∂E/∂wᵢ."""
        x = state.positions
        total = self.terms.potential.value(x, time)
        if self.terms.densities:
            logs = np.log(self.estimate(state).density)
            for (weight, term), norm in zip(self.terms.densities, self.log_norms, strict=True):
                log_u = logs if term.target is None else logs - term.target.log_density(x) + norm
                total = total + weight * slope_of(term.generator, log_u)
        return total + sum(part.slope(state) for part in self._pairs)

    def _velocity(self, time: float, state: Particles) -> Array:
        if isinstance(self.metric, Stein):
            covector = self._covector(time, state) - self.terms.pull(state.positions)
            return self._with_extra(self.metric.entropic(state, covector, self.terms.temperature), time, state)
        if self._only_blobs:
            return reduce(np.add, [part.velocity(state) for part in self.blobs])
        x, estimate, velocity = state.positions, None, self._forces(time, state)
        for (weight, term), norm in zip(self.terms.densities, self.log_norms, strict=True):
            estimate = self.estimate(state) if estimate is None else estimate
            log_u, score = np.log(estimate.density), estimate.score
            if term.target is not None:
                score = score - term.target.score(x)
                log_u = log_u - term.target.log_density(x) + norm
            velocity = velocity - weight * diffusivity(term.generator, log_u)[:, None] * score
        for part in self.blobs:
            velocity = velocity + part.velocity(state)
        return velocity

    def _forces(self, time: float, state: Particles) -> Array:
        """-∇V - ∇W * q + b."""
        return self._with_extra(-self._covector(time, state), time, state)

    def _covector(self, time: float, state: Particles) -> Array:
        """∇V + ∇W * q."""
        covector = self.terms.potential.gradient(state.positions, time)
        for part in self.pulls:
            covector = covector + part.gradient(state)
        return covector

    def _with_extra(self, velocity: Array, time: float, state: Particles) -> Array:
        return velocity if self.extra is None else velocity + self.extra.value(state.positions, time)

    def drift(self, time: float, state: Particles) -> Array:
        self.temperature()
        return self._forces(time, state) + self.terms.pull(state.positions)

    def compiled(self) -> Pointwise | None:
        return self._pointwise

    def empty(self, shape: tuple[int, ...]) -> Array:
        return self.buffers.empty(shape)

    @cached_property
    def _pointwise(self) -> Pointwise | None:
        return pointwise(self.terms, self.extra) if isinstance(self.metric, Wasserstein) else None

    def temperature(self) -> float:
        if not self.facts.noisy:
            raise InputError(
                "only an entropy or a reverse KL divergence, with potentials and interactions, in the Wasserstein "
                "metric has a Langevin form; leave the stepper out for the deterministic flow of the others"
            )
        return self.terms.temperature

    def jacobian(self, time: float, state: Particles, direction: Array) -> Array:
        return self._along(time, state)(direction)

    def _along(self, time: float, state: Particles) -> Map:
        """v ↦ the Jacobian of the rate times v."""
        if not (self.blobs and isinstance(self.metric, Wasserstein)):
            return linearised((), state, None, lambda x: self.rate(time, state.at(x)))
        own = self.terms.potential.hessian(state.positions, time) if self.terms.potential else None
        rest = replace(self, blobs=(), terms=replace(self.terms, potential=Fields(()), blobs=()))
        moves = rest.terms or self.extra is not None
        return linearised(self.blobs, state, own, (lambda x: rest.rate(time, state.at(x))) if moves else None)

    def _symmetric(self, state: Particles) -> Array | None:
        """Weights in which the Jacobian is symmetric, minus a Hessian; None where it is not, or without mass."""
        whole = self.extra is None and not self.terms.densities and isinstance(self.metric, Wasserstein)
        return state.weights[:, None] if whole and state.weights.min() > 0.0 else None

    def resolvent(self, time: float, guess: Particles, base: Array, scale: float) -> Solve:
        others = self.terms.densities or self.terms.interactions or self.blobs or self.extra is not None
        alone = not others and self.box is None and isinstance(self.metric, Wasserstein)
        if self.terms.potential and alone:
            rows = potential_objective(self.terms.potential, time)
            y, count, good = proximal_rows(rows, guess.positions, base, scale, self.rtol)
            return Solve(guess.at(y), count, 0, good)
        root = newton_krylov(
            lambda x: self.rate(time, guess.at(x)),
            guess.positions,
            base,
            scale,
            lambda r: self.error(guess, r) <= self.rtol,
            along=lambda x: self._along(time, guess.at(x)),
            weights=self._symmetric(guess),
        )
        return Solve(guess.at(root.y), root.iterations, root.linear, root.converged)

    def spectral_radius(self, time: float, state: Particles) -> float:
        if not self.blobs or any(t.target is not None for part in self.blobs for _, t in part.blob.densities):
            return power_radius(self._along(time, state), state.positions)
        own = sum(part.radius(state) for part in self.blobs)
        return own if self._only_blobs else own + replace(self, blobs=()).spectral_radius(time, state)

    def recurrence(self, time: float, state: Particles, dt: float, rows: Array, first: Array) -> Particles:
        return recurrence(self, time, state, dt, rows, first)

    def propagate(self, state: Particles, dt: float) -> Solve:
        raise InputError("only a linear flow on a grid has an exponential; take an adaptive stepper")

    def smooth(self, time: float, state: Particles, delta: Array, scale: float) -> Array:
        along = self._along(time, state)
        return solve_linear(lambda v: v - scale * along(v), delta, None, 1e-6, self._symmetric(state))[0]

    def proximal(self, time: float, state: Particles, tau: float, memory: Memory | None, ahead: float = 0.0) -> Solve:
        if self.facts.jko:
            raise InputError(f"no JKO step: {self.facts.jko}")
        base = ahead_of(state.positions, memory, ahead)
        if not (self.terms.interactions or self.blobs):
            rows = potential_objective(self.terms.potential, time)
            return moved(state, *proximal_rows(rows, state.positions, base, tau, self.rtol))
        tied = Tied(
            lambda y: self.energy(time, state.at(y)),
            lambda y: self.rate(time, state.at(y)),
            lambda y: self._along(time, state.at(y)),
            base,
            state.weights,
            tau,
            self.rtol,
        )
        return moved(state, *minimise(tied, state.positions.reshape(1, -1)))

    def move(self, state: Particles, direction: Array, step: float) -> Particles:
        return self.metric.move(state, direction, step)

    def log_density(self, time: float, state: Particles) -> Array:
        others = self.terms.interactions or self.blobs or self.extra is not None
        if others or not self.terms.logarithmic:
            raise InputError("an invariant density per particle needs an entropy or reverse KL and potentials only")
        return self.terms.law(state.positions, time)

    def error(self, state: Particles, delta: Array) -> float:
        if not self.facts.weighted:
            return mixed_rms(state.positions, delta)
        # Errors of log w count by the weight they are of; positions, where they move, as ever.
        growth = float(state.weights @ delta[:, -1] ** 2)
        moved = mixed_rms(state.positions, delta[:, :-1]) if delta.shape[1] > 1 else 0.0
        return float(np.hypot(moved, np.sqrt(growth)))

    def measures(self, time: float, state: Particles) -> dict[str, float]:
        return {"effective_number": 1.0 / float(state.weights @ state.weights)} if self.facts.weighted else {}


def _no_hessian() -> Array:
    raise InputError("particles have no Hessian metric; take metrics.Wasserstein()")
