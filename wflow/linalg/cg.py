"""Linear systems on a grid: preconditioned conjugate gradients, and elimination in one dimension."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from wflow.linalg import tridiagonal
from wflow.linalg.multigrid import Hierarchy, Operator, build, cycle, smooth

Array = NDArray[np.float64]

CELL = 1e-6  # what the third condition of `solve` asks, of cells whose numbers are above FLOOR
FLOOR = 1e-280


@dataclass(frozen=True)
class Solution:
    """`w` in the shape of the right-hand side, the cycles spent, and whether what was asked is reached."""

    w: Array
    iterations: int
    converged: bool


def solve(
    operator: Operator,
    rhs: Array,
    guess: Array | None = None,
    rtol: float = 1e-10,
    max_iterations: int = 100,
    hierarchy: Hierarchy | None = None,
) -> Solution:
    """Solve M w = rhs; `rhs` and `guess` have the shape of `operator.diag`.

    Accuracy, with r = rhs - M w, D the diagonal of M and |M| its absolute values:

    - sum r^2/D <= rtol^2 sum rhs^2/D;
    - sum |r| <= rtol sum |rhs|, or what rounding allows. Where diag is the weight p, sum |r| bounds the L1
      error of p w;
    - |r| <= 1e-6 (|rhs| + |M| |w|) in every cell, or rtol where that is larger: w has digits also where its
      weight is 1e-200.

    Cells with D = 0 keep the guess. Cost: 3 to 12 cycles of 30 ns a cell, whatever the weights and dt; in 1-D
    one elimination. `hierarchy` is `build(operator)`, to be used again for another right-hand side.
    """
    w = np.zeros(rhs.shape) if guess is None else guess.copy()
    if rhs.shape[0] == rhs.shape[1] == 1:
        ground = operator.diag.copy()
        for axis in (0, 1):  # the walls of a 3-D grid that is one cell wide
            if not operator.periodic[axis]:
                ground += operator.faces[axis].sum(axis=axis, keepdims=True)
        tridiagonal.solve_network(ground.ravel(), operator.kz.ravel(), operator.periodic[2], rhs.ravel(), w.ravel())
        return Solution(w, 1, bool(np.isfinite(w).all()))
    hierarchy = build(operator) if hierarchy is None else hierarchy
    used, converged = _conjugate_gradients(operator, hierarchy, rhs, w, rtol, max_iterations)
    if converged:
        more, converged = _refine(operator, hierarchy, rhs, w, rtol, max_iterations - used)
        used += more
    if guess is not None:
        np.copyto(w, guess, where=operator.inverse == 0.0)
    return Solution(w, used, converged)


def _conjugate_gradients(
    operator: Operator, hierarchy: Hierarchy, rhs: Array, w: Array, rtol: float, limit: int
) -> tuple[int, bool]:
    """Improve `w` in place until the first condition of `solve` holds."""
    if not rhs.any():
        w.fill(0.0)
    product, z = np.empty(rhs.shape), np.empty(rhs.shape)
    operator.apply(w, product)
    r = rhs - product
    goal = rtol**2 * _scaled_square(rhs, operator.inverse)
    square = _scaled_square(r, operator.inverse)
    direction, rz, used = np.zeros(rhs.shape), 1.0, 0
    while square > goal and used < limit:
        cycle(hierarchy, r, z)
        rz, beta = _turn(r, z, direction, 0.0 if used == 0 else 1.0 / rz)
        curvature = operator.apply(direction, product)
        if not (curvature > 0.0 and np.isfinite(beta)):
            break
        square = _advance(w, r, direction, product, rz / curvature, operator.inverse)
        used += 1
    return used, bool(square <= goal)


def _refine(
    operator: Operator, hierarchy: Hierarchy, rhs: Array, w: Array, rtol: float, limit: int
) -> tuple[int, bool]:
    """Plain cycles until the second condition of `solve` holds, then sweeps until the third does.

    Conjugate gradients weigh a cell by r^2/D: where D is 1e-200 one cell drowns all others, and where r is
    nothing counts. A cycle treats every region on its own scale. But it adds corrections, whose rounding is
    that of the heaviest cell near by; a sweep on w itself adds nothing but positive parts and so brings the
    last digits of the lightest cells.
    """
    product, bound, z = np.empty(rhs.shape), np.empty(rhs.shape), np.empty(rhs.shape)
    for used in range(limit + 1):
        operator.apply(w, product)
        operator.apply(np.abs(w), bound)
        r = rhs - product
        total, goal, rounding, worst = _defects(r, rhs, w, bound, operator.inverse)
        small = total <= max(rtol * goal, rounding)
        if small and worst <= max(rtol, CELL):
            return used, True
        if small:
            smooth(hierarchy.levels[0], rhs, w, down=False)
            smooth(hierarchy.levels[0], rhs, w, down=True)
        else:
            cycle(hierarchy, r, z)
            w += z
    return limit, False


@njit(cache=True)
def _scaled_square(r, inverse):
    """sum r^2/D."""
    a, c = r.ravel(), inverse.ravel()
    total = 0.0
    for i in range(a.size):
        total += a[i] * (a[i] * c[i])
    return total


@njit(cache=True)
def _defects(r, rhs, w, bound, inverse):
    """sum |r|, sum |rhs|, the rounding to expect in the first, and the largest |r| / (|rhs| + |M| |w|).

    `bound` is M |w|, so that 2 D |w| - bound is |M| |w|. Only cells that hold something count, and for the last only
    those whose numbers are far above the least of float64, where digits end.
    """
    a, b, x, m, c = r.ravel(), rhs.ravel(), w.ravel(), bound.ravel(), inverse.ravel()
    total, goal, scale, worst = 0.0, 0.0, 0.0, 0.0
    for i in range(a.size):
        if c[i] > 0.0:
            own = abs(b[i]) + 2.0 * abs(x[i]) / c[i] - m[i]
            total += abs(a[i])
            goal += abs(b[i])
            scale += own
            # Digits end in w as well, where D is large: there M |w| is not small yet.
            if own > FLOOR and own * c[i] > FLOOR and not abs(a[i]) <= worst * own:
                worst = abs(a[i]) / own
    return total, goal, 1e-15 * scale, worst


@njit(cache=True)
def _turn(r, z, direction, over):
    """direction = z + (r.z) over direction; returns r.z and the factor."""
    a, b, d = r.ravel(), z.ravel(), direction.ravel()
    rz = 0.0
    for i in range(a.size):
        rz += a[i] * b[i]
    beta = rz * over
    for i in range(a.size):
        d[i] = b[i] + beta * d[i]
    return rz, beta


@njit(cache=True)
def _advance(w, r, direction, product, alpha, inverse):
    """One step along `direction`, in place; returns the new sum r^2/D."""
    a, x, d, q, c = r.ravel(), w.ravel(), direction.ravel(), product.ravel(), inverse.ravel()
    total = 0.0
    for i in range(a.size):
        x[i] += alpha * d[i]
        a[i] -= alpha * q[i]
        total += a[i] * (a[i] * c[i])
    return total
