"""The kernel density of samples as a target."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow.arrays import Array, frozen, generator, positions, probabilities
from wflow.errors import InputError
from wflow.estimators import Kernel, bandwidths, direct_curvature, direct_log_density, mesh_estimate
from wflow.targets.gaussian import marginals


@dataclass(frozen=True, eq=False, repr=False, init=False)
class KernelDensity:
    """Σ wᵢ N(x; xᵢ, diag(σ²)): the Gaussian kernel density of samples `(n, d)`.

    `bandwidth` is σ in the units of x, a number or `(d,)`, or a rule: "scott", "silverman", "isj" (Botev, Grotowski
    & Kroese 2010), "score" (the rule for derivatives, n^(-1/(d+6))). `method` is "direct" (exact sums, O(n) a
    point), "mesh" (B-splines and FFT, d ≤ 3, relative error about 2e-4 of the density where there are samples) or
    "auto". Away from the samples the value comes from direct sums in the logarithm unless "mesh" is asked for, so
    that log p holds far out.

    >>> p = KernelDensity([[0.0], [1.0]], bandwidth=0.5)
    >>> p.dim, p.normalized
    (1, True)
    """

    samples: Array
    bandwidth: Array
    weights: Array
    method: str
    rule: str

    def __init__(
        self,
        samples: ArrayLike,
        bandwidth: Any = "silverman",
        weights: ArrayLike | None = None,
        method: str = "auto",
    ) -> None:
        points = positions("samples", samples)
        shares = probabilities("weights", weights, len(points))
        Kernel(bandwidth=bandwidth, method=method)  # refuses what it does not know
        if method == "mesh" and points.shape[1] > 3:
            raise InputError(f"method 'mesh' needs d <= 3, got d = {points.shape[1]}; take 'direct'")
        widths = bandwidths(points, None if weights is None else shares, bandwidth)
        rule = bandwidth if isinstance(bandwidth, str) else "given"
        values = (points, np.asarray(widths), shares, method, rule)
        for name, value in zip(("samples", "bandwidth", "weights", "method", "rule"), values, strict=True):
            object.__setattr__(self, name, frozen(value) if isinstance(value, np.ndarray) else value)

    normalized = True

    @property
    def dim(self) -> int:
        return self.samples.shape[1]

    def within(self, lower: Array, upper: Array) -> float:
        """See `Bounded`; exact."""
        return float(self.weights @ np.prod(marginals(self.samples, self.bandwidth, lower, upper), axis=1))

    def at_samples(self) -> tuple[Array, Array]:
        """Density `(n,)` and score `(n, d)` at the samples themselves, self term included."""
        kernel = Kernel(bandwidth=tuple(self.bandwidth.tolist()), method=self.method)
        estimate = kernel(self.samples, self.weights)
        return estimate.density, estimate.score

    def _direct(self, x: Array) -> tuple[Array, Array]:
        return direct_log_density(x, self.samples, self.weights, self.bandwidth)

    def log_density(self, x: ArrayLike) -> Array:
        points = positions("x", x, self.dim)
        if self.method == "mesh":
            density = mesh_estimate(self.samples, self.weights, self.bandwidth, points=points)[0]
            return np.log(density)
        return self._direct(points)[0]

    def density(self, x: ArrayLike) -> Array:
        return np.exp(self.log_density(x))

    def score(self, x: ArrayLike) -> Array:
        points = positions("x", x, self.dim)
        if self.method == "mesh":
            density, gradient = mesh_estimate(self.samples, self.weights, self.bandwidth, points=points)
            return gradient / density[:, None]
        return self._direct(points)[1]

    def hessian(self, x: ArrayLike) -> Array:
        """By direct sums, whatever the `method`: "mesh" has no second derivatives, and is off by its own error."""
        return direct_curvature(positions("x", x, self.dim), self.samples, self.weights, self.bandwidth)

    def sample(self, n: int, rng: Any = 0) -> Array:
        draw = generator(rng)
        which = draw.choice(len(self.samples), size=n, p=self.weights)
        return self.samples[which] + self.bandwidth * draw.standard_normal((n, self.dim))

    def __repr__(self) -> str:
        n, d = self.samples.shape
        return f"KernelDensity({n} samples in {d}-D, bandwidth={np.round(self.bandwidth, 6).tolist()})"
