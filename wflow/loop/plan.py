"""A run before it starts: every argument checked, every choice made and said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array, floats, random_seed
from wflow.errors import InputError, check_made
from wflow.flows import DensityFlow, Flow, make_flow
from wflow.states import Density, Particles, Point, kind
from wflow.steppers import (
    RKL2,
    STEPPERS,
    TRBDF2,
    BogackiShampine,
    ExplicitEuler,
    Exponential,
    Framed,
    ProximalGradient,
    Stepper,
    Tuned,
)

# Costs of a run on a grid in 2-D and 3-D, in stages of a sweep, 1.2 to 3 ns a cell: an adaptive second-order method
# takes about ADAPTED/√tol steps (107 at 5e-3 for a double well), but MOST where the flow comes to rest in time, and one
# more a frame; RKL2 √(2 · spectral radius · t_end · steps) stages in all, TR-BDF2 some 14 multigrid cycles a step,
# IMPLICIT stages. A nonlinear Φ is evaluated between stages, which makes them STAGED times as dear. Whatever the step,
# energy, dissipation and error pass over the cells as often as STEP stages do. STAGED is an estimate.
ADAPTED, MOST, IMPLICIT, STAGED, STEP = 7.5, 150.0, 430.0, 6.0, 25.0
# Spectral radius times t_end of blobs from which RKL2 clearly beats the Bogacki–Shampine pair. Rates of porous medium
# in 1-D, rejected steps counted, m = 2 and 5, tol = 1e-4: equal near 100, half at 300 to 400, a fifth or less at 5e3.
MILD = 300.0
MANY = 2.0**53  # steps, as far as float64 counts them


@dataclass(frozen=True)
class Plan:
    """What a run will do. Fixed steps: `dt` and `count`; adaptive ones: `dt` None.

    `frames` are the times of the frames after the first, or None for every step; `first` is a first step to try.
    """

    flow: Flow
    state: Any
    stepper: Stepper
    reason: str
    t_end: float
    dt: float | None
    count: int | None
    frames: Array | None
    tol: float
    seed: int
    stop: Callable[[float, Any], bool] | None
    diagnostics: dict[str, Callable[[float, Any], float]]
    max_steps: int | None

    @cached_property
    def framed(self) -> tuple[str, ...]:
        """Names in the stepper's memory that belong to a frame: asked every step, and protocols are slow to check."""
        return self.stepper.framed if isinstance(self.stepper, Framed) else ()

    @property
    def energetic(self) -> bool:
        """Whether frames have an energy: beyond three dimensions that of a cloud is a sum over all pairs."""
        return self.flow.facts.metered or not (isinstance(self.state, Particles) and self.state.dim > 3)

    @cached_property
    def gauged(self) -> bool:
        """Whether the energy is taken after every step. Not for samplers, whose steps cost a tenth of it, nor for
        optimizers of clouds: theirs is known at the frames."""
        facts = self.flow.facts
        return facts.metered or (facts.gauged and self.energetic and self.stepper.order is not None)


# What `run` and `iterate` take besides the functional and the state.
DEFAULTS: dict[str, Any] = {
    "t_end": None, "dt": None, "steps": None, "stepper": None, "metric": None, "drift": None, "estimator": None,
    "tol": 1e-3, "save": 11, "stop": None, "diagnostics": None, "rng": 0, "max_steps": None,
}  # fmt: skip


def make_plan(functional: Any, state: Any, given: Mapping[str, Any]) -> Plan:
    """Check all arguments of `run` and resolve the defaults; raises `InputError`."""
    kind(state)
    end, step, count = check_times(given["t_end"], given["dt"], given["steps"])
    tol = positive("tol", given["tol"])
    # Inner solvers are two digits tighter than the step; where the step is fixed, at rounding.
    rtol = inner_tolerance(state, 1e-2 * tol if step is None else 1e-12)
    flow = make_flow(functional, state, given["metric"], given["drift"], given["estimator"], rtol=rtol)
    frames = frame_times(given["save"], end, step, count)
    # A stop is asked for after each step, and each step is kept where all are: then steps must be many.
    wanted = None if frames is None or given["stop"] is not None else len(frames)
    stepper, reason = pick_stepper(given["stepper"], flow, state, end, step, tol, wanted)
    stepper.check(flow, state)
    if flow.facts.simple and not isinstance(stepper, ProximalGradient):
        raise InputError(f"{type(stepper).__name__} cannot follow a term that is not smooth: take ProximalGradient")
    if step is None and not stepper.adaptive:
        raise InputError(f"{type(stepper).__name__} does not adapt its step: give dt=...")
    if isinstance(stepper, Tuned) and count is not None and count <= stepper.warmup:
        reason += (
            f"; all of its {count} steps are warm-up ({stepper.warmup}), so that it never is what it should become"
        )
    return Plan(
        flow=flow,
        state=state,
        stepper=stepper,
        reason=reason,
        t_end=end,
        dt=step,
        count=count,
        frames=frames,
        tol=tol,
        seed=random_seed(given["rng"]),
        stop=check_callable("stop", given["stop"]),
        diagnostics=check_diagnostics(given["diagnostics"]),
        max_steps=None if given["max_steps"] is None else whole("max_steps", given["max_steps"]),
    )


def check_callable(name: str, function: Any) -> Any:
    """None or a function."""
    if function is not None and not callable(function):
        raise InputError(f"{name} must be a function of (time, state), got {type(function).__name__}")
    return function


def check_diagnostics(diagnostics: Any) -> dict[str, Callable[[float, Any], float]]:
    """A dict of functions by name."""
    if not isinstance(diagnostics, dict | None):
        raise InputError(f"diagnostics is a dict of functions by name, got {type(diagnostics).__name__}")
    given = diagnostics or {}
    if any(function is None for function in given.values()):
        raise InputError("a diagnostic is a function of (time, state), got None")
    return {name: check_callable(name, function) for name, function in given.items()}


def inner_tolerance(state: Any, rtol: float) -> float:
    """Relative on a density, where it is multiplied by the step; elsewhere at least near rounding."""
    return rtol if isinstance(state, Density) else min(1e-10, rtol)


def positive(name: str, value: Any) -> float:
    """A positive finite number."""
    number = floats(name, value)
    if number.ndim or number <= 0.0:
        raise InputError(f"{name} must be a positive number, got {value}")
    return float(number)


def whole(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def check_times(t_end: Any, dt: Any, steps: Any) -> tuple[float, float | None, int | None]:
    """End time, fixed step, number of fixed steps."""
    if (t_end is None) == (steps is None):
        raise InputError("give exactly one of t_end and steps" + ("; both were given" if t_end is not None else ""))
    step = None if dt is None else positive("dt", dt)
    if steps is not None:
        if step is None:
            raise InputError("steps needs dt, the size of a step (for an optimizer the learning rate)")
        count = whole("steps", steps)
        if count > MANY:
            raise InputError(f"steps must be at most {MANY:g}, beyond which times are no multiples of dt")
        return count * step, step, count
    end = positive("t_end", t_end)
    if step is None:
        return end, None, None
    if end > MANY * step:
        raise InputError(f"t_end = {end:g} is more than {MANY:g} steps of dt = {step:g}: take a larger dt")
    # A last step shorter by rounding only is a whole one.
    return end, step, max(1, int(np.ceil(end / step * (1.0 - 1e-12))))


def frame_times(save: Any, end: float, dt: float | None, count: int | None) -> Array | None:
    """Times of the frames after the first; on fixed steps they are moved to the nearest step."""
    if isinstance(save, str):
        if save not in ("ends", "all"):
            raise InputError(f"save must be a number of frames, times, 'ends' or 'all', got {save!r}")
        return None if save == "all" else np.array([end])
    if isinstance(save, int | np.integer) and not isinstance(save, bool):
        if save < 2:
            raise InputError(f"save must be at least 2 frames, the first and the last, got {save}")
        times = np.linspace(0.0, end, int(save))[1:]
    else:
        times = np.atleast_1d(floats("save", save))
        if times.ndim != 1 or times.size == 0 or np.any(np.diff(times) <= 0.0):
            raise InputError("save as times must be a rising 1-D array")
        if times[0] < 0.0 or times[-1] > end * (1.0 + 1e-12):
            raise InputError(f"save times must lie between 0 and the end {end:g}, got {times[0]:g} to {times[-1]:g}")
        times = times[times > 0.0]
        # A step shorter than rounding cannot be taken.
        times = np.where(times > end * (1.0 - 1e-12), end, times)
    if dt is not None and count is not None:
        index = np.unique(np.clip(np.round(times / dt), 1, count))
        times = np.minimum(index * dt, end)
    return times


def pick_stepper(
    stepper: Any, flow: Flow, state: Any, end: float, dt: float | None, tol: float, frames: int | None
) -> tuple[Stepper, str]:
    """The stepper given, or the default for the state, the functional and its stiffness; and why.

    `frames` is the number of frames after the first, None where every step counts.
    """
    if stepper is not None:
        check_made(stepper, STEPPERS, "stepper", "wf.steppers")
        return stepper, "given"
    if isinstance(flow, DensityFlow) and flow.facts.stiff:
        return _pick_diffusive(flow, state, end, dt, tol, frames)
    if isinstance(state, Density):
        return BogackiShampine(), "a density carried by a velocity is not stiff: explicit, adaptive"
    unfolded = flow.facts.stiff and not flow.facts.folded
    if isinstance(state, Particles) and unfolded and flow.spectral_radius(0.0, state) * end > MILD:
        return RKL2(), "blobs whose stability, not accuracy, limits explicit steps: stabilised stages are cheapest"
    if flow.facts.simple:
        return ProximalGradient(), "a simple term beside a smooth one: proximal gradient steps"
    if isinstance(state, Point) and dt is not None:
        return ExplicitEuler(), "a point with dt given: gradient descent, dt is the learning rate"
    return BogackiShampine(), "an ordinary differential equation without stiffness: explicit, adaptive"


def _pick_diffusive(
    flow: DensityFlow, state: Any, end: float, dt: float | None, tol: float, frames: int | None
) -> tuple[Stepper, str]:
    """The cheapest of three for diffusion on a grid.

    In 1-D that is the exponential for every linear flow: at equal error it was 1.3 times as fast as the implicit one
    with a thousand frames, hundreds of times with few (`experiments/benchmarks/line.py`).
    """
    implicit = TRBDF2(), "a density with diffusion is stiff: implicit, second order, positive, adaptive"
    if dt is not None or not flow.facts.fused:
        return implicit  # which needs no smaller step where a fixed one would leave the density negative
    exact = np.inf if frames is None else frames * (STEP + flow.stages(state, end / frames))
    if state.dim == 1:
        return implicit if np.isinf(exact) else (Exponential(), "linear diffusion in 1-D: exact in time is cheapest")
    steps = min(ADAPTED / np.sqrt(tol), MOST) + (frames or 0)
    explicit = np.sqrt(2.0 * flow.spectral_radius(0.0, state) * end * steps) * (1.0 if flow.facts.linear else STAGED)
    explicit, implied = explicit + STEP * steps, (IMPLICIT + STEP) * steps
    if exact <= min(explicit, implied):
        return Exponential(), "linear diffusion, few frames: exact in time is cheapest"
    if explicit <= implied:
        return (
            RKL2(),
            "diffusion that is not too stiff over the time asked for: stabilised explicit stages are cheapest",
        )
    return implicit
