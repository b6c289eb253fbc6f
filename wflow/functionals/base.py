"""What every functional is: a sum of terms with coefficients."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from wflow.arrays import Array, floats
from wflow.errors import InputError
from wflow.functionals.generators import Generator


class Functional:
    """F[q]: functionals add, and scale by positive numbers.

    >>> from wflow.functionals import Entropy, Potential
    >>> 0.5 * Entropy() + Potential("x**2 / 2")
    0.5 * Entropy() + Potential('x**2 / 2')
    """

    __slots__ = ()
    __array_ufunc__ = None  # an array times a functional is refused here, not spread over the array by NumPy

    @property
    def terms(self) -> tuple[tuple[float, "Functional"], ...]:
        """The terms with their coefficients; a single functional is its own term."""
        return self.parts if isinstance(self, Sum) else ((1.0, self),)

    def __add__(self, other: Any) -> "Sum":
        if not isinstance(other, Functional):
            raise InputError(f"a functional adds to a functional only, got {type(other).__name__}")
        return Sum(self.terms + other.terms)

    def __mul__(self, factor: Any) -> "Sum":
        number = floats("a factor of a functional", factor)
        if number.ndim or number <= 0.0:
            raise InputError(f"a factor of a functional must be one positive number, got {factor}")
        return Sum(tuple((float(number) * weight, part) for weight, part in self.terms))

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> Any:
        """So that `sum` of a list of functionals works, which begins at 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __truediv__(self, divisor: Any) -> "Sum":
        return self * (1.0 / floats("a divisor of a functional", divisor))


@dataclass(frozen=True, repr=False)
class Sum(Functional):
    """A weighted sum of functionals."""

    parts: tuple[tuple[float, Functional], ...]

    def __repr__(self) -> str:
        return " + ".join(repr(part) if w == 1.0 else f"{w:g} * {part!r}" for w, part in self.parts)


@runtime_checkable
class DensityTerm(Protocol):
    """An energy of the density, F[q] = ∫ p φ(q/p); `target` None stands for p = 1."""

    @property
    def generator(self) -> Generator:
        """φ."""

    @property
    def target(self) -> Any:
        """p, or None."""


__all__ = ["Array", "DensityTerm", "Functional", "Sum"]
