"""Derivatives of plain Python functions, by autograd: the only place that calls it besides fields."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from autograd import jacobian as autograd_jacobian
from autograd import make_vjp

from wflow.errors import InputError


def name_of(function: Any) -> str:
    """What a function is called in messages."""
    return getattr(function, "__name__", type(function).__name__)


def value_and_pull(function: Callable[..., Any], x: Any) -> tuple[Any, Callable[..., Any]]:
    """f(x) and the map from weights of it to the gradient of the weighted sum, by one trace."""

    def run() -> Any:
        pull, value = make_vjp(function)(x)
        return value, pull

    return _traced(function, run)


def traced_jacobian(function: Callable[..., Any], x: Any) -> Any:
    """∂f/∂x, of the shape of f(x) followed by that of x."""
    return _traced(function, lambda: autograd_jacobian(function)(x))


def _traced(function: Callable[..., Any], run: Callable[[], Any]) -> Any:
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # A constant function has the derivative zero; a wrongly untraced one fails the check against differences.
            warnings.filterwarnings("ignore", "Output seems independent of input")
            return run()
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises when traced
        raise InputError(
            f"autograd cannot differentiate {name_of(function)} ({type(error).__name__}: {error}); write it with "
            "operators and autograd.numpy"
        ) from error
