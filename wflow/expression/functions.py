"""The elementary functions an expression may use, and their derivatives.

Every function is opaque to SymPy, which knows only its partial derivatives from the table here: nothing is
evaluated that could run away, and nothing is rewritten behind the user's back. The derivative of abs is
sign, that of sign is 0, and maximum and minimum share theirs equally where their arguments are equal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import sympy
from sympy import Integer, Rational

ALIASES = {"min": "minimum", "max": "maximum", "arcsin": "asin", "arccos": "acos", "arctan": "atan"}
CONSTANTS = {"pi": Rational(math.pi), "e": Rational(math.e)}


class Power(sympy.Function):
    """a**b where b is no integer."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        a, b = self.args
        return b * Power(a, b - 1) if argindex == 1 else self * apply("log", a)


def _opaque(name: str, *slopes: Callable) -> type:
    """A function SymPy knows only by its partial derivatives, each given as a function of the arguments."""
    return type(name, (sympy.Function,), {"fdiff": lambda self, argindex=1: slopes[argindex - 1](*self.args)})


@dataclass(frozen=True, slots=True)
class Function:
    """`head` builds it, `fold` takes constants, `code` is NumPy's name (and Numba's) in generated source."""

    head: type
    fold: Callable[..., float]
    code: str
    arguments: int = 1


def _entry(name: str, fold: Callable[..., float], code: str, *slopes: Callable) -> Function:
    return Function(_opaque(name, *slopes), fold, code, len(slopes))


def apply(name: str, *arguments: sympy.Expr) -> sympy.Expr:
    """The function of that name of SymPy arguments."""
    return FUNCTIONS[name].head(*arguments)


_SLOPE_ERF = Rational(2 / math.sqrt(math.pi))
_HALF = Rational(1, 2)

FUNCTIONS: dict[str, Function] = {
    "sin": _entry("sin", math.sin, "sin", lambda a: apply("cos", a)),
    "cos": _entry("cos", math.cos, "cos", lambda a: -apply("sin", a)),
    "tan": _entry("tan", math.tan, "tan", lambda a: 1 + apply("tan", a) ** 2),
    "asin": _entry("asin", math.asin, "arcsin", lambda a: 1 / apply("sqrt", 1 - a**2)),
    "acos": _entry("acos", math.acos, "arccos", lambda a: -1 / apply("sqrt", 1 - a**2)),
    "atan": _entry("atan", math.atan, "arctan", lambda a: 1 / (1 + a**2)),
    "sinh": _entry("sinh", math.sinh, "sinh", lambda a: apply("cosh", a)),
    "cosh": _entry("cosh", math.cosh, "cosh", lambda a: apply("sinh", a)),
    "tanh": _entry("tanh", math.tanh, "tanh", lambda a: 1 - apply("tanh", a) ** 2),
    "exp": _entry("exp", math.exp, "exp", lambda a: apply("exp", a)),
    "log": _entry("log", math.log, "log", lambda a: 1 / a),
    "sqrt": _entry("sqrt", math.sqrt, "sqrt", lambda a: _HALF / apply("sqrt", a)),
    "erf": _entry("erf", math.erf, "erf", lambda a: _SLOPE_ERF * apply("exp", -(a**2))),
    "abs": _entry("abs", abs, "absolute", lambda a: apply("sign", a)),
    "sign": _entry("sign", lambda a: float((a > 0) - (a < 0)), "sign", lambda a: Integer(0)),
    "maximum": _entry(
        "maximum",
        max,
        "maximum",
        lambda a, b: _HALF * (1 + apply("sign", a - b)),
        lambda a, b: _HALF * (1 - apply("sign", a - b)),
    ),
    "minimum": _entry(
        "minimum",
        min,
        "minimum",
        lambda a, b: _HALF * (1 - apply("sign", a - b)),
        lambda a, b: _HALF * (1 + apply("sign", a - b)),
    ),
}
