"""Functionals F[q]: what is descended. Adding one: a small class here and its name in `FUNCTIONALS`."""

from wflow.functionals.base import DensityTerm, Functional, Sum
from wflow.functionals.blob import Blob
from wflow.functionals.densities import DIVERGENCES, NAMES, Entropy, FDivergence, InternalEnergy, PowerEntropy
from wflow.functionals.fields import Interaction, Potential
from wflow.functionals.generators import Generator, Logarithmic
from wflow.functionals.powers import Power

FUNCTIONALS = (FDivergence, Entropy, PowerEntropy, InternalEnergy, Potential, Interaction, Blob)

__all__ = [
    "DIVERGENCES",
    "FUNCTIONALS",
    "NAMES",
    "Blob",
    "DensityTerm",
    "Entropy",
    "FDivergence",
    "Functional",
    "Generator",
    "Interaction",
    "InternalEnergy",
    "Logarithmic",
    "Potential",
    "Power",
    "PowerEntropy",
    "Sum",
]
