"""What a review found, held for good: files as written, seams, walls, notes, cuts, narrow targets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import Status
from wflow.flows import log_mass, make_flow


def test_a_gaussian_that_lost_its_rank_is_read_as_it_was_written(tmp_path):
    F = wf.Potential("50*(x+0.3*y)**2")
    made = wf.run(F, wf.Gaussian([1.0, 0.0], [1.0, 2.0]), t_end=5.0, tol=1e-9)
    read = wf.run(F, wf.Gaussian([1.0, 0.0], [1.0, 2.0]), t_end=5.0, tol=1e-9, out=tmp_path / "g.h5")
    assert_array_equal(read.final.cov, made.final.cov)
    assert_allclose(read.final.factor @ read.final.factor.T, made.final.cov, atol=1e-12)


def test_outflow_and_mass_are_one():
    result = wf.run(wf.Entropy(), wf.Density(wf.Grid(0, 1, 50, "absorbing"), np.ones(50)), t_end=0.1)
    assert_allclose(result.diagnostics["mass"] + result.diagnostics["outflow"], 1.0, rtol=1e-14)
    # Survival of the slowest mode: 8/π² e^(-π² t) from the uniform start, and the third.
    t = result.times[-1]
    survival = sum(8 / (np.pi * k) ** 2 * np.exp(-((np.pi * k) ** 2) * t) for k in (1, 3, 5))
    assert_allclose(result.diagnostics["mass"][-1], survival, rtol=1e-3)


def test_walls_beside_a_potential_are_refused():
    F = wf.FDivergence("reverse-chi2", wf.Uniform(-1.0, 1.0)) + wf.Potential("x")
    with pytest.raises(wf.InputError, match="walls"):
        wf.run(F, wf.Density(wf.Grid(-2.0, 2.0, 40), wf.Uniform(-1.0, 1.0)), t_end=1.0)


def test_a_periodic_kernel_is_even_half_a_period_away():
    grid = wf.Grid([0.0, 0.0], [2.0, 2.0], (8, 8), "periodic")
    rng = np.random.default_rng(0)
    q = wf.Density(grid, rng.uniform(0.2, 2.0, grid.cells))
    flow, direction = make_flow(wf.Interaction("x*y*exp(-2*(x**2+y**2))"), q), rng.standard_normal(grid.cells)
    slope = np.sum(flow.variation.slope(0.0, q.values) * direction) * grid.volume
    ends = [flow.energy(0.0, q.at(q.values + e * direction)) for e in (1e-3, -1e-3)]
    assert_allclose(slope, (ends[0] - ends[1]) / 2e-3, rtol=1e-8)


def test_a_drift_that_jumps_at_the_seam_stays_symmetric():
    grid = wf.Grid(0.0, 1.0, 40, "periodic")
    start = wf.Density(grid, lambda x: 1.0 + 0.5 * np.cos(2 * np.pi * x[:, 0]))
    final = wf.run(None, start, t_end=0.3, drift=["0.5 - x"]).final.values
    assert_allclose(final, final[::-1], atol=1e-12)


def test_what_was_said_inside_a_step_is_told():
    cloud = wf.Particles(np.zeros((4, 1)))
    stepper = wf.steppers.Langevin(temperature="1 - t")
    with pytest.warns(wf.RunWarning, match="must be finite and not negative"):
        result = wf.run(wf.Entropy() + wf.Potential("x**2"), cloud, t_end=2.0, dt=0.1, stepper=stepper)
    assert result.status is Status.UNDEFINED


def test_implicit_euler_is_cut_where_attraction_would_raise_the_energy():
    F = 0.1 * wf.Entropy() + wf.Interaction("-4*exp(-x**2/0.1)")
    start = wf.Density(wf.Grid(-2.0, 2.0, 60), wf.Gaussian([0.3], 0.3))
    result = wf.run(F, start, dt=0.5, steps=4, stepper=wf.steppers.ImplicitEuler(), save="all")
    assert result.status is Status.COMPLETE
    assert result.steps["cuts"].sum() > 0
    assert np.all(np.diff(result.diagnostics["energy"]) <= 0.0)


def test_the_mass_of_a_narrow_target_is_found():
    box = wf.Grid([-1.0] * 3, [1.0] * 3, 4)
    assert_allclose(log_mass(wf.Gaussian([0.1, 0.0, -0.2], 0.004**2), box), 0.0, atol=1e-6)
    assert_allclose(log_mass(wf.Gaussian([0.0], 1.0), wf.Grid(0.0, 50.0, 4)), np.log(0.5), atol=1e-4)


def test_a_box_is_refused_by_steppers_that_subtract_positions():
    cloud = wf.Particles([[0.85]], domain=wf.Grid(0.0, 1.0, 4, "periodic"))
    for stepper in (wf.steppers.TRBDF2(), wf.steppers.RKL2()):
        with pytest.raises(wf.InputError, match="folds back"):
            wf.run(None, cloud, t_end=0.5, drift=["1"], stepper=stepper)
    assert_allclose(wf.run(None, cloud, t_end=0.5, drift=["1"]).final.positions, 0.35, atol=1e-12)
    blob = wf.Blob(wf.PowerEntropy(2), 0.02)
    many = wf.Particles(np.linspace(0.3, 0.7, 40)[:, None], domain=wf.Grid(0.0, 1.0, 4))
    assert wf.run(blob, many, t_end=0.01).status is Status.COMPLETE


def test_balance_is_kept_for_steppers_that_follow_the_rate_only():
    V, x = wf.Potential("x**2 / 2"), wf.Point([1.0])
    assert "balance" in wf.run(V, x, steps=2, dt=0.1).steps
    assert "balance" not in wf.run(V, x, steps=2, dt=0.1, stepper=wf.steppers.Momentum()).steps
