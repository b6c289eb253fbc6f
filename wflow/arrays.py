"""Checks of arrays at the border: what comes from a user is turned into clean float64 here, once."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wflow.errors import InputError

Array = NDArray[np.float64]


def floats(name: str, value: Any) -> Array:
    """A float64 copy of `value`, finite everywhere; `InputError` otherwise."""
    try:
        if np.asarray(value).dtype.kind in "cSU":
            raise TypeError("complex numbers or text")
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers, got {type(value).__name__}: {error}") from None
    if not np.all(np.isfinite(array)):
        bad = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
        raise InputError(f"{name} must be finite, got {bad} value(s) that are nan or infinite")
    return array


def vector(name: str, value: ArrayLike) -> Array:
    """A finite `(d,)` array; a number counts as d = 1."""
    array = np.atleast_1d(floats(name, value))
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name} must be a number or have shape (d,), got shape {array.shape}")
    return array


def positions(name: str, value: ArrayLike, dim: int | None = None) -> Array:
    """A finite `(n, d)` array with n ≥ 1."""
    array = floats(name, value)
    if array.ndim != 2 or array.size == 0:
        hint = "; write x[:, None] for n points in one dimension" if array.ndim == 1 else ""
        raise InputError(f"{name} must have shape (n, d), got shape {array.shape}{hint}")
    if dim is not None and array.shape[1] != dim:
        raise InputError(f"{name} must have {dim} column(s), got shape {array.shape}")
    return array


def covariance(name: str, value: ArrayLike, dim: int) -> Array:
    """A symmetric positive definite `(d, d)` matrix from a number, the diagonal `(d,)` or the matrix."""
    array = floats(name, value)
    if array.ndim == 0:
        array = array * np.eye(dim)
    elif array.shape == (dim,):
        array = np.diag(array)
    if array.shape != (dim, dim):
        raise InputError(f"{name} must be a number or have shape ({dim},) or ({dim}, {dim}), got {array.shape}")
    if not np.allclose(array, array.T, rtol=1e-10, atol=1e-14 * np.abs(array).max()):
        raise InputError(f"{name} must be symmetric; take (C + C.T) / 2")
    return 0.5 * (array + array.T)


def probabilities(name: str, value: ArrayLike | None, n: int) -> Array:
    """Weights `(n,)`, nonnegative, scaled to sum 1, and left as they are where they do to rounding; equal ones for
    None."""
    if value is None:
        return np.full(n, 1.0 / n)
    array = floats(name, value)
    if array.shape != (n,):
        raise InputError(f"{name} must have shape ({n},), got {array.shape}")
    if array.min() < 0.0:
        raise InputError(f"{name} must not be negative, got {array.min():g}")
    total = float(array.sum())
    if total <= 0.0:
        raise InputError(f"{name} must not all be zero")
    return array if abs(total - 1.0) < 1e-14 else array / total


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, read-only."""
    array.flags.writeable = False
    return array


def shown(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view. Numba compiles a kernel once for arrays that may be written and once for those that may not:
    what kernels only read is shown to them, so that the first run of a user waits for one of the two.

    >>> shown(np.zeros(2)).flags.writeable
    False
    """
    view = array.view()
    view.flags.writeable = False
    return view


def random_seed(rng: Any) -> int:
    """One 64-bit seed from an int or a `numpy.random.Generator`.

    >>> random_seed(7)
    7
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**63 - 1))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise InputError(f"rng must be an int or a numpy.random.Generator, got {type(rng).__name__}")
    if not 0 <= int(rng) < 2**64:
        raise InputError(f"rng must lie between 0 and 2**64 - 1, got {rng}")
    return int(rng)


def generator(rng: Any) -> np.random.Generator:
    """A NumPy generator from an int or itself."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(random_seed(rng))
