"""Steps whose length is chosen: along the unit direction, or by a search for the lowest energy."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq, line_search, minimize_scalar

from wflow.arrays import Array
from wflow.errors import InputError, Status, choose
from wflow.flows import Flow
from wflow.states import Particles
from wflow.steppers.explicit import judge
from wflow.steppers.optimizers import check_free
from wflow.steppers.protocol import Memory, Noise, Step

SEARCHES = ("backtracking", "exact", "strong-wolfe", "grid")
LOST = "along -grad F no length with enough less F was found: F may fall without bound, jump, or have another gradient"
ARMIJO, CURVATURE = 1e-4, 0.9  # Nocedal & Wright, Numerical Optimization (2006), eqs. (3.4) and (3.7)


def inner(state: Any, a: Array, b: Array) -> float:
    """a · b of the flat metric: on particles Σ w a · b, so that lengths are Wasserstein's."""
    return float(state.weights @ np.sum(a * b, axis=1)) if isinstance(state, Particles) else float(np.sum(a * b))


@dataclass(frozen=True)
class NormalizedGradient:
    """x + dt · rate/|rate|: every step has length dt, on particles in the Wasserstein distance.

    The flow behind it arrives at a minimum in finite time, at t = |x| for |x|²/2; the steps then go to and fro about
    it. Where the rate is zero it stays.
    """

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        rate = flow.rate(time, state)
        top = float(np.abs(rate).max())
        share = rate / top if top > 0.0 else rate  # so that the squares neither overflow nor vanish
        new = flow.move(state, share / np.sqrt(inner(state, share, share)), dt) if top > 0.0 else state
        return Step(new, status=judge(flow, new), counts={"rates": 1})


@dataclass(frozen=True)
class LineSearch:
    """Steepest descent in the flow's metric with a step length searched for along the direction.

    "backtracking": dt halved until F falls by `1e-4` of what the slope promises (Armijo). "exact": the first local
    minimum of F along the way, by Brent's method, and where the metric is flat by the root of the slope, so that
    consecutive gradients are orthogonal to rounding. "strong-wolfe": SciPy's search with constants 1e-4 and 0.9, in
    units of dt, flat metrics only. "grid": the best of the lengths in `trials`, whether F falls or not.

    Needs a functional that its flow descends exactly: no drift, no estimated density, no time. `length` per step is
    the length found; the time counts dt a step. A search that finds no decrease stops the run with SOLVER_FAILED,
    unless the slope is zero to rounding, where it stays.
    """

    search: str = "backtracking"
    trials: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates", "energies", "length")

    def __post_init__(self) -> None:
        choose(self.search, SEARCHES, "search of LineSearch")
        lengths = np.asarray(self.trials, dtype=np.float64)
        if lengths.ndim != 1 or lengths.size == 0 or not np.all((lengths > 0.0) & np.isfinite(lengths)):
            raise InputError(f"trials must be positive lengths, got {self.trials!r}")

    def check(self, flow: Flow, state: Any) -> None:
        check_free(self, flow, state)
        if not flow.facts.balanced:
            raise InputError(
                "LineSearch needs a functional that its flow descends exactly: no drift, no estimated density, no time"
            )
        if self.search == "strong-wolfe" and not flow.facts.decays:
            raise InputError("the strong Wolfe search needs slopes in a flat metric; take search='backtracking'")

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        line = Line(flow, time, state, flow.rate(time, state))
        slope = -flow.dissipation(time, state)
        if slope == 0.0:
            return Step(state, counts={"rates": 1, "length": 0.0})
        if not (slope < 0.0 and np.isfinite(slope)):
            return Step(state, status=Status.SOLVER_FAILED, note=f"the slope of F is {slope}: F may fall without bound")
        length = FINDERS[self.search](line, slope, dt, self.trials)
        if length is None:
            # A slope that rounding of F hides: the minimum is reached.
            done = -slope * dt <= 1e-13 * (1.0 + abs(line.start))
            status = Status.RUNNING if done else Status.SOLVER_FAILED
            return Step(state, status=status, counts=line.counts(0.0), note="" if done else LOST)
        new = line.at(length)
        return Step(new, status=judge(flow, new), counts=line.counts(length))


class Line:
    """F along a direction from a state, counting what it asks for; `start` is F at the state."""

    def __init__(self, flow: Flow, time: float, state: Any, direction: Array) -> None:
        self.flow, self.time, self.state, self.direction = flow, time, state, direction
        self.rates, self.energies = 1, 1
        self.start = flow.energy(time, state)

    def at(self, length: float) -> Any:
        """The state at a length."""
        return self.flow.move(self.state, self.direction, length)

    def value(self, length: float) -> float:
        """F, inf where it is no number or the metric does not reach."""
        self.energies += 1
        try:
            value = self.flow.energy(self.time, self.at(length))
        except (InputError, np.linalg.LinAlgError):
            return np.inf  # the metric does not reach that far
        return value if np.isfinite(value) else np.inf

    def slope(self, length: float) -> float:
        """dF/dlength, where the metric is flat."""
        self.rates += 1
        new = self.at(length)
        return -inner(new, self.flow.rate(self.time, new), self.direction)

    def counts(self, length: float) -> dict[str, float]:
        """What the search cost."""
        return {"rates": self.rates, "energies": self.energies, "length": length}


def backtracking(line: Line, slope: float, dt: float, trials: tuple[float, ...]) -> float | None:
    """Armijo's rule by halving from dt."""
    length = dt
    for _ in range(60):
        if line.value(length) <= line.start + ARMIJO * length * slope:
            return length
        length *= 0.5
    return None


def exact_search(line: Line, slope: float, dt: float, trials: tuple[float, ...]) -> float | None:
    """The first local minimum: a bracket by doubling or halving from dt, Brent's minimum, the root of the slope."""
    high, best = dt, line.value(dt)
    if best < line.start:
        for _ in range(60):
            further = line.value(2.0 * high)
            if not further < best:
                break
            high, best = 2.0 * high, further
        else:
            return None
        low, high = 0.0 if high == dt else 0.5 * high, 2.0 * high
    else:
        for _ in range(60):
            if line.value(0.5 * high) < line.start:
                break
            high *= 0.5
        else:
            return None
        low = 0.0
    if line.flow.facts.decays and line.slope(low) < 0.0 < line.slope(high):
        return float(brentq(line.slope, low, high, xtol=1e-300, rtol=4.0 * np.finfo(float).eps, maxiter=200))
    found = minimize_scalar(line.value, bounds=(low, high), method="bounded", options={"xatol": 1e-9 * high})
    return float(found.x) if line.value(float(found.x)) < line.start else None


def strong_wolfe(line: Line, slope: float, dt: float, trials: tuple[float, ...]) -> float | None:
    """SciPy's search for the strong Wolfe conditions; its variable is length/dt."""
    scale = slope * dt
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*line search", RuntimeWarning)  # the status says it
        found = line_search(
            lambda s: line.value(float(s[0]) * dt),
            lambda s: np.array([line.slope(float(s[0]) * dt) * dt]),
            np.zeros(1), np.ones(1), gfk=np.array([scale]), old_fval=line.start, c1=ARMIJO, c2=CURVATURE, maxiter=40,
        )  # fmt: skip
    # Without a slope at the end the second condition was not met: there is no length that meets both.
    found = None if found[-1] is None else found[0]
    return None if found is None else float(found) * dt


def best_of(line: Line, slope: float, dt: float, trials: tuple[float, ...]) -> float | None:
    """The best of the given lengths."""
    values = [line.value(length) for length in trials]
    return float(trials[int(np.argmin(values))]) if np.isfinite(min(values)) else None


FINDERS: dict[str, Callable[[Line, float, float, tuple[float, ...]], float | None]] = {
    "backtracking": backtracking,
    "exact": exact_search,
    "strong-wolfe": strong_wolfe,
    "grid": best_of,
}
