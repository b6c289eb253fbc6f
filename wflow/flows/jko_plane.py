"""The JKO step of a density on a grid of two axes, by its dual: see `linalg.envelope`.

For F = Σ π φ(q/π), entropy plus potential among them, the minimiser is q = π (φ')⁻¹(ξ) with ξ = δF/δq the potential of
the transport back. Where a vacuum has finite ξ = φ'(0) (porous medium), ξ is rounded off there over a thousandth of its
range, q falls off exponentially beyond a front instead of ending there, and the dual is solved to 2e-4 of the mass;
elsewhere to 1e-6. Where the map is not smooth on the scale of cells (rough data over a long step, mass drawn off a wall
faster than cells resolve, a front over tens of cells) Newton's method may not find it: the solve then says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wflow.arrays import Array
from wflow.flows.protocol import Solve
from wflow.flows.reference import Reference
from wflow.flows.terms import Terms, diffusivity
from wflow.functionals import Generator
from wflow.grid import Grid
from wflow.linalg.envelope import climb
from wflow.states import Density

ROUNDING = 1e-3  # of the range of ξ, next to a front
GOALS = {False: 1e-6, True: 2e-4}
MOST = 20  # Newton iterations; four to seven are the rule
FAINTEST = 1e-30  # of the largest mass: emptier cells start from this
NARROWEST = 3  # cells along an axis
LOGS = np.linspace(-200.0, 200.0, 4001)


def plane_refusal(grid: Grid, terms: Terms, form: Reference | None) -> str:
    """Why there is no step on a grid of more than one axis; "" where there is."""
    if grid.dim > 2:
        return "on grids it has one or two axes; take steppers.ImplicitEuler(), or particles"
    if any(pair != ("no-flux", "no-flux") for pair in grid.boundary):
        return f"optimal transport on a grid needs no-flux sides, not {grid.boundary}; take steppers.ImplicitEuler()"
    if min(grid.cells) < NARROWEST:
        return f"splines need {NARROWEST} cells along either axis, not {grid.cells}; take steppers.ImplicitEuler()"
    if form is None or terms.interactions or terms.potential.timed:
        return (
            "in two dimensions it takes divergences from one target, internal energies, and an entropy with potentials "
            "that rest; take steppers.ImplicitEuler()"
        )
    if not np.all(np.isfinite(form.log_cells)):
        return "in two dimensions the target must be positive in every cell; shrink the box to its support"
    return ""


@dataclass(frozen=True, eq=False)
class Response:
    """Masses π (φ')⁻¹(ξ) of the cells, π = exp(`logs`), with ξ rounded off over `width` above φ'(0)."""

    generator: Generator
    logs: Array
    width: float

    @cached_property
    def bottom(self) -> float:
        """φ'(0), maybe -inf."""
        with np.errstate(all="ignore"):
            return float(self.generator.slope(np.zeros(1))[0])

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            slopes = self.generator.slope(np.exp(LOGS))
        good = np.isfinite(slopes) & (np.append(np.diff(slopes), 0.0) > 0.0)
        return slopes[good], LOGS[good]

    def density(self, xi: Array) -> Array:
        """π u with φ'(u) = ξ; inf above the range of φ'."""
        w = xi
        if np.isfinite(self.bottom):
            w = self.bottom + self.width * np.logaddexp(0.0, (xi - self.bottom) / self.width)
        slopes, logs = self._table
        log_u = np.interp(w, slopes, logs)
        with np.errstate(all="ignore"):
            for _ in range(5):
                step = (w - self.generator.slope(np.exp(log_u))) / diffusivity(self.generator, log_u)
                log_u = log_u + np.clip(np.nan_to_num(step), -1.0, 1.0)
            masses = np.exp(self.logs + log_u)
        return np.where(w < slopes[-1], masses, np.inf)

    def slope(self, rho: Array) -> Array:
        """dρ/dξ = ρ/Φ'(u)."""
        with np.errstate(all="ignore"):
            log_u = np.log(rho) - self.logs
            out = rho / diffusivity(self.generator, log_u)
            if np.isfinite(self.bottom):
                out = out * -np.expm1((self.bottom - self.generator.slope(np.exp(log_u))) / self.width)
        return np.where(rho > 0.0, np.nan_to_num(out), 0.0)

    def potential(self, mass: Array) -> Array:
        """ξ of given masses, the inverse of `density`."""
        slope = self.generator.slope(np.exp(np.log(np.maximum(mass, FAINTEST * mass.max())) - self.logs))
        if not np.isfinite(self.bottom):
            return slope
        rise = np.maximum((slope - self.bottom) / self.width, 1e-5)
        return self.bottom + self.width * np.where(rise > 30.0, rise, np.log(np.expm1(np.minimum(rise, 30.0))))


def plane_step(form: Reference, state: Density, near: Callable[[], Density], tau: float) -> Solve:
    """argmin of W2²(·, q)/2 tau + F, from the potential of q; where that fails, of the density that `near` gives."""
    grid = state.grid
    mass = state.values * grid.volume
    logs = form.log_cells + np.log(grid.volume)
    with np.errstate(all="ignore"):
        top = float(np.max(mass / np.exp(logs)))
        ends = form.generator.slope(np.array([0.0, top]))
    width = ROUNDING * float(ends[1] - ends[0]) if np.all(np.isfinite(ends)) else 1.0
    law = Response(form.generator, logs, width)
    goal = GOALS[bool(np.isfinite(ends[0]))]
    kappa = grid.spacing**2 / tau
    answer = climb(law, mass, kappa, law.potential(mass), goal, MOST)
    if not answer.converged:
        answer = climb(law, mass, kappa, law.potential(near().values * grid.volume), goal, MOST)
    found = law.density(answer.values)
    values = found * (mass.sum() / found.sum()) / grid.volume
    centers = np.moveaxis(np.indices(grid.cells), 0, -1) + 0.5
    moved = np.sum(((answer.to - centers) * grid.spacing) ** 2, axis=-1)
    distance = float(np.sqrt(np.sum(np.where(mass > 0.0, mass * moved, 0.0))))
    return Solve(state.at(values), answer.iterations, answer.linear, answer.converged, {}, distance)
