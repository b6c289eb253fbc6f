"""Objectives and metrics that cannot be followed: each refused, or ended with a status that names the cause."""

import numpy as np
import pytest

import wflow as wf
from wflow.errors import Status
from wflow.metrics import Chart, Mirror, Natural, Newton, Norm, Preconditioned
from wflow.steppers import JKO, ImplicitEuler, LineSearch

SQUARES = wf.Potential("x**2 + y**2")
PBDL = wf.Potential("x**2 + y**4")


def square(x):
    return (x**2).sum(axis=1)


def run(F, x, **more):
    return wf.run(F, wf.Point(x), **{"dt": 0.1, "steps": 50} | more)


REFUSED = {
    "a maximum": (lambda: run(wf.Potential("-x**2"), [1.0], metric=Newton()), "smallest eigenvalue -2, so the step"),
    "a saddle": (lambda: run(wf.Potential("x**2 - y**2"), [1.0, 0.5], metric=Newton()), "damping above 2"),
    "singular": (lambda: run(wf.Potential("(x + y)**2"), [1.0, 1.0], metric=Newton()), "smallest eigenvalue 0"),
    "degenerate": (lambda: run(wf.Potential("x**4"), [0.0], metric=Newton()), "smallest eigenvalue 0"),
    "Fisher singular": (
        lambda: run(SQUARES, [1.0, 1.0], metric=Natural(np.ones((2, 2)))),
        "Fisher matrix has the small",
    ),
    "Fisher zero": (lambda: run(SQUARES, [1.0, 1.0], metric=Natural(lambda x: np.zeros((2, 2)))), "eigenvalue 0"),
    "Fisher nan": (
        lambda: run(SQUARES, [1.0, 1.0], metric=Natural(lambda x: np.full((2, 2), np.nan))),
        "not finite at x",
    ),
    "Fisher shape": (
        lambda: run(SQUARES, [1.0, 1.0], metric=Natural(lambda x: np.zeros(3))),
        r"shape \(2, 2\), got \(3,\)",
    ),
    "indefinite": (lambda: Preconditioned(np.diag([1.0, -1.0])), "smallest eigenvalue is -1"),
    "gradient": (lambda: wf.Potential(square, grad=lambda x: 3 * x), "by differences"),
    "Hessian": (
        lambda: wf.Potential(square, grad=lambda x: 2 * x, hess=lambda x: np.ones((len(x), 1, 1))),
        "hessian of",
    ),
    "no gradient": (lambda: wf.Potential(lambda x: np.array([float(v) for v in x[:, 0]])), "autograd cannot differ"),
    "nan": (lambda: run(wf.Potential(lambda x: x[:, 0] * np.nan), [1.0]), "is not a number"),
    "nan at the start": (lambda: run(wf.Potential("log(x)"), [-1.0]), "is not a number"),
    "nan for SciPy": (lambda: wf.minimize(wf.Potential("log(x)"), wf.Point([-1.0])), "not a number at the start"),
    "no inverse": (
        lambda: run(PBDL, [3.0, 3.0], metric=Chart(lambda x: x**2, inverse=lambda y, near: 0 * y + 7)),
        "it is no inverse of the map there",
    ),
    "off the simplex": (lambda: run(SQUARES, [1.0, 1.0], metric=Mirror("entropy")), "needs a point of the simplex"),
    "no norm": (lambda: Norm(0.5), "at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_cause(name):
    call, cause = REFUSED[name]
    with pytest.raises(wf.InputError, match=cause):
        call()


BOTTOMLESS = wf.Potential("-x**4")
ENDED = {
    "beyond stability": (PBDL, [3.0, 3.0], {"dt": 0.056}, Status.NOT_FINITE, "take a smaller dt"),
    "not defined further on": (wf.Potential("log(x)"), [1.0], {"dt": 2.0}, Status.NOT_FINITE, "energy is not a number"),
    "bottomless, implicit": (BOTTOMLESS, [1.0], {"stepper": ImplicitEuler()}, Status.SOLVER_FAILED, "without bound"),
    "bottomless, proximal": (BOTTOMLESS, [1.0], {"stepper": JKO()}, Status.SOLVER_FAILED, "F may fall without bound"),
    "bottomless, searched": (BOTTOMLESS, [1.0], {"stepper": LineSearch()}, Status.SOLVER_FAILED, "without bound"),
    "bottomless, exactly": (wf.Potential("x"), [1.0], {"stepper": LineSearch("exact")}, Status.SOLVER_FAILED, "bound"),
    "bottomless, by Wolfe": (
        wf.Potential("x"),
        [1.0],
        {"stepper": LineSearch("strong-wolfe")},
        Status.SOLVER_FAILED,
        "without bound",
    ),
    "map that ends": (
        wf.Potential("x"),
        [3.0],
        {"metric": Chart(np.tanh), "dt": 1.0},
        Status.UNDEFINED,
        "inverse|reach|solution",
    ),
    "mirror not convex": (SQUARES, [1.0, 1.0], {"metric": Mirror("-x**2 - y**2")}, Status.UNDEFINED, "convex"),
}


@pytest.mark.parametrize("name", ENDED)
def test_ended_with_the_cause(name):
    """And warned once: the sentence of the status, then what is known more closely."""
    F, x, more, status, cause = ENDED[name]
    with pytest.warns(wf.RunWarning, match=cause) as told:
        result = run(F, x, **more)
    assert result.status is status
    assert len(told) == 1
    assert np.all(np.isfinite(result.final.x))


@pytest.mark.checklist("P20")
def test_stability_ends_at_one_eighteenth():
    """One side of it comes down, the other leaves float64 in a few steps."""
    near = run(PBDL, [3.0, 3.0], dt=0.055)
    assert near.status is Status.COMPLETE
    assert np.all(np.diff(near.diagnostics["energy"]) < 0.0)
    with pytest.warns(wf.RunWarning):
        far = run(PBDL, [3.0, 3.0], dt=0.056, save="all")
    assert far.status is Status.NOT_FINITE
    assert len(far.states) <= 10
