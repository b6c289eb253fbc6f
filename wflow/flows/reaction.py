"""The reaction part of a flow on a grid, ∂q/∂t = -a q (ξ - ⟨ξ⟩), in log q: exactly where ξ allows it.

With ξ = ε log q + V the flow is linear in log q: log q⁺ = log q - (1 - e^(-a ε t)) ξ/ε up to a constant; with ε = 0
the factor is a t. Elsewhere, as for other divergences and interactions, log q is followed by SciPy's Runge–Kutta
pair of order five.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.terms import Terms
from wflow.metrics import FisherRao, Metric, WassersteinFisherRao, centred, grown
from wflow.states import Density

Slope = Callable[[float, Array], Array]


def reaction_of(metric: Metric) -> float:
    """a, and 0 in a metric without reaction."""
    if isinstance(metric, WassersteinFisherRao):
        return metric.reaction
    return 1.0 if isinstance(metric, FisherRao) else 0.0


def log_linear(terms: Terms) -> bool:
    """Whether ξ = ε log q + V."""
    alike = terms.logarithmic or not terms.densities
    return alike and not terms.interactions and not terms.shapes


def reach(rate: float, warmth: float, span: float) -> float:
    """∫ e^(-a ε s) a ds: how far along -ξ a reaction goes, ξ = ε log q + V."""
    return float(-np.expm1(-rate * warmth * span)) / warmth if warmth > 0.0 else rate * span


def reacted(terms: Terms, slope: Slope, time: float, state: Density, span: float, rate: float, rtol: float) -> Density:
    """The density after the reaction alone over `span`; `slope(time, q)` is ξ. A timed potential is taken at the
    middle."""
    if log_linear(terms):
        length = reach(rate, terms.temperature, span)
        return grown(state, -length * centred(state.values, slope(time + 0.5 * span, state.values)))
    held = state.values > 0.0

    def along(since: float, growth: Array) -> Array:
        now = grown(state, growth.reshape(held.shape))
        return -rate * centred(now.values, slope(time + since, now.values)).ravel()

    accuracy = float(np.clip(rtol, 1e-10, 1e-4))
    with np.errstate(all="ignore"):
        answer = solve_ivp(along, (0.0, span), np.zeros(held.size), "RK45", rtol=accuracy, atol=accuracy)
    if not answer.success:
        raise InputError(f"the reaction of the Fisher–Rao metric could not be followed: {answer.message}")
    return grown(state, answer.y[:, -1].reshape(held.shape))


def check_reaction(terms: Terms, state: Density, metric: Metric, drift: bool, walls: Any) -> None:
    """Refuse what reactions cannot do: carry a drift alone, let mass out, or fill what is empty."""
    name = type(metric).__name__
    if any("absorbing" in pair for pair in state.grid.boundary):
        raise InputError(f"metrics.{name} keeps the mass, which absorbing sides let out: take no-flux sides")
    if not isinstance(metric, FisherRao):
        return
    if drift:
        raise InputError("a drift carries mass, which metrics.FisherRao does not: take metrics.WassersteinFisherRao")
    empty = (state.values == 0.0) & ~walls
    if not empty.any():
        return
    small = np.array([1e-200])
    with np.errstate(all="ignore"):
        births = [t for _, t in terms.densities if not np.abs(small * t.generator.slope(small))[0] < 1e-100]
    if births:
        raise InputError(
            f"{births[0]!r} draws mass into the {int(empty.sum())} empty cells, which metrics.FisherRao cannot fill "
            "since it multiplies: start from a density that is positive, or take metrics.WassersteinFisherRao"
        )
