"""Functionals F[q]: what is descended. Adding one: a small class here and its name in `FUNCTIONALS`."""

from .base import DensityTerm, Functional, Sum
from .densities import DIVERGENCES, NAMES, Entropy, FDivergence, InternalEnergy, PowerEntropy
from .fields import Interaction, Potential
from .generators import Generator, Logarithmic

FUNCTIONALS = (FDivergence, Entropy, PowerEntropy, InternalEnergy, Potential, Interaction)

__all__ = [
    "DIVERGENCES",
    "FUNCTIONALS",
    "NAMES",
    "DensityTerm",
    "Entropy",
    "FDivergence",
    "Functional",
    "Generator",
    "Interaction",
    "InternalEnergy",
    "Logarithmic",
    "Potential",
    "PowerEntropy",
    "Sum",
]
