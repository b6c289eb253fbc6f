"""The implicit step of ∂q/∂t = ∇·(p ∇Φ(q/p)): p u + s A Φ(u) = b for u, by Newton.

With δw = Φ'(u) δu every Newton system is (p/Φ' + s A) δw = r: symmetric positive definite whatever Φ, A constant in
time. What differs is where the update is made: in w = Φ(u) where Φ is steep at vacuum — there Ψ = Φ⁻¹ is convex and
A an M-matrix, so that Newton converges monotonically from any start (Ortega & Rheinboldt 1970, 13.3) — and in u
elsewhere, where δu = (r - s A δw)/p needs no division by Φ' and passes through u = 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array
from wflow.flows.reference import Weights
from wflow.functionals import Generator
from wflow.kernels import stencil
from wflow.linalg.cg import solve
from wflow.linalg.krylov import solve_linear
from wflow.linalg.multigrid import Operator, build, cycle

# Where Φ'(0) = 0 nothing is conducted into a vacuum, and Newton moves a front a cell an iteration. After so many it
# begins again from where every cell conducts: a porous medium from half a box, dt from 1 to 1e4, then takes 15 to 50
# iterations in all, not as many as there are cells.
STALLED = 8
CLOSEST = 1e-3  # of a direction with J: a closer one costs a third more products, and saves few iterations


@dataclass(frozen=True)
class Beside:
    """A rate of q that stands beside the filtration, and its derivative, q ↦ (δw ↦ δrate)."""

    rate: Callable[[Array], Array]
    along: Callable[[Array], Callable[[Array], Array]]


@dataclass(frozen=True)
class Filtered:
    """q = p u in the kernels' form, Newton and linear iterations, convergence."""

    values: Array
    iterations: int
    linear: int
    converged: bool


def stiffness_product(weights: Weights, w: Array) -> Array:
    """A w = -∇·(p ∇w), summed over faces."""
    out = np.empty(w.shape)
    stencil.apply(np.zeros(w.shape), *weights.faces, weights.wraps, w, out)
    return out


def operator(weights: Weights, diag: Array, scale: float) -> Operator:
    """diag + scale A."""
    kx, ky, kz = (scale * k for k in weights.faces)
    return Operator(diag, kx, ky, kz, weights.wraps)


def linear_step(weights: Weights, factor: float, base: Array, scale: float, start: Array, rtol: float) -> Filtered:
    """Φ = factor · u: one linear system."""
    p = weights.cells
    guess = np.divide(start, p, out=np.zeros_like(p), where=p > 0.0)
    answer = solve(operator(weights, p, scale * factor), base, guess, rtol=max(rtol, 1e-13))
    return Filtered(conserved(weights, answer.w * p, base, rtol), 1, answer.iterations, answer.converged)


def conserved(weights: Weights, q: Array, base: Array, rtol: float) -> Array:
    """`settled`, with the empty cells of walls as they were, and no mass restored where absorbing sides let it
    out."""
    if weights.walls:
        q = np.where(weights.cells > 0.0, q, base)
    return settled(q, base, rtol, not weights.leaks)


def settled(q: Array, base: Array, rtol: float, closed: bool = True) -> Array:
    """Remove what the solver's residual did to sign and mass: both changes are within its tolerance.

    A larger negative part stays, for the stepper to see.
    """
    if -np.minimum(q, 0.0).sum() > rtol * np.abs(base).sum():
        return q
    q = np.maximum(q, 0.0)
    return q * (base.sum() / q.sum()) if closed else q


def newton_step(
    generator: Generator,
    weights: Weights,
    base: Array,
    scale: float,
    start: Array,
    rtol: float,
    most: int = 60,
    beside: Beside | None = None,
) -> Filtered:
    """The nonlinear step; converged when the L1 residual is below rtol times the mass, or when it has stopped falling
    within a thousand times that, which is where rounding of steep pressures may leave it.

    The mass is that of `start`: a `base` that holds a rate out of a vacuum, 1e12 of it, has digits for nothing else.
    """
    p, held = weights.cells, weights.cells > 0.0
    mass = float(np.abs(start).sum())
    goal = rtol * mass
    # A floor on the start only: at u = 0 a steep Φ is infinite, and where Φ is bounded above, w can only halve its way
    # up from far below. Of the mean of u: where p is thin, u may be e^200.
    u = np.maximum(start / np.where(held, p, 1.0), 1e-8 * mass / p.sum() if generator.steep else 0.0)
    shift = vacuum_pressure(generator)
    linear, before = 0, np.inf
    with np.errstate(all="ignore"):
        for iteration in range(most):
            w = np.where(held, generator.pressure(u) - shift, 0.0)
            rate = -stiffness_product(weights, w) + (0.0 if beside is None else beside.rate(p * u))
            residual = np.where(held, base - p * u + scale * rate, 0.0)
            size = float(np.abs(residual).sum())
            if not np.isfinite(size):
                return Filtered(p * u, iteration, linear, False)
            if size <= goal or (size <= 1e3 * goal and size >= 0.5 * before):
                return Filtered(conserved(weights, np.where(held, p * u, base), base, rtol), iteration, linear, True)
            before = size
            if iteration == STALLED and not generator.steep:
                u, before = np.where(held, np.maximum(u, base.sum() / p.sum()), u), np.inf
                continue
            slope = None if beside is None else beside.along(p * u)
            accuracy = min(1e-2, max(1e-12, 0.1 * goal / size))
            diag = np.where(held, p / np.maximum(generator.diffusivity(u), 1e-200), 0.0)
            step, used = _newton_direction(weights, diag, scale, residual, accuracy, slope)
            linear += used
            u = _update(generator, weights, u, w, step, residual, scale, shift)
    return Filtered(p * u, most, linear, False)


def _newton_direction(
    weights: Weights,
    diag: Array,
    scale: float,
    rhs: Array,
    rtol: float,
    slope: Callable[[Array], Array] | None,
) -> tuple[Array, int]:
    """δw with (D + s A - s J) δw = r, and iterations.

    With J by GMRES, D + s A inverted first, by one multigrid cycle: in w a vacuum counts as much as any other cell.
    """
    system = operator(weights, np.minimum(diag, 1e200), scale)
    if slope is None:
        answer = solve(system, rhs, rtol=rtol)
        return answer.w, answer.iterations
    hierarchy = None if rhs.shape[0] == rhs.shape[1] == 1 else build(system)

    def inverse(r: Array) -> Array:
        if hierarchy is None:
            return solve(system, r).w
        step = np.empty(r.shape)
        cycle(hierarchy, r, step)
        return step

    def product(w: Array) -> Array:
        return inverse(system.diag * w + scale * (stiffness_product(weights, w) - slope(w)))

    return solve_linear(product, inverse(rhs), None, max(rtol, CLOSEST))


def vacuum_pressure(generator: Generator) -> float:
    """Φ(0) where it is finite, so that an absorbing side, where q = 0, is w = 0."""
    with np.errstate(all="ignore"):
        value = float(generator.pressure(np.zeros(1))[0])
    return value if np.isfinite(value) else 0.0


def _update(
    generator: Generator,
    weights: Weights,
    u: Array,
    w: Array,
    step: Array,
    residual: Array,
    scale: float,
    shift: float,
) -> Array:
    """The next u: in w where Φ is steep, kept inside the range of Φ; in u elsewhere, at least a tenth of the old
    one."""
    held = weights.cells > 0.0
    if generator.steep:
        low, high = generator.pressure(np.array([0.0, np.inf])) - shift
        moved = w + step
        moved = np.where(moved >= high, 0.5 * (w + high), np.where(moved <= low, 0.5 * (w + low), moved))
        return np.where(held, generator.inverse(moved + shift), u)
    change = (residual - scale * stiffness_product(weights, step)) / np.where(held, weights.cells, 1.0)
    return np.where(held, np.maximum(u + change, 0.1 * u), u)
