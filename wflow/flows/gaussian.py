"""A functional on the Gaussian family: variational inference by Gaussian flows.

Every functional is an expectation over z ~ N(0, I) with x = m + L z, taken by one fixed quadrature, so that the
gradient in (m | L) below is that of the discrete energy to rounding:

    ∫ V q = E V(x),   ½∬ W q q = ½ E W(√2 L z),   ∫ p φ(q/p) = E e(log u),  e(ℓ) = φ(e^ℓ)/e^ℓ,
    log u = log q - log p,   log q(x) = -|z|²/2 - log|det L| - (d/2) log 2π.

In (m | L) the Bures–Wasserstein metric is the flat one: the flow is minus this gradient (Lambert et al., NeurIPS
2022).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import norm, qmc

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.point import mixed_rms
from wflow.flows.protocol import Facts, Memory, Solve, ahead_of, not_steepest, recurrence
from wflow.flows.terms import Terms, per_mass, per_mass_slope
from wflow.linalg.krylov import directional, newton_krylov, power_radius, solve_linear
from wflow.linalg.proximal import Objective, proximal_rows
from wflow.linalg.quadrature import gauss_hermite
from wflow.metrics import Metric, Wasserstein
from wflow.targets import Gaussian


@dataclass(frozen=True)
class GaussianFlow:
    """d(m | L)/dt = -G⁻¹ ∇F; nodes `(k, d)` and weights `(k,)` integrate over the standard normal."""

    terms: Terms
    metric: Metric
    extra: Any
    rtol: float
    nodes: Array
    weights: Array

    @cached_property
    def facts(self) -> Facts:
        flat = isinstance(self.metric, Wasserstein) and self.extra is None
        fixed = not self.terms.potential.timed
        jko = "" if flat else not_steepest(self.name, self.extra, "Wasserstein")
        return Facts(decays=flat and fixed, balanced=self.extra is None and fixed, stiff=False, jko=jko)

    @property
    def name(self) -> str:
        return type(self.metric).__name__

    def _at(self, state: Gaussian) -> Array:
        return state.mean + self.nodes @ state.factor.T

    def _log_ratio(self, state: Gaussian, x: Array, term: Any) -> Array:
        log_q = -0.5 * np.sum(self.nodes**2, axis=1) - np.linalg.slogdet(state.factor)[1]
        log_q = log_q - 0.5 * state.dim * np.log(2.0 * np.pi)
        return log_q if term.target is None else log_q - term.target.log_density(x)

    def energy(self, time: float, state: Gaussian) -> float:
        x, total = self._at(state), 0.0
        for weight, term in self.terms.densities:
            total += weight * float(self.weights @ per_mass(term.generator, self._log_ratio(state, x, term)))
        if self.terms.potential:
            total += float(self.weights @ self.terms.potential.value(x, time))
        for weight, term in self.terms.interactions:
            spread = np.sqrt(2.0) * self.nodes @ state.factor.T
            total += 0.5 * weight * float(self.weights @ term.field.value(spread))
        return total

    def gradient(self, time: float, state: Gaussian) -> Array:
        """∂F/∂(m | L) `(d, d + 1)` of the discrete energy."""
        x = self._at(state)
        total = np.zeros((state.dim, state.dim + 1))
        for weight, term in self.terms.densities:
            slope = weight * self.weights * per_mass_slope(term.generator, self._log_ratio(state, x, term))
            total[:, 1:] -= slope.sum() * np.linalg.inv(state.factor).T
            if term.target is not None:
                total -= _moments(slope[:, None] * term.target.score(x), self.nodes)
        if self.terms.potential:
            total += _moments(self.weights[:, None] * self.terms.potential.gradient(x, time), self.nodes)
        for weight, term in self.terms.interactions:
            force = term.field.gradient(np.sqrt(2.0) * self.nodes @ state.factor.T)
            total[:, 1:] += np.sqrt(0.5) * weight * (self.weights[:, None] * force).T @ self.nodes
        return total

    def dissipation(self, time: float, state: Gaussian, rate: Array | None = None) -> float:
        if not self.facts.balanced:
            return np.nan
        covector = self.gradient(time, state)
        return -float(np.sum(covector * self._direction(state, covector)))

    def _direction(self, state: Gaussian, covector: Array) -> Array:
        return self.metric.direction(state, covector, _no_hessian)

    def rate(self, time: float, state: Gaussian) -> Array:
        rate = self._direction(state, self.gradient(time, state))
        if self.extra is None:
            return rate
        velocity = self.extra.value(self._at(state), time)
        # Projection of the velocity on the family: the nearest affine field in L²(q).
        return rate + _moments(self.weights[:, None] * velocity, self.nodes)

    def drift(self, time: float, state: Gaussian) -> Array:
        raise InputError("a Gaussian has no Langevin form: its flow is an ordinary differential equation")

    def compiled(self) -> None:
        return None

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape)

    def temperature(self) -> float:
        return 0.0

    def jacobian(self, time: float, state: Gaussian, direction: Array) -> Array:
        here = self.rate(time, state)
        return directional(lambda x: self.rate(time, state.at(x)), state.coordinates, here, direction)

    def resolvent(self, time: float, guess: Gaussian, base: Array, scale: float) -> Solve:
        if isinstance(self.metric, Wasserstein) and self.extra is None:
            return self._proximal(time, guess, base, scale)
        root = newton_krylov(
            lambda x: self.rate(time, guess.at(x)),
            guess.coordinates,
            base,
            scale,
            lambda r: self.error(guess, r) <= self.rtol,
        )
        return Solve(guess.at(root.y), root.iterations, root.linear, root.converged)

    def _proximal(self, time: float, guess: Gaussian, base: Array, scale: float) -> Solve:
        shape = base.shape

        def value(rows: Array) -> Array:
            return np.array([self.energy(time, guess.at(row.reshape(shape))) for row in rows])

        def gradient(rows: Array) -> Array:
            return np.stack([self.gradient(time, guess.at(row.reshape(shape))).ravel() for row in rows])

        def hessian(rows: Array) -> Array:
            return np.stack([central_jacobian(lambda y: gradient(y[None])[0], row) for row in rows])

        start = guess.coordinates.ravel()[None]
        # Central differences leave the Hessian good to 1e-9, which costs Newton an iteration, never accuracy.
        y, count, good = proximal_rows(
            Objective(value, gradient, hessian), start, base.ravel()[None], scale, max(self.rtol, 1e-13)
        )
        return Solve(guess.at(y[0].reshape(shape)), count, 0, good)

    def spectral_radius(self, time: float, state: Gaussian) -> float:
        return power_radius(lambda v: self.jacobian(time, state, v), state.coordinates)

    def recurrence(self, time: float, state: Gaussian, dt: float, rows: Array, first: Array) -> Gaussian:
        return recurrence(self, time, state, dt, rows, first)

    def propagate(self, state: Gaussian, dt: float) -> Solve:
        raise InputError("only a linear flow on a grid has an exponential; take an adaptive stepper")

    def smooth(self, time: float, state: Gaussian, delta: Array, scale: float) -> Array:
        return solve_linear(lambda v: v - scale * self.jacobian(time, state, v), delta, None, 1e-6)[0]

    def proximal(self, time: float, state: Gaussian, tau: float, memory: Memory | None, ahead: float = 0.0) -> Solve:
        if self.facts.jko:
            raise InputError(f"no JKO step: {self.facts.jko}")
        here = state.coordinates
        answer = self._proximal(time, state, ahead_of(here, memory, ahead), tau)
        distance = float(np.linalg.norm(answer.state.coordinates - here))
        return replace(answer, memory={"previous": here}, distance=distance)

    def move(self, state: Gaussian, direction: Array, step: float) -> Gaussian:
        return self.metric.move(state, direction, step)

    def log_density(self, time: float, state: Gaussian) -> Array:
        raise InputError("MALA moves particles, not a Gaussian; take wf.Particles(gaussian.sample(n))")

    def error(self, state: Gaussian, delta: Array) -> float:
        return mixed_rms(state.coordinates, delta)

    def measures(self, time: float, state: Gaussian) -> dict[str, float]:
        return {}


def _no_hessian() -> Array:
    raise InputError("a Gaussian state has no Hessian metric; take metrics.Wasserstein() or metrics.Natural()")


def _moments(rows: Array, nodes: Array) -> Array:
    """(Σ v | Σ v zᵀ) `(d, d + 1)` of weighted vectors at the nodes."""
    return np.column_stack([rows.sum(axis=0), rows.T @ nodes])


def central_jacobian(function: Any, x: Array) -> Array:
    """The Jacobian of a map of `(k,)` by central differences; relative error about 1e-9."""
    columns = []
    for index in range(x.size):
        step = np.zeros_like(x)
        step[index] = 6e-6 * (1.0 + abs(x[index]))
        columns.append((function(x + step) - function(x - step)) / (2.0 * step[index]))
    return np.stack(columns, axis=1)


# Orders of the tensor rule tried in turn, by dimension.
ORDERS = {1: (20, 40, 80, 160, 320), 2: (20, 40, 80), 3: (12, 24, 40)}
RESOLVED = 1e-4
HUGE = 1e12


def resolved(terms: Terms, metric: Metric, state: Gaussian, extra: Any, rtol: float) -> GaussianFlow:
    """The flow with the first quadrature that the next finer one confirms, to 1e-4 in the energy at the start.

    Smooth fields are exact to rounding then; one with a kink takes the finest rule and keeps an error near 1/nodes.
    Nodes lie where the state is: a divergence whose integrand lies on a target much narrower than it is refused, as
    is a cubature beyond three dimensions (degree 5) that 8192 quasi-random points contradict by more than 5 %.
    """
    orders: tuple[int | None, ...] = ORDERS.get(state.dim, (None,))
    flows = (GaussianFlow(terms, metric, extra, rtol, *gauss_hermite(state.dim, order)) for order in orders)
    flow = next(flows)
    energy = flow.energy(0.0, state)
    for finer in flows:
        before, energy = energy, finer.energy(0.0, state)
        # Of an infinite integral two rules agree once the weights of the outer nodes underflow: on a huge number.
        if abs(energy - before) <= RESOLVED * (1.0 + abs(energy)) and abs(energy) < HUGE:
            return flow
        flow = finer
    if state.dim <= 3 and not terms.densities:
        return flow
    if state.dim <= 3:
        raise InputError(
            f"the energy of {state!r} is not resolved by {len(flow.weights)} quadrature nodes: it is infinite, or lies "
            "where the state has little mass; start nearer to the target, or take a Density or Particles"
        )
    nodes = norm.ppf(qmc.Sobol(state.dim, rng=0).random(8192))
    check = GaussianFlow(terms, metric, extra, rtol, nodes, np.full(8192, 1.0 / 8192)).energy(0.0, state)
    if not abs(check - energy) <= 0.05 * (1.0 + abs(check)):
        raise InputError(
            f"beyond three dimensions expectations are of degree 5, which gives {energy:.4g} here against {check:.4g} "
            "by 8192 points: log p is too far from quadratic; take Particles"
        )
    return flow
