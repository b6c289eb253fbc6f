"""Polynomials and exponentials of the linear flow ∂q/∂t = T ∇·(p ∇(q/p)), in the unknown u = q/p."""

from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.filtration import conserved, operator
from wflow.flows.reference import Weights
from wflow.kernels import wavefront
from wflow.linalg.cg import solve
from wflow.linalg.chebyshev import clenshaw_rows, exponential_coefficients, terms_needed
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
ROUNDING, RESIDUAL = 1e-16, 1e-13  # what a stage may add, a solve of Lanczos' method may leave, relative to the norm


@dataclass(frozen=True)
class Propagated:
    """q, the Lanczos steps or terms of the series, the linear iterations inside them, and convergence."""

    values: Array
    steps: int
    linear: int
    converged: bool


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


def most_terms(weights: Weights) -> int:
    """Terms up to which the series is taken; a step by Lanczos' method costs about as much."""
    if weights.cells.shape[:2] != (1, 1):
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

    Raises `InputError` where the start lies so deep in the tails of p that rounding of u = q/p exceeds `tol`.
    """
    shape = weights.cells.shape
    u = q.reshape(shape) * weights.inverse
    plan = series(weights, factor, u, dt, tol, volume)
    if not plan.reached:
        raise InputError(
            f"the density reaches so far to where the target is small (norm in L2(1/p): {plan.size:.3g}) that the "
            "exponential loses its digits to rounding; take steppers.TRBDF2()"
        )
    if plan.terms > most_terms(weights):
        return _by_resolvents(weights, factor, q, dt, tol)
    coefficients, _ = exponential_coefficients(plan.z, plan.ratio)
    if plan.z > 0.0:
        rows = clenshaw_rows(coefficients, 2.0 / weights.radius)
        u = swept(weights, u, np.zeros(shape), coefficients[-1] * u, rows)
    values = conserved(weights, u * weights.cells, q.reshape(shape), 10.0 * max(tol, plan.error))
    return Propagated(values.reshape(q.shape), 0, len(coefficients), True)


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
