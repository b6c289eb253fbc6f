"""Generators against the table of divergences, and the values of the energies on grids."""

import numpy as np
import pytest
from functional_cases import GAUSS, GENERATORS, NEAR, SMOOTH, TABLE, U, divergence, dual, slope
from numpy.testing import assert_allclose

import wflow as wf
from wflow.functionals import NAMES


def test_the_table_names_every_divergence():
    assert {*TABLE, "alpha"} == set(NAMES)


@pytest.mark.checklist("G18")
@pytest.mark.parametrize("name", SMOOTH)
def test_generator_is_the_dual_of_the_table(name):
    f, at_one, pressure = dual(name)
    g = divergence(name).generator
    assert_allclose(g.value(U), U * f(1 / U), rtol=1e-9, atol=1e-12)
    assert_allclose(g.curvature(np.ones(1)), at_one, rtol=1e-14)
    mine, theirs = g.pressure(U), pressure(U)
    assert_allclose(mine - mine[-1], theirs - theirs[-1], rtol=1e-11, atol=1e-12)


@pytest.mark.checklist("G19")
@pytest.mark.parametrize("name", SMOOTH)
def test_first_variation_is_f_minus_r_f_prime(name):
    """And -∇(f - r f') = r f'' ∇r, by r = 1/u: d(f - r f')/dr = -r f''."""
    f = dual(name)[0]
    g = divergence(name).generator
    r = 1 / U
    assert_allclose(g.slope(U), f(r) - r * slope(f, r), rtol=1e-7, atol=1e-7)
    r = 1 / NEAR
    second = slope(lambda s: slope(f, s, 1e-3), r, 1e-3)
    assert_allclose(g.curvature(NEAR), r**3 * second, rtol=1e-6)


@pytest.mark.parametrize("name", GENERATORS)
def test_derivatives_of_a_generator_agree(name):
    g = GENERATORS[name]
    assert_allclose(slope(g.value, NEAR), g.slope(NEAR), rtol=1e-8, atol=1e-8)
    assert_allclose(slope(g.slope, NEAR), g.curvature(NEAR), rtol=1e-8)
    assert_allclose(slope(g.pressure, NEAR), g.diffusivity(NEAR), rtol=1e-8, atol=1e-9)
    assert_allclose(g.diffusivity(NEAR), NEAR * g.curvature(NEAR), rtol=1e-13)
    flux = g.pressure(NEAR) - (NEAR * g.slope(NEAR) - g.value(NEAR))
    assert_allclose(flux, flux[-1], atol=1e-9 * np.abs(g.pressure(NEAR)).max())


@pytest.mark.parametrize("name", GENERATORS)
def test_pressure_is_inverted(name):
    g = GENERATORS[name]
    condition = np.abs(g.pressure(U) / (U * g.diffusivity(U)))  # relative change of u by one of Φ
    assert np.all(np.abs(g.inverse(g.pressure(U)) / U - 1) < 1e-14 * (10 + condition))


@pytest.mark.parametrize("name", GENERATORS)
def test_steep_says_whether_diffusivity_is_unbounded_at_vacuum(name):
    g = GENERATORS[name]
    growth = g.diffusivity(np.array([1e-10])) / g.diffusivity(np.array([1e-5]))
    assert g.steep == bool(growth > 10)


@pytest.mark.parametrize("text", ["q*log(q)", "q*log(q) - q", "q*log(q) - sqrt(q)"])
def test_internal_energy_has_its_limit_at_vacuum(text):
    g = wf.InternalEnergy(text).generator
    zero = np.zeros(1)
    assert abs(g.value(zero)[0]) < 1e-149
    assert abs(g.pressure(zero)[0]) < 1e-149


def test_internal_energy_agrees_with_the_named_ones():
    q = wf.Density(wf.Grid(-3, 3, 40), lambda x: np.maximum(1 - x[:, 0] ** 2, 0.0))
    for text, named in (("q*log(q)", wf.Entropy()), ("q**2", wf.PowerEntropy(2)), ("q**3/2", wf.PowerEntropy(3))):
        assert_allclose(wf.energy(wf.InternalEnergy(text), q), wf.energy(named, q), rtol=1e-13)


@pytest.mark.checklist("M2")
@pytest.mark.parametrize("kind", ["grid", "gaussian"])
def test_kl_of_two_gaussians(kind):
    """KL(N(0,1) | N(1,4)) = .4431471806, the other way round 1.3068528194; the two directions of the divergence."""
    a, b = wf.Gaussian([0.0], 1.0), wf.Gaussian([1.0], 4.0)
    grid = wf.Grid(-19, 19, 1500)
    state = (lambda g: wf.Density(grid, g)) if kind == "grid" else (lambda g: g)
    assert_allclose(wf.energy(wf.FDivergence("reverse-kl", b), state(a)), 0.4431471806, atol=2e-10)
    assert_allclose(wf.energy(wf.FDivergence("reverse-kl", a), state(b)), 1.3068528194, atol=2e-10)
    if kind == "grid":  # on a Gaussian the tails of p/q are beyond the quadrature
        assert_allclose(wf.energy(wf.FDivergence("kl", b), state(a)), 1.3068528194, atol=2e-10)


@pytest.mark.checklist("G18")
@pytest.mark.parametrize("name", SMOOTH)
def test_divergence_is_positive_but_at_its_target(name):
    grid = wf.Grid([-2, -2], [2, 2], (9, 8))
    target = wf.Gaussian([0.2, 0.0], 0.8)
    functional = divergence(name, target)
    assert abs(wf.energy(functional, wf.Density(grid, target))) < 1e-14
    rng = np.random.default_rng(1)
    for size in (1e-4, 0.1, 3.0):
        p = wf.Density(grid, target).values
        q = wf.Density(grid, p * np.exp(size * rng.standard_normal(grid.cells)))
        assert wf.energy(functional, q) > 1e-3 * size**2 / (1 + size**2)


def test_alpha_has_its_limits():
    q = wf.Density(wf.Grid(-3, 3, 50), wf.Gaussian([-0.4], 0.5))
    for alpha, name in ((0.0, "reverse-kl"), (1.0, "kl")):
        exact = wf.energy(divergence(name), q)
        assert wf.energy(divergence(alpha), q) == exact
        assert_allclose(wf.energy(divergence(alpha + 1e-5), q), exact, rtol=1e-4)


@pytest.mark.parametrize("name", ["kl", "chi2", "jeffreys", 2.0])
def test_vacuum_costs_infinitely_much(name):
    q = wf.Density(wf.Grid(-3, 3, 30), lambda x: (x[:, 0] > 0).astype(float))
    assert wf.energy(divergence(name), q) == np.inf


@pytest.mark.parametrize("name", ["reverse-kl", "reverse-chi2", "hellinger", "jensen-shannon", "triangular", 0.5])
def test_vacuum_costs_what_the_table_says(name):
    """p f at u = 0 is p u f(1/u): sum by hand over the filled cells, and the limit elsewhere."""
    limits = {
        "reverse-kl": 0,
        "reverse-chi2": 1,
        "hellinger": 1,
        "jensen-shannon": 0.5 * np.log(2),
        "triangular": 1,
        0.5: 2,
    }
    grid = wf.Grid(-3, 3, 30)
    q = wf.Density(grid, lambda x: (x[:, 0] > 0).astype(float))
    p = wf.Density(grid, GAUSS).values
    full = q.values > 0
    f = dual(name)[0]
    expected = np.sum(q.values[full] * f(p[full] / q.values[full])) + limits[name] * p[~full].sum()
    assert_allclose(wf.energy(divergence(name), q), expected * grid.volume, rtol=1e-12)
