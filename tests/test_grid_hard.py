"""Hard input on a grid: rough data at steps from 1e-8 to 1e4, low temperatures, walls, one cell, tolerances."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import wflow as wf
from wflow.errors import Status
from wflow.functionals import DIVERGENCES
from wflow.loop.control import Controller
from wflow.steppers import RKL2, TRBDF2, Exponential, ImplicitEuler

BOX = {1: (17,), 2: (9, 6), 3: (5, 4, 3)}


def target(dim):
    return wf.Gibbs(
        "(x**2 - 1)**2 + x/3" + (" + y**2" if dim > 1 else "") + (" + z**2 + x*z" if dim > 2 else ""), dim=dim
    )


def make(name, dim):
    if name in DIVERGENCES:
        return wf.FDivergence(name, target(dim))
    return {"entropy + V": 0.4 * wf.Entropy() + wf.Potential("x**4 - x"), "m=3": wf.PowerEntropy(3)}[name]


@given(
    name=st.sampled_from((*DIVERGENCES, "entropy + V", "m=3")),
    dim=st.sampled_from((1, 2, 3)),
    boundary=st.sampled_from(("no-flux", "periodic")),
    stepper=st.sampled_from((ImplicitEuler(), TRBDF2())),
    power=st.integers(-8, 4),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_rough_data_at_any_step(name, dim, boundary, stepper, power, seed):
    grid = wf.Grid([-1.5] * dim, [1.5] * dim, BOX[dim], boundary)
    rng = np.random.default_rng(seed)
    state = wf.Density(grid, 10.0 ** rng.uniform(-4, 2, grid.cells))
    result = wf.run(make(name, dim), state, dt=10.0**power, steps=3, stepper=stepper, save="all")
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() >= 0.0
    energy = result.diagnostics["energy"]
    assert np.all(np.diff(energy) <= 2e-13 * (1.0 + np.abs(energy[:-1])))


@pytest.mark.parametrize("temperature", [1e-1, 1e-2, 1e-3])
def test_low_temperature_keeps_the_well(temperature):
    """Weights range over e^(-9000): from one well the density stays there and takes its Gibbs form."""
    grid = wf.Grid(-2.0, 2.0, 400)
    F = temperature * wf.Entropy() + wf.Potential("(x**2 - 1)**2")
    start = wf.Density(grid, wf.Gaussian([0.8], 0.05**2))
    result = wf.run(F, start, t_end=5.0, tol=1e-3, save="ends")
    assert result.status is Status.COMPLETE
    assert_allclose(result.final.mass, 1.0, atol=1e-13)
    p = np.exp(-((grid.centers[0] ** 2 - 1.0) ** 2) / temperature) * (grid.centers[0] > 0)
    local = wf.Density(grid, p)
    assert np.abs(result.final.values - local.values).sum() * grid.volume < (0.02 if temperature == 0.1 else 1e-3)


def test_a_start_beyond_the_range_of_float64_is_refused():
    F = 1e-3 * wf.Entropy() + wf.Potential("(x**2 - 1)**2")
    with pytest.raises(wf.InputError, match="beyond the range"):
        wf.run(F, wf.Density(wf.Grid(-2.0, 2.0, 100), wf.Gaussian([-1.9], 1e-3)), t_end=1.0)


@pytest.mark.parametrize("stepper", [ImplicitEuler(), TRBDF2(), RKL2(), Exponential()])
def test_cells_without_target_are_walls(stepper):
    """p vanishes on two strips: mass stays in its own component, and each relaxes to p within it."""
    grid = wf.Grid([-2.0, -1.0], [2.0, 1.0], (40, 10))
    x = grid.points()[:, 0]
    p = wf.Uniform([-1.0, -1.0], [1.0, 1.0])
    inside = np.abs(x) < 1.0
    start = wf.Density(grid, inside * (1.0 + 0.9 * np.sin(3.0 * x)))
    dt = {"dt": 0.5} if isinstance(stepper, ImplicitEuler) else {}
    result = wf.run(wf.FDivergence("reverse-kl", p), start, t_end=20.0, stepper=stepper, save="ends", **dt)
    assert result.status is Status.COMPLETE
    assert np.all(result.final.values.ravel()[~inside] == 0.0)
    assert_allclose(result.final.values.ravel()[inside], 0.25, rtol=1e-3)
    outside = wf.Density(grid, np.ones(grid.cells))
    with pytest.raises(wf.InputError, match="target is zero"):
        wf.run(wf.FDivergence("reverse-kl", p), outside, t_end=1.0)


def test_component_masses_are_conserved_over_a_wall():
    """Checklist G23: a disconnected target keeps what each part began with, so q does not reach p."""
    grid = wf.Grid(-2.0, 2.0, 80)
    x = grid.centers[0]
    gap = wf.Gibbs(lambda z: np.where(np.abs(z[:, 0]) < 0.5, np.inf, 0.0), dim=1)
    start = wf.Density(grid, np.where(x < -0.5, 3.0, np.where(x > 0.5, 1.0, 0.0)) * (1 + 0.5 * np.cos(3 * x)))
    left = start.values[x < 0].sum() * grid.volume
    result = wf.run(wf.FDivergence("kl", gap), start, t_end=50.0, tol=1e-4, save="ends")
    assert result.status is Status.COMPLETE
    assert_allclose(
        result.final.values[x < 0].sum() * grid.volume, left, rtol=1e-5
    )  # what the inner solver's tolerance allows
    assert_allclose(result.final.values[x < -0.5], left / 1.5, rtol=1e-3)


@pytest.mark.parametrize("cells", [1, (1, 1), (1, 5), (5, 1, 2)])
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_one_cell(cells, boundary):
    dim = np.size(cells)
    grid = wf.Grid([0.0] * dim, [1.0] * dim, cells, boundary)
    start = wf.Density(grid, np.random.default_rng(0).random(grid.cells) + 0.1)
    result = wf.run(wf.Entropy(), start, t_end=10.0, save="ends")
    assert result.status is Status.COMPLETE
    assert_allclose(result.final.values, 1.0, rtol=1e-2)


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
def test_the_error_follows_the_tolerance(tol):
    """From a nearly singular start, a spike narrower than a cell."""
    grid = wf.Grid(-2.0, 2.0, 24)
    F = 0.5 * wf.Entropy() + wf.Potential("x**2")
    start = wf.Density(grid, wf.Gaussian([0.5], 0.05**2))
    exact = wf.run(F, start, t_end=0.05, tol=1e-12, stepper=Exponential(), save="ends").final.values
    result = wf.run(F, start, t_end=0.05, tol=tol, save="ends", stepper=TRBDF2())
    assert result.status is Status.COMPLETE
    assert np.abs(result.final.values - exact).sum() * grid.volume <= 0.05 * tol


def test_a_tolerance_at_rounding_still_steps():
    """tol = 1e-10 with steps near 1e-6 asks for errors of 1e-16 of the mass: rounding is allowed for."""
    grid = wf.Grid(-2.0, 2.0, 24)
    start = wf.Density(grid, wf.Gaussian([0.5], 0.05**2))
    with pytest.warns(wf.RunWarning, match="max_steps"):
        result = wf.run(wf.Entropy(), start, t_end=0.05, tol=1e-10, max_steps=200, stepper=TRBDF2())
    assert result.status is Status.MAX_STEPS
    assert len(result.steps["time"]) == 200
    assert result.steps["rejections"].sum() < 20


SINGULAR = {
    "vacuum": lambda x: (x[:, 0] > 0.0) * 1.0,
    "spike": wf.Gaussian([0.5], 0.01),
    "rough": lambda x: 10.0 ** (3.0 * np.sin(77.0 * x[:, 0]) - 3.0),
}


@pytest.mark.parametrize("start", SINGULAR)
@pytest.mark.parametrize("name", ["kl", "chi2", "jeffreys", "hellinger", "alpha", "m=1/2"])
def test_steep_pressures_start_from_anything(name, start):
    """Out of a vacuum a steep Φ moves mass faster than any rate: no step meets an error per unit of time there."""
    grid = wf.Grid(-2.0, 1.5, 23)
    p = wf.Gibbs("(x**2 - 1)**2")
    F = wf.PowerEntropy(0.5) if name == "m=1/2" else wf.FDivergence(name, p, alpha=2.0 if name == "alpha" else None)
    coarse, fine = (
        wf.run(F, wf.Density(grid, SINGULAR[start]), t_end=0.5, tol=tol, save="ends") for tol in (1e-2, 1e-3)
    )
    assert coarse.status is fine.status is Status.COMPLETE
    assert_allclose([coarse.final.mass, fine.final.mass], 1.0, rtol=0, atol=1e-13)
    assert np.abs(coarse.final.values - fine.final.values).sum() * grid.volume < 0.5 * 1e-2
    lost = fine.steps["rejections"].sum() + fine.steps["fallbacks"].sum()
    assert lost <= max(10, 0.05 * len(fine.steps["time"]))


P_LINE, LINE = wf.Gaussian([0.0], 1.0), wf.Grid(-4.0, 4.0, 100)
STARTS = {
    "vacuum": wf.Density(LINE, lambda x: (x[:, 0] < 0.0).astype(float)),
    "spike": wf.Density(LINE, wf.Gaussian([-1.6], 0.08**2)),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", [*DIVERGENCES, "m=1/2", "m=2", "m=5"])
def test_one_implicit_step_of_any_size_out_of_a_singular_start(name, start):
    """Newton must not move a front by one cell an iteration, nor stop at numbers at the end of float64."""
    power = {"m=1/2": 0.5, "m=2": 2, "m=5": 5}.get(name)
    F = wf.FDivergence(name, P_LINE) if power is None else wf.PowerEntropy(power)
    for dt in 10.0 ** np.arange(-8.0, 5.0, 2.0):
        result = wf.run(F, STARTS[start], dt=dt, steps=1, stepper=ImplicitEuler())
        assert result.status is Status.COMPLETE
        assert result.steps["cuts"].sum() == 0.0
        assert_allclose(result.final.mass, 1.0, rtol=0, atol=1e-13)
        assert result.final.values.min() >= 0.0
        assert result.diagnostics["energy"][1] <= result.diagnostics["energy"][0]


def test_energy_of_cells_all_but_empty():
    """φ(u)/u overflows below u = e^-340, p φ(u) does not: reverse-chi2 has φ(0) = 1."""
    q = np.where(LINE.centers[0] < 0.0, 1.0, 1e-300)
    F, state = wf.FDivergence("reverse-chi2", P_LINE), wf.Density(LINE, q)
    p, q = wf.Density(LINE, P_LINE).values, state.values
    assert_allclose(wf.energy(F, state), ((q - p) ** 2 / p).sum() * LINE.volume, rtol=1e-12)


def test_a_porous_medium_out_of_a_vacuum_in_the_tails():
    result = wf.run(wf.FDivergence("reverse-chi2", P_LINE), STARTS["vacuum"], t_end=3.0, save="ends")
    assert result.status is Status.COMPLETE
    assert wf.energy(wf.FDivergence("reverse-chi2", P_LINE), result.final) < 1e-3


@pytest.mark.parametrize("dim", [1, 2])
def test_a_start_twelve_deviations_away(dim):
    """Cells on the far side hold numbers at the end of float64; the solve must not wait for their digits."""
    grid = wf.Grid([-14.0] * dim, [14.0] * dim, (56,) * dim)
    mean = np.array([12.0, 0.0])[:dim]
    q = wf.Density(grid, wf.Gaussian(mean, 1.0))
    F = wf.FDivergence("reverse-kl", wf.Gaussian(np.zeros(dim), 1.0))
    result = wf.run(F, q, t_end=0.2, tol=1e-2, save="ends", stepper=TRBDF2(), max_steps=400)
    assert result.status is Status.COMPLETE
    # Cells of half a deviation: the drift, taken at slopes of 6 a cell, is right to a few per cent.
    assert_allclose(result.final.mean, np.exp(-0.2) * mean, atol=0.5)


@pytest.mark.parametrize(("cells", "most"), [(100, 0.03), (200, 0.01), (400, 0.1), (1600, 0.02)])
def test_slopes_that_the_grid_does_not_resolve_are_carried_at_the_speed_of_the_drift(cells, most):
    """Ornstein-Uhlenbeck at temperature 0.01, mean 2 e^(-t): log p falls by up to 12 a cell. p at the face alone would
    carry it down sinh δ/δ times too fast, to a mean wrong by 0.7 on 100 cells."""
    F = 0.01 * wf.Entropy() + wf.Potential("x**2 / 2")
    start = wf.Density(wf.Grid(-3.0, 3.0, cells), wf.Gaussian([2.0], 0.04))
    result = wf.run(F, start, t_end=0.5, save="ends")
    assert abs(result.final.mean[0] - 2.0 * np.exp(-0.5)) < most


def test_mass_below_e_to_the_minus_690_of_the_largest_weight():
    """From the top of a barrier at temperature 1e-3, where p is e^-1000 of what it is in the wells."""
    grid = wf.Grid(-1.4, 1.4, 400)
    F = 1e-3 * wf.Entropy() + wf.Potential("(x**2 - 1)**2")
    result = wf.run(F, wf.Density(grid, wf.Gaussian([0.0], 0.03**2)), t_end=10.0, save="ends")
    assert result.status is Status.COMPLETE
    assert_allclose(result.final.mass, 1.0, rtol=0, atol=1e-13)
    x = grid.centers[0]
    gibbs = np.exp(-((x**2 - 1.0) ** 2) / 1e-3)
    exactly = wf.Density(grid, gibbs).values
    assert np.abs(result.final.values - exactly).sum() * grid.volume < 1e-2


def test_a_steep_slope_across_a_periodic_seam():
    """The flow does not know where the box begins: a run of rolled data is the rolled run."""
    grid, steep = wf.Grid(0.0, 1.0, 32, "periodic"), 8

    def run(shift):
        F = 0.004 * wf.Entropy() + wf.Potential(f"cos(2*pi*(x - {shift / 32})) / 2")
        q = np.zeros(32)
        q[(steep + shift) % 32] = 1.0
        return wf.run(F, wf.Density(grid, q), t_end=0.02, save="ends").final.values

    assert_allclose(np.roll(run(24), -24), run(0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cells", [32, 128, 512])
def test_a_jump_of_the_potential_is_no_wall(cells):
    """Over a square barrier 10 high, |x| < ¼, on [-1, 1]: the gap is 2.42e-4 where the grid is fine."""
    F = wf.Entropy() + wf.Potential(lambda x: 10.0 * (np.abs(x[:, 0]) < 0.25), grad=np.zeros_like)
    gap = wf.spectrum(F, wf.Grid(-1.0, 1.0, cells), 2).rates[1]
    assert_allclose(gap, 2.42e-4, rtol=0.15)


@pytest.mark.parametrize("inverse", [600, 700, 1000, 1200])
def test_committor_over_a_barrier_deeper_than_float64(inverse):
    """½ in the middle by symmetry, and growing: the cell of the barrier top must not become a wall."""
    grid = wf.Grid(-1.2, 1.2, 101)
    F, x = wf.Entropy() / inverse + wf.Potential("(x**2 - 1)**2"), grid.centers[0]
    values = wf.committor(F, grid, x < -0.9, x > 0.9)
    assert_allclose(values[50], 0.5, atol=1e-6)
    assert np.all(np.diff(values) >= -1e-12)
    assert 0.0 < values[48] < values[52] < 1.0


def test_linear_iterations_out_of_a_vacuum_in_two_dimensions():
    """Empty cells have a diagonal of 1e200, where digits of w end: the solver must not wait for them."""
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], (32, 32))
    q = wf.Density(grid, lambda x: ((x**2).sum(1) < 1.0) * (1.0 + x[:, 0]))
    result = wf.run(wf.PowerEntropy(3), q, t_end=0.02, save="ends", stepper=TRBDF2())
    assert result.status is Status.COMPLETE
    assert result.steps["linear"].max() <= 40


def test_a_run_over_a_long_time_goes_on_as_it_began(tmp_path):
    """What a step may err at most is part of where a run stands."""
    F = wf.Entropy() + wf.Potential("x**2/2")
    q = wf.Density(wf.Grid(-4.0, 4.0, 60), wf.Gaussian([1.0], 0.1))
    arguments = {"t_end": 1e4, "save": [1.0, 1e4], "tol": 1e-2, "stepper": TRBDF2()}
    whole = wf.run(F, q, **arguments)
    with pytest.warns(wf.RunWarning, match="max_steps"):
        wf.run(F, q, out=tmp_path / "run.h5", max_steps=4, **arguments)
    resumed = wf.run(F, q, out=tmp_path / "run.h5", resume=True, **arguments)
    assert np.array_equal(resumed.steps["time"], whole.steps["time"])
    assert np.array_equal(resumed.final.values, whole.final.values)


@pytest.mark.parametrize("name", ["hellinger", "jensen-shannon", "triangular", "chi2"])
def test_few_steps_out_of_a_vacuum_are_redone(name):
    """The size of the first step is a guess, and its error falls slowly there: it may spend of the reserve at once."""
    grid = wf.Grid(-4.0, 4.0, 200)
    start = wf.Density(grid, lambda x: (x[:, 0] < 0.0).astype(float))
    result = wf.run(wf.FDivergence(name, wf.Gaussian([0.0], 1.0)), start, t_end=10.0, save="ends")
    rejected = result.steps["rejections"]
    assert rejected[0] <= 3
    assert rejected.sum() <= 0.05 * len(rejected)


def test_a_step_into_a_singularity_is_found_by_the_order_of_its_error():
    """An error as the root of the step: ratios of 100 ask for a ten-thousandth, of which a step may take a fifth."""
    control, dt, before, tries = Controller(1e-3, True, reserve=2e-3), 1e-2, (np.nan, np.nan), 0
    while control.ratio(np.sqrt(dt), dt, singular=True) > 1.0:
        ratio = control.ratio(np.sqrt(dt), dt, singular=True)
        dt, before, tries = control.rejected(ratio, dt, before), (ratio, dt), tries + 1
    assert tries <= 6  # by the order of a regular error it takes 12
