"""Minimisers of functionals on a grid, found directly: δF/δq constant where there is mass."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.convolution import convolution
from wflow.flows.reference import LOWEST
from wflow.flows.terms import Terms
from wflow.flows.variation import TINY, Variation
from wflow.functionals import Functional
from wflow.grid import Grid
from wflow.linalg.krylov import solve_linear
from wflow.spectra.problem import Mask, Problem, as_problem
from wflow.states import Density

Local = Callable[[Array], Array]


def equilibrium(functional: Functional, grid: Grid, mass: float = 1.0, start: Density | None = None) -> Density:
    """The density of a given mass at which the flow of `functional` on `grid` is at rest.

    Without interactions it is the minimiser of the discrete energy, which is convex: p itself for divergences and for
    entropy + potential, else φ'(q) + V = μ on {V < μ}, with μ fixed by the mass. Where walls (p = 0) part the
    support, mass cannot pass, and this is the minimiser among all divisions of the mass. An energy that grows more
    slowly than any power, such as m < 1 or chi2 with a potential, may have no minimiser off a grid: then what
    is returned depends on the cells.

    With interactions it is a critical point, reached from `start` (a `Density` on the grid, scaled to `mass`; uniform
    where None) along falling energy: the global minimum where the energy is convex, else in general a local one; a
    start with a symmetry may end at a saddle that has it. To 1e-12 in L1, or to what rounding allows where the
    interaction is many times the temperature (1e-8 at 1e-4 of it); `RuntimeError` if that is not reached.

    The mass is exact to rounding. Raises `InputError` where there is no minimiser: without a density term
    (everything falls onto the lowest point, a Dirac), with absorbing sides, with a potential in time.

    >>> from wflow.functionals import Potential, PowerEntropy
    >>> q = equilibrium(PowerEntropy(2) + Potential("x**2"), Grid(-2.0, 2.0, 400))
    >>> round(float(q.values.max()), 3)     # q = (μ - x²)₊/2 with 2 μ^(3/2)/3 = 1
    0.655
    """
    problem = as_problem(functional, grid, mass)
    if problem.absorbing:
        raise InputError("with absorbing sides all mass leaves in the end; wf.spectrum gives the density that lasts")
    if not problem.terms.densities:
        raise InputError(
            f"{functional!r} has no minimiser among densities: all mass falls onto points (Diracs); add an Entropy"
        )
    local = _local(problem)
    if not problem.terms.interactions:
        return _finished(problem, local(np.zeros(grid.cells)))
    return _finished(problem, _descended(problem, local, _start(problem, start)))


def _finished(problem: Problem, q: Array) -> Density:
    values = q * (problem.mass / (q.sum() * problem.grid.volume))
    return Density(problem.grid, values, normalize=False)


def _start(problem: Problem, start: Density | None) -> Array:
    if start is None:
        return np.full(problem.grid.cells, problem.mass / float(np.prod(problem.grid.upper - problem.grid.lower)))
    if not isinstance(start, Density) or start.grid != problem.grid:
        raise InputError("start must be a wf.Density on the same grid")
    return start.values * (problem.mass / start.mass)


def _local(problem: Problem) -> Local:
    """extra ↦ the minimiser of the density terms + ∫ (V + extra) q."""
    form, mass = problem.form, problem.mass
    if problem.terms.logarithmic and form is not None:
        logs, temperature = form.log_cells, problem.terms.temperature

        def boltzmann(extra: Array) -> Array:
            here = logs - extra / temperature
            # The flow holds its weights above exp(-690) of the largest; so does its rest state.
            p = np.where(logs > -np.inf, np.exp(np.maximum(here - here.max(), LOWEST)), 0.0)
            return p * (mass / (p.sum() * problem.grid.volume))

        return boltzmann
    if form is not None and form.fixed is not None:
        p = form.fixed.cells.reshape(problem.grid.cells)
        return lambda extra: p * (mass / (p.sum() * problem.grid.volume))
    local = Variation(problem.grid, Terms(problem.terms.densities, problem.terms.potential, ()), mass)
    return lambda extra: balanced(local, extra, mass)


def balanced(variation: Variation, extra: Array, mass: float) -> Array:
    """q ≥ 0 with ξ(q) + extra = μ where q > 0 and ≥ μ elsewhere, μ fixed by the mass: Brent's method in μ."""
    grid = variation.grid
    with np.errstate(all="ignore"):
        middle = variation.slope(0.0, np.full(grid.cells, mass / (grid.volume * extra.size))) + extra
    held = np.isfinite(middle)
    low, high = float(middle[held].min()), float(middle[held].max())
    guess = np.full(grid.cells, np.log(mass / (grid.volume * extra.size)))
    last: dict[float, Array] = {}

    def excess(mu: float) -> float:
        q = _pointwise(variation, mu - extra, held, guess)
        np.copyto(guess, np.log(np.maximum(q, TINY)), where=q > 0.0)
        last.clear()
        last[mu] = q
        return float(np.clip(np.log(q.sum() * grid.volume / mass), -1e3, 1e3))

    # At the lowest μ no cell holds more than the mean, at the highest none less.
    if excess(low) >= 0.0 or excess(high) <= 0.0:
        return next(iter(last.values()))
    mu = float(brentq(excess, low, high, xtol=1e-300, rtol=1e-15, maxiter=200))
    excess(mu)
    return last[mu]


def _pointwise(variation: Variation, level: Array, held: Mask, guess: Array) -> Array:
    """ξ(q) = level in every cell, by Newton in log q inside a bracket; 0 where ξ(0) ≥ level.

    A step that leaves the bracket, or is more than half the one before, is replaced by bisection: on an exponential
    Newton creeps.
    """
    low, high = np.full(level.shape, np.log(TINY)), np.full(level.shape, 690.0)
    s, before = np.clip(guess, low, high), high - low
    with np.errstate(all="ignore"):
        empty = ~held | (variation.slope(0.0, np.full(level.shape, TINY)) >= level)
        for _ in range(200):
            q = np.exp(s)
            gap = variation.slope(0.0, q) - level
            high, low = np.where(gap > 0.0, s, high), np.where(gap <= 0.0, s, low)
            slope = q * variation.stiffness(q)
            trial = s - gap / slope
            good = (slope < np.inf) & (trial >= low) & (trial <= high)
            good &= np.abs(trial - s) <= 0.5 * before
            after = np.where(good, trial, 0.5 * (low + high))
            before = np.abs(after - s)
            done = (np.abs(after - s) <= 4e-16 * np.maximum(1.0, np.abs(s))) | empty
            s = after
            if done.all():
                break
    return np.where(empty, 0.0, np.exp(s))


def _descended(problem: Problem, local: Local, q: Array) -> Array:
    """A fixed point of q ↦ local(W * q) from q, along falling energy.

    local(W * q) - q is a direction of descent: the rest of the energy is convex. Close to the fixed point Newton's
    step is tried first. Where the energy falls ever more slowly, as when clusters feel each other across a gap,
    Newton's step is taken to the critical point near by, as long as the energy stays below that of the start.
    """
    fields = [(weight, convolution(problem.grid, term.field)) for weight, term in problem.terms.interactions]
    scale, top = problem.mass / problem.grid.volume, problem.variation.energy(0.0, q)

    def mean_field(values: Array) -> Array:
        total = fields[0][0] * fields[0][1](values)
        for weight, conv in fields[1:]:
            total = total + weight * conv(values)
        return total

    def moved(values: Array) -> tuple[Array, float]:
        image = local(mean_field(values))
        return image, float(np.abs(image - values).sum()) / scale

    best, kept, since = np.inf, q, 0
    for _ in range(300):
        image, gap = moved(q)
        since = 0 if gap < 0.5 * best else since + 1
        best, kept = (gap, image) if gap < best else (best, kept)
        # What 12 steps did not halve below 1e-8 is the rounding of W * q over the temperature.
        if gap <= 1e-13 or (since >= 12 and best <= 1e-8):
            return kept
        newton = [] if gap > 0.3 else [_newton(problem, mean_field, local, q, image)]
        if newton and since >= 12 and moved(newton[0])[1] < 0.1 * gap:
            q = newton[0] if problem.variation.energy(0.0, newton[0]) <= top else image
        else:
            q = _falling(problem, q, [*newton, *(q + 0.5**j * (image - q) for j in range(12))])
    raise RuntimeError(f"no equilibrium within 300 steps: the last moved {gap:.1e} of the mass; give another start")


def _newton(problem: Problem, mean_field: Local, local: Local, q: Array, image: Array) -> Array:
    """Newton's step for q - local(W * q) = 0, made positive by one more application of the map."""
    with np.errstate(all="ignore"):
        give = np.where(image > 0.0, 1.0 / problem.variation.stiffness(image), 0.0)
    give = np.where(np.isfinite(give), give, 0.0)

    def product(delta: Array) -> Array:
        shift = mean_field(delta)
        mean = float((give * shift).sum() / give.sum())
        return delta + give * (shift - mean)

    step, _ = solve_linear(product, image - q, None, 1e-8)
    return local(mean_field(q + step))


def _falling(problem: Problem, q: Array, trials: list[Any]) -> Array:
    """The first trial that does not raise the energy beyond rounding."""
    variation = problem.variation
    here = variation.energy(0.0, q)
    with np.errstate(all="ignore"):
        margin = 1e-14 * float(np.abs(np.where(q > 0.0, q * variation.slope(0.0, q), 0.0)).sum()) * problem.grid.volume
    for trial in trials:
        if variation.energy(0.0, trial) <= here + margin:
            return trial
    return trials[-1]
