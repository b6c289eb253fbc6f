"""Energies of position: potentials and interactions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.errors import InputError
from wflow.expression import Field, as_field
from wflow.functionals.base import Functional


@dataclass(frozen=True, repr=False)
class Potential(Functional):
    """∫ V q dx; on a Point V(x), the ordinary objective.

    `V` is an expression in x, y, z (or x0, x1, …) and t, or a vectorised callable `(n, d) -> (n,)`; `grad`
    `(n, d) -> (n, d)` and `hess` `(n, d) -> (n, d, d)` go with a callable and are found by autograd where not given.
    """

    V: str | Callable[..., Any]
    grad: Callable[..., Any] | None = None
    hess: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        _ = self.field

    @cached_property
    def field(self) -> Field:
        """V with its derivatives."""
        return as_field(self.V, self.grad, self.hess)

    def __repr__(self) -> str:
        return f"Potential({self.field.text!r})"


@dataclass(frozen=True, repr=False)
class Interaction(Functional):
    """½ ∬ W(x - y) q(x) q(y) dx dy with W even; its velocity is -∇W * q.

    `W` is an expression in x, y, z, the components of the difference, or a vectorised callable `(n, d) -> (n,)`.
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
