"""Vector fields b(x, t): one expression or function per axis, or one function for all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from wflow.errors import InputError
from wflow.expression.callbacks import answer, takes_time
from wflow.expression.fields import Field


@runtime_checkable
class VectorField(Protocol):
    """A vector field b(x, t) in `dim` dimensions. `text` labels it; `timed` says whether it depends on t."""

    @property
    def text(self) -> str: ...

    @property
    def timed(self) -> bool: ...

    @property
    def dim(self) -> int: ...

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """b at positions (n, d): (n, d)."""
        ...


@dataclass(frozen=True)
class Components:
    """One scalar field per axis."""

    fields: tuple[Field, ...]

    @property
    def dim(self) -> int:
        """The number of axes."""
        return len(self.fields)

    @property
    def text(self) -> str:
        """The components' texts, as a list."""
        return f"[{', '.join(field.text for field in self.fields)}]"

    @property
    def timed(self) -> bool:
        """Whether any component depends on t."""
        return any(field.timed for field in self.fields)

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """b at positions (n, d): (n, d)."""
        return np.stack([field.value(x, t) for field in self.fields], axis=1)


@dataclass(frozen=True)
class VectorCallback:
    """One vectorised function (n, d) -> (n, d), of x or of (x, t)."""

    function: Callable
    dim: int

    @property
    def text(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def timed(self) -> bool:
        """Whether the function takes t."""
        return takes_time(self.function)

    def value(self, x: np.ndarray, t: float = 0.0) -> np.ndarray:
        """b at positions (n, d): (n, d)."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError(f"positions of a field in {self.dim} dimensions must be (n, {self.dim}), got {x.shape}")
        return answer(self.function, x, t, x.shape, f"drift {self.text}")
