"""Critical points of an objective and their kinds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from wflow.arrays import Array, generator, vector
from wflow.errors import InputError
from wflow.flows import PointFlow, make_flow
from wflow.loop.plan import positive, whole
from wflow.states import Point

FLAT = 1e-6  # eigenvalues below this, against the largest, or against one, count as zero


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """A point where ∇f = 0: `x` `(d,)`, `value` f(x), `eigenvalues` `(d,)` of the Hessian, rising, and its `kind`.

    `kind` is "minimum", "maximum", "saddle" (an inflection in one dimension) or "flat". `degenerate` says that an
    eigenvalue is zero; then the point may be one of a whole line of them, and the kind comes from f along its
    direction, at a distance of 0.01 and 0.001.
    """

    x: Array
    value: float
    eigenvalues: Array
    kind: str
    degenerate: bool


def critical_points(
    F: Any, lower: ArrayLike, upper: ArrayLike, starts: int = 200, rng: Any = 0, tol: float = 1e-8
) -> tuple[CriticalPoint, ...]:
    """The critical points of an objective in a box, by value: ∇f = 0 solved from `starts` random points.

    Powell's hybrid method with the exact Hessian, then Newton's; answers nearer to each other than 1e-4 of the box's
    sides are one. A point counts where |∇f| is below `tol` times its largest value at the starts. Nothing says that
    all have been found: take more starts. Cost: some ten Hessians a start. Raises `InputError` for bad boxes.

    >>> from wflow import Potential
    >>> [(p.kind, round(float(p.x[0]), 6)) for p in critical_points(Potential("(x**2 - 1)**2 + x/5"), -2, 2, 40)]
    [('minimum', -1.02412), ('minimum', 0.973994), ('maximum', 0.050126)]
    """
    low, high = vector("lower", lower), vector("upper", upper)
    if low.shape != high.shape or np.any(low >= high):
        raise InputError(f"lower must lie below upper on every axis, got {low.tolist()} and {high.tolist()}")
    field = objective(F, Point(low)).potential
    first = low + (high - low) * generator(rng).random((whole("starts", starts), low.size))
    slopes = np.linalg.norm(field.gradient(first), axis=1)
    scale = float(np.max(slopes[np.isfinite(slopes)], initial=0.0))
    found: list[Array] = []
    near = 1e-4 * (high - low)
    for x in first:
        root = _solve(field, x)
        size = np.linalg.norm(field.gradient(root[None])[0])
        if not (size <= positive("tol", tol) * scale and np.all((root >= low) & (root <= high))):
            continue
        if all(np.any(np.abs(root - other) > near) for other in found):
            found.append(root)
    return tuple(sorted((classify(F, x) for x in found), key=lambda p: (p.value, *p.x)))


def classify(F: Any, x: ArrayLike) -> CriticalPoint:
    """What kind of critical point x is, by the inertia of the Hessian."""
    point = vector("x", x)
    field = objective(F, Point(point)).potential
    matrix = field.hessian(point[None])[0]
    if not np.all(np.isfinite(matrix)):
        raise InputError(f"the Hessian is not finite at {point.tolist()}")
    values, vectors = np.linalg.eigh(matrix)
    zero = np.abs(values) <= FLAT * max(1.0, float(np.abs(values).max()))
    here = float(field.value(point[None])[0])
    signs = {float(s) for s in np.sign(values[~zero])}
    for direction in vectors.T[zero]:
        for length in (1e-2, 1e-3, -1e-2, -1e-3):
            change = float(field.value((point + length * direction)[None])[0]) - here
            # Changes below rounding, or of the size of the eigenvalue that was called zero, have no sign.
            signs.add(float(np.sign(change)) if abs(change) > 1e-14 * (1.0 + abs(here)) else 0.0)
    signs -= {0.0}
    kind = "saddle" if len(signs) == 2 else {1.0: "minimum", -1.0: "maximum"}.get(next(iter(signs), 0.0), "flat")
    return CriticalPoint(point, here, values, kind, bool(zero.any()))


def _solve(field: Any, x: Array) -> Array:
    """A root of the gradient from x: Powell's hybrid method, then up to 100 of Newton's steps while they help."""
    with np.errstate(all="ignore"):
        answer = optimize.root(
            lambda y: field.gradient(y[None])[0], x, jac=lambda y: field.hessian(y[None])[0], options={"xtol": 1e-12}
        )
        y = np.asarray(answer.x, dtype=np.float64)
        for _ in range(100):
            slope, matrix = field.gradient(y[None])[0], field.hessian(y[None])[0]
            if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(slope)) and np.any(slope)):
                break
            # The pseudo-inverse, since a degenerate point has a singular Hessian.
            trial = y - np.linalg.pinv(matrix, rcond=1e-14) @ slope
            if not np.linalg.norm(field.gradient(trial[None])[0]) < np.linalg.norm(slope):
                break
            y = trial
    return y


def objective(F: Any, point: Point) -> PointFlow:
    """The flow of an objective at a point, for its value and derivatives; refuses what a Point cannot follow."""
    flow = make_flow(F, point)
    assert isinstance(flow, PointFlow)
    if flow.simple:
        raise InputError("the objective has a term that is not smooth: take wf.run, which takes proximal steps")
    if flow.potential.timed:
        raise InputError("the objective depends on the time; there is no landscape to search")
    return flow
