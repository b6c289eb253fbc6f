"""Kernel density estimate by a particle mesh: spread with B-splines, convolve by FFT, interpolate back.

The way of particle-mesh Ewald sums (Essmann et al. 1995; Hockney and Eastwood 1988, chapter 8). Spreading and
interpolation use one spline, so the discrete kernel K(x_i, x_j) is symmetric and the gradient is its exact
derivative: the blob velocity is minus the gradient of a discrete energy.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from wflow.errors import InputError
from wflow.estimators.bandwidth import check_bandwidth
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array, check_positions, check_weights
from wflow.estimators.plan import Mesh, plan_mesh
from wflow.kernels import clouds, smoothing, splines, tangents

FAR = 9.0  # bandwidths: points farther than this outside the samples get the floor
POINT_FLOOR = 1e-12
FEW = 2**15  # particles that one thread serves before a second one has woken up
STRIPES = 16  # of rows of a mesh, for the same reason
WORKERS = 2  # a fixed number: how the transform is cut must not depend on the machine


def convolve(mesh: Mesh, positions: Array, masses: Array, points: Array | None = None) -> tuple[Array, Array]:
    """Sum of masses (n,) of any sign times the kernel (m,), and its gradient (m, d), at the positions or at points.

    Linear in the masses; nothing is checked or floored; positions and points must lie within the extent of
    the mesh.
    """
    shape, taps, inverse, offset = mesh.extended, mesh.taps, 1.0 / mesh.spacing, mesh.offset
    values = spread(shape, positions, masses, offset, inverse, taps)
    values = blurred(values, mesh)
    return gather(values, positions if points is None else points, offset, inverse, taps)


def tangent(mesh: Mesh, positions: Array, change: Array, moves: Array) -> tuple[Array, Array]:
    """The derivative of `convolve` at points at rest: masses change by `change` (n,) and go along with velocities,
    `moves` (n, d) = masses · velocities. Splines of order 4."""
    sides, taps = _three(mesh.extended, 1), _three((tangents.TAPS,) * len(mesh.cells), 1)
    stripes = _stripes(len(positions), int(np.prod(sides)))
    values = tangents.spread(sides, taps, positions, change, moves, mesh.offset, 1.0 / mesh.spacing, stripes)
    values = blurred(values.reshape(mesh.extended), mesh)
    return gather(values, positions, mesh.offset, 1.0 / mesh.spacing, mesh.taps)


def curvature(mesh: Mesh, positions: Array, masses: Array) -> Array:
    """Second derivatives (n, d, d) of the field of `convolve` at the positions. Splines of order 4."""
    inverse, out = 1.0 / mesh.spacing, np.empty((*positions.shape, positions.shape[1]))
    values = blurred(spread(mesh.extended, positions, masses, mesh.offset, inverse, mesh.taps), mesh)
    sides, taps = _three(mesh.extended, 1), _three((tangents.TAPS,) * len(mesh.cells), 1)
    stripes = 1 if len(positions) < FEW else 16
    tangents.curvature(values.reshape(-1), sides, taps, positions, mesh.offset, inverse, out, stripes)
    return out


def _three(numbers: tuple[int, ...], missing: int) -> tuple[int, ...]:
    return (missing,) * (3 - len(numbers)) + numbers


def blurred(values: Array, mesh: Mesh) -> Array:
    """What was spread, convolved with the kernel of the mesh; overwrites it or gives a new one."""
    if mesh.open:
        return _smooth(values, mesh)
    _fold(values, mesh)
    core = values[mesh.core]
    values[mesh.core] = _smooth(np.ascontiguousarray(core), mesh) if mesh.ends else _filter(core, mesh)
    _extend(values, mesh)
    return values


def spread(
    shape: tuple[int, ...], positions: Array, masses: Array, offset: Array, inverse: Array, taps: tuple[float, ...]
) -> Array:
    """`kernels.splines.spread` on as many stripes as pay, which depends on the arguments alone."""
    stripes = _stripes(len(positions), int(np.prod(shape)))
    return splines.spread(shape, positions, masses, offset, inverse, stripes, taps).reshape(shape)


def gather(values: Array, points: Array, offset: Array, inverse: Array, taps: tuple[float, ...]) -> tuple[Array, Array]:
    """Value (m,) and gradient (m, d) at points of the spline with these coefficients."""
    stripes = 1 if len(points) < FEW else 16
    # NumPy's memory comes in huge pages, Numba's does not: a third of the time at 10^6 particles.
    value, gradient = np.empty(len(points)), np.empty(points.shape)
    splines.gather(values.reshape(-1), values.shape, points, offset, inverse, value, gradient, stripes, taps)
    return value, gradient


def _stripes(n: int, cells: int) -> int:
    """Meshes to spread on at once: more only while adding them up is cheap against spreading."""
    if n < FEW or cells > 8 * n:
        return 1
    return min(8, max(2, 4 * n // cells))


def _filter(values: Array, mesh: Mesh) -> Array:
    """Multiply by the factors in Fourier space: cosine transforms between walls, which mirror, Fourier elsewhere."""
    walls = [k for k in range(values.ndim) if mesh.mirrored[k]]
    rings = [k for k in range(values.ndim) if not mesh.mirrored[k]]
    workers = WORKERS if values.size > 2**16 else 1
    if walls:
        values = fft.dctn(values, axes=walls, workers=workers)
    if rings:
        sides = [values.shape[k] for k in rings]
        values = fft.rfftn(values, axes=rings, workers=workers)
    for k, factor in enumerate(mesh.factors):
        values *= factor.reshape([-1 if axis == k else 1 for axis in range(values.ndim)])
    if rings:
        values = fft.irfftn(values, s=sides, axes=rings, workers=workers, overwrite_x=True)
    return fft.idctn(values, axes=walls, workers=workers, overwrite_x=True) if walls else values


def _smooth(values: Array, mesh: Mesh) -> Array:
    """The same in real space, axis by axis."""
    stripes = STRIPES if values.size > 2**16 else 1
    for k, m in enumerate(mesh.cells):
        out, form = np.empty(values.shape), (int(np.prod(mesh.cells[:k])), m, int(np.prod(mesh.cells[k + 1 :])))
        smoothing.smooth(values.reshape(form), mesh.ends[k], mesh.factors[k], out.reshape(form), stripes)
        values = out
    return values


def _ghost_pairs(values: Array, mesh: Mesh) -> Iterator[tuple[Array, Array]]:
    """Per axis the ghost layers and the cells they stand for, lower and upper side, as views."""
    g = mesh.ghosts
    for k, m in enumerate(mesh.cells):
        v = np.moveaxis(values, k, 0)
        if mesh.mirrored[k]:
            yield v[:g], v[g : 2 * g][::-1]
            yield v[g + m :], v[m - 1 : g + m][::-1]
        else:
            yield v[:g], v[m : g + m]
            yield v[g + m :], v[g : 2 * g + 1]


def _fold(values: Array, mesh: Mesh) -> None:
    """Add what was spread on ghosts to the cells they stand for."""
    for ghost, cell in _ghost_pairs(values, mesh):
        cell += ghost


def _extend(values: Array, mesh: Mesh) -> None:
    """Fill the ghosts. Axis by axis: ghosts of an axis are filled before the next axis reads them."""
    for ghost, cell in _ghost_pairs(values, mesh):
        ghost[...] = cell


def mesh_estimate(
    positions: ArrayLike,
    weights: ArrayLike | None,
    bandwidth: ArrayLike,
    box: Box | None = None,
    order: int = 4,
    ratio: float = 3.0,
    points: ArrayLike | None = None,
    positive: bool = False,
) -> tuple[Array, Array]:
    """Density (n,) and its gradient (n, d) of the Gaussian kernel estimate, at the particles or at points.

    positions (n, d), d <= 3; weights (n,) or None, scaled to sum 1; bandwidth a number or (d,). The self term
    is included. By default the transform of the splines is divided out; with `positive` the Gaussian is
    narrowed instead, so that the kernel has the right variance and the density is positive.

    Largest relative error of the density, and rms error of the score times the bandwidth, at the particles of
    a 2-D standard normal with n = 2e4, bandwidth n^(-1/8), ratio 3: order 4: 2e-4 and 5e-5; order 6: 4e-6 and
    8e-7; positive, order 4: 4e-4 and 5e-5. In 3-D about twice the first and four times the second.

    Between walls and around a ring all images are counted, at any bandwidth. At the particles the density is
    raised to its self term w_i K(0), below which only an error of the mesh can bring it; at `points`, and
    with `positive`, to 1e-12 K(0), K(0) = 1 / prod(sqrt(2 pi) bandwidth). Far from all samples the error is
    that of rounding, 1e-16 of the largest density, and points farther than 9 bandwidths outside the samples
    get the floor and gradient 0: there ask `direct_log_density`. Bits do not depend on the number of threads.
    Raises `InputError`.

    >>> density, gradient = mesh_estimate([[0.0], [1.0]], None, 1.0, order=6)
    >>> round(float(density[0]), 5), round(float(gradient[0, 0]), 5)
    (0.32046, 0.12098)
    """
    positions, extent = check_positions(positions, box)
    width = check_bandwidth(bandwidth, positions.shape[1])
    weights = check_weights(weights, len(positions))
    if points is not None:
        points, _ = check_positions(points, box, "points")
        if points.shape[1] != positions.shape[1]:
            raise InputError(
                f"points and positions must have the same dimension, got {points.shape[1]} and {positions.shape[1]}"
            )
        near, extent = _near(points, extent, FAR * width, box)
        mesh = plan_mesh(extent, width, box, order, ratio, positive)
        return _at_points(mesh, positions, weights, points, near, POINT_FLOOR * kernel_peak(width))
    mesh = plan_mesh(extent, width, box, order, ratio, positive)
    return at_particles(mesh, positions, weights, width, positive)


def at_particles(
    mesh: Mesh, positions: Array, weights: Array, width: Array, positive: bool = False
) -> tuple[Array, Array]:
    """As `mesh_estimate` at the particles, for what has been checked, on a planned mesh."""
    density, gradient = convolve(mesh, positions, weights)
    if positive:
        np.maximum(density, POINT_FLOOR * kernel_peak(width), out=density)
    else:
        clouds.raise_to(density, weights, kernel_peak(width))
    return density, gradient


def kernel_peak(width: Array) -> float:
    """K(0) = 1 / prod(sqrt(2 pi) bandwidth)."""
    return float(1 / np.prod(np.sqrt(2 * np.pi) * width))


def _near(points: Array, extent: Array, margin: Array, box: Box | None) -> tuple[NDArray[np.bool_], Array]:
    """Which points are within a margin of the extent of the samples, and the extent of both."""
    if box is not None:
        return np.ones(len(points), dtype=bool), extent
    low, high = extent
    near = np.all((points >= low - margin) & (points <= high + margin), axis=1)
    return near, np.array(
        [
            np.min(points[near], axis=0, initial=np.inf).clip(max=low),
            np.max(points[near], axis=0, initial=-np.inf).clip(min=high),
        ]
    )


def _at_points(
    mesh: Mesh, positions: Array, weights: Array, points: Array, near: NDArray[np.bool_], floor: float
) -> tuple[Array, Array]:
    density, gradient = np.full(len(points), floor), np.zeros_like(points)
    if near.any():
        values, gradient[near] = convolve(mesh, positions, weights, np.ascontiguousarray(points[near]))
        density[near] = np.maximum(values, floor)
    return density, gradient
