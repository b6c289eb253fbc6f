"""Scalar fields given as Python functions; what derivatives are missing come from autograd."""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from autograd import make_vjp

from wflow.errors import InputError

_PROBE_SEED = 20_240_229
_PROBES = 5  # positions at which a derivative found by tracing is checked
_STEP = np.finfo(float).eps ** (1 / 3)  # of central differences: truncation and rounding balance


@dataclass(frozen=True)
class Callback:
    """A field given as a vectorised function (n, d) -> (n,), of x or of (x, t).

    `grad` gives (n, d) and `hess` (n, d, d); both are trusted here, and held against differences by
    `probe`. A missing `grad` is found by autograd, so
    the function must then be written with operators and `autograd.numpy`; at the first use in each
    dimension it is checked against central differences at a few of the positions. A missing `hess` comes
    from central differences of a given `grad` (about nine digits), else from autograd, by d more passes.

    Raises `InputError` for answers of another shape, and where autograd fails or disagrees.
    """

    function: Callable
    grad: Callable | None = None
    hess: Callable | None = None
    _verified: set = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self):
        for name in ("function", "grad", "hess"):
            given = getattr(self, name)
            if not callable(given) and (given is not None or name == "function"):
                raise InputError(f"{name} must be callable, got {type(given).__name__}")

    @property
    def text(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def timed(self) -> bool:
        """Whether any of the functions takes t."""
        given = (self.function, self.grad, self.hess)
        return any(takes_time(function) for function in given if function is not None)

    def check_dim(self, dim: int) -> None:
        """Raise `InputError` if the function does not answer positions in `dim` dimensions."""
        # The number of rows differs from `dim`, so that an answer per axis is not taken for one per row.
        x = np.random.default_rng(_PROBE_SEED).random((dim + 2, dim))
        try:
            self.value(x)
        except (IndexError, ValueError, TypeError) as error:
            raise InputError(f"function {self.text} does not fit dimension {dim}: {error}") from error

    def probe(self, dim: int) -> None:
        """Hold the derivatives, given or traced, against differences at random positions in `dim` dimensions, once.

        Raises `InputError` where they disagree; where the function does not answer there nothing is said.
        """
        if ("probe", dim) in self._verified:
            return
        x = np.random.default_rng(_PROBE_SEED).standard_normal((_PROBES, dim))
        try:
            values = self.value(x)
        except Exception:  # it may have another dimension, or another domain
            return
        if not np.any(np.isfinite(values)):
            return
        if self.grad is not None:
            self._verify("gradient", self.value, self.gradient, x, "given")
        else:
            self.gradient(x)
        if self.hess is not None:
            self._verify("hessian", self.gradient, self.hessian, x, "given")
        self._verified.add(("probe", dim))

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """V at each position: (n,)."""
        x = np.asarray(x, dtype=np.float64)
        return answer(self.function, x, t, (len(x),), f"function {self.text}")

    def gradient(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The gradient of V by x: (n, d)."""
        x = np.asarray(x, dtype=np.float64)
        if self.grad is not None:
            return answer(self.grad, x, t, x.shape, f"grad of {self.text}")
        if ("gradient", x.shape[1]) not in self._verified and len(x):
            self._verify("gradient", lambda y: self.value(y, t), lambda y: self._traced(y, t), x)
        return self._traced(x, t)

    def hessian(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """The second derivatives of V by x: (n, d, d), symmetric."""
        x = np.asarray(x, dtype=np.float64)
        if self.hess is not None:
            return answer(self.hess, x, t, (*x.shape, x.shape[1]), f"hess of {self.text}")
        if self.grad is not None:
            hessian = differences(lambda y: self.gradient(y, t), x)
            return 0.5 * (hessian + hessian.swapaxes(1, 2))
        if ("hessian", x.shape[1]) not in self._verified and len(x):
            self._verify("hessian", lambda y: self.gradient(y, t), lambda y: self._traced_twice(y, t), x)
        return self._traced_twice(x, t)

    def _traced(self, x: np.ndarray, t: float) -> np.ndarray:
        return np.asarray(self._pull(timed(self.function, t), x)(np.ones(len(x))), dtype=np.float64)

    def _traced_twice(self, x: np.ndarray, t: float) -> np.ndarray:
        function = timed(self.function, t)
        pull = self._pull(lambda y: make_vjp(function)(y)[0](np.ones(len(x))), x)
        rows = [pull(np.ones((len(x), 1)) * unit) for unit in np.eye(x.shape[1])]
        return np.stack(rows, axis=1) if rows else np.empty((len(x), 0, 0))

    def _pull(self, function: Callable, x: np.ndarray) -> Callable:
        """Autograd's map from weights of the answer to the gradient of the weighted sum."""
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                # A constant function is a legal field; a wrongly untraced one fails the check.
                warnings.filterwarnings("ignore", "Output seems independent of input")
                pull = make_vjp(function)(x)[0]
        except Exception as error:  # whatever the user's code raises when traced
            raise InputError(
                f"autograd cannot differentiate {self.text} ({type(error).__name__}: {error}); "
                "write it with operators and autograd.numpy, or pass grad=..."
            ) from error
        return lambda weights: _silently(pull, weights)

    def _verify(
        self, name: str, function: Callable, derivative: Callable, x: np.ndarray, origin: str = "by autograd"
    ) -> None:
        """Compare a derivative with central differences near some of the positions."""
        rng = np.random.default_rng(_PROBE_SEED)
        near = x[rng.integers(len(x), size=_PROBES)]
        near = near + 1e-3 * (1 + np.abs(near)) * rng.standard_normal(near.shape)
        found, expected = derivative(near), differences(function, near)
        rounding = 1e3 * np.finfo(float).eps / _STEP * np.max(np.abs(function(near)), initial=0.0)
        allowed = 1e-4 * np.maximum(np.abs(found), np.abs(expected)) + 1e-8 + rounding
        with np.errstate(all="ignore"):
            apart = np.abs(found - expected)
        wrong = apart > allowed  # false where undefined: nothing to compare there
        if np.any(wrong):
            where = tuple(np.argwhere(wrong)[0])
            raise InputError(
                f"the {name} of {self.text} {origin} is {found[where]:.6g}, by differences "
                f"{expected[where]:.6g}, at {near[where[0]]}; each row must depend on its own position only; "
                + ("or pass grad=..." if origin == "by autograd" else "mend it, or leave it out for autograd")
            )
        if np.any(np.isfinite(apart)):
            self._verified.add((name, x.shape[1]))


def takes_time(function: Callable) -> bool:
    """Whether a function takes (x, t): a second positional argument without default, or one named t."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions do not tell
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 and (positional[1].default is positional[1].empty or positional[1].name == "t")


def timed(function: Callable, t: float) -> Callable:
    """The function of x alone, at time t."""
    return (lambda x: function(x, t)) if takes_time(function) else function


def answer(function: Callable, x: np.ndarray, t: float, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The function's answer as float64, or `InputError` if its shape is not `shape`."""
    found = _silently(timed(function, t), x)
    try:
        if not np.isrealobj(found):
            raise TypeError("complex numbers")
        found = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must give real numbers: {error}") from error
    if found.shape != shape:
        raise InputError(f"{what} must give shape {shape} for positions {x.shape}, got {found.shape}")
    return found


def differences(function: Callable, x: np.ndarray) -> np.ndarray:
    """Central differences of (n, d) -> (n, ...), by each axis as a new last one; about nine digits."""
    slopes = []
    for axis in range(x.shape[1]):
        step = _STEP * np.maximum(1.0, np.abs(x[:, axis]))
        up, down = x.copy(), x.copy()
        up[:, axis] += step
        down[:, axis] -= step
        rise = function(up) - function(down)
        slopes.append(rise / (up - down)[:, axis].reshape(-1, *[1] * (rise.ndim - 1)))
    return np.stack(slopes, axis=-1)


def _silently(function: Callable, x: np.ndarray) -> Any:
    with np.errstate(all="ignore"):
        return function(x)
