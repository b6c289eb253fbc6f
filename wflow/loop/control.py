"""The size of the next step."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.flows import Flow

SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
# Gustafsson's PI controller, ACM TOMS 17 (1991) 533: exponents as shares of the order of the error.
INTEGRAL, PROPORTIONAL = 0.7, 0.4
LEAST_ORDER = 0.25  # that two rejections may be taken to show
ERROR_ORDER = 3  # of both embedded pairs, Bogacki–Shampine and TR-BDF2: error = O(dt³) a step


@dataclass(frozen=True)
class Controller:
    """Step sizes from errors; `last` is the error ratio of the last accepted step, nan at first.

    `rounding` is the error that rounding alone may make, which no step size undercuts. `most` is the most that a step
    may err however long it is: a hundredth of the mass, since an error per unit of time says nothing over a time in
    which it exceeds all there is. `reserve` is a tenth of what the whole run may err, kept for singular steps: out of
    a vacuum under a steep Φ the error of a step falls more slowly than its length, so that no step meets an error per
    unit of time. Such a step may spend half of what is left.
    """

    tol: float
    per_time: bool
    rounding: float = 0.0
    last: float = float("nan")
    reserve: float = 0.0
    singular: bool = False
    most: float = float("inf")

    def allowed(self, dt: float) -> float:
        """The error of a regular step."""
        return (min(self.tol * dt, self.most) if self.per_time else self.tol) + self.rounding

    def ratio(self, error: float, dt: float, singular: bool) -> float:
        """Error over what is allowed: a step is accepted up to 1."""
        return error / (self.allowed(dt) + (0.5 * self.reserve if singular else 0.0))

    def accepted(self, ratio: float, dt: float, error: float) -> "tuple[Controller, float]":
        """The controller and the step after an accepted one."""
        excess = max(0.0, error - self.allowed(dt))
        order = ERROR_ORDER - self.per_time
        ratio = max(ratio, 1e-10)
        factor = SAFETY * ratio ** (-INTEGRAL / order)
        if np.isfinite(self.last):
            factor *= self.last ** (PROPORTIONAL / order)
        else:
            factor = SAFETY * ratio ** (-1.0 / order)
        after = replace(self, last=ratio, reserve=self.reserve - excess, singular=excess > 0.0)
        return after, dt * float(np.clip(factor, SHRINK, GROW))

    def rejected(self, ratio: float, dt: float, before: tuple[float, float] = (np.nan, np.nan)) -> float:
        """The step after a rejected one; `ratio` is nan where the step failed altogether. `before` are ratio and step
        of a try just before it: errors at a singularity fall by an order of their own."""
        if not np.isfinite(ratio):
            return 0.25 * dt
        order = float(ERROR_ORDER - self.per_time)
        if np.isfinite(before[0]):
            order = float(np.clip(np.log(before[0] / ratio) / np.log(before[1] / dt), LEAST_ORDER, order))
        return dt * float(np.clip(SAFETY * ratio ** (-1.0 / order), SHRINK, 0.9))


def open_controller(flow: Flow, state: Any, tol: float, span: float) -> Controller:
    """The controller at the start of a run of length `span`."""
    # Twice what inner solvers leave at their tightest, one for the step and one for its estimate.
    size = flow.error(state, state.coordinates)
    if not flow.facts.per_time:
        return Controller(tol, False, 2e-14 * size)
    most = 1e-2 * size
    return Controller(tol, True, 2e-14 * size, reserve=0.1 * min(tol * span, most), most=most)


def first_step(flow: Flow, state: Any, span: float, tol: float) -> float:
    """A first step from the size of the rate (Hairer, Nørsett & Wanner, Solving ODEs I, II.4); the controller mends
    it. A cloud or a point goes half the run at most: were all of it too much, nothing would be left of the dearest
    step there is."""
    with np.errstate(all="ignore"):
        rate: Array = flow.rate(0.0, state)
    if not np.all(np.isfinite(rate)):
        return 1e-6 * span
    speed = flow.error(state, rate)
    size = max(flow.error(state, state.coordinates), 1e-3)
    if speed == 0.0:
        return 0.01 * span
    share, longest = (3.0 * np.sqrt(tol), span) if flow.facts.per_time else (10.0 * tol ** (1 / 3), 0.5 * span)
    return float(np.clip(min(1.0, share) * 0.1 * size / speed, 1e-12 * span, longest))
