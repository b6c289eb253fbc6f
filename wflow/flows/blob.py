"""A Blob on a cloud: its energy Σ wᵢ e(sᵢ), s = K * μ at the particles, and minus the exact gradient of it.

With e(s) = φ(u)/u, u = s/p, and a = de/d log u the velocity, -∂E/∂xᵢ over wᵢ, is

    vᵢ = -(aᵢ/sᵢ) (∇K * μ)(xᵢ) - (∇K * (a μ/s))(xᵢ) + aᵢ ∇log p(xᵢ)

(Carrillo, Craig & Patacchini 2019, eq. (1.11)); K is symmetric and its gradient exact in every engine.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.estimators import Box, engine, gaussian_sums
from wflow.flows.terms import diffusivity, per_mass, per_mass_slope
from wflow.functionals import Blob
from wflow.states import Particles

ORDER, RATIO = 4, 1.5  # of the mesh: its kernel need not be a Gaussian to digits, only smooth and symmetric
Sums = Callable[[Array], tuple[Array, Array]]
HUGE = 1e4  # extents of a cloud: a wider kernel leaves nothing but rounding of its gradient


@dataclass(frozen=True, eq=False)
class BlobPart:
    """A Blob with its coefficient, the log ∫ p of its targets, and the engine, which stays as the cloud moves:
    another one would have another kernel."""

    weight: float
    blob: Blob
    norms: tuple[float, ...]
    width: Array
    engine: str
    box: Box | None

    def _sums(self, state: Particles) -> tuple[Array, Array, Sums]:
        """s in units of K(0), ∇ log s, and the sums themselves."""
        # Nodes at rest in the frame of the centre of mass: a shift of the cloud changes nothing, and momentum is kept.
        x = state.positions - _mean(state.weights, state.positions) if self._anchored else state.positions
        sums = gaussian_sums(x, self.width, self.box, self.engine, ORDER, RATIO)
        values, gradient = sums(state.weights[None])
        # Only where a weight is below rounding of the others can a mesh give less than half the self term.
        s = np.maximum(values[0], np.maximum(0.5 * state.weights, 1e-18))
        return s, gradient / s[:, None], sums

    @property
    def _anchored(self) -> bool:
        return self.engine == "mesh" and self.box is None

    def _log_ratios(self, s: Array, state: Particles) -> list[Array]:
        """log u of each term."""
        logs = np.log(s) - np.sum(np.log(np.sqrt(2.0 * np.pi) * self.width))
        return [
            logs if term.target is None else logs - term.target.log_density(state.positions) + norm
            for (_, term), norm in zip(self.blob.densities, self.norms, strict=True)
        ]

    def energy(self, state: Particles) -> float:
        """Σ wᵢ e(sᵢ) times the coefficient."""
        logs = self._log_ratios(self._sums(state)[0], state)
        parts = [
            c * float(np.sum(state.weights * per_mass(term.generator, log_u)))
            for (c, term), log_u in zip(self.blob.densities, logs, strict=True)
        ]
        return self.weight * sum(parts)

    def velocity(self, state: Particles) -> Array:
        """vᵢ `(n, d)`."""
        s, score, sums = self._sums(state)
        slope, pull = np.zeros_like(s), np.zeros_like(score)
        for (c, term), log_u in zip(self.blob.densities, self._log_ratios(s, state), strict=True):
            own = c * per_mass_slope(term.generator, log_u)
            slope += own
            if term.target is not None:
                pull += own[:, None] * term.target.score(state.positions)
        spread = -slope[:, None] * score - sums((state.weights * slope / s)[None])[1]
        if self._anchored:
            spread -= _mean(state.weights, spread)
        return self.weight * (spread + pull)

    def slope(self, state: Particles) -> Array:
        """∂E/∂wᵢ `(n,)`: e(sᵢ) + (K * (a μ/s))(xᵢ)."""
        s, _, sums = self._sums(state)
        logs = self._log_ratios(s, state)
        value, spread = np.zeros_like(s), np.zeros_like(s)
        for (c, term), log_u in zip(self.blob.densities, logs, strict=True):
            value += c * per_mass(term.generator, log_u)
            spread += c * per_mass_slope(term.generator, log_u)
        return self.weight * (value + sums((state.weights * spread / s)[None])[0][0])

    def radius(self, state: Particles) -> float:
        """About the largest rate of the linearised flow, without its targets.

        At a uniform density a wave of number k decays at k² (2 a K̂ + (u φ'' - 2 a) K̂²), K̂ = exp(-k² σ²/2): at most
        (4 a + max(0, u φ'' - 2 a))/(e σ²). Half as much is added, for densities that
        are not uniform.
        """
        s = self._sums(state)[0]
        total = np.zeros_like(s)
        for (c, term), log_u in zip(self.blob.densities, self._log_ratios(s, state), strict=True):
            a, spread = per_mass_slope(term.generator, log_u), diffusivity(term.generator, log_u)
            total += c * (4.0 * np.abs(a) + np.maximum(0.0, spread - 2.0 * a))
        return 1.5 * self.weight * float(total.max()) / (np.e * float(self.width.min()) ** 2)


def make_part(weight: float, blob: Blob, norms: tuple[float, ...], state: Particles, box: Box | None) -> BlobPart:
    """The part of a flow for a cloud like this one; refuses a bandwidth that cannot serve it."""
    width = np.ascontiguousarray(np.broadcast_to(np.asarray(blob.bandwidth, dtype=float), (state.dim,)))
    low, high = state.positions.min(axis=0), state.positions.max(axis=0)
    extent = np.array([low, high])
    size = (high - low if box is None else box.upper - box.lower).max()
    if 0.0 < size * HUGE < width.min():
        raise InputError(
            f"the bandwidth {blob.bandwidth} of a Blob is huge against a cloud of extent {size:.3g}: no particle would "
            "feel the shape of the cloud; take a few times the distance between neighbours"
        )
    if np.any(np.abs(extent).max() > 2.0**40 * width):
        raise InputError(f"coordinates of {np.abs(extent).max():g} cannot resolve a bandwidth of {blob.bandwidth}")
    return BlobPart(weight, blob, norms, width, engine(state.positions, extent, width, box, ORDER, RATIO), box)


def _mean(weights: Array, rows: Array) -> Array:
    """Σ wᵢ rowsᵢ, without BLAS, whose bits may depend on its threads."""
    return np.einsum("i,ik->k", weights, rows)
