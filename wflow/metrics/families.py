"""Fisher information of families of distributions, by name: G(x) at the parameters x `(d,)`.

Each is the Hessian of KL(p(·|y) | p(·|x)) in y at y = x. Source: Amari, Information Geometry and Its Applications
(2016), chapter 2.
"""

from collections.abc import Callable

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError


def normal(x: Array) -> Array:
    """Independent normals; x are their means, then their standard deviations: diag(1/σ², 2/σ²).

    >>> normal(np.array([1.0, 2.0]))
    array([[0.25, 0.  ],
           [0.  , 0.5 ]])
    """
    if x.size % 2:
        raise InputError(f"the family 'normal' has a mean and a deviation for each variable, got {x.size} parameters")
    sd = x[x.size // 2 :]
    _positive("standard deviations", sd)
    return np.diag(np.concatenate([1.0 / sd**2, 2.0 / sd**2]))


def bernoulli(x: Array) -> Array:
    """Independent yes-or-no variables; x are their probabilities: diag(1/(p (1 - p)))."""
    _positive("probabilities", x)
    _positive("probabilities of no", 1.0 - x)
    return np.diag(1.0 / (x * (1.0 - x)))


def poisson(x: Array) -> Array:
    """Independent counts; x are their rates: diag(1/λ)."""
    _positive("rates", x)
    return np.diag(1.0 / x)


def categorical(x: Array) -> Array:
    """One of d classes; x are logits, p ∝ exp(x): diag(p) - p pᵀ, singular along (1, …, 1), so that damping is
    needed."""
    p = np.exp(x - x.max())
    p /= p.sum()
    return np.diag(p) - np.outer(p, p)


def _positive(name: str, values: Array) -> None:
    if not np.all(values > 0.0):
        raise InputError(
            f"{name} must be positive, got {values.tolist()}: the step has left the family, take a smaller dt"
        )


FAMILIES: dict[str, Callable[[Array], Array]] = {
    "normal": normal,
    "bernoulli": bernoulli,
    "poisson": poisson,
    "categorical": categorical,
}
