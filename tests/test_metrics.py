"""Metrics: directions, ways to move, their orders under explicit steppers, and what they refuse."""

import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import wflow as wf
from wflow.derivatives import hessian
from wflow.errors import InputError, RunWarning, Status
from wflow.flows import make_flow
from wflow.metrics import METRICS, Chart, Euclidean, Mirror, Natural, Newton, Norm, Preconditioned, Wasserstein
from wflow.steppers import SSPRK3, ExplicitEuler, Heun

V = wf.Potential("x**2 + y**2/2 + x*y/3 + x**4/4")
START = wf.Point([1.0, 0.7])
SPD = np.array([[2.0, 0.5], [0.5, 1.0]])
SIMPLEX = wf.Potential("x*log(x/0.2) + y*log(y/0.3) + z*log(z/0.5)")
INNER = wf.Point([0.6, 0.3, 0.1])


def direction(metric, gradient, x=(1.0, 2.0)):
    return metric.direction(wf.Point(x), np.asarray(gradient, float), lambda: np.eye(len(gradient)))


@pytest.mark.checklist("G5", "G7", "D6")
@pytest.mark.parametrize(
    ("metric", "norm", "dual"),
    [
        (Norm(2), lambda u: np.linalg.norm(u, 2, axis=-1), lambda g: np.linalg.norm(g)),
        (Norm(1), lambda u: np.linalg.norm(u, 1, axis=-1), lambda g: np.abs(g).max()),
        (Norm(np.inf), lambda u: np.linalg.norm(u, np.inf, axis=-1), lambda g: np.abs(g).sum()),
        (Norm(3.0), lambda u: np.linalg.norm(u, 3, axis=-1), lambda g: np.linalg.norm(g, 1.5)),
    ],
    ids=["l2", "l1", "linf", "l3"],
)
def test_norms_minimise_the_linear_model_on_their_unit_ball(metric, norm, dual):
    """g·u over a fine sphere of the norm is never below g·direction = -|g|_dual."""
    angles = np.linspace(0, 2 * np.pi, 20_001)
    sphere = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    sphere /= norm(sphere)[:, None]
    for g in ([6.0, 108.0], [-3.0, 4.0], [1.0, -1e-3], [-2.0, 0.0]):
        u = direction(metric, g)
        assert_allclose(norm(u), 1, rtol=1e-14)
        assert_allclose(g @ u, -dual(np.array(g)), rtol=1e-14)
        assert g @ u <= (sphere @ g).min() + 1e-12
        assert_allclose(g @ u, (sphere @ g).min(), rtol=1e-3)
    assert_allclose(direction(metric, [0.0, 0.0]), 0)


@pytest.mark.checklist("G7")
def test_directions_by_formula():
    g = np.array([3.0, -4.0])
    assert_allclose(direction(Norm(2.0), g), [-0.6, 0.8], rtol=1e-15)
    assert_allclose(direction(Norm(1), g), [0, 1])
    assert_allclose(direction(Norm(np.inf), g), [-1, 1])
    assert_allclose(direction(Preconditioned(SPD), g), -np.linalg.solve(SPD, g), rtol=1e-14)
    assert_allclose(direction(Preconditioned([2.0, 4.0]), g), [-1.5, 1.0], rtol=1e-15)
    hessian = np.array([[-1.0, 0.0], [0.0, 2.0]])
    assert_allclose(Newton(3.0).direction(START, g, lambda: hessian), [-1.5, 0.8], rtol=1e-15)


@pytest.mark.checklist("G7")
def test_a_weighted_norm_is_minimised_by_its_preconditioned_direction():
    g = np.array([1.0, -2.0])
    u = direction(Preconditioned(SPD), g)
    u /= np.sqrt(u @ SPD @ u)
    angles = np.linspace(0, 2 * np.pi, 20_001)
    ball = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ball /= np.sqrt(np.einsum("ni,ij,nj->n", ball, SPD, ball))[:, None]
    assert g @ u <= (ball @ g).min()
    assert_allclose(g @ u, (ball @ g).min(), rtol=1e-6)


@pytest.mark.checklist("G10", "G11")
def test_natural_gradient_of_gaussians_in_mean_and_deviation():
    """KL(N(μ, σ²) | N(0, 1)): Fisher diag(1/σ², 2/σ²), the Hessian of KL at itself; one step to (0.6, 1.7)."""
    KL, start = wf.Potential("(x**2 + y**2 - 1)/2 - log(y)"), wf.Point([1.0, 2.0])
    itself = wf.Potential("log(2/2) + log(y) - log(2) + (4 + (x - 1)**2)/(2*y**2) - 1/2")
    assert_allclose(itself.field.value(start.x[None]), 0, atol=1e-15)
    assert_allclose(itself.field.gradient(start.x[None])[0], 0, atol=1e-15)
    assert_allclose(itself.field.hessian(start.x[None])[0], np.diag([0.25, 0.5]), atol=1e-14)
    expected = {"natural": (0.6, 1.7), "plain": (0.9, 1.85)}
    fisher = Natural(fisher=lambda x: np.diag([1.0, 2.0]) / x[1] ** 2)
    for metric, name in (
        (fisher, "natural"),
        (Natural(fisher=np.diag([0.25, 0.5])), "natural"),
        (Euclidean(), "plain"),
    ):
        end = wf.run(KL, start, dt=0.1, steps=1, metric=metric).final.x
        assert_allclose(end, expected[name], rtol=1e-14)


def test_fisher_from_samples():
    draw = np.random.default_rng(1).normal(size=200_000)

    def scores(x):
        z = draw  # standard normal: samples are x[0] + x[1] z
        return np.stack([z / x[1], (z**2 - 1) / x[1]], axis=1)

    found = Natural(scores=scores).information(np.array([1.0, 2.0]))
    assert_allclose(found, np.diag([0.25, 0.5]), atol=0.01)
    few = Natural(scores=lambda x: np.array([[1.0, 0.0]]), damping=0.5)
    assert_allclose(few.direction(START, np.array([3.0, 1.0]), np.array), [-2, -2], rtol=1e-15)


@pytest.mark.checklist("G10")
def test_the_natural_flow_does_not_depend_on_the_parameters():
    """(μ, σ) and (μ, log σ) with the same information: the same curve."""
    first = wf.run(
        wf.Potential("(x**2 + y**2 - 1)/2 - log(y)"), wf.Point([1.0, 2.0]), t_end=1.0, tol=1e-10,
        metric=Natural(fisher=lambda x: np.diag([1.0, 2.0]) / x[1] ** 2),
    ).final.x  # fmt: skip
    second = wf.run(
        wf.Potential("(x**2 + exp(2*y) - 1)/2 - y"), wf.Point([1.0, np.log(2)]), t_end=1.0, tol=1e-10,
        metric=Natural(fisher=lambda x: np.diag([np.exp(-2 * x[1]), 2.0])),
    ).final.x  # fmt: skip
    assert_allclose(first, [second[0], np.exp(second[1])], rtol=1e-7)
    assert_allclose(first, [0.1270143312, 1.1751778561], rtol=1e-7)


def kl_of_family(name, y, x):
    """KL(p(·|y) | p(·|x)) of one variable, or of three classes."""
    if name == "normal":
        return anp.log(x[1] / y[1]) + (y[1] ** 2 + (y[0] - x[0]) ** 2) / (2 * x[1] ** 2) - 0.5
    if name == "bernoulli":
        return y[0] * anp.log(y[0] / x[0]) + (1 - y[0]) * anp.log((1 - y[0]) / (1 - x[0]))
    if name == "poisson":
        return y[0] * anp.log(y[0] / x[0]) - y[0] + x[0]
    p, q = (anp.exp(z) / anp.sum(anp.exp(z)) for z in (y, x))
    return anp.sum(p * anp.log(p / q))


@pytest.mark.checklist("G10", "G11")
@pytest.mark.parametrize(
    ("name", "x"),
    [("normal", [1.0, 2.0]), ("bernoulli", [0.3]), ("poisson", [2.5]), ("categorical", [0.1, -0.4, 1.0])],
)
def test_families_have_the_hessian_of_their_divergence(name, x):
    """And KL is zero to first order, by differences."""
    x = np.array(x)
    found = Natural(fisher=name, damping=1e-9).information(x)
    assert_allclose(found, hessian(lambda y: kl_of_family(name, y, x))(x), atol=1e-12)
    for unit in np.eye(x.size):
        slope = (kl_of_family(name, x + 1e-5 * unit, x) - kl_of_family(name, x - 1e-5 * unit, x)) / 2e-5
        assert abs(slope) < 1e-8


def test_natural_steps_in_named_families():
    KL = wf.Potential("(x**2 + y**2 - 1)/2 - log(y)")
    end = wf.run(KL, wf.Point([1.0, 2.0]), dt=0.1, steps=1, metric=Natural(fisher="normal")).final.x
    assert_allclose(end, [0.6, 1.7], rtol=1e-14)
    classes = wf.Potential("log(exp(x) + exp(y) + exp(z)) - x")
    with pytest.raises(InputError, match="damping above"):
        wf.run(classes, wf.Point([0.0, 0.0, 0.0]), dt=0.1, steps=1, metric=Natural(fisher="categorical"))
    damped = Natural(fisher="categorical", damping=1e-3)
    result = wf.run(classes, wf.Point([0.0, 0.0, 0.0]), dt=0.1, steps=20, metric=damped, save="all")
    assert np.all(np.diff(result.diagnostics["energy"]) < 0)
    for bad in ("gaussian", "norml"):
        with pytest.raises(InputError, match="unknown family"):
            Natural(fisher=bad)
    with pytest.raises(InputError, match="deviation for each"):
        wf.run(wf.Potential("x**2"), wf.Point([1.0]), dt=0.1, steps=1, metric=Natural(fisher="normal"))
    with pytest.warns(RunWarning, match="left the family"):
        wf.run(wf.Potential("y"), wf.Point([0.0, 1.0]), dt=3.0, steps=3, metric=Natural(fisher="normal"))


def cubic_inverse(y, near):
    return np.array([y[0] - np.log(y[1]) ** 3, np.log(y[1])])


FINE = {}


def fine_end(objective, metric):
    """Where the flow leads, once for all steppers."""
    if id(metric) not in FINE:
        arguments = {"dt": 0.3 / 400, "steps": 400, "metric": metric, "stepper": SSPRK3(), "save": "ends"}
        FINE[id(metric)] = wf.run(objective, START, **arguments).final.x
    return FINE[id(metric)]


@pytest.mark.parametrize(
    "metric",
    [
        Euclidean(), Newton(), Newton(0.5), Preconditioned(SPD), Natural(fisher=lambda x: SPD * (1 + x @ x)),
        Norm(2.0), Norm(4.0), Chart(("x + y**3", "exp(y)"), cubic_inverse), Mirror("x**4/4 + x**2 + y**2"),
        Chart(("x + y**3", "exp(y)")), Natural(fisher="normal"), Natural(scores=lambda x: np.eye(2) * (1 + x @ x)),
        Wasserstein(),
    ],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
@pytest.mark.parametrize("stepper", [ExplicitEuler, Heun], ids=lambda s: s.__name__)
def test_order_in_time_in_every_metric(stepper, metric):
    objective = wf.Potential("(x + y**3)**2 + exp(y)**2") if isinstance(metric, Chart) else V
    fine, errors = fine_end(objective, metric), []
    for steps in (32, 64):
        end = wf.run(
            objective, START, dt=0.3 / steps, steps=steps, metric=metric, stepper=stepper(), save="ends"
        ).final.x
        errors.append(np.abs(end - fine).max())
    assert abs(np.log2(errors[0] / errors[1]) - stepper.order) < 0.1


def test_the_metrics_above_are_all_that_are_defined_on_points():
    """The others, on densities and clouds, are followed in test_reaction.py and test_svgd.py."""
    marks = {mark.name: mark for mark in test_order_in_time_in_every_metric.pytestmark if mark.args[0] == "metric"}
    seen = {type(metric) for metric in marks["parametrize"].args[1]}
    assert set(METRICS) - seen == {wf.metrics.Stein, wf.metrics.FisherRao, wf.metrics.WassersteinFisherRao}


@pytest.mark.checklist("G3")
@pytest.mark.parametrize(
    "metric", [Newton(1.0), Preconditioned(SPD), Norm(3.0), Mirror("x**4/4 + x**2 + y**2"), Chart(("x", "y + x**2"))],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_the_energy_falls_by_what_is_dissipated(metric):
    flow, h = make_flow(V, START, metric), 1e-5
    up = flow.move(START, flow.rate(0.0, START), h)
    down = flow.move(START, flow.rate(0.0, START), -h)
    slope = (flow.energy(0.0, up) - flow.energy(0.0, down)) / (2 * h)
    assert_allclose(flow.dissipation(0.0, START), -slope, rtol=1e-8)
    # `velocity` is the derivative of `move`.
    there = metric.velocity(START, flow.rate(0.0, START))
    assert_allclose((up.x - down.x) / (2 * h), there, rtol=1e-8)


def test_entropic_mirror_descent_on_the_simplex():
    """The flow of KL(x | p) in the entropy's metric: log x - log p decays as e^-t up to scale; one step by formula."""
    p, x = np.array([0.2, 0.3, 0.5]), INNER.x
    end = wf.run(SIMPLEX, INNER, t_end=1.0, metric=Mirror(), tol=1e-10, save="ends").final.x
    weights = p * (x / p) ** np.exp(-1.0)
    assert_allclose(end, weights / weights.sum(), rtol=1e-7)
    step = wf.run(SIMPLEX, INNER, dt=0.7, steps=1, metric=Mirror()).final.x
    weights = x * np.exp(-0.7 * np.log(x / p))
    assert_allclose(step, weights / weights.sum(), rtol=1e-14)
    errors = []
    for n in (8, 16, 32):
        found = wf.run(SIMPLEX, INNER, dt=0.5 / n, steps=n, metric=Mirror(), stepper=Heun(), save="ends").final.x
        weights = p * (x / p) ** np.exp(-0.5)
        errors.append(np.abs(found - weights / weights.sum()).max())
    assert abs(np.log2(errors[1] / errors[2]) - 2) < 0.1


def test_mirror_steps_stay_on_the_simplex():
    result = wf.run(wf.Potential("3*x - y + 40*z"), INNER, dt=5.0, steps=50, metric=Mirror(), save="all")
    rows = np.array([s.x for s in result.states])
    assert rows.min() >= 0
    assert_allclose(rows.sum(axis=1), 1, rtol=1e-14)
    assert_allclose(rows[-1], [0, 1, 0], atol=1e-12)
    edge = wf.run(wf.Potential("-x"), wf.Point([0.0, 1.0]), dt=1.0, steps=3, metric=Mirror()).final.x
    assert_allclose(edge, [0, 1])


def test_mirror_with_a_square_is_preconditioned_and_inverses_agree():
    square = wf.run(V, START, dt=0.05, steps=5, metric=Mirror("(2*x**2 + x*y + y**2)/2")).final.x
    matrix = wf.run(V, START, dt=0.05, steps=5, metric=Preconditioned([[2.0, 0.5], [0.5, 1.0]])).final.x
    assert_allclose(square, matrix, rtol=1e-12)
    given = Mirror("x*log(x) + y*log(y)", inverse=lambda theta: np.exp(theta - 1))
    found = Mirror("x*log(x) + y*log(y)")
    ends = [wf.run(V, START, dt=0.05, steps=5, metric=m).final.x for m in (given, found)]
    assert_allclose(ends[0], ends[1], rtol=1e-12)
    assert_allclose(ends[0], START.x * np.exp(-0.05 * five_gradients(given)), rtol=1e-12)


def five_gradients(metric):
    states = wf.run(V, START, dt=0.05, steps=5, metric=metric, save="all").states[:-1]
    return sum(V.field.gradient(s.x[None])[0] for s in states)


def test_chart_takes_a_function_as_its_map():
    def bend(x):
        return np.stack([x[:, 0], x[:, 1]], axis=1) if isinstance(x, np.ndarray) else x ** np.array([1.0, 2.0])

    F, start = wf.Potential("x**2 + y**4"), wf.Point([3.0, 3.0])
    by_text = wf.run(F, start, dt=0.3, steps=3, metric=Chart(("x", "y**2"))).final.x
    by_code = wf.run(F, start, dt=0.3, steps=3, metric=Chart(lambda x: x ** np.array([1.0, 2.0]))).final.x
    assert_allclose(by_code, by_text, rtol=1e-12)
    with pytest.raises(InputError, match="autograd"):
        wf.run(F, start, dt=0.3, steps=3, metric=Chart(bend))


def test_what_is_refused_before_a_run():
    saddle = wf.Potential("x**2 - y**2")
    cases = [
        (saddle, START, Newton(), "does not descend"),
        (V, START, Preconditioned([1.0]), "dimension 1"),
        (V, START, Natural(fisher=np.diag([1.0, 0.0])), "damping above"),
        (V, START, Natural(fisher=lambda x: np.ones(3)), "shape"),
        (V, START, Natural(scores=lambda x: np.ones(3)), "shape"),
        (V, START, Natural(fisher=np.array([[1.0, 0.4], [0.0, 1.0]])), "symmetric"),
        (V, START, Natural(), "fisher="),
        (V, wf.Gaussian([0.0, 0.0], 1.0), Natural(fisher=SPD), "not on Gaussian"),
        (V, START, Mirror(), "simplex"),
        (V, START, Mirror("x**2 + y**2", inverse=lambda theta: theta), "no inverse"),
        (V, START, Chart(("x",)), "as many coordinates"),
        (V, START, Chart(("x", "x")), "singular"),
        (V, START, Chart(("x", "y"), loss="x**2 + y**2"), "not the objective's"),
        (V, START, Chart(("x", "y"), inverse=lambda y: y[:1]), "shape"),
        (saddle, START, Chart(("x", "y")), "would not descend"),
    ]
    for F, state, metric, words in cases:
        with pytest.raises(InputError, match=words):
            wf.run(F, state, dt=0.1, steps=1, metric=metric)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Newton(-1.0), lambda: Newton(np.nan), lambda: Norm(0.5), lambda: Norm("2"), lambda: Mirror("entropi"),
        lambda: Mirror("entropy", inverse=np.exp), lambda: Mirror("x**2", inverse=3), lambda: Chart("x"),
        lambda: Chart(3), lambda: Chart(("x", "y"), damping=-1.0),
        lambda: Chart(("x", "y"), inverse=3), lambda: Preconditioned([[1.0, 2.0], [2.0, 1.0]]),
        lambda: Preconditioned([[1.0, 0.2], [0.0, 1.0]]), lambda: Preconditioned(np.ones((2, 3))),
        lambda: Preconditioned(1.0),
        lambda: Natural(fisher=np.eye(2), scores=np.array), lambda: Natural(scores=3), lambda: Natural(damping=1.0),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_metric_that_fails_on_the_way_ends_the_run_with_a_status():
    """A chart whose range ends before the step does; Newton beyond its radius."""
    beyond = wf.Potential("(exp(x) + 1)**2")
    with pytest.warns(RunWarning, match="not defined"):
        result = wf.run(beyond, wf.Point([0.0]), dt=1.0, steps=3, metric=Chart(("exp(x)",)))
    assert result.status is Status.UNDEFINED
    assert len(result.times) == 1
    sharp = wf.Potential("sqrt(1 + x**2)")
    with pytest.warns(RunWarning):
        result = wf.run(sharp, wf.Point([2.0]), dt=1.0, steps=9, metric=Newton(), save="all")
    assert result.status is not Status.COMPLETE


def test_every_metric_is_listed_once():
    assert len(set(METRICS)) == len(METRICS)
    for metric in (Chart(("x", "y")), Mirror("x**2 + y**2")):
        assert not metric.flat
        assert not make_flow(V, START, metric).facts.flat
