"""The dual of a step of optimal transport on a rectangle of cells: Newton's method for the potential ξ.

    maximise  Σ mass · e(ξ) - F*(ξ),   e(ξ)(x) = min over y of ½ Σ κₐ (yₐ - xₐ)² + ξ(y),   ρ(ξ) = ∂F*/∂ξ

ξ is a cubic spline through its values in the cells, the minimum over y is taken continuously, found from the discrete
c-transform. The gradient by the coefficients of the spline is what the masses leave on the splines at their minima,
less what ρ leaves there: mass is kept, and where nothing moves the two are the same, so that repeated steps smear
nothing. It is the dual of Jacobs, Lee & Léger (ESAIM: COCV 27 (2021) 28), whose ascent in H¹ this replaces by Newton's
method: the Hessian is -(ρ' + ∇·(mass (κ + D²ξ)⁻¹ ∇)), taken in by conjugate gradients with multigrid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import solveh_banded

from wflow.arrays import Array
from wflow.kernels import plane
from wflow.linalg.multigrid import Operator, build, cycle

TAIL = 3e-3  # of the largest ρ


class Law(Protocol):
    """How the masses of the cells follow from the potential: ρ(ξ), growing."""

    def density(self, xi: Array) -> Array:
        """ρ, in the shape of ξ."""

    def slope(self, rho: Array) -> Array:
        """dρ/dξ where the masses are ρ."""


@dataclass(frozen=True)
class Potential:
    """ξ at the cells, the minima `to` `(n, m, 2)` in units of cells, the cost, and the residual in L1."""

    values: Array
    to: Array
    iterations: int
    linear: int
    residual: float
    converged: bool


def blur(coefficients: Array) -> Array:
    """The values in the cells of a spline, even about the walls."""
    out = coefficients
    for axis in (0, 1):
        n = out.shape[axis]
        wide = np.concatenate([np.take(out, [0], axis), out, np.take(out, [-1], axis)], axis)
        below, here, above = (np.take(wide, np.arange(k, k + n), axis) for k in range(3))
        out = (below + 4.0 * here + above) / 6.0
    return out


def sharpen(values: Array) -> Array:
    """The coefficients of the spline with these values in the cells: the inverse of `blur`."""
    out = values
    for axis in (0, 1):
        bands = np.full((2, out.shape[axis]), 1.0 / 6.0)
        bands[1] = 4.0 / 6.0
        bands[1, [0, -1]] += 1.0 / 6.0
        out = np.moveaxis(solveh_banded(bands, np.moveaxis(out, axis, 0), check_finite=False), 0, axis)
    return np.ascontiguousarray(out)


@dataclass(frozen=True, eq=False)
class _Point:
    """A potential with its minima and what follows from them: the gradient, and the marks of the masses."""

    xi: Array
    to: Array
    inverse: Array
    left: Array
    rho: Array
    blurred: Array

    @property
    def gradient(self) -> Array:
        return self.left - self.blurred


def envelope(xi: Array, kappa: Array, mass: Array) -> tuple[Array, Array, Array]:
    """(e, minima, inverse Hessians there) of a potential, at the cells that have mass."""
    to, value, inverse = np.empty((*xi.shape, 2)), np.zeros(xi.shape), np.zeros((*xi.shape, 3))
    plane.envelope(np.ascontiguousarray(xi), kappa, to)
    plane.minima(sharpen(xi), kappa, mass, to, value, inverse)
    return value, to, inverse


def _at(law: Law, mass: Array, kappa: Array, xi: Array) -> _Point | None:
    with np.errstate(all="ignore"):
        rho = law.density(xi)
        blurred = blur(rho)
    if not np.all(np.isfinite(blurred)):
        return None
    _, to, inverse = envelope(xi, kappa, mass)
    left = np.zeros(xi.shape)
    plane.deposit(mass, to, left)
    return _Point(xi, to, inverse, left, rho, blurred)


def climb(law: Law, mass: Array, kappa: Array, start: Array, goal: float, most: int = 40) -> Potential:
    """Maximise from the values `start` until the L1 norm of the gradient is at most `goal` times the mass.

    Cost: four or five iterations where ρ is smooth and positive, each of some tens of microseconds a thousand cells.
    """
    point, linear, total = _at(law, mass, kappa, start), 0, float(mass.sum())
    if point is None:
        return Potential(start, np.zeros((*start.shape, 2)), 0, 0, np.inf, False)
    for iteration in range(most + 1):
        size = float(np.abs(point.gradient).sum()) / total
        if size <= goal or iteration == most:
            break
        direction, count = _direction(law, mass, kappa, point, min(0.1, max(1e-4, np.sqrt(size))))
        linear += count
        following = _search(law, mass, kappa, point, direction)
        if following is None:
            break
        point = following
    return Potential(point.xi, point.to, iteration, linear, size, size <= goal)


def _direction(law: Law, mass: Array, kappa: Array, point: _Point, rtol: float) -> tuple[Array, int]:
    """Newton's direction, of the values in the cells."""
    held = np.maximum(point.left, point.blurred)
    # The slope of ρ where it has grown to what comes, so that no step overshoots an exponential; in tails and at fronts
    # the larger one of what has been spread by the splines.
    with np.errstate(all="ignore"):
        grown = point.rho * np.clip(np.nan_to_num(point.left / point.blurred), 1.0, 1e6)
    slope = law.slope(np.where(point.rho > TAIL * point.rho.max(), grown, held))
    live = held > 1e-14 * held.max()
    precondition = _multigrid(np.where(live, slope + 1e-14 * held.max(), 1.0), held, kappa, live)

    def product(v: Array) -> Array:
        out = np.zeros(v.shape)
        plane.product(sharpen(v), mass, point.to, point.inverse, out)
        return slope * v + sharpen(out)

    gradient = sharpen(point.gradient)
    direction, count = _conjugate(product, precondition, gradient, rtol)
    with np.errstate(all="ignore"):
        reach = np.where(slope > 0.0, 4.0 * held / slope, 2.0 * kappa.max())
    capped = np.clip(direction, -reach, reach)
    kept = float(np.vdot(gradient, capped)) > 0.9 * float(np.vdot(gradient, direction))
    return (capped if kept else direction), count


def _multigrid(diag: Array, held: Array, kappa: Array, live: Array) -> Callable[[Array], Array]:
    faces = [np.zeros((2, *held.shape)), np.zeros((1, held.shape[0] + 1, held.shape[1]))]
    faces.append(np.zeros((1, held.shape[0], held.shape[1] + 1)))
    faces[1][0, 1:-1] = 0.5 * (held[1:] + held[:-1]) / kappa[0]
    faces[2][0, :, 1:-1] = 0.5 * (held[:, 1:] + held[:, :-1]) / kappa[1]
    hierarchy = build(Operator(diag[None], faces[0], faces[1], faces[2], (False, False, False)))

    def solve(r: Array) -> Array:
        out = np.empty((1, *r.shape))
        cycle(hierarchy, np.ascontiguousarray(r * live)[None], out)
        return out[0] * live

    return solve


def _conjugate(
    product: Callable[[Array], Array], precondition: Callable[[Array], Array], rhs: Array, rtol: float, most: int = 60
) -> tuple[Array, int]:
    r, total = rhs.copy(), np.zeros(rhs.shape)
    z = precondition(r)
    ahead, size = z, float(np.vdot(r, z))
    first = size
    for count in range(1, most + 1):
        image = product(ahead)
        curvature = float(np.vdot(ahead, image))
        if not curvature > 0.0:
            return (total if count > 1 else ahead), count
        total, r = total + (size / curvature) * ahead, r - (size / curvature) * image
        z = precondition(r)
        before, size = size, float(np.vdot(r, z))
        if not size > rtol**2 * first:
            return total, count
        ahead = z + (size / before) * ahead
    return total, most


def _search(law: Law, mass: Array, kappa: Array, point: _Point, direction: Array) -> _Point | None:
    """The longest of the steps 1, ½, ... at which the slope along the direction has not turned round by half."""
    along = sharpen(direction)
    fall = float(np.vdot(point.gradient, along))
    length = 1.0
    for _ in range(30):
        trial = _at(law, mass, kappa, point.xi + length * direction)
        if trial is not None and float(np.vdot(trial.gradient, along)) >= -0.5 * fall:
            return trial
        length *= 0.5
    return None
