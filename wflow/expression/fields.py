"""Scalar fields V(x, t) given as text: value, gradient and Hessian, exact and compiled."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Protocol, runtime_checkable

import numpy as np
import sympy

from wflow.errors import InputError
from wflow.expression.binding import bind_numba, bind_numpy
from wflow.expression.grammar import parse
from wflow.expression.loops import block_loops, loops
from wflow.expression.source import function_source, partials, undistributed

# A polynomial in 2-D: NumPy takes 3 ns a row here and 11 beyond the cache, Numba 0.7 ns, but up to half a
# second to compile: 10 000 calls of this size.
COMPILE_FROM = 16384
_LETTERS = {"x": 0, "y": 1, "z": 2}
_MAX_AXIS = 100_000


@runtime_checkable
class Field(Protocol):
    """A scalar field V(x, t). `text` labels it; `timed` says whether it depends on t.

    Positions x are (n, d) float64, t a number. Where V is undefined, the values are nan or inf, without a
    warning.
    """

    @property
    def text(self) -> str: ...

    @property
    def timed(self) -> bool: ...

    def check_dim(self, dim: int) -> None:
        """Raise `InputError` if the field does not fit positions in `dim` dimensions."""

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """V at each position: (n,)."""
        ...

    def gradient(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The gradient of V by x: (n, d)."""
        ...

    def hessian(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The second derivatives of V by x: (n, d, d), symmetric."""
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """Numba functions of an expression, for use in other Numba code; x is one position (d,), positions are
    (n, d).

    `value(x, t)` and `gradient(x, t, out)` serve one particle, `values(positions, t, out)` and
    `gradients(positions, t, out)` are serial loops that release the interpreter lock: pass slices to share
    them out.
    """

    value: Callable
    gradient: Callable
    values: Callable
    gradients: Callable


@dataclass(frozen=True, slots=True)
class Blocks:
    """An expression as machine code for blocks of `kernels.noise.BLOCK` particles, one row an axis: addresses of
    `void f(double *x, double t, double factor, double *out, double *table)`, which adds factor times the value to out
    (BLOCK,), or the gradient to out (d, BLOCK); the table is not read."""

    add_value: int
    add_gradient: int


@dataclass(frozen=True)
class Expression:
    """A field given as text in x, y, z (or x0, x1, ...; x is x0) and the time t.

    Numbers, pi, e, + - * / ** and sin cos tan asin acos atan sinh cosh tanh exp log sqrt erf abs sign
    maximum minimum. Derivatives are exact. Small clouds are evaluated by NumPy, from `COMPILE_FROM` rows on
    by Numba; both agree to rounding. Equal texts are equal. Cost: reading and differentiating takes
    milliseconds, the first compilation about half a second, kept on disk.

    Raises `InputError` for text outside this grammar.

    >>> V = Expression("(x**2 - 1)**2 + 2*y**2")
    >>> V.gradient(np.array([[2.0, 1.0]]))
    array([[24.,  4.]])
    """

    text: str

    def __post_init__(self):
        if not isinstance(self.text, str):
            raise InputError(f"an expression is text, got {type(self.text).__name__}; use as_field")
        object.__setattr__(self, "text", self.text.strip())
        _first_source(self.text)

    @property
    def timed(self) -> bool:
        """Whether t occurs in the text."""
        return "t" in _read(self.text)[1]

    @property
    def dim(self) -> int:
        """The least dimension of positions it fits."""
        return max((_axis(name) for name in _read(self.text)[1] if name != "t"), default=-1) + 1

    def check_dim(self, dim: int) -> None:
        """Raise `InputError` if a coordinate is used that positions in `dim` dimensions lack."""
        if dim < self.dim:
            axis = self.dim - 1
            name = "xyz"[axis] if axis < 3 else f"x{axis}"
            raise InputError(f"expression {self.text!r} uses {name}, so it needs dimension {axis + 1}, got {dim}")

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """V at each position: (n,)."""
        x = self._checked(x)
        out = np.empty(len(x))
        if len(x) >= COMPILE_FROM:
            _first_compiled(self.text).values(x, float(t), out)
            return out
        axes, functions = _first(self.text)
        with np.errstate(all="ignore"):
            out[:] = functions["value"](*x.T[axes], np.float64(t))
        return out

    def gradient(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The gradient of V by x: (n, d)."""
        x = self._checked(x)
        if len(x) >= COMPILE_FROM:
            out = np.empty(x.shape)
            _first_compiled(self.text).gradients(x, float(t), out)
            return out
        out = np.zeros(x.shape)
        axes, functions = _first(self.text)
        with np.errstate(all="ignore"):
            for axis, slope in zip(axes, functions["gradient"](*x.T[axes], np.float64(t)), strict=True):
                out[:, axis] = slope
        return out

    def hessian(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The second derivatives of V by x: (n, d, d), symmetric."""
        x = self._checked(x)
        out = np.zeros((*x.shape, x.shape[1]))
        axes, functions = _second(self.text)
        pairs = [(i, j) for k, i in enumerate(axes) for j in axes[k:]]
        with np.errstate(all="ignore"):
            for (i, j), entry in zip(pairs, functions["hessian"](*x.T[axes], np.float64(t)), strict=True):
                out[:, i, j] = out[:, j, i] = entry
        return out

    def compiled(self) -> Compiled:
        """Numba functions for use in other Numba code."""
        module = _first_compiled(self.text)
        return Compiled(module.value_row, module.gradient_row, module.values, module.gradients)

    def blocks(self) -> Blocks:
        """Machine code that kernels call for a block of particles at a time."""
        module = _first_blocks(self.text)
        return Blocks(module.add_value.address, module.add_gradient.address)

    def _checked(self, x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, dtype=np.float64)
        if x.ndim != 2:
            raise InputError(f"positions must have shape (n, d), got {x.shape}")
        self.check_dim(x.shape[1])
        return x


def _symbol(name: str) -> str:
    """The symbol x0, x1, ... or t that a name in the text stands for."""
    if name == "t":
        return name
    if name in _LETTERS:
        return f"x{_LETTERS[name]}"
    if re.fullmatch(r"x(0|[1-9]\d{0,4})", name, re.ASCII):
        return name
    raise InputError(f"unknown name {name!r} in an expression; known: x, y, z or x0, x1, ..., t, pi, e")


def _axis(symbol: str) -> int:
    return int(symbol[1:])


@lru_cache(maxsize=512)
def _read(text: str) -> tuple[sympy.Expr, frozenset[str]]:
    with undistributed():
        return parse(text, _symbol)


def _axes(expression: sympy.Expr) -> list[int]:
    return sorted(_axis(symbol.name) for symbol in expression.free_symbols if symbol.name != "t")


@lru_cache(maxsize=512)
def _first_source(text: str) -> tuple[list[int], str]:
    expression = _read(text)[0]
    axes = _axes(expression)
    names = [f"x{axis}" for axis in axes]
    value = function_source("value", [*names, "t"], [expression], scalar=True)
    slopes = partials(expression, names)
    return axes, f"{value}\n\n{function_source('gradient', [*names, 't'], slopes, scalar=False)}"


@lru_cache(maxsize=512)
def _first(text: str) -> tuple[list[int], dict[str, Callable]]:
    axes, source = _first_source(text)
    return axes, bind_numpy(source)


@lru_cache(maxsize=512)
def _second(text: str) -> tuple[list[int], dict[str, Callable]]:
    expression = _read(text)[0]
    axes = _axes(expression)
    names = [f"x{axis}" for axis in axes]
    entries = []
    for k, slope in enumerate(partials(expression, names)):
        used = {symbol.name for symbol in slope.free_symbols}
        entries += [partials(slope, [name])[0] if name in used else sympy.Integer(0) for name in names[k:]]
    return axes, bind_numpy(function_source("hessian", [*names, "t"], entries, scalar=False))


@lru_cache(maxsize=512)
def _first_compiled(text: str) -> ModuleType:
    axes, source = _first_source(text)
    return bind_numba(f"{source}\n\n{loops(axes)}")


@lru_cache(maxsize=512)
def _first_blocks(text: str) -> ModuleType:
    axes, source = _first_source(text)
    return bind_numba(f"{source}\n\n{block_loops(axes)}")
