"""A functional on a density on a grid: finite volumes.

Density terms that form one filtration equation take its two-point flux (`reference.py`); every other functional
takes the upwind flux of -∇ξ with ξ = δF/δq at the cells, which is at rest exactly where ξ is constant; a prescribed
drift adds its own upwind flux (`transport.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.boxes import kernel_faces, mean_on_faces, padded, wraps
from wflow.flows.filtration import linear_step, newton_step, operator, stiffness_product
from wflow.flows.protocol import Facts, Solve
from wflow.flows.reference import Reference, Weights
from wflow.flows.terms import Terms
from wflow.flows.transport import Drift, descent_velocities, upwind_rate
from wflow.flows.variation import TINY, Variation
from wflow.linalg.cg import solve
from wflow.linalg.krylov import directional, newton_krylov
from wflow.metrics import Metric
from wflow.states import Density


@dataclass(frozen=True)
class DensityFlow:
    """∂q/∂t on cell averages; `rtol` gives the inner tolerance for a stage of size s as min(1e-6, rtol · s)."""

    terms: Terms
    metric: Metric
    variation: Variation
    reference: Reference | None
    extra: Drift | None
    rtol: float

    @property
    def facts(self) -> Facts:
        timed = self.terms.potential.timed
        return Facts(
            per_time=True,
            decays=self.extra is None and not timed,
            signed=False,
            stiff=bool(self.terms.densities),
            transport=not self.terms.densities,
            balanced=not timed,
        )

    @property
    def name(self) -> str:
        return type(self.metric).__name__

    def energy(self, time: float, state: Density) -> float:
        return self.variation.energy(time, state.values)

    def dissipation(self, time: float, state: Density) -> float:
        if not self.facts.balanced:
            return np.nan
        rate = self.rate(time, state)
        with np.errstate(all="ignore"):
            power = np.where(rate == 0.0, 0.0, self.variation.slope(time, state.values) * rate)
        return -float(power.sum()) * state.grid.volume

    def rate(self, time: float, state: Density) -> Array:
        return self._rate(time, state.grid, state.values)

    def _rate(self, time: float, grid: Any, q: Array) -> Array:
        out = np.zeros(q.shape)
        if self.reference is not None:
            out = out - self._filtration_rate(self.reference, self.reference.weights(time, q), q)
        elif self.terms.densities or self.terms.potential or self.terms.interactions:
            out = out + upwind_rate(grid, q, descent_velocities(grid, self.variation.slope(time, q)))
        if self.extra is not None:
            out = out + upwind_rate(grid, q, self.extra.velocities(time))
        return out

    @staticmethod
    def _filtration_rate(reference: Reference, weights: Weights, q: Array) -> Array:
        p = weights.cells
        u = np.divide(q.reshape(p.shape), p, out=np.zeros_like(p), where=p > 0.0)
        with np.errstate(all="ignore"):
            pressure = reference.generator.pressure(u)
            bottom = reference.generator.pressure(np.zeros(1))[0]
        pressure = pressure - bottom if np.isfinite(bottom) else pressure
        return stiffness_product(weights, pressure).reshape(q.shape)

    def drift(self, time: float, state: Density) -> Array:
        raise InputError("Langevin moves particles, not a density; take wf.Particles(density.sample(n))")

    def temperature(self) -> float:
        return 0.0

    def jacobian(self, time: float, state: Density, direction: Array) -> Array:
        q, grid = state.values, state.grid
        return directional(lambda y: self._rate(time, grid, y), q, self._rate(time, grid, q), direction)

    def _inner(self, scale: float) -> float:
        return max(1e-13, min(1e-6, self.rtol * scale))

    def resolvent(self, time: float, guess: Density, base: Array, scale: float) -> Solve:
        reference = self.reference
        if reference is None or self.extra is not None or reference.convolutions:
            return self._krylov(time, guess, base, scale)
        weights = reference.weights(time, guess.values)
        shape, rtol = weights.cells.shape, self._inner(scale)
        start, rhs = guess.values.reshape(shape), base.reshape(shape)
        if reference.linear:
            answer = linear_step(weights, self.terms.temperature, rhs, scale, start, rtol)
        else:
            answer = newton_step(reference.generator, weights, rhs, scale, start, rtol)
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
            lambda y: self._inverse(time, grid, y, scale),
        )
        return Solve(guess.at(root.y), root.iterations, root.linear, root.converged)

    def _diffusion(self, time: float, grid: Any, q: Array) -> tuple[Weights, Array]:
        """Weights and diagonal D of the diffusive part: (D + s A) δw = r, δq = r - s A δw is its implicit step."""
        if self.reference is not None:
            weights = self.reference.weights(time, q)
            p = weights.cells
            u = np.divide(q.reshape(p.shape), p, out=np.zeros_like(p), where=p > 0.0)
            with np.errstate(all="ignore"):
                diag = p / np.maximum(self.reference.generator.diffusivity(np.maximum(u, TINY)), 1e-200)
            return weights, np.minimum(diag, 1e200)
        held = np.maximum(q, 0.0)
        faces = [mean_on_faces(grid, held, axis) for axis in range(grid.dim)]
        diag = padded(grid, 1.0 / np.maximum(self.variation.stiffness(held), 1e-200))
        return Weights(diag, kernel_faces(grid, faces), wraps(grid)), diag

    def _inverse(self, time: float, grid: Any, q: Array, scale: float) -> Callable[[Array], Array]:
        if not self.terms.densities:
            return lambda r: r
        weights, diag = self._diffusion(time, grid, q)
        system = operator(weights, diag, scale)

        def apply(r: Array) -> Array:
            rhs = r.reshape(diag.shape)
            step = solve(system, rhs, rtol=1e-4).w
            return (rhs - scale * stiffness_product(weights, step)).reshape(r.shape)

        return apply

    def smooth(self, time: float, state: Density, delta: Array, scale: float) -> Array:
        return self._inverse(time, state.grid, state.values, scale)(delta)

    def proximal(self, time: float, state: Density, tau: float) -> Solve:
        raise InputError("the JKO step of a density on a grid is not built yet; take steppers.ImplicitEuler()")

    def move(self, state: Density, direction: Array, step: float) -> Density:
        return self.metric.move(state, direction, step)

    def log_density(self, time: float, state: Density) -> Array:
        raise InputError("MALA moves particles, not a density; take wf.Particles(density.sample(n))")

    def error(self, state: Density, delta: Array) -> float:
        return float(np.abs(delta).sum()) * state.grid.volume

    def measures(self, time: float, state: Density) -> dict[str, float]:
        return {"mass": state.mass, "minimum": float(state.values.min())}
