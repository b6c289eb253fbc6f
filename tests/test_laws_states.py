"""Laws off the grid and over all states: one particle is a point, decay of monotone steppers, the energy balance."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.steppers import STEPPERS, TRBDF2, VARIATIONAL, Exponential, ImplicitEuler, Langevin

ALL = tuple(s for s in STEPPERS if s.order is not None)


def never_up(energies):
    return np.all(np.isfinite(energies)) and np.all(np.diff(energies) <= 2e-13 * (1 + np.abs(energies[:-1])))


@pytest.mark.checklist("G8", "G1")
@pytest.mark.parametrize("stepper", ALL, ids=lambda s: s.__name__)
@pytest.mark.parametrize("arguments", [{}, {"drift": ["-y", "x + t"]}], ids=["gradient", "with drift"])
def test_one_particle_is_a_point_bit_for_bit(stepper, arguments):
    if stepper is Exponential:
        pytest.skip("for linear flows on a grid")
    V = wf.Potential("(x**2 - 1)**2/4 + x*y/3 + exp(y/2)")
    start = [1.3, -0.7]
    if stepper in VARIATIONAL and arguments:
        with pytest.raises(wf.InputError, match="not the Euclidean gradient flow"):
            wf.run(V, wf.Point(start), dt=0.1, steps=7, stepper=stepper(), **arguments)
        return
    point = wf.run(V, wf.Point(start), dt=0.1, steps=7, stepper=stepper(), save="all", **arguments)
    cloud = wf.run(V, wf.Particles([start]), dt=0.1, steps=7, stepper=stepper(), save="all", **arguments)
    assert point.status is cloud.status is Status.COMPLETE
    for a, b in zip(point.states, cloud.states, strict=True):
        assert_array_equal(a.x, b.positions[0])
    assert_array_equal(point.diagnostics["energy"], cloud.diagnostics["energy"])


@pytest.mark.checklist("G22")
def test_langevin_without_entropy_is_explicit_euler_bit_for_bit():
    V, q = wf.Potential("x**4/4 + y**2"), wf.Particles(np.random.default_rng(0).standard_normal((9, 2)))
    noisy = wf.run(V, q, dt=0.05, steps=5, stepper=Langevin())
    plain = wf.run(V, q, dt=0.05, steps=5, stepper=wf.steppers.ExplicitEuler())
    assert_array_equal(noisy.final.positions, plain.final.positions)


@pytest.mark.checklist("G1", "G3")
@pytest.mark.parametrize("stepper", [ImplicitEuler(), TRBDF2()], ids=["ImplicitEuler", "TRBDF2"])
@pytest.mark.parametrize("kind", ["point", "particles", "interacting", "gaussian"])
@pytest.mark.parametrize("dt", [0.01, 1.0, 30.0])
def test_monotone_steppers_off_the_grid(kind, stepper, dt):
    """Never up at any step, also on a double well, which is not convex."""
    well = wf.Potential("(x**2 - 1)**2/2")
    x = np.random.default_rng(0).uniform(-3, 3, (12, 1))
    F, q = {
        "point": (well, wf.Point([2.5])),
        "particles": (well, wf.Particles(x)),
        "interacting": (wf.Interaction("x**2/2 + exp(-x**2)/4"), wf.Particles(x)),
        "gaussian": (wf.FDivergence("reverse-kl", wf.GaussianMixture([[-1.0], [1.5]], 0.5)), wf.Gaussian([2.5], 0.3)),
    }[kind]
    result = wf.run(F, q, dt=dt, steps=5, stepper=stepper, save="all")
    assert result.status is Status.COMPLETE
    assert never_up(result.diagnostics["energy"])
    assert result.diagnostics["energy"][-1] < result.diagnostics["energy"][0] - 1e-3


@pytest.mark.checklist("G1")
@pytest.mark.parametrize(("share", "falls"), [(1.9, True), (2.1, False)])
def test_gradient_descent_falls_below_two_over_the_largest_curvature(share, falls):
    result = wf.run(wf.Potential("x**2/2 + 4*y**2"), wf.Point([3, 1]), dt=share / 8, steps=200, save="all")
    assert np.all(np.diff(result.diagnostics["energy"]) <= 0) == falls


@pytest.mark.checklist("G3")
@pytest.mark.parametrize("kind", ["point", "newton", "particles", "gaussian", "natural", "grid", "grid, upwind"])
def test_energy_lost_is_the_integral_of_the_dissipation(kind):
    """F(0) - F(T) = ∫ D dt by Gauss–Legendre frames of an accurate run."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    T, tol = 0.4, 1e-8
    grid = wf.Grid(-3, 3, 30)
    mixture = wf.GaussianMixture([[-1.0], [1.5]], 0.5)
    cases = {
        "point": (wf.Potential("(x**2 - 1)**2/4 + y**2"), wf.Point([1.7, -2.0]), None),
        "newton": (wf.Potential("x**4 + x*y/4 + y**2"), wf.Point([1.7, -2.0]), wf.metrics.Newton()),
        "particles": (
            wf.Potential("x**4/4") + wf.Interaction("exp(-x**2)"),
            wf.Particles(np.linspace(-1, 2, 7)[:, None], np.arange(1.0, 8.0)),
            None,
        ),
        "gaussian": (wf.FDivergence("reverse-kl", mixture), wf.Gaussian([2.0], 0.4), None),
        "natural": (wf.FDivergence("reverse-kl", mixture), wf.Gaussian([2.0], 0.4), wf.metrics.Natural()),
        "grid": (wf.FDivergence("jeffreys", mixture), wf.Density(grid, wf.Gaussian([0.3], 1.5)), None),
        "grid, upwind": (wf.PowerEntropy(2) + wf.Potential("x**2"), wf.Density(grid, wf.Gaussian([0.3], 1.5)), None),
    }
    F, q, metric = cases[kind]
    tol = 1e-6 if "grid" in kind else tol
    frames = T * (1 + nodes) / 2
    result = wf.run(F, q, t_end=T, metric=metric, tol=tol, save=frames)
    assert_allclose(result.times[1:-1], frames)
    energy, loss = result.diagnostics["energy"], result.diagnostics["dissipation"]
    spent = T / 2 * weights @ loss[1:-1]
    assert spent > 1e-3
    assert_allclose(energy[0] - energy[-1], spent, rtol=2e-5 if "grid" in kind else 1e-7)


def test_a_timed_potential_claims_no_balance():
    for q in (
        wf.Point([1.0]),
        wf.Particles([[1.0]]),
        wf.Gaussian([1.0], 1.0),
        wf.Density(wf.Grid(-1, 2, 9), np.ones(9)),
    ):
        result = wf.run(wf.Potential("(x - t)**2"), q, t_end=0.1)
        assert "dissipation" not in result.diagnostics
        assert np.isnan(make_flow(wf.Potential("(x - t)**2"), q).dissipation(0.0, q))
