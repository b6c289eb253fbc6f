"""Laws over literal tuples: all functionals × states × steppers that admit each other.

Mass, sign and decay from rough random data, rest at equilibrium, and one particle = one point.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import wflow as wf
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.steppers import STEPPERS, TRBDF2, VARIATIONAL, Exponential, ImplicitEuler

DIVERGENCES = ("reverse-kl", "kl", "chi2", "reverse-chi2", "hellinger", "jensen-shannon", "jeffreys", "triangular")
ALPHAS = (-1.0, 0.5, 2.0)
ALL = tuple(s for s in STEPPERS if s.order is not None)
EXPLICIT = tuple(s for s in ALL if s not in (ImplicitEuler, TRBDF2, Exponential, *VARIATIONAL))
BOUNDARIES = ("no-flux", "periodic")


def target(dim):
    """Not periodic, not centred, light at the edges."""
    return wf.Gibbs("(x**2 - 1)**2 + x/4" + (" + y**2 + x*y/2" if dim > 1 else "") + (" + z**2" if dim > 2 else ""))


def divergences(dim):
    made = {name: wf.FDivergence(name, target(dim)) for name in DIVERGENCES}
    return made | {f"alpha {a:g}": wf.FDivergence("alpha", target(dim), alpha=a) for a in ALPHAS}


def functionals(dim):
    """Every functional whose flow has a flux p∇Φ(u), then those with the upwind flux."""
    diffusive = divergences(dim) | {
        "entropy": wf.Entropy(),
        "m=2": wf.PowerEntropy(2),
        "m=1/2": wf.PowerEntropy(0.5),
        "q**2 + q**3": wf.InternalEnergy("q**2 + q**3"),
        "0.3 entropy + V": 0.3 * wf.Entropy() + wf.Potential("x**4 - 2*x**2"),
        "kl + 2 chi2": wf.FDivergence("kl", target(dim)) + 2 * wf.FDivergence("chi2", target(dim)),
    }
    carried = {
        "V": wf.Potential("(x**2 - 1)**2"),
        "W": wf.Interaction("x**4/4 - x**2/2"),
        "m=2 + V": wf.PowerEntropy(2) + wf.Potential("x**2"),
        "entropy + W": wf.Entropy() + wf.Interaction("exp(-x**2)"),
        "m=2 + V + W": wf.PowerEntropy(2) + wf.Potential("x**2") + wf.Interaction("x**2/2"),
    }
    return diffusive, carried


DIFFUSIVE = tuple(functionals(1)[0])
CARRIED = tuple(functionals(1)[1])


def functional(name, dim):
    diffusive, carried = functionals(dim)
    return (diffusive | carried)[name]


def box(dim, boundary="no-flux"):
    return wf.Grid([-2.0, -1.0, -1.0][:dim], [1.5, 1.5, 1.0][:dim], (23, 9, 6)[:dim], boundary)


def rough(grid, seed=0, vacuum=False, decades=6):
    """Cell by cell independent, over orders of magnitude; with `vacuum` a third of the cells is empty."""
    rng = np.random.default_rng(seed)
    values = 10.0 ** rng.uniform(0, decades, grid.cells)
    return wf.Density(grid, np.where(rng.random(grid.cells) < 1 / 3, 0.0, values) if vacuum else values)


def never_up(energies):
    first = np.flatnonzero(np.isfinite(energies))
    assert first.size
    kept = energies[first[0] :]
    return np.all(np.isfinite(kept)) and np.all(np.diff(kept) <= 2e-13 * (1 + np.abs(kept[:-1])))


@pytest.mark.checklist("G16", "G3")
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("stepper", [ImplicitEuler(), TRBDF2()], ids=["ImplicitEuler", "TRBDF2"])
@pytest.mark.parametrize("name", DIFFUSIVE)
@pytest.mark.parametrize("dim", [1, 2])
def test_monotone_steppers_keep_mass_sign_and_decay(dim, name, stepper, boundary):
    grid = box(dim, boundary)
    for dt, vacuum in ((1e-3, False), (0.3, True), (100.0, False)):
        result = wf.run(functional(name, dim), rough(grid, 1, vacuum), dt=dt, steps=4, stepper=stepper, save="all")
        assert result.status is Status.COMPLETE
        assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
        assert result.diagnostics["minimum"].min() >= 0.0
        assert never_up(result.diagnostics["energy"])


STEEP_AT_VACUUM = ("kl", "chi2", "jeffreys", "alpha 2", "m=1/2", "kl + 2 chi2")


@pytest.mark.checklist("G16", "G3")
@pytest.mark.parametrize("name", DIFFUSIVE)
def test_the_default_stepper_keeps_mass_sign_and_decay(name):
    steep = name in STEEP_AT_VACUUM
    result = wf.run(functional(name, 2), rough(box(2), 2, not steep, 2 if steep else 6), t_end=0.05, save=6)
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() >= 0.0
    assert never_up(result.steps["energy"])


@pytest.mark.parametrize("name", CARRIED)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_carried_densities_keep_mass_sign_and_decay(name, boundary):
    result = wf.run(functional(name, 1), rough(box(1, boundary), 3, decades=3), t_end=0.03, save=6)
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() >= 0.0
    assert never_up(result.steps["energy"])


@pytest.mark.parametrize("name", ["reverse-kl", "kl", "reverse-chi2", "m=2", "0.3 entropy + V"])
@pytest.mark.parametrize("stepper", [ImplicitEuler(), TRBDF2()], ids=["ImplicitEuler", "TRBDF2"])
def test_three_dimensions(name, stepper):
    result = wf.run(functional(name, 3), rough(box(3), 4), dt=0.05, steps=2, stepper=stepper)
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() >= 0.0
    assert never_up(result.diagnostics["energy"])


def smooth(grid):
    return wf.Density(grid, lambda x: 1.2 + np.sin(x).prod(axis=1))


@pytest.mark.parametrize("name", [*DIFFUSIVE, *CARRIED])
@pytest.mark.parametrize("stepper", ALL, ids=lambda s: s.__name__)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_every_stepper_keeps_mass(name, stepper, boundary):
    q = smooth(box(1, boundary))
    if stepper is Exponential and not make_flow(functional(name, 1), q).facts.linear:
        with pytest.raises(wf.InputError, match="linear"):
            wf.run(functional(name, 1), q, dt=1e-5, steps=3, stepper=stepper())
        return
    if stepper in VARIATIONAL and boundary == "periodic":
        with pytest.raises(wf.InputError, match="no-flux"):
            wf.run(functional(name, 1), q, dt=1e-5, steps=3, stepper=stepper())
        return
    result = wf.run(functional(name, 1), q, dt=1e-5, steps=3, stepper=stepper())
    assert result.status is Status.COMPLETE
    assert np.any(result.final.values != q.values)
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)


def explicit_limit(flow, q):
    """1/(2 Σₖ max Φ'/hₖ²) of the docstring of SSPRK3, with the largest u in the range of the data."""
    return 0.9 / flow.spectral_radius(0.0, q)


@pytest.mark.checklist("G15")
@pytest.mark.parametrize("name", ["reverse-kl", "reverse-chi2", "hellinger", "0.3 entropy + V", "m=2"])
@pytest.mark.parametrize("stepper", EXPLICIT, ids=lambda s: s.__name__)
def test_explicit_steps_below_their_limit_keep_sign_and_decay(name, stepper):
    grid = box(1)
    q = wf.Density(grid, np.random.default_rng(0).uniform(0.5, 2.0, grid.cells))
    dt = explicit_limit(make_flow(functional(name, 1), q), q)
    result = wf.run(functional(name, 1), q, dt=dt, steps=5, stepper=stepper(), save="all")
    assert result.status is Status.COMPLETE
    assert result.diagnostics["minimum"].min() >= 0.0
    assert never_up(result.diagnostics["energy"])


@pytest.mark.checklist("G21")
@pytest.mark.parametrize("name", [*divergences(1), "0.3 entropy + V", "kl + 2 chi2"])
@pytest.mark.parametrize("stepper", ALL, ids=lambda s: s.__name__)
@pytest.mark.parametrize("dim", [1, 2])
def test_equilibrium_is_exactly_at_rest(dim, name, stepper):
    """u = q/p = const gives a rate of exactly 0 up to the rounding of u itself, amplified by Φ' k alone."""
    grid = box(dim)
    p = wf.Gibbs("x**4 - 2*x**2", temperature=0.3, dim=dim) if "V" in name else target(dim)
    q = wf.Density(grid, p)
    flow = make_flow(functional(name, dim), q)
    if stepper is Exponential and not flow.facts.linear:
        pytest.skip("not a linear flow")
    if stepper in VARIATIONAL and (flow.facts.jko or (flow.facts.curved and stepper.order > 1)):
        pytest.skip("no step here")
    rounding = 64 * np.finfo(float).eps * flow.spectral_radius(0.0, q)
    assert np.abs(flow.rate(0.0, q) / q.values).max() <= rounding
    dt = 0.5 if stepper in (ImplicitEuler, TRBDF2, Exponential, *VARIATIONAL) else explicit_limit(flow, q)
    result = wf.run(functional(name, dim), q, dt=dt, steps=5, stepper=stepper())
    assert_allclose(result.final.values, q.values, rtol=1e-12)


@pytest.mark.parametrize("name", ["entropy", "m=2", "m=1/2", "q**2 + q**3"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_uniform_is_exactly_at_rest_under_internal_energies(name, boundary):
    q = wf.Density(box(2, boundary), np.ones(23 * 9))
    assert np.all(make_flow(functional(name, 2), q).rate(0.0, q) == 0.0)


def test_upwind_flux_is_at_rest_where_the_first_variation_is_constant():
    """2q + V = const on the support: the Barenblatt profile of m = 2 in a harmonic well."""
    grid = wf.Grid(-2, 2, 40)
    q = wf.Density(grid, lambda x: np.maximum(1 - x[:, 0] ** 2 / 2, 0), normalize=False)
    flow = make_flow(wf.PowerEntropy(2) + wf.Potential("x**2"), q)
    inside = np.abs(grid.centers[0]) < 1.2
    assert np.abs(flow.rate(0.0, q)[inside]).max() < 1e-13


@pytest.mark.parametrize("stepper", [None, ImplicitEuler()], ids=["default", "ImplicitEuler"])
def test_absorbing_sides_let_mass_out_as_the_heat_equation_does(stepper):
    """q = sin(πx/2) on [0, 2]: mass falls as exp(-(π/2)² t); the energy, which may rise, stops no run."""
    grid = wf.Grid(0, 2, 80, "absorbing")
    q = wf.Density(grid, lambda x: np.sin(np.pi * x[:, 0] / 2))
    dt = None if stepper is None else 1e-3
    result = wf.run(wf.Entropy(), q, t_end=0.5, stepper=stepper, dt=dt, tol=1e-4)
    assert result.status is Status.COMPLETE
    assert_allclose(result.final.mass, np.exp(-0.5 * (np.pi / 2) ** 2), rtol=2e-3)
    assert np.all(np.diff(result.diagnostics["mass"]) < 0)


def test_periodic_box_with_a_target_that_is_not_periodic_keeps_mass():
    """The first and the last face are one face, whatever p is at the two ends of the box."""
    for V in ("x", "(x - 0.3)**2", "x**3"):
        q = rough(wf.Grid([-2, 0], [1, 1], (12, 5), "periodic"))
        flow = make_flow(wf.Entropy() + wf.Potential(V), q)
        rate = flow.rate(0.0, q)
        assert abs(rate.sum()) < 1e-14 * np.abs(rate).sum()


def test_mass_where_the_target_is_zero_neither_moves_nor_appears():
    grid = wf.Grid([-2, -2], [2, 2], (16, 16))
    p = wf.Uniform([-1, -1], [1, 1])
    q = wf.Density(grid, wf.Uniform([-1, -1], [0, 1]))
    for name in DIVERGENCES:
        if name in ("kl", "chi2", "jeffreys"):
            continue
        result = wf.run(wf.FDivergence(name, p), q, t_end=3.0, save="ends")
        assert result.status is Status.COMPLETE
        assert np.all(result.final.values[wf.Density(grid, p).values == 0] == 0)
        assert_allclose(result.final.mass, 1, atol=1e-13)
        assert result.final.values[8:12, 4:12].sum() > 0.1 * result.final.values.sum()
