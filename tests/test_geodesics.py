"""Optimal maps and displacement interpolation: constant speed, push-forwards, the action of Benamou and Brenier."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

import wflow as wf

GRID = wf.Grid(-6.0, 8.0, 700)
A = wf.Density(GRID, wf.Gaussian([0.0], 1.0))
B = wf.Density(GRID, wf.GaussianMixture([[-1.0], [3.0]], [0.2, 0.5], [0.3, 0.7]))
GAUSSIANS = (
    wf.Gaussian([0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]]),
    wf.Gaussian([3.0, -1.0], [[0.5, -0.2], [-0.2, 3.0]]),
)
RNG = np.random.default_rng(0)
CLOUDS = (wf.Particles(RNG.standard_normal((40, 2)), RNG.random(40)), wf.Particles(2 + RNG.standard_normal((30, 2))))
PAIRS = {
    "density": (A, B, 2e-3),
    "gaussian": (*GAUSSIANS, 1e-10),
    "particles": (*CLOUDS, 1e-9),
    "point": (wf.Point([0.0, 1.0]), wf.Point([2.0, 2.0]), 1e-12),
}


@pytest.mark.checklist("G13", "G24")
@pytest.mark.parametrize("name", PAIRS)
def test_geodesics_have_constant_speed_and_the_least_action(name):
    """W2(q(s), q(t)) = |t - s| W2(a, b), so that Σ W2²/Δt over any parts of [0, 1] is W2²."""
    a, b, rtol = PAIRS[name]
    whole, times = wf.wasserstein2(a, b), [0.0, 0.25, 0.4, 0.8, 1.0]
    path = [wf.displacement(a, b, t) for t in times]
    parts = [wf.wasserstein2(p, q) for p, q in pairwise(path)]
    assert_allclose(parts, whole * np.diff(times), rtol=rtol)
    assert_allclose(np.sum(np.square(parts) / np.diff(times)), whole**2, rtol=2 * rtol)
    assert wf.wasserstein2(path[0], a) < 1e-6 + 1e-3 * (name == "density")
    assert wf.wasserstein2(path[-1], b) < 1e-6 + 1e-3 * (name == "density")


@pytest.mark.checklist("G24")
def test_the_gradient_flow_is_no_geodesic():
    """Its action ∫∫ q |v|² dx dt, which is its drop of energy, exceeds W2²/T between its ends."""
    F, T = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0)), 1.0
    for start in (wf.Gaussian([1.0], 4.0), wf.Density(wf.Grid(-8.0, 10.0, 600), wf.Gaussian([1.0], 4.0))):
        end = wf.run(F, start, t_end=T, tol=1e-5, save="ends").final
        action = wf.energy(F, start) - wf.energy(F, end)
        assert action > 1.05 * wf.wasserstein2(start, end) ** 2 / T


@pytest.mark.checklist("G13")
def test_maps_push_forward_and_cost_the_distance():
    a, b = GAUSSIANS
    matrix = wf.transport_map(a, b)(np.eye(2) + a.mean) - b.mean
    assert_allclose(matrix, matrix.T, atol=1e-12)
    assert_allclose(matrix.T @ a.cov @ matrix, b.cov, atol=1e-12)
    x = GRID.points()
    moved = wf.transport_map(A, B)(x)
    assert np.all(np.diff(moved[:, 0]) >= 0.0)
    assert_allclose(A.values @ np.sum((moved - x) ** 2, axis=1) * GRID.volume, wf.wasserstein2(A, B) ** 2, rtol=1e-3)
    assert_allclose(A.values @ moved[:, 0] * GRID.volume, B.mean[0], atol=1e-3)
    assert_allclose(wf.transport_map(A, wf.Gaussian([1.0], 4.0))([[0.0], [1.0]]), [[1.0], [3.0]], atol=1e-3)


def test_displacement_keeps_mass_and_gaps():
    grid = wf.Grid(0.0, 10.0, 100)
    a = wf.Density(grid, lambda x: (np.abs(x[:, 0] - 2) < 1) * 1.0)
    b = wf.Density(grid, lambda x: (np.abs(x[:, 0] - 3) < 1) + (np.abs(x[:, 0] - 8) < 1.0))
    middle = wf.displacement(a, b, 0.5)
    assert_allclose(middle.mass, 1.0, rtol=1e-13)
    assert middle.values.min() >= 0.0
    assert np.count_nonzero(middle.values[20:70] < 1e-9) > 15  # the halves have parted


def test_refusals():
    with pytest.raises(wf.InputError, match="t must be a number from 0 to 1"):
        wf.displacement(A, B, 1.5)
    with pytest.raises(wf.InputError, match=r"same dimension, got Density\(.* and Gaussian\("):
        wf.displacement(A, wf.Gaussian([0.0], 1.0), 0.5)
    plane = wf.Density(wf.Grid([0, 0], [1, 1], 4), np.ones(16))
    with pytest.raises(wf.InputError, match="in one dimension"):
        wf.transport_map(plane, wf.Particles([[0.0, 1.0]]))
    with pytest.raises(wf.InputError, match="must hold the second"):
        wf.displacement(wf.Density(wf.Grid(0.0, 1.0, 4), np.ones(4)), A, 0.5)
    for shape, other in (((2001, 1), (2002, 1)), ((2001, 4), (2001, 4))):
        with pytest.raises(wf.InputError, match="2000 by 2000"):
            wf.displacement(wf.Particles(np.zeros(shape)), wf.Particles(np.zeros(other)), 0.5)
    for a, b in ((wf.Particles([[0.0], [1.0]]), A), (A, wf.Point([0.0])), (wf.Point([0.0]), wf.Point([1.0]))):
        with pytest.raises(wf.InputError, match="a map needs a density"):
            wf.transport_map(a, b)
    with pytest.raises(wf.InputError, match="takes states and targets, got str: 'a'"):
        wf.transport_map("a", A)
    with pytest.raises(wf.InputError, match="same dimension, got 1 and 2"):
        wf.transport_map(A, plane)
    for a, b in ((wf.Gaussian([0.0], 1.0), wf.Gaussian([1.0], 4.0)), (A, B)):
        with pytest.raises(wf.InputError, match=r"1 column\(s\), got shape \(1, 2\)"):
            wf.transport_map(a, b)([[1.0, 2.0]])
    with pytest.raises(wf.InputError, match=r"2 column\(s\)"):
        wf.transport_map(wf.Gaussian([0.0, 0.0], 1.0), wf.Gaussian([1.0, 0.0], 4.0))([[1.0]])


def test_clouds_keep_their_domain():
    box = wf.Grid(0.0, 4.0, 4)
    a, b = (wf.Particles([[x], [x + 1.0]], domain=box) for x in (0.5, 2.5))
    assert wf.displacement(a, b, 0.5).domain == box
    assert np.allclose(np.sort(wf.displacement(a, b, 0.5).positions[:, 0]), [1.5, 2.5])
    assert wf.displacement(a, wf.Particles([[2.5], [3.5]]), 0.5).domain is None


def test_distances_in_a_periodic_box_are_euclidean():
    """No map crosses the seam: 4 from -2 to 2, not 2 through it."""
    a, b = (wf.Density(wf.Grid(-3.0, 3.0, 60, "periodic"), wf.Gaussian([m], 0.01)) for m in (-2.0, 2.0))
    assert np.isclose(wf.wasserstein2(a, b), 4.0, atol=1e-9)
    assert np.isclose(wf.transport_map(a, b)([[-2.0]])[0, 0], 2.0, atol=1e-9)
