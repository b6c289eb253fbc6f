"""A functional on a point: the zero-dimensional flow, which is an optimizer."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.expression import Composed, FiniteSum
from wflow.flows.protocol import Facts, Memory, Solve, ahead_of, not_steepest, recurrence
from wflow.flows.terms import Fields
from wflow.functionals import Simple
from wflow.linalg.krylov import directional, newton_krylov, power_radius, solve_linear
from wflow.linalg.proximal import Objective, proximal_rows
from wflow.metrics import Euclidean, Metric, Wasserstein
from wflow.states import Point


@dataclass(frozen=True)
class PointFlow:
    """dx/dt = -G⁻¹∇V(x) + b(x, t) with G the metric; `simple` is a term beside V for proximal steps only."""

    potential: Fields
    metric: Metric
    extra: Any
    rtol: float
    simple: tuple[tuple[float, Simple], ...] = ()

    @cached_property
    def facts(self) -> Facts:
        flat = isinstance(self.metric, Euclidean | Wasserstein) and self.extra is None
        return Facts(
            decays=flat and not self.potential.timed and not self.simple,
            balanced=self.extra is None and not self.potential.timed and not self.simple,
            simple=bool(self.simple),
            noisy=flat,
            flat=self.metric.flat,
            jko="" if flat else not_steepest(self.name, self.extra, "Euclidean"),
        )

    @property
    def name(self) -> str:
        return type(self.metric).__name__

    def energy(self, time: float, state: Point) -> float:
        smooth = float(self.potential.value(state.x[None], time)[0])
        return smooth + sum(weight * term.penalty(state.x) for weight, term in self.simple)

    def shrunk(self, state: Point, step: float) -> Point:
        """The proximal step of the simple term."""
        for weight, term in self.simple:
            state = state.at(term.proximal(state.x, weight * step))
        return state

    def sampled(self, uniforms: Array) -> "PointFlow":
        """The flow of the mean over data drawn by uniforms on (0, 1)."""
        weight, whole = self.potential.parts[0] if len(self.potential.parts) == 1 else (1.0, None)
        if not isinstance(whole, FiniteSum):
            raise InputError("a MiniBatch needs an objective wf.Potential(wf.FiniteSum(loss, data)) and no other term")
        part = whole.batch(np.minimum((uniforms * len(whole.data)).astype(int), len(whole.data) - 1))
        return replace(self, potential=Fields(((weight, part),)))

    def dissipation(self, time: float, state: Point, rate: Array | None = None) -> float:
        if not self.facts.balanced:
            return np.nan
        covector = self.potential.gradient(state.x[None], time)[0]
        try:
            return -float(covector @ self.metric.velocity(state, self._descent(time, state)))
        except (InputError, np.linalg.LinAlgError):
            return np.nan  # the metric is not defined here: the next step says so

    def _descent(self, time: float, state: Point) -> Array:
        x = state.x[None]
        covector = self.potential.gradient(x, time)[0]
        return self.metric.direction(state, covector, lambda: self.potential.hessian(x, time)[0])

    def rate(self, time: float, state: Point) -> Array:
        rate = self._descent(time, state)
        return rate if self.extra is None else rate + self.extra.value(state.x[None], time)[0]

    def drift(self, time: float, state: Point) -> Array:
        return self.rate(time, state)

    def compiled(self) -> None:
        return None

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape)

    def temperature(self) -> float:
        return 0.0

    def jacobian(self, time: float, state: Point, direction: Array) -> Array:
        if isinstance(self.metric, Euclidean | Wasserstein) and self.extra is None:
            return -self.potential.hessian(state.x[None], time)[0] @ direction
        return directional(lambda x: self.rate(time, state.at(x)), state.x, self.rate(time, state), direction)

    def resolvent(self, time: float, guess: Point, base: Array, scale: float) -> Solve:
        if isinstance(self.metric, Euclidean | Wasserstein) and self.extra is None:
            rows = potential_objective(self.potential, time)
            y, count, good = proximal_rows(rows, guess.x[None], base[None], scale, self.rtol)
            return Solve(guess.at(y[0]), count, 0, good)
        root = newton_krylov(
            lambda x: self.rate(time, guess.at(x)),
            guess.x,
            base,
            scale,
            lambda r: self.error(guess, r) <= self.rtol,
        )
        return Solve(guess.at(root.y), root.iterations, root.linear, root.converged)

    def spectral_radius(self, time: float, state: Point) -> float:
        return power_radius(lambda v: self.jacobian(time, state, v), state.x)

    def recurrence(self, time: float, state: Point, dt: float, rows: Array, first: Array) -> Point:
        return recurrence(self, time, state, dt, rows, first)

    def propagate(self, state: Point, dt: float) -> Solve:
        raise InputError("only a linear flow on a grid has an exponential; take an adaptive stepper")

    def smooth(self, time: float, state: Point, delta: Array, scale: float) -> Array:
        return solve_linear(lambda v: v - scale * self.jacobian(time, state, v), delta, None, 1e-6)[0]

    def proximal(self, time: float, state: Point, tau: float, memory: Memory | None, ahead: float = 0.0) -> Solve:
        if self.facts.jko:
            raise InputError(f"no proximal step: {self.facts.jko}")
        rows, base = potential_objective(self.potential, time), ahead_of(state.x, memory, ahead)
        y, count, good = proximal_rows(rows, state.x[None], base[None], tau, self.rtol)
        return Solve(state.at(y[0]), count, 0, good, {"previous": state.x}, float(np.linalg.norm(y[0] - state.x)))

    def move(self, state: Point, direction: Array, step: float) -> Point:
        return self.metric.move(state, direction, step)

    def log_density(self, time: float, state: Point) -> Array:
        raise InputError("a point has no invariant density; put wf.Particles in the potential, with wf.Entropy()")

    def error(self, state: Point, delta: Array) -> float:
        return mixed_rms(state.x, delta)

    def measures(self, time: float, state: Point) -> dict[str, float]:
        values = {"gradient_norm": float(np.linalg.norm(self.potential.gradient(state.x[None], time)))}
        maps = [field for _, field in self.potential.parts if isinstance(field, Composed)]
        if len(maps) == 1:
            values |= {f"y{k}": float(y) for k, y in enumerate(maps[0].image(state.x[None])[0])}
        return values


def potential_objective(potential: Fields, time: float) -> Objective:
    """A potential at one time, as the proximal solver takes it."""
    return Objective(
        lambda x: potential.value(x, time),
        lambda x: potential.gradient(x, time),
        lambda x: potential.hessian(x, time),
    )


def mixed_rms(x: Array, delta: Array) -> float:
    """Root mean square of delta/(1 + |x|): the mixed absolute–relative error."""
    return float(np.sqrt(np.mean((delta / (1.0 + np.abs(x))) ** 2)))
