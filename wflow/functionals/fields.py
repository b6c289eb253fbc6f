"""Energies of position: potentials and interactions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array, positions
from wflow.errors import InputError
from wflow.expression import Callback, Composed, Field, as_field
from wflow.functionals.base import Functional


@dataclass(frozen=True, repr=False)
class Potential(Functional):
    """∫ V q dx; on a Point V(x), the ordinary objective.

    `V` is an expression in x, y, z (or x0, x1, …) and t, or a vectorised callable `(n, d) -> (n,)`; `grad`
    `(n, d) -> (n, d)` and `hess` `(n, d) -> (n, d, d)` go with a callable and are found by autograd where not given.
    Derivatives of callables are held against differences at once, since some calls are traced wrongly in silence and
    some gradients are written wrongly. A plain function of one position with loops and branches is made a field by
    `derivatives.rowwise`.

    `inner` makes V a function of y = inner(x): a list of fields, or a function `(n, d) -> (n, k)`. The map is kept:
    `image` is y at positions, and a run of a point has y0, y1, … among its diagnostics.

    >>> F = Potential("x**2 + y**2", inner=["x", "y**2"])
    >>> F.field.gradient(np.array([[3.0, 3.0]])), F.image(np.array([[3.0, 3.0]]))
    (array([[  6., 108.]]), array([[3., 9.]]))
    """

    V: str | Callable[..., Any]
    grad: Callable[..., Any] | None = None
    hess: Callable[..., Any] | None = None
    inner: Any = None

    def __post_init__(self) -> None:
        outer = as_field(self.V, self.grad, self.hess)
        if isinstance(outer, Callback):
            for dim in (1, 2, 3):
                outer.probe(dim)
        if self.inner is not None and not callable(self.inner):
            if isinstance(self.inner, str) or not isinstance(self.inner, Sequence) or not self.inner:
                raise InputError("inner is a list of fields y0, y1, ... of x, or a function (n, d) -> (n, k)")
            object.__setattr__(self, "inner", tuple(as_field(part) for part in self.inner))

    @cached_property
    def field(self) -> Field:
        """V with its derivatives, of x."""
        outer = as_field(self.V, self.grad, self.hess)
        return outer if self.inner is None else Composed(outer, self.inner)

    def image(self, x: Any) -> Array:
        """y at positions `(n, d)`: `(n, k)`; raises `InputError` where there is no inner map."""
        if not isinstance(self.field, Composed):
            raise InputError("this Potential has no inner map; give it inner=...")
        return self.field.image(positions("x", x))

    def __repr__(self) -> str:
        if isinstance(self.inner, tuple):
            return f"Potential({as_field(self.V).text!r}, inner={[part.text for part in self.inner]!r})"
        return f"Potential({self.field.text!r})"


@dataclass(frozen=True, repr=False)
class Interaction(Functional):
    """½ ∬ W(x - y) q(x) q(y) dx dy with W even; its velocity is -∇W * q.

    `W` is an expression in x, y, z, the components of the difference, or a vectorised callable `(n, d) -> (n,)`. On
    particles the sums over pairs are direct, O(n²), or from 2048 particles in d ≤ 3 by a mesh, O(n), where W is smooth
    on the scale of the cloud and the forces agree to 1e-6 (`flows.interactions`).
    """

    W: str | Callable[..., Any]
    grad: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.field.timed:
            raise InputError(f"an interaction W must not depend on the time, got {self.field.text!r}")

    @cached_property
    def field(self) -> Field:
        """W with its derivatives."""
        return as_field(self.W, self.grad)

    def check_even(self, dim: int) -> None:
        """Refuse a W that is not even, at thirty-two points: forces would not cancel in pairs."""
        z = np.random.default_rng(0).normal(size=(32, dim))
        forward, backward = self.field.value(z), self.field.value(-z)
        if not np.allclose(forward, backward, rtol=1e-8, atol=1e-12):
            raise InputError(f"an interaction needs W(-x) = W(x), which {self.field.text!r} is not; take its even part")

    def __repr__(self) -> str:
        return f"Interaction({self.field.text!r})"
