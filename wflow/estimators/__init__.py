"""Samples to density and score, arrays only: bandwidth rules, exact and mesh kernel sums, fitted
Gaussians."""

from wflow.estimators.bandwidth import RULES, bandwidths, check_bandwidth, given_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cells import PairSums
from wflow.estimators.cloud import Estimate
from wflow.estimators.direct import direct_curvature, direct_log_density
from wflow.estimators.engine import MeshSums, engine, gaussian_sums
from wflow.estimators.gaussian import GaussianFit
from wflow.estimators.gram import median_distance
from wflow.estimators.kernel import Kernel
from wflow.estimators.laplace import Laplace, laplace_sums
from wflow.estimators.listed import ESTIMATORS, as_estimator
from wflow.estimators.mesh import convolve, gather, mesh_estimate, spread
from wflow.estimators.plan import Mesh, mesh_error, mesh_for, plan_mesh
from wflow.estimators.protocol import Estimator
from wflow.estimators.spectral import Spectral
from wflow.estimators.stein import Stein

__all__ = [
    "ESTIMATORS",
    "RULES",
    "Box",
    "Estimate",
    "Estimator",
    "GaussianFit",
    "Kernel",
    "Laplace",
    "Mesh",
    "MeshSums",
    "PairSums",
    "Spectral",
    "Stein",
    "as_estimator",
    "bandwidths",
    "check_bandwidth",
    "convolve",
    "direct_curvature",
    "direct_log_density",
    "engine",
    "gather",
    "gaussian_sums",
    "given_bandwidth",
    "laplace_sums",
    "median_distance",
    "mesh_error",
    "mesh_estimate",
    "mesh_for",
    "plan_mesh",
    "spread",
]


def __dir__() -> list[str]:
    return sorted(estimator.__name__ for estimator in ESTIMATORS)
