"""Gaussian sums of any masses at the particles, by the engine that is cheapest: mesh, near pairs or all pairs."""

from dataclasses import dataclass, replace

import numpy as np

from wflow.arrays import shown
from wflow.errors import InputError
from wflow.estimators.box import Box
from wflow.estimators.cells import PairSums, all_pairs, near_pairs
from wflow.estimators.cloud import Array
from wflow.estimators.mesh import convolve, curvature, kernel_peak, tangent
from wflow.estimators.plan import MAX_CELLS, Mesh, mesh_cells, plan_mesh
from wflow.kernels import clouds

# Samples up to which the direct sum is the faster one, by d.
DIRECT_BELOW = {1: 200, 2: 300, 3: 2000}
# Nanoseconds on two cores: a pair; a cell of the mesh, filters and all; a particle on the mesh, by d.
PAIR, CELL, PARTICLE = 0.9, 15.0, {1: 30.0, 2: 60.0, 3: 250.0}


@dataclass(frozen=True, eq=False)
class MeshSums:
    """Sums by a mesh, whose kernel is positive and symmetric, of peak 1."""

    mesh: Mesh
    positions: Array

    def __call__(self, masses: Array) -> tuple[Array, Array]:
        """As `PairSums`."""
        first, gradient = convolve(self.mesh, self.positions, shown(masses[0]))
        if len(masses) == 1:
            return first[None], gradient
        others = [convolve(self.mesh, self.positions, shown(np.ascontiguousarray(mass)))[0] for mass in masses[1:]]
        return np.stack([first, *others]), gradient

    def tangent(self, change: Array, moves: Array) -> tuple[Array, Array]:
        """As `PairSums`."""
        return tangent(self.mesh, self.positions, shown(change), shown(moves))

    def curvature(self, masses: Array) -> Array:
        """As `PairSums`."""
        return curvature(self.mesh, self.positions, shown(masses))


def engine(positions: Array, extent: Array, width: Array, box: Box | None, order: int, ratio: float) -> str:
    """ "mesh", "near" or "direct": the cheapest by an estimate of the work, near pairs only where a mesh would be
    mostly empty or too big."""
    n, d = positions.shape
    if d > 3 or n <= DIRECT_BELOW[d]:
        return "direct"
    cells = mesh_cells(extent, width, box, order, ratio)
    if cells <= 4.0 * n:
        return "mesh"
    return "near" if near_is_cheaper(positions, width, box, cells) else "mesh" if cells <= MAX_CELLS else "direct"


def near_is_cheaper(positions: Array, width: Array, box: Box | None, cells: float) -> bool:
    """Whether summing near pairs beats a mesh of so many cells."""
    found = near_pairs(positions, width, box)
    if found is None:
        return False
    n, d = positions.shape
    mesh = CELL * cells + PARTICLE[d] * n if cells <= MAX_CELLS else np.inf
    return PAIR * found.pairs < min(mesh, PAIR * float(n) ** 2)


def gaussian_sums(
    positions: Array,
    width: Array,
    box: Box | None = None,
    name: str | None = None,
    order: int = 4,
    ratio: float = 2.0,
    origin: Array | None = None,
) -> MeshSums | PairSums:
    """Sums of exp(-|x/width|²/2) over checked positions (n, d), a function of masses (fields, n): (fields, n), and
    the gradient (n, d) of the first. `name` fixes the `engine`; nodes of a mesh without a box are at rest relative to
    the `origin`.

    The kernel is symmetric and its gradient exact: by pairs to 1e-15 (near ones: up to the cut at 7e-10 of the
    peak), by the mesh for its own kernel, which is positive, has the variance of the Gaussian and gives densities
    within about 1e-3 (3e-3 in 3-D). Raises `InputError` where coordinates cannot resolve the width, and for a box
    beyond three dimensions.
    """
    positions = shown(positions)
    extent = clouds.bounds(positions)
    name = engine(positions, extent, width, box, order, ratio) if name is None else name
    if name == "direct" and box is not None and positions.shape[1] > 3:
        raise InputError("kernel sums in a domain serve d = 1, 2 and 3; leave the domain out")
    near = near_pairs(positions, width, box) if name == "near" or (name == "direct" and box is not None) else None
    if near is not None:
        return near
    if name == "direct" and box is None:
        return all_pairs(positions, width)
    home = np.zeros(len(width)) if origin is None or box is not None else origin
    mesh = plan_mesh(extent - home, width, box, order, ratio, positive=True)
    scaled = (mesh.factors[0] / kernel_peak(width), *mesh.factors[1:])
    return MeshSums(replace(mesh, lower=mesh.lower + home, factors=scaled), positions)
