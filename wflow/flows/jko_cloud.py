"""The JKO step of a cloud: each particle tied to its place before, Newton's method with conjugate gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.flows.protocol import Solve, not_steepest
from wflow.flows.terms import Terms
from wflow.linalg.banded import descent
from wflow.linalg.krylov import Map
from wflow.metrics import Metric, Wasserstein
from wflow.states import Particles

EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Tied:
    """½ Σ wᵢ |xᵢ - bᵢ|² + tau F(x) for F with velocities -∂F/∂xᵢ / wᵢ, as `linalg.proximal.minimise` takes it;
    `along(x)` is v ↦ the derivative of the velocities along v.

    One row holds all positions. The sum of squares is at least W2² to the cloud at b, and is W2² as long as no
    exchange of two particles would shorten it: so F + W2²/2 tau never rises.
    """

    energy: Callable[[Array], float]
    velocity: Map
    along: Callable[[Array], Map]
    base: Array
    weights: Array
    tau: float
    rtol: float

    def _cloud(self, rows: Array) -> Array:
        return rows[0].reshape(self.base.shape)

    def value(self, rows: Array) -> Array:
        x = self._cloud(rows)
        gap = float(self.weights @ np.sum((x - self.base) ** 2, axis=1))
        return np.array([0.5 * gap + self.tau * self.energy(x)])

    def _residual(self, x: Array) -> Array:
        return x - self.base - self.tau * self.velocity(x)

    def slope(self, rows: Array) -> Array:
        return (self.weights[:, None] * self._residual(self._cloud(rows))).reshape(1, -1)

    def direction(self, rows: Array, slope: Array) -> Array:
        x, w = self._cloud(rows), np.maximum(self.weights, 1e-300)[:, None]
        slopes = self.along(x)

        def product(v: Array) -> Array:
            return w * (v - self.tau * slopes(v))

        gap = float(np.sqrt(self.weights @ np.sum((slope.reshape(x.shape) / w) ** 2, axis=1)))
        move, _ = descent(product, lambda r: r / w, slope.reshape(x.shape), min(0.1, max(1e-7, gap)))
        return move.reshape(1, -1)

    def reach(self, rows: Array, direction: Array) -> Array:
        return np.ones(1)

    def small(self, rows: Array, slope: Array, factor: float) -> bool:
        x = self._cloud(rows)
        # Of moves of particles, as `mixed_rms` measures them.
        scaled = slope.reshape(x.shape) / np.maximum(self.weights, 1e-300)[:, None] / (1.0 + np.abs(x))
        return bool(np.sqrt(np.mean(scaled**2)) <= factor * self.rtol)

    def tiny(self, rows: Array, direction: Array) -> bool:
        return bool(np.all(np.abs(direction) <= 8.0 * EPS * (1.0 + np.abs(rows))))

    def noise(self, rows: Array) -> Array:
        x = self._cloud(rows)
        both = np.abs(x - self.base) + self.tau * np.abs(self.velocity(x))
        return np.array([float(self.weights @ np.sum(np.abs(x) * both, axis=1))])


def moved(state: Particles, y: Array, iterations: int, converged: bool) -> Solve:
    """What a minimiser found, `y` in any shape: the cloud there, and how far it went."""
    x = y.reshape(state.positions.shape)
    distance = float(np.sqrt(np.einsum("i,ik->", state.weights, (x - state.positions) ** 2)))
    return Solve(state.at(x), iterations, 0, converged, {"previous": state.positions}, distance)


def cloud_refusal(terms: Terms, extra: Any, metric: Metric, box: Any) -> str:
    """Why a cloud has no JKO step; "" where it has one."""
    if extra is not None or not isinstance(metric, Wasserstein):
        return not_steepest(type(metric).__name__, extra, "Wasserstein")
    if terms.densities:
        return "a density estimated from particles has no energy of its own to minimise; take wf.Blob, or a Density"
    return "positions in a box are folded; take steppers.ImplicitEuler()" if box is not None else ""
