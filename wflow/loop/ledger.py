"""The energy balance of a run, F(0) - F(t) = ∫ dissipation, kept step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.errors import InputError
from wflow.loop.plan import Plan
from wflow.steppers import Memory


def measured(quantity: Callable[..., float], time: float, state: Any, *known: Any) -> float:
    """A quantity, nan where it is not defined at a state that a run has reached: the frame must not be lost for it."""
    try:
        return quantity(time, state, *known)
    except (InputError, np.linalg.LinAlgError):
        if time == 0.0:
            raise
        return np.nan


@dataclass(frozen=True)
class Ledger:
    """Where the balance stands: the time, the energy still owed, the dissipation, and the residual.

    The integral is the trapezoidal rule over the steps, so that for a second-order stepper the residual falls as dt².
    It is counted from the first finite energy and dissipation on.
    """

    time: float
    start: float
    spent: float
    power: float
    residual: float

    def after(self, plan: Plan, time: float, state: Any, memory: Memory, energy: float) -> "Ledger":
        """The ledger after a step."""
        known = memory["rate"] if "rate" in memory and float(memory["time"]) == time else None
        with np.errstate(all="ignore"):
            power = measured(plan.flow.dissipation, time, state, known)
        if not (np.isfinite(self.power) and np.isfinite(self.start)):
            return Ledger(time, energy, 0.0, power, 0.0)
        spent = self.spent + 0.5 * (time - self.time) * (self.power + power)
        return Ledger(time, self.start, spent, power, self.start - energy - spent)


def keeps_balance(plan: Plan) -> bool:
    """Whether a balance means something: for a stepper that follows the rate in small steps, of a flow that has one.

    An exact stepper goes from frame to frame, too far for a quadrature of the dissipation.
    """
    followed = plan.stepper.order is not None and np.isfinite(plan.stepper.order)
    return plan.flow.facts.metered and plan.flow.facts.balanced and followed


def open_ledger(plan: Plan) -> Ledger | None:
    """The ledger at the start, or None where there is no balance or where the energy is too dear for every step."""
    if not keeps_balance(plan):
        return None
    with np.errstate(all="ignore"):
        energy, power = plan.flow.energy(0.0, plan.state), plan.flow.dissipation(0.0, plan.state)
    return Ledger(0.0, energy, 0.0, power, 0.0)
