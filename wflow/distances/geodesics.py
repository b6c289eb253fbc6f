"""Optimal maps, and the displacement interpolation between two states."""

from collections.abc import Callable
from typing import Any

import numpy as np

from wflow.arrays import Array, floats
from wflow.arrays import positions as checked_positions
from wflow.distances.plane import plane_displacement, plane_map
from wflow.distances.transport import check_pair, on_grid_of, pieces_of
from wflow.errors import InputError
from wflow.kernels import quantiles
from wflow.linalg import transport
from wflow.linalg.assignment import MOST, assignment, pairable, settled
from wflow.states import Density, Gaussian, Particles, Point

Map = Callable[[Any], Array]
PLAN = 1e-8  # a plan errs by the square root of what its cost does
LOOSEST = 1e-3, 1e-6  # of W2 or of the spread: beyond, positions half way would say little


def transport_map(a: Any, b: Any) -> Map:
    """The optimal map T from a to b, a function of positions `(n, d)`: it pushes a onto b, and W2² = ∫ |T(x) - x|² da.

    Two Gaussians: affine, exact. One dimension: by quantiles, exact from a Density to a Density or to Particles; for
    targets by fine cells. Densities on grids in two and three dimensions, or a Density and a target that its grid
    holds: barycentric projections of the entropic plan, their bias taken out, extrapolated in ε, linear between the
    corners of cells. For Gaussians of width 1 on 64² cells of 0.2 it is off by 1e-5 in the mean square; where the map
    jumps, it is blurred over some four cells, or a seventieth of the extent. Distances are Euclidean, also in a
    periodic box: no mass crosses its seam. Cost as `wasserstein2`. Raises `InputError` for other pairs. Source:
    Santambrogio (2015), ch. 2; `wflow/linalg/entropic.py`.

    >>> transport_map(Gaussian([0.0], 1.0), Gaussian([1.0], 4.0))([[1.0]])
    array([[3.]])
    """
    check_pair("transport_map", a, b)
    dim = a.dim
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        matrix = transport.bures_map(a.cov, b.cov)
        return lambda x: b.mean + (checked_positions("x", x, dim) - a.mean) @ matrix
    _check_maps(a, b)
    a, b = on_grid_of(a, b), on_grid_of(b, a)
    if isinstance(a, Density) and isinstance(b, Density) and dim > 1:
        plane = plane_map(a, b)
        return lambda x: plane(checked_positions("x", x, dim))
    _check_line(a, b)
    left_a, right_a, mass_a = pieces_of(a)
    left_b, right_b, mass_b = pieces_of(b)
    share, (start, stop), (low, high) = transport.coupled_pieces((left_a, right_a, mass_a), (left_b, right_b, mass_b))
    full = (share > 0.0) & (stop > start)
    if not full.any():
        raise InputError("a map needs a density to start from: point masses may have to be split; see wf.displacement")
    at = np.stack([start[full], stop[full]], axis=1).ravel()
    to = np.stack([low[full], high[full]], axis=1).ravel()
    return lambda x: np.interp(checked_positions("x", x, 1)[:, 0], at, to)[:, None]


def displacement(a: Any, b: Any, t: float) -> Any:
    """The state at time t of [0, 1] on the geodesic of W2 from a to b, with W2(a, q(t)) = t W2(a, b).

    Two Gaussians: a Gaussian. Two densities: a Density on the grid of a, which must hold b too; on one axis exact
    but for the sharing out to its cells, beyond by `transport_map` from both ends, the better with the larger
    share, each part of a cell moved by itself: mass to rounding, and both ends if on one grid. There between the
    ends W2 to the exact density falls as the cells do, but L1 does not: half way from a Gaussian of variances (0.3,
    0.1) to one of (0.1, 0.2), in a box of 6 by 6, W2 1.8e-3 and 4e-4 on 64² and 256² cells, L1 0.019 and 0.017. The
    plan is kept, so that further times cost little. Two clouds, up to 2000 by 2000 particles: Particles, one for
    each entry of the optimal plan, which may split a particle, in the domain of both if that is one; up to 20 000
    with as many of equal weights in d ≤ 3, on the line without limit, paired as in `wasserstein2` to 1e-8 of W2²,
    positions to some 1e-4 of W2, at its cost for every t. Two points: a Point. Distances are Euclidean, also in a
    periodic box. Raises `InputError` for other pairs, and for clouds that could not be paired to 1e-3 of W2.
    Source: McCann, Adv. Math. 128 (1997) 153.

    >>> displacement(Gaussian([0.0], 1.0), Gaussian([1.0], 9.0), 0.5).cov
    array([[4.]])
    """
    share = floats("t", t)
    if share.ndim or not 0.0 <= share <= 1.0:
        raise InputError(f"t must be a number from 0 to 1, got {t}")
    s = float(share)
    if type(a) is not type(b) or not isinstance(a, Density | Gaussian | Particles | Point) or a.dim != b.dim:
        raise InputError(
            f"displacement takes two Gaussians, densities, clouds or points of the same dimension, got {a!r} and {b!r}"
        )
    if isinstance(a, Gaussian):
        matrix = (1.0 - s) * np.eye(a.dim) + s * transport.bures_map(a.cov, b.cov)
        return Gaussian((1.0 - s) * a.mean + s * b.mean, matrix @ a.cov @ matrix)
    if isinstance(a, Point):
        return Point((1.0 - s) * a.x + s * b.x)
    return _clouds(a, b, s) if isinstance(a, Particles) else _densities(a, b, s)


def _clouds(a: Particles, b: Particles, s: float) -> Particles:
    i, j, mass = _plan(a, b)
    domain = a.domain if a.domain == b.domain else None
    return Particles((1.0 - s) * a.positions[i] + s * b.positions[j], mass, domain)


def _plan(a: Particles, b: Particles) -> tuple[Any, Any, Array]:
    """Rows, columns and masses of the entries of the optimal plan."""
    if len(a) * len(b) <= transport.EXACT_PAIRS:
        return transport.coupling(a.positions, b.positions, a.weights, b.weights)
    if pairable(a.weights, b.weights, a.dim):
        which, value, excess = assignment(a.positions, b.positions, PLAN)
        if not settled(a.positions, value, excess, LOOSEST):
            raise InputError(
                f"these clouds could be paired only to {excess:.1g} of W2 = {value:.6g}: points lie too close against "
                "the extent, or outliers too far; thin them out to 2000"
            )
        return slice(None), which, a.weights
    raise InputError(
        f"displacement couples up to 2000 by 2000 particles, and up to {MOST} of equal weights with as many (d <= 3); "
        f"got {len(a)} by {len(b)} in d = {a.dim}, weights from {min(a.weights.min(), b.weights.min()):.6g} "
        f"to {max(a.weights.max(), b.weights.max()):.6g}; thin them out"
    )


def _densities(a: Density, b: Density, s: float) -> Density:
    grid, h = a.grid, float(a.grid.spacing[0])
    if np.any(b.grid.lower < grid.lower) or np.any(b.grid.upper > grid.upper):
        raise InputError(f"the grid of the first density must hold the second: {grid!r} does not hold {b.grid!r}")
    if a.dim > 1:
        return plane_displacement(a, b, s)
    share, (start, stop), (low, high) = transport.coupled_pieces(pieces_of(a), pieces_of(b))
    ends = ((1.0 - s) * left + s * right for left, right in ((start, low), (stop, high)))
    left, right = ((end - grid.lower[0]) / h for end in ends)
    values, flat = np.zeros(grid.cells[0]), np.zeros((grid.cells[0], 3))
    # Pieces may lie apart: each is an interval of its own, with an empty one after it.
    nodes = np.append(np.stack([left, right], axis=1).ravel(), right[-1])
    quantiles.deposit(nodes, np.stack([share, np.zeros(share.size)], axis=1).ravel() * a.mass, flat, values)
    return a.at(values / h)


def _check_maps(a: Any, b: Any) -> None:
    for one in (a, b):
        if isinstance(one, Point) or (one is a and isinstance(one, Particles)):
            raise InputError(
                f"a map needs a density to start from and one, or a cloud on the line, to go to, not {one!r}: point "
                "masses may have to be split; see wf.displacement"
            )


def _check_line(a: Any, b: Any) -> None:
    if a.dim != 1 or b.dim != 1:
        raise InputError(
            "optimal maps are known between Gaussians, in one dimension and between densities on grids; "
            "wf.wasserstein2 goes further"
        )
