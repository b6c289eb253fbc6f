"""Fields that are made of others: an outer one of inner ones, and means over data of which a part may be taken."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from autograd import make_vjp

from wflow.errors import InputError
from wflow.expression.callbacks import Callback
from wflow.expression.fields import Field


@dataclass(frozen=True, eq=False)
class Composed:
    """L(y(x)) with its derivatives by the chain rule; the map y is kept.

    `inner` are the fields y₀, y₁, …, or one vectorised function `(n, d) -> (n, k)`, differentiated by autograd.
    """

    outer: Field
    inner: tuple[Field, ...] | Callable[..., Any]

    @property
    def text(self) -> str:
        """The outer field's text and the map's."""
        parts = [part.text for part in self.inner] if isinstance(self.inner, tuple) else ["map"]
        return f"{self.outer.text} of ({', '.join(parts)})"

    @property
    def timed(self) -> bool:
        """Whether the outer field depends on t."""
        return self.outer.timed

    def fields(self, dim: int) -> tuple[Field, ...]:
        """The components of y in `dim` dimensions."""
        return self.inner if isinstance(self.inner, tuple) else mapped(self.inner, dim)

    def check_dim(self, dim: int) -> None:
        """Raise `InputError` where the map or the outer field does not fit."""
        parts = self.fields(dim)
        for part in parts:
            part.check_dim(dim)
        self.outer.check_dim(len(parts))

    def image(self, x: np.ndarray) -> np.ndarray:
        """y at positions (n, d): (n, k)."""
        return np.stack([part.value(x) for part in self.fields(x.shape[1])], axis=1)

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """∂y/∂x: (n, k, d)."""
        return np.stack([part.gradient(x) for part in self.fields(x.shape[1])], axis=1)

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """L(y(x)): (n,)."""
        return self.outer.value(self.image(x), t)

    def gradient(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """Jᵀ ∇L: (n, d)."""
        return np.einsum("nk,nkd->nd", self.outer.gradient(self.image(x), t), self.jacobian(x))

    def hessian(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """Jᵀ H_L J + Σ ∂L/∂yₖ ∇²yₖ: (n, d, d)."""
        y, jacobian = self.image(x), self.jacobian(x)
        bent = np.stack([part.hessian(x) for part in self.fields(x.shape[1])], axis=1)
        straight = np.einsum("nki,nkl,nlj->nij", jacobian, self.outer.hessian(y, t), jacobian)
        return straight + np.einsum("nk,nkij->nij", self.outer.gradient(y, t), bent)


@lru_cache(maxsize=64)
def mapped(function: Callable[..., Any], dim: int) -> tuple[Field, ...]:
    """The components of a vectorised map, as many as it gives, differentiated by autograd."""
    x = np.random.default_rng(0).random((dim + 2, dim))
    try:
        found = np.shape(function(x))
    except (IndexError, ValueError, TypeError) as error:
        raise InputError(f"the map does not fit dimension {dim}: {error}") from error
    if len(found) != 2 or found[0] != len(x) or found[1] == 0:
        raise InputError(f"a map must give shape (n, k) for positions {x.shape}, got {found}")
    return tuple(Callback(_component(function, axis)) for axis in range(found[1]))


def _component(function: Callable[..., Any], axis: int) -> Callable[[Any], Any]:
    def component(x: Any) -> Any:
        return function(x)[:, axis]

    return component


@dataclass(frozen=True, eq=False)
class FiniteSum:
    """The mean over data of a loss, f(x) = 1/N Σ loss(x, aᵢ): what mini-batches are drawn from.

    `loss(x, rows)` takes one position `(d,)` and some rows of the `data` `(N, ...)`, and gives one number a row `(m,)`;
    write it with operators and `autograd.numpy`, or give `grad(x, rows)` `(m, d)`. For points: cost O(n N).

    >>> FiniteSum(lambda x, a: (x[0] - a) ** 2, np.array([0.0, 2.0])).value(np.array([[1.0]]))
    array([1.])
    """

    loss: Callable[..., Any]
    data: Any
    grad: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise InputError(f"loss must be a function (x, rows) -> (m,), got {type(self.loss).__name__}")
        rows = np.asarray(self.data, dtype=np.float64)
        if rows.ndim == 0 or len(rows) == 0 or not np.all(np.isfinite(rows)):
            raise InputError(f"data must be finite rows (N, ...), got shape {rows.shape}")
        object.__setattr__(self, "data", rows)

    @property
    def text(self) -> str:
        """The loss and the number of data."""
        return f"mean of {getattr(self.loss, '__name__', 'loss')} over {len(self.data)} data"

    @property
    def timed(self) -> bool:
        """Never."""
        return False

    def check_dim(self, dim: int) -> None:
        """Raise `InputError` where the loss does not fit, or its gradient is wrong."""
        x = np.random.default_rng(0).standard_normal(dim)
        self.value(x[None])
        Callback(self.value, self.gradient).probe(dim)

    def batch(self, rows: np.ndarray) -> "FiniteSum":
        """The mean over the data of these numbers."""
        return FiniteSum(self.loss, self.data[rows], self.grad)

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """f at positions (n, d): (n,)."""
        found = [np.asarray(self.loss(row, self.data), dtype=np.float64) for row in x]
        if any(values.shape != (len(self.data),) for values in found):
            raise InputError(f"loss must give one number a row, ({len(self.data)},), got {found[0].shape}")
        return np.array([values.mean() for values in found])

    def gradient(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """∇f: (n, d)."""
        if self.grad is not None:
            return np.stack([np.asarray(self.grad(row, self.data), dtype=np.float64).mean(axis=0) for row in x])
        return np.stack([self._pulled(row) for row in x])

    def _pulled(self, row: np.ndarray) -> np.ndarray:
        try:
            pull, values = make_vjp(lambda y: self.loss(y, self.data))(row)
        except Exception as error:  # whatever the user's code raises when traced
            raise InputError(
                f"autograd cannot differentiate the loss ({type(error).__name__}: {error}); write it with operators "
                "and autograd.numpy, or pass grad=..."
            ) from error
        return np.asarray(pull(np.full(np.shape(values), 1.0 / len(self.data))), dtype=np.float64)

    def hessian(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """∇²f by central differences of the gradient, about nine digits: (n, d, d)."""
        return Callback(self.value, self.gradient).hessian(x)
