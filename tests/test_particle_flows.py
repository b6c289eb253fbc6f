"""Deterministic particle flows against closed solutions: the plug-in flow of a Gaussian, porous medium by blobs."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.special import ndtri

import wflow as wf
from wflow.errors import Status
from wflow.exact import barenblatt, barenblatt_radius
from wflow.loop.march import march
from wflow.loop.plan import DEFAULTS, make_plan
from wflow.loop.standing import opening


@pytest.mark.parametrize("start", [0.4, 2.0])
def test_plug_in_flow_of_a_gaussian_keeps_its_closed_equation(start):
    """The estimate of N(0, s²) by a kernel of width h is N(0, s² + h²): s' = -s + s/(s² + h²), to 1e-3."""
    n, h = 4000, 0.3
    cloud = wf.Particles(start * ndtri((np.arange(n) + 0.5) / n)[:, None])
    F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
    result = wf.run(F, cloud, t_end=2.0, estimator=h, tol=1e-6, save=[0.2, 0.7, 2.0])
    s0 = float(np.sqrt(cloud.cov[0, 0]))
    exact = solve_ivp(lambda t, s: -s + s / (s**2 + h**2), (0, 2), [s0], rtol=1e-10, t_eval=result.times).y[0]
    found = [float(np.sqrt(state.cov[0, 0])) for state in result.states]
    assert_allclose(found, exact, rtol=1e-3)
    assert abs(exact[-1] / exact[0] - 1.0) > 0.4


def test_a_blob_of_the_entropy_of_a_gaussian_differs_from_the_plug_in_by_the_second_sum():
    """Its energy Σ w log q̂ has for N(0, s²) the value -½ log(2π(s² + h²)) - s²/(2(s² + h²))."""
    n, h, s = 4000, 0.5, 1.3
    cloud = wf.Particles(s * ndtri((np.arange(n) + 0.5) / n)[:, None])
    exact = -0.5 * np.log(2 * np.pi * (s**2 + h**2)) - s**2 / (2 * (s**2 + h**2))
    assert_allclose(wf.energy(wf.Blob(wf.Entropy(), h), cloud), exact, rtol=2e-3)


# Barenblatt ----------------------------------------------------------------------------------------------------------


def lattice(m, t, across, dim):
    """The solution at time t on a lattice: positions, masses of the cells, spacing."""
    radius = barenblatt_radius(t, m, dim)
    h = 2.0 * radius / across
    axis = h * (np.arange(across) - 0.5 * (across - 1))
    x = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    mass = barenblatt(x, t, m)
    return wf.Particles(x[mass > 0], mass[mass > 0]), h


def distance_to_barenblatt(m, across, dim, t=0.15, end=0.3, power=0.95):
    """RMS distance of the particles from where the exact flow takes them, a bound on their W2 to that."""
    start, h = lattice(m, t, across, dim)
    F = wf.Blob(wf.PowerEntropy(m), h**power)
    final = wf.run(F, start, t_end=end - t, tol=1e-6, save="ends").final
    exact = start.positions * barenblatt_radius(end, m, dim) / barenblatt_radius(t, m, dim)
    return np.sqrt(start.weights @ np.sum((final.positions - exact) ** 2, axis=1)), start.weights, exact


@pytest.mark.parametrize("m", [2.0, 5.0])
def test_porous_medium_converges_to_barenblatt_in_one_dimension(m):
    """The whole error in W2, against the density itself: first order in 1/n, most of it point masses for a density."""
    errors = []
    for across in (50, 100, 200):
        start, h = lattice(m, 0.15, across, 1)
        final = wf.run(wf.Blob(wf.PowerEntropy(m), h**0.95), start, t_end=0.15, tol=1e-6, save="ends").final
        radius = barenblatt_radius(0.3, m)
        fine = wf.Grid(-1.1 * radius, 1.1 * radius, 20_000)
        errors.append(wf.wasserstein2(final, wf.Density(fine, lambda x: barenblatt(x, 0.3, m))))
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    assert_allclose(observed, 1.0, atol=0.1)
    assert errors[-1] < 6e-3


def test_porous_medium_converges_to_barenblatt_in_the_plane():
    errors = [distance_to_barenblatt(5.0, across, 2)[0] for across in (20, 40)]
    assert errors[1] < 5e-3
    assert np.log2(errors[0] / errors[1]) > 0.7


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "functional", [wf.Entropy(), wf.FDivergence("kl", wf.Gaussian([0.0], 1.0)), wf.PowerEntropy(2)]
)
def test_one_particle_and_coincident_ones_have_no_bandwidth_by_rule(functional):
    for positions, message in (([[1.0]], "needs two samples"), (np.ones((5, 1)), "coincide on axis 0")):
        with pytest.raises(wf.InputError, match=message):
            wf.run(functional, wf.Particles(positions), t_end=0.1)
        assert wf.run(functional, wf.Particles(positions), t_end=0.1, estimator=0.5).status is Status.COMPLETE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wf.Particles([[0.0], [1.0]], [1.0, -1.0]), "negative"),
        (lambda: wf.Particles([[0.0], [1.0]], [0.0, 0.0]), "all be zero"),
        (lambda: wf.Particles([[0.0], [3.0]], domain=wf.Grid(0, 1, 4)), "outside the domain"),
        (lambda: wf.Particles([[0.0], [np.nan]]), "finite"),
    ],
)
def test_bad_clouds_are_refused(make, message):
    with pytest.raises(wf.InputError, match=message):
        make()


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf, 1e300, 1e-300])
def test_bandwidths_that_cannot_serve_are_refused(width):
    with pytest.raises(wf.InputError, match="a bandwidth"):
        wf.run(wf.Entropy(), wf.Particles([[0.0], [1.0]]), t_end=0.1, estimator=width)
    with pytest.raises(wf.InputError, match="a bandwidth"):
        wf.Blob(wf.Entropy(), width)


@pytest.mark.parametrize("n", [3, 20_000])
@pytest.mark.parametrize("stepper", [None, wf.steppers.Langevin(), wf.steppers.UnderdampedLangevin()])
def test_a_drift_that_is_undefined_from_some_time_on_ends_the_run_with_its_frames(stepper, n):
    """Inside a sweep of many steps as well."""
    options = {"estimator": 0.5} if stepper is None else {"dt": 0.01, "stepper": stepper}
    F, cloud = wf.Entropy() + wf.Potential("x**2/2"), wf.Particles(np.linspace(-1.0, 1.0, n)[:, None])
    with pytest.warns(wf.RunWarning) as record:
        result = wf.run(F, cloud, t_end=1.0, drift=["sqrt(0.5 - t)"], save=6, **options)
    assert len(record) == 1
    assert not result.status.good
    assert 0.4 <= result.times[-1] <= 0.52
    assert len(result.times) >= 3
    assert all(np.all(np.isfinite(state.positions)) for state in result.states)


def test_a_velocity_that_is_not_finite_ends_the_run_with_its_frames():
    F = wf.Blob(wf.Entropy(), 0.3) + wf.Potential("-exp(x**2)")
    with pytest.warns(wf.RunWarning):
        result = wf.run(
            F, wf.Particles([[0.0], [1.0], [2.0]]), dt=0.05, steps=50, stepper=wf.steppers.ExplicitEuler(), save="all"
        )
    assert not result.status.good
    assert len(result.times) >= 1
    assert np.all(np.isfinite(result.states[0].positions))


@pytest.mark.checklist("G20")
def test_the_table_of_clouds_against_the_grid_has_the_rates():
    """Made by experiments/sampling_error.py, from a thousand particles to a million. Four runs of a million give the
    slopes a standard error of 0.05."""
    with (Path(__file__).resolve().parent.parent / "data" / "sampling_error.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, rate in (("mean", -1 / 2), ("second moment", -1 / 2), ("W2, 1-D", -1 / 2), ("W2, 3-D", -1 / 3)):
        n, error = np.array([(float(row["n"]), float(row["error"])) for row in rows if row["quantity"] == name]).T
        assert abs(np.polyfit(np.log(n), np.log(error), 1)[0] - rate) < 0.1


# Clusters in space ---------------------------------------------------------------------------------------------------


def lumps(n=3000):
    """Eight lumps of width 0.02 at the corners of a cube of side 10, with lonely particles between."""
    rng = np.random.default_rng(0)
    x = 0.02 * rng.standard_normal((n, 3)) + 10.0 * rng.integers(0, 2, (n, 3))
    x[:20] = rng.uniform(2.0, 8.0, (20, 3))
    return wf.Particles(x, rng.uniform(0.5, 1.5, n))


@pytest.mark.parametrize("box", [None, wf.Grid([-1.0] * 3, [11.0] * 3, 4, ["no-flux", "periodic", "no-flux"])])
def test_a_clustered_cloud_in_space_runs_by_near_pairs_to_where_all_pairs_take_it(box):
    """A mesh would need 10¹⁰ cells. Sums are cut at 7e-10 of the peak of the kernel."""
    h, start = 0.01, lumps(2050)
    start = wf.Particles(start.positions, start.weights, domain=box)
    F = wf.FDivergence("reverse-kl", wf.Gaussian([5.0] * 3, 30.0))
    options = {"dt": 2e-5, "steps": 4, "stepper": wf.steppers.Heun(), "save": 2}
    near = wf.run(F, start, estimator=h, **options)
    direct = wf.run(F, start, estimator=wf.estimators.Kernel(h, method="direct"), **options)
    assert (near.info["sums"], direct.info["sums"]) == ("density by near pairs", "density by direct sums")
    moved = np.abs(direct.final.positions - start.positions).max()
    assert moved > 0.1 * h
    assert_allclose(near.final.positions, direct.final.positions, rtol=0, atol=1e-7 * moved)
    assert_allclose(near.diagnostics["energy"], direct.diagnostics["energy"], rtol=1e-8)


def test_a_clustered_blob_in_space_runs_by_near_pairs():
    """Its energy falls at every step, by what is dissipated, and pair forces cancel though sums are cut."""
    start = lumps(2050)
    result = wf.run(wf.Blob(wf.Entropy(), 0.01), start, t_end=1e-4, tol=1e-5)
    assert result.info["sums"] == "blob by near pairs"
    assert np.abs(result.final.mean - start.mean).max() < 1e-14 * np.abs(start.positions).max()
    energy, spent = result.diagnostics["energy"], np.trapezoid(result.diagnostics["dissipation"], result.times)
    assert np.all(np.diff(result.steps["energy"]) < 0.0)
    assert_allclose(energy[0] - energy[-1], spent, rtol=0.05)


def test_energies_of_clouds_stand_at_every_step_where_they_cost_no_more_than_a_rate():
    """Plug-in, blob and pair energies up to three dimensions; of samplers at the frames, beyond three none."""
    x = np.random.default_rng(0).standard_normal((300, 4))
    for functional in (wf.Entropy(), wf.Blob(wf.PowerEntropy(2), 0.5), wf.Interaction("x**2/2 + abs(x)")):
        result = wf.run(functional, wf.Particles(x[:, :1]), t_end=0.1, tol=1e-6, save=3, estimator=0.5)
        ends = np.searchsorted(result.steps["time"], result.times[1:] - 1e-12)
        assert len(result.steps["energy"]) > 2
        assert_array_equal(result.steps["energy"][ends], result.diagnostics["energy"][1:])
        assert np.all(np.diff(result.steps["energy"]) < 0.0)
    noisy = wf.run(wf.Entropy(), wf.Particles(x[:, :2]), dt=0.1, steps=6, stepper=wf.steppers.Langevin(), save=3)
    assert_array_equal(np.isnan(noisy.steps["energy"]), [True, True, False, True, True, False])
    assert_array_equal(noisy.steps["energy"][[2, 5]], noisy.diagnostics["energy"][1:])
    for functional, asked in ((wf.Entropy(), False), (wf.Blob(wf.Entropy(), 0.5), False), (wf.Potential("x**2"), True)):
        plan = make_plan(functional, wf.Particles(x[:, :1]), DEFAULTS | {"t_end": 0.1, "save": "all"})
        taken = [np.isfinite(moment.energy) for moment in march(plan, opening(plan), recorded=False)]
        assert taken == [asked] * len(taken)  # nobody reads the others of `iterate`
    beyond = wf.run(wf.Entropy(), wf.Particles(x), t_end=0.1, estimator=0.5)
    assert np.all(np.isnan(beyond.steps["energy"]))
    assert "energy" not in beyond.diagnostics
