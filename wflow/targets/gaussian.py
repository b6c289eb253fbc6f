"""Normal densities and their mixtures. `Gaussian` is a state as well."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, ndtr

from wflow.arrays import Array, covariance, floats, frozen, generator, positions, probabilities, vector
from wflow.errors import InputError

LOG_TWO_PI = float(np.log(2.0 * np.pi))


def marginals(mean: Array, width: Array, lower: Array, upper: Array) -> Array:
    """The mass of N(mean, width²) in [lower, upper], on every axis: all broadcast."""
    low, high = (lower - mean) / width, (upper - mean) / width
    flip = low > 0.0  # the upper tail has its digits on the other side
    return np.where(flip, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Gaussian:
    """The normal density N(mean, cov): a target, and a state whose flow stays in the Gaussian family.

    `mean` `(d,)`, `cov` a number, the diagonal `(d,)` or the matrix `(d, d)`. As a state it carries a factor L with
    cov = L Lᵀ: x = mean + L z maps the standard normal to it, and flows move (mean, L), where the Wasserstein metric
    is flat (Otto 2001, section 4.1; Lambert et al., NeurIPS 2022).

    >>> g = Gaussian([1.0], 4.0)
    >>> round(float(g.log_density([[1.0]])[0]), 6)
    -1.612086
    """

    mean: Array
    cov: Array
    factor: Array

    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        center = vector("mean", mean)
        matrix = covariance("cov", cov, center.size)
        try:
            factor = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            low = float(np.linalg.eigvalsh(matrix)[0])
            raise InputError(f"cov must be positive definite, its smallest eigenvalue is {low:g}") from None
        for name, value in (("mean", center), ("cov", matrix), ("factor", factor)):
            object.__setattr__(self, name, frozen(value))

    normalized = True

    @property
    def dim(self) -> int:
        return self.mean.size

    @property
    def coordinates(self) -> Array:
        """(mean | L) `(d, d + 1)`: the flat coordinates that steppers move."""
        return np.column_stack([self.mean, self.factor])

    def at(self, coordinates: Array) -> "Gaussian":
        """The Gaussian of other coordinates `(d, d + 1)`, unchecked."""
        new = object.__new__(Gaussian)
        factor = np.ascontiguousarray(coordinates[:, 1:])
        fields = (("mean", coordinates[:, 0].copy()), ("cov", factor @ factor.T), ("factor", factor))
        for name, value in fields:
            object.__setattr__(new, name, frozen(value))
        return new

    def with_moments(self, mean: Array, cov: Array, factor: Array) -> "Gaussian":
        """A Gaussian of these parts, unchecked: what was written is what is read."""
        new = object.__new__(Gaussian)
        for name, value in (("mean", mean), ("cov", cov), ("factor", factor)):
            object.__setattr__(new, name, frozen(value))
        return new

    def log_density(self, x: ArrayLike) -> Array:
        z = np.linalg.solve(self.factor, (positions("x", x, self.dim) - self.mean).T)
        log_det = np.linalg.slogdet(self.factor)[1]
        return -0.5 * np.sum(z * z, axis=0) - log_det - 0.5 * self.dim * LOG_TWO_PI

    def density(self, x: ArrayLike) -> Array:
        return np.exp(self.log_density(x))

    def score(self, x: ArrayLike) -> Array:
        return np.asarray(-np.linalg.solve(self.cov, (positions("x", x, self.dim) - self.mean).T).T, dtype=np.float64)

    def hessian(self, x: ArrayLike) -> Array:
        return np.tile(-np.linalg.inv(self.cov), (len(positions("x", x, self.dim)), 1, 1))

    def within(self, lower: Array, upper: Array) -> float:
        """See `Bounded`; exact where the covariance is diagonal, else the least of the marginals."""
        shares = marginals(self.mean, np.sqrt(np.diag(self.cov)), lower, upper)
        diagonal = np.array_equal(self.cov, np.diag(np.diag(self.cov)))
        return float(np.prod(shares) if diagonal else np.min(shares))

    def sample(self, n: int, rng: Any = 0) -> Array:
        return self.mean + generator(rng).standard_normal((n, self.dim)) @ self.factor.T

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Gaussian) and self.dim == other.dim
        return same and np.array_equal(self.mean, other.mean) and np.array_equal(self.cov, other.cov)  # type: ignore

    def __hash__(self) -> int:
        return hash((self.mean.tobytes(), self.cov.tobytes()))

    def __repr__(self) -> str:
        return f"Gaussian(mean={self.mean.tolist()}, cov={self.cov.tolist()})"


@dataclass(frozen=True, eq=False, repr=False, init=False)
class GaussianMixture:
    """Σ wₖ N(meanₖ, covₖ): `means` `(k, d)`, `weights` `(k,)`, equal where None.

    `covs` is one for all components — a number, or a matrix `(d, d)` — or one for each: numbers `(k,)`, diagonals
    `(k, d)` (for k = d a `(d, d)` array is the one matrix for all) or matrices `(k, d, d)`.
    """

    components: tuple[Gaussian, ...]
    weights: Array

    def __init__(self, means: ArrayLike, covs: ArrayLike, weights: ArrayLike | None = None) -> None:
        centers = positions("means", means)
        count, dim = centers.shape
        matrices = floats("covs", covs)
        if matrices.shape in ((), (dim, dim)):
            matrices = np.broadcast_to(matrices, (count, *matrices.shape))
        if matrices.shape not in ((count,), (count, dim), (count, dim, dim)):
            raise InputError(f"covs must be one for all or one for each of the {count} means, got {matrices.shape}")
        each = matrices
        parts = tuple(Gaussian(m, c) for m, c in zip(centers, each, strict=True))
        object.__setattr__(self, "components", parts)
        object.__setattr__(self, "weights", frozen(probabilities("weights", weights, count)))

    normalized = True

    @property
    def dim(self) -> int:
        return self.components[0].dim

    def _logs(self, x: ArrayLike) -> Array:
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        return np.stack([w + part.log_density(x) for w, part in zip(log_weights, self.components, strict=True)])

    def log_density(self, x: ArrayLike) -> Array:
        return logsumexp(self._logs(x), axis=0)

    def density(self, x: ArrayLike) -> Array:
        return np.exp(self.log_density(x))

    def within(self, lower: Array, upper: Array) -> float:
        """See `Bounded`; as for one Gaussian."""
        return float(self.weights @ [part.within(lower, upper) for part in self.components])

    def _shares(self, x: ArrayLike) -> Array:
        """Of the density at x, component by component."""
        logs = self._logs(x)
        return np.exp(logs - logsumexp(logs, axis=0))

    def score(self, x: ArrayLike) -> Array:
        parts = zip(self._shares(x), self.components, strict=True)
        return np.sum([share[:, None] * part.score(x) for share, part in parts], axis=0)

    def hessian(self, x: ArrayLike) -> Array:
        """The mean of what the components have, and the covariance of their scores."""
        shares, scores = self._shares(x), np.stack([part.score(x) for part in self.components])
        apart = scores - np.einsum("kn,knd->nd", shares, scores)
        bent = np.stack([-np.linalg.inv(part.cov) for part in self.components])
        return np.einsum("kn,kij->nij", shares, bent) + np.einsum("kn,kni,knj->nij", shares, apart, apart)

    def sample(self, n: int, rng: Any = 0) -> Array:
        draw = generator(rng)
        which = draw.choice(len(self.components), size=n, p=self.weights)
        factors = np.stack([part.factor for part in self.components])[which]
        means = np.stack([part.mean for part in self.components])[which]
        return means + np.einsum("nij,nj->ni", factors, draw.standard_normal((n, self.dim)))

    def __repr__(self) -> str:
        means = [part.mean.tolist() for part in self.components]
        covs = [part.cov.tolist() for part in self.components]
        return f"GaussianMixture({means}, {covs}, {self.weights.tolist()})"
