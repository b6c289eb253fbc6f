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
from wflow.flows.reference import Reference, Weights
from wflow.kernels import stabilised, wavefront
from wflow.linalg.cg import solve
from wflow.linalg.lanczos import Exponential, exponential
from wflow.linalg.multigrid import build, cycle

# Below this many cells a parallel launch costs more than it saves (about 10 µs against 1 ns a cell).
PARALLEL_CELLS = 1 << 16
# A sweep has eight stages to a launch; but on a machine whose other core is busy a launch waits for it, so not at 128².
PARALLEL_SWEEP = 1 << 15
# Stages in one sweep over memory, an even number. Sixteen gained up to a tenth on large grids, and nothing at 128².
SWEEP = 8


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
        if self.form.linear and shape[1] > 1 and not any(weights.wraps):
            scaled = rows[:, :4] * np.array([1.0, 1.0, dt * self.temperature, dt])
            u = swept(weights, start, slope, start + rows[0, 2] * dt * slope, np.ascontiguousarray(scaled[1:]))
        else:
            u = self._staged(weights, start, slope, dt, rows)
        return conserved(weights, u * weights.cells, q.reshape(shape), rtol).reshape(q.shape)

    def _staged(self, weights: Weights, start: Array, slope: Array, dt: float, rows: Array) -> Array:
        """One pass a stage: for a nonlinear Φ, which NumPy evaluates between passes, and periodic sides."""
        stage = stabilised.stage_parallel if start.size >= PARALLEL_CELLS else stabilised.stage_serial
        factor = self.temperature if self.form.linear else 1.0
        before, prev = start, start + rows[0, 2] * dt * slope
        spare = [np.empty(start.shape), np.empty(start.shape)]
        for index, (mu, nu, mu_rate, gamma, _) in enumerate(rows[1:]):
            pressure = prev if self.form.linear else self._pressure(prev)
            out = spare[index % 2] if index < 2 else before
            scaled = (mu, nu, mu_rate * dt * factor, gamma * dt)
            stage(pressure, *weights.faces, weights.wraps, weights.inverse, prev, before, start, slope, scaled, out)
            before, prev = prev, out
        return prev

    def propagate(self, q: Array, dt: float, tol: float, volume: float) -> tuple[Array, Exponential]:
        """exp(dt · L) q for a linear flow, to an L1 error of about `tol`, in the symmetrised unknown z = q/√p."""
        weights = self.form.weights(0.0, q)
        p = weights.cells
        root, shift = np.sqrt(p), 0.1 * dt
        system = operator(weights, p, self.temperature * shift)
        hierarchy = None if p.shape[0] == p.shape[1] == 1 else build(system)

        def resolvent(z: Array) -> tuple[Array, int]:
            answer = solve(system, root * z, rtol=1e-13, hierarchy=hierarchy)
            return root * answer.w, answer.iterations

        def size(z: Array) -> float:
            return float(np.abs(root * z).sum()) * volume

        start = q.reshape(p.shape) * np.sqrt(weights.inverse)
        answer = exponential(resolvent, start, shift, dt, size, tol)
        values = conserved(weights, root * answer.z, q.reshape(p.shape), 10.0 * tol)
        return values.reshape(q.shape), answer


def swept(weights: Weights, start: Array, slope: Array, prev: Array, rows: Array) -> Array:
    """All further stages of a linear flow, `SWEEP` of them in each sweep over memory."""
    flat = start.shape[0] == 1  # a 2-D grid: its rows are the slabs
    nx, ny, nz = (start.shape[1], 1, start.shape[2]) if flat else start.shape
    kx, ky, kz = (weights.faces[1], weights.faces[0], weights.faces[2]) if flat else weights.faces
    kx, kz = kx.reshape(nx + 1, ny, nz), kz.reshape(nx, ny, nz + 1)
    start_3, slope_3, inverse = (a.reshape(nx, ny, nz) for a in (start, slope, weights.inverse))
    before, prev = start_3, prev.reshape(nx, ny, nz)
    spare = [np.empty((nx, ny, nz)) for _ in range(4)]
    parallel = start.size >= PARALLEL_SWEEP
    sweep = wavefront.sweep_parallel if parallel else wavefront.sweep_serial
    for index, first in enumerate(range(0, len(rows), SWEEP)):
        out_before, out_prev = spare[:2] if index % 2 == 0 else spare[2:]
        some = rows[first : first + SWEEP]
        stripes = 2 if parallel else 1
        sweep(prev, before, start_3, slope_3, inverse, kx, ky, kz, some, stripes, out_before, out_prev)
        before, prev = out_before, out_prev
    return prev.reshape(start.shape)


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
