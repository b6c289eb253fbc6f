"""W2, optimal maps and displacement interpolation between densities on grids in two and three dimensions."""

from functools import lru_cache
from itertools import product

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from wflow.arrays import Array
from wflow.grid import Grid
from wflow.linalg.entropic import Coupling, Lattice, couple
from wflow.states import Density

TRIMMED = 1e-12  # of the mass, on each side of each axis: that moves W2² by so much of the squared extent
SLIGHT = 1e-4  # a lack of cost, in parts of W2², that tells nothing of a map
PARTS = {2: 4, 3: 2}  # of a cell along an axis, that move by themselves


def plane_wasserstein2(a: Density, b: Density) -> tuple[float, str]:
    """W2 and a sentence on its error; see `wasserstein2`."""
    if a.grid == b.grid and np.array_equal(a.values * b.mass, b.values * a.mass):
        return 0.0, "the same density, exact"
    coupling, shift = _coupling(a, b)
    inside = coupling.spread()
    squared = max(coupling.cost + inside + float(shift @ shift), 0.0)
    # What is as narrow as a cell has a part inside the cells of another size: twice it covers peaks of 2/3 of a cell.
    error = coupling.error + 2.0 * abs(inside)
    value = float(np.sqrt(squared))
    return value, f"Sinkhorn divergences, extrapolated, off by about {np.sqrt(squared + error) - value:.1g}"


class PlaneMap:
    """The optimal map from a to b at positions `(n, d)`: linear between the corners of the cells."""

    def __init__(self, coupling: Coupling, shift: Array, start: Array) -> None:
        """`start` is the centre of mass of a, `shift` that of b less it."""
        a = coupling.a
        edges = [np.append(x - 0.5 * h, x[-1] + 0.5 * h) for x, h in zip(a.axes, a.spacing, strict=True)]
        corners = [x + s for x, s in zip(edges, start, strict=True)]
        images = coupling.images(edges) + start + shift
        self._at = RegularGridInterpolator(corners, images, bounds_error=False, fill_value=None)

    def __call__(self, x: Array) -> Array:
        return np.asarray(self._at(x))


def plane_map(a: Density, b: Density) -> PlaneMap:
    """The optimal map from a to b; see `transport_map`."""
    coupling, shift = _coupling(a, b)
    return PlaneMap(coupling, shift, _lattice(a).mean)


def plane_displacement(a: Density, b: Density, t: float) -> Density:
    """A share of a moved t of its way, and the rest of b moved back 1 - t of its own: see `displacement`.

    Both maps give the same but for their errors. The shares are as (1 - t)/e to t/e', with e and e' what the cost of
    each map lacks of W2²: a map that jumps is blurred there, and its inverse does not.
    """
    coupling, shift = _coupling(a, b)
    start = _lattice(a).mean
    there, back = PlaneMap(coupling, shift, start), PlaneMap(coupling.reversed, -shift, start + shift)
    squared = coupling.cost + float(shift @ shift)
    here, far = (1.0 - t) * _lack(b, back, squared), t * _lack(a, there, squared)
    share = here / (here + far)
    moved = share * _pushed(a, there, t, a.grid) + (1.0 - share) * _pushed(b, back, 1.0 - t, a.grid)
    return a.at(moved * (a.mass / a.grid.volume))


def _lack(q: Density, move: PlaneMap, squared: float) -> float:
    x = q.grid.points()
    cost = float(np.sum(q.values.ravel() * np.sum((move(x) - x) ** 2, axis=1))) / float(q.values.sum())
    return abs(cost - squared) + SLIGHT * abs(squared) + 1e-300


@lru_cache(maxsize=2)
def _coupling(a: Density, b: Density) -> tuple[Coupling, Array]:
    """The transport about the centres of mass, and how far these lie apart. Kept: pictures ask for many times t."""
    one, other = _lattice(a), _lattice(b)
    return couple(one, other), other.mean - one.mean


def _lattice(q: Density) -> Lattice:
    """The cells that hold the mass, as point masses at their centres."""
    cuts, every = [], range(q.dim)
    for axis in every:
        line = q.values.sum(axis=tuple(k for k in every if k != axis))
        share = TRIMMED * line.sum()
        full = np.flatnonzero((np.cumsum(line) > share) & (np.cumsum(line[::-1])[::-1] > share))
        cuts.append(slice(int(full[0]), int(full[-1]) + 1))
    masses = q.values[tuple(cuts)]
    axes = tuple(x[cut] for x, cut in zip(q.grid.centers, cuts, strict=True))
    return Lattice(axes, masses / masses.sum(), q.grid.spacing)


def _pushed(q: Density, move: PlaneMap, t: float, grid: Grid) -> Array:
    """The shares of mass in the cells of a grid after the share t of the way, each part of a cell going by itself."""
    parts = PARTS[q.dim]
    fine = Grid(q.grid.lower, q.grid.upper, [n * parts for n in q.grid.cells])
    masses = _parted(q.values / q.values.sum(), parts)
    full = masses.ravel() > 0.0
    x = fine.points()[full]
    if t > 0.0:
        x = (1.0 - t) * x + t * move(x)
    shares = _shared(x, masses.ravel()[full], Grid(grid.lower, grid.upper, [n * parts for n in grid.cells]))
    return shares.reshape([k for n in grid.cells for k in (n, parts)]).sum(axis=tuple(range(1, 2 * grid.dim, 2)))


def _parted(masses: Array, parts: int) -> Array:
    """Masses of the parts of each cell, along a slope on each axis: a cell moved as a constant would smear by h²/6.

    The slope is the harmonic mean of those to both neighbours, zero at an extreme and a wall: no part is negative
    and each cell keeps its mass (van Leer, J. Comput. Phys. 32 (1979) 101).
    """
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    for axis in range(masses.ndim):
        lines = np.moveaxis(masses, axis, 0)
        steps = np.diff(lines, axis=0)
        left, right = steps[:-1], steps[1:]
        same = left * right > 0.0
        slopes = np.zeros_like(lines)
        slopes[1:-1][same] = 2.0 / (1.0 / left[same] + 1.0 / right[same])
        cut = (lines[:, None] + slopes[:, None] * offsets.reshape(-1, *[1] * (masses.ndim - 1))) / parts
        masses = np.moveaxis(cut.reshape(-1, *lines.shape[1:]), 0, axis)
    return masses


def _shared(x: Array, masses: Array, grid: Grid) -> Array:
    """Masses at x, each shared linearly between the nearest centres of cells."""
    place = (x - grid.lower) / grid.spacing - 0.5
    first = np.floor(place).astype(np.int64)
    rest = place - first
    total = np.zeros(int(np.prod(grid.cells)))
    for corner in product((0, 1), repeat=grid.dim):
        at = np.clip(first + np.array(corner), 0, np.array(grid.cells) - 1)
        weights = masses * np.prod(np.where(corner, rest, 1.0 - rest), axis=1)
        total += np.bincount(np.ravel_multi_index(tuple(at.T), grid.cells), weights, minlength=total.size)
    return total.reshape(grid.cells)
