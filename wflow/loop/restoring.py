"""What a checkpoint must hold for a run to go on from it: looked at before anything of its file is touched.

A checksum says that the bytes are those that were written, not that they are of this run, or of this package.
"""

from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import FileError, InputError
from wflow.loop.ledger import keeps_balance
from wflow.loop.plan import Plan
from wflow.loop.recorder import RECORDED, step_names
from wflow.loop.standing import LEDGER, MEMORY, NUMBERS, CounterNoise, Standing, from_arrays
from wflow.results import Result
from wflow.states import Density, Particles, Point
from wflow.steppers import SAMPLERS, VARIATIONAL, advance
from wflow.store import Checkpoint


def check_checkpoint(plan: Plan, point: Checkpoint, result: Result) -> None:
    """Raise `FileError` unless a run of this plan could have left the checkpoint in the file of `result`.

    Cost: a step of the run, which is thrown away, where the stepper has a memory: only the stepper knows it.
    """
    problem = _names(plan, point.arrays) or _shapes(plan, point.arrays)
    problem = problem or _numbers(plan, point, result) or _memory(plan, point.arrays)
    if not problem:
        problem = _step(plan, point.arrays)
    if problem:
        raise FileError(
            f"the checkpoint of {result.path} is damaged or made up: {problem}; its frames can be read, and without "
            "resume the run starts anew"
        )


def _wanted(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what is no memory of the stepper."""
    shape = np.shape(plan.state.coordinates)
    found: dict[str, tuple[int, ...]] = {"coordinates": shape, "numbers": (len(NUMBERS),), RECORDED: ()}
    if plan.flow.facts.weighted:
        found["weights"] = shape[:1]
    return found | ({"ledger": (len(LEDGER),)} if keeps_balance(plan) else {})


def _names(plan: Plan, arrays: dict[str, Array]) -> str:
    own, wanted = {name for name in arrays if not name.startswith(MEMORY)}, set(_wanted(plan))
    return "" if own == wanted else f"it holds {', '.join(sorted(own)) or 'nothing'}, not {', '.join(sorted(wanted))}"


def _shapes(plan: Plan, arrays: dict[str, Array]) -> str:
    wrong = [name for name, shape in _wanted(plan).items() if arrays[name].shape != shape]
    wrong += [name for name, array in arrays.items() if name not in wrong and array.dtype.kind not in "fiu"]
    return f"{', '.join(wrong)} of another shape" if wrong else ""


def _numbers(plan: Plan, point: Checkpoint, result: Result) -> str:
    time, dt, done, last, reserve, singular = (float(x) for x in point.arrays["numbers"])
    steps = result.steps.get("time", np.empty(0))
    finite = [point.arrays[name] for name in ("coordinates", "weights", RECORDED) if name in point.arrays]
    if not all(np.all(np.isfinite(array)) for array in (*finite, np.array([time, dt, done, reserve]))):
        return "a number is not finite"
    if set(result.steps) != set(step_names(plan)):
        return "the file holds other series of steps"
    if (
        not 0.0 <= time < plan.t_end
        or dt <= 0.0
        or dt != (plan.dt or dt)
        or np.isinf(last)
        or singular not in (0.0, 1.0)
    ):
        return f"it stands at t = {time:g} of {plan.t_end:g} with dt = {dt:g}"
    if not 1 <= point.frames <= len(result.times) or float(point.arrays[RECORDED]) != result.times[point.frames - 1]:
        return f"its last frame is none of the {len(result.times)} of the file"
    if done != point.steps or done > len(steps) or time != (steps[point.steps - 1] if point.steps else 0.0):
        return f"{done:g} steps do not lead to t = {time:g}"
    return ""


def _memory(plan: Plan, arrays: dict[str, Array]) -> str:
    wrong = [name for name, array in arrays.items() if name.startswith(MEMORY) and not _fits(plan, array)]
    shape, none = plan.state.coordinates.shape, np.empty(0)
    wrong += [name for name in plan.framed if arrays.get(MEMORY + name, none).shape != shape]
    return f"{', '.join(wrong)} of another shape, or not finite" if wrong else ""


def _fits(plan: Plan, array: Array) -> bool:
    """Whether an array may be remembered: kernels believe the shapes that they are given."""
    shape = plan.state.coordinates.shape
    if array.shape == ():
        return bool(np.isfinite(array))
    if isinstance(plan.stepper, SAMPLERS):
        return array.shape in (shape, shape[:1])
    if isinstance(plan.stepper, VARIATIONAL):  # quantiles are as many as the mass asks for
        return True
    if isinstance(plan.state, Particles):  # a metric may add the growth of the weights to a rate
        return array.shape[:1] == shape[:1]
    return array.shape == shape or not isinstance(plan.state, Density | Point)


def _step(plan: Plan, arrays: dict[str, Array]) -> str:
    """What goes wrong in the next step that is no matter of the flow."""
    try:
        standing = from_arrays(plan, arrays)
    except ValueError as error:
        return str(error)
    try:
        with np.errstate(all="ignore"):
            if standing.memory:
                _advance(plan, standing)
    except (InputError, np.linalg.LinAlgError):
        return ""  # not defined there: the run says so
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        return f"a step from it fails with {error!r}"
    return ""


def _advance(plan: Plan, standing: Standing) -> Any:
    noise, size = CounterNoise(plan.seed, standing.done), min(standing.dt, plan.t_end - standing.time)
    return advance(plan.stepper, plan.flow, standing.time, standing.state, size, standing.memory, noise)
