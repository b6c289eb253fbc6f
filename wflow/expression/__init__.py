"""Scalar and vector fields of position and time, given as text, numbers or functions.

`as_field` and `as_vector_field` take what a user types; `as_scalar_function` reads U(q).
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from wflow.errors import InputError
from wflow.expression.callbacks import Callback, differences
from wflow.expression.composed import Composed, FiniteSum, mapped
from wflow.expression.fields import COMPILE_FROM, Compiled, Expression, Field
from wflow.expression.scalars import ScalarFunction
from wflow.expression.vectors import Components, VectorCallback, VectorField

__all__ = [
    "COMPILE_FROM",
    "Callback",
    "Compiled",
    "Components",
    "Composed",
    "Expression",
    "Field",
    "FiniteSum",
    "ScalarFunction",
    "VectorCallback",
    "VectorField",
    "as_field",
    "as_scalar_function",
    "as_vector_field",
    "differences",
    "mapped",
]


def as_field(V: Any, grad: Callable | None = None, hess: Callable | None = None) -> Field:
    """The scalar field that `V` describes: text, a number, a vectorised function of x or (x, t), or a field.

    `grad` and `hess` go with functions only. Raises `InputError` for anything else.

    >>> as_field("x*y").value(np.array([[2.0, 3.0]]))
    array([6.])
    """
    if isinstance(V, Field | str | Real | np.ndarray):
        if grad is not None or hess is not None:
            raise InputError("grad and hess go with a function; text and fields are differentiated as they are")
        if isinstance(V, Field):
            return V
        return Expression(V if isinstance(V, str) else _number(V))
    if callable(V):
        return Callback(V, grad, hess)
    raise InputError(f"a field is text such as 'x**2 + y', a number or a function, got {type(V).__name__}")


def as_vector_field(drift: Any, dim: int) -> VectorField:
    """The vector field in `dim` dimensions that `drift` describes.

    A sequence of `dim` scalar fields, one for d = 1, or one function (n, d) -> (n, d) of x or (x, t); a
    function is tried once, so that an answer of another shape is refused here with `InputError`.

    >>> as_vector_field(["-y", "x"], 2).value(np.array([[1.0, 2.0]]))
    array([[-2.,  1.]])
    """
    if isinstance(drift, VectorCallback | Components):
        if drift.dim != dim:
            raise InputError(f"a drift in {drift.dim} dimensions does not fit dimension {dim}")
        return drift
    if callable(drift) and not isinstance(drift, Field):
        field = VectorCallback(drift, dim)
        _tried(field)
        return field
    parts = [drift] if isinstance(drift, str | Real | Field) else drift
    if not isinstance(parts, Sequence | np.ndarray):
        raise InputError(f"a drift is one field per axis or a function, got {type(drift).__name__}")
    if len(parts) != dim:
        raise InputError(f"a drift in {dim} dimensions needs {dim} fields, one per axis, got {len(parts)}")
    fields = tuple(as_field(part) for part in parts)
    for part in fields:
        part.check_dim(dim)
    return Components(fields)


def as_scalar_function(text: str, variable: str = "q") -> ScalarFunction:
    """U(q) with exact U' and U''.

    >>> as_scalar_function("q**3 / 2").curvature(2.0)
    array(6.)
    """
    return text if isinstance(text, ScalarFunction) else ScalarFunction(text, variable)


def _number(value: Any) -> str:
    if isinstance(value, bool) or np.ndim(value):
        raise InputError(f"a field is text, one number or a function, got {type(value).__name__}")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"a constant field must be a finite number, got {value}")
    return repr(number)


def _tried(field: VectorCallback) -> None:
    x = np.random.default_rng(0).random((field.dim + 2, field.dim))
    try:
        field.value(x)
    except (IndexError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"drift {field.text} does not fit dimension {field.dim}: {error}") from error
