"""Inverses of maps (d,) -> (d,): a user's, checked, or found numerically."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize

from wflow.arrays import Array
from wflow.errors import InputError

# How far forward(inverse(y)) may be from y: loose enough for an inverse by an optimiser with default tolerances.
CLOSE = 1e-4


def takes_near(inverse: Callable[..., Any]) -> bool:
    """Whether an inverse has the argument `near`."""
    try:
        return "near" in inspect.signature(inverse).parameters
    except (TypeError, ValueError):
        return False


def given_inverse(inverse: Callable[..., Any], target: Array, near: Array) -> Array:
    """inverse(target, near=near), checked for its shape."""
    found = inverse(target.copy(), near=near.copy()) if takes_near(inverse) else inverse(target.copy())
    point = np.asarray(found, dtype=np.float64)
    if point.shape != near.shape:
        raise InputError(f"the inverse must give shape {near.shape}, got {point.shape}")
    return point


def check_branch(inverse: Callable[..., Any], image: Array, x: Array) -> None:
    """Refuse an inverse that does not lead from y(x) back to x."""
    back = given_inverse(inverse, image, x)
    if not np.linalg.norm(back - x) <= CLOSE * (1.0 + np.linalg.norm(x)):
        raise InputError(
            f"the inverse leads from x = {x.tolist()} to {back.tolist()}: it is no inverse of the map there, or takes "
            "another branch; write it as inverse(y, near), which gives the solution nearest to `near`"
        )


def check_image(image: Array, target: Array) -> None:
    """Refuse a solution that is none."""
    if not np.linalg.norm(image - target) <= CLOSE * (1.0 + np.linalg.norm(target)):
        raise InputError(
            f"no x was found with y(x) = {target.tolist()}, the nearest has {image.tolist()}: the target lies "
            "outside the map's range, or the inverse is wrong; take a smaller dt"
        )


def numerical_inverse(
    forward: Callable[[Array], Array], jacobian: Callable[[Array], Array], target: Array, near: Array
) -> Array:
    """x with forward(x) = target, by L-BFGS-B on ½|forward(x) - target|² from `near`, then up to three Newton steps.

    Accuracy: rounding, where the Jacobian is regular; about the square root of it where it is singular.
    """

    def objective(x: Array) -> tuple[float, Array]:
        rest = forward(x) - target
        return 0.5 * float(rest @ rest), jacobian(x).T @ rest

    options = {"ftol": 10.0 * np.finfo(float).eps, "gtol": 1e-12, "maxiter": 1000}
    x = np.asarray(minimize(objective, near, jac=True, method="L-BFGS-B", options=options).x, dtype=np.float64)
    for _ in range(3):
        rest = target - forward(x)
        try:
            trial = x + np.linalg.solve(jacobian(x), rest)
        except np.linalg.LinAlgError:
            break
        if not np.linalg.norm(target - forward(trial)) < np.linalg.norm(rest):
            break
        x = trial
    return x
