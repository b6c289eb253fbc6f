"""An Interaction on a cloud: its energy ½ Σ wᵢ wⱼ W(xᵢ - xⱼ) and its gradient, by a mesh or by direct sums.

A mesh is taken for 4096 particles and more in up to three dimensions without periodic sides, at the first spacing at
which the forces at a few hundred particles of the start are those of direct sums to 1e-6 of the largest of them, and
at which those few hundred keep to 1e-6 of their largest force as they shrink to a point or lend their weight to four.
Where that would need more than 1024 nodes an axis, or more samples of W to find than a direct sum costs, W is no
smooth function on the scale of the cloud (|x|, log |x|), and sums are direct. The spacing depends on the start alone
and stays; the mesh covers the cloud as it is. For a cloud that has grown, the start blown up by 2, 4, … is checked at
the same spacing against the same bound; where that fails, or the mesh costs more, sums are direct. So every number is
a function of the start and of the state asked for.

W = exp(-|x|²) on 2·10⁴ normal particles, measured under load, processor time: a direct sum of forces 4, 14 and 16 s
in d = 1, 2, 3, by the mesh 0.4 ms, 4 ms and 0.3 s, finding it 0.3, 0.3 and 11 s; errors 5e-8, 1e-8, 9e-9 of the
largest.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.estimators import Box
from wflow.expression import Field
from wflow.flows.lattice import Lattice, padded, sampled
from wflow.flows.pairs import mean_force, mean_value
from wflow.states import Particles

MESH_FROM = 4096  # particles
TOLERANCE = 1e-6  # of the largest force at the start
FINENESS = (*(m * 2**k for k in range(3, 10) for m in (1.0, 1.5)), 1024.0)  # spacings in an extent
CHECKED, CHECKED_PAIRS = 256, 2**28  # particles at which forces are compared, fewer beyond so many pairs
CLUMPS = 3
# Nanoseconds: a pair; a particle on the mesh, by d; a cell of the padded mesh, or a sample of W.
PAIR, PARTICLE, CELL = {1: 5.0, 2: 20.0, 3: 30.0}, {1: 100.0, 2: 200.0, 3: 1000.0}, 40.0


@dataclass(frozen=True, eq=False)
class InteractionPart:
    """An interaction with its coefficient, for clouds that begin as `start`."""

    weight: float
    W: Field
    start: Particles
    box: Box | None
    _grown: dict[int, bool] = field(default_factory=dict, repr=False)

    def energy(self, state: Particles) -> float:
        """½ Σ wᵢ wⱼ W times the coefficient."""
        return 0.5 * float(np.sum(state.weights * self._value(state)[0]))

    def gradient(self, state: Particles) -> Array:
        """∇W * q `(n, d)` times the coefficient: ∂E/∂xᵢ over wᵢ."""
        x, weights = state.positions, state.weights
        if (lattice := self.lattice_for(x)) is None:
            return self.weight * mean_force(self.W, x, weights, self.box)
        return self.weight * _balanced(lattice.sums(x, weights)[1], weights)

    def slope(self, state: Particles) -> Array:
        """W * q `(n,)` times the coefficient: ∂E/∂wᵢ."""
        value, pull, x = self._value(state)
        # The centre of mass, with which the nodes go, depends on the weights.
        return value if x is None else value - x @ pull

    def _value(self, state: Particles) -> tuple[Array, Array, Array | None]:
        x, weights = state.positions, state.weights
        if (lattice := self.lattice_for(x)) is None:
            return self.weight * mean_value(self.W, x, weights, self.box), np.zeros(x.shape[1]), None
        value, gradient, relative = lattice.sums(x, weights)
        return self.weight * value, self.weight * _mean(weights, gradient), relative

    def lattice_for(self, x: Array) -> Lattice | None:
        """The mesh way for a cloud at x, None where sums are direct."""
        if self._chosen is None:
            return None
        lattice, extent = self._chosen[0], np.ptp(x, axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            growth = float(extent.max() / np.ptp(self.start.positions, axis=0).max())
        if not growth < 2.0**10 or not _cheaper(lattice, extent, len(x)):
            return None
        times = max(0, int(np.ceil(np.log2(max(growth, 0.5)))))
        if times not in self._grown:
            self._grown[times] = times == 0 or self._serves(times)
        return lattice if self._grown[times] else None

    def _serves(self, times: int) -> bool:
        assert self._chosen is not None
        lattice, largest = self._chosen
        x = 2.0**times * self.start.positions
        if not _cheaper(lattice, np.ptp(x, axis=0), len(x)):
            return False
        rows = _sample(x)
        exact = mean_force(self.W, x, self.start.weights, None, x[rows])
        return _off(lattice, x, self.start.weights, rows, exact) <= largest

    @cached_property
    def _chosen(self) -> tuple[Lattice, float] | None:
        """The mesh for the start and the error it may have."""
        x, weights = self.start.positions, self.start.weights
        n, d = x.shape
        extent = np.ptp(x, axis=0)
        if n < MESH_FROM or d > 3 or not 0.0 < extent.max() < np.inf:
            return None
        if self.box is not None and "periodic" in self.box.sides:
            return None
        rows = _sample(x)
        exact = mean_force(self.W, x, weights, None, x[rows])
        allowed = TOLERANCE * float(np.abs(exact).max())
        if not 0.0 < allowed < np.inf:
            return None
        spent = 0.0
        for fineness in FINENESS:
            lattice = Lattice(self.W, float(extent.max()) / fineness)
            if not _cheaper(lattice, extent, n):
                return None
            spent += CELL * sampled(lattice.nodes(extent))
            if spent > _direct(n, d) or not lattice.finite(lattice.nodes(extent)):
                return None
            if _off(lattice, x, weights, rows, exact) <= allowed and _bare(lattice, x[rows], allowed):
                return lattice, allowed
        return None


def _off(lattice: Lattice, x: Array, weights: Array, rows: Any, exact: Array) -> float:
    """The largest error of a component of the force at some particles; inf where W has no numbers on the mesh."""
    if not lattice.finite(lattice.nodes(np.ptp(x, axis=0))):
        return np.inf
    return float(np.abs(_balanced(lattice.sums(x, weights)[1], weights)[rows] - exact).max())


def _bare(lattice: Lattice, x: Array, allowed: float) -> bool:
    """Whether errors stay within `TOLERANCE` of the largest force, or allowed anyway, as these particles shrink to one
    node, and where all weight sits on four of them: in a cloud that clusters the errors of pairs no longer average out.
    """
    count = len(x)
    every, equal = np.arange(count), np.full(count, 1.0 / count)
    shrinks = 1 + max(0, int(np.ceil(np.log2(np.ptp(x, axis=0).max() / lattice.spacing))))
    scenes = [(0.5**k * (x - x.mean(axis=0)), equal) for k in range(shrinks, 0, -1)]
    for four in np.random.default_rng(1).choice(count, (CLUMPS, 4), replace=False):
        weights = np.zeros(count)
        weights[four] = 0.25
        scenes.append((x, weights))
    forces = [mean_force(lattice.W, y, w) for y, w in scenes]
    allowed = max(allowed, TOLERANCE * max(float(np.abs(force).max()) for force in forces))
    return all(_off(lattice, y, w, every, force) <= allowed for (y, w), force in zip(scenes, forces, strict=True))


def _cheaper(lattice: Lattice, extent: Array, n: int) -> bool:
    """Whether a mesh over these extents costs less than direct sums."""
    d = len(extent)
    cells = float(np.prod(2.0 * (extent / lattice.spacing + 8.0)))
    if CELL * cells >= _direct(n, d):  # which may be too many to plan
        return False
    return CELL * padded(lattice.nodes(extent)) + PARTICLE[d] * n < _direct(n, d)


def _direct(n: int, d: int) -> float:
    """Nanoseconds of direct sums."""
    return PAIR[d] * float(n) ** 2


def _sample(x: Array) -> Array:
    """Indices of particles at which forces are compared: the outermost of each axis, and others at random."""
    count = max(32, min(CHECKED, CHECKED_PAIRS // len(x)))
    others = np.random.default_rng(0).choice(len(x), count, replace=False)
    return np.unique(np.concatenate([x.argmin(axis=0), x.argmax(axis=0), others]))


def _mean(weights: Array, rows: Array) -> Array:
    """The weighted mean, without BLAS, whose bits may depend on its threads."""
    return np.einsum("i,ik->k", weights, rows) / weights.sum()


def _balanced(gradient: Array, weights: Array) -> Array:
    """The gradient with nodes that go with the centre of mass, from that with nodes at rest."""
    return gradient - _mean(weights, gradient)
