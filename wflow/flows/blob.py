"""A Blob on a cloud: its energy Σ wᵢ e(sᵢ), s = K * μ at the particles, and minus the exact gradient of it.

With e(s) = φ(u)/u, u = s/p, and a = de/d log u the velocity, -∂E/∂xᵢ over wᵢ, is

    vᵢ = -(aᵢ/sᵢ) (∇K * μ)(xᵢ) - (∇K * (a μ/s))(xᵢ) + aᵢ ∇log p(xᵢ)

(Carrillo, Craig & Patacchini 2019, eq. (1.11)); K is symmetric and its gradient exact in every engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.estimators import Box, MeshSums, PairSums, engine, gaussian_sums
from wflow.flows.terms import diffusivity, per_mass, per_mass_slope
from wflow.functionals import Blob
from wflow.kernels import clouds
from wflow.linalg.krylov import Map, directional
from wflow.states import Particles
from wflow.targets import curvature

ORDER, RATIO = 4, 1.5  # of the mesh: its kernel need not be a Gaussian to digits, only smooth and symmetric
ALONE, FEW = 4.0, 0.4  # what several near neighbours and a few of them add, measured on clouds ever thinner
WAVES = (0.8, 1.0, 1.25, 1.55, 1.95, 2.5)  # k² σ² at which waves may be fastest, to a hundredth of the rate
HUGE = 1e4  # extents of a cloud: a wider kernel leaves nothing but rounding of its gradient


@dataclass(frozen=True, eq=False)
class Line:
    """The linearised velocity at one state: a/s, da/d log u, that times ∇log p, minus what each particle feels of its
    own move, and what it feels of it through the targets, None without; all summed over the terms."""

    slope: Array
    bend: Array
    turn: Array
    matrices: Array
    pull: Array | None


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
    _last: list[Any] = field(default_factory=list, init=False, repr=False)

    def _sums(self, state: Particles) -> tuple[Array, Array, MeshSums | PairSums]:
        """s in units of K(0), ∇s, and the sums themselves; kept, for energy, rate and radius are asked for at one
        state."""
        x, weights = state.positions, state.weights
        if self._last and self._last[0] is x and self._last[1] is weights:
            return self._last[2]
        # Nodes at rest in the frame of the centre of mass: a shift of the cloud changes nothing, and momentum is kept.
        origin = clouds.weighted_mean(weights, x) if self._anchored else None
        sums = gaussian_sums(x, self.width, self.box, self.engine, ORDER, RATIO, origin)
        values, gradient = sums(weights[None])
        # Only where a weight is below rounding of the others can a mesh give less than half the self term.
        found = np.maximum(values[0], np.maximum(0.5 * weights, 1e-18)), gradient, sums
        self._last[:] = x, weights, found, None
        return found

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
        s, gradient, sums = self._sums(state)
        slope, pull = np.zeros_like(s), None
        for (c, term), log_u in zip(self.blob.densities, self._log_ratios(s, state), strict=True):
            own = c * self.weight * per_mass_slope(term.generator, log_u)
            slope += own
            if term.target is not None:
                pulled = own[:, None] * term.target.score(state.positions)
                pull = pulled if pull is None else pull + pulled
        slope /= s
        velocity = sums((state.weights * slope)[None])[1]
        clouds.combine_rows(velocity, slope, gradient)
        if self._anchored:
            clouds.centre_rows(velocity, state.weights)
        return velocity if pull is None else velocity + pull

    def product(self, state: Particles, direction: Array) -> Array:
        """The derivative of the velocity along a direction `(n, d)`, exact where targets know the curvature of
        log p (`targets.curvature`). Weighted by the masses it is symmetric: minus the Hessian of the energy. Costs 1.6
        times as much as the velocity, measured on 14 000 particles in the plane.
        """
        s, gradient, sums = self._sums(state)
        line = self._linearised(state)
        move = direction.copy()
        if self._anchored:
            clouds.centre_rows(move, state.weights)
        change, out = sums.tangent(np.zeros_like(s), state.weights[:, None] * move)
        change += np.einsum("ik,ik->i", gradient, move)
        bend = line.bend / s * change - np.einsum("ik,ik->i", line.turn, direction)
        factor = (bend - line.slope * change) / s
        other = sums.tangent(state.weights * factor, (state.weights * line.slope)[:, None] * move)[1]
        clouds.combine_rows(other, line.slope, out)
        other -= factor[:, None] * gradient
        clouds.turn_rows(line.matrices, move, other)
        if self._anchored:
            clouds.centre_rows(other, state.weights)
        if line.pull is not None:
            clouds.turn_rows(line.pull, direction, other)
            other += (change / s)[:, None] * line.turn
        return other

    def _linearised(self, state: Particles) -> "Line":
        """What `product` needs of a state, kept with its sums."""
        s, _, sums = self._sums(state)
        if self._last[3] is None:
            x, pull = state.positions, None
            slope, bend, turn = np.zeros_like(s), np.zeros_like(s), np.zeros_like(x)
            for (c, term), log_u in zip(self.blob.densities, self._log_ratios(s, state), strict=True):
                a = c * self.weight * per_mass_slope(term.generator, log_u)
                second = c * self.weight * diffusivity(term.generator, log_u) - a
                slope += a
                bend += second
                if term.target is not None:
                    score = term.target.score(x)
                    turn += second[:, None] * score
                    own = a[:, None, None] * curvature(term.target, x) - np.einsum("n,ni,nj->nij", second, score, score)
                    pull = own if pull is None else pull + own
            slope /= s
            matrices = -slope[:, None, None] * sums.curvature(state.weights) - sums.curvature(state.weights * slope)
            self._last[3] = Line(slope, bend, turn, matrices, pull)
        return self._last[3]

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

        At a uniform density a wave of number k decays at k² (2 a K̂ + (u φ'' - 2 a) K̂²), K̂ = exp(-k² σ²/2), and so
        does the cloud where that is fastest, if a/s rises with s. Where it falls, as for an entropy, a particle in a
        thin place moves faster than its own density says: up to twice as fast in clouds drawn at random. On lattices
        and clouds of even and uneven weights in one to three dimensions, m from 1 to 40, this is 1.08 to 1.8 times
        what power iteration finds up to m = 5, and more beyond; in clouds so thin that most particles feel few or
        none, 1 to 4 times.
        """
        s = self._sums(state)[0]
        slope, spread = np.zeros_like(s), np.zeros_like(s)
        for (c, term), log_u in zip(self.blob.densities, self._log_ratios(s, state), strict=True):
            slope += c * per_mass_slope(term.generator, log_u)
            spread += c * diffusivity(term.generator, log_u)
        falls = np.clip(2.0 - spread / np.maximum(slope, 1e-300), 0.0, 1.0)
        rates = [y * np.abs(2.0 * np.exp(-0.5 * y) * slope + np.exp(-y) * (spread - 2.0 * slope)) for y in WAVES]
        # Alone, a particle is held by nothing: K'' of neighbours that add a share c to s goes as c (1 - 2 log c).
        share = np.clip(1.0 - state.weights / s, 1e-300, 1.0)
        felt = np.minimum(1.0, ALONE * share * (1.0 - 2.0 * np.log(share))) * (1.0 + FEW * (1.0 - share))
        largest = np.max(np.max(rates, axis=0) * (1.0 + falls) * felt)
        return 1.1 * self.weight * float(largest) / float(self.width.min()) ** 2


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


def linearised(parts: Sequence[BlobPart], state: Particles, hessian: Array | None, rate: Map | None) -> Map:
    """v ↦ the derivative along v of the velocities of the parts and of a potential with this Hessian `(n, d, d)`,
    exact, and of a rate beside them, by differences."""
    here = None if rate is None else rate(state.positions)

    def product(v: Array) -> Array:
        found = [part.product(state, v) for part in parts]
        if hessian is not None:
            found.append(-np.einsum("nij,nj->ni", hessian, v))
        if rate is not None and here is not None:
            found.append(directional(rate, state.positions, here, v))
        return reduce(np.add, found)

    return product
