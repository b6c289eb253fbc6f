"""What every target density is."""

from typing import Any, Protocol, runtime_checkable

from wflow.arrays import Array
from wflow.expression import differences


@runtime_checkable
class Target(Protocol):
    """A density p(x) on ℝ^d; x is `(n, d)` throughout.

    `sample(n, rng)` returns `(n, d)` where it can be done and raises `InputError` where not.
    """

    @property
    def dim(self) -> int:
        """d."""

    @property
    def normalized(self) -> bool:
        """False where p is known only up to a constant."""

    def density(self, x: Array) -> Array:
        """p(x) `(n,)`."""

    def log_density(self, x: Array) -> Array:
        """log p(x) `(n,)`, -inf where p = 0."""

    def score(self, x: Array) -> Array:
        """∇ log p(x) `(n, d)`."""

    def sample(self, n: int, rng: Any = 0) -> Array:
        """n independent draws."""


@runtime_checkable
class Curved(Target, Protocol):
    """A target that knows its second derivatives. A user's own need not: `curvature` then takes differences."""

    def hessian(self, x: Array) -> Array:
        """∇² log p(x) `(n, d, d)`, symmetric."""


@runtime_checkable
class Bounded(Target, Protocol):
    """A normalised target that knows how much of it a box holds."""

    def within(self, lower: Array, upper: Array) -> float:
        """Its mass in the box [lower, upper], `(d,)` each and infinite where there is no side, or a bound above it."""


def curvature(target: Target, x: Array) -> Array:
    """∇² log p(x) `(n, d, d)`, symmetric: of the target itself, or central differences of its score, to about nine
    digits."""
    if isinstance(target, Curved):
        return target.hessian(x)
    slopes = differences(target.score, x)
    return 0.5 * (slopes + slopes.swapaxes(1, 2))
