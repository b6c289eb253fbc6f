"""Steppers: one step forward. Adding one: a small class here and its name in `STEPPERS`."""

from wflow.steppers.explicit import SSPRK3, BogackiShampine, ExplicitEuler, Heun
from wflow.steppers.implicit import TRBDF2, ImplicitEuler
from wflow.steppers.langevin import Langevin
from wflow.steppers.protocol import Memory, Noise, Step, Stepper

STEPPERS = (ExplicitEuler, Heun, SSPRK3, BogackiShampine, ImplicitEuler, TRBDF2, Langevin)

__all__ = [
    "SSPRK3",
    "STEPPERS",
    "TRBDF2",
    "BogackiShampine",
    "ExplicitEuler",
    "Heun",
    "ImplicitEuler",
    "Langevin",
    "Memory",
    "Noise",
    "Step",
    "Stepper",
]
