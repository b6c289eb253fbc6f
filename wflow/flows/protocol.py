"""The one protocol between flows and steppers.

A flow is a functional and a metric put on a state: coordinates x move by dx/dt = rate(t, x), and for the noisy form
by dx = drift dt + sqrt(2 temperature) dW. Steppers know a flow only through these methods.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from wflow.arrays import Array
from wflow.flows.pointwise import Pointwise
from wflow.kernels.stabilised import stage_flat

Memory = dict[str, Array]


@dataclass(frozen=True)
class Facts:
    """What may be relied on.

    `per_time`: the error of a density is an L1 error allowed per unit of time; elsewhere it is an RMS error per
    step. `decays`: the energy never rises under a monotone stepper. `signed`: coordinates may be negative. `stiff`:
    explicit steps are limited by stability. `transport`: no diffusion, a flux of given or frozen velocity.
    `metered`: the energy is cheap enough for every step; `gauged`: of a cloud, there is one, that costs about as much
    as a rate. `balanced`: dF/dt = -dissipation holds. `noisy`: there is a
    Langevin form. `linear`: the rate is a fixed linear map. `fused`: stages of `recurrence`
    cost no more than a pass over the cells. `timed`: a cloud's potential or drift depends on the time.
    `flat`: rates are of the coordinates; else they live in the metric's own, and only `move` may add them.
    `folded`: `move` folds coordinates back into a box, so that differences of two states say nothing.
    `weighted`: weights of a cloud change. `jko`: why there is no `proximal` step, "" where there is. `curved`: the
    metric is not flat in any coordinates, so that a step cannot start ahead of the state. `simple`: beside what
    `rate` follows there is a term for proximal steps only.
    """

    per_time: bool = False
    decays: bool = False
    signed: bool = True
    stiff: bool = False
    transport: bool = False
    metered: bool = True
    gauged: bool = False
    balanced: bool = True
    noisy: bool = False
    linear: bool = False
    fused: bool = False
    timed: bool = False
    flat: bool = True
    folded: bool = False
    weighted: bool = False
    jko: str = ""
    curved: bool = False
    simple: bool = False


@dataclass(frozen=True)
class Solve:
    """The answer of an implicit solve: the state, Newton and linear iterations, and whether it converged.

    `memory`, `distance`, `energies` and `moving` belong to a proximal step: what the next one may start from, how far
    this one went, the energy before and after, where it is kept by what the memory holds, and the share of the mass
    that the last iteration still moved, where it ended before it was to. `terms` are those of a series, in `propagate`.
    """

    state: Any
    iterations: int
    linear: int
    converged: bool
    memory: Memory = field(default_factory=dict)
    distance: float = float("nan")
    energies: tuple[float, float] | None = None
    moving: float = 0.0
    terms: int = 0


def not_steepest(metric: str, drift: Any, own: str) -> str:
    """Why a flow has no variational step of its own metric."""
    if drift is not None:
        return f"with a drift it is not the {own} gradient flow of a functional; leave the drift out"
    return f"it is the step of metrics.{own}, and metrics.{metric} is not the {own} gradient flow; leave the metric out"


class Flow(Protocol):
    """A functional and a metric on a state. Arrays have the shape of the state's coordinates."""

    @property
    def facts(self) -> Facts:
        """What may be relied on."""

    @property
    def name(self) -> str:
        """The metric, for files."""

    def energy(self, time: float, state: Any) -> float:
        """F[q], inf where it is infinite."""

    def dissipation(self, time: float, state: Any, rate: Array | None = None) -> float:
        """-dF/dt along the flow, exact for the discrete energy; nan where the flow is no gradient flow of one.

        `rate` is the rate at the state where it is known already.
        """

    def rate(self, time: float, state: Any) -> Array:
        """dx/dt."""

    def drift(self, time: float, state: Any) -> Array:
        """dx/dt without the entropy, whose part the noise takes. Raises `InputError` where there is no such form."""

    def compiled(self) -> Pointwise | None:
        """The drift and the log of the law as machine code for kernels; None where a term is not known to the
        compiler or ties particles together."""

    def empty(self, shape: tuple[int, ...]) -> Array:
        """np.empty, in memory that nobody holds any more where there is some."""

    def temperature(self) -> float:
        """T of the noise sqrt(2 T) dW that stands for the entropy."""

    def jacobian(self, time: float, state: Any, direction: Array) -> Array:
        """Product of the Jacobian of `rate` with a direction."""

    def resolvent(self, time: float, guess: Any, base: Array, scale: float) -> Solve:
        """The state y with y - scale · rate(time, y) = base: one implicit stage."""

    def spectral_radius(self, time: float, state: Any) -> float:
        """A bound, or a safe estimate, of the largest modulus of the Jacobian's eigenvalues."""

    def recurrence(self, time: float, state: Any, dt: float, rows: Array, first: Array) -> Any:
        """The last Y of Yⱼ = μ Yⱼ₋₁ + ν Yⱼ₋₂ + (1-μ-ν) Y₀ + dt (μ̃ rate(Yⱼ₋₁) + γ̃ first) with rows (μ, ν, μ̃, γ̃,
        c)."""

    def propagate(self, state: Any, dt: float) -> Solve:
        """exp(dt · L) for a linear flow, to the tolerance of the run; `InputError` where the flow is not linear."""

    def smooth(self, time: float, state: Any, delta: Array, scale: float) -> Array:
        """(1 - scale · Jacobian)⁻¹ delta: damps the stiff part of an error estimate."""

    def proximal(self, time: float, state: Any, tau: float, memory: Memory | None, ahead: float = 0.0) -> Solve:
        """argmin of metric²(·, base)/(2 tau) + F: the JKO step where the metric is Wasserstein.

        `base` is the state, or with `ahead` w the point x + w (x - x') on the line from the state x' before it, which
        `memory`, of the step that led here, knows; {} is none, and w counts as 0. The value of F + metric²/2 tau is
        never larger than at the state itself: for a density that is what its quantiles stand for, with None for memory
        what its cells are. Raises `InputError` as `Facts.jko` says.
        """

    def move(self, state: Any, direction: Array, step: float) -> Any:
        """The state reached along a direction: the metric's retraction."""

    def log_density(self, time: float, state: Any) -> Array:
        """log of the invariant density at each particle `(n,)`, up to a constant: what MALA accepts by."""

    def error(self, state: Any, delta: Array) -> float:
        """The size of a difference of coordinates, as `Facts.per_time` says."""

    def measures(self, time: float, state: Any) -> dict[str, float]:
        """Diagnostics of a frame besides energy and dissipation."""


@runtime_checkable
class Split(Protocol):
    """A flow that may have a reaction beside its transport, to be taken apart by a splitting."""

    @property
    def transport(self) -> Flow | None:
        """The flow without its reaction; None where there is nothing to take apart."""

    def react(self, time: float, state: Any, dt: float) -> Any:
        """The state after the reaction alone over dt."""

    def apart(self, time: float, one: Any, other: Any) -> float:
        """The distance of two states in the measure of `error`, or what the reaction makes of it later."""


def ahead_of(here: Array, memory: Memory | None, ahead: float) -> Array:
    """The coordinates x + w (x - x') of `Flow.proximal`."""
    return here + ahead * (here - memory["previous"]) if memory and "previous" in memory else here


def recurrence(flow: Flow, time: float, state: Any, dt: float, rows: Array, first: Array) -> Any:
    """`Flow.recurrence` by calls of `rate`."""
    start, slope = state.coordinates, first.ravel()
    origin = start.ravel()
    before, prev = origin, origin + rows[0, 2] * dt * slope
    for mu, nu, mu_rate, gamma, node in rows[1:]:
        rate, new = flow.rate(time + node * dt, state.at(prev.reshape(start.shape))), np.empty(origin.shape)
        stage_flat(prev, before, origin, rate.ravel(), slope, (mu, nu, dt * mu_rate, dt * gamma), new)
        before, prev = prev, new
    return state.at(prev.reshape(start.shape))
