"""L1 between densities, and the density of any state on a grid."""

from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.estimators import bandwidths, mesh_estimate
from wflow.flows import box_of
from wflow.grid import Grid
from wflow.states import Density, Gaussian, Point

CELLS = {1: 2000, 2: 256, 3: 64}


def l1(a: Any, b: Any) -> float:
    """∫ |a - b| for two states, as `compare` says; nan where there are no densities.

    >>> grid = Grid(0.0, 2.0, 2)
    >>> l1(Density(grid, [1.0, 0.0]), Density(grid, [0.5, 0.5]))
    1.0
    """
    if isinstance(a, Point) or isinstance(b, Point) or a.dim > 3:
        return np.nan
    try:
        grid = next((s.grid for s in (a, b) if isinstance(s, Density)), None) or grid_around(a, b)
        one, other = values_on(a, grid), values_on(b, grid)
    except InputError:  # coincident particles have no bandwidth
        return np.nan
    # Mass outside the grid of the one counts in full: there the other has none.
    outside = sum(_outside(s, v, grid) for s, v in ((a, one), (b, other)))
    return float(np.abs(one - other).sum()) * grid.volume + outside


def values_on(state: Any, grid: Grid) -> Array:
    """The density of a state as cell averages on a grid, in the shape of its cells; not rescaled."""
    if isinstance(state, Density):
        return state.values if state.grid == grid else _transfer(state, grid)
    points = grid.points()
    if isinstance(state, Gaussian):
        return state.density(points).reshape(grid.cells)
    width = bandwidths(state.positions, state.weights, "isj")
    values, domain = np.zeros(len(points)), state.domain
    inside = np.ones(len(points), dtype=bool) if domain is None else domain.contains(points)
    if inside.any():
        box = box_of(domain)
        values[inside] = mesh_estimate(state.positions, state.weights, width, box, points=points[inside])[0]
    return values.reshape(grid.cells)


def _transfer(state: Density, grid: Grid) -> Array:
    """Cell averages on another grid: along each axis the cumulative mass, read at the new edges."""
    values = state.values
    for axis in range(grid.dim):
        old, new = (np.linspace(g.lower[axis], g.upper[axis], g.cells[axis] + 1) for g in (state.grid, grid))
        padding = [(1 if k == axis else 0, 0) for k in range(grid.dim)]
        mass = np.pad(np.cumsum(values, axis=axis) * state.grid.spacing[axis], padding)
        read = PchipInterpolator(old, mass, axis=axis)(np.clip(new, old[0], old[-1]))
        values = np.diff(read, axis=axis) / grid.spacing[axis]
    return np.maximum(values, 0.0)


def _outside(state: Any, values: Array, grid: Grid) -> float:
    mass = state.mass if isinstance(state, Density) else 1.0
    return max(0.0, mass - float(values.sum()) * grid.volume)


def grid_around(*states: Any) -> Grid:
    """A fine grid (2000 cells, 256² or 64³) that holds all but about 1e-5 of clouds and Gaussians; d <= 3."""
    lows, highs = zip(*(_reach(state) for state in states), strict=True)
    return Grid(np.min(lows, axis=0), np.max(highs, axis=0), CELLS[states[0].dim])


def _reach(state: Any) -> tuple[Array, Array]:
    if isinstance(state, Density):
        return state.grid.lower, state.grid.upper
    if isinstance(state, Gaussian):
        reach = 6.0 * np.sqrt(np.diag(state.cov))
        return state.mean - reach, state.mean + reach
    reach = 4.0 * bandwidths(state.positions, state.weights, "isj")
    low, high = state.positions.min(axis=0) - reach, state.positions.max(axis=0) + reach
    if state.domain is None:
        return low, high
    return np.maximum(low, state.domain.lower), np.minimum(high, state.domain.upper)
