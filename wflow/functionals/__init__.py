"""Functionals F[q]: what is descended. Adding one: a small class here and its name in `FUNCTIONALS`."""

from wflow.functionals.base import DensityTerm, Functional, Sum
from wflow.functionals.blob import Blob
from wflow.functionals.densities import DIVERGENCES, NAMES, Entropy, FDivergence, InternalEnergy, PowerEntropy
from wflow.functionals.fields import Interaction, Potential
from wflow.functionals.generators import Generator, Logarithmic
from wflow.functionals.gradients import Dirichlet, FisherInformation, GradientTerm, ValueFunctional
from wflow.functionals.powers import Power
from wflow.functionals.simple import L1, Ball, Box, Simple

FUNCTIONALS = (
    *(FDivergence, Entropy, PowerEntropy, InternalEnergy, Potential, Interaction, Blob),
    *(Dirichlet, FisherInformation, ValueFunctional, L1, Box, Ball),
)

__all__ = [
    "DIVERGENCES",
    "FUNCTIONALS",
    "L1",
    "NAMES",
    "Ball",
    "Blob",
    "Box",
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
    "Simple",
    "Sum",
    "ValueFunctional",
]
