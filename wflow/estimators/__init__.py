"""Samples to density and score, arrays only: bandwidth rules, exact and mesh kernel sums, fitted
Gaussians."""

from wflow.estimators.bandwidth import RULES, bandwidths, check_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cloud import Estimate
from wflow.estimators.direct import direct_log_density
from wflow.estimators.kernel import ESTIMATORS, Estimator, GaussianFit, Kernel, as_estimator
from wflow.estimators.mesh import convolve, mesh_estimate
from wflow.estimators.plan import Mesh, plan_mesh

__all__ = [
    "ESTIMATORS",
    "RULES",
    "Box",
    "Estimate",
    "Estimator",
    "GaussianFit",
    "Kernel",
    "Mesh",
    "as_estimator",
    "bandwidths",
    "check_bandwidth",
    "convolve",
    "direct_log_density",
    "mesh_estimate",
    "plan_mesh",
]
