"""SciPy's optimizers on an objective, with the result of a run."""

import warnings
from typing import Any

import numpy as np
from scipy import optimize

from wflow.arrays import Array
from wflow.errors import InputError, RunWarning, Status, choose
from wflow.flows import PointFlow
from wflow.landscape.critical import objective
from wflow.loop.plan import positive, whole
from wflow.loop.recorder import installed, plain
from wflow.results import Result
from wflow.states import Point

METHODS = ("BFGS", "CG", "L-BFGS-B", "Nelder-Mead", "Newton-CG", "Powell", "trust-exact", "trust-ncg")
WITH_HESSIAN = ("Newton-CG", "trust-exact", "trust-ncg")
WITHOUT_GRADIENT = ("Nelder-Mead", "Powell")
FAR = 1e3  # times the size of the start: what has gone so far, down, has no end in sight
ENDS = {
    Status.MAX_STEPS: "its iterations or evaluations were used up; max_steps gives it more",
    Status.NOT_FINITE: "f or its gradient is not finite where it came to",
    Status.SOLVER_FAILED: "it came to no minimum",
}


def minimize(F: Any, point: Any, method: str = "BFGS", tol: float = 1e-10, max_steps: int | None = None) -> Result:
    """Minimise an objective by one of SciPy's methods, with the result of a run: a frame and a step an iteration.

    `method` is one of BFGS, CG, L-BFGS-B, Nelder-Mead, Newton-CG, Powell, trust-exact, trust-ncg; gradient and
    Hessian are exact. `tol` is SciPy's, for most methods the norm of the gradient. The time counts iterations. Status
    COMPLETE where SciPy reports success and the gradient, for a method that uses it, is a thousandth of its first, or
    where it is at its rounding; MAX_STEPS where iterations or evaluations were used up; NOT_FINITE; or SOLVER_FAILED
    elsewhere, and where f falls on a thousand times as far out as the start. All but the first with a `RunWarning`.
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
        warnings.warn(
            f"minimize stopped because {ENDS[result.status]}: {result.info['message']}", RunWarning, stacklevel=2
        )
    return result


def _as_result(flow: PointFlow, point: Point, path: list[Array], answer: Any, arguments: dict[str, Any]) -> Result:
    rows, times = np.stack(path), np.arange(len(path), dtype=np.float64)
    with np.errstate(all="ignore"):
        energy = flow.potential.value(rows)
        slopes = np.linalg.norm(flow.potential.gradient(rows), axis=1)
    diagnostics = {"energy": energy, "dissipation": slopes**2, "gradient_norm": slopes}
    steps = {"time": times[1:], "dt": np.ones(len(path) - 1), "energy": energy[1:]}
    falling = _falling(flow.potential, rows)
    status = _status(answer, arguments["method"], energy[-1], slopes, falling)
    info = {
        "wflow_version": installed("wflow"), "state": "point", "functional": "objective", "metric": "Euclidean",
        "stepper": f"scipy.optimize.minimize(method={arguments['method']!r})", "stepper_reason": "given", "grid": None,
        "arguments": {name: plain(value) for name, value in arguments.items()}, "seed": 0, "created": "", "command": "",
        "git_commit": "none", "versions": {name: installed(name) for name in ("wflow", "numpy", "scipy")},
        "message": _message(answer, status, falling, rows, energy, slopes),
    }  # fmt: skip
    states = tuple(point.at(row) for row in rows)
    return Result(times, states, diagnostics, steps, status, info)


def _falling(field: Any, rows: Array) -> bool:
    """Whether the way has led far out and f falls ever more straight on. At a minimum, however flat, it does not."""
    if not _far(rows):
        return False
    lengths = np.array([0.0, 1e-4, 1e-3, 1e-2, 1e-1])
    with np.errstate(all="ignore"):
        return bool(np.all(np.diff(field.value(rows[-1] + lengths[:, None] * (rows[-1] - rows[0]))) < 0.0))


def _far(rows: Array) -> bool:
    return bool(np.abs(rows[-1]).max() > FAR * (1.0 + np.abs(rows[0]).max()))


def _status(answer: Any, method: str, energy: float, slopes: Array, falling: bool) -> Status:
    if not (np.isfinite(energy) and np.isfinite(slopes[-1])):
        return Status.NOT_FINITE
    if not answer.success and any(word in str(answer.message).lower() for word in ("maximum", "limit")):
        return Status.MAX_STEPS
    # SciPy reports a loss of precision where the gradient is as small as rounding allows, and success where there is
    # no curvature to go by. Methods without gradient may end in a kink.
    flat = method in WITHOUT_GRADIENT or slopes[-1] <= 1e-3 * slopes[0]
    done = (answer.success and flat) or slopes[-1] <= 1e-7 * (1.0 + slopes[0])
    return Status.COMPLETE if done and not falling else Status.SOLVER_FAILED


def _message(answer: Any, status: Status, falling: bool, rows: Array, energy: Array, slopes: Array) -> str:
    """Why it ended, in SciPy's words and, where that is not well, with what was found."""
    said = str(answer.message).rstrip(".")
    if status.good:
        return said
    told = f"{said}; f went from {energy[0]:.3g} to {energy[-1]:.3g}, |grad f| from {slopes[0]:.3g} to {slopes[-1]:.3g}"
    deep = energy[-1] < -FAR * (1.0 + abs(energy[0]))
    if falling and not deep:
        size = np.abs(rows[-1]).max()
        return f"{told}, as if it fell without bound or to a value that it never takes (|x| is {size:.3g})"
    return f"{told}, as if it fell without bound" if deep or (_far(rows) and energy[-1] < energy[0]) else told
