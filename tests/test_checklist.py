"""Items of the checklist with printed numbers: optimizers compared, the proximal point, one-step formulas."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import wflow as wf
from wflow import exact
from wflow.flows import make_flow
from wflow.steppers import ExplicitEuler, ImplicitEuler

# y = (x0, x1²), L = |y|², from (3, 3).
L, START = wf.Potential("x**2 + y**4"), wf.Point([3.0, 3.0])
GD = """2.94 1.9200001 | 2.8812 1.6368846 | 2.823576 1.4614503 | 2.7671044 1.3365935 | 2.7117622 1.2410815 |
2.657527 1.1646168 | 2.6043763 1.1014326 | 2.5522888 1.0479842 | 2.501243 1.0019454 | 2.4512184 0.96171147"""
NEWTON = """2. 2.6666667 | 1.3333333 2.3703704 | .88888884 2.1069958 | .59259254 1.8728852 | .39506167 1.6647868 |
.26337445 1.4798105 | .17558296 1.315387 | .1170553 1.1692328 | .07803687 1.0393181 | .05202458 .92383826"""
KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))


def rows(text):
    return np.array([[float(v) for v in row.split()] for row in text.split("|")])


def iterates(**arguments):
    result = wf.run(L, START, steps=10, save="all", **arguments)
    return np.array([s.x for s in result.states[1:]])


def objective(x):
    return float(L.field.value(np.array([x]))[0])


@pytest.mark.checklist("P1", "P2", "P3", "P4")
def test_value_and_derivatives_at_the_start():
    assert_allclose([y.value(START.x[None])[0] for y in Y], [3, 9])
    assert wf.energy(L, START) == 90
    in_y = wf.Potential("x**2 + y**2").field.gradient(np.array([[3.0, 9.0]]))[0]
    assert_allclose(in_y, [6, 18])
    jacobian = np.stack([y.gradient(START.x[None])[0] for y in Y])
    assert_allclose(jacobian, [[1, 0], [0, 6]])
    assert_allclose(np.linalg.solve(jacobian, jacobian @ START.x), [3, 3])
    assert_allclose(L.field.gradient(START.x[None])[0], [6, 108])
    assert_allclose(jacobian.T @ in_y, [6, 108])


Y = tuple(wf.Potential(text).field for text in ("x", "y**2"))


@pytest.mark.checklist("P5", "P15", "G1")
def test_gradient_descent_table():
    found = iterates(dt=0.01)
    assert_allclose(found, rows(GD), rtol=1e-6)
    assert_allclose(found[:, 0], 3 * 0.98 ** np.arange(1, 11), rtol=1e-14)
    assert_allclose(np.linalg.norm(found[-1]), 2.633128, atol=1e-6)


@pytest.mark.checklist("P6", "P15")
def test_newton_table():
    found, k = iterates(dt=1 / 3, metric=wf.metrics.Newton()), np.arange(1, 11)
    assert_allclose(found, rows(NEWTON), rtol=1e-6)
    assert_allclose(found, np.stack([3 * (2 / 3) ** k, 3 * (8 / 9) ** k], axis=1), rtol=1e-13)
    assert_allclose(np.linalg.norm(found[-1]), 0.925302, atol=1e-6)


@pytest.mark.checklist("P8")
@pytest.mark.parametrize(
    ("metric", "diagonal"), [(None, 114 / np.hypot(6, 108)), (wf.metrics.Newton(), 4 / np.sqrt(10))]
)
def test_diagonal_length_of_the_first_update(metric, diagonal):
    """Its component along the diagonal towards 0: (|d0| + |d1|)/|d|."""
    step = wf.run(L, START, steps=1, dt=0.01, metric=metric).final.x - 3
    assert_allclose(np.abs(step).sum() / np.linalg.norm(step), diagonal, rtol=1e-10)
    assert round(diagonal, 6) in (1.05393, 1.264911)


@pytest.mark.checklist("G8")
def test_proximal_point_is_implicit_euler():
    """The printed iterates; the optimality condition; decrease for any step."""
    result = wf.run(L, START, dt=0.1, steps=10, stepper=ImplicitEuler(), save="all")
    assert_allclose(result.states[1].x, [2.5, 1.5397645], atol=5e-8)
    assert_allclose(result.states[10].x, [0.48451675, 0.40004384], atol=1e-8)
    assert_allclose(
        wf.run(L, START, dt=0.01, steps=1, stepper=ImplicitEuler()).final.x, [2.94117647, 2.42768356], atol=5e-9
    )
    for a in (1e-3, 0.1, 10.0, 1e4):
        x = wf.run(L, START, dt=a, steps=1, stepper=ImplicitEuler()).final.x
        assert_allclose((x - START.x) / a, -L.field.gradient(x[None])[0], rtol=1e-10, atol=1e-10)
        assert objective(x) + np.sum((x - START.x) ** 2) / (2 * a) <= objective(START.x)
        solved = make_flow(L, START).proximal(0.0, START, a, {})
        assert solved.converged
        assert_allclose(solved.state.x, x, rtol=1e-11)


@pytest.mark.checklist("G8")
def test_proximal_point_decreases_where_the_objective_is_not_convex():
    V = wf.Potential("(x**2 - 1)**2 + x/5")
    for a in (0.01, 0.3, 1.0, 100.0):
        for start in (-2.0, -0.05, 0.05, 0.6, 2.0):
            x = wf.run(V, wf.Point([start]), dt=a, steps=1, stepper=ImplicitEuler()).final
            moved = float((x.x[0] - start) ** 2) / (2 * a)
            assert wf.energy(V, x) + moved <= wf.energy(V, wf.Point([start])) + 1e-14


@pytest.mark.checklist("G9")
def test_the_linearised_proximal_step_is_gradient_descent():
    """argmin |x - x0|²/2a + f(x0) + ∇f·(x - x0); and the two differ by O(a²)."""
    slope = L.field.gradient(START.x[None])[0]
    model = wf.Potential(f"{slope[0]}*x + {slope[1]}*y")
    linear = wf.run(model, START, dt=0.01, steps=1, stepper=ImplicitEuler()).final.x
    assert_allclose(linear, wf.run(L, START, dt=0.01, steps=1).final.x, rtol=1e-14)
    gaps = []
    for a in (4e-4, 2e-4, 1e-4):
        one, other = (wf.run(L, START, dt=a, steps=1, stepper=s).final.x for s in (ExplicitEuler(), ImplicitEuler()))
        gaps.append(np.abs(one - other).max())
    assert abs(np.log2(gaps[1] / gaps[2]) - 2) < 0.1


@pytest.mark.checklist("G10", "G10b")
def test_natural_gradient_against_the_plain_one():
    """Per coordinate (mean, sd) at N(1, 4), step 0.1: natural (0.6, 1.7), plain (0.9, 1.85)."""
    q = wf.Gaussian([1.0], 4.0)
    for metric, expected in ((wf.metrics.Natural(), (0.6, 1.7)), (wf.metrics.Wasserstein(), (0.9, 1.85))):
        end = wf.run(KL, q, dt=0.1, steps=1, stepper=ExplicitEuler(), metric=metric).final
        assert_allclose([end.mean[0], end.cov[0, 0] ** 0.5], expected, rtol=1e-12)


@pytest.mark.checklist("G15")
def test_explicit_and_jko_steps_bracket_the_flow():
    q, a = wf.Gaussian([1.0], 4.0), 0.1
    explicit = wf.run(KL, q, dt=a, steps=1, stepper=ExplicitEuler()).final
    assert_allclose([explicit.mean[0], explicit.factor[0, 0]], exact.explicit_gaussian_step(1.0, 2.0, a), rtol=1e-12)
    jko = make_flow(KL, q).proximal(0.0, q, a, {}).state
    assert_allclose([jko.mean[0], jko.factor[0, 0]], [0.9090909091, 1.8668776139], atol=2e-10)
    assert_allclose([jko.mean[0], jko.factor[0, 0]], exact.jko_gaussian_step(1.0, 2.0, a), rtol=1e-11)
    flow = exact.gaussian_kl_wasserstein(1.0, 2.0, a)
    assert_allclose(flow, [0.9048374180, 1.8590837150], atol=1e-10)
    assert explicit.mean[0] < flow[0] < jko.mean[0]
    assert explicit.factor[0, 0] < flow[1] < jko.factor[0, 0]


@pytest.mark.checklist("G15")
def test_explicit_step_on_a_grid_is_the_formula():
    """q + a ∇·(q ∇ δF/δq): mean (1 - a) m exactly, second moment to the O(h²) of the flux."""
    grid, a = wf.Grid(-12, 14, 520), 5e-4
    q = wf.Density(grid, wf.Gaussian([1.0], 4.0))
    end = wf.run(KL, q, dt=a, steps=1, stepper=ExplicitEuler()).final
    assert_allclose((end.mean - q.mean) / a, -1.0, rtol=2e-3)
    assert_allclose((end.cov - q.cov) / a, -6.0, rtol=2e-3)


@pytest.mark.checklist("M3", "M2")
def test_kl_falls_at_twice_the_fisher_divergence():
    """N(1, 4) -> N(0, 1): dKL/dt = -3.25; KL(N(1,4) | N(0,1)) = 1.3068528194."""
    q = wf.Gaussian([1.0], 4.0)
    assert_allclose(wf.energy(KL, q), 1.3068528194, atol=1e-10)
    assert_allclose(make_flow(KL, q).dissipation(0.0, q), 3.25, rtol=1e-12)
    grid = wf.Density(wf.Grid(-15, 17, 1600), q)
    assert_allclose(make_flow(KL, grid).dissipation(0.0, grid), 3.25, rtol=1e-3)
