"""How fine a mesh an interaction needs, found at the start of a cloud.

A mesh will do when the forces of it at a few hundred particles of the start are those of direct sums to 1e-6 of the
largest, and when those few hundred keep to 1e-6 of their largest force as they shrink to a point or lend their weight
to four: in a cloud that clusters the errors of pairs no longer average out. On periodic axes, whose nodes do not go
with the cloud, the forces must cancel besides, to 1e-9 of the largest, so that what is left can be taken out and the
force is the gradient of the energy to that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wflow.arrays import Array
from wflow.estimators import Box
from wflow.expression import Field
from wflow.flows.lattice import Lattice, Nodes, make_lattice
from wflow.flows.pairs import mean_force
from wflow.states import Particles

MESH_FROM = 2048  # particles
TOLERANCE = 1e-6  # of the largest force at the start
BALANCE = 1e-9  # of the largest force: the mean force on a ring
FINENESS = np.round(8.0 * 2.0 ** (0.25 * np.arange(29)))  # spacings in an extent, 8 to 1024
CHECKED, CHECKED_PAIRS = 256, 2**28  # particles at which forces are compared, fewer beyond so many pairs
CLUMPS = 3  # scenes with all weight on four particles
# Nanoseconds: a pair; a particle on the mesh, by d; a cell of the padded mesh; a sample of W, with its transforms; a
# cell each time that forces are looked at.
PAIR, PARTICLE, CELL = {1: 5.0, 2: 20.0, 3: 30.0}, {1: 100.0, 2: 200.0, 3: 1000.0}, 40.0
SAMPLE, LOOK = 60.0, 30.0


@dataclass(frozen=True, eq=False)
class Fit:
    """A mesh that serves a cloud, and the error it may have."""

    lattice: Lattice
    allowed: float
    box: Box | None

    def extent(self, x: Array) -> Array:
        """Extents `(d,)` of a cloud: that of a ring does not change."""
        return np.where(self.lattice.free, np.ptp(x, axis=0), self.lattice.spacing * np.array(self.lattice.rings))

    def cheaper(self, x: Array) -> bool:
        """Whether the mesh over a cloud costs less than direct sums."""
        return _cheaper(self.lattice, self.extent(x), len(x))

    def serves(self, start: Particles, times: int) -> bool:
        """Whether the mesh does for the start blown up by 2 so many times along free axes."""
        x = np.where(self.lattice.free, 2.0**times, 1.0) * start.positions
        if not self.cheaper(x):
            return False
        scene = _scene(self.lattice.W, x, start.weights, self.box, _sample(x))
        return scene.off(self.lattice)[0] <= self.allowed


@dataclass(frozen=True, eq=False)
class Scene:
    """A cloud, some of its particles, and the exact forces at these."""

    x: Array
    weights: Array
    rows: NDArray[np.int64]
    exact: Array

    @property
    def largest(self) -> float:
        return float(np.abs(self.exact).max())

    def off(self, lattice: Lattice, nodes: Nodes | None = None) -> tuple[float, float]:
        """The largest error of a component of the force, and the mean force on rings; inf where W has no numbers.
        `nodes`: at least as many as the cloud needs."""
        nodes = lattice.nodes(np.ptp(self.x, axis=0)) if nodes is None else nodes
        if not lattice.finite(nodes):
            return np.inf, np.inf
        gradient = lattice.sums(self.x, self.weights, nodes)[1]
        mean = weighted_mean(self.weights, gradient)
        error = float(np.abs((gradient - mean)[self.rows] - self.exact).max())
        return error, float(np.abs(mean[np.array(lattice.rings) > 0]).max(initial=0.0))


def fitted(W: Field, start: Particles, box: Box | None) -> Fit | None:
    """The coarsest mesh that serves; None for few particles, more than three axes, and where W is no smooth function on
    the scale of the cloud (|x|, log |x|): where more than 1024 nodes an axis would be needed, or more samples of W to
    find out than a direct sum costs."""
    x, weights = start.positions, start.weights
    n, d = x.shape
    if n < MESH_FROM or d > 3:
        return None
    extent = np.ptp(x, axis=0)
    for axis, side in enumerate(() if box is None else box.sides):
        extent[axis] = box.upper[axis] - box.lower[axis] if box is not None and side == "periodic" else extent[axis]
    if not 0.0 < extent.max() < np.inf:
        return None
    whole = _scene(W, x, weights, box, _sample(x))
    allowed = TOLERANCE * whole.largest
    if not 0.0 < allowed < np.inf:
        return None
    spent, k = 0.0, 0
    while k < len(FINENESS):
        fit = Fit(make_lattice(W, float(extent.max()) / FINENESS[k], box, d), allowed, box)
        nodes, small = fit.lattice.nodes(extent), fit.lattice.nodes(0.25 * extent)
        tight, wide = _scenes(fit, whole, small)
        looks = 1 + len(wide) + (len(tight) if nodes == small else 0)
        if not fit.cheaper(x) or spent + _cost(fit, nodes, looks) > _direct(n, d):
            return None
        # On one small mesh first: what costs is to ask for W on a large one.
        excess, looked = _excess(fit, tight, (*tight, *wide, whole), small), small
        if excess <= 1.0:
            excess, looked = _excess(fit, (whole, *wide), (*tight, *wide, whole), nodes), nodes
        if excess <= 1.0:
            return fit
        spent += _cost(fit, looked, 2)
        k = max(k + 1, int(np.searchsorted(FINENESS, _wanted(FINENESS[k], excess))))
    return None


def _wanted(fineness: float, excess: float) -> float:
    """What to try next. Of the force errors are O(h⁵), while those of values, O(h⁶), still show; far off, where they do
    not fall so fast yet, a little less is tried than that."""
    return 0.8 * fineness * min(excess, 1e9) ** (1.0 / 6.0) if excess > 1e3 else fineness * excess ** (1.0 / 5.5)


def _cost(fit: Fit, nodes: Nodes, looks: int) -> float:
    """Nanoseconds to look at forces on a mesh."""
    return SAMPLE * fit.lattice.sampled(nodes) + LOOK * looks * fit.lattice.padded(nodes)


def _excess(fit: Fit, scenes: Sequence[Scene], every: Sequence[Scene], nodes: Nodes) -> float:
    """By how much errors are larger than they may be, of the first scene where they are."""
    excess, largest = 0.0, max(scene.largest for scene in every)
    for scene in scenes:
        error, mean = scene.off(fit.lattice, nodes)
        # The whole cloud, all of whose particles have weight, is held to its own force.
        allowed = fit.allowed if scene is every[-1] else max(fit.allowed, TOLERANCE * largest)
        excess = max(excess, error / allowed, mean / (BALANCE * largest))
        if excess > 1.0:
            break
    return excess


def _scenes(fit: Fit, whole: Scene, small: Nodes) -> tuple[list[Scene], list[Scene]]:
    """The checked particles alone as they shrink to one node, and with all weight on four of them: those that fit on a
    small mesh, and the others."""
    x, lattice, W = whole.x[whole.rows], fit.lattice, fit.lattice.W
    count, middle = len(x), x.mean(axis=0)
    every, equal = np.arange(count), np.full(count, 1.0 / count)
    home = np.where(lattice.free, middle, lattice.lower + 0.5 * lattice.spacing * np.array(lattice.rings))
    shrinks = 1 + max(0, int(np.ceil(np.log2((np.ptp(x, axis=0) / lattice.spacing).max()))))
    scenes = [_scene(W, home + 0.5**k * (x - middle), equal, fit.box, every) for k in range(shrinks, 0, -1)]
    for four in np.random.default_rng(1).choice(count, (CLUMPS, 4), replace=False):
        weights = np.zeros(count)
        weights[four] = 0.25
        scenes.append(_scene(W, x, weights, fit.box, every))
    fits = [all(np.array(lattice.nodes(np.ptp(scene.x, axis=0))) <= small) for scene in scenes]
    tight = [scene for scene, good in zip(scenes, fits, strict=True) if good]
    return tight, [scene for scene, good in zip(scenes, fits, strict=True) if not good]


def _scene(W: Field, x: Array, weights: Array, box: Box | None, rows: NDArray[np.int64]) -> Scene:
    return Scene(x, weights, rows, mean_force(W, x, weights, box, x[rows]))


def _cheaper(lattice: Lattice, extent: Array, n: int) -> bool:
    d = len(extent)
    cells = float(np.prod(2.0 * (extent / lattice.spacing + 8.0)))
    if CELL * cells >= _direct(n, d):  # which may be too many to plan
        return False
    return CELL * lattice.padded(lattice.nodes(extent)) + PARTICLE[d] * n < _direct(n, d)


def _direct(n: int, d: int) -> float:
    """Nanoseconds of direct sums."""
    return PAIR[d] * float(n) ** 2


def _sample(x: Array) -> NDArray[np.int64]:
    """Indices of particles at which forces are compared: the outermost of each axis, and others at random."""
    count = max(32, min(CHECKED, CHECKED_PAIRS // len(x)))
    others = np.random.default_rng(0).choice(len(x), count, replace=False)
    return np.unique(np.concatenate([x.argmin(axis=0), x.argmax(axis=0), others]))


def weighted_mean(weights: Array, rows: Array) -> Array:
    """The weighted mean, without BLAS, whose bits may depend on its threads."""
    return np.einsum("i,ik->k", weights, rows) / weights.sum()
