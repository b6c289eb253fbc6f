"""Polynomials and exponentials of the linear flow ∂q/∂t = T ∇·(p ∇(q/p)), in the unknown u = q/p."""

from dataclasses import dataclass, replace

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.filtration import conserved, operator
from wflow.flows.reference import Weights
from wflow.kernels import wavefront
from wflow.linalg.cg import solve
from wflow.linalg.chebyshev import clenshaw_rows, exponential_coefficients, terms_needed
from wflow.linalg.extrapolation import RESOLVENTS, extrapolated, resized
from wflow.linalg.lanczos import exponential
from wflow.linalg.multigrid import build

# A launch takes 10 µs where the other core is idle, milliseconds where it is busy; a sweep of 256² cells half of one.
PARALLEL_SWEEP = 1 << 17
# Stages in one sweep over memory, an even number. Sixteen gained up to a tenth on large grids, and nothing at 128².
SWEEP = 8
# Up to so many terms the Chebyshev series is cheaper than Lanczos' method: a term costs 1.2 to 3 ns a cell, a resolvent
# five to twelve cycles of 60 ns, and four to twenty are needed.
MOST_TERMS = 4000
# In 1-D, microseconds for either, a call and each cell: a term, and the fourteen eliminations that are usual.
TERM_1D, RESOLVENTS_1D = (0.7, 0.0087), (550.0, 0.45)
# Accuracy of the series at any `tol`: it must not show in the sign of q. Nor is a bound of
# rounding below it held against a step, since that bound is far above what rounding does.
EXACT = 1e-9
MOST_EASED, EASED = 3000, 1e-11  # steps out of the tails, and what rounding may add to one, of the mass
ROUNDING, RESIDUAL = 1e-16, 1e-13  # what a stage may add, a solve of Lanczos' method may leave, relative to the norm


@dataclass(frozen=True)
class Propagated:
    """q, the Lanczos steps, linear iterations, convergence, and the terms of the series."""

    values: Array
    steps: int
    linear: int
    converged: bool
    terms: int = 0


def swept(weights: Weights, given: Array, before: Array, prev: Array, rows: Array) -> Array:
    """All stages with `rows` (μ, ν, γ, μ̃) from `prev` on, `SWEEP` of them in each sweep over memory."""
    flat = prev.shape[0] == 1 and weights.wraps[0]  # a 2-D grid: its rows are the slabs
    nx, ny, nz = (prev.shape[1], 1, prev.shape[2]) if flat else prev.shape
    kx, ky, kz = (weights.faces[1], weights.faces[0], weights.faces[2]) if flat else weights.faces
    faces = kx.reshape(nx + 1, ny, nz), ky.reshape(nx, ny + 1, nz), kz.reshape(nx, ny, nz + 1)
    wrap = (weights.wraps[1], True, weights.wraps[2]) if flat else weights.wraps
    fixed, inverse = given.reshape(nx, ny, nz), weights.inverse.reshape(nx, ny, nz)
    framed = [np.zeros((nx + 1, ny + 1, nz + 2)) for _ in range(4)]
    for frame, cells in zip(framed[:2], (before, prev), strict=True):
        frame[:nx, :ny, 1:-1] = cells.reshape(nx, ny, nz)
        if wrap[2]:
            frame[:, :, 0], frame[:, :, -1] = frame[:, :, -2], frame[:, :, 1]
    parallel = given.size >= PARALLEL_SWEEP
    sweep, stripes = (wavefront.sweep_parallel, wavefront.threads()) if parallel else (wavefront.sweep_serial, 1)
    start, ends = framed[:2], framed[2:]
    for first in range(0, len(rows), SWEEP):
        some = rows[first : first + SWEEP]
        sweep(start[1], start[0], fixed, inverse, *faces, wrap, some, stripes, *ends)
        start, ends = ends, start
    return np.ascontiguousarray(start[1][:nx, :ny, 1:-1]).reshape(given.shape)


def amplitude(weights: Weights, u: Array, volume: float) -> float:
    """The bound of the L1 norm of q = p u by its norm in L2(1/p): √(Σp Σp u²), at least the mass."""
    with np.errstate(over="ignore"):
        return float(np.sqrt(weights.cells.sum() * (weights.cells * u * u).sum())) * volume


def is_line(weights: Weights) -> bool:
    """Whether the grid has one axis, so that a resolvent is one elimination."""
    return weights.cells.shape[:2] == (1, 1)


def most_terms(weights: Weights) -> int:
    """Terms up to which the series is taken; a step by Lanczos' method costs about as much."""
    if not is_line(weights):
        return MOST_TERMS
    (term, each), (resolvents, every) = TERM_1D, RESOLVENTS_1D
    return int((resolvents + every * weights.cells.size) / (term + each * weights.cells.size))


@dataclass(frozen=True)
class Series:
    """A Chebyshev series that is to reach `ratio` of the norm `size`, which is `error` of the mass: its argument z,
    about how many terms it has, and whether rounding lets it, or Lanczos' method where that is taken, reach `tol`."""

    size: float
    ratio: float
    error: float
    z: float
    terms: int
    reached: bool


def series(weights: Weights, factor: float, u: Array, dt: float, tol: float, volume: float) -> Series:
    """The series for exp(dt · L) to an L1 error of `tol` of the mass, before any of it is summed."""
    mass = float((weights.cells * u).sum()) * volume
    size = max(mass, amplitude(weights, u, volume))  # squares of what has nearly left an open side underflow
    z = 0.5 * dt * factor * weights.radius
    if not (mass > 0.0 and size < np.inf):
        return Series(size, EXACT, EXACT, z, terms_needed(z, EXACT), size < np.inf)
    ratio = max(min(tol, EXACT) * mass / size, ROUNDING)
    terms = terms_needed(z, ratio)
    lost = RESIDUAL if terms > most_terms(weights) else terms * ROUNDING
    return Series(size, ratio, ratio * size / mass, z, terms, size * lost <= max(tol, EXACT) * mass)


def propagated(weights: Weights, factor: float, q: Array, dt: float, tol: float, volume: float) -> Propagated:
    """exp(dt · L) q to an L1 error of about `tol` of the mass; the operator is symmetric in L2(p).

    Where the start lies so deep in the tails of p that rounding of u = q/p exceeds `tol`, implicit steps lead out of
    them in 1-D; elsewhere it raises `InputError`.
    """
    shape = weights.cells.shape
    eased = _eased(weights, factor, q, dt, tol, volume) if is_line(weights) else Eased(q, dt)
    if not eased.left > 0.0 or not eased.converged:
        return Propagated(eased.values, 0, eased.linear, eased.converged)
    q, dt = eased.values, eased.left
    u = q.reshape(shape) * weights.inverse
    plan = series(weights, factor, u, dt, tol, volume)
    if not plan.reached:
        raise InputError(
            f"the density reaches so far to where the target is small (norm in L2(1/p): {plan.size:.3g}) that the "
            "exponential loses its digits to rounding; take steppers.TRBDF2()"
        )
    if plan.terms > most_terms(weights):
        answer = _by_resolvents(weights, factor, q, dt, tol)
        return replace(answer, linear=answer.linear + eased.linear)
    coefficients, _ = exponential_coefficients(plan.z, plan.ratio)
    if plan.z > 0.0:
        rows = clenshaw_rows(coefficients, 2.0 / weights.radius)
        u = swept(weights, u, np.zeros(shape), coefficients[-1] * u, rows)
    values = conserved(weights, u * weights.cells, q.reshape(shape), 10.0 * max(tol, plan.error))
    return Propagated(values.reshape(q.shape), 0, eased.linear, True, len(coefficients))


@dataclass(frozen=True)
class Eased:
    """q, what is left of the time, resolvents, and whether it got there."""

    values: Array
    left: float
    linear: int = 0
    converged: bool = True


def _eased(weights: Weights, factor: float, q: Array, dt: float, tol: float, volume: float) -> Eased:
    """Extrapolated implicit steps until a series reaches `tol`: every resolvent keeps the digits of every cell."""
    p, mass, linear = weights.cells, float(q.sum()), 0

    def resolvent(x: Array, span: float) -> Array:
        return p * solve(operator(weights, p, factor * span), x).w

    now, time, step = q.reshape(p.shape), 0.0, 0.01 * dt
    for _ in range(MOST_EASED):
        left = dt - time
        if left <= 0.0 or series(weights, factor, now * weights.inverse, left, tol, volume).reached:
            return Eased(now.reshape(q.shape), left, linear)
        step = left if step > 0.9 * left else step
        end, change = extrapolated(resolvent, now, step)
        linear += RESOLVENTS
        error, allowed = float(np.abs(change).sum()) / mass, tol * step / dt + EASED
        if error <= allowed:
            now, time = conserved(weights, end, now, 10.0 * allowed), dt if step == left else time + step
        step = resized(step, error, allowed)
    return Eased(now.reshape(q.shape), dt - time, linear, False)


def _by_resolvents(weights: Weights, factor: float, q: Array, dt: float, tol: float) -> Propagated:
    """The same by Lanczos' method on the resolvent, in the symmetric unknown z = q/√p."""
    p = weights.cells
    root, shift = np.sqrt(p), 0.1 * dt
    system = operator(weights, p, factor * shift)
    hierarchy = None if p.shape[0] == p.shape[1] == 1 else build(system)

    def resolvent(z: Array) -> tuple[Array, int, bool]:
        answer = solve(system, root * z, rtol=1e-13, hierarchy=hierarchy)
        return root * answer.w, answer.iterations, answer.converged

    def norm(z: Array) -> float:
        return float(np.abs(root * z).sum())

    start = q.reshape(p.shape) * np.sqrt(weights.inverse)
    answer = exponential(resolvent, start, shift, dt, norm, tol * norm(start))
    values = conserved(weights, root * answer.z, q.reshape(p.shape), 10.0 * tol)
    return Propagated(values.reshape(q.shape), answer.steps, answer.linear, answer.converged)
