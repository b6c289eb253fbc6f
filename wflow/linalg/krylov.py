"""Newton–Krylov for y - c R(y) = b where there is no energy to minimise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres, minres

from wflow.arrays import Array

Map = Callable[[Array], Array]


@dataclass(frozen=True)
class Root:
    """The root found, Newton and linear iterations, and whether it converged."""

    y: Array
    iterations: int
    linear: int
    converged: bool


def directional(rate: Map, y: Array, here: Array, direction: Array) -> Array:
    """R'(y) · direction by a forward difference; relative error about 1e-8."""
    size = float(np.linalg.norm(direction))
    if size == 0.0:
        return np.zeros_like(direction)
    step = 1.5e-8 * (1.0 + float(np.linalg.norm(y))) / size
    return (rate(y + step * direction) - here) / step


def solve_linear(
    product: Map, rhs: Array, precondition: Map | None, rtol: float, weights: Array | None = None
) -> tuple[Array, int]:
    """(solution, iterations) on arrays of any shape: by MINRES where the product is symmetric in the inner product of
    the `weights`, which broadcast, else by GMRES, which needs twenty times the memory and starts anew every 40
    iterations: 799 for an implicit step of a blob that takes MINRES 201. Conjugate gradients break down there, where
    a large step makes the product indefinite."""
    counter, root = [0], 1.0 if weights is None else np.sqrt(weights)

    def count(_: Any) -> None:
        counter[0] += 1

    def flat(action: Map) -> LinearOperator:
        return LinearOperator(
            (rhs.size, rhs.size),
            matvec=lambda v: (root * action(v.reshape(rhs.shape) / root)).ravel(),
            dtype=np.float64,
        )

    system, right = flat(product), (root * rhs).ravel()
    if weights is not None:
        solution, _ = minres(system, right, rtol=rtol, maxiter=200, callback=count)
    else:
        solution, _ = gmres(
            system,
            right,
            rtol=rtol,
            atol=0.0,
            restart=40,
            maxiter=5,
            M=None if precondition is None else flat(precondition),
            callback=count,
            callback_type="pr_norm",
        )
    return solution.reshape(rhs.shape) / root, counter[0]


def newton_krylov(
    rate: Map,
    start: Array,
    base: Array,
    scale: float,
    tolerance: Callable[[Array], bool],
    precondition: Callable[[Array], Map] | None = None,
    feasible: Map | None = None,
    most: int = 40,
    along: Callable[[Array], Map] | None = None,
    weights: Array | None = None,
) -> Root:
    """y with y - scale R(y) = base. `tolerance(residual)` says when it is small enough; `feasible` projects an
    iterate; `along` gives v ↦ R'(y) v where it is known, else by differences; `weights` are those of `solve_linear`."""
    y, linear = start.copy(), 0
    here = rate(y)
    residual = base - y + scale * here
    for iteration in range(most):
        if not np.all(np.isfinite(residual)):
            return Root(y, iteration, linear, False)
        if tolerance(residual):
            return Root(y, iteration, linear, True)

        def differences(v: Array, y: Array = y, here: Array = here) -> Array:
            return directional(rate, y, here, v)

        slope = differences if along is None else along(y)

        def product(v: Array, slope: Map = slope) -> Array:
            return v - scale * slope(v)

        inverse = None if precondition is None else precondition(y)
        step, count = solve_linear(product, residual, inverse, 1e-3, weights)
        linear += count
        y, here, residual, moved = _search(rate, y, base, scale, step, residual, feasible)
        if not moved:
            return Root(y, iteration + 1, linear, tolerance(residual))
    return Root(y, most, linear, tolerance(residual))


def _search(
    rate: Map, y: Array, base: Array, scale: float, step: Array, residual: Array, feasible: Map | None
) -> tuple[Array, Array, Array, bool]:
    """Halve the step until the residual falls; at the eighth halving take what there is and say so."""
    size, length = float(np.linalg.norm(residual)), 1.0
    for _ in range(8):
        trial = y + length * step
        trial = trial if feasible is None else feasible(trial)
        there = rate(trial)
        rest = base - trial + scale * there
        if float(np.linalg.norm(rest)) <= (1.0 - 1e-4 * length) * size:
            return trial, there, rest, True
        length *= 0.5
    return trial, there, rest, False


def power_radius(product: Map, like: Array, most: int = 50) -> float:
    """Spectral radius by power iteration, times 1.2; to about a tenth, which is what stage counts need."""
    vector = np.random.default_rng(0).standard_normal(like.shape)
    size = 0.0
    for _ in range(most):
        vector = product(vector / np.linalg.norm(vector))
        before, size = size, float(np.linalg.norm(vector))
        if size == 0.0 or abs(size - before) <= 0.02 * size:
            break
    return 1.2 * size
