"""Steppers: one step forward. Adding one: a small class here and its name in `STEPPERS`."""

from wflow.steppers.explicit import SSPRK3, BogackiShampine, ExplicitEuler, Heun
from wflow.steppers.exponential import Exponential
from wflow.steppers.first_order import MiniBatch, ProximalGradient
from wflow.steppers.implicit import TRBDF2, ImplicitEuler
from wflow.steppers.jko import JKO, VariationalBDF2
from wflow.steppers.langevin import Langevin
from wflow.steppers.line_search import LineSearch, NormalizedGradient
from wflow.steppers.mala import MALA
from wflow.steppers.optimizers import AdaGrad, Adam, Momentum, Nesterov, RMSProp
from wflow.steppers.protocol import Framed, Memory, Noise, Step, Stepper, Sweeping, Tuned
from wflow.steppers.splitting import advance
from wflow.steppers.stabilised import RKL2
from wflow.steppers.underdamped import UnderdampedLangevin

SAMPLERS = (Langevin, MALA, UnderdampedLangevin)
OPTIMIZERS = (Momentum, Nesterov, Adam, AdaGrad, RMSProp, LineSearch, NormalizedGradient)
VARIATIONAL = (JKO, VariationalBDF2)
STEPPERS = (
    *(ExplicitEuler, Heun, SSPRK3, BogackiShampine, RKL2, ImplicitEuler, TRBDF2, Exponential),
    *VARIATIONAL,
    *SAMPLERS,
    *OPTIMIZERS,
    *(ProximalGradient, MiniBatch),
)

__all__ = [
    "JKO",
    "MALA",
    "OPTIMIZERS",
    "RKL2",
    "SAMPLERS",
    "SSPRK3",
    "STEPPERS",
    "TRBDF2",
    "VARIATIONAL",
    "AdaGrad",
    "Adam",
    "BogackiShampine",
    "ExplicitEuler",
    "Exponential",
    "Framed",
    "Heun",
    "ImplicitEuler",
    "Langevin",
    "LineSearch",
    "Memory",
    "MiniBatch",
    "Momentum",
    "Nesterov",
    "Noise",
    "NormalizedGradient",
    "ProximalGradient",
    "RMSProp",
    "Step",
    "Stepper",
    "Sweeping",
    "Tuned",
    "UnderdampedLangevin",
    "VariationalBDF2",
    "advance",
]


def __dir__() -> list[str]:
    return sorted(stepper.__name__ for stepper in STEPPERS)
