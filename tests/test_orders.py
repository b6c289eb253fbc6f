"""Declared order = observed order ± 0.1: every stepper in time on every kind of state, and the p∇Φ(u) flux in space."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

import wflow as wf
from wflow import exact
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.steppers import STEPPERS, TRBDF2, VARIATIONAL, Exponential

ORDERED = tuple(s for s in STEPPERS if s.order is not None)
STEPPING = tuple(s for s in ORDERED if s.order != np.inf)
SPACE_TOLERANCE = 0.1


def observed(errors, factor=2.0):
    """Order from the last pair; the errors must be errors, not rounding."""
    assert errors[-1] > 1e-13
    return np.log(errors[-2] / errors[-1]) / np.log(factor)


def relaxing_cloud(t):
    """x' = -x³ for V = x⁴/4."""
    x = np.array([[0.5], [1.0], [1.6]])
    return x / np.sqrt(1 + 2 * t * x**2)


def attracted_cloud(t):
    """W = x²/2: every particle goes to the weighted mean as e^-t."""
    x, mean = np.array([[0.5, 0.0], [1.0, -1.0], [1.6, 2.0]]), np.array([[1.175, 0.75]])
    return mean + (x - mean) * np.exp(-t)


def ornstein_uhlenbeck(t):
    """Mean and factor of the flow of KL to N(0, 1) from N(1, 4)."""
    mean, sd = exact.gaussian_kl_wasserstein(1.0, 2.0, t)
    return np.array([[mean, sd]])


def natural(t):
    mean, sd = exact.gaussian_kl_natural(1.0, 2.0, t)
    return np.array([[mean, sd]])


KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
CLOSED = {
    "point, V = x^4/4": (wf.Potential("x**4/4"), wf.Point([1.6]), {}, lambda t: relaxing_cloud(t)[2]),
    "point, G2": (
        wf.Potential("x**2 + y**4"),
        wf.Point([3.0, 1.0]),
        {},
        lambda t: np.array([3 * np.exp(-2 * t), 1 / np.sqrt(1 + 8 * t)]),
    ),
    "point, x' = t - x": (None, wf.Point([1.0]), {"drift": "t - x"}, lambda t: np.array([2 * np.exp(-t) + t - 1])),
    "point, V(x, t)": (
        wf.Potential("(x - sin(2*t))**2/2"),
        wf.Point([0.3]),
        {},
        lambda t: np.array([0.7 * np.exp(-t) + (np.sin(2 * t) - 2 * np.cos(2 * t)) / 5]),
    ),
    "point, Newton": (
        wf.Potential("x**4/4"),
        wf.Point([1.6]),
        {"metric": wf.metrics.Newton()},
        lambda t: np.array([1.6 * np.exp(-t / 3)]),
    ),
    "particles, V": (wf.Potential("x**4/4"), wf.Particles(relaxing_cloud(0)), {}, relaxing_cloud),
    "particles, W": (
        wf.Interaction("(x**2 + y**2)/2"),
        wf.Particles(attracted_cloud(0), [1, 1, 2]),
        {},
        attracted_cloud,
    ),
    "gaussian": (KL, wf.Gaussian([1.0], 4.0), {}, ornstein_uhlenbeck),
    "gaussian, natural": (KL, wf.Gaussian([1.0], 4.0), {"metric": wf.metrics.Natural()}, natural),
}


def refused(stepper, F, state, arguments):
    """Whether a flow has no proximal step; then the run must say so."""
    if not make_flow(F, state, arguments.get("metric"), arguments.get("drift")).facts.jko:
        return False
    with pytest.raises(wf.InputError, match="gradient flow"):
        wf.run(F, state, dt=0.1, steps=1, stepper=stepper(), **arguments)
    return True


@pytest.mark.checklist("G2", "G3")
@pytest.mark.parametrize("case", CLOSED)
@pytest.mark.parametrize("stepper", STEPPING, ids=lambda s: s.__name__)
def test_order_in_time_against_closed_solutions(stepper, case):
    F, state, arguments, solution = CLOSED[case]
    if stepper in VARIATIONAL and refused(stepper, F, state, arguments):
        return
    T, errors = 0.8, []
    for steps in (64, 128):
        result = wf.run(F, state, dt=T / steps, steps=steps, stepper=stepper(), save="ends", **arguments)
        assert result.status is Status.COMPLETE
        errors.append(np.abs(result.final.coordinates - solution(T)).max())
    assert abs(observed(errors) - stepper.order) < 0.1
    assert errors[0] < 0.05


def grid_case(name):
    grid = wf.Grid(0, 1, 8)
    q = wf.Density(grid, exact.drift_diffusion_cells(np.linspace(0, 1, 9), 0.02))
    F = {
        "drift-diffusion": wf.Entropy() + wf.Potential("-x"),
        "porous medium": wf.PowerEntropy(2),
        "jeffreys": wf.FDivergence("jeffreys", wf.Gibbs("x**2")),
        "timed": wf.Entropy() + wf.Potential("-x*(1 + sin(20*t))"),
        "interaction": wf.Entropy() + wf.Interaction("x**2"),
        "drift": wf.Entropy() + wf.Potential("x"),
    }[name]
    return F, q, ({"drift": "sin(20*t)*(1 - x)*x"} if name == "drift" else {})


@cache
def fine_reference(name, T):
    """Of the same ordinary differential equations on the same grid, by the matrix exponential or the classical RK4."""
    F, q, arguments = grid_case(name)
    flow = make_flow(F, q, drift=arguments.get("drift"))
    if name == "drift-diffusion":
        columns = [flow.rate(0.0, q.at(e)) for e in np.eye(q.values.size)]
        return expm(T * np.stack(columns, axis=1)) @ q.values
    count, y = 1500, q.values
    h = T / count
    for k in range(count):
        t = k * h
        k1 = flow.rate(t, q.at(y))
        k2 = flow.rate(t + h / 2, q.at(y + h / 2 * k1))
        k3 = flow.rate(t + h / 2, q.at(y + h / 2 * k2))
        k4 = flow.rate(t + h, q.at(y + h * k3))
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


GRID_CASES = ("drift-diffusion", "porous medium", "jeffreys", "timed", "interaction", "drift")


@pytest.mark.checklist("G16")
@pytest.mark.parametrize("case", GRID_CASES)
@pytest.mark.parametrize("stepper", [s for s in STEPPING if s not in VARIATIONAL], ids=lambda s: s.__name__)
def test_order_in_time_on_a_grid(stepper, case):
    """L1 error against the semi-discrete solution; steps in quantiles have another one, see test_jko.py."""
    T = 0.1
    reference = fine_reference(case, T)
    F, q, arguments = grid_case(case)
    errors = []
    for steps in (96, 192):
        result = wf.run(F, q, dt=T / steps, steps=steps, stepper=stepper(), save="ends", **arguments)
        assert result.status is Status.COMPLETE
        assert result.steps.get("fallbacks", np.zeros(1)).sum() == 0
        errors.append(np.abs(result.final.values - reference).sum() * q.grid.volume)
    assert abs(observed(errors) - stepper.order) < 0.1


def test_exponential_is_exact_in_time():
    F, q, _ = grid_case("drift-diffusion")
    reference = fine_reference("drift-diffusion", 0.1)
    for steps in (1, 3):
        result = wf.run(F, q, dt=0.1 / steps, steps=steps, stepper=Exponential())
        assert_allclose(result.final.values, reference, rtol=1e-10)


CONSTANT = {
    "point": (wf.Potential("2*x - y/3"), wf.Point([0.3, -0.1]), {}, [-2, 1 / 3]),
    "point, drift": (None, wf.Point([0.3, -0.1]), {"drift": [0.7, -0.2]}, [0.7, -0.2]),
    "particles": (wf.Potential("2*x - y/3"), wf.Particles([[0.3, -0.1], [1, 2]]), {}, [-2, 1 / 3]),
    "particles, drift": (None, wf.Particles([[0.3, -0.1], [1, 2]]), {"drift": [0.7, -0.2]}, [0.7, -0.2]),
    "gaussian": (wf.Potential("2*x - y/3"), wf.Gaussian([0.3, -0.1], 2.0), {}, [[-2, 0, 0], [1 / 3, 0, 0]]),
    "gaussian, drift": (None, wf.Gaussian([0.3, -0.1], 2.0), {"drift": [0.7, -0.2]}, [[0.7, 0, 0], [-0.2, 0, 0]]),
}


@pytest.mark.parametrize("case", CONSTANT)
@pytest.mark.parametrize("stepper", STEPPING, ids=lambda s: s.__name__)
@pytest.mark.parametrize("times", [{"dt": 0.3, "steps": 7}, {"dt": 0.3, "t_end": 2.0}, {"t_end": 2.0}], ids=str)
def test_every_stepper_is_exact_under_a_constant_rate(stepper, case, times):
    """The loop's own test: every step is taken once, with its own dt, the last one shortened to the end."""
    F, state, arguments, rate = CONSTANT[case]
    if "dt" not in times and not stepper.adaptive:
        pytest.skip("a fixed step is asked for")
    if stepper in VARIATIONAL and refused(stepper, F, state, arguments):
        return
    result = wf.run(F, state, stepper=stepper(), **times, **arguments)
    assert result.status is Status.COMPLETE
    for time, now in zip(result.times, result.states, strict=True):
        assert_allclose(now.coordinates, state.coordinates + time * np.array(rate), rtol=1e-12, atol=1e-12)
    assert_allclose(result.steps["dt"].sum(), result.times[-1], rtol=1e-13)
    assert result.times[-1] == (2.0 if "t_end" in times else 7 * 0.3)


def drift_diffusion_error(n, dim, stepper):
    """L1 error of cell averages at t = 0.05 for V = -x (product of two in 2-D)."""
    edges = np.linspace(0, 1, n + 1)

    def averages(t):
        line = exact.drift_diffusion_cells(edges, t)
        return line if dim == 1 else np.multiply.outer(line, line)

    grid = wf.Grid([0] * dim, [1] * dim, n)
    start = wf.Density(grid, averages(0.0), normalize=False)
    V = "-x" if dim == 1 else "-x - y"
    result = wf.run(wf.Entropy() + wf.Potential(V), start, t_end=0.05, stepper=stepper, tol=1e-7, save="ends")
    return np.abs(result.final.values - averages(0.05)).sum() * grid.volume / start.mass


@pytest.mark.checklist("G16", "G21")
@pytest.mark.parametrize("dim", [1, 2])
def test_second_order_in_space_on_drift_diffusion(dim):
    errors = [drift_diffusion_error(n, dim, Exponential()) for n in (10, 20, 40)]
    assert abs(observed(errors) - 2) < SPACE_TOLERANCE
    assert errors[-1] < 5e-4


def ou_error(n, dim):
    """Ornstein–Uhlenbeck from N(1, 1/4) at t = 0.5, at the cell centres."""
    grid = wf.Grid([-6] * dim, [6] * dim, n)
    start = wf.Gaussian([1.0] * dim, 0.25)
    F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0] * dim, 1.0))
    result = wf.run(F, wf.Density(grid, start), t_end=0.5, stepper=Exponential(), tol=1e-7, save="ends")
    mean, cov = exact.ornstein_uhlenbeck(start.mean, 0.25, 0.5)
    law = wf.Density(grid, wf.Gaussian(mean, cov))
    return np.abs(result.final.values - law.values).sum() * grid.volume


@pytest.mark.checklist("G16", "G21")
@pytest.mark.parametrize(("dim", "sizes"), [(1, (40, 80, 160)), (2, (30, 60))])
def test_second_order_in_space_on_ornstein_uhlenbeck(dim, sizes):
    errors = [ou_error(n, dim) for n in sizes]
    assert abs(observed(errors) - 2) < SPACE_TOLERANCE
    assert errors[-1] < 5e-3


def test_second_order_in_space_where_the_diffusion_is_not_linear():
    """Reverse χ² to a Gibbs law: three sizes against each other, averages of pairs of cells being the coarse cells."""
    F, found = wf.FDivergence("reverse-chi2", wf.Gibbs("x**2/2 + x")), []
    for n in (20, 40, 80, 160):
        edges = np.linspace(0, 1, n + 1)
        start = wf.Density(wf.Grid(0, 1, n), exact.heat_mode_cells([edges], 0.0, [1], 0.0, 1.0))
        found.append(wf.run(F, start, dt=1e-3, steps=40, stepper=TRBDF2(), save="ends").final.values)
    differences = [np.abs(a - b.reshape(-1, 2).mean(axis=1)).mean() for a, b in pairwise(found)]
    assert abs(observed(differences) - 2) < SPACE_TOLERANCE


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_heat_equation_in_three_dimensions(boundary):
    modes = [1, 2, 1] if boundary == "no-flux" else [2, 2, 2]
    errors = []
    for n in (8, 16, 32):
        edges = [np.linspace(0, 1, n + 1)] * 3
        start = wf.Density(wf.Grid([0] * 3, [1] * 3, n, boundary), exact.heat_mode_cells(edges, 0, modes, 0.0, 1.0))
        result = wf.run(wf.Entropy(), start, t_end=0.01, stepper=Exponential(), tol=1e-7, save="ends")
        errors.append(np.abs(result.final.values - exact.heat_mode_cells(edges, 0.01, modes, 0.0, 1.0)).mean())
    assert abs(observed(errors) - 2) < 0.1


@pytest.mark.checklist("G2")
def test_gradient_descent_converges_to_the_flow_at_order_one():
    """PBDL: |y|² with y = (x0, x1²) from (3, 3): the checklist's errors of x1 at t = 0.1."""
    L, start = wf.Potential("x**2 + y**4"), wf.Point([3.0, 3.0])
    exactly = np.array([3 * np.exp(-0.2), 3 / np.sqrt(1 + 72 * 0.1)])
    assert_allclose(exactly, [2.4561922592, 1.0476454437], atol=1e-10)
    found = []
    for n, digits in ((10, 0.08593), (20, 0.03836), (40, 0.01859), (80, 0.00918), (160, 0.00456)):
        end = wf.run(L, start, dt=0.1 / n, steps=n, save="ends").final.x
        found.append(abs(end[1] - exactly[1]))
        assert_allclose(found[-1], digits, atol=6e-6)
    assert abs(observed(found) - 1) < 0.1
    assert_allclose(wf.run(L, start, t_end=0.1, tol=1e-9, save="ends").final.x, exactly, atol=1e-7)


@pytest.mark.parametrize("case", ["point", "grid", "grid, nonlinear", "gaussian"])
def test_final_error_falls_in_proportion_to_the_tolerance(case):
    grid = wf.Grid(-4, 4, 40)
    cases = {
        "point": (wf.Potential("x**4/4"), wf.Point([1.6]), lambda t: relaxing_cloud(t)[2]),
        "gaussian": (KL, wf.Gaussian([1.0], 4.0), ornstein_uhlenbeck),
        "grid": (
            wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0)),
            wf.Density(grid, wf.Gaussian([1.0], 0.5)),
            None,
        ),
        "grid, nonlinear": (
            wf.FDivergence("hellinger", wf.Gaussian([0.0], 1.0)),
            wf.Density(grid, wf.Gaussian([0.5], 1.5)),
            None,
        ),
    }
    F, state, solution = cases[case]
    stepper = TRBDF2() if "grid" in case else None
    if solution is None:
        best = wf.run(F, state, dt=1 / 2000, steps=2000, stepper=TRBDF2(), save="ends").final.coordinates
    else:
        best = solution(1.0)
    tolerances, errors = np.array([1e-3, 1e-4, 1e-5]), []
    for tol in tolerances:
        end = wf.run(F, state, t_end=1.0, tol=tol, stepper=stepper, save="ends").final.coordinates
        gap = np.abs(end - best)
        errors.append(gap.sum() * grid.volume if "grid" in case else gap.max())
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.7 < slope < 1.3
    assert errors[0] < (3e-3 if "grid" in case else 3e-2)
