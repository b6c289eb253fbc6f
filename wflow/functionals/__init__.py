"""Functionals F[q]: what is descended. Adding one: a small class here and its name in `FUNCTIONALS`."""

from wflow.functionals.base import DensityTerm, Functional, Sum
from wflow.functionals.blob import Blob
from wflow.functionals.densities import DIVERGENCES, NAMES, Entropy, FDivergence, InternalEnergy, PowerEntropy
from wflow.functionals.fields import Interaction, Potential
from wflow.functionals.generators import Generator, Logarithmic
from wflow.functionals.gradients import Dirichlet, FisherInformation, GradientTerm, ValueFunctional
from wflow.functionals.powers import Power

FUNCTIONALS = (
    *(FDivergence, Entropy, PowerEntropy, InternalEnergy, Potential, Interaction, Blob),
    *(Dirichlet, FisherInformation, ValueFunctional),
)

__all__ = [
    "DIVERGENCES",
    "FUNCTIONALS",
    "NAMES",
    "Blob",
    "DensityTerm",
    "Dirichlet",
    "Entropy",
    "FDivergence",
    "FisherInformation",
    "Functional",
    "Generator",
    "GradientTerm",
    "Interaction",
    "InternalEnergy",
    "Logarithmic",
    "Potential",
    "Power",
    "PowerEntropy",
    "Sum",
    "ValueFunctional",
]
