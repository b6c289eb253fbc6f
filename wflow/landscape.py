"""The landscape of an objective: its critical points, SciPy's optimizers on it, and hill climbing on a lattice."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from wflow.arrays import Array, floats, generator, vector
from wflow.errors import InputError, RunWarning, Status, choose
from wflow.flows import PointFlow, make_flow
from wflow.loop import run
from wflow.loop.plan import positive, whole
from wflow.loop.recorder import installed, plain
from wflow.results import Result
from wflow.states import Particles, Point
from wflow.steppers import BogackiShampine

METHODS = ("BFGS", "CG", "L-BFGS-B", "Nelder-Mead", "Newton-CG", "Powell", "trust-exact", "trust-ncg")
WITH_HESSIAN = ("Newton-CG", "trust-exact", "trust-ncg")
WITHOUT_GRADIENT = ("Nelder-Mead", "Powell")
FAR = 1e3  # times the size of the start: what has gone so far, down, has no end in sight
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


def minimize(F: Any, point: Any, method: str = "BFGS", tol: float = 1e-10, max_steps: int | None = None) -> Result:
    """Minimise an objective by one of SciPy's methods, with the result of a run: a frame and a step an iteration.

    `method` is one of BFGS, CG, L-BFGS-B, Nelder-Mead, Newton-CG, Powell, trust-exact, trust-ncg; gradient and
    Hessian are exact. `tol` is SciPy's, for most methods the norm of the gradient. The time counts iterations. Status
    COMPLETE where SciPy reports success and, for a method that uses it, the gradient is not a thousandth of its first
    any more, or where it is at its rounding; MAX_STEPS, NOT_FINITE or SOLVER_FAILED else, with a `RunWarning`.
    `info["message"]` says why: SciPy's sentence, what was found, and whether f seems to fall without bound.

    >>> from wflow import Potential
    >>> minimize(Potential("(x - 1)**2 + 3*y**2"), Point([3.0, 3.0])).final.x.round(6) + 0.0
    array([1., 0.])
    """
    choose(method, METHODS, "method")
    if not isinstance(point, Point):
        raise InputError(f"minimize starts at a wf.Point, got {type(point).__name__}")
    flow = objective(F, point)
    field, path = flow.potential, [point.x]
    if np.isnan(field.value(point.x[None])[0]):
        raise InputError(f"the objective is not a number at the start {point!r}: it is not defined there")

    def seen(intermediate_result: Any) -> None:
        path.append(np.array(intermediate_result.x, dtype=np.float64))

    given: dict[str, Any] = {} if method in WITHOUT_GRADIENT else {"jac": lambda x: field.gradient(x[None])[0]}
    if method in WITH_HESSIAN:
        given["hess"] = lambda x: field.hessian(x[None])[0]
    options = {} if max_steps is None else {"maxiter": whole("max_steps", max_steps)}
    with np.errstate(all="ignore"):
        try:
            answer = optimize.minimize(
                lambda x: float(field.value(x[None])[0]), point.x, method=method, tol=positive("tol", tol),
                callback=seen, options=options, **given,
            )  # fmt: skip
        except ValueError as error:
            if "infs or NaNs" not in str(error):
                raise
            answer = optimize.OptimizeResult(x=path[-1], success=False, message="the Hessian is not finite")
    if not np.array_equal(path[-1], answer.x):
        path.append(np.asarray(answer.x, dtype=np.float64))
    result = _as_result(flow, point, path, answer, {"method": method, "tol": tol, "max_steps": max_steps})
    if not result.status.good:
        warnings.warn(f"minimize {result.status.value}: {result.info['message']}", RunWarning, stacklevel=2)
    return result


def _as_result(flow: PointFlow, point: Point, path: list[Array], answer: Any, arguments: dict[str, Any]) -> Result:
    rows, times = np.stack(path), np.arange(len(path), dtype=np.float64)
    with np.errstate(all="ignore"):
        energy = flow.potential.value(rows)
        slopes = np.linalg.norm(flow.potential.gradient(rows), axis=1)
    diagnostics = {"energy": energy, "dissipation": slopes**2, "gradient_norm": slopes}
    steps = {"time": times[1:], "dt": np.ones(len(path) - 1), "energy": energy[1:]}
    status = _status(answer, arguments["method"], energy[-1], slopes)
    info = {
        "wflow_version": installed("wflow"), "state": "point", "functional": "objective", "metric": "Euclidean",
        "stepper": f"scipy.optimize.minimize(method={arguments['method']!r})", "stepper_reason": "given", "grid": None,
        "arguments": {name: plain(value) for name, value in arguments.items()}, "seed": 0, "created": "", "command": "",
        "git_commit": "none", "versions": {name: installed(name) for name in ("wflow", "numpy", "scipy")},
        "message": _message(answer, status, rows, energy, slopes),
    }  # fmt: skip
    states = tuple(point.at(row) for row in rows)
    return Result(times, states, diagnostics, steps, status, info)


def _status(answer: Any, method: str, energy: float, slopes: Array) -> Status:
    if not (np.isfinite(energy) and np.isfinite(slopes[-1])):
        return Status.NOT_FINITE
    # SciPy reports a loss of precision where the gradient is as small as rounding allows, and success where there is
    # no curvature to go by. Methods without gradient may end in a kink.
    flat = method in WITHOUT_GRADIENT or slopes[-1] <= 1e-3 * slopes[0]
    if (answer.success and flat) or slopes[-1] <= 1e-7 * (1.0 + slopes[0]):
        return Status.COMPLETE
    return Status.MAX_STEPS if "maximum" in str(answer.message).lower() else Status.SOLVER_FAILED


def _message(answer: Any, status: Status, rows: Array, energy: Array, slopes: Array) -> str:
    """Why it ended, in SciPy's words and, where that is not well, with what was found."""
    said = str(answer.message).rstrip(".")
    if status.good:
        return said
    told = f"{said}; f went from {energy[0]:.3g} to {energy[-1]:.3g}, |grad f| from {slopes[0]:.3g} to {slopes[-1]:.3g}"
    far = np.abs(rows[-1]).max() > FAR * (1.0 + np.abs(rows[0]).max())
    deep = energy[-1] < -FAR * (1.0 + abs(energy[0]))
    return f"{told}, as if it fell without bound" if deep or (far and energy[-1] < energy[0]) else told


@dataclass(frozen=True, eq=False)
class Basins:
    """Where points of a plane box end: `axes` are the centres of its cells on both axes, `minima` the ends, `labels`
    `(nx, ny)` the number of the end of each cell, -1 where it came to none."""

    axes: tuple[Array, Array]
    minima: tuple[CriticalPoint, ...]
    labels: Array


def basins(F: Any, lower: ArrayLike, upper: ArrayLike, cells: int = 100, starts: int = 400, **how: Any) -> Basins:
    """Basins of attraction of the minima of an objective in a box of the plane, under the gradient flow.

    Every cell centre is followed as a particle of one cloud; `how` are arguments of `run`, such as `stepper`, `dt` and
    `steps` for another method, and without them the flow is followed for twenty of the slowest times at a minimum or
    saddle. An end is a minimum nearer than a thousandth of the diagonal. Cost: one gradient of cells² rows a step.

    >>> from wflow import Potential
    >>> found = basins(Potential("(x**2 - 1)**2 + y**2"), [-2, -2], [2, 2], cells=4)
    >>> [round(float(p.x[0]), 6) for p in found.minima], found.labels[:, 0].tolist()
    ([-1.0, 1.0], [0, 0, 1, 1])
    """
    low, high = vector("lower", lower), vector("upper", upper)
    if low.size != 2:
        raise InputError(f"basins are drawn in the plane, got {low.size} dimension(s)")
    known = critical_points(F, low, high, starts)
    minima = tuple(p for p in known if p.kind == "minimum")
    if not minima:
        raise InputError("no minimum was found in the box: enlarge it, or take more starts")
    count = whole("cells", cells)
    axes = tuple(a + (b - a) * (np.arange(count) + 0.5) / count for a, b in zip(low, high, strict=True))
    points = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    # Of the saddles too, near which points at the edge of a basin linger.
    rates = np.abs(np.concatenate([p.eigenvalues for p in known if p.kind != "maximum"]))
    slowest = float(rates[rates > FLAT].min(initial=1.0))
    given = how or {"t_end": 20.0 / slowest, "stepper": BogackiShampine()}
    ends = run(F, Particles(points), **{"save": "ends", **given}).final.positions
    with np.errstate(all="ignore"):
        gaps = np.linalg.norm(ends[:, None] - np.stack([p.x for p in minima]), axis=2)
    nearest = np.argmin(np.where(np.isfinite(gaps), gaps, np.inf), axis=1)
    arrived = gaps[np.arange(len(gaps)), nearest] <= 1e-3 * float(np.linalg.norm(high - low))
    labels = np.where(arrived, nearest, -1).reshape(count, count)
    return Basins((axes[0], axes[1]), minima, labels)


def hill_climb(
    F: Any,
    start: Sequence[int] | ArrayLike,
    spacing: float = 1.0,
    corners: bool = False,
    most: int = 100_000,
) -> Array:
    """Descend an objective on the lattice spacing · ℤᵈ, each time to the best neighbour, to a local minimum.

    `start` `(d,)` are whole numbers. Neighbours are one step away on one axis, with `corners` on any set of axes
    (3ᵈ - 1 of them). Returns the way `(k, d)`, whole numbers, along which f falls strictly; its last point is no
    worse than any neighbour. To climb, descend -f. Raises `InputError` where it has not ended after `most` moves.

    >>> from wflow import Potential
    >>> hill_climb(Potential("(x - 2)**2 + (y + 1)**2"), [0, 0])[-1]
    array([ 2, -1])
    """
    here = floats("start", start)
    if here.ndim != 1 or here.size == 0 or np.any(here != np.round(here)):
        raise InputError(f"start must be whole numbers (d,), got {start!r}")
    unit = positive("spacing", spacing)
    field = objective(F, Point(unit * here)).potential
    if corners:
        moves = np.array([m for m in product((-1.0, 0.0, 1.0), repeat=here.size) if any(m)])
    else:
        moves = np.concatenate([np.eye(here.size), -np.eye(here.size)])
    way, value = [here], float(field.value(unit * here[None])[0])
    for _ in range(whole("most", most)):
        values = field.value(unit * (way[-1] + moves))
        values = np.where(np.isfinite(values), values, np.inf)
        best = int(np.argmin(values))
        if not values[best] < value:
            return np.array(way, dtype=np.int64)
        way.append(way[-1] + moves[best])
        value = float(values[best])
    raise InputError(f"hill_climb made {most} moves without an end: the objective may have no minimum")
