"""Energies of gradients on grids: Euler–Lagrange derivatives, closed flows of fourth order, and plain functions of the
cell averages differentiated by reverse mode."""

import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import xlogy

import wflow as wf
from wflow import exact
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.metrics import FisherRao
from wflow.steppers import TRBDF2, ImplicitEuler

TARGET = wf.Gaussian([0.3], 0.8)
ENERGIES = {
    "Dirichlet": wf.Dirichlet(),
    "Fisher information": wf.FisherInformation(),
    "relative Fisher information": wf.FisherInformation(TARGET),
    "sum": wf.Dirichlet() + 0.5 * wf.FisherInformation() + 0.3 * wf.Entropy() + wf.Potential("x**2"),
}


def bumps(grid, seed=0):
    return wf.Density(grid, np.random.default_rng(seed).uniform(0.5, 2.0, grid.cells))


@pytest.mark.checklist("G12", "G17")
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize("name", ENERGIES)
def test_the_derivative_is_that_of_the_discrete_energy(name, boundary):
    """d/de F[q + e φ] for random φ, by differences of order four."""
    grid = wf.Grid(-2, 2, 17, boundary)
    q = bumps(grid)
    flow = make_flow(ENERGIES[name], q)
    for seed in range(3):
        phi, h = np.random.default_rng(seed).standard_normal(grid.cells), 2e-4
        value = [flow.variation.energy(0.0, q.values + s * h * phi) for s in (-2, -1, 1, 2)]
        slope = (value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * h)
        assert_allclose(slope, np.sum(flow.variation.slope(0.0, q.values) * phi) * grid.volume, rtol=1e-8)


@pytest.mark.parametrize("name", ENERGIES)
def test_the_matrix_of_the_implicit_step_is_the_second_derivative(name):
    q = bumps(wf.Grid(-2, 2, 9))
    variation, h = make_flow(ENERGIES[name], q).variation, 1e-6
    moved = [[variation.slope(0.0, q.values + s * e) for s in (h, -h)] for e in np.eye(9)]
    columns = [(up - down) / (2 * h) for up, down in moved]
    found = variation.curvature(q.values).toarray()
    assert_allclose(found, np.stack(columns, axis=1), rtol=1e-6, atol=1e-6 * np.abs(found).max())


@pytest.mark.checklist("G12")
@pytest.mark.parametrize("name", ["Dirichlet", "Fisher information", "relative Fisher information"])
def test_euler_lagrange_derivatives_and_energies_of_a_gaussian_at_order_two(name):
    """-q'', -4 (√q)''/√q and its relative form; energies by hand for N(0, C), C = 0.5."""
    C, m, P = 0.5, 0.3, 0.8
    errors = []
    for cells in (40, 80, 160):
        grid = wf.Grid(-4, 4, cells)
        x = grid.centers[0]
        q = np.exp(-(x**2) / (2 * C)) / np.sqrt(2 * np.pi * C)
        pull = (x - m) / P - x / C  # (log q/p)'
        slope, energy = {
            "Dirichlet": (-q * (x**2 / C**2 - 1 / C), 1 / (8 * np.sqrt(np.pi) * C**1.5)),
            "Fisher information": (2 / C - x**2 / C**2, 1 / C),
            "relative Fisher information": (
                -2 * (1 / P - 1 / C) - pull**2 + 2 * pull * (x - m) / P, (1 / P - 1 / C) ** 2 * C + (m / P) ** 2,
            ),
        }[name]  # fmt: skip
        density = wf.Density(grid, q, normalize=False)
        flow = make_flow(ENERGIES[name], density)
        inside = np.abs(x) < 2
        gaps = np.abs(flow.variation.slope(0.0, q) - slope)[inside].max(), abs(flow.energy(0.0, density) - energy)
        errors.append(gaps)
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders[-1] - 2) < 0.1)


@pytest.mark.checklist("G12", "M3")
def test_relative_fisher_information_is_what_reverse_kl_loses():
    errors = []
    for cells in (50, 100, 200):
        q = wf.Density(wf.Grid(-5, 6, cells), wf.Gaussian([0.8], 0.5))
        lost = make_flow(wf.FDivergence("reverse-kl", TARGET), q).dissipation(0.0, q)
        errors.append(abs(lost - wf.energy(wf.FisherInformation(TARGET), q)))
    assert abs(np.log2(errors[1] / errors[2]) - 2) < 0.15
    assert wf.energy(wf.FisherInformation(TARGET), wf.Density(wf.Grid(-5, 6, 50), TARGET)) < 1e-20


@pytest.mark.checklist("G12")
def test_thin_film_against_its_self_similar_solution():
    """∂q/∂t = -(q q_xxx)_x with free boundaries, from a compact start: error, order, mass, sign and decay."""
    errors = []
    for cells in (30, 60):
        grid = wf.Grid(-5, 5, cells)
        start = wf.Density(grid, lambda x: exact.thin_film(x, 0.2))
        result = wf.run(wf.Dirichlet(), start, t_end=0.8, save=5)
        assert result.status is Status.COMPLETE
        assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
        assert result.diagnostics["minimum"].min() >= 0
        assert np.all(np.diff(result.steps["energy"]) < 0)
        errors.append(np.abs(result.final.values - exact.thin_film(grid.points(), 1.0)).sum() * grid.volume)
    assert np.log2(errors[0] / errors[1]) > 1.3
    assert errors[1] < 2e-3


@pytest.mark.checklist("G12")
@pytest.mark.parametrize("stepper", [TRBDF2(), ImplicitEuler()], ids=["TRBDF2", "ImplicitEuler"])
def test_quantum_drift_diffusion_of_a_gaussian(stepper):
    """Variance sqrt(C² + 8t), at an order near two in space, which the limiter holds down on coarse grids."""
    errors = []
    for cells in (50, 100):
        q = wf.Density(wf.Grid(-7, 7, cells), wf.Gaussian([0.0], 1.0))
        dt = None if stepper.adaptive else 1e-3
        T = 0.2 if stepper.adaptive else 0.02
        result = wf.run(wf.FisherInformation(), q, t_end=T, dt=dt, stepper=stepper, save=5, tol=1e-4)
        assert np.all(np.diff(result.steps["energy"]) < 0)
        errors.append(abs(result.final.cov[0, 0] - exact.quantum_variance(q.cov[0, 0], T)))
    if stepper.adaptive:
        assert np.log2(errors[0] / errors[1]) > 1.7
    assert errors[1] < 0.01


@pytest.mark.parametrize(("name", "order"), [("TRBDF2", 2), ("ImplicitEuler", 1)])
def test_order_in_time_of_a_fourth_order_flow(name, order):
    F, q = (
        wf.FisherInformation() + wf.Potential("x**2"),
        wf.Density(wf.Grid(-2, 2, 16), lambda x: 1.5 + np.sin(x[:, 0])),
    )
    stepper = {"TRBDF2": TRBDF2(), "ImplicitEuler": ImplicitEuler()}[name]
    fine = wf.run(F, q, dt=0.01 / 128, steps=128, stepper=TRBDF2(), save="ends").final.values
    errors = []
    for n in (8, 16, 32):
        end = wf.run(F, q, dt=0.01 / n, steps=n, stepper=stepper, save="ends").final
        errors.append(np.abs(end.values - fine).sum() * q.grid.volume)
    assert abs(np.log2(errors[1] / errors[2]) - order) < 0.15


def test_two_dimensions_and_rest():
    q = bumps(wf.Grid([-2, -2], [2, 2], (8, 6)))
    for F in (wf.Dirichlet(), wf.FisherInformation()):
        result = wf.run(F, q, t_end=0.2, tol=1e-2, save=3)
        assert result.status is Status.COMPLETE
        assert np.all(np.diff(result.steps["energy"]) <= 1e-13)
        assert_allclose(result.diagnostics["mass"], 1.0, atol=1e-13)
        flat = wf.Density(q.grid, np.ones(q.grid.cells))
        assert np.all(make_flow(F, flat).rate(0.0, flat) == 0)


def test_gradients_in_the_fisher_rao_metric():
    q = bumps(wf.Grid(-2, 2, 16))
    result = wf.run(wf.Dirichlet(), q, t_end=0.05, metric=FisherRao(), save="all")
    assert np.all(np.diff(result.diagnostics["energy"]) < 0)


def face_differences(q):
    return q[1:] - q[:-1]


@pytest.mark.checklist("G26")
@pytest.mark.parametrize("name", ["entropy", "power", "KL", "potential", "Dirichlet", "Fisher information"])
def test_a_plain_value_function_has_the_analytic_derivative(name):
    """δF/δq by reverse mode on the discrete value against the analytic one, to 1e-10; and the same flow."""
    grid = wf.Grid(-2, 2, 24)
    q, h, dx = bumps(grid), grid.volume, grid.spacing[0]
    p, x = wf.Density(grid, TARGET).values, grid.centers[0]
    plain, analytic = {
        "entropy": (lambda q: h * anp.sum(q * anp.log(q)), wf.Entropy()),
        "power": (lambda q: h * anp.sum(q**3) / 2, wf.PowerEntropy(3)),
        "KL": (lambda q: h * anp.sum(q * anp.log(q / p)), wf.FDivergence("reverse-kl", TARGET)),
        "potential": (lambda q: h * anp.sum(anp.sin(x) * q), wf.Potential("sin(x)")),
        "Dirichlet": (lambda q: h * anp.sum(face_differences(q) ** 2) / (2 * dx**2), wf.Dirichlet()),
        "Fisher information": (
            lambda q: 4 * h * anp.sum(face_differences(anp.sqrt(q)) ** 2) / dx**2, wf.FisherInformation(),
        ),
    }[name]  # fmt: skip
    one, other = make_flow(wf.ValueFunctional(plain), q), make_flow(analytic, q)
    assert_allclose(one.energy(0.0, q), other.energy(0.0, q), rtol=1e-12)
    slopes = [flow.variation.slope(0.0, q.values) for flow in (one, other)]
    assert_allclose(slopes[0], slopes[1], rtol=1e-10, atol=1e-10)


@pytest.mark.checklist("G26")
def test_the_flow_of_a_plain_value_function():
    """Of ∫ q² + V q, whose analytic form takes the same flux: the same run; of the entropy, the heat equation."""
    grid = wf.Grid(-2, 2, 12)
    q, h, x = bumps(grid), grid.volume, grid.centers[0]
    plain = wf.ValueFunctional(lambda q: h * anp.sum(q**2 + anp.sin(x) * q))
    end = wf.run(plain, q, t_end=0.05, tol=1e-4, save="ends").final
    other = wf.run(wf.PowerEntropy(2) + wf.Potential("sin(x)"), q, t_end=0.05, tol=1e-4, save="ends").final
    assert_allclose(end.values, other.values, atol=2e-4)
    heat = wf.ValueFunctional(lambda q: h * anp.sum(q * anp.log(q)))
    wave = wf.Density(grid, lambda x: 1 + np.sin(np.pi * x[:, 0] / 4) / 2)
    end = wf.run(heat, wave, t_end=0.3, tol=1e-2, save="ends").final
    expected = wf.Density(grid, lambda x: 1 + np.exp(-0.3 * (np.pi / 4) ** 2) * np.sin(np.pi * x[:, 0] / 4) / 2)
    assert_allclose(end.values, expected.values, atol=2e-3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda q: wf.run(wf.Dirichlet(), wf.Particles([[1.0], [2.0]]), t_end=1.0), "density on a grid"),
        (lambda q: wf.run(wf.FisherInformation(), TARGET, t_end=1.0), "density on a grid"),
        (lambda q: wf.equilibrium(wf.Dirichlet(), q.grid), "density on a grid"),
        (lambda q: wf.Blob(wf.Dirichlet(), 0.1), "mollifies"),
        (lambda q: wf.FisherInformation(wf.Gaussian), "target"),
        (lambda q: wf.run(wf.FisherInformation(wf.Gaussian([0.0, 0.0], 1.0)), q, t_end=1.0), "dimension"),
        (lambda q: wf.run(wf.FisherInformation(wf.Uniform(-1, 1)), q, t_end=1.0), "positive in every cell"),
        (lambda q: wf.ValueFunctional("q**2"), "function"),
        (lambda q: wf.run(wf.ValueFunctional(lambda q: xlogy(q, q).sum()), q, t_end=1.0), "autograd"),
        (lambda q: wf.run(wf.ValueFunctional(lambda q: q), q, t_end=1.0), "one number"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(wf.InputError, match=words):
        call(bumps(wf.Grid(-2, 2, 12)))


def test_a_vacuum_ends_with_a_status():
    """Fisher information of a density with empty cells: its second derivative is not finite there."""
    q = wf.Density(wf.Grid(-1.0, 1.0, 40), lambda x: np.maximum(0.0, 0.25 - x[:, 0] ** 2))
    for stepper in (None, wf.steppers.ImplicitEuler()):
        step = {} if stepper is None else {"dt": 1e-6}
        with pytest.warns(wf.RunWarning):
            result = wf.run(wf.FisherInformation(), q, t_end=1e-5, stepper=stepper, **step)
        assert not result.status.good
        assert len(result.states) >= 1
