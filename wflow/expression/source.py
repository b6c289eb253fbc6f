"""From SymPy expressions to Python source: straight lines of products, quotients and calls.

Common subexpressions are computed once. Integer powers become products by repeated squaring (x*x, never
x**2), also under a division. The text calls functions by NumPy's names and decorates with `kernel`; what
those names are bound to decides whether it runs on arrays (NumPy) or on numbers (Numba): see `binding.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy
from sympy.core.parameters import distribute

from wflow.errors import InputError
from wflow.expression.functions import FUNCTIONS, Power

_CODE = {function.head: function.code for function in FUNCTIONS.values()}
_LARGEST_PRODUCT = 1_000_000  # exponents above it (nested powers) are left to pow


def undistributed():
    """SymPy's switch that keeps 2*(x - 1) as it is: distributed, it loses digits near x = 1."""
    return distribute(False)


def partials(expression: sympy.Expr, names: Sequence[str]) -> list[sympy.Expr]:
    """The first derivatives by the named symbols."""
    slopes: dict[str, list[sympy.Expr]] = {name: [] for name in names}
    with undistributed():
        # Term by term, each by its own variables only: a sum over many axes costs what its terms cost.
        for term in sympy.Add.make_args(expression):
            for symbol in term.free_symbols & {sympy.Symbol(name) for name in names}:
                slopes[symbol.name].append(term.diff(symbol))
        return [sympy.Add(*slopes[name]) for name in names]


def function_source(name: str, arguments: Sequence[str], results: Sequence[sympy.Expr], scalar: bool) -> str:
    """A function of `arguments` that returns `results`: the only one if `scalar`, else a tuple.

    >>> x = sympy.Symbol("x")
    >>> print(function_source("value", ["x"], [3 * x**4 - 1 / x], scalar=True))
    @kernel
    def value(x):
        p0 = x * x
        p1 = p0 * p0
        return -1.0 / x + 3.0 * p1
    <BLANKLINE>
    """
    with undistributed():
        shared, reduced = sympy.cse(list(results), symbols=sympy.numbered_symbols("c"))
    writer = _Writer()
    for symbol, expression in shared:
        writer.lines.append(f"{symbol.name} = {writer.sum(expression)}")
    written = [writer.sum(expression) for expression in reduced]
    returned = written[0] if scalar else f"({', '.join(written)}{',' * (len(written) == 1)})"
    body = "".join(f"    {line}\n" for line in [*writer.lines, f"return {returned}"])
    return f"@kernel\ndef {name}({', '.join(arguments)}):\n{body}"


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes terms; powers go to `lines` of their own, each once."""

    lines: list[str] = field(default_factory=list)
    powers: dict[tuple[str, int], str] = field(default_factory=dict)

    def sum(self, expression: sympy.Expr) -> str:
        """Text that may stand where a sum may."""
        if not expression.is_Add:
            return self.product(expression)
        first, *others = [self.product(term) for term in expression.args]
        signed = [f"- {term[1:]}" if term.startswith("-") else f"+ {term}" for term in others]
        return " ".join([first, *signed])

    def product(self, expression: sympy.Expr) -> str:
        """Text that may stand where a product may; a minus sign only in front."""
        if expression.is_Rational:
            return _number(expression)
        coefficient, rest = expression.as_coeff_Mul()
        above: list[str] = []
        below: list[str] = []
        for part in sympy.Mul.make_args(rest):
            inverse = part.is_Pow and part.exp.is_Integer and part.exp < 0
            (below if inverse else above).append(self.factor(1 / part if inverse else part))
        sign = "-" if coefficient < 0 else ""
        if abs(coefficient) != 1 or not above:
            above.insert(0, _number(abs(coefficient)))
        if len(below) > 1:
            below = [f"({' * '.join(below)})"]
        return sign + " / ".join([" * ".join(above), *below])

    def factor(self, expression: sympy.Expr) -> str:
        """Text that may stand where a factor may."""
        if expression.is_Symbol:
            return expression.name
        if expression.is_Pow and expression.exp.is_Integer:
            return self.integer_power(self.factor(expression.base), int(expression.exp))
        if expression.func in _CODE:
            return f"{_CODE[expression.func]}({', '.join(self.sum(a) for a in expression.args)})"
        if expression.func is Power:
            base, exponent = (self.sum(argument) for argument in expression.args)
            return f"({base}) ** ({exponent})"
        if expression.is_Rational or expression.is_Add or expression.is_Mul:
            return f"({self.sum(expression)})"
        raise InputError(f"an expression led to {expression}, which has no finite real value")

    def integer_power(self, base: str, exponent: int) -> str:
        if exponent == 1:
            return base
        if not 0 < exponent <= _LARGEST_PRODUCT:
            return f"({base} ** {float(exponent)!r})"
        if (base, exponent) not in self.powers:
            if not base.isidentifier():
                base = self.named(base, 1, base)
            if exponent % 2:
                text = f"{self.integer_power(base, exponent - 1)} * {base}"
            else:
                half = self.integer_power(base, exponent // 2)
                text = f"{half} * {half}"
            return self.named(base, exponent, text)
        return self.powers[base, exponent]

    def named(self, base: str, exponent: int, text: str) -> str:
        """The name of a line that holds `text`, the power `exponent` of `base`."""
        if (base, exponent) not in self.powers:
            name = f"p{len(self.powers)}"
            self.powers[base, exponent] = name
            self.lines.append(f"{name} = {text}")
        return self.powers[base, exponent]


def _number(value: sympy.Rational) -> str:
    try:
        number = float(sympy.Rational(value).p / sympy.Rational(value).q)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError("an expression has constants that multiply to more than 1e308; scale it")
    return repr(number)
