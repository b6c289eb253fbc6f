"""What tells two flows apart whose functions have names and no text: how they move the start."""

import zlib

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows import Split
from wflow.loop.plan import Plan
from wflow.steppers import SAMPLERS, MiniBatch

# Places among the data of a sum at which single terms are asked.
PLACES = (np.arange(8) + 0.5) / 8.0


def fingerprint(plan: Plan) -> list[float]:
    """CRC-32 of the velocities at the start, their Euclidean norm, and their product with fixed signs of a quadratic
    phase; of a sum over data, of some of its terms too. Empty where the start has no velocity.

    Only what moves the start at time 0 is seen. Cost: a rate, for samplers a drift.
    """
    try:
        with np.errstate(all="ignore"):
            velocities = np.concatenate([np.ravel(part) for part in _velocities(plan)])
    except (InputError, np.linalg.LinAlgError):
        return []
    with np.errstate(all="ignore"):
        signs = np.cos(np.arange(velocities.size, dtype=float) ** 2)
        size, product = float(np.sqrt(np.sum(velocities**2))), float(np.sum(signs * velocities))
    return [float(zlib.crc32(velocities.tobytes())), size, product]


def _velocities(plan: Plan) -> list[Array]:
    flow = plan.flow
    if isinstance(plan.stepper, SAMPLERS):
        moved = flow.transport if isinstance(flow, Split) and flow.transport is not None else flow
        return [moved.drift(0.0, plan.state)]
    found = [flow.rate(0.0, plan.state)]
    if isinstance(plan.stepper, MiniBatch):
        parts = [flow.sampled(np.array([place])) for place in PLACES]  # type: ignore[attr-defined]
        found += [part.rate(0.0, plan.state) for part in parts]
    return found
