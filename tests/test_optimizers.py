"""Optimizers on y(x) = (x0, x1²), L = |y|² from (3, 3): printed tables, closed forms, conventions, line searches."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import wflow as wf
from wflow.errors import InputError, RunWarning, Status
from wflow.flows import make_flow
from wflow.metrics import Chart, Natural, Newton, Norm
from wflow.steppers import (
    OPTIMIZERS,
    AdaGrad,
    Adam,
    Heun,
    ImplicitEuler,
    LineSearch,
    Momentum,
    Nesterov,
    NormalizedGradient,
    RMSProp,
)

F, START = wf.Potential("x**2 + y**4"), wf.Point([3.0, 3.0])
MAP, LOSS = ("x", "y**2"), "x**2 + y**2"
K = np.arange(11)
PG = np.stack([3 * 0.7**K, 3 * 0.7 ** (K / 2)], axis=1)
PRINTED = """2.1 2.5099802 | 1.4699999 2.1000001 | 1.0289999 1.7569861 | .72029996 1.47 | .50421 1.2298902 |
.352947 1.029 | .24706289 .86092323 | .17294402 .7203 | .12106082 .60264623 | .08474258 .50421"""
NUMERIC = """2.09999967 2.50998022 | 1.46999859 2.10000011 | 1.02899871 1.75698602 | .72029824 1.4699998 |
.50420733 1.22988982 | .35294448 1.02899957 | .24705997 .86092355 | .17294205 .72030026 | .12106103 .60264817 |
.08474171 .50421247"""


def table(text):
    return np.array([[float(v) for v in row.split()] for row in text.split("|")])


def iterates(steps=10, start=START, objective=F, **arguments):
    result = wf.run(objective, start, steps=steps, save="all", **arguments)
    return np.array([s.x for s in result.states])


def positive_root(y, near):
    return np.array([y[0], np.copysign(np.sqrt(y[1]), near[1])])


def scipy_inverse(y, near):
    """The published inverse: SciPy's L-BFGS-B as it comes, gradients by differences."""
    return minimize(lambda x: np.sum((np.array([x[0], x[1] ** 2]) - y) ** 2), near, method="L-BFGS-B").x


@pytest.mark.checklist("P7", "P12", "P15", "P18")
@pytest.mark.parametrize("inverse", [None, positive_root], ids=["numerical", "given"])
@pytest.mark.parametrize("loss", [None, LOSS], ids=["chain-rule", "loss"])
def test_the_inverse_simulator_table(inverse, loss):
    found = iterates(dt=0.3, metric=Chart(MAP, inverse, loss))
    assert_allclose(found, PG, rtol=1e-13)
    assert_allclose(found[1:], table(PRINTED), rtol=3e-7)
    assert_allclose(np.linalg.norm(found[-1]), 0.511282, atol=1e-6)
    # In y the way is straight.
    assert_allclose(found ** np.array([1, 2]), 0.7 ** K[:, None] * [3.0, 9.0], rtol=1e-12)


@pytest.mark.checklist("P12")
def test_only_the_inverse_simulator_goes_straight_in_y():
    def bend(x):
        y = x ** np.array([1, 2])
        return np.ptp(y[:, 1] / y[:, 0])

    assert bend(iterates(dt=0.3, metric=Chart(MAP))) < 1e-12
    assert bend(iterates(dt=0.01)) > 1
    assert bend(iterates(dt=1 / 3, metric=Newton())) > 1


@pytest.mark.checklist("P8", "P16")
def test_first_step_of_the_inverse_simulator():
    step = 3 - iterates(1, dt=0.3, metric=Chart(MAP))[1]
    assert_allclose([step.sum() / np.linalg.norm(step), np.linalg.norm(step)], [1.356443, 1.0247534], atol=5e-7)


@pytest.mark.checklist("P9")
def test_numerical_inverse_of_scipy():
    target, near = np.array([2.0, 2.0]), np.array([3.0, 3.0])
    assert_allclose(scipy_inverse(target, near), [2.00000003, 1.41421353], atol=2e-8)
    chart = Chart(MAP)
    there = chart.move(START, target - chart.image(START.x), 1.0).x
    assert_allclose(there, [2.0, np.sqrt(2.0)], rtol=1e-15)


@pytest.mark.checklist("P10", "P11")
def test_the_inverse_simulator_with_the_published_numerical_inverse():
    found = iterates(dt=0.3, metric=Chart(MAP, scipy_inverse))
    assert_allclose(found[1:], table(NUMERIC), atol=1e-6)
    # The start, without error, counts in the published mean.
    assert_allclose(np.mean(np.abs(found - PG)), 9.94e-7, rtol=1e-3)


@pytest.mark.checklist("P13")
def test_the_map_bends_the_step_of_gradient_descent():
    chart, slope = Chart(MAP), np.array([6.0, 108.0])
    jacobian = chart.jacobian(START.x)
    predicted = chart.image(START.x) - 0.01 * jacobian @ slope
    actual = chart.image(iterates(1, dt=0.01)[1])
    assert_allclose(predicted, [2.94, 2.52], rtol=1e-14)
    assert_allclose(actual, [2.94, 3.6864], rtol=1e-14)
    assert_allclose(actual - predicted, [0, 1.1664], atol=1e-14)


@pytest.mark.checklist("P17")
def test_invariance_of_newton_and_of_the_inverse_simulator():
    """x = s ξ: iterates of Newton and the chart scale along, descent's do not. y = r η: the chart's do."""
    scaled, start = wf.Potential("(5*x)**2 + (y/4)**4"), wf.Point([3 / 5, 12.0])
    back = np.array([5.0, 0.25])
    assert_allclose(iterates(dt=1 / 3, objective=scaled, start=start, metric=Newton()) * back,
                    iterates(dt=1 / 3, metric=Newton()), rtol=1e-12)  # fmt: skip
    assert_allclose(
        iterates(dt=0.3, objective=scaled, start=start, metric=Chart(("5*x", "(y/4)**2"))) * back, PG, rtol=1e-12
    )
    assert_allclose(iterates(dt=0.3, metric=Chart(("7*x", "y**2/3"))), PG, rtol=1e-12)
    descent = iterates(3, dt=1e-3, objective=scaled, start=start) * back
    assert np.abs(descent - iterates(3, dt=1e-3)).max() > 0.1


@pytest.mark.checklist("P18")
def test_another_map_and_loss():
    """L = |y - (1, 2)|² in y = (e^x, x + z³): after k steps y = c + (y0 - c) 0.5^k."""
    fields = ("exp(x)", "x + y**3")
    objective, start = wf.Potential("(exp(x) - 1)**2 + (x + y**3 - 2)**2"), wf.Point([0.5, 1.5])
    found = iterates(8, dt=0.5, objective=objective, start=start, metric=Chart(fields))
    y = np.stack([np.exp(found[:, 0]), found[:, 0] + found[:, 1] ** 3], axis=1)
    assert_allclose(y, [1, 2] + (y[0] - [1, 2]) * 0.5 ** np.arange(9)[:, None], rtol=1e-11)


@pytest.mark.checklist("P20")
def test_limits_of_the_steps():
    """Descent is stable up to η = 1/(2·3²) = 1/18; Newton at η = 1 is linear in x1; the inverse simulator is exact."""
    good = wf.run(F, START, dt=0.055, steps=400)
    assert good.status is Status.COMPLETE
    assert abs(good.final.x[1]) < 0.1
    with pytest.warns(RunWarning, match="not finite"):
        bad = wf.run(F, START, dt=0.056, steps=400, save="all")
    assert bad.status is Status.NOT_FINITE
    assert np.all(np.isfinite(bad.final.x))
    assert_allclose(iterates(5, dt=1.0, metric=Newton())[1:, 1], 3 * (2 / 3) ** K[1:6], rtol=1e-13)
    assert_allclose(iterates(1, dt=1.0, metric=Chart(MAP, positive_root))[1], 0, atol=1e-15)
    assert_allclose(iterates(3, dt=1.0, metric=Chart(MAP))[-1], 0, atol=1e-6)


@pytest.mark.checklist("P21")
def test_gauss_newton_is_the_pulled_back_metric():
    """Jᵀ H_L J in x: (.08474257, .59062321) at η = 0.3, and the same flow as the chart's for η -> 0."""
    pulled = Natural(fisher=lambda x: 2 * np.diag([1.0, 4 * x[1] ** 2]))
    assert_allclose(iterates(dt=0.3, metric=pulled)[-1], [0.08474257, 0.59062321], atol=5e-9)
    gaps = []
    for n in (40, 80, 160):
        ends = [iterates(n, dt=1 / n, metric=m)[-1] for m in (pulled, Chart(MAP))]
        gaps.append(np.abs(ends[0] - ends[1]).max())
    assert_allclose(np.diff(np.log2(gaps)), -1, atol=0.1)


@pytest.mark.checklist("P19")
@pytest.mark.parametrize(
    ("stepper", "rate", "expected"),
    [
        (Adam(), 0.3, (0.22874746, 0.62958598)),
        (AdaGrad(), 0.75, (0.438711, 1.21060151)),
        (RMSProp(), 0.075, (0.42382799, 1.20028767)),
        (Momentum(), 0.01, (0.92135928, 0.13378911)),
        (Nesterov(), 0.01, (0.78944578, -0.70170995)),
        (NormalizedGradient(), 0.3, (1.72905859, 0.59251568)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_pytorch_conventions(stepper, rate, expected):
    assert_allclose(iterates(dt=rate, stepper=stepper)[-1], expected, atol=6e-9)


@pytest.mark.checklist("P19")
def test_sign_descent():
    assert_allclose(iterates(dt=0.3, metric=Norm(np.inf))[-1], 0, atol=1e-15)


def test_damped_momentum_and_one_coordinate_of_adam():
    """Against the formulas, by hand, on x²/2: g = x."""
    V, x, v = wf.Potential("x**2/2"), 1.0, 1.0
    for k in range(4):
        v = x if k == 0 else 0.8 * v + 0.7 * x
        x -= 0.1 * v
    assert_allclose(wf.run(V, wf.Point([1.0]), dt=0.1, steps=4, stepper=Momentum(0.8, 0.3)).final.x, x, rtol=1e-14)
    x, m, s = 1.0, 0.0, 0.0
    for k in range(1, 5):
        m, s = 0.5 * m + 0.5 * x, 0.75 * s + 0.25 * x * x
        x -= 0.1 * (m / (1 - 0.5**k)) / (np.sqrt(s / (1 - 0.75**k)) + 0.01)
    found = wf.run(V, wf.Point([1.0]), dt=0.1, steps=4, stepper=Adam((0.5, 0.75), 0.01)).final.x
    assert_allclose(found, x, rtol=1e-14)


@pytest.mark.checklist("G27")
def test_momentum_is_a_second_order_flow():
    """μ = 1 - γ√dt: x'' = -x - γ x' in the time k √dt."""
    gamma, errors = 0.5, []
    for n in (200, 400, 800):
        step = 4.0 / n
        found = wf.run(wf.Potential("x**2/2"), wf.Point([1.0]), dt=step**2, steps=n, stepper=Momentum(1 - gamma * step))
        w = np.sqrt(1 - gamma**2 / 4)
        exact = np.exp(-gamma * 2.0) * (np.cos(4 * w) + gamma / 2 / w * np.sin(4 * w))
        errors.append(abs(found.final.x[0] - exact))
    assert_allclose(np.diff(np.log2(errors)), -1, atol=0.1)


@pytest.mark.checklist("G6")
def test_normalized_steps_have_one_length_and_end_in_a_two_cycle():
    V = wf.Potential("(x**2 + y**2)/2")
    found = iterates(20, dt=0.3, objective=V, stepper=NormalizedGradient())
    assert_allclose(np.linalg.norm(np.diff(found, axis=0), axis=1), 0.3, rtol=1e-13)
    sizes = np.linalg.norm(found, axis=1)
    assert_allclose(sizes[[1, 2, 14, 15, 16, 17]], [3.94264, 3.64264, 0.04264, 0.25736, 0.04264, 0.25736], atol=1e-5)
    # The flow arrives at t = |x0|.
    fine = iterates(424, dt=0.01, objective=V, stepper=NormalizedGradient())
    assert np.linalg.norm(fine[-1]) < 0.01


def test_a_normalized_step_of_a_cloud_is_a_wasserstein_distance():
    cloud = wf.Particles([[1.0, 0.0], [2.0, 1.0], [-1.0, 3.0]], [1, 2, 3])
    moved = wf.run(wf.Potential("x**2 + y**4"), cloud, dt=0.05, steps=1, stepper=NormalizedGradient()).final
    assert_allclose(wf.wasserstein2(cloud, moved), 0.05, rtol=1e-9)
    assert_allclose(iterates(2, dt=0.1, start=wf.Point([0.0, 0.0]), stepper=NormalizedGradient()), 0)


@pytest.mark.checklist("D7")
def test_exact_line_search():
    result = wf.run(F, START, dt=0.01, steps=10, stepper=LineSearch("exact"), save="all")
    assert_allclose(result.steps["length"][0], 0.0317346907, atol=1e-10)
    x = np.array([s.x for s in result.states])
    assert_allclose(x[1], [2.80959186, -0.42734659], atol=1e-8)
    assert_allclose(result.diagnostics["energy"][1], 7.92715833, atol=1e-8)
    slopes = F.field.gradient(x)
    across = np.sum(slopes[1:] * slopes[:-1], axis=1) / np.prod(
        np.linalg.norm(slopes, axis=1)[[range(10), range(1, 11)]], axis=0
    )
    assert np.abs(across[:3]).max() < 1e-12


@pytest.mark.checklist("D7")
def test_line_search_on_a_grid_of_lengths():
    found = iterates(dt=0.01, stepper=LineSearch("grid", (1e-4, 1e-3, 1e-2, 1e-1, 1.0)))
    assert_allclose(found[-1], [0.3946001, -0.3315841], atol=1e-7)


@pytest.mark.checklist("D8")
@pytest.mark.parametrize("search", ["backtracking", "exact", "strong-wolfe"])
def test_line_searches_descend_to_a_small_gradient(search):
    V = wf.Potential("x**2 + 3*y**2 + x**4")

    def small(time, state):
        return np.linalg.norm(V.field.gradient(state.x[None])) < 1e-6

    result = wf.run(V, START, dt=1.0, steps=300, stepper=LineSearch(search), save="all", stop=small)
    assert result.status is Status.STOPPED
    energy = result.diagnostics["energy"]
    assert np.all(np.diff(energy) < 0)
    assert np.all(result.steps["length"] > 0)


def test_the_strong_wolfe_conditions_hold():
    result = wf.run(F, START, dt=0.01, steps=8, stepper=LineSearch("strong-wolfe"), save="all")
    x = np.array([s.x for s in result.states])
    f, g, length = F.field.value(x), F.field.gradient(x), result.steps["length"]
    slope, after = -np.sum(g[:-1] ** 2, axis=1), -np.sum(g[1:] * g[:-1], axis=1)
    assert np.all(f[1:] <= f[:-1] + 1e-4 * length * slope)
    assert np.all(np.abs(after) <= 0.9 * np.abs(slope))


def test_line_search_along_other_directions_and_states():
    newton = wf.run(
        wf.Potential("(x - 1)**2 + 40*y**2"), START, dt=0.3, steps=1, metric=Newton(), stepper=LineSearch("exact")
    )
    assert_allclose(newton.final.x, [1, 0], atol=1e-7)
    chart = wf.run(F, START, dt=0.05, steps=1, metric=Chart(MAP), stepper=LineSearch("exact"))
    assert np.abs(chart.final.x).max() < 1e-3
    KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
    gauss = wf.run(KL, wf.Gaussian([1.0], 4.0), dt=0.5, steps=15, stepper=LineSearch("exact"))
    assert_allclose([gauss.final.mean[0], gauss.final.cov[0, 0]], [0, 1], atol=1e-6)
    cloud = wf.Particles([[1.0], [3.0]], [3, 1])
    one = wf.run(wf.Potential("x**2/2"), cloud, dt=0.1, steps=1, stepper=LineSearch("exact"))
    assert_allclose(one.final.positions, 0, atol=1e-14)


def test_line_search_says_why_it_stops():
    with pytest.warns(RunWarning, match="solver"):
        result = wf.run(wf.Potential("x"), wf.Point([0.0]), dt=1.0, steps=3, stepper=LineSearch("exact"))
    assert result.status is Status.SOLVER_FAILED
    still = wf.run(wf.Potential("x**2"), wf.Point([0.0]), dt=1.0, steps=3, stepper=LineSearch())
    assert still.status is Status.COMPLETE
    assert still.final.x[0] == 0


@pytest.mark.parametrize("stepper", [s for s in OPTIMIZERS if s is not LineSearch], ids=lambda s: s.__name__)
def test_optimizers_move_clouds_and_gaussians(stepper):
    """Equal particles move alike, as the point; a Gaussian of KL comes nearer to its target."""
    V = wf.Potential("x**2 + y**4")
    cloud = wf.run(V, wf.Particles([[1.0, 2.0], [1.0, 2.0]]), dt=0.01, steps=5, stepper=stepper()).final.positions
    assert_allclose(
        cloud, np.broadcast_to(iterates(5, dt=0.01, start=wf.Point([1.0, 2.0]), stepper=stepper())[-1], (2, 2))
    )
    KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
    start = wf.Gaussian([1.0], 4.0)
    end = wf.run(KL, start, dt=0.01, steps=40, stepper=stepper()).final
    assert make_flow(KL, end).energy(0.0, end) < 0.9 * make_flow(KL, start).energy(0.0, start)


@pytest.mark.parametrize("stepper", OPTIMIZERS, ids=lambda s: s.__name__)
def test_optimizers_refuse_densities(stepper):
    q = wf.Density(wf.Grid(-2, 2, 8), lambda x: np.ones(len(x)))
    with pytest.raises(InputError, match="density"):
        wf.run(wf.Entropy(), q, dt=1e-3, steps=1, stepper=stepper())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Momentum(1.0), lambda: Momentum(0.9, -0.1), lambda: Nesterov(-1.0), lambda: Adam((0.9, 1.0)),
        lambda: Adam(0.9), lambda: Adam(eps=0.0), lambda: AdaGrad(0.0), lambda: RMSProp(1.0),
        lambda: LineSearch("exat"), lambda: LineSearch("grid", ()), lambda: LineSearch("grid", (0.1, -1.0)),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_line_search_refuses_what_it_cannot_search():
    with pytest.raises(InputError, match="exactly"):
        wf.run(F, START, dt=0.1, steps=1, drift=["1", "0"], stepper=LineSearch())
    with pytest.raises(InputError, match="backtracking"):
        wf.run(F, START, dt=0.1, steps=1, metric=Newton(), stepper=LineSearch("strong-wolfe"))


def test_a_bad_start_is_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match="damping above"):
        wf.run(
            wf.Potential("-x**2"),
            wf.Point([1.0]),
            dt=0.1,
            steps=1,
            metric=Newton(),
            stepper=Adam(),
            out=tmp_path / "a.h5",
        )
    assert not list(tmp_path.iterdir())


def test_curved_metrics_take_explicit_steppers_only():
    for stepper in (ImplicitEuler(), wf.steppers.TRBDF2(), wf.steppers.RKL2()):
        with pytest.raises(InputError, match="explicit"):
            wf.run(F, START, dt=0.1, steps=1, metric=Chart(MAP), stepper=stepper)
    with pytest.raises(InputError, match="drift"):
        wf.run(F, START, dt=0.1, steps=1, metric=Chart(MAP), drift=["1", "0"])


def test_heun_has_its_order_in_the_chart():
    """dy/dt = -y: one step multiplies y by 1 - h + h²/2, whatever the map."""
    found = iterates(4, dt=0.3, metric=Chart(MAP), stepper=Heun())
    factor = (1 - 0.3 + 0.045) ** np.arange(5)
    assert_allclose(found ** np.array([1, 2]), factor[:, None] * [3, 9], rtol=1e-13)


def test_branches_of_the_inverse():
    below = wf.Point([3.0, -3.0])
    for inverse in (None, positive_root):
        assert_allclose(iterates(1, dt=0.3, start=below, metric=Chart(MAP, inverse))[1], [2.1, -2.50998008], atol=1e-8)
    plus = Chart(MAP, lambda y: np.array([y[0], np.sqrt(y[1])]))
    assert_allclose(iterates(1, dt=0.3, metric=plus)[1], [2.1, 2.50998008], atol=1e-8)
    with pytest.raises(InputError, match="another branch"):
        wf.run(F, below, dt=0.3, steps=1, metric=plus)
    with pytest.raises(InputError, match="no inverse"):
        wf.run(F, START, dt=0.3, steps=1, metric=Chart(MAP, lambda y: y))
