"""Stabilised explicit steps: many cheap stages whose stability grows with the square of their number."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import Status
from wflow.flows import Flow
from wflow.steppers.explicit import check_flat, check_unfolded, judge
from wflow.steppers.implicit import rises
from wflow.steppers.protocol import Memory, Noise, Step

MOST_STAGES = 2001


@lru_cache(maxsize=64)
def legendre_rows(stages: int) -> Array:
    """Rows (μ, ν, μ̃, γ̃, c) of the recurrence, `(stages, 5)`: Meyer, Balsara & Aslam 2014, eqs. (16) to (18)."""
    j = np.arange(stages + 1.0)
    b = np.full(stages + 1, 1.0 / 3.0)
    b[2:] = (j[2:] ** 2 + j[2:] - 2.0) / (2.0 * j[2:] * (j[2:] + 1.0))
    span = 4.0 / (stages**2 + stages - 2.0)
    rows = np.zeros((stages, 5))
    rows[0] = 1.0, 0.0, b[1] * span, 0.0, 0.0
    for k in range(2, stages + 1):
        mu = (2.0 * k - 1.0) / k * b[k] / b[k - 1]
        nu = -(k - 1.0) / k * b[k] / b[k - 2]
        node = b[1] * span if k == 2 else ((k - 1.0) ** 2 + (k - 1.0) - 2.0) / (stages**2 + stages - 2.0)
        rows[k - 1] = mu, nu, mu * span, -(1.0 - b[k - 1]) * mu * span, node
    rows.flags.writeable = False
    return rows


def stages_needed(scale: float) -> int:
    """The odd number s ≥ 3 with s² + s - 2 ≥ 2 · dt · (spectral radius): inside the stability interval."""
    least = int(np.ceil(0.5 * (np.sqrt(9.0 + 8.0 * scale) - 1.0)))
    return max(3, least + 1 - least % 2)


def error_weight(stages: int) -> float:
    """C for which C (2 (y₀ - y₁) + h (f₀ + f₁)) is the error of a step to leading order.

    The elementary differential f'f'f stands in y₁ with g = (s² + s - 6)/(9 (s² + s - 2)), in the solution with 1/6, in
    h (f₀ + f₁) with 1/2: C = (1/6 - g)/(1/2 - 2 g), 1/5 for many stages. The other one, f''ff, stands there with nearly
    as much, so that the error of a flow that is not linear is 6 % smaller at three stages, 1 % at five, none beyond.
    The constant of RKC, 2/5, would give twice the error.

    >>> round(error_weight(27), 6)
    0.201268
    """
    count = stages**2 + stages
    g = (count - 6.0) / (9.0 * (count - 2.0))
    return (1.0 / 6.0 - g) / (0.5 - 2.0 * g)


@dataclass(frozen=True)
class RKL2:
    """The second-order Runge–Kutta–Legendre method: adaptive, explicit, for diffusion.

    s stages are stable for dt (spectral radius) ≤ (s² + s - 2)/2, so a step costs the square root of what explicit
    Euler would. The error estimate has the form of Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88 (1998) 315,
    eq. (15), with the constant of this method, see `error_weight`. A step that turns a density negative or raises an
    energy that must decay is rejected, and a smaller one taken.

    Source: Meyer, Balsara & Aslam, J. Comput. Phys. 257 (2014) 594.
    """

    order: ClassVar[int] = 2
    adaptive: ClassVar[bool] = True
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        check_flat(self, flow)
        check_unfolded(self, flow)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        first = memory["rate"] if memory and float(memory["time"]) == time else flow.rate(time, state)
        radius = flow.spectral_radius(time, state)
        # A little room: the radius may grow within the step where the flow is not linear.
        count = stages_needed(1.05 * dt * radius) if np.isfinite(radius) else MOST_STAGES + 1
        if count > MOST_STAGES or not np.all(np.isfinite(first)):
            return Step(state, status=Status.SOLVER_FAILED)
        new = flow.recurrence(time, state, dt, legendre_rows(count), first)
        status = judge(flow, new)
        before = float(memory["energy"]) if "energy" in memory else flow.energy(time, state)
        after = flow.energy(time + dt, new) if flow.facts.decays and status is Status.RUNNING else np.nan
        if status is not Status.RUNNING or rises(flow, before, after):
            return Step(state, status=status if status is not Status.RUNNING else Status.SOLVER_FAILED)
        last = flow.rate(time + dt, new)
        delta = error_weight(count) * (2.0 * (state.coordinates - new.coordinates) + dt * (first + last))
        kept = {"rate": last, "time": np.array(time + dt), "energy": np.array(after)}
        return Step(new, kept, flow.error(new, delta), Status.RUNNING, after, {"rates": count + 1.0})
