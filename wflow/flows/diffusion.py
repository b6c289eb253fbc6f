"""The filtration part of a flow on a grid, ∂q/∂t = ∇·(p ∇Φ(q/p)), as the steppers need it: rate, implicit and
explicit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from wflow.arrays import Array
from wflow.flows.filtration import (
    Filtered,
    conserved,
    linear_step,
    newton_step,
    operator,
    stiffness_product,
    vacuum_pressure,
)
from wflow.flows.propagation import Propagated, is_line, most_terms, propagated, series, swept
from wflow.flows.reference import Reference, Weights
from wflow.kernels import stabilised
from wflow.linalg.cg import solve
from wflow.linalg.multigrid import build, cycle

# Below this many cells a parallel launch costs more than it saves (about 10 µs against 1 ns a cell).
PARALLEL_CELLS = 1 << 16


@dataclass(frozen=True)
class Diffusion:
    """Arrays q have the shape of the grid; `temperature` is the factor of Φ = T u where the flow is linear."""

    form: Reference
    temperature: float

    @property
    def frozen(self) -> bool:
        """Whether p is a given function of position and time, so that a stage is one solve."""
        return not self.form.convolutions

    @cached_property
    def _bottom(self) -> float:
        return vacuum_pressure(self.form.generator)

    def _pressure(self, u: Array) -> Array:
        """Φ(u) - Φ(0) where Φ(0) is finite, so that an absorbing side, where q = 0, is 0."""
        if self.form.linear:
            return u if self.temperature == 1.0 else self.temperature * u
        with np.errstate(all="ignore"):
            return self.form.generator.pressure(u) - self._bottom

    def rate(self, time: float, q: Array) -> Array:
        """∂q/∂t."""
        weights = self.form.weights(time, q)
        p = weights.cells
        pressure = self._pressure(q.reshape(p.shape) * weights.inverse)
        if np.isneginf(pressure).any():  # a wall has no pressure; only a vacuum inside the support may be -inf
            pressure = np.where(p > 0.0, pressure, 0.0)
        return -stiffness_product(weights, pressure).reshape(q.shape)

    def implicit(self, time: float, q: Array, base: Array, scale: float, rtol: float) -> Filtered:
        """y - scale · rate(y) = base from the guess q, for frozen weights."""
        weights = self.form.weights(time, q)
        start, rhs = q.reshape(weights.cells.shape), base.reshape(weights.cells.shape)
        if self.form.linear:
            answer = linear_step(weights, self.temperature, rhs, scale, start, rtol)
        else:
            answer = newton_step(self.form.generator, weights, rhs, scale, start, rtol)
        mass, rounding = start.sum(), 1e-12 * np.abs(rhs).sum()
        if weights.leaks or not answer.converged or abs(rhs.sum() - mass) > rounding:
            return answer
        # The base of a long step holds a large rate, whose rounding must not be felt in the mass.
        return replace(answer, values=answer.values * (mass / answer.values.sum()))

    def inverse(self, time: float, q: Array, scale: float, exact: bool) -> Callable[[Array], Array]:
        """δ ↦ (1 - scale · Jacobian)⁻¹ δ at q, p held: (D + s A) δw = r, δq = D δw."""
        weights = self.form.weights(time, q)
        p = weights.cells
        with np.errstate(all="ignore"):
            slope = self.form.generator.diffusivity(np.maximum(q.reshape(p.shape) * weights.inverse, 1e-300))
            diag = np.minimum(p / np.maximum(slope, 1e-200), 1e200)
        return damping(weights, diag, scale, exact)

    def radius(self, time: float, q: Array) -> float:
        """A bound of the spectral radius: Gershgorin's, by columns."""
        weights = self.form.weights(time, q)
        if self.form.linear:
            return self.temperature * weights.radius
        with np.errstate(all="ignore"):
            slope = self.form.generator.diffusivity(q.reshape(weights.cells.shape) * weights.inverse)
            return float(2.0 * np.max(np.where(weights.cells > 0.0, slope * weights.outflow, 0.0)))

    def recurrence(self, time: float, q: Array, dt: float, rows: Array, first: Array, rtol: float) -> Array:
        """Three-term recurrences of a stabilised step, fused, in the unknown u = q/p; p held over the step."""
        weights = self.form.weights(time, q)
        shape = weights.cells.shape
        start, slope = q.reshape(shape) * weights.inverse, first.reshape(shape) * weights.inverse
        if self.form.linear:  # in the unknown Y - Y₀, where the given array is the first rate alone
            mu, nu, mu_rate, gamma = rows[1:, 0], rows[1:, 1], dt * rows[1:, 2], dt * rows[1:, 3]
            stages = np.stack([mu, nu, mu_rate + gamma, self.temperature * mu_rate], axis=1)
            u = start + swept(weights, slope, np.zeros(shape), rows[0, 2] * dt * slope, stages)
        else:
            u = self._staged(weights, start, slope, dt, rows)
        return conserved(weights, u * weights.cells, q.reshape(shape), rtol).reshape(q.shape)

    def _staged(self, weights: Weights, start: Array, slope: Array, dt: float, rows: Array) -> Array:
        """One pass a stage: for a nonlinear Φ, which NumPy evaluates between passes."""
        stage = stabilised.stage_parallel if start.size >= PARALLEL_CELLS else stabilised.stage_serial
        before, prev = start, start + rows[0, 2] * dt * slope
        spare = [np.empty(start.shape), np.empty(start.shape)]
        for index, (mu, nu, mu_rate, gamma, _) in enumerate(rows[1:]):
            pressure = self._pressure(prev)
            out = spare[index % 2] if index < 2 else before
            scaled = (mu, nu, mu_rate * dt, gamma * dt)
            stage(pressure, *weights.faces, weights.wraps, weights.inverse, prev, before, start, slope, scaled, out)
            before, prev = prev, out
        return prev

    def terms(self, q: Array, dt: float, tol: float, volume: float) -> float:
        """What `propagate` costs for a linear flow, in terms of its polynomial, whichever way it goes; inf where
        rounding would not let it reach `tol`. In 1-D implicit steps out of the tails do not count."""
        weights = self.form.weights(0.0, q)
        plan = series(weights, self.temperature, q.reshape(weights.cells.shape) * weights.inverse, dt, tol, volume)
        return min(plan.terms, most_terms(weights)) if plan.reached or is_line(weights) else np.inf

    def propagate(self, q: Array, dt: float, tol: float, volume: float) -> Propagated:
        """exp(dt · L) q for a linear flow, to an L1 error of about `tol` of the mass."""
        return propagated(self.form.weights(0.0, q), self.temperature, q, dt, tol, volume)


def damping(weights: Weights, diag: Array, scale: float, exact: bool = True) -> Callable[[Array], Array]:
    """r ↦ D δw with (D + s A) δw = r; to 1e-4, or, as a preconditioner, by one multigrid cycle."""
    system = operator(weights, diag, scale)
    chain = diag.shape[0] == diag.shape[1] == 1
    hierarchy = None if chain else build(system)

    def apply(r: Array) -> Array:
        rhs = np.ascontiguousarray(r).reshape(diag.shape)
        if hierarchy is None or exact:
            return (diag * solve(system, rhs, rtol=1e-4, hierarchy=hierarchy).w).reshape(r.shape)
        step = np.empty(diag.shape)
        cycle(hierarchy, rhs, step)
        return (diag * step).reshape(r.shape)

    return apply
