"""Functionals: values and first variations on every kind of state, sums, and the table of refused pairs."""

import numpy as np
import pytest
from functional_cases import ALPHAS, GAUSS, SMOOTH, TABLE, divergence, dual, slope
from numpy.testing import assert_allclose

import wflow as wf
from wflow.flows import make_flow
from wflow.functionals import FUNCTIONALS, Blob


# One instance of every functional; the same list on all states that admit it.
def everything(dim):
    target = wf.Gaussian(np.full(dim, 0.2), 1.1)
    names = [wf.FDivergence(n, target) for n in TABLE] + [wf.FDivergence("alpha", target, alpha=a) for a in ALPHAS]
    internal = [wf.Entropy(), wf.PowerEntropy(2), wf.PowerEntropy(0.5), wf.InternalEnergy("q**2 + q**3")]
    fields = [wf.Potential("x**4/4 - x + sin(x)"), wf.Interaction("exp(-x**2)"), wf.Interaction("x**2/2 + abs(x)**3")]
    mixed = [0.5 * wf.Entropy() + 2 * wf.Potential("x**2"), wf.FDivergence("kl", target) + wf.Interaction("cos(x)")]
    return [*names, *internal, *fields, *mixed]


COUNT = len(everything(1))


def test_everything_is_everything():
    kinds = {type(term) for functional in everything(1) for _, term in functional.terms}
    # For particles, grids or points only: tests of their own.
    own = {Blob, wf.Dirichlet, wf.FisherInformation, wf.ValueFunctional, wf.L1, wf.Box, wf.Ball}
    assert kinds == set(FUNCTIONALS) - own


@pytest.mark.checklist("G17")
@pytest.mark.parametrize("index", range(COUNT))
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_first_variation_on_a_grid_is_the_derivative_of_the_energy(index, boundary):
    functional = everything(2)[index]
    grid = wf.Grid([-2, -1], [1, 2], (6, 5), boundary)
    rng = np.random.default_rng(index)
    q = wf.Density(grid, rng.uniform(0.2, 2.0, grid.cells))
    direction = rng.standard_normal(grid.cells) * q.values
    flow = make_flow(functional, q)
    xi = flow.variation.slope(0.0, q.values)

    def along(e):
        return flow.energy(0.0, q.at(q.values + e * direction))

    h = 2e-3
    measured = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert_allclose(np.sum(xi * direction) * grid.volume, measured, rtol=1e-8, atol=1e-9)


@pytest.mark.checklist("G17")
@pytest.mark.parametrize("index", range(COUNT))
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_dissipation_on_a_grid_is_minus_the_energy_rate(index, boundary):
    """dF/dt along the rate of the flow, measured on the energy; and the flow descends."""
    functional = everything(2)[index]
    grid = wf.Grid([-2, -1], [1, 2], (7, 6), boundary)
    q = wf.Density(grid, np.random.default_rng(index).uniform(0.2, 2.0, grid.cells))
    flow = make_flow(functional, q)
    rate = flow.rate(0.0, q)
    h = 1e-3 / np.abs(rate / q.values).max()

    def along(e):
        return flow.energy(0.0, q.at(q.values + e * rate))

    measured = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert measured < 0
    assert_allclose(flow.dissipation(0.0, q), -measured, rtol=1e-8)
    assert abs(rate.sum()) < 1e-13 * np.abs(rate).sum()


@pytest.mark.checklist("G17")
@pytest.mark.parametrize("index", range(COUNT))
@pytest.mark.parametrize("dim", [1, 2])
def test_gradient_on_a_gaussian_is_the_derivative_of_the_energy(index, dim):
    functional = everything(dim)[index]
    rng = np.random.default_rng(index)
    # Tails that every divergence can bear.
    root = 0.95 * np.eye(dim) + 0.03 * rng.standard_normal((dim, dim))
    q = wf.Gaussian(rng.standard_normal(dim) * 0.3, root @ root.T)
    flow = make_flow(functional, q)
    direction = rng.standard_normal((dim, dim + 1))

    def along(e):
        return flow.energy(0.0, q.at(q.coordinates + e * direction))

    h = 2e-4
    measured = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert_allclose(np.sum(flow.gradient(0.0, q) * direction), measured, rtol=1e-8, atol=1e-10)


def cloud(n=7, dim=2, seed=3):
    rng = np.random.default_rng(seed)
    return wf.Particles(rng.standard_normal((n, dim)), rng.uniform(0.5, 2.0, n))


@pytest.mark.checklist("G17")
@pytest.mark.parametrize("text", ["x**4/4 + x*y**2", "exp(x)*sin(y)"])
def test_potential_on_particles_is_exact(text):
    q = cloud()
    x, y = q.positions.T
    value = {"x**4/4 + x*y**2": x**4 / 4 + x * y**2, "exp(x)*sin(y)": np.exp(x) * np.sin(y)}[text]
    slopes = {
        "x**4/4 + x*y**2": np.stack([x**3 + y**2, 2 * x * y], 1),
        "exp(x)*sin(y)": np.stack([np.exp(x) * np.sin(y), np.exp(x) * np.cos(y)], 1),
    }[text]
    flow = make_flow(wf.Potential(text), q)
    assert_allclose(flow.energy(0.0, q), q.weights @ value, rtol=1e-14)
    assert_allclose(flow.rate(0.0, q), -slopes, rtol=1e-13)


@pytest.mark.checklist("G17")
def test_interaction_on_particles_is_exact():
    q = cloud()
    flow = make_flow(3 * wf.Interaction("exp(-x**2 - 2*y**2)"), q)
    energy, force = 0.0, np.zeros_like(q.positions)
    for i, a in enumerate(q.positions):
        for j, b in enumerate(q.positions):
            z = a - b
            w = np.exp(-(z[0] ** 2) - 2 * z[1] ** 2)
            energy += 1.5 * q.weights[i] * q.weights[j] * w
            force[i] -= 3 * q.weights[j] * w * np.array([-2 * z[0], -4 * z[1]])
    assert_allclose(flow.energy(0.0, q), energy, rtol=1e-14)
    assert_allclose(flow.rate(0.0, q), force, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("functional", [wf.Potential("x**4 + y**2"), wf.Interaction("exp(-x**2) + y**2")])
def test_velocity_of_particles_is_minus_the_energy_gradient_over_the_weights(functional):
    q = cloud()
    flow = make_flow(functional, q)
    direction = np.random.default_rng(0).standard_normal(q.positions.shape)

    def along(e):
        return flow.energy(0.0, q.at(q.positions + e * direction))

    h = 1e-3
    measured = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert_allclose(-np.sum(q.weights[:, None] * flow.rate(0.0, q) * direction), measured, rtol=1e-8)


@pytest.mark.checklist("G18", "G19")
@pytest.mark.parametrize("name", SMOOTH)
def test_plug_in_energy_and_velocity_are_those_of_the_estimate(name):
    """With a fitted Gaussian as the estimate the velocity is -(f - r f')' of two known Gaussians, by differences."""
    q = wf.Particles(np.random.default_rng(2).normal(0.2, 0.6, (30, 1)))
    fit = wf.Gaussian(q.mean, q.cov * 30 / 29)
    f = dual(name)[0]

    def ratio(x):
        return GAUSS.density(x) / fit.density(x)

    def variation(x):
        r = ratio(x)
        return f(r) - r * slope(f, r)

    x, h = q.positions, 1e-3
    difference = (8 * (variation(x + h) - variation(x - h)) - (variation(x + 2 * h) - variation(x - 2 * h))) / (12 * h)
    flow = make_flow(divergence(name), q, estimator=wf.estimators.GaussianFit())
    assert_allclose(flow.rate(0.0, q)[:, 0], -difference, rtol=1e-6, atol=1e-6)
    assert_allclose(wf.energy(divergence(name), q, wf.estimators.GaussianFit()), f(ratio(x)).mean(), rtol=1e-9)


@pytest.mark.parametrize("state", ["grid", "gaussian", "particles"])
def test_sums_and_multiples(state):
    parts = (wf.Entropy(), wf.Potential("x**2/2"), wf.Interaction("x**2"), wf.PowerEntropy(2))
    q = {
        "grid": wf.Density(wf.Grid(-3, 3, 30), GAUSS),
        "gaussian": GAUSS,
        "particles": wf.Particles(np.random.default_rng(0).standard_normal((50, 1))),
    }[state]
    total = 0.5 * parts[0] + parts[1] * 2.0 + np.float64(3) * (parts[2] + 0.1 * parts[3])
    expected = sum(c * wf.energy(part, q) for c, part in zip((0.5, 2.0, 3.0, 0.3), parts, strict=True))
    assert_allclose(wf.energy(total, q), expected, rtol=1e-13)
    rates = [c * make_flow(part, q).rate(0.0, q) for c, part in zip((0.5, 2.0, 3.0, 0.3), parts, strict=True)]
    if state != "grid":  # on a grid the sum has a flux of its own
        assert_allclose(make_flow(total, q).rate(0.0, q), sum(rates), rtol=1e-10, atol=1e-12)


def test_sum_reads_as_it_was_written():
    assert repr(0.5 * wf.Entropy() + wf.Potential("x**2")) == "0.5 * Entropy() + Potential('x**2')"


REFUSED = [
    (lambda: wf.Entropy(), lambda: wf.Point([0.0]), "no density"),
    (lambda: wf.PowerEntropy(2), lambda: wf.Point([0.0]), "no density"),
    (lambda: wf.InternalEnergy("q**2"), lambda: wf.Point([0.0]), "no density"),
    (lambda: wf.FDivergence("kl", GAUSS), lambda: wf.Point([0.0]), "no density"),
    (lambda: wf.Potential("x") + wf.Entropy(), lambda: wf.Point([0.0]), "no density"),
    (lambda: wf.Interaction("x**2"), lambda: wf.Point([0.0]), "interact with itself"),
    (lambda: wf.FDivergence("kl", wf.Uniform(-1.0, 1.0)), lambda: GAUSS, "no score"),
    (lambda: wf.FDivergence("kl", wf.Gibbs("x**2")), lambda: GAUSS, "normalised"),
    (lambda: wf.FDivergence("kl", wf.Uniform(-1.0, 1.0)), lambda: cloud(dim=1), "no score"),
    (lambda: wf.FDivergence("kl", wf.Gibbs("x**2")), lambda: cloud(dim=1), "domain"),
    (lambda: wf.FDivergence("kl", GAUSS), lambda: cloud(dim=2), "dimension 1, the state 2"),
    (lambda: wf.Potential("x + y"), lambda: cloud(dim=1), "needs dimension 2"),
    (lambda: wf.Interaction("x"), lambda: cloud(dim=1), "W(-x) = W(x)"),
    (lambda: wf.Interaction("-log(abs(x))"), lambda: wf.Density(wf.Grid(-1, 1, 8), GAUSS), "finite"),
    (lambda: wf.Potential("1/x"), lambda: wf.Density(wf.Grid(-1, 1, 9), GAUSS), "not finite"),
    (lambda: wf.FDivergence("kl", GAUSS), lambda: wf.Density(wf.Grid(-1, 1, 8, "absorbing"), GAUSS), "pressure"),
    (lambda: wf.Potential("x"), lambda: wf.Density(wf.Grid(-1, 1, 8, "absorbing"), GAUSS), "absorbing"),
    (
        lambda: wf.FDivergence("kl", wf.Uniform(0.0, 1.0)),
        lambda: wf.Density(wf.Grid(-1, 1, 8), GAUSS),
        "where the target is zero",
    ),
    (
        lambda: wf.FDivergence("kl", wf.Uniform(7.0, 8.0)),
        lambda: wf.Density(wf.Grid(-1, 1, 8), GAUSS),
        "zero in every cell",
    ),
]


@pytest.mark.parametrize(("functional", "state", "reason"), REFUSED)
def test_pairs_that_do_not_go_together_are_refused_with_the_reason(functional, state, reason):
    with pytest.raises(wf.InputError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        make_flow(functional(), state())


def test_the_energy_is_defined_where_the_flow_is_not():
    q = wf.Density(wf.Grid(-2.0, 2.0, 40), np.ones(40))
    half = wf.Uniform(-1.0, 1.0)
    assert wf.energy(wf.FDivergence("reverse-kl", half), q) == np.inf
    assert_allclose(wf.energy(wf.FDivergence("hellinger", half), q), 2.0 - np.sqrt(2.0), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "limit"), [("jensen-shannon", 0.5 * np.log(2.0)), ("triangular", 1.0), ("hellinger", 1.0)]
)
def test_bounded_divergences_reach_their_bound_beyond_the_range_of_ratios(name, limit):
    """At a distance of 60 the ratio q/p is e^1800."""
    F = wf.FDivergence(name, GAUSS)
    rng = np.random.default_rng(0)
    assert_allclose(wf.energy(F, wf.Gaussian([60.0], 1.0)), limit, rtol=1e-6)
    assert_allclose(wf.energy(F, wf.Particles(rng.normal(60.0, 1.0, (500, 1)))), limit, rtol=1e-6)


def test_a_cloud_in_a_box_has_the_energy_of_a_density_there():
    """Targets are scaled to the box for both."""
    box = wf.Grid(0.0, 5.0, 500)
    rng = np.random.default_rng(0)
    cloud_there = wf.Particles(np.abs(rng.normal(0.0, 0.8, (20_000, 1))), domain=box)
    density = wf.Density(box, lambda x: np.exp(-(x[:, 0] ** 2) / (2 * 0.64)))
    F = wf.FDivergence("jensen-shannon", wf.Gaussian([0.0], 1.0))
    assert_allclose(wf.energy(F, cloud_there), wf.energy(F, density), atol=4e-3)


@pytest.mark.parametrize("state", ["grid", "particles", "gaussian"])
@pytest.mark.parametrize("index", range(COUNT))
def test_every_other_pair_is_admitted(state, index):
    q = {
        "grid": wf.Density(wf.Grid(-3, 3, 30), GAUSS),
        "particles": cloud(60, 1),
        "gaussian": wf.Gaussian([0.3], 0.95),
    }[state]
    assert np.isfinite(wf.energy(everything(1)[index], q))
    assert np.all(np.isfinite(make_flow(everything(1)[index], q).rate(0.0, q)))


@pytest.mark.parametrize("variance", [1.0, 4.0, 9.0])
def test_kl_of_gaussians_is_resolved_and_right(variance):
    """The integrand of D_f(p‖q) lies on p, the nodes on q: more of them are taken where p is narrow."""
    p, q = wf.Gaussian([0.0], 1.0), wf.Gaussian([0.5], variance)
    assert_allclose(wf.energy(wf.FDivergence("kl", p), q), wf.exact.gaussian_kl([0.0], 1.0, [0.5], variance), atol=2e-4)


def test_an_unresolved_quadrature_is_refused():
    p = wf.Gaussian([0.0], 1.0)
    with pytest.raises(wf.InputError, match="not resolved"):
        wf.energy(wf.FDivergence("kl", p), wf.Gaussian([0.0], 100.0))
    with pytest.raises(wf.InputError, match="not resolved"):  # infinite: p has the heavier tails by far
        wf.energy(wf.FDivergence("alpha", p, alpha=3.0), wf.Gaussian([0.0], 0.5))
    wide = wf.GaussianMixture([[-2.0, 0, 0, 0], [2.0, 0, 0, 0]], 1.0)
    with pytest.raises(wf.InputError, match="degree 5"):
        wf.energy(wf.FDivergence("reverse-kl", wide), wf.Gaussian(np.zeros(4), [4.0, 1.0, 1.0, 1.0]))


def test_functionals_sum_and_divide():
    assert sum([wf.Entropy(), wf.PowerEntropy(2)]) / 2 == 0.5 * wf.Entropy() + 0.5 * wf.PowerEntropy(2)


def test_unnormalised_target_on_a_bounded_cloud_is_normalised_there():
    """The domain [-1, 1] with p ∝ exp(-V): the same energy with the constant or without."""
    domain = wf.Grid(-1, 1, 4)
    x = np.random.default_rng(0).uniform(-1, 1, (40, 1))
    energies = [
        wf.energy(wf.FDivergence("kl", wf.Gibbs(f"x**2 + {c}")), wf.Particles(x, domain=domain), 0.3) for c in (0, 7)
    ]
    assert_allclose(energies[0], energies[1], rtol=1e-10)
