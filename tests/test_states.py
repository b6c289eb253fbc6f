"""States: what they hold, how they are scaled, that they cannot be changed, and how clouds stay in their boxes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.states import STATES, cell_values, into_box, kind

GRID = wf.Grid([-7, -6], [8, 7], (75, 52))
GAUSS = wf.Gaussian([0.5, 0.3], [[1.0, 0.3], [0.3, 0.5]])
MADE = {
    "density": wf.Density(GRID, GAUSS),
    "particles": wf.Particles([[0.0, 1.0], [2.0, 3.0]], [1.0, 3.0]),
    "point": wf.Point([1.0, 2.0]),
    "gaussian": GAUSS,
}


def test_all_states_are_here():
    assert {type(state) for state in MADE.values()} == set(STATES)


@pytest.mark.parametrize("name", MADE)
def test_state_is_its_coordinates_and_frozen(name):
    state = MADE[name]
    assert kind(state) == name
    assert state.dim == 2
    again = state.at(state.coordinates.copy())
    assert_array_equal(again.coordinates, state.coordinates)
    assert type(again) is type(state)
    with pytest.raises((AttributeError, TypeError)):
        state.dim = 3
    first = next(v for v in vars(state).values() if isinstance(v, np.ndarray))
    with pytest.raises(ValueError, match="read-only"):
        first[...] = 0


def test_states_copy_what_they_are_given():
    values = np.ones(4)
    x, mean = np.zeros((2, 1)), np.zeros(1)
    made = (
        wf.Density(wf.Grid(0, 1, 4), values, normalize=False),
        wf.Particles(x),
        wf.Gaussian(mean, 1.0),
        wf.Point(mean),
    )
    before = [state.coordinates.copy() for state in made]
    values[:], x[:], mean[:] = 7, 7, 7
    for state, old in zip(made, before, strict=True):
        assert_array_equal(state.coordinates, old)


def test_density_is_scaled_to_mass_one_unless_told_not_to():
    grid = wf.Grid(0, 2, 4)
    assert_allclose(wf.Density(grid, [1, 2, 3, 4]).mass, 1, rtol=1e-15)
    assert_allclose(wf.Density(grid, [1, 2, 3, 4], normalize=False).mass, 5, rtol=1e-15)
    assert_allclose(wf.Density(grid, lambda x: x[:, 0]).values, [0.125, 0.375, 0.625, 0.875])
    assert_allclose(wf.Density(grid, wf.Gibbs("x + 2000")).mass, 1, rtol=1e-14)


def test_a_grid_that_does_not_hold_a_target_is_refused():
    box = wf.Grid(-4, 4, 64)
    for target, share in [
        (wf.Gaussian([100.0], 0.01), "0"),
        (wf.Gaussian([6.0], 0.25), "3.2e-05"),
        (wf.GaussianMixture([[6.0], [100.0]], [0.25, 1.0]), "1.6e-05"),
        (wf.KernelDensity([[6.0], [8.0]], bandwidth=0.5), "1.6e-05"),
        (wf.Uniform([3.9], [1003.9]), "0.0001"),
    ]:
        with pytest.raises(wf.InputError, match=f"holds {share} of the mass of .*: move or enlarge the box"):
            wf.Density(box, target)
    assert_allclose(cell_values(box, wf.Gaussian([100.0], 0.01)).argmax(), 63)
    tail = wf.Density(box, lambda x: wf.Gaussian([6.0], 0.25).density(x))
    assert_allclose(tail.mean, 3.877, atol=1e-3)
    assert_allclose(wf.Density(box, wf.Gaussian([6.0], 0.25), normalize=False).mass, 3.17e-5, rtol=0.05)
    ring = wf.Grid(-4, 4, 64, boundary="periodic")
    assert wf.Density(ring, wf.Gaussian([6.0], 0.25)).mass == pytest.approx(1.0)
    # Half of it beyond a wall, or all of it in a cell, is held.
    assert wf.Density(box, wf.Gaussian([4.0], 0.25)).mass == pytest.approx(1.0)
    assert wf.Density(box, wf.Gaussian([0.01], 1e-8)).values.max() == 8.0


def test_moments_of_a_density():
    q = MADE["density"]
    assert_allclose(q.mean, GAUSS.mean, atol=1e-8)
    assert_allclose(q.cov, GAUSS.cov, atol=1e-7)


def test_samples_of_a_density_have_its_moments_and_fill_the_cells():
    x = MADE["density"].sample(20000, 3)
    assert np.all(GRID.contains(x))
    assert_allclose(x.mean(0), GAUSS.mean, atol=0.03)
    spread = GAUSS.cov + np.diag(GRID.spacing**2 / 12)
    assert_allclose(np.cov(x.T), spread, atol=0.04)
    inside = np.mod((x - GRID.lower) / GRID.spacing, 1)
    assert_allclose(inside.var(0), 1 / 12, rtol=0.03)


def test_moments_of_a_cloud_are_weighted():
    q = MADE["particles"]
    assert_allclose(q.weights, [0.25, 0.75])
    assert_allclose(q.mean, [1.5, 2.5])
    assert_allclose(q.cov, 0.75 * np.ones((2, 2)))


def test_weights_that_sum_to_one_are_kept_to_the_bit():
    for n in range(2, 60):
        weights = np.full(n, 1.0 / n)
        assert_array_equal(wf.Particles(np.zeros((n, 1)), weights).weights, weights)


def test_gaussian_coordinates_are_mean_and_factor():
    g = MADE["gaussian"]
    assert_allclose(g.coordinates[:, 0], g.mean)
    assert_allclose(g.coordinates[:, 1:] @ g.coordinates[:, 1:].T, g.cov, rtol=1e-14)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    other = g.at(np.column_stack([g.mean, g.factor @ turned]))
    assert_allclose(other.cov, g.cov, rtol=1e-14)
    assert_allclose(other.log_density([[0.3, 2.0]]), g.log_density([[0.3, 2.0]]), rtol=1e-13)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic", ("no-flux", "periodic")])
def test_clouds_stay_in_their_box(boundary):
    domain = wf.Grid([0, -1], [1, 2], 2, boundary)
    rng = np.random.default_rng(0)
    x = rng.uniform([-30, -40], [30, 40], (500, 2))
    y = into_box(domain, x)
    assert np.all(domain.contains(y))
    inside = rng.uniform([0, -1], [1, 2], (50, 2))
    assert_array_equal(into_box(domain, inside), inside)
    for axis, periodic in enumerate(domain.periodic):
        low, length = domain.lower[axis], domain.upper[axis] - domain.lower[axis]
        turns = (y[:, axis] - x[:, axis]) / length
        mirrored = (y[:, axis] + x[:, axis] - 2 * low) / (2 * length)
        whole = np.abs(turns - np.round(turns)) < 1e-9
        if periodic:
            assert np.all(whole)
        else:
            even = whole & (np.abs(turns / 2 - np.round(turns / 2)) < 1e-9)
            assert np.all(even | (np.abs(mirrored - np.round(mirrored)) < 1e-9))


def test_reflection_by_hand():
    domain = wf.Grid(0, 1, 2)
    x = np.array([[-0.25], [1.25], [2.25], [-1.25], [0.0], [1.0]])
    assert_allclose(into_box(domain, x)[:, 0], [0.25, 0.75, 0.25, 0.75, 0.0, 1.0])


def test_geometry_of_a_grid():
    grid = wf.Grid([0, 0, 1], [1, 2, 4], (2, 4, 3), ["no-flux", "periodic", ("absorbing", "no-flux")])
    assert grid.dim == 3
    assert grid.volume == 0.25
    assert_allclose(grid.spacing, [0.5, 0.5, 1])
    assert_allclose(grid.centers[2], [1.5, 2.5, 3.5])
    assert_allclose(grid.points()[1], [0.25, 0.25, 2.5])
    assert grid.periodic == (False, True, False)
    assert grid == wf.Grid([0, 0, 1], [1, 2, 4], (2, 4, 3), ["no-flux", "periodic", ("absorbing", "no-flux")])
    assert grid != wf.Grid([0, 0, 1], [1, 2, 4], (2, 4, 3))
    assert hash(grid) == hash(
        wf.Grid([0, 0, 1], [1, 2, 4], (2, 4, 3), ["no-flux", "periodic", ("absorbing", "no-flux")])
    )
    assert grid.faces(0).shape == (3 * 4 * 3, 3)
    assert_allclose(np.unique(grid.faces(0)[:, 0]), [0, 0.5, 1])
