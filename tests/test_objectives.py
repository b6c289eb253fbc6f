"""Objectives on points: an inner map kept, plain functions, gradients checked, simple terms, sums over data."""

import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import lsq_linear

import wflow as wf
from wflow import derivatives
from wflow.errors import InputError, RunWarning, Status
from wflow.metrics import Chart, Natural, Newton
from wflow.steppers import Adam, Heun, LineSearch, MiniBatch, Momentum, ProximalGradient

START = wf.Point([3.0, 3.0])
COMPOSITE = wf.Potential("x**2 + y**2", inner=["x", "y**2"])
PLAIN = wf.Potential("x**2 + y**4")


@pytest.mark.checklist("P1", "P12", "P13", "P18")
def test_a_composite_objective_is_its_plain_form_and_gives_its_ways_in_y():
    x = np.random.default_rng(0).normal(size=(5, 2))
    for name in ("value", "gradient", "hessian"):
        assert_allclose(getattr(COMPOSITE.field, name)(x), getattr(PLAIN.field, name)(x), rtol=1e-13, atol=1e-13)
    for metric, rate in ((None, 0.01), (Newton(), 1 / 3), (Chart(COMPOSITE.inner), 0.3)):
        one = wf.run(COMPOSITE, START, dt=rate, steps=10, metric=metric, save="all")
        other = wf.run(PLAIN, START, dt=rate, steps=10, metric=metric, save="all")
        ways = np.array([s.x for s in one.states])
        assert_allclose(ways, [s.x for s in other.states], rtol=1e-13)
        in_y = np.stack([one.diagnostics["y0"], one.diagnostics["y1"]], axis=1)
        assert_allclose(in_y, ways ** [1, 2], rtol=1e-14)
        assert_array_equal(in_y, COMPOSITE.image(ways))
        if isinstance(metric, Chart):
            assert_allclose(in_y, 0.7 ** np.arange(11)[:, None] * [3, 9], rtol=1e-12)
            assert_allclose(in_y[-1], [0.08474258, 0.25422773], atol=5e-9)
        elif metric is None:
            assert_allclose(in_y[1], [2.94, 3.6864], rtol=1e-13)


@pytest.mark.checklist("P18")
@pytest.mark.parametrize("inner", [["exp(x)", "x*y", "y**3"], None], ids=["fields", "function"])
def test_any_map_and_loss_also_of_other_dimensions(inner):
    """y in three dimensions of x in two; derivatives against differences."""
    given = inner or (lambda x: anp.stack([anp.exp(x[:, 0]), x[:, 0] * x[:, 1], x[:, 1] ** 3], axis=1))
    F = wf.Potential("x**2*y + sin(z)", inner=given)
    plain = wf.Potential("exp(2*x)*x*y + sin(y**3)")
    x = np.random.default_rng(1).normal(size=(4, 2))
    for name in ("value", "gradient", "hessian"):
        assert_allclose(getattr(F.field, name)(x), getattr(plain.field, name)(x), rtol=1e-12, atol=1e-12)
    result = wf.run(F, wf.Point([0.3, 0.4]), dt=0.01, steps=2)
    assert {"y0", "y1", "y2"} <= set(result.diagnostics)


def looped(x):
    """(x0 + x1 + x0)² by a loop whose length depends on x, then a branch."""
    total, k = x[0], 0
    while k < 3 and total < 100:
        total = total + x[k % 2]
        k += 1
    return total**2 if total > 0 else -total


@pytest.mark.checklist("D12")
def test_plain_functions_with_loops_and_branches_are_objectives():
    F = wf.Potential(derivatives.rowwise(looped))
    assert_allclose(F.field.value(np.array([[1.0, 2.0], [-1.0, -1.0]])), [25, 4])
    assert_allclose(F.field.gradient(np.array([[1.0, 2.0], [-1.0, -1.0]])), [[30, 10], [-3, -1]])
    assert_allclose(F.field.hessian(np.array([[1.0, 2.0]]))[0], [[18, 6], [6, 2]])
    result = wf.run(F, wf.Point([1.0, 2.0]), dt=0.01, steps=20)
    assert result.diagnostics["energy"][-1] < 1.0


def test_traces_that_are_wrong_are_found_when_the_objective_is_made():
    """A call that autograd does not follow, whose gradient it silently drops."""
    with pytest.raises(InputError, match="autograd"):
        wf.Potential(lambda x: x[:, 0] ** 2 + np.asarray([float(np.sin(getattr(v, "_value", v))) for v in x[:, 0]]))
    with pytest.raises(InputError, match=r"the gradient of .* given is"):
        wf.Potential(lambda x: x[:, 0] ** 2, grad=lambda x: 3 * x)
    with pytest.raises(InputError, match="hessian"):
        wf.Potential(
            lambda x: np.sum(x**2, axis=1),
            grad=lambda x: 2 * x,
            hess=lambda x: np.tile(np.eye(x.shape[1]), (len(x), 1, 1)),
        )
    good = wf.Potential(lambda x: np.sum(x**2, axis=1), grad=lambda x: 2 * x)
    assert_allclose(wf.run(good, START, dt=0.5, steps=1).final.x, 0, atol=1e-15)


def test_a_wrong_gradient_in_many_dimensions_is_found_at_the_start():
    def value(x):
        return np.sum(x[:, :5] ** 2, axis=1) * x[:, 4] ** 0

    def slope(x):
        return np.where(np.arange(x.shape[1]) == 4, 0.0, 2 * x)

    with pytest.raises(InputError, match="given"):
        wf.run(wf.Potential(value, grad=slope), wf.Point(np.ones(5)), dt=0.1, steps=1)


@pytest.mark.checklist("D1")
def test_taylor_slopes_tell_a_right_gradient_from_a_wrong_one():
    def f(x):
        return np.sin(x[0]) * x[1] ** 2

    check = derivatives.check_gradient(
        f, lambda x: np.array([np.cos(x[0]) * x[1] ** 2, 2 * np.sin(x[0]) * x[1]]), [1.0, 2.0]
    )
    assert abs(check.slope - 2) < 0.1
    assert check.error < 1e-9
    with pytest.raises(InputError, match="component"):
        derivatives.check_gradient(f, lambda x: np.array([np.cos(x[0]) * x[1] ** 2, np.sin(x[0]) * x[1]]), [1.0, 2.0])


A = np.random.default_rng(3).normal(size=(20, 4))
B = A @ np.array([1.0, 0.0, -2.0, 0.0]) + 0.1 * np.random.default_rng(4).normal(size=20)
LIPSCHITZ = float(np.linalg.eigvalsh(A.T @ A)[-1])


def least_squares():
    return wf.Potential(
        lambda x: 0.5 * np.sum((x @ A.T - B) ** 2, axis=1), grad=lambda x: (x @ A.T - B) @ A,
        hess=lambda x: np.tile(A.T @ A, (len(x), 1, 1)),
    )  # fmt: skip


@pytest.mark.parametrize("accelerated", [False, True])
def test_lasso_by_proximal_gradient(accelerated):
    """Optimality: |Aᵀ(Ax - b)| ≤ w, with equality and the sign of -x where x ≠ 0."""
    weight = 3.0
    F = least_squares() + wf.L1(weight)
    result = wf.run(
        F, wf.Point(np.zeros(4)), dt=1 / LIPSCHITZ, steps=400, stepper=ProximalGradient(accelerated), save="all"
    )
    x = result.final.x
    slope = A.T @ (A @ x - B)
    assert np.count_nonzero(x) < 4
    assert_allclose(slope[x != 0], -weight * np.sign(x[x != 0]), atol=1e-9)
    assert np.all(np.abs(slope[x == 0]) <= weight)
    if not accelerated:
        assert np.all(np.diff(result.diagnostics["energy"]) <= 1e-12)
    assert "ProximalGradient" in wf.run(F, START.at(np.zeros(4)), dt=0.01, steps=1).info["stepper"]


def test_acceleration_is_of_second_order_in_the_number_of_steps():
    """On a badly conditioned quadratic: after k steps F - F* ≤ 2 |x0|²/(dt (k + 1)²), and far below plain steps."""
    F, x0 = wf.Potential("x**2/2 + y**2/2000") + wf.Box(-10, 10), np.array([1.0, 1.0])
    gaps = {
        fast: wf.run(F, wf.Point(x0), dt=1.0, steps=100, stepper=ProximalGradient(fast), save="all").diagnostics[
            "energy"
        ]
        for fast in (False, True)
    }
    k = np.arange(101)
    assert np.all(gaps[True] <= 2 * 2 / (k + 1.0) ** 2)
    assert gaps[True][-1] < 0.1 * gaps[False][-1]


def test_box_and_ball_are_projected_gradient():
    found = wf.run(
        least_squares() + wf.Box(0.0, [0.5, 1.0, 1.0, np.inf]), wf.Point(np.zeros(4)), dt=1 / LIPSCHITZ, steps=500
    )
    expected = lsq_linear(A, B, (np.zeros(4), [0.5, 1.0, 1.0, np.inf]), tol=1e-14).x
    assert_allclose(found.final.x, expected, atol=1e-6)
    ball = wf.run(least_squares() + wf.Ball(1.0), wf.Point(np.zeros(4)), dt=1 / LIPSCHITZ, steps=500).final.x
    slope = A.T @ (A @ ball - B)
    assert_allclose(np.linalg.norm(ball), 1.0, rtol=1e-12)
    assert_allclose(slope / np.linalg.norm(slope), -ball, atol=1e-7)


@pytest.mark.parametrize("term", [wf.L1(0.7), wf.Box(-0.4, 0.9), wf.Ball(0.8), wf.Box([-1, 0], [0.2, 0.1])], ids=repr)
def test_proximal_steps_are_minimisers(term):
    """argmin g(y) + |y - x|²/2s: no better point nearby or at random."""
    rng, x, s = np.random.default_rng(0), np.array([1.3, -0.7]), 0.5
    y = term.proximal(x, s)
    best = term.penalty(y) + np.sum((y - x) ** 2) / (2 * s)
    others = np.concatenate([y + 1e-4 * rng.normal(size=(50, 2)), rng.normal(size=(200, 2))])
    assert min(term.penalty(z) + np.sum((z - x) ** 2) / (2 * s) for z in others) >= best - 1e-12


def loss(x, rows):
    return 0.5 * (rows[:, :2] @ x - rows[:, 2]) ** 2


ROWS = np.column_stack([np.random.default_rng(5).normal(size=(40, 2)), np.random.default_rng(6).normal(size=40)])


def test_a_mean_over_data_has_its_derivatives_and_a_full_batch_in_the_mean():
    F = wf.FiniteSum(loss, ROWS)
    X, y, x = ROWS[:, :2], ROWS[:, 2], np.array([0.3, -0.8])
    assert_allclose(F.value(x[None])[0], 0.5 * np.mean((X @ x - y) ** 2), rtol=1e-14)
    assert_allclose(F.gradient(x[None])[0], X.T @ (X @ x - y) / 40, rtol=1e-12)
    assert_allclose(F.hessian(x[None])[0], X.T @ X / 40, atol=1e-8)
    given = wf.FiniteSum(loss, ROWS, grad=lambda x, rows: rows[:, :2] * (rows[:, :2] @ x - rows[:, 2])[:, None])
    assert_allclose(given.gradient(x[None]), F.gradient(x[None]), rtol=1e-12)
    end = wf.run(wf.Potential(F), wf.Point([0.0, 0.0]), dt=0.5, steps=200).final.x
    assert_allclose(end, np.linalg.lstsq(X, y)[0], atol=1e-9)


def test_mini_batches_are_noise_of_the_right_mean_and_size():
    """f = mean (x - aᵢ)²/2: one step from 0 is dt times the mean of a batch; 200 seeds against mean and variance."""
    data = np.array([-1.0, 0.0, 4.0])
    F = wf.Potential(wf.FiniteSum(lambda x, a: 0.5 * (x[0] - a) ** 2, data))
    for size in (1, 4):
        steps = [
            wf.run(F, wf.Point([0.0]), dt=0.1, steps=1, rng=seed, stepper=MiniBatch(size), save="ends").final.x[0]
            for seed in range(200)
        ]
        draws = np.array(steps) / 0.1
        spread = data.var() / size
        assert abs(draws.mean() - 1.0) < 4 * np.sqrt(spread / 200)
        assert abs(draws.var() / spread - 1) < 4 * np.sqrt(3 / 200)


def test_stationary_cloud_of_stochastic_descent():
    """dt s²/(h (2 - dt h)) with h = 1, s² = 14/3, from 2000 steps; the same bits from the same seed."""
    data = np.array([-1.0, 0.0, 4.0])
    F = wf.Potential(wf.FiniteSum(lambda x, a: 0.5 * (x[0] - a) ** 2, data, grad=lambda x, a: (x[0] - a)[:, None]))
    run = [wf.run(F, wf.Point([1.0]), dt=0.2, steps=2000, rng=7, stepper=MiniBatch(), save="all") for _ in range(2)]
    x = np.array([s.x[0] for s in run[0].states])[100:]
    assert_array_equal(run[0].final.x, run[1].final.x)
    expected = 0.2 * data.var() / (2 - 0.2)
    # Consecutive steps are correlated by 0.8: n of them count as n (1 - 0.64)/(1 + 0.64) for the variance.
    assert abs(x.var() / expected - 1) < 4 * np.sqrt(3 / (1900 * 0.22))
    assert abs(x.mean() - 1) < 4 * np.sqrt(expected / (1900 / 9))


def test_mini_batches_go_with_other_steppers():
    F, best = wf.Potential(wf.FiniteSum(loss, ROWS)), np.linalg.lstsq(ROWS[:, :2], ROWS[:, 2])[0]
    for stepper, rate in ((Adam(), 0.01), (Momentum(), 0.01), (Heun(), 0.05)):
        end = wf.run(F, wf.Point([2.0, 2.0]), dt=rate, steps=600, stepper=MiniBatch(8, stepper)).final.x
        assert np.linalg.norm(end - best) < 0.35


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wf.run(PLAIN + wf.L1(), START, dt=0.1, steps=1, stepper=Adam()), "ProximalGradient"),
        (lambda: wf.run(PLAIN + wf.L1(), START, dt=0.1, steps=1, stepper=LineSearch()), "ProximalGradient|exactly"),
        (lambda: wf.run(PLAIN + wf.L1(), START, dt=0.1, steps=1, metric=Newton()), "Euclidean"),
        (lambda: wf.run(PLAIN + wf.L1() + wf.Box(0, 1), START, dt=0.1, steps=1), "one of them"),
        (lambda: wf.run(wf.Potential("x") + wf.L1(), wf.Particles([[1.0]]), dt=0.1, steps=1), "Point"),
        (lambda: wf.minimize(PLAIN + wf.L1(), START), "not smooth"),
        (lambda: wf.L1(-1.0), "positive"),
        (lambda: wf.Box(1.0, 0.0), "lower"),
        (lambda: wf.Box("a", 0.0), "numbers"),
        (lambda: wf.Ball(0.0), "positive"),
        (lambda: MiniBatch(0), "size"),
        (lambda: MiniBatch(1, LineSearch()), "goes with"),
        (lambda: wf.run(PLAIN, START, dt=0.1, steps=1, stepper=MiniBatch()), "FiniteSum"),
        (lambda: wf.run(PLAIN, wf.Particles([[1.0, 2.0]]), dt=0.1, steps=1, stepper=MiniBatch()), "Point"),
        (lambda: wf.run(PLAIN, wf.Particles([[1.0, 2.0]]), dt=0.1, steps=1, stepper=ProximalGradient()), "Point"),
        (lambda: wf.FiniteSum(loss, []), "rows"),
        (lambda: wf.FiniteSum("x", [1.0]), "function"),
        (
            lambda: wf.run(wf.Potential(wf.FiniteSum(lambda x, a: 1.0 * x[0], ROWS)), START, dt=0.1, steps=1),
            "one number",
        ),
        (lambda: wf.Potential("x", inner="x"), "list"),
        (lambda: wf.run(wf.Potential("x + z", inner=["x", "y"]), START, dt=0.1, steps=1), "dimension"),
        (lambda: PLAIN.image([[1.0, 2.0]]), "inner"),
        (lambda: wf.Potential(derivatives.rowwise("x")), "function"),
        (lambda: wf.run(wf.Potential(derivatives.rowwise(lambda x: x)), START, dt=0.1, steps=1), "one number"),
        (lambda: wf.run(wf.Potential("-x**2"), wf.Point([1.0]), dt=0.1, steps=1, metric=Newton()), "would not descend"),
        (
            lambda: wf.run(PLAIN, START, dt=0.1, steps=1, metric=Natural(fisher=np.zeros((2, 2)))),
            "would not descend.*damping above",
        ),
        (lambda: wf.run(PLAIN, wf.Point([1.0, 0.0]), dt=0.1, steps=1, metric=Newton()), "smallest eigenvalue 0"),
        (lambda: wf.run(PLAIN, START, dt=0.1, steps=1, metric=Chart(["x", "y"], lambda y, near: y + 1)), "no inverse"),
        (
            lambda: wf.run(PLAIN, START, dt=0.1, steps=1, metric=Chart(["x", "y"], loss="x**2 + y**2")),
            "not the objective",
        ),
    ],
)
def test_bad_input_names_its_cause(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize(
    ("objective", "start", "rate", "status"),
    [
        (wf.Potential("x**2 + y**4"), START, 0.057, Status.NOT_FINITE),  # beyond 1/18
        (wf.Potential("log(x)"), wf.Point([0.5]), 1.0, Status.NOT_FINITE),  # leaves the domain
        (wf.Potential("sqrt(x)"), wf.Point([0.01]), 1.0, Status.NOT_FINITE),
    ],
)
def test_steps_too_long_and_objectives_that_end_say_so(objective, start, rate, status):
    with pytest.warns(RunWarning, match="not finite"):
        result = wf.run(objective, start, dt=rate, steps=500, save="all")
    assert result.status is status
    assert np.all(np.isfinite(result.final.x))


def test_metrics_that_end_within_a_run_say_so():
    """Newton's method runs from a convex part of a double well onto its hill."""
    with pytest.warns(RunWarning, match="would not descend"):
        result = wf.run(wf.Potential("(x**2 - 1)**2"), wf.Point([0.6]), dt=4.0, steps=20, metric=Newton(), save="all")
    assert result.status is Status.UNDEFINED
