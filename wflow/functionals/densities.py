"""Energies of the density: f-divergences, entropies, internal energies."""

from dataclasses import dataclass
from functools import cached_property

from wflow.arrays import floats
from wflow.errors import InputError, choose
from wflow.expression import ScalarFunction, as_scalar_function
from wflow.functionals.base import Functional
from wflow.functionals.generators import (
    Generator,
    Hellinger,
    Jeffreys,
    JensenShannon,
    KullbackLeibler,
    Logarithmic,
    Neyman,
    Pearson,
    Triangular,
)
from wflow.functionals.powers import Alpha, Convex, Power, check_convex
from wflow.targets import Target

DIVERGENCES: dict[str, Generator] = {
    "reverse-kl": Logarithmic(),
    "kl": KullbackLeibler(),
    "chi2": Pearson(),
    "reverse-chi2": Neyman(),
    "hellinger": Hellinger(),
    "jensen-shannon": JensenShannon(),
    "jeffreys": Jeffreys(),
    "triangular": Triangular(),
}
NAMES = (*DIVERGENCES, "alpha")


@dataclass(frozen=True, repr=False)
class FDivergence(Functional):
    """D_f(p‖q) = ∫ q f(p/q) dx with p the target: the table of names is in the README.

    `alpha` is the parameter of the "alpha" family, whose limits at 0 and 1 are reverse-kl and kl. Where q has a
    vacuum the energy of kl, chi2, jeffreys and alpha ≥ 1 is inf. "total-variation" is refused: f'' = 0, so its flow
    does not move.

    >>> from wflow.targets import Gaussian
    >>> FDivergence("chi2", Gaussian([0.0], 1.0))
    FDivergence('chi2', Gaussian(mean=[0.0], cov=[[1.0]]))
    """

    name: str
    target: Target
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.name == "total-variation":
            raise InputError("total-variation has no flow: f'' = 0 almost everywhere, so its velocity is zero")
        choose(self.name, NAMES, "divergence")
        if (self.name == "alpha") != (self.alpha is not None):
            if self.alpha is None:
                raise InputError("the divergence 'alpha' needs its number: FDivergence('alpha', target, alpha=0.5)")
            raise InputError(f"alpha=... goes with the divergence 'alpha' and with no other, got {self.name!r}")
        if self.alpha is not None and floats("alpha", self.alpha).ndim:
            raise InputError(f"alpha must be one number, got {self.alpha}")
        if isinstance(self.target, type) or not isinstance(self.target, Target):
            raise InputError(f"the target must be a density such as wf.Gaussian(0.0, 1.0), got {self.target!r}")

    @cached_property
    def generator(self) -> Generator:
        """φ, the dual of f."""
        if self.alpha is None:
            return DIVERGENCES[self.name]
        if self.alpha in (0.0, 1.0):
            return DIVERGENCES["reverse-kl" if self.alpha == 0.0 else "kl"]
        return Alpha(float(self.alpha))

    def __repr__(self) -> str:
        extra = "" if self.alpha is None else f", alpha={self.alpha:g}"
        return f"FDivergence({self.name!r}, {self.target!r}{extra})"


@dataclass(frozen=True)
class Entropy(Functional):
    """∫ q log q dx; its flow is the heat equation ∂q/∂t = Δq (Jordan, Kinderlehrer & Otto 1998)."""

    @property
    def generator(self) -> Generator:
        """u log u."""
        return DIVERGENCES["reverse-kl"]

    @property
    def target(self) -> None:
        """Against p = 1."""
        return


@dataclass(frozen=True)
class PowerEntropy(Functional):
    """∫ q^m/(m - 1) dx, m > 0, m ≠ 1; its flow is ∂q/∂t = Δq^m (Otto 2001): porous medium, or fast diffusion for m <
    1."""

    m: float

    def __post_init__(self) -> None:
        power = floats("m", self.m)
        if power.ndim or power <= 0.0:
            raise InputError(f"PowerEntropy needs one number m > 0, got {self.m}")
        if power == 1.0:
            raise InputError("PowerEntropy needs m != 1, got 1; use Entropy()")

    @property
    def generator(self) -> Generator:
        """u^m/(m - 1)."""
        return Power(float(self.m))

    @property
    def target(self) -> None:
        """Against p = 1."""
        return


@dataclass(frozen=True, repr=False)
class InternalEnergy(Functional):
    """∫ U(q) dx for an expression U in q, convex; its flow is ∂q/∂t = Δ(q U'(q) - U(q))."""

    U: str

    def __post_init__(self) -> None:
        check_convex(self._function)

    @cached_property
    def _function(self) -> ScalarFunction:
        return as_scalar_function(self.U, "q")

    @cached_property
    def generator(self) -> Generator:
        """U."""
        return Convex(self._function)

    @property
    def target(self) -> None:
        """Against p = 1."""
        return

    def __repr__(self) -> str:
        return f"InternalEnergy({self.U!r})"
