"""Closed-form solutions, each with its source: what the numerical methods are held against.

Positions are (n, d), times numbers, everything dimensionless. All values are exact to a few roundings and
cost O(n d).
"""

from wflow.exact.diffusion import (
    barenblatt,
    barenblatt_radius,
    drift_diffusion,
    drift_diffusion_cells,
    heat_mode,
    heat_mode_cells,
    ornstein_uhlenbeck,
    quantum_variance,
    thin_film,
)
from wflow.exact.gaussians import (
    euler_maruyama_variance,
    explicit_gaussian_step,
    gaussian_chi2,
    gaussian_fisher,
    gaussian_hellinger,
    gaussian_kl,
    gaussian_kl_both,
    gaussian_kl_natural,
    gaussian_kl_wasserstein,
    jko_gaussian_step,
)
from wflow.exact.points import (
    pbdl_flow,
    pbdl_gradient_descent,
    pbdl_inverse,
    pbdl_newton,
    pbdl_proximal,
)

__all__ = [
    "barenblatt",
    "barenblatt_radius",
    "drift_diffusion",
    "drift_diffusion_cells",
    "euler_maruyama_variance",
    "explicit_gaussian_step",
    "gaussian_chi2",
    "gaussian_fisher",
    "gaussian_hellinger",
    "gaussian_kl",
    "gaussian_kl_both",
    "gaussian_kl_natural",
    "gaussian_kl_wasserstein",
    "heat_mode",
    "heat_mode_cells",
    "jko_gaussian_step",
    "ornstein_uhlenbeck",
    "pbdl_flow",
    "pbdl_gradient_descent",
    "pbdl_inverse",
    "pbdl_newton",
    "pbdl_proximal",
    "quantum_variance",
    "thin_film",
]


def __dir__() -> list[str]:
    return sorted(__all__)
