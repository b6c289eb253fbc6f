"""Target densities p. Adding one: a small class here and its name in `TARGETS`."""

from wflow.targets.gaussian import Gaussian, GaussianMixture
from wflow.targets.gibbs import Gibbs, Uniform
from wflow.targets.kernel import KernelDensity
from wflow.targets.protocol import Bounded, Curved, Target, curvature

TARGETS = (Gaussian, GaussianMixture, Gibbs, Uniform, KernelDensity)

__all__ = [
    "TARGETS",
    "Bounded",
    "Curved",
    "Gaussian",
    "GaussianMixture",
    "Gibbs",
    "KernelDensity",
    "Target",
    "Uniform",
    "curvature",
]
