"""Explicit Runge–Kutta steppers, each a table of coefficients; sums of rates are moved along by the metric's
`move`."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError, Status
from wflow.flows import Flow
from wflow.steppers.protocol import Memory, Noise, Step


@dataclass(frozen=True)
class Tableau:
    """Rows a (lower triangle), weights b, nodes c; `embedded` the weights of the solution one order lower."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    embedded: tuple[float, ...] | None = None


EULER = Tableau(a=((),), b=(1.0,), c=(0.0,))
HEUN = Tableau(a=((), (1.0,)), b=(0.5, 0.5), c=(0.0, 1.0))
# Shu & Osher, J. Comput. Phys. 77 (1988) 439, eq. (2.18), in Butcher's form.
SHU_OSHER = Tableau(a=((), (1.0,), (0.25, 0.25)), b=(1 / 6, 1 / 6, 2 / 3), c=(0.0, 1.0, 0.5))
# Bogacki & Shampine, Appl. Math. Lett. 2 (1989) 321. The fourth stage is the first of the next step.
BOGACKI = Tableau(
    a=((), (0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    c=(0.0, 0.5, 0.75, 1.0),
    embedded=(7 / 24, 1 / 4, 1 / 3, 1 / 8),
)


def combine(weights: tuple[float, ...], rates: list[Array]) -> Array:
    """Σ wᵢ kᵢ without the terms of weight zero."""
    parts = [w * k for w, k in zip(weights, rates, strict=False) if w != 0.0]
    return sum(parts[1:], start=parts[0])


def explicit_step(table: Tableau, flow: Flow, time: float, state: Any, dt: float, first: Array | None) -> Step:
    """One step of a tableau; `first` is the first rate where it is known already."""
    rates = [flow.rate(time, state) if first is None else first]
    for row, node in zip(table.a[1:], table.c[1:], strict=True):
        rates.append(flow.rate(time + node * dt, flow.move(state, combine(row, rates), dt)))
    new = flow.move(state, combine(table.b, rates), dt)
    status = judge(flow, new)
    if table.embedded is None:
        return Step(new, status=status, counts={"rates": len(rates) - (first is not None)})
    difference = tuple(b - e for b, e in zip(table.b, table.embedded, strict=True))
    error = flow.error(new, dt * combine(difference, rates))
    memory = {"rate": rates[-1], "time": np.array(time + dt)}
    return Step(new, memory, error, status, counts={"rates": len(rates) - (first is not None)})


def check_unfolded(stepper: Any, flow: Flow) -> None:
    """Refuse flows in a box for steppers that subtract states."""
    if flow.facts.folded:
        raise InputError(
            f"{type(stepper).__name__} subtracts positions, which a box folds back: take BogackiShampine, or "
            "ImplicitEuler with dt"
        )


def judge(flow: Flow, state: Any) -> Status:
    """NOT_FINITE or NEGATIVE where the new state is that, else RUNNING."""
    coordinates = state.coordinates
    low = coordinates.min()
    if not (np.isfinite(low) and np.isfinite(coordinates.max())):
        return Status.NOT_FINITE
    return Status.NEGATIVE if low < 0.0 and not flow.facts.signed else Status.RUNNING


def check_flat(stepper: Any, flow: Flow) -> None:
    """Refuse a metric that does not move by adding to the coordinates."""
    if not flow.facts.flat:
        raise InputError(
            f"{type(stepper).__name__} adds to the coordinates, and {flow.name} moves in its own; take an explicit "
            "stepper: ExplicitEuler, Heun, SSPRK3 or BogackiShampine"
        )


@dataclass(frozen=True)
class ExplicitEuler:
    """x + dt · rate(x): on a point gradient descent with learning rate dt."""

    order: ClassVar[int] = 1
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        return

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return explicit_step(EULER, flow, time, state, dt, None)


@dataclass(frozen=True)
class Heun:
    """The explicit trapezoidal rule, order 2."""

    order: ClassVar[int] = 2
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        return

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return explicit_step(HEUN, flow, time, state, dt, None)


@dataclass(frozen=True)
class SSPRK3:
    """Shu and Osher's third-order rule: three convex combinations of explicit Euler steps.

    What explicit Euler keeps at dt ≤ dt₀ — the sign of a density, its bounds — this keeps at the same dt₀. On a grid
    with diffusion Φ', dt₀ = 1/(2 Σₖ max Φ'/hₖ²); for a drift b with the limited flux dt₀ = 1/(2 Σₖ max |bₖ|/hₖ).
    """

    order: ClassVar[int] = 3
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        return

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return explicit_step(SHU_OSHER, flow, time, state, dt, None)


@dataclass(frozen=True)
class BogackiShampine:
    """The adaptive 3(2) pair: the third-order solution is kept, three rates a step."""

    order: ClassVar[int] = 3
    adaptive: ClassVar[bool] = True
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        return

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        known = memory.get("rate") if memory and float(memory["time"]) == time else None
        return explicit_step(BOGACKI, flow, time, state, dt, known)
