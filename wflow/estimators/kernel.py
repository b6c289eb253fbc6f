"""Gaussian kernel density estimates at the particles of a cloud, by the cheapest way of summing."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError, choose
from wflow.estimators.bandwidth import RULES, check_bandwidth, given_bandwidth, rule_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cells import near_pairs
from wflow.estimators.cloud import Array, Estimate, check_positions, check_weights
from wflow.estimators.direct import direct_log_density
from wflow.estimators.engine import engine
from wflow.estimators.levels import abramson, levels
from wflow.estimators.mesh import at_particles, kernel_peak
from wflow.estimators.plan import ORDERS, mesh_for, plan_mesh
from wflow.kernels import clouds

METHODS = ("auto", "mesh", "near", "direct")
RATIO = 3.0


@dataclass(frozen=True)
class Kernel:
    """Gaussian kernel density estimate, self term included.

    bandwidth: a rule ("scott", "silverman", "score", "isj", "likelihood"), taken anew at every call, or a standard
    deviation in the units of the positions, a number or one per axis. method: "direct" sums all pairs, exact in any
    dimension, O(n²); "near" pairs up to 6.5 bandwidths apart, exact to 1e-9; "mesh" is O(n), to about 2e-4 of the
    density with splines of `order` 4, 1e-5 with 6, for d ≤ 3; "auto" takes the cheapest by an estimate of the work.
    accuracy: None, or the largest relative error of the density to allow, from 1e-2 to 1e-8: picks order and spacing
    of the mesh, by a table (`mesh_for`). adaptive: widen the kernels where samples are few and narrow them where
    they are many, by Abramson's square-root law in levels √2 apart (`levels`); a level costs as much as an estimate.
    Cost at 10⁶ samples in 2-D: 18 ms of one core, 4 ms more for a rule of moments; "likelihood" takes 0.2 s at 1000
    samples, by all pairs, for each estimate.

    >>> Kernel(0.5)([[0.0], [1.0]]).score.round(6).tolist()
    [[0.476812], [-0.476812]]
    """

    bandwidth: str | float | tuple[float, ...] = "score"
    method: str = "auto"
    order: int = 4
    accuracy: float | None = None
    adaptive: bool = False

    gives_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        choose(self.method, METHODS, "method of a kernel density estimate")
        if self.order not in ORDERS:
            raise InputError(f"the order of the splines must be one of {ORDERS}, got {self.order}")
        if self.accuracy is not None:
            mesh_for(self.accuracy, 1)
        if isinstance(self.bandwidth, str):
            choose(self.bandwidth, RULES, "bandwidth rule")
        else:
            width = given_bandwidth(self.bandwidth, max(1, np.size(self.bandwidth)))
            plain = float(width[0]) if len(width) == 1 else tuple(width.tolist())
            object.__setattr__(self, "bandwidth", plain)

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, extent = check_positions(positions, box)
        weights = check_weights(weights, len(positions))
        width = self._width(positions, weights)
        pilot = self._estimate(positions, extent, weights, width, box)
        if not self.adaptive:
            return pilot
        density, gradient = np.zeros_like(weights), np.zeros_like(positions)
        for factor, masses in levels(abramson(pilot.density, weights), weights):
            own, slope = self._sum(positions, extent, masses, factor * width, box)
            density += own
            gradient += slope
        return Estimate(density, gradient / density[:, None])

    def engine_for(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> str:
        """ "mesh", "near" or "direct": what a call would take; `InputError` as a call."""
        positions, extent = check_positions(positions, box)
        width = self._width(positions, check_weights(weights, len(positions)))
        return self._engine(positions, extent, width, box)

    def _width(self, positions: Array, weights: Array) -> Array:
        if isinstance(self.bandwidth, str):
            return rule_bandwidth(positions, weights, self.bandwidth)
        return check_bandwidth(self.bandwidth, positions.shape[1])

    def _estimate(self, positions: Array, extent: Array, weights: Array, width: Array, box: Box | None) -> Estimate:
        if self._engine(positions, extent, width, box) == "direct":
            log_density, score = direct_log_density(positions, positions, weights, width, box)
            return Estimate(np.exp(log_density), score)
        density, gradient = self._sum(positions, extent, weights, width, box)
        clouds.divide_rows(gradient, density)
        return Estimate(density, gradient)

    def _sum(
        self, positions: Array, extent: Array, masses: Array, width: Array, box: Box | None
    ) -> tuple[Array, Array]:
        """Masses (n,) ≥ 0 times the kernel, at least the self term, and the gradient."""
        name, peak = self._engine(positions, extent, width, box), kernel_peak(width)
        if name == "mesh":
            order, ratio = self._mesh(positions.shape[1])
            return at_particles(plan_mesh(extent, width, box, order, ratio), positions, masses, width)
        near = near_pairs(positions, width, box) if name == "near" else None
        if near is not None:
            values, gradient = near(masses[None])
            return peak * values[0], peak * gradient
        log_density, score = direct_log_density(positions, positions, masses, width, box)
        density = masses.sum() * np.exp(log_density)
        return density, density[:, None] * score

    def _mesh(self, d: int) -> tuple[int, float]:
        return (self.order, RATIO) if self.accuracy is None else mesh_for(self.accuracy, d)

    def _engine(self, positions: Array, extent: Array, width: Array, box: Box | None) -> str:
        if self.method != "auto":
            return self.method
        return engine(positions, extent, width, box, *self._mesh(positions.shape[1]))
