"""The exponential of a linear flow on a grid: polynomials in sweeps, and where the package takes them by itself."""

from itertools import product

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

import wflow as wf
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.flows import propagation as parts
from wflow.linalg.chebyshev import clenshaw_rows, exponential_coefficients, terms_needed
from wflow.linalg.extrapolation import extrapolated
from wflow.steppers.stabilised import legendre_rows, stages_needed

SIDES = ("no-flux", "periodic", "absorbing", ("absorbing", "no-flux"))
SHAPES = {1: (11,), 2: (7, 5), 3: (4, 5, 3)}
V = {1: "x**4 - x", 2: "x**4 - x + y**2/2 + x*y", 3: "x**4 - x + y**2/2 + x*y + z*x"}
CASES = [(1, (a,)) for a in SIDES] + [(2, pair) for pair in product(SIDES, SIDES)]
CASES += [(3, three) for three in (SIDES[:3], SIDES[1:], ("absorbing", "no-flux", "periodic"), ("periodic",) * 3)]


THIN = [  # one cell wide, and open there: the walls of that axis must count
    (cells, sides)
    for cells in ((4, 1, 3), (1, 4, 3), (1, 1, 6), (4, 3, 1))
    for sides in (("absorbing",) * 3, ("no-flux", "absorbing", "periodic"), ("absorbing", "no-flux", "no-flux"))
]


def case(dim, sides, cells=None):
    grid = wf.Grid([-1.3] * dim, [1.1] * dim, cells or SHAPES[dim], list(sides))
    q = wf.Density(grid, np.random.default_rng(0).uniform(0.1, 1.0, grid.cells))
    return 0.7 * wf.Entropy() + wf.Potential(V[dim]), q


def matrix(F, q):
    flow, size = make_flow(F, q, rtol=1e-10), q.values.size
    columns = [flow.rate(0.0, q.at(e.reshape(q.values.shape))).ravel() for e in np.eye(size)]
    return flow, np.stack(columns, axis=1)


@pytest.mark.parametrize(("dim", "sides"), CASES, ids=str)
@pytest.mark.parametrize("way", ["series", "resolvents"])
def test_every_boundary_against_the_matrix_exponential(dim, sides, way, monkeypatch):
    if way == "resolvents":
        monkeypatch.setattr(parts, "most_terms", lambda weights: 0)
    F, q = case(dim, sides)
    flow, L = matrix(F, q)
    for dt in (1e-4, 0.05, 1.0):
        answer = flow.propagate(q, dt)
        assert answer.converged
        assert (answer.iterations == 0) == (way == "series")
        exactly = expm(dt * L) @ q.values.ravel()
        assert_allclose(answer.state.values.ravel(), exactly, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("dim", "sides"), [c for c in CASES if c[0] > 1], ids=str)
@pytest.mark.parametrize("sweep", [2, 8, 14])
def test_a_stabilised_step_is_its_polynomial(dim, sides, sweep, monkeypatch):
    """RKL2 at s stages is a polynomial in L: the fused stages against the same recurrence on the matrix."""
    monkeypatch.setattr(parts, "SWEEP", sweep)
    F, q = case(dim, sides)
    flow, L = matrix(F, q)
    rows = legendre_rows(stages_needed(0.1 * flow.spectral_radius(0.0, q)))
    fused = flow.recurrence(0.0, q, 0.1, rows, flow.rate(0.0, q)).values.ravel()
    start, first = q.values.ravel(), L @ q.values.ravel()
    before, prev = start, start + rows[0, 2] * 0.1 * first
    for mu, nu, mu_rate, gamma, _ in rows[1:]:
        new = mu * prev + nu * before + (1 - mu - nu) * start + 0.1 * (mu_rate * (L @ prev) + gamma * first)
        before, prev = prev, new
    assert_allclose(fused, prev, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("cells", "sides"), THIN, ids=str)
def test_grids_one_cell_wide(cells, sides):
    """Every stepper against the exponential of a matrix put together face by face."""
    F, q = case(3, sides, cells)
    weights = make_flow(F, q).diffusion.form.weights(0.0, q.values)
    L, index = np.zeros((q.values.size, q.values.size)), np.arange(q.values.size).reshape(cells)
    for axis, (k, wrap) in enumerate(zip(weights.faces, weights.wraps, strict=True)):
        n = cells[axis]
        for cell in np.ndindex(*cells):
            for face, other in ((cell[axis], cell[axis] - 1), (cell[axis] + 1, cell[axis] + 1)):
                at = [*cell]
                at[axis] = face
                neighbour = [*cell]
                neighbour[axis] = other % n
                L[index[cell], index[cell]] -= k[tuple(at)]
                if wrap or 0 <= other < n:
                    L[index[cell], index[tuple(neighbour)]] += k[tuple(at)]
    L = 0.7 * L / weights.cells.ravel()
    exactly = expm(0.05 * L) @ q.values.ravel()
    for stepper in (wf.steppers.Exponential(), wf.steppers.TRBDF2(), wf.steppers.RKL2(), None):
        result = wf.run(F, q, t_end=0.05, tol=1e-4, save="ends", stepper=stepper)
        assert result.status is Status.COMPLETE
        assert np.abs(result.final.values.ravel() - exactly).sum() * q.grid.volume < 2e-5


def test_the_series_on_numbers():
    """exp(-t λ) for λ across the spectrum, by Clenshaw's recurrence on scalars."""
    radius, t = 50.0, 3.0
    for tol in (1e-4, 1e-8, 1e-12):
        coefficients, rest = exponential_coefficients(0.5 * t * radius, tol)
        assert rest < tol
        assert len(coefficients) <= terms_needed(0.5 * t * radius, tol) + 3
        rows, eigenvalues = clenshaw_rows(coefficients, 2.0 / radius), np.linspace(0.0, radius, 101)
        before, prev = np.zeros(101), np.full(101, coefficients[-1])
        for mu, nu, fixed, factor in rows:
            before, prev = prev, mu * prev + nu * before + fixed - factor * eigenvalues * prev
        assert_allclose(prev, np.exp(-t * eigenvalues), rtol=0, atol=1.1 * tol + 1e-14)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize(("dim", "cells"), [(2, (90, 70)), (3, (19, 17, 18))])
@pytest.mark.parametrize("side", ["no-flux", "periodic"])
def test_bits_do_not_depend_on_threads(dim, cells, side, monkeypatch):
    F, q = case(dim, (side,) * dim, cells)
    flow = make_flow(F, q, rtol=1e-6)
    serial = flow.propagate(q, 0.01).state.values
    monkeypatch.setattr(parts, "PARALLEL_SWEEP", 0)
    assert_array_equal(flow.propagate(q, 0.01).state.values, serial)


def test_rest_is_kept():
    F, q = case(2, ("no-flux", "no-flux"), (20, 15))
    rest = wf.equilibrium(F, q.grid)
    result = wf.run(F, rest, t_end=1.0, save="ends", stepper=wf.steppers.Exponential())
    assert_allclose(result.final.values, rest.values, rtol=1e-12)


def test_the_default_takes_it_where_it_is_cheapest():
    F, q = case(2, ("no-flux", "no-flux"), (24, 24))
    short = wf.run(F, q, t_end=0.5, save=3)
    assert short.info["stepper"] == "Exponential()"
    assert_allclose(short.steps["time"], [0.25, 0.5])
    assert "balance" not in short.steps
    reference = wf.run(F, q, t_end=0.5, save="ends", tol=1e-4, stepper=wf.steppers.TRBDF2())
    assert np.abs(short.final.values - reference.final.values).sum() * q.grid.volume < 1e-4
    for other in ({"save": "all"}, {"stop": lambda t, s: False}, {"dt": 0.1}):
        assert wf.run(F, q, t_end=0.5, tol=1e-2, **other).info["stepper"] != "Exponential()"
    # Relaxing for long, by the resolvent; with many frames an implicit method takes fewer.
    assert wf.run(F, q, t_end=1e6, save="ends").info["stepper"] == "Exponential()"
    with pytest.warns(wf.RunWarning, match="max_steps"):
        assert wf.run(F, q, t_end=1e6, save=200, max_steps=1).info["stepper"] == "TRBDF2()"
    assert wf.run(wf.PowerEntropy(2), q, t_end=0.01).info["stepper"] != "Exponential()"


@pytest.mark.parametrize("t_end", [0.01, 1.0, 1e4])
def test_on_the_line_every_linear_flow_goes_by_it(t_end):
    """From a spike, on the most common grid; the same end as many implicit steps."""
    grid = wf.Grid(-3.0, 3.0, 100)
    q = wf.Density(grid, lambda x: (np.abs(x[:, 0] + 1.0) < 0.04).astype(float))
    F = wf.Entropy() + wf.Potential("(x**2 - 1)**2")
    found = wf.run(F, q, t_end=t_end, save=4)
    assert found.info["stepper"] == "Exponential()"
    assert len(found.steps["time"]) == 3
    implicit = wf.run(F, q, t_end=t_end, save=4, tol=1e-2, stepper=wf.steppers.TRBDF2())
    assert np.abs(found.final.values - implicit.final.values).sum() * grid.volume < 1e-2 * min(t_end, 1.0)
    for other in ({"save": "all"}, {"stop": lambda t, s: False}, {"dt": 0.01}):
        assert wf.run(F, q, t_end=0.01, tol=1e-1, **other).info["stepper"] == "TRBDF2()"


def test_many_steps_by_the_resolvent_keep_mass_and_digits(monkeypatch):
    """A smooth state exhausts its Krylov space within a few steps; what is left then is rounding, no direction."""
    grid = wf.Grid(-3.0, 3.0, 400)
    start = wf.Density(grid, wf.Gaussian([0.5], 0.1))
    flow = make_flow(wf.Entropy() + wf.Potential("(x**2 - 1)**2"), start, rtol=1e-14)
    ends = []
    for most in (0, 10**6):
        monkeypatch.setattr(parts, "most_terms", lambda weights, most=most: most)
        state = start
        for _ in range(60):
            answer = flow.propagate(state, 2e-3)
            assert answer.converged
            state = answer.state
        ends.append(state)
    assert abs(ends[0].mass - 1.0) < 1e-13
    assert np.abs(ends[0].values - ends[1].values).sum() * grid.volume < 1e-10


def test_what_leaves_an_open_side_leaves_at_its_rate_to_the_end():
    """Accuracy is relative to the mass that is left: exp(-π² t) falls by 170 orders of magnitude."""
    grid = wf.Grid(0.0, 1.0, 50, "absorbing")
    q = wf.Density(grid, lambda x: np.sin(np.pi * x[:, 0]))  # the slowest mode, on this grid too
    result = wf.run(wf.Entropy(), q, t_end=40.0, save=5)
    assert result.info["stepper"] == "Exponential()"
    assert result.steps["rejections"].sum() == 0
    rate = 4.0 * 50**2 * np.sin(np.pi / 100) ** 2
    assert_allclose(np.log(result.diagnostics["mass"]), -rate * result.times, atol=1e-6)
    beyond = wf.run(wf.Entropy(), q, t_end=1e3, save=5)
    assert beyond.status is Status.COMPLETE
    assert 0.0 <= beyond.final.mass < 1e-300


def test_a_solve_that_fails_inside_is_the_status_of_the_run(monkeypatch):
    """Otherwise what the resolvent left would have passed for the exponential."""
    monkeypatch.setattr(parts, "most_terms", lambda weights: 0)
    F, q = case(2, ("no-flux", "no-flux"), (40, 30))
    solve = parts.solve
    monkeypatch.setattr(parts, "solve", lambda *given, **more: solve(*given, max_iterations=1, **more))
    assert not make_flow(F, q).propagate(q, 0.1).converged
    with pytest.warns(wf.RunWarning, match="inner solver did not converge"):
        result = wf.run(F, q, dt=0.1, steps=1, stepper=wf.steppers.Exponential())
    assert result.status is Status.SOLVER_FAILED
    assert_array_equal(result.final.values, q.values)


def test_a_start_too_deep_in_the_tails_is_refused_with_the_reason():
    """q²/p overflows all digits: 12 standard deviations away rounding of the series would exceed the answer."""
    grid = wf.Grid([-14.0, -14.0], [14.0, 14.0], (60, 60))
    F, q = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0)), wf.Density(grid, wf.Gaussian([12.0, 0.0], 0.5))
    with pytest.warns(wf.RunWarning, match="loses its digits"):
        result = wf.run(F, q, t_end=0.5, save="ends", stepper=wf.steppers.Exponential())
    assert not result.status.good
    result = wf.run(F, q, t_end=0.1, save="ends")
    assert result.info["stepper"] != "Exponential()"
    assert result.status is Status.COMPLETE
    implicit = wf.run(F, q, t_end=0.1, save="ends", stepper=wf.steppers.TRBDF2())
    assert np.abs(result.final.values - implicit.final.values).sum() * grid.volume < 1e-3


DEEP = {
    "20 deviations away": (wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0)), 25.0, wf.Gaussian([20.0], 0.1)),
    "on a cold slope": (0.01 * wf.Entropy() + wf.Potential("(x**2 - 1)**2"), 2.0, wf.Gaussian([1.7], 0.001)),
    "beside a wall": (wf.Potential("40*x") + wf.Entropy(), 4.0, wf.Uniform([3.5], [4.0])),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_line_is_left_from_the_tails_by_implicit_steps(name):
    """Exact in time all the same: the same whatever the frames, and near TR-BDF2 as far as that goes."""
    F, end, start = DEEP[name]
    q = wf.Density(wf.Grid(-end, end, 150), start)
    one = wf.run(F, q, t_end=2.0, save="ends")
    assert one.info["stepper"] == "Exponential()"
    assert one.status is Status.COMPLETE
    assert one.steps["linear"][0] >= 36
    assert one.final.values.min() >= 0.0
    assert_allclose(one.final.mass, 1.0, rtol=0, atol=1e-13)
    some = wf.run(F, q, t_end=2.0, save=[0.01, 0.1, 2.0])
    assert np.abs(some.final.values - one.final.values).sum() * q.grid.volume < 3e-8
    implicit = wf.run(F, q, t_end=2.0, save=[0.01, 0.1, 2.0], tol=1e-4, stepper=wf.steppers.TRBDF2())
    for exact, other in zip(some.states, implicit.states, strict=True):
        assert np.abs(exact.values - other.values).sum() * q.grid.volume < 1e-4


def test_extrapolated_steps_are_of_high_order():
    """Errors of one step tend to O(dt⁹), 2^8.8 from 1/16 to 1/32 in sixty digits; in sixteen, rounding is near."""
    ends = [(dt, extrapolated(lambda x, s: x / (1.0 + s), np.ones(1), dt)) for dt in (0.5, 0.25)]
    errors = [abs(end[0] - np.exp(-dt)) for dt, (end, _) in ends]
    assert errors[1] < 5e-12
    assert np.log2(errors[0] / errors[1]) > 7
    assert all(error < abs(change[0]) for error, (_, (_, change)) in zip(errors, ends, strict=True))


def test_a_box_so_large_that_nothing_moves():
    grid = wf.Grid([0.0, 0.0], [1e9, 1e9], (6, 6))
    q = wf.Density(grid, lambda x: 1.0 + x[:, 0] / 1e9)
    result = wf.run(wf.Entropy(), q, t_end=1.0, save="ends", stepper=wf.steppers.Exponential())
    assert_allclose(result.final.values, q.values, rtol=1e-12)
