"""Target densities p. Adding one: a small class here and its name in `TARGETS`."""

from .gaussian import Gaussian, GaussianMixture
from .gibbs import Gibbs, Uniform
from .kernel import KernelDensity
from .protocol import Target

TARGETS = (Gaussian, GaussianMixture, Gibbs, Uniform, KernelDensity)

__all__ = ["TARGETS", "Gaussian", "GaussianMixture", "Gibbs", "KernelDensity", "Target", "Uniform"]
