"""Estimators of density and score at the particles of a cloud: Gaussian kernels and a fitted Gaussian.

An estimator is a frozen dataclass with one method, `__call__(positions (n, d), weights (n,) | None,
box=None)`, that gives an `Estimate`; its `text` stands in files. A new one is a class here or beside, and its
name in `ESTIMATORS`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InputError, choose
from wflow.estimators.bandwidth import RULES, check_bandwidth, rule_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array, Estimate, check_positions, check_weights
from wflow.estimators.direct import direct_log_density
from wflow.estimators.mesh import at_particles
from wflow.estimators.plan import MAX_CELLS, ORDERS, mesh_cells, plan_mesh
from wflow.kernels import sums

METHODS = ("auto", "mesh", "direct")
RATIO = 3.0
DIRECT_BELOW = {1: 200, 2: 300, 3: 2000}  # samples up to which the direct sum is the faster one, by d


@dataclass(frozen=True)
class Kernel:
    """Gaussian kernel density estimate, self term included.

    bandwidth: a rule ("scott", "silverman", "score", "isj"), taken anew at every call, or a standard
    deviation in the units of the positions, a number or one per axis. method: "direct" is exact and O(n^2) in
    any dimension, "mesh" O(n) to about 1e-4 of the density (`order` 4) or 1e-6 (6) for d <= 3; "auto" takes
    the mesh but for few samples, d > 3 or a mesh that would be too big. Cost at 10^6 samples in 2-D: 36 ms
    of one core, 4 ms more for a rule.

    >>> Kernel(0.5)([[0.0], [1.0]]).score.round(6).tolist()
    [[0.476812], [-0.476812]]
    """

    bandwidth: str | float | tuple[float, ...] = "score"
    method: str = "auto"
    order: int = 4

    gives_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        choose(self.method, METHODS, "method of a kernel density estimate")
        if self.order not in ORDERS:
            raise InputError(f"the order of the splines must be one of {ORDERS}, got {self.order}")
        if isinstance(self.bandwidth, str):
            choose(self.bandwidth, RULES, "bandwidth rule")
        else:
            width = check_bandwidth(self.bandwidth, max(1, np.size(self.bandwidth)))
            plain = float(width[0]) if len(width) == 1 else tuple(width.tolist())
            object.__setattr__(self, "bandwidth", plain)

    @property
    def text(self) -> str:
        return repr(self)

    def __call__(self, positions: ArrayLike, weights: ArrayLike | None = None, box: Box | None = None) -> Estimate:
        positions, extent = check_positions(positions, box)
        weights = check_weights(weights, len(positions))
        if isinstance(self.bandwidth, str):
            width = rule_bandwidth(positions, weights, self.bandwidth)
        else:
            width = check_bandwidth(self.bandwidth, positions.shape[1])
        if self._direct(positions, extent, width, box):
            log_density, score = direct_log_density(positions, positions, weights, width, box)
            return Estimate(np.exp(log_density), score)
        mesh = plan_mesh(extent, width, box, self.order, RATIO)
        density, gradient = at_particles(mesh, positions, weights, width)
        sums.divide_rows(gradient, density)
        return Estimate(density, gradient)

    def _direct(self, positions: Array, extent: Array, width: Array, box: Box | None) -> bool:
        n, d = positions.shape
        if self.method != "auto":
            return self.method == "direct"
        return d > 3 or n <= DIRECT_BELOW[d] or not mesh_cells(extent, width, box, self.order, RATIO) <= MAX_CELLS
