"""From text to a SymPy expression, through a closed grammar: text is never run.

Python's own parser gives a syntax tree; a walk over it knows numbers, names, + - * / ** and the functions
of `functions.py`, and refuses everything else by name. Constants are folded at once into rationals (the
number 0.1 is 1/10 until it is written out as a double), and bounded, so that no text can make the folding
run away.
"""

import ast
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sympy
from sympy import Integer, Rational

from wflow.errors import InputError, abridged, choose
from wflow.expression.functions import ALIASES, CONSTANTS, FUNCTIONS, Power, apply

MAX_LENGTH = 10_000  # characters
MAX_NODES = 5_000  # of the syntax tree
MAX_DEPTH = 40  # of nesting, where a sum or a product counts once: second derivatives of deeper ones take seconds
MAX_FACTORS = 32  # that are no constants, for the same reason; sums may have any length
MAX_EXPONENT = 1_000
MAX_BITS = 200_000  # of an exact constant raised to a power

_HINTS: dict[type, str] = {
    ast.BitXor: "powers are written with **",
    ast.Compare: "comparisons are not part of it; use maximum, minimum, abs or sign",
    ast.IfExp: "conditions are not part of it; use maximum, minimum, abs or sign",
    ast.Tuple: "one expression gives one number",
}


def parse(text: str, symbol: Callable[[str], str]) -> tuple[sympy.Expr, frozenset[str]]:
    """Return the expression and the names of the variables that occur in it.

    `symbol` maps a variable's name in the text to its symbol's name, or raises `InputError`.
    """
    tree = _syntax_tree(text)
    reader = _Reader(text, symbol)
    try:
        expression = reader.read(tree, 0)
    except RecursionError:
        raise InputError(f"expression {abridged(text)!r} is nested too deeply; split it") from None
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        raise InputError(f"expression {abridged(text)!r} divides by zero")
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    return expression, frozenset(symbol(name) for name in names - CONSTANTS.keys())


def _syntax_tree(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise InputError(f"an expression may have {MAX_LENGTH} characters, got {len(text)}; pass a callable")
    if not text.strip():
        raise InputError("an expression is empty; write for example 'x**2'")
    stray = re.search(r"[^\w\s.+\-*/(),^%<>=!&|~@:\[\]{}'\"]", text, re.ASCII)
    if stray:
        raise InputError(f"expression {abridged(text)!r} has the character {stray[0]!r}, which has no meaning here")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = getattr(error, "msg", None) or "it is nested too deeply"
        raise InputError(f"expression {abridged(text)!r} cannot be read: {what} (products need *)") from None
    nodes = sum(1 for _ in ast.walk(tree))
    if nodes > MAX_NODES:
        raise InputError(f"an expression may have {MAX_NODES} parts, got {nodes}; pass a callable")
    return tree


@dataclass(frozen=True, slots=True)
class _Reader:
    text: str
    symbol: Callable[[str], str]

    def read(self, node: ast.expr, depth: int) -> sympy.Expr:
        if depth > MAX_DEPTH:
            raise InputError(f"expression {abridged(self.text)!r} is nested deeper than {MAX_DEPTH}; split it")
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name():
                return self.name(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                inner = self.read(node.operand, depth + 1)
                return -inner if isinstance(node.op, ast.USub) else inner
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div()):
                return self.chain(node, depth)
            case ast.BinOp(op=ast.Pow()):
                return self.power(node, depth)
            case ast.Call():
                return self.call(node, depth)
            case _:
                raise self.refuse(node)

    def refuse(self, node: ast.AST, why: str = "") -> InputError:
        part = ast.get_source_segment(self.text.strip(), node) or type(node).__name__
        why = why or _HINTS.get(type(getattr(node, "op", node)), "it knows + - * / ** and elementary functions")
        return InputError(f"expression {abridged(self.text)!r} has {abridged(part)!r}: {why}")

    def number(self, node: ast.Constant) -> Rational:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(node, "not a real number")
        if value > 1e308:
            raise self.refuse(node, "too large for a double")
        return Rational(repr(value))

    def name(self, node: ast.Name) -> sympy.Expr:
        if node.id in FUNCTIONS:
            raise self.refuse(node, f"a function needs an argument: {node.id}(...)")
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        return sympy.Symbol(self.symbol(node.id))

    def chain(self, node: ast.BinOp, depth: int) -> sympy.Expr:
        """A sum or a product of any length, without recursion along it."""
        kinds = (ast.Add, ast.Sub) if isinstance(node.op, ast.Add | ast.Sub) else (ast.Mult, ast.Div)
        parts = [self.inverted(part, back, depth) for part, back in _links(node, kinds)]
        if kinds[0] is ast.Mult and sum(not part.is_Rational for part in parts) > MAX_FACTORS:
            raise self.refuse(node, f"a product may have {MAX_FACTORS} factors; take powers, or exp of a sum of logs")
        joined = (sympy.Add if kinds[0] is ast.Add else sympy.Mul)(*parts)
        return self.constant(node, joined) if joined.is_Rational else joined

    def inverted(self, part: ast.expr, back: type | None, depth: int) -> sympy.Expr:
        value = self.read(part, depth + 1)
        if back is ast.Sub:
            return -value
        if back is ast.Div:
            if value.is_zero:
                raise self.refuse(part, "division by zero")
            return 1 / value
        return value

    def constant(self, node: ast.AST, value: float | Rational) -> Rational:
        """A constant, rounded to a double once its exact form grows long."""
        try:
            number = float(value)
        except (OverflowError, TypeError, ValueError):
            raise self.refuse(node, "not a finite real number") from None
        if not math.isfinite(number):
            raise self.refuse(node, "not a finite real number")
        exact = isinstance(value, Rational) and max(value.p.bit_length(), value.q.bit_length()) < 2_000
        return value if exact else Rational(number)

    def power(self, node: ast.BinOp, depth: int) -> sympy.Expr:
        exponent = self.read(node.right, depth + 1)
        if isinstance(node.left, ast.Name) and node.left.id == "e":
            return self.function(node, "exp", [exponent])
        base = self.read(node.left, depth + 1)
        if exponent.is_Rational and abs(exponent) > MAX_EXPONENT:
            raise self.refuse(node, f"exponents may not exceed {MAX_EXPONENT} in size")
        fractional = not exponent.is_Integer
        if base.is_Rational and ((base < 0 and fractional) or (base == 0 and (fractional or exponent < 0))):
            raise self.refuse(node, "such a power of a number that is not positive is not a finite real number")
        if exponent.is_Integer:
            return self.integer_power(node, base, exponent)
        if base.is_Rational and exponent.is_Rational:
            return self.constant(node, _folded(math.pow, base, exponent))
        if exponent.is_Rational and exponent.q == 2:
            return apply("sqrt", base) ** Integer(exponent.p)
        return Power(base, exponent)

    def integer_power(self, node: ast.AST, base: sympy.Expr, exponent: Integer) -> sympy.Expr:
        bits = max((max(c.p.bit_length(), c.q.bit_length()) for c in base.atoms(Rational)), default=0)
        if bits * abs(int(exponent)) > MAX_BITS:
            raise self.refuse(node, "the power of its constants is too large")
        result = base**exponent
        return self.constant(node, result) if base.is_Rational else result

    def call(self, node: ast.Call, depth: int) -> sympy.Expr:
        if not isinstance(node.func, ast.Name):
            raise self.refuse(node.func, "not the name of a function")
        name = ALIASES.get(node.func.id, node.func.id)
        choose(name, FUNCTIONS, f"function in expression {abridged(self.text)!r}:")
        count = FUNCTIONS[name].arguments
        if node.keywords or len(node.args) != count:
            raise self.refuse(node, f"{name} takes {count} argument{'s' * (count > 1)}")
        return self.function(node, name, [self.read(argument, depth + 1) for argument in node.args])

    def function(self, node: ast.AST, name: str, arguments: list[sympy.Expr]) -> sympy.Expr:
        if all(argument.is_Rational for argument in arguments):
            return self.constant(node, _folded(FUNCTIONS[name].fold, *arguments))
        return apply(name, *arguments)


def _links(node: ast.expr, kinds: tuple[type, type]) -> Iterator[tuple[ast.expr, type | None]]:
    """The operands of a left-leaning chain of + and - (or * and /), each with its operator; last first."""
    while isinstance(node, ast.BinOp) and isinstance(node.op, kinds):
        yield node.right, type(node.op)
        node = node.left
    yield node, None


def _folded(function: Callable[..., float], *arguments: Rational) -> float:
    try:
        return function(*(float(argument) for argument in arguments))
    except (ValueError, OverflowError):
        return math.nan
