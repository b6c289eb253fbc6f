"""W * q at the particles by a mesh: spread with B-splines, convolve with W by FFT, interpolate back.

The pair energy is W_h(x, y) = Σ B(x - k) B(y - l) G(k - l) over the nodes k, l of a mesh of spacing h, with B the
B-spline of order 6 and G the samples of W with the transform of the sampled spline divided out twice: W_h = W where x
and y are nodes, for every polynomial of degree 5, and up to O(h⁶) elsewhere, its gradient up to O(h⁵). Values and
gradients are read with the spline that spreads, so W_h is symmetric and the force exactly minus the gradient of the
discrete energy ½ Σ wᵢ wⱼ W_h(xᵢ, xⱼ). Nodes are at whole multiples of h from the centre of mass, which makes the
energy invariant under shifts: Σ wᵢ Fᵢ = 0 to rounding. G depends on nothing but h, so the mesh grows and shrinks with
the cloud and the energy stays the same function of the positions.

After Hockney & Eastwood 1988, chapters 5 and 8; the spline transform after Unser, Aldroubi & Eden 1993.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import fft

from wflow.arrays import Array
from wflow.estimators import gather, spread
from wflow.expression import Field

TAPS = (0.0,) * 6
# Nodes beyond the last difference: what W does at the seam of the period decays by 0.43 a node under the division.
MARGIN = 40
WORKERS = 2  # a fixed number: how the transform is cut must not depend on the machine
KEPT = 8  # transforms of W, one for each size of the mesh


@dataclass(frozen=True, eq=False)
class Lattice:
    """Sums of W over all pairs of a cloud in free space, d ≤ 3, by nodes at a spacing."""

    W: Field
    spacing: float
    _transforms: dict[tuple[int, ...], Array] = field(default_factory=dict, repr=False)

    def nodes(self, extent: Array) -> tuple[int, ...]:
        """Nodes per axis for a cloud of these extents `(d,)`, in steps of an eighth or less of the next power of two,
        so that few transforms are made as a cloud moves."""
        least = np.ceil(extent / self.spacing) + len(TAPS) + 2
        step = np.maximum(4.0, 2.0 ** (np.ceil(np.log2(least)) - 3.0))
        return tuple(int(n) for n in np.ceil(least / step) * step)

    def sums(self, x: Array, weights: Array) -> tuple[Array, Array, Array]:
        """Σⱼ wⱼ W_h(xᵢ, xⱼ) `(n,)`, its gradient by xᵢ on nodes at rest `(n, d)`, and xᵢ less the centre of mass."""
        x = x - np.einsum("i,ik->k", weights, x) / weights.sum()
        low, high = x.min(axis=0), x.max(axis=0)
        nodes = self.nodes(high - low)
        lengths = _lengths(nodes)
        offset, inverse = np.floor(low / self.spacing) * self.spacing, np.full(len(low), 1.0 / self.spacing)
        density = spread(nodes, x, weights, offset, inverse, TAPS)
        spectrum = fft.rfftn(density, lengths, workers=WORKERS) * self._transform(nodes)
        full = fft.irfftn(spectrum, lengths, workers=WORKERS, overwrite_x=True)
        potential = np.ascontiguousarray(full[tuple(slice(0, n) for n in nodes)])
        return *gather(potential, x, offset, inverse, TAPS), x

    def finite(self, nodes: tuple[int, ...]) -> bool:
        """Whether W has numbers at all differences of so many nodes."""
        return self._transform(nodes).size > 0

    def _transform(self, nodes: tuple[int, ...]) -> Array:
        if nodes not in self._transforms:
            if len(self._transforms) >= KEPT:
                self._transforms.clear()
            self._transforms[nodes] = _kernel(self.W, self.spacing, nodes)
        return self._transforms[nodes]


def padded(nodes: tuple[int, ...]) -> int:
    """Cells of the transforms of a mesh."""
    return int(np.prod(_lengths(nodes)))


def sampled(nodes: tuple[int, ...]) -> int:
    """Differences at which W is asked for."""
    return int(np.prod(_sides(nodes)))


def _lengths(nodes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(fft.next_fast_len(2 * n - 1, real=True)) for n in nodes)


def _sides(nodes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(fft.next_fast_len(2 * (n + MARGIN), real=True)) for n in nodes)


def _kernel(W: Field, spacing: float, nodes: tuple[int, ...]) -> Array:
    """The transform of G, real since W is even, on the padded mesh; empty where W is not finite."""
    sides = _sides(nodes)
    axes = [spacing * np.round(side * fft.fftfreq(side)) for side in sides]
    points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    samples = W.value(points).reshape(sides)
    if not np.all(np.isfinite(samples)):
        return np.empty(0)
    spectrum = fft.rfftn(samples, workers=WORKERS)
    for k, side in enumerate(sides):
        cycles = fft.rfftfreq(side) if k == len(sides) - 1 else fft.fftfreq(side)
        spline = (66.0 + 52.0 * np.cos(2.0 * np.pi * cycles) + 2.0 * np.cos(4.0 * np.pi * cycles)) / 120.0
        spectrum *= (1.0 / spline**2).reshape([-1 if axis == k else 1 for axis in range(len(sides))])
    divided = fft.irfftn(spectrum, sides, workers=WORKERS, overwrite_x=True)
    lengths = _lengths(nodes)
    kernel = np.zeros(lengths)
    kept = [np.r_[0:n, 1 - n : 0] for n in nodes]
    kernel[np.ix_(*kept)] = divided[np.ix_(*kept)]
    return np.ascontiguousarray(fft.rfftn(kernel, workers=WORKERS).real)
