"""Derivatives of plain NumPy functions, through loops and branches, and a check of gradients written by hand.

Functions are written with operators and `autograd.numpy`, of one argument x: a number or an array of any shape. Each
derivative is exact to rounding, by tracing; since some NumPy calls are traced wrongly in silence, it is compared with
central differences along one random direction, at two more calls (`check=False` leaves that out), and `InputError` is
raised where they disagree, where autograd cannot follow, and where the answer has another shape. Derivatives nest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow.arrays import Array, floats, generator
from wflow.errors import InputError
from wflow.expression.tracing import name_of, traced_jacobian, value_and_pull

__all__ = [
    "GradientCheck",
    "check_gradient",
    "directional",
    "grad",
    "hessian",
    "jacobian",
    "rowwise",
    "value_and_gradients",
]

_STEP = np.finfo(float).eps ** (1 / 3)


def grad(function: Callable[..., Any], check: bool = True) -> Callable[[ArrayLike], Any]:
    """x -> ∇f(x), of the shape of x, for f with one number as its value.

    >>> grad(lambda x: 2 * (x * x).sum())(np.arange(4.0))
    array([ 0.,  4.,  8., 12.])
    """

    def gradient(x: ArrayLike) -> Any:
        if not _plain(x):  # nested: the outer derivative traces this one, and checks it
            value, pull = value_and_pull(function, x)
            return pull(np.ones(getattr(value, "shape", ())))
        point = floats("x", x)
        value, pull = value_and_pull(function, _argument(point))
        _one(function, value)
        found = np.asarray(pull(np.ones(np.shape(value))), dtype=np.float64)
        if check:
            _compare(function, point, lambda u: float(np.sum(found * u)), "gradient")
        return _argument(found)

    return gradient


def jacobian(function: Callable[..., Any], check: bool = True) -> Callable[[ArrayLike], Array]:
    """x -> ∂f/∂x, of the shape of f(x) followed by that of x."""

    def derivative(x: ArrayLike) -> Array:
        point = floats("x", x)
        found = np.asarray(traced_jacobian(function, _argument(point)), dtype=np.float64)
        if check:
            _compare(function, point, lambda u: np.tensordot(found, u, axes=u.ndim), "Jacobian")
        return found

    return derivative


def hessian(function: Callable[..., Any], check: bool = True) -> Callable[[ArrayLike], Array]:
    """x -> ∇²f(x), of the shape of x twice, for f with one number as its value. Cost: a gradient per entry of x."""
    return jacobian(grad(function, check=False), check)


def directional(function: Callable[..., Any], x: ArrayLike, direction: ArrayLike, check: bool = True) -> float:
    """d/da f(x + a u) at a = 0, for f with one number as its value.

    >>> directional(lambda x: x[0] * x[1], [2.0, 3.0], [1.0, 1.0])
    5.0
    """
    point, u = floats("x", x), floats("direction", direction)
    if u.shape != point.shape:
        raise InputError(f"direction must have the shape {point.shape} of x, got {u.shape}")
    return float(np.sum(grad(function, check)(point) * u))


def value_and_gradients(functions: Callable[..., Any], x: ArrayLike) -> tuple[Any, Callable[[ArrayLike], Array]]:
    """f(x) of any shape and the map w -> ∇ (w · f)(x): many gradients from one trace.

    >>> value, pull = value_and_gradients(lambda x: x * x, [1.0, 2.0])
    >>> pull([1.0, 0.0]), pull([1.0, 1.0])
    (array([2., 0.]), array([2., 4.]))
    """
    value, pull = value_and_pull(functions, _argument(floats("x", x)))

    def weighted(weights: ArrayLike) -> Array:
        w = floats("weights", weights)
        if w.shape != np.shape(value):
            raise InputError(f"weights must have the shape {np.shape(value)} of the value, got {w.shape}")
        return np.asarray(pull(w), dtype=np.float64)

    return value, weighted


@dataclass(frozen=True, eq=False)
class Rowwise:
    """A plain function of one position as a field: one call, and one trace, for each row."""

    function: Callable[..., Any]

    @property
    def text(self) -> str:
        """The function's name."""
        return name_of(self.function)

    @property
    def timed(self) -> bool:
        """Never."""
        return False

    def check_dim(self, dim: int) -> None:
        """Raise `InputError` where the function does not answer a position in `dim` dimensions."""
        try:
            value = self.function(np.random.default_rng(0).random(dim))
        except (IndexError, ValueError, TypeError) as error:
            raise InputError(f"function {self.text} does not fit dimension {dim}: {error}") from error
        _one(self.function, value)

    def value(self, x: Array, t: float = 0.0) -> Array:
        """f at each position: (n,)."""
        return np.array([float(np.reshape(self.function(row), ())) for row in x])

    def gradient(self, x: Array, t: float = 0.0) -> Array:
        """∇f at each position: (n, d)."""
        return np.stack([grad(self.function)(row) for row in x])

    def hessian(self, x: Array, t: float = 0.0) -> Array:
        """∇²f at each position: (n, d, d)."""
        return np.stack([hessian(self.function)(row) for row in x])


def rowwise(function: Callable[..., Any]) -> Rowwise:
    """A field for `Potential` from a plain function of one position `(d,)`, whose loops and branches may depend on it.

    >>> from wflow.functionals import Potential
    >>> F = Potential(rowwise(lambda x: x[0] ** 2 if x[0] > 0 else -x[0]))
    >>> F.field.gradient(np.array([[3.0], [-3.0]]))
    array([[ 6.],
           [-1.]])
    """
    if not callable(function):
        raise InputError(f"rowwise takes a function of one position, got {type(function).__name__}")
    return Rowwise(function)


@dataclass(frozen=True)
class GradientCheck:
    """How a gradient stood the test: `slope` of the Taylor remainder (2 where it is right), nan where the remainder
    is at rounding, and `error`, the relative error of its slope along the direction."""

    slope: float
    error: float


def check_gradient(
    function: Callable[..., Any],
    gradient: Callable[..., Any],
    x: ArrayLike,
    rng: Any = 0,
    tolerance: float = 1e-6,
) -> GradientCheck:
    """Hold a gradient written by hand against its function at x, along a random direction u.

    The remainder |f(x + h u) - f(x) - h ∇f · u| falls as h² where the gradient is right, and as h where it is not;
    `slope` is fitted over h = 2⁻⁴ … 2⁻¹² and the error is that of ∇f · u against extrapolated central differences.
    Raises `InputError`, with the worst component, where the error is above `tolerance`.

    >>> round(check_gradient(lambda x: x[0] ** 3, lambda x: np.array([3 * x[0] ** 2]), [1.0]).slope, 1)
    2.0
    """
    point = floats("x", x)
    given = np.asarray(gradient(point), dtype=np.float64)
    if given.shape != point.shape:
        raise InputError(f"the gradient must have the shape {point.shape} of x, got {given.shape}")
    u = generator(rng).normal(size=point.shape)
    u /= np.linalg.norm(u)
    slope = float(np.sum(given * u))
    with np.errstate(all="ignore"):
        here = float(function(point))
    _finite(here, given, point)
    steps = 2.0 ** -np.arange(4.0, 13.0)
    rest = np.array([abs(float(function(point + h * u)) - here - h * slope) for h in steps])
    expected = _central(function, point, u)
    size = float(np.linalg.norm(given) + abs(expected))
    error = abs(slope - expected) / size if size > 0.0 else 0.0
    if not error <= tolerance:
        raise InputError(_disagreement(function, given, point, error))
    good = rest > 1e3 * np.finfo(float).eps * (abs(here) + np.abs(slope) * steps)
    fitted = np.polyfit(np.log(steps[good]), np.log(rest[good]), 1)[0] if np.count_nonzero(good) > 2 else np.nan
    return GradientCheck(float(fitted), error)


def _disagreement(function: Callable[..., Any], given: Array, x: Array, error: float) -> str:
    units = np.eye(x.size).reshape(-1, *x.shape)
    found = np.array([_central(function, x, unit) for unit in units]).reshape(x.shape)
    index = np.unravel_index(int(np.argmax(np.abs(given - found))), x.shape)
    where = f"[{', '.join(str(int(i)) for i in index)}]" if x.ndim else ""
    return (
        f"the gradient of {name_of(function)} disagrees with the function (relative error {error:.1e}): component "
        f"{where} is {given[index]:.8g}, by differences {found[index]:.8g}"
    )


def _central(function: Callable[..., Any], x: Array, u: Array) -> float:
    """d/da f(x + a u), by central differences with one extrapolation: about eleven digits."""
    h = 1e-3 * (1.0 + float(np.abs(x).max(initial=0.0)))
    wide, narrow = ((float(function(x + s * u)) - float(function(x - s * u))) / (2.0 * s) for s in (h, 0.5 * h))
    return (4.0 * narrow - wide) / 3.0


def _finite(value: float, gradient: Array, x: Array) -> None:
    if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
        raise InputError(f"the function or its gradient is not finite at {x.tolist()}")


def _plain(x: Any) -> bool:
    """Whether x is numbers and not what autograd traces."""
    return isinstance(x, int | float | list | tuple | np.ndarray | np.number)


def _argument(x: Array) -> Any:
    """A number where x has no axes: branches and loops ask for one."""
    return float(x) if x.ndim == 0 else x


def _one(function: Callable[..., Any], value: Any) -> None:
    if np.size(value) != 1:
        raise InputError(f"{name_of(function)} must give one number, got shape {np.shape(value)}; take jacobian")


def _compare(function: Callable[..., Any], x: Array, product: Callable[[Array], Any], what: str) -> None:
    """Hold a derivative along one random direction against central differences."""
    u = np.random.default_rng(20_240_229).normal(size=x.shape)
    h = _STEP * (1.0 + float(np.abs(x).max(initial=0.0)))
    with np.errstate(all="ignore"):
        up, down = (np.asarray(function(_argument(np.asarray(x + s * u))), dtype=np.float64) for s in (h, -h))
        found, expected = np.ravel(product(u)), np.ravel((up - down) / (2.0 * h))
        rounding = 1e3 * np.finfo(float).eps / h * np.max(np.abs(up), initial=0.0)
        scale = max(np.max(np.abs(found), initial=0.0), np.max(np.abs(expected), initial=0.0))
        wrong = np.abs(found - expected) > 1e-4 * scale + 1e-8 + rounding
    if found.shape != expected.shape or np.any(wrong):
        raise InputError(
            f"the {what} of {name_of(function)} by autograd is {found[:4]} along a direction, by differences "
            f"{expected[:4]}, at {np.ravel(x)[:4]}: it calls something autograd traces wrongly, or has a kink there"
        )


def __dir__() -> list[str]:
    return sorted(__all__)
