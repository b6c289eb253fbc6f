"""Strang's splitting of a flow with a transport and a reaction: half a reaction, a step of transport, half a reaction.

The reaction is taken in log q, exactly where that can be done, so that what is small keeps its relative size: on it
depends when a reaction brings it up. Both parts keep mass and sign and lower the energy, and so does the step.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import Status
from wflow.flows import Split, carried
from wflow.steppers.explicit import judge
from wflow.steppers.langevin import Langevin
from wflow.steppers.mala import MALA
from wflow.steppers.protocol import Memory, Noise, Step, Stepper

ORDER = 2  # of the splitting: a stepper of higher order takes the whole rate
NOISY = (Langevin, MALA)  # they move positions only


def splits(stepper: Stepper, flow: Any) -> bool:
    """Whether a step is taken apart: samplers always; others where rates add to coordinates, up to order two."""
    return isinstance(stepper, NOISY) or (flow.facts.flat and stepper.order is not None and stepper.order <= ORDER)


def advance(stepper: Stepper, flow: Any, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
    """The stepper's step, split where the flow has a reaction beside its transport and `splits` says so."""
    if not isinstance(flow, Split) or flow.transport is None or not splits(stepper, flow):
        return stepper.step(flow, time, state, dt, memory, noise)
    return strang(stepper, flow, time, state, dt, memory, noise)


def strang(stepper: Stepper, flow: Any, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
    """Half the reaction, the stepper's step of the transport, half the reaction.

    The error of an adaptive step is its own plus that of the splitting: the difference to the order of parts turned
    round, which has the order of Strang's error and is zero where either part does nothing; it counts by what the
    reaction will make of it, since what is too small to be seen now decides when a far mode comes up.
    """
    half = flow.react(time, state, 0.5 * dt)
    noisy = isinstance(stepper, NOISY)  # others remember rates, which the reaction changes, or quantiles
    step = stepper.step(flow.transport, time, half, dt, memory if noisy else carried(memory, state, half), noise)
    new = flow.react(time + 0.5 * dt, step.state, 0.5 * dt)
    kept = step.memory if noisy else carried(step.memory, step.state, new)
    status = judge(flow, new) if step.status is Status.RUNNING else step.status
    if not (stepper.adaptive and status is Status.RUNNING):
        return replace(step, state=new, memory=kept, status=status, energy=np.nan)
    swapped = _swapped(flow, time, state, half.coordinates, step.state.coordinates, dt)
    error = step.error + flow.apart(time + dt, new, state.at(swapped))
    return replace(step, state=new, memory={}, status=status, error=error, energy=np.nan)


def _swapped(flow: Any, time: float, state: Any, before: Array, after: Array, dt: float) -> Array:
    """Half the transport, the reaction, half the transport, with the factors by which the transport has multiplied
    the density: no second solve. Where it was empty, half of what has come is added."""
    held = (before > 0.0) & (after > 0.0)
    root = np.sqrt(np.divide(after, before, out=np.ones_like(after), where=held))
    come = np.where(held, 0.0, 0.5 * (after - before))
    middle = state.coordinates * root + np.maximum(come, -state.coordinates)
    return flow.react(time, state.at(middle), dt).coordinates * root + come
