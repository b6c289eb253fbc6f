"""A functional on a density on a grid: finite volumes.

Density terms that form one filtration equation take its two-point flux (`diffusion.py`), and divergences that are steep
at vacuum keep it beside other terms (`driven.py`); every other functional takes the upwind flux of -∇ξ with ξ = δF/δq
at the cells, which is at rest exactly where ξ is constant; a prescribed drift adds its own upwind flux
(`transport.py`). Metrics with a reaction are in `reaction.py`: in Fisher–Rao the coordinates are log q, and there is
no flux.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.boxes import kernel_faces, mean_on_faces, padded, wraps
from wflow.flows.diffusion import Diffusion, damping
from wflow.flows.driven import Driven
from wflow.flows.filtration import settled
from wflow.flows.jko_box import box_refusal, box_step
from wflow.flows.jko_line import Line, line_refusal, make_line
from wflow.flows.protocol import Facts, Memory, Solve, not_steepest, recurrence
from wflow.flows.reaction import log_linear, reacted, reaction_of
from wflow.flows.reference import Reference, Weights
from wflow.flows.shapes import inverse_of, spread
from wflow.flows.terms import Terms
from wflow.flows.transport import Drift, descent_velocities, upwind_rate
from wflow.flows.variation import Variation
from wflow.linalg.krylov import directional, newton_krylov, power_radius
from wflow.metrics import FisherRao, Metric, Wasserstein, WassersteinFisherRao, centred
from wflow.states import Density

# Products with the Jacobian are differences of the rate, which say nothing of tails below their own step.
SHAPED = 1e-10
# In units of the reaction's time. A mass of p e^-L comes up after log L of them, and float64 ends at L = 708.
HORIZONS = np.arange(1.0, 7.0)


@dataclass(frozen=True)
class DensityFlow:
    """∂q/∂t on cell averages; `rtol` gives the inner tolerance for a stage of size s as min(1e-6, rtol · s)."""

    terms: Terms
    metric: Metric
    variation: Variation
    diffusion: Diffusion | None
    extra: Drift | None
    rtol: float
    driven: Driven | None = None

    @cached_property
    def facts(self) -> Facts:
        timed = self.terms.potential.timed
        if self._in_place:
            linear = log_linear(self.terms) and not timed
            return Facts(per_time=True, signed=False, balanced=not timed, flat=False, linear=linear, jko=self._jko)
        reacting = isinstance(self.metric, WassersteinFisherRao)
        filtered = self.diffusion is not None and self.diffusion.form.linear
        return Facts(
            per_time=True,
            # Mass that leaves through an absorbing side may carry negative energy away.
            decays=self.extra is None and not timed and not self._open,
            signed=False,
            stiff=bool(self.terms.densities or self.terms.shapes),
            transport=not (self.terms.densities or self.terms.shapes),
            balanced=not timed,
            fused=self.diffusion is not None and self.diffusion.frozen and self.extra is None,
            linear=filtered and self.extra is None and not timed and not reacting,
            jko=self._jko,
            curved=self.variation.grid.dim > 1,
        )

    @property
    def _in_place(self) -> bool:
        return isinstance(self.metric, FisherRao)

    @cached_property
    def transport(self) -> "DensityFlow | None":
        """The flow without its reaction, where it has both: what a splitting puts between two half reactions."""
        return replace(self, metric=Wasserstein()) if isinstance(self.metric, WassersteinFisherRao) else None

    def react(self, time: float, state: Density, dt: float) -> Density:
        """The reaction alone over dt."""
        rate = reaction_of(self.metric)
        return reacted(self.terms, self.variation.slope, time, state, dt, rate, self.rtol)

    def apart(self, time: float, one: Density, other: Density) -> float:
        """The L1 distance of two densities, or what it grows to as the reaction brings up what is small now."""
        rate = reaction_of(self.metric) * self.terms.temperature
        later = HORIZONS / rate if log_linear(self.terms) and rate > 0.0 else ()
        pairs = [(one, other), *((self.react(time, one, s), self.react(time, other, s)) for s in later)]
        return max(self.error(a, a.values - b.values) for a, b in pairs)

    @property
    def _open(self) -> bool:
        return any("absorbing" in pair for pair in self.variation.grid.boundary)

    @property
    def name(self) -> str:
        return type(self.metric).__name__

    def energy(self, time: float, state: Density) -> float:
        return self.variation.energy(time, state.values)

    def dissipation(self, time: float, state: Density, rate: Array | None = None) -> float:
        if not self.facts.balanced:
            return np.nan
        rate = self.rate(time, state) if rate is None else rate
        rate = self.metric.velocity(state, rate)
        with np.errstate(all="ignore"):
            power = np.where(rate == 0.0, 0.0, self.variation.slope(time, state.values) * rate)
            total = -float(power.sum()) * state.grid.volume
        return total if np.isfinite(total) else np.inf  # an unbounded velocity into a vacuum

    def rate(self, time: float, state: Density) -> Array:
        if self._in_place:
            return self.metric.direction(state, self.variation.slope(time, state.values), _no_hessian)
        return self._rate(time, state.grid, state.values)

    def _rate(self, time: float, grid: Any, q: Array) -> Array:
        out = np.zeros(q.shape)
        if self.driven is not None:
            out = self.driven.rate(time, q)
        elif self.diffusion is not None:
            out = self.diffusion.rate(time, q)
        elif self.terms:
            out = upwind_rate(grid, q, descent_velocities(grid, self.variation.slope(time, q)))
        if self.extra is not None and self.driven is None:
            out = out + upwind_rate(grid, q, self.extra.velocities(time))
        if isinstance(self.metric, WassersteinFisherRao):
            out = out - self.metric.reaction * q * centred(q, self.variation.slope(time, q))
        return out

    def drift(self, time: float, state: Density) -> Array:
        raise InputError("Langevin moves particles, not a density; take wf.Particles(density.sample(n))")

    def compiled(self) -> None:
        return None

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape)

    def temperature(self) -> float:
        return 0.0

    def jacobian(self, time: float, state: Density, direction: Array) -> Array:
        q, grid = state.values, state.grid
        return directional(lambda y: self._rate(time, grid, y), q, self._rate(time, grid, q), direction)

    def _inner(self, scale: float) -> float:
        return max(SHAPED if self.terms.shapes else 1e-14, min(1e-6, self.rtol * scale))

    def resolvent(self, time: float, guess: Density, base: Array, scale: float) -> Solve:
        alone = self.driven or (self.diffusion if self.extra is None else None)
        reacting = isinstance(self.metric, WassersteinFisherRao)
        if alone is None or reacting or not alone.frozen:
            return self._krylov(time, guess, base, scale)
        answer = alone.implicit(time, guess.values, base, scale, self._inner(scale))
        values = answer.values.reshape(base.shape)
        return Solve(guess.at(values), answer.iterations, answer.linear, answer.converged)

    def _krylov(self, time: float, guess: Density, base: Array, scale: float) -> Solve:
        grid, goal = guess.grid, self._inner(scale) * float(np.abs(base).sum())
        root = newton_krylov(
            lambda y: self._rate(time, grid, y),
            guess.values,
            base,
            scale,
            lambda r: float(np.abs(r).sum()) <= goal,
            lambda y: self._inverse(time, grid, y, scale, exact=False),
        )
        values = settled(root.y, base, self._inner(scale), not self._open)
        return Solve(guess.at(values), root.iterations, root.linear, root.converged)

    def _inverse(self, time: float, grid: Any, q: Array, scale: float, exact: bool) -> Callable[[Array], Array]:
        """(1 - scale · Jacobian)⁻¹ of the diffusive part; the identity where there is none."""
        if not (self.terms.densities or self.terms.shapes):
            return lambda r: r
        diffusion = self.diffusion if self.driven is None else self.driven.diffusion
        if diffusion is not None:
            return diffusion.inverse(time, q, scale, exact)
        # δξ = stiffness · δq and the flux q ∇δξ: again D + s A, with D = 1/stiffness and q on the faces.
        held = np.maximum(q, 0.0)
        faces = [mean_on_faces(grid, held, axis) for axis in range(grid.dim)]
        stiffness = self.variation.stiffness(held)
        mobility = Weights(padded(grid, held), kernel_faces(grid, faces), wraps(grid))
        if self.variation.shapes:
            return inverse_of(spread(mobility, self.variation.curvature(held)), scale)
        diag = padded(grid, 1.0 / np.maximum(stiffness, 1e-200))
        return damping(replace(mobility, cells=diag), diag, scale, exact)

    def spectral_radius(self, time: float, state: Density) -> float:
        if self.diffusion is not None and self.extra is None:
            return self.diffusion.radius(time, state.values)
        return power_radius(lambda v: self.jacobian(time, state, v), state.values)

    def recurrence(self, time: float, state: Density, dt: float, rows: Array, first: Array) -> Density:
        moving = self.extra is not None or self.terms.potential.timed  # the fused stages hold p over the step
        if self.diffusion is None or moving or not self.diffusion.frozen:
            return recurrence(self, time, state, dt, rows, first)
        return state.at(self.diffusion.recurrence(time, state.values, dt, rows, first, self._inner(dt)))

    def propagate(self, state: Density, dt: float) -> Solve:
        if self._in_place and self.facts.linear:
            return Solve(self.react(0.0, state, dt), 1, 0, True)
        if self.diffusion is None or not self.facts.linear:
            raise InputError("only a linear flow on a grid has an exponential; take an adaptive stepper")
        answer = self.diffusion.propagate(state.values, dt, self._exactness(dt), state.grid.volume)
        return Solve(state.at(answer.values), answer.steps, answer.linear, answer.converged, terms=answer.terms)

    def _exactness(self, dt: float) -> float:
        return max(1e-12, min(1e-6, self.rtol * dt))

    def stages(self, state: Density, dt: float) -> float:
        """What a step of `propagate` costs, in stages of a sweep; inf where the flow has none."""
        if self.diffusion is None or not self.facts.linear:
            return np.inf
        return self.diffusion.terms(state.values, dt, self._exactness(dt), state.grid.volume)

    def smooth(self, time: float, state: Density, delta: Array, scale: float) -> Array:
        return self._inverse(time, state.grid, state.values, scale, exact=True)(delta)

    def proximal(self, time: float, state: Density, tau: float, memory: Memory | None, ahead: float = 0.0) -> Solve:
        if self.facts.jko:
            raise InputError(f"no JKO step: {self.facts.jko}")
        if state.dim > 1:
            return box_step(self.variation, state, time, tau)
        level = (lambda: self.energy(time, state)) if self.facts.decays else None
        return self._line(time).step(state, tau, memory, ahead, self.rtol, level)

    def _line(self, time: float) -> Line:
        if self.terms.potential.timed:
            return make_line(self.variation.grid, self.terms, self._form, self.variation.mass, time)
        return self._fixed_line

    @cached_property
    def _fixed_line(self) -> Line:
        return make_line(self.variation.grid, self.terms, self._form, self.variation.mass, 0.0)

    @property
    def _form(self) -> Reference | None:
        return None if self.diffusion is None else self.diffusion.form

    @property
    def _jko(self) -> str:
        if self.extra is not None or not isinstance(self.metric, Wasserstein):
            return not_steepest(self.name, self.extra, "Wasserstein")
        if self.variation.grid.dim > 1:
            return box_refusal(self.variation.grid, self.terms)
        return line_refusal(self.variation.grid, self.terms, self._form)

    def move(self, state: Density, direction: Array, step: float) -> Density:
        return self.metric.move(state, direction, step)

    def log_density(self, time: float, state: Density) -> Array:
        raise InputError("MALA moves particles, not a density; take wf.Particles(density.sample(n))")

    def error(self, state: Density, delta: Array) -> float:
        delta = state.values * delta if self._in_place else delta
        return float(np.abs(delta).sum()) * state.grid.volume

    def measures(self, time: float, state: Density) -> dict[str, float]:
        values = {"mass": state.mass, "minimum": float(state.values.min())}
        if self._open:  # what has left through absorbing sides: mass + outflow is the mass of the start
            values["outflow"] = self.variation.mass - state.mass
        return values


def _no_hessian() -> Array:
    raise InputError("densities have no Hessian metric; take metrics.Wasserstein()")
