"""Quadratic optimal transport between masses on lattices, by entropic transport with its bias taken out.

    OT(ε) = min over plans π of ∫ |x - y|² dπ + ε KL(π‖a⊗b),   S(ε) = OT(ε; a, b) - ½ OT(ε; a, a) - ½ OT(ε; b, b)

The kernel exp(-|x - y|²/ε) is a product over axes, so that an iteration of Sinkhorn is one small matrix product an axis
and side. S(ε) = W2² + c ε² + … for smooth densities (Chizat, Roussillon, Léger, Vialard & Peyré, NeurIPS 2020; Feydy et
al., AISTATS 2019), and so is the map T_ab - T_aa + x of the barycentric projections, so both are extrapolated
in ε². Potentials stand as logarithms, and each line is scaled by its largest entry before it is multiplied: that entry
alone keeps every sum above exp(-SPAN), so nothing underflows whatever the densities. (The windows of `linalg.softmin`,
for kernels as narrow as cells, take seven times as long here, where ε spans an eighth of an axis.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from wflow.arrays import Array
from wflow.linalg.anderson import Mixing
from wflow.linalg.softmin import lack, logs_of, self_transport

BLOCKS = 16
BLOCK_SPAN = 150.0  # largest exponent within a block of one axis
SPAN = BLOCK_SPAN * BLOCKS  # largest |x - y|²/ε on an axis
FLOOR = (
    -340.0
)  # smaller logarithms count as this: what they add is e^-40 of a sum, and nothing is subnormal, which is slow
FINEST = 2.0  # smallest ε, in squares of the spacing: below, the lattice shows
PRODUCT = 262_144  # multiplications in one product
RESIDUAL = 1e-6  # of the marginals, in L1; the cost is off by its square
SWEEPS, MOST_SWEEPS = 5, 2000
LEVELS = 3  # values of ε that are extrapolated from


@dataclass(frozen=True)
class Lattice:
    """Masses `(n₁, …, n_d)` of sum 1 at the points of a product of `axes`, equally spaced by `spacing` `(d,)`."""

    axes: tuple[Array, ...]
    masses: Array
    spacing: Array

    def shifted(self, by: Array) -> "Lattice":
        """The same, moved."""
        return Lattice(tuple(x + s for x, s in zip(self.axes, by, strict=True)), self.masses, self.spacing)

    @property
    def mean(self) -> Array:
        """Centre of mass `(d,)`."""
        every = range(self.masses.ndim)
        sums = (self.masses.sum(axis=tuple(k for k in every if k != axis)) for axis in every)
        return np.array([m @ x for m, x in zip(sums, self.axes, strict=True)])


@dataclass(frozen=True)
class Dual:
    """The potentials at one ε: potentials `there` on a and `back` on b of the pair, `a` and `b` of each with itself."""

    eps: float
    there: Array
    back: Array
    a: Array
    b: Array
    divergence: float
    residual: float


@dataclass(frozen=True)
class Coupling:
    """The transport of a to b, both about their centres of mass, at falling ε."""

    a: Lattice
    b: Lattice
    duals: tuple[Dual, ...]

    @property
    def reversed(self) -> "Coupling":
        """The transport of b to a."""
        turned = (Dual(one.eps, one.back, one.there, one.b, one.a, one.divergence, one.residual) for one in self.duals)
        return Coupling(self.b, self.a, tuple(turned))

    @property
    def cost(self) -> float:
        """W2² of the point masses."""
        return _extrapolated([dual.divergence for dual in self.duals[-2:]])

    @property
    def error(self) -> float:
        """An estimate of the error of the cost: how far it has moved since the ε before, and what marginals lack."""
        before = _extrapolated([dual.divergence for dual in self.duals[:2]])
        return abs(self.cost - before) + sum(dual.eps * dual.residual for dual in self.duals)

    def spread(self) -> float:
        """What W2² gains when every point is spread evenly over its cell, to first order in the squared spacing.

        The dual of a small change of a and b is what the potentials integrate to over it: Σ h²/24 ∂²f. It is
        zero for translates, and h²/12 (1 - s)(1 - 1/s) an axis where the map stretches by s.
        """
        last = self.duals[-1]
        pairs = ((self.a, self.b, last.back, last.a), (self.b, self.a, last.there, last.b))
        return sum(_spread(one, other, far, own, last.eps) for one, other, far, own in pairs)

    def images(self, axes: Sequence[Array]) -> Array:
        """Where the map takes the points of a product of axes, about the centres of mass: `(n₁, …, n_d, d)`."""
        found = [self._images(axes, dual) for dual in self.duals[-2:]]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) + (4.0 * found[1] - found[0]) / 3.0

    def _images(self, axes: Sequence[Array], dual: Dual) -> Array:
        there = _barycenters(axes, self.b, dual.back, dual.eps)
        return there - _barycenters(axes, self.a, dual.a, dual.eps)


def couple(a: Lattice, b: Lattice) -> Coupling:
    """The transport from a to b, in d = 2 or 3, each moved to its centre of mass, so that translations are exact.

    ε is halved from the squared extent of the larger to 1/2400 of it, or to twice the squared spacing if that is more,
    and the last three converge, in some 10 to 30 sweeps of O(N^(1 + 1/d)) for N points. Processor time, measured under
    load: for Gaussians 0.08 s on 64² points, 0.25 s on 128², 1.1 s on 256²; for noise and sharp edges on 256² 5 to 7 s.
    """
    a, b = a.shifted(-a.mean), b.shifted(-b.mean)
    reach = max(_reach(x, y) for x, y in zip(a.axes, b.axes, strict=True))
    last = max(reach**2 / SPAN, FINEST * _step(a, b) ** 2)
    halvings = max(LEVELS, int(np.log2(max(reach**2 / last, 1.0))))
    steps = last * 0.5 ** np.arange(-halvings, 1.0)
    pairs, own_a, own_b = _pair(a, b, steps), _alone(a, steps), _alone(b, steps)
    duals = []
    for eps, (f, g, cost, left), (p, own, at), (q, other, bt) in zip(steps[-LEVELS:], pairs, own_a, own_b, strict=True):
        duals.append(Dual(float(eps), f, g, p, q, cost - 0.5 * (own + other), max(left, at, bt)))
    return Coupling(a, b, tuple(duals))


def _reach(x: Array, y: Array) -> float:
    return float(max(np.ptp(x), np.ptp(y), y.max() - x.min(), x.max() - y.min()))


def _step(a: Lattice, b: Lattice) -> float:
    """The spacing on the axis where it is least, of the coarser lattice; an axis of one point has none."""
    steps = np.array([[h if len(x) > 1 else 0.0 for x, h in zip(q.axes, q.spacing, strict=True)] for q in (a, b)])
    coarser = steps.max(axis=0)
    return float(min(coarser[coarser > 0.0], default=float(np.max((a.spacing, b.spacing)))))


def _extrapolated(values: Sequence[float]) -> float:
    coarse, fine = values
    return (4.0 * fine - coarse) / 3.0


@dataclass(frozen=True)
class Kernel:
    """exp(-(x - y)²/ε) on one axis for a block of x: the `rows`, and `shift` = (centre of the block - y)²/ε, which is
    taken out of them."""

    rows: Array
    shift: Array


def _kernels(to: Sequence[Array], source: Sequence[Array], eps: float) -> list[list[Kernel]]:
    """For each axis the kernels of all blocks of x."""
    found = []
    for xs, y in zip(to, source, strict=True):
        wanted = max(1, int(np.ceil(_reach(xs, y) ** 2 / (BLOCK_SPAN * eps))))
        found.append([_kernel(x, y, eps) for x in np.array_split(xs, min(wanted, len(xs)))])
    return found


def _kernel(x: Array, y: Array, eps: float) -> Kernel:
    center = 0.5 * (x[0] + x[-1])
    return Kernel(np.exp((x - center)[:, None] * (2.0 * y - center - x[:, None]) / eps), (center - y) ** 2 / eps)


def _log_sums(kernels: Sequence[Sequence[Kernel]], logs: Array) -> Array:
    """log Σ K exp(logs), axis by axis."""
    for axis, blocks in enumerate(kernels):
        lines = np.moveaxis(logs, axis, 0)
        flat = lines.reshape(len(lines), -1)
        sums = np.concatenate([_block_sums(block, flat) for block in blocks])
        logs = np.moveaxis(sums.reshape(-1, *lines.shape[1:]), 0, axis)
    return logs


def _block_sums(block: Kernel, logs: Array) -> Array:
    logs = logs - block.shift[:, None]
    top = logs.max(axis=0)
    top[top == -np.inf] = 0.0
    np.maximum(np.subtract(logs, top, out=logs), FLOOR, out=logs)
    scaled, sums = np.exp(logs, out=logs), np.empty((len(block.rows), logs.shape[1]))
    # BLAS starts its threads above so much, and they cost more than they bring.
    width = max(1, PRODUCT // block.rows.size)
    for start in range(0, logs.shape[1], width):
        np.matmul(block.rows, scaled[:, start : start + width], out=sums[:, start : start + width])
    with np.errstate(divide="ignore"):
        return np.log(sums, out=sums) + top


def _pair(a: Lattice, b: Lattice, steps: Array) -> list[tuple[Array, Array, float, float]]:
    """Potentials, cost and residual at the last ε, by Sinkhorn's iteration from each ε to the next."""
    log_a, log_b, g = logs_of(a.masses), logs_of(b.masses), np.zeros(b.masses.shape)
    found = []
    for number, eps in enumerate(steps, start=LEVELS - len(steps)):
        there, back, memory = _kernels(a.axes, b.axes, eps), _kernels(b.axes, a.axes, eps), Mixing(b.masses)
        left = np.inf
        for _ in range(MOST_SWEEPS if number >= 0 else SWEEPS):
            f = -eps * _log_sums(there, g / eps + log_b)
            new = -eps * _log_sums(back, f / eps + log_a)
            left = lack(b.masses, (g - new) / eps)
            if left < RESIDUAL:
                break
            g = memory.mixed(g, new)
        g = new
        if number >= 0:
            f = -eps * _log_sums(there, g / eps + log_b)
            found.append((f, g, float(np.sum(a.masses * f) + np.sum(b.masses * g)), left))
    return found


def _alone(a: Lattice, steps: Array) -> list[tuple[Array, float, float]]:
    """The same for a with itself."""
    f, found = np.zeros(a.masses.shape), []
    for number, eps in enumerate(steps, start=LEVELS - len(steps)):
        kernels, most = _kernels(a.axes, a.axes, eps), MOST_SWEEPS if number >= 0 else SWEEPS
        own = self_transport(partial(_log_sums, kernels), a.masses, RESIDUAL, f / eps, most)
        f = eps * own.before
        if number >= 0:
            found.append((f, 2.0 * eps * float(np.sum(a.masses * own.mean)), own.left))
    return found


def _potential(axes: Sequence[Array], other: Lattice, far: Array, eps: float) -> Array:
    """The potential that belongs to `far` on `other`, at any points."""
    return -eps * _log_sums(_kernels(axes, other.axes, eps), far / eps + logs_of(other.masses))


def _spread(one: Lattice, other: Lattice, far: Array, own: Array, eps: float) -> float:
    wide = [np.concatenate(([x[0] - h], x, [x[-1] + h])) for x, h in zip(one.axes, one.spacing, strict=True)]
    potential = _potential(wide, other, far, eps) - _potential(wide, one, own, eps)
    inner = [slice(1, -1)] * len(wide)
    total = 0.0
    for axis in range(len(wide)):
        here = tuple(slice(None) if k == axis else cut for k, cut in enumerate(inner))
        total += float(np.sum(one.masses * np.diff(potential[here], 2, axis=axis))) / 24.0
    return total


def _barycenters(axes: Sequence[Array], other: Lattice, far: Array, eps: float) -> Array:
    """Means of y under the plan at given x: `(n₁, …, n_d, d)`."""
    kernels, logs = _kernels(axes, other.axes, eps), far / eps + logs_of(other.masses)
    mass, means = _log_sums(kernels, logs), []
    for axis, y in enumerate(other.axes):
        start = y[0] - other.spacing[axis]
        shape = [-1 if k == axis else 1 for k in range(len(other.axes))]
        means.append(start + np.exp(_log_sums(kernels, logs + np.log(y - start).reshape(shape)) - mass))
    return np.stack(means, axis=-1)
