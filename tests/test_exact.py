"""Closed-form solutions satisfy their equations and give the numbers of the checklist."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize

from wflow import exact
from wflow.errors import InputError


def derivative(f, at, h=1e-3):
    """First derivative by central differences of order 6."""
    steps = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
    return sum(c * (f(at + k * h) - f(at - k * h)) for k, c in steps) / h


def laplacian(f, x, h=2e-3):
    """Laplacian (n,) of f at points (n, d) by central differences of order 6."""
    steps, centre = ((1, 3 / 2), (2, -3 / 20), (3, 1 / 90)), f(x)
    total = -49 / 18 * x.shape[1] * centre
    for axis in range(x.shape[1]):
        shift = np.zeros(x.shape[1])
        shift[axis] = h
        total = total + sum(c * (f(x + k * shift) + f(x - k * shift)) for k, c in steps)
    return total / h**2


def averages(f, edges):
    return [quad(f, a, b, epsabs=1e-13)[0] / (b - a) for a, b in pairwise(edges)]


@pytest.mark.checklist("G21")
@pytest.mark.parametrize("stiffness", [1.5, 0.0, -0.5])
def test_ornstein_uhlenbeck_solves_the_moment_equations(stiffness):
    cov = np.array([[2.0, 0.3], [0.3, 0.5]])

    def at(t):
        return exact.ornstein_uhlenbeck([1.0, -2.0], cov, t, stiffness, temperature=0.7)

    mean, now = at(0.4)
    assert np.allclose(derivative(lambda t: at(t)[0], 0.4), -stiffness * mean, rtol=1e-9)
    assert np.allclose(derivative(lambda t: at(t)[1], 0.4), -2 * stiffness * now + 1.4 * np.eye(2), rtol=1e-9)
    assert np.array_equal(at(0.0)[1], cov)
    axes = exact.ornstein_uhlenbeck([1.0, -2.0], np.diag(cov), 0.4, stiffness, 0.7)[1]
    assert np.allclose(axes, np.diag(now), rtol=1e-15)


@pytest.mark.parametrize(("dim", "m"), [(1, 2.0), (2, 2.0), (2, 5.0), (3, 3.0), (1, 0.6), (2, 0.5)])
def test_barenblatt_solves_the_porous_medium_equation_and_has_its_mass(dim, m):
    radius = min(exact.barenblatt_radius(0.7, m, dim, mass=2.0), 2.0)
    x = np.random.default_rng(0).uniform(-0.4, 0.4, (20, dim)) * radius
    rate = derivative(lambda t: exact.barenblatt(x, t, m, mass=2.0), 0.7)
    spread = laplacian(lambda y: exact.barenblatt(y, 0.7, m, mass=2.0) ** m, x)
    assert np.allclose(rate, spread, rtol=1e-6, atol=1e-8)

    def shell(r):
        point = np.zeros((1, dim))
        point[0, 0] = r
        return exact.barenblatt(point, 0.7, m, mass=2.0)[0] * r ** (dim - 1)

    sphere = {1: 2.0, 2: 2 * np.pi, 3: 4 * np.pi}[dim]
    mass = sphere * quad(shell, 0, exact.barenblatt_radius(0.7, m, dim, mass=2.0), limit=200)[0]
    assert mass == pytest.approx(2.0, rel=1e-6)


def test_barenblatt_ends_at_its_radius():
    radius = exact.barenblatt_radius(1.0, 2.0)
    assert radius == pytest.approx(9 ** (1 / 3), rel=1e-14)
    inside, outside = exact.barenblatt(np.array([[radius * (1 - 1e-9)], [radius * (1 + 1e-9)]]), 1.0, 2.0)
    assert inside > 0 == outside
    assert exact.barenblatt_radius(1.0, 0.8) == np.inf


@pytest.mark.parametrize(("dim", "m"), [(2, 1.0), (3, 1 / 3), (3, 0.2)])
def test_barenblatt_refuses_what_has_no_such_solution(dim, m):
    with pytest.raises(InputError, match="barenblatt needs"):
        exact.barenblatt(np.zeros((1, dim)), 1.0, m)


@pytest.mark.parametrize("g", [1.0, -2.0, 0.0])
def test_drift_diffusion_solves_its_equation_without_flux_at_the_ends(g):
    x, t = np.linspace(0.0, 1.0, 11), 0.05

    def slope(y):
        return derivative(lambda z: exact.drift_diffusion(z, t, g), y)

    rate = derivative(lambda s: exact.drift_diffusion(x, s, g), t)
    spread = laplacian(lambda y: exact.drift_diffusion(y[:, 0], t, g), x[:, None])
    assert np.allclose(rate, spread - g * slope(x), rtol=1e-7, atol=1e-6)
    assert np.allclose(slope(x[[0, -1]]), g * exact.drift_diffusion(x[[0, -1]], t, g), atol=1e-8)
    assert exact.drift_diffusion(np.linspace(0, 1, 101), 0.0, g).min() >= -1e-14


@pytest.mark.parametrize("g", [1.0, -2.0, 0.0])
def test_drift_diffusion_cells_are_averages(g):
    edges = np.array([0.0, 0.1, 0.35, 0.9, 1.0])
    expected = averages(lambda x: float(exact.drift_diffusion(x, 0.05, g)), edges)
    assert np.allclose(exact.drift_diffusion_cells(edges, 0.05, g), expected, rtol=1e-12)


def test_heat_mode_solves_the_heat_equation_without_flux():
    lower, upper, modes = (-1.0, 0.5), (2.0, 1.5), (2, 1)

    def at(x, t):
        return exact.heat_mode(x, t, modes, lower, upper, amplitude=0.8)

    x = np.random.default_rng(1).uniform(lower, upper, (20, 2))
    assert np.allclose(derivative(lambda t: at(x, t), 0.02), laplacian(lambda y: at(y, 0.02), x), atol=1e-7)
    for side in (lower[0], upper[0]):
        assert abs(derivative(lambda y: at(np.array([[y, 0.7]]), 0.02)[0], side)) < 1e-9


def test_heat_mode_cells_are_averages_and_hold_mass_one():
    edges = [np.array([-1.0, 0.0, 0.3, 2.0]), np.array([0.5, 0.9, 1.5])]
    cells = exact.heat_mode_cells(edges, 0.02, (2, 1), (-1.0, 0.5), (2.0, 1.5), amplitude=0.8)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for i, j in np.ndindex(3, 2):
        x = 0.5 * (edges[0][i] + edges[0][i + 1]) + 0.5 * np.diff(edges[0])[i] * nodes
        y = 0.5 * (edges[1][j] + edges[1][j + 1]) + 0.5 * np.diff(edges[1])[j] * nodes
        points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
        values = exact.heat_mode(points, 0.02, (2, 1), (-1.0, 0.5), (2.0, 1.5), amplitude=0.8)
        assert cells[i, j] == pytest.approx(np.outer(weights, weights).ravel() @ values / 4, rel=1e-12)
    assert (cells * np.outer(np.diff(edges[0]), np.diff(edges[1]))).sum() == pytest.approx(1.0, rel=1e-14)


def kl_standard(mean, sd):
    return 0.5 * (sd**2 + mean**2 - 1) - np.log(sd)


@pytest.mark.checklist("G10b")
def test_two_metrics_two_curves():
    """Both are steepest descent of KL in (mean, sd): metric diag(1, 1) and Fisher's diag(1, 2)/sd^2."""
    for flow, metric in (
        (exact.gaussian_kl_wasserstein, lambda sd: np.ones(2)),
        (exact.gaussian_kl_natural, lambda sd: np.array([1.0, 2.0]) / sd**2),
    ):
        mean, sd = flow(1.0, 2.0, 0.8)
        slope = derivative(lambda t, f=flow: np.array(f(1.0, 2.0, t)), 0.8)
        force = [
            derivative(lambda v, s=sd: kl_standard(v, s), mean),
            derivative(lambda v, m=mean: kl_standard(m, v), sd),
        ]
        assert np.allclose(slope, -np.array(force) / metric(sd), rtol=1e-8)
    assert np.allclose(exact.gaussian_kl_natural(1, 2, 1), (0.1270143312, 1.1751778561), atol=5e-11)
    assert np.allclose(exact.gaussian_kl_wasserstein(1, 2, 1), (0.3678794412, 1.1857511753), atol=5e-11)


@pytest.mark.checklist("G14", "G15")
def test_jko_step_minimises_and_explicit_step_agrees_to_second_order():
    def cost(v):
        return ((v[0] - 1) ** 2 + (v[1] - 2) ** 2) / 0.2 + kl_standard(v[0], v[1])

    found = minimize(cost, (1.0, 2.0), bounds=[(None, None), (0.1, None)], options={"ftol": 1e-15, "gtol": 1e-9}).x
    assert np.allclose(exact.jko_gaussian_step(1.0, 2.0, 0.1), found, atol=1e-6)
    assert np.allclose(exact.jko_gaussian_step(1.0, 2.0, 0.1), (0.9090909091, 1.8668776139), atol=5e-11)
    flow, jko, explicit = (
        np.array(f(1.0, 2.0, 0.1))
        for f in (exact.gaussian_kl_wasserstein, exact.jko_gaussian_step, exact.explicit_gaussian_step)
    )
    assert np.all((explicit < flow) & (flow < jko))
    gaps = [np.subtract(exact.jko_gaussian_step(1, 2, h), exact.explicit_gaussian_step(1, 2, h)) for h in (1e-2, 5e-3)]
    assert np.allclose(np.log2(gaps[0] / gaps[1]), 2.0, atol=0.1)


@pytest.mark.checklist("G22")
def test_euler_maruyama_variance():
    for step, printed in ((0.1, 1.0526316), (0.5, 1.3333333), (1.0, 2.0)):
        value = exact.euler_maruyama_variance(step)
        assert value == pytest.approx(printed, abs=5e-8)
        assert (1 - step) ** 2 * value + 2 * step == pytest.approx(value, rel=1e-14)
    with pytest.raises(InputError, match="0 < step < 2"):
        exact.euler_maruyama_variance(2.0)


def gaussian(x, mean, cov):
    return np.exp(-((x - mean) ** 2) / (2 * cov)) / np.sqrt(2 * np.pi * cov)


INTEGRANDS = {
    "gaussian_kl": lambda p, q, dp, dq: p * np.log(p / q),
    "gaussian_chi2": lambda p, q, dp, dq: (p - q) ** 2 / q,
    "gaussian_hellinger": lambda p, q, dp, dq: (np.sqrt(p) - np.sqrt(q)) ** 2,
    "gaussian_fisher": lambda p, q, dp, dq: 0.5 * p * (dp - dq) ** 2,
}


@pytest.mark.checklist("M1", "M2")
@pytest.mark.parametrize("name", INTEGRANDS)
def test_divergences_of_gaussians_are_their_integrals(name):
    for a, b in (((0.0, 1.0), (1.0, 4.0)), ((0.5, 0.7), (0.0, 0.5))):

        def integrand(x, a=a, b=b):
            scores = -(x - a[0]) / a[1], -(x - b[0]) / b[1]
            return INTEGRANDS[name](gaussian(x, *a), gaussian(x, *b), *scores)

        value = getattr(exact, name)([a[0]], a[1], [b[0]], b[1])
        assert value == pytest.approx(quad(integrand, -14, 14, limit=300, epsabs=1e-13)[0], rel=1e-8)


@pytest.mark.parametrize("name", INTEGRANDS)
def test_divergences_do_not_depend_on_the_axes(name):
    """Product measures, then a rotation of both."""
    f, rng = getattr(exact, name), np.random.default_rng(2)
    mean, a, b = np.array([0.3, -0.4, 0.1]), np.array([0.5, 1.0, 1.2]), np.array([1.0, 0.8, 2.0])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    value = f(mean, a, np.zeros(3), b)
    turned = f(turn @ mean, turn @ np.diag(a) @ turn.T, np.zeros(3), turn @ np.diag(b) @ turn.T)
    assert turned == pytest.approx(value, rel=1e-12)
    single = np.array([f([m], u, [0.0], v) for m, u, v in zip(mean, a, b, strict=True)])
    parts = {
        "gaussian_kl": single.sum(),
        "gaussian_fisher": single.sum(),
        "gaussian_chi2": np.prod(1 + single) - 1,
        "gaussian_hellinger": 2 - 2 * np.prod(1 - single / 2),
    }
    assert value == pytest.approx(parts[name], rel=1e-12)
    assert f(mean, a, mean, a) == pytest.approx(0.0, abs=1e-14)


def test_chi2_is_infinite_for_heavy_tails_and_bad_input_is_refused():
    assert exact.gaussian_chi2([0.0], 2.0, [0.0], 1.0) == np.inf
    with pytest.raises(InputError, match="one shape"):
        exact.gaussian_kl([0.0], 1.0, [0.0, 1.0], 1.0)
    with pytest.raises(InputError, match="positive definite"):
        exact.gaussian_kl([0.0, 0.0], [1.0, -1.0], [0.0, 0.0], 1.0)


@pytest.mark.checklist("M3")
def test_kl_falls_at_twice_the_fisher_divergence():
    def kl(t):
        mean, cov = exact.ornstein_uhlenbeck([1.0], 4.0, t)
        return exact.gaussian_kl(mean, cov, [0.0], 1.0)

    assert derivative(kl, 0.0) == pytest.approx(-3.25, rel=1e-9)


def force(x):
    return np.array([2 * x[0], 4 * x[1] ** 3])


@pytest.mark.checklist("G2", "G8")
def test_pbdl_flow_and_proximal_step():
    path = solve_ivp(lambda t, x: -force(x), (0, 0.1), [3.0, 3.0], rtol=1e-11, atol=1e-12, method="DOP853")
    assert np.allclose(exact.pbdl_flow([3, 3], 0.1), path.y[:, -1], rtol=1e-9)
    assert np.allclose(exact.pbdl_flow([3, 3], 0.1), (2.4561922592, 1.0476454437), atol=5e-11)
    for tau in (1e-8, 0.1, 1e3):
        step = exact.pbdl_proximal([3, 3], tau)
        assert np.allclose(step + tau * force(step), [3.0, 3.0], rtol=1e-12)
    x = np.array([3.0, 3.0])
    for _ in range(10):
        x = exact.pbdl_proximal(x, 0.1)
    assert np.allclose(x, (0.48451675, 0.40004384), atol=5e-9)
    assert np.allclose(exact.pbdl_proximal([3, 3], 0.01), (2.94117647, 2.42768356), atol=5e-9)


@pytest.mark.checklist("P5", "P6", "P7", "P15")
def test_pbdl_tables():
    down, newton, inverse = np.array([3.0, 3.0]), np.array([3.0, 3.0]), np.array([3.0, 9.0])
    for k in range(1, 11):
        down = down - 0.01 * force(down)
        newton = newton - force(newton) / np.array([2.0, 12 * newton[1] ** 2]) / 3
        inverse = 0.7 * inverse
        assert exact.pbdl_gradient_descent(3.0, 0.01, k) == pytest.approx(down[0], rel=1e-13)
        assert np.allclose(exact.pbdl_newton([3, 3], 1 / 3, k), newton, rtol=1e-13)
        assert np.allclose(exact.pbdl_inverse([3, 3], 0.3, k), [inverse[0], np.sqrt(inverse[1])], rtol=1e-13)
    assert np.allclose(down, (2.4512184, 0.96171147), atol=2e-7)
    assert np.allclose(newton, (0.05202458, 0.92383826), atol=2e-7)
    assert np.allclose(exact.pbdl_inverse([3, 3], 0.3, 10), (0.08474258, 0.50421), atol=2e-7)
