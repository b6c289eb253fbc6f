"""Functions of one number given as text, such as the integrand U(q) of an internal energy."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np

from wflow.errors import InputError
from wflow.expression.binding import bind_numba, bind_numpy
from wflow.expression.fields import COMPILE_FROM
from wflow.expression.grammar import parse
from wflow.expression.source import function_source, partials, undistributed

_ORDERS = ("value", "slope", "curvature")


@dataclass(frozen=True)
class ScalarFunction:
    """U(q) with its first two derivatives, exact; arrays of any shape in, float64 arrays of that shape out.

    The grammar is that of `Expression`, in the one variable `variable`. Undefined values are nan or inf,
    silently. Raises `InputError` for text outside the grammar.

    >>> ScalarFunction("q*log(q)").slope(np.array([1.0, np.e]))
    array([1., 2.])
    """

    text: str
    variable: str = "q"

    def __post_init__(self):
        if not isinstance(self.text, str):
            raise InputError(f"a function of {self.variable} is text, got {type(self.text).__name__}")
        if not (isinstance(self.variable, str) and self.variable.isidentifier()):
            raise InputError(f"a variable is a name such as 'q', got {self.variable!r}")
        object.__setattr__(self, "text", self.text.strip())
        _source(self.text, self.variable)

    def value(self, s: np.ndarray | float) -> np.ndarray:
        """U at each s."""
        return _evaluated(self, "value", s)

    def slope(self, s: np.ndarray | float) -> np.ndarray:
        """U' at each s."""
        return _evaluated(self, "slope", s)

    def curvature(self, s: np.ndarray | float) -> np.ndarray:
        """U'' at each s."""
        return _evaluated(self, "curvature", s)


def _evaluated(function: ScalarFunction, order: str, s: np.ndarray | float) -> np.ndarray:
    s = np.asarray(s, dtype=np.float64)
    out = np.empty(s.shape)
    if s.size >= COMPILE_FROM:
        loop = getattr(_on_numba(function.text, function.variable), f"{order}s")
        loop(np.ascontiguousarray(s).reshape(-1), out.reshape(-1))
        return out
    with np.errstate(all="ignore"):
        out[...] = _on_numpy(function.text, function.variable)[order](s)
    return out


@lru_cache(maxsize=128)
def _source(text: str, variable: str) -> str:
    def symbol(name: str) -> str:
        if name != variable:
            raise InputError(f"unknown name {name!r} in a function of {variable}; known: {variable}, pi, e")
        return "q"

    with undistributed():
        derivatives = [parse(text, symbol)[0]]
    for _ in _ORDERS[1:]:
        derivatives += partials(derivatives[-1], ["q"])
    pairs = zip(_ORDERS, derivatives, strict=True)
    return "\n\n".join(function_source(order, ["q"], [derivative], scalar=True) for order, derivative in pairs)


@lru_cache(maxsize=128)
def _on_numpy(text: str, variable: str) -> dict[str, Callable]:
    return bind_numpy(_source(text, variable))


@lru_cache(maxsize=128)
def _on_numba(text: str, variable: str) -> ModuleType:
    loop = "\n\n@kernel\ndef {0}s(s, out):\n    for i in range(s.size):\n        out[i] = {0}(s[i])\n"
    return bind_numba(_source(text, variable) + "".join(loop.format(order) for order in _ORDERS))
