"""The kernelised Wasserstein metric of particles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, choose
from wflow.estimators import check_bandwidth, gaussian_sums, given_bandwidth, median_distance
from wflow.metrics.protocol import straight
from wflow.states import Particles


@dataclass(frozen=True)
class Stein:
    """The Wasserstein metric smoothed by a kernel, of a reproducing kernel Hilbert space: its flow is SVGD.

    dxᵢ/dt = Σⱼ wⱼ [k(xⱼ, xᵢ) ∇log p(xⱼ) + ∇ₓⱼ k(xⱼ, xᵢ)], k = exp(-|x - y|²/(2 σ²)), for reverse KL to p, or entropy
    with potentials and interactions: the entropy's own part, ∇log q, is moved onto the kernel by parts, so that no
    density is estimated. `bandwidth` is σ, a number or `(d,)`, or "median": σ² = ½ (median distance)²/log(n + 1),
    anew at every step, the median from at most 1000 particles. For d ≤ 3 and many particles the sums go by a mesh,
    O(n); else over pairs. Source: Liu & Wang, Stein variational gradient descent, NeurIPS 2016, eq. (8).
    """

    bandwidth: str | float | tuple[float, ...] = "median"

    states: ClassVar[tuple[type, ...]] = (Particles,)
    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.bandwidth, str):
            choose(self.bandwidth, ("median",), "bandwidth of Stein")
        else:
            width = given_bandwidth(self.bandwidth, max(1, np.size(self.bandwidth)))
            object.__setattr__(self, "bandwidth", float(width[0]) if len(width) == 1 else tuple(width.tolist()))

    def direction(self, state: Any, covector: Array, hessian: Callable[[], Array]) -> Array:
        return self.entropic(state, covector, 0.0)

    def entropic(self, state: Any, covector: Array, temperature: float) -> Array:
        """The direction for a covector plus temperature · ∇log q."""
        x, weights = state.positions, state.weights
        given = median_width(x) if isinstance(self.bandwidth, str) else self.bandwidth
        sums = gaussian_sums(x, check_bandwidth(given, state.dim))
        values, gradient = sums(np.ascontiguousarray(np.vstack((weights, (weights[:, None] * covector).T))))
        return -values[1:].T - temperature * gradient

    def move(self, state: Any, direction: Array, step: float) -> Any:
        return straight(state, direction, step)

    def velocity(self, state: Any, direction: Array) -> Array:
        return direction


def median_width(x: Array) -> float:
    """σ of the median rule for positions (n, d); 1 for one particle, which feels only itself."""
    if len(x) == 1:
        return 1.0
    middle = median_distance(x)
    if not middle > 0.0:
        raise InputError("the median distance of the particles is zero; give metrics.Stein a bandwidth in numbers")
    return middle * float(np.sqrt(0.5 / np.log(len(x) + 1.0)))
