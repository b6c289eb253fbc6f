"""W * q at the particles by a mesh: spread with B-splines, convolve with W by FFT, interpolate back.

The pair energy is W_h(x, y) = Σ B(x - k) B(y - l) G(k - l) over the nodes k, l of a mesh of spacing h, with B the
B-spline of order 6 and G the samples of W with the transform of the sampled spline divided out twice: W_h = W where x
and y are nodes, for every polynomial of degree 5, and up to O(h⁶) elsewhere, its gradient up to O(h⁵). Values and
gradients are read with the spline that spreads, so W_h is symmetric and the force exactly minus the gradient of the
discrete energy ½ Σ wᵢ wⱼ W_h(xᵢ, xⱼ). On free axes nodes are at whole multiples of h from the centre of mass, which
makes the energy invariant under shifts: Σ wᵢ Fᵢ = 0 to rounding. There G depends on nothing but h, so the mesh grows
and shrinks with the cloud and the energy stays the same function of the positions. On periodic axes a ring has no
centre of mass that depends smoothly on its particles: nodes stay, W is that of the nearest image, nothing is padded.

After Hockney & Eastwood 1988, chapters 5 and 8; the spline transform after Unser, Aldroubi & Eden 1993.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import fft

from wflow.arrays import Array, shown
from wflow.estimators import Box, gather, spread
from wflow.expression import Field

TAPS = (0.0,) * 6
BELOW = 2  # taps below the node at or before a particle
# Nodes beyond the last difference: what W does at the seam of the period decays by 0.43 a node under the division.
MARGIN = 40
WORKERS = 2  # a fixed number: how the transform is cut must not depend on the machine
KEPT = 8  # transforms of W, one for each size of the mesh
SHEET = 2**19  # values of W at once
Nodes = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Sums of W over all pairs of a cloud, d ≤ 3, by nodes at spacings `(d,)`; `rings` are the nodes around each
    periodic axis, from `lower` on, and 0 where an axis is free."""

    W: Field
    spacing: Array
    rings: Nodes
    lower: Array
    _transforms: dict[Nodes, Array] = field(default_factory=dict, repr=False)
    _wide: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def free(self) -> Array:
        """(d,) bool."""
        return np.array(self.rings) == 0

    def nodes(self, extent: Array) -> Nodes:
        """Nodes per axis for a cloud of these extents `(d,)`, in steps of an eighth or less of the next power of two,
        so that few transforms are made as a cloud moves."""
        least = np.ceil(np.where(self.free, extent, 0.0) / self.spacing) + len(TAPS) + 2
        step = np.maximum(4.0, 2.0 ** (np.ceil(np.log2(least)) - 3.0))
        counts = np.ceil(least / step) * step
        return tuple(ring or int(n) for ring, n in zip(self.rings, counts, strict=True))

    def sums(self, x: Array, weights: Array, nodes: Nodes | None = None) -> tuple[Array, Array, Array]:
        """Σⱼ wⱼ W_h(xᵢ, xⱼ) `(n,)`, its gradient by xᵢ on nodes at rest `(n, d)`, and xᵢ from where nodes are counted:
        the centre of mass on free axes. `nodes`: of another cloud, as large as this at least."""
        free, h = self.free, self.spacing
        x = x - np.where(free, np.einsum("i,ik->k", weights, x) / weights.sum(), self.lower)
        low, high = x.min(axis=0), x.max(axis=0)
        nodes = self.nodes(high - low) if nodes is None else nodes
        lengths = self._lengths(nodes)
        offset = np.where(free, np.floor(low / h) * h, 0.0)
        # A particle on the upper end of a ring has its taps beyond it.
        shape = tuple(n + (len(TAPS) if ring else 0) for n, ring in zip(nodes, self.rings, strict=True))
        x = shown(x)
        mesh = spread(shape, x, shown(weights), offset, 1.0 / h, TAPS)
        for ghost, cell in self._ghosts(mesh):
            cell += ghost
        core = tuple(slice(BELOW, BELOW + ring) if ring else slice(None) for ring in self.rings)
        spectrum = fft.rfftn(mesh[core], lengths, workers=WORKERS) * self._transform(nodes)
        full = fft.irfftn(spectrum, lengths, workers=WORKERS, overwrite_x=True)
        mesh[core] = full[tuple(slice(0, n) for n in nodes)]
        for ghost, cell in self._ghosts(mesh):
            ghost[...] = cell
        return *gather(mesh, x, offset, 1.0 / h, TAPS), x

    def _ghosts(self, mesh: Array) -> Iterator[tuple[Array, Array]]:
        """On each ring the layers beyond its ends and the nodes that they stand for, as views."""
        for axis, ring in enumerate(self.rings):
            if ring:
                v, above = np.moveaxis(mesh, axis, 0), len(TAPS) - BELOW
                yield v[:BELOW], v[ring : ring + BELOW]
                yield v[BELOW + ring :], v[BELOW : BELOW + above]

    def finite(self, nodes: Nodes) -> bool:
        """Whether W has numbers at all differences of so many nodes."""
        return self._transform(nodes).size > 0

    def padded(self, nodes: Nodes) -> int:
        """Cells of the transforms of a mesh."""
        return int(np.prod(self._lengths(nodes)))

    def sampled(self, nodes: Nodes) -> int:
        """Differences at which W is asked for."""
        return int(np.prod(self._sides(nodes)))

    def _lengths(self, nodes: Nodes) -> Nodes:
        pairs = zip(nodes, self.rings, strict=True)
        return tuple(ring or int(fft.next_fast_len(2 * n - 1, real=True)) for n, ring in pairs)

    def _sides(self, nodes: Nodes) -> Nodes:
        pairs = zip(nodes, self.rings, strict=True)
        return tuple(ring or int(fft.next_fast_len(2 * (n + MARGIN), real=True)) for n, ring in pairs)

    def _transform(self, nodes: Nodes) -> Array:
        """The transform of G, real since W is even, on the padded mesh; empty where W is not finite."""
        if nodes not in self._transforms:
            if len(self._transforms) >= KEPT:
                self._transforms.clear()
            lengths, divided = self._lengths(nodes), self._divided(nodes)
            kernel = np.zeros(lengths if divided.size else 0)
            if divided.size:
                kernel[self._differences(nodes)] = divided[self._differences(nodes)]
                # Half a ring away two images are equally near: the real part takes their mean.
                kernel = np.ascontiguousarray(fft.rfftn(kernel, workers=WORKERS, overwrite_x=True).real)
            self._transforms[nodes] = kernel
        return self._transforms[nodes]

    def _differences(self, nodes: Nodes) -> Any:
        """Where the differences of so many nodes stand in an array whose ends meet."""
        pairs = zip(nodes, self.rings, strict=True)
        return np.ix_(*[np.arange(n) if ring else np.r_[0:n, 1 - n : 0] for n, ring in pairs])

    def _divided(self, nodes: Nodes) -> Array:
        """G at these differences and more, ends meeting; empty where W is not finite. G is kept for the largest mesh so
        far: it is a function of the difference alone, and asking for W is what costs."""
        known = self._wide.get("nodes")
        if known is None or any(n > m for n, m in zip(nodes, known, strict=True)):
            self._wide.update(nodes=nodes, values=self._sampled(nodes))
        return self._wide["values"]

    def _sampled(self, nodes: Nodes) -> Array:
        sides = self._sides(nodes)
        samples = self._samples(sides)
        if not np.all(np.isfinite(samples)):
            return np.empty(0)
        spectrum = fft.rfftn(samples, workers=WORKERS, overwrite_x=True)
        for k, side in enumerate(sides):
            cycles = fft.rfftfreq(side) if k == len(sides) - 1 else fft.fftfreq(side)
            spline = (66.0 + 52.0 * np.cos(2.0 * np.pi * cycles) + 2.0 * np.cos(4.0 * np.pi * cycles)) / 120.0
            spectrum *= (1.0 / spline**2).reshape([-1 if axis == k else 1 for axis in range(len(sides))])
        return fft.irfftn(spectrum, sides, workers=WORKERS, overwrite_x=True)

    def _samples(self, sides: Nodes) -> Array:
        """W at the differences of nodes, sheet by sheet, since the positions take three times their memory."""
        axes = [h * np.round(side * fft.fftfreq(side)) for h, side in zip(self.spacing, sides, strict=True)]
        samples = np.empty(sides)
        step = max(1, SHEET * sides[0] // samples.size)
        for low in range(0, sides[0], step):
            mesh = np.meshgrid(axes[0][low : low + step], *axes[1:], indexing="ij")
            points = np.stack([a.ravel() for a in mesh], axis=1)
            samples[low : low + step] = self.W.value(points).reshape(mesh[0].shape)
        return samples


def make_lattice(W: Field, spacing: float, box: Box | None, d: int) -> Lattice:
    """With at most this spacing, on periodic axes such that whole cells fit."""
    h, rings, lower = np.full(d, spacing), [0] * d, np.zeros(d)
    for axis, side in enumerate(() if box is None else box.sides):
        if box is not None and side == "periodic":
            length = float(box.upper[axis] - box.lower[axis])
            rings[axis] = int(fft.next_fast_len(max(2 * len(TAPS), int(np.ceil(length / spacing))), real=True))
            h[axis], lower[axis] = length / rings[axis], box.lower[axis]
    return Lattice(W, h, tuple(rings), lower)
