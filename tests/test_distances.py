"""W2 and L1 between states and targets of every kind."""

import numpy as np
import pytest

import wflow as wf
from wflow.distances import atoms, l1, moments, values_on, wasserstein2, wasserstein2_with_method

NORMAL, WIDE = wf.Gaussian([1.0], 4.0), wf.Gaussian([0.0], 1.0)


@pytest.mark.checklist("G13")
def test_point_masses_and_second_moments():
    origin = wf.Point([0.0, 0.0])
    assert wasserstein2(origin, wf.Point([3.0, 4.0])) == 5.0
    cloud = wf.Particles([[1.0, 0.0], [0.0, 2.0]], weights=[3.0, 1.0])
    value, method = wasserstein2_with_method(cloud, origin)
    assert value == pytest.approx(np.sqrt(0.75 * 1 + 0.25 * 4), rel=1e-14)
    assert method == "second moments, exact"
    # A point and anything, by E|x - y|^2: the same number as the coupling of one atom with all.
    assert value == pytest.approx(wasserstein2(cloud, wf.Particles([[0.0, 0.0]])), rel=1e-12)
    cell = wf.Density(wf.Grid(0.0, 1.0, 1), [1.0])
    assert wasserstein2(wf.Point([0.0]), cell) == pytest.approx(np.sqrt(1 / 3), rel=1e-14)


@pytest.mark.checklist("G13")
def test_gaussians_by_bures():
    # |1 - 0|^2 + (2 - 1)^2
    assert wasserstein2(NORMAL, WIDE) == pytest.approx(np.sqrt(2.0), rel=1e-14)
    a = wf.Gaussian([0.0, 0.0], [[2.0, 1.0], [1.0, 2.0]])
    shifted = wf.Gaussian([3.0, 4.0], [[2.0, 1.0], [1.0, 2.0]])
    assert wasserstein2_with_method(a, shifted) == (pytest.approx(5.0, rel=1e-14), "closed form of Bures, exact")


LINE = {
    "density": lambda s: wf.Density(wf.Grid(-5.0 + s, 7.0 + s, 60), lambda x: np.exp(-((x[:, 0] - s) ** 2))),
    "particles": lambda s: wf.Particles([[0.0 + s], [1.0 + s], [5.0 + s]], weights=[1.0, 2.0, 1.0]),
    "uniform": lambda s: wf.Uniform(s, s + 2.0),
    "mixture": lambda s: wf.GaussianMixture([[s - 2.0], [s + 1.0]], [0.1, 2.0], [0.3, 0.7]),
    "kernel": lambda s: wf.KernelDensity([[0.0 + s], [1.0 + s]], bandwidth=0.3),
    "point": lambda s: wf.Point([s]),
    "gaussian": lambda s: wf.Gaussian([s], 2.0),
}


@pytest.mark.checklist("G13")
@pytest.mark.parametrize("name", LINE)
def test_a_translation_costs_its_length_on_the_line(name):
    make = LINE[name]
    assert wasserstein2(make(0.5), make(3.0)) == pytest.approx(2.5, rel=1e-6)
    assert wasserstein2(make(0.5), make(0.5)) < 1e-12


@pytest.mark.checklist("G13")
def test_quantiles_between_kinds():
    # An atom at each end against the uniform density: 2 * the integral of s^2 over (0, 1/2).
    pair = wf.Particles([[0.0], [1.0]])
    value, method = wasserstein2_with_method(pair, wf.Uniform(0.0, 1.0))
    assert (value**2, method) == (pytest.approx(2 * 0.5**3 / 3, rel=1e-13), "quantiles, exact")
    mixed = wf.Particles([[5.0], [0.0], [2.0]], weights=[1.0, 2.0, 1.0])
    assert wasserstein2(mixed, wf.Particles([[0.0], [0.0], [0.0], [3.0]])) == pytest.approx(np.sqrt(2.0), rel=1e-12)
    four_cells = wf.Density(wf.Grid(0.0, 1.0, 4), np.ones(4))
    assert wasserstein2(pair, four_cells) == pytest.approx(value, rel=1e-13)
    fine = wf.Density(wf.Grid(-15.0, 17.0, 4000), NORMAL)
    assert wasserstein2(fine, WIDE) == pytest.approx(np.sqrt(2.0), rel=1e-4)
    # A mixture of two equal normals is that normal.
    same = wf.GaussianMixture([[1.0], [1.0]], 4.0)
    assert wasserstein2(same, NORMAL) < 1e-6
    one = wf.KernelDensity([[1.0]], bandwidth=2.0)
    assert wasserstein2(one, NORMAL) < 1e-2
    assert wasserstein2_with_method(one, NORMAL)[1] == "quantiles of fine cells"
    assert wasserstein2(wf.Gibbs("x**2 / 2"), fine) == pytest.approx(np.sqrt(2.0), rel=1e-4)


@pytest.mark.checklist("G13")
def test_the_plane_on_few_cells_is_exact_up_to_the_cells():
    grid = wf.Grid([-4.0, -4.0], [6.0, 6.0], 20)
    values = np.zeros(grid.cells)
    values[4:8, 4:7] = np.arange(12).reshape(4, 3)
    here, there = wf.Density(grid, values), wf.Density(grid, np.roll(values, (6, 8), axis=(0, 1)))
    value, method = wasserstein2_with_method(here, there)
    assert value == pytest.approx(5.0, rel=1e-12)  # 3 along x, 4 along y
    # The cells have side 1/2: each centre stands for a spread of sqrt(2 (1/2)^2 / 12), twice.
    assert method == "linear program, off by at most 0.41"
    cloud = wf.Particles(np.random.default_rng(0).normal(size=(40, 2)))
    moved = wf.Particles(cloud.positions[::-1] + np.array([3.0, 4.0]))
    assert wasserstein2_with_method(cloud, moved) == (pytest.approx(5.0, rel=1e-12), "linear program, exact")


def test_many_cells_are_gathered_in_boxes_within_the_bound(monkeypatch):
    monkeypatch.setattr(atoms, "BOXES", 300)
    monkeypatch.setattr(atoms.transport, "EXACT_PAIRS", 300**2)
    grid = wf.Grid([-6.0, -6.0], [6.0, 6.0], 60)
    a, b = wf.Gaussian([1.0, 0.0], [1.0, 0.5]), wf.Gaussian([0.0, 0.5], 1.0)
    cells = [atoms.as_atoms(wf.Density(grid, q), None, np.random.default_rng(0)) for q in (a, b, a)]
    value, method = atoms.coupled(*cells[:2])
    exact = wasserstein2(a, b)
    assert "boxes" in method
    bound = float(method.split("at most ")[1])
    assert abs(value - exact) < min(bound, 0.04 * exact)
    # What is alike stays alike.
    assert atoms.coupled(cells[0], cells[2])[0] < 1e-9
    # A target that the grid holds is put on it.
    on_grid = wf.Density(grid, a)
    assert wasserstein2(on_grid, b) == wasserstein2(on_grid, wf.Density(grid, b))
    assert wasserstein2(on_grid, a) < 1e-9
    # Centres of mass are kept: W2 is at least the distance of the means.
    cloud = wf.Particles(np.random.default_rng(1).normal(size=(500, 2)))
    moved = wf.Particles(cloud.positions + np.array([30.0, 40.0]))
    assert wasserstein2(cloud, moved) == pytest.approx(50.0, rel=1e-3)
    assert wasserstein2(cloud, moved) >= 50.0 * (1.0 - 1e-12)


def test_boxes_are_few_and_keep_mass_and_mean():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((4000, 3)), rng.standard_normal((3000, 3)) ** 3
    wx = rng.random(4000)
    a, b = atoms.Atoms(x, wx / wx.sum()), atoms.Atoms(y, np.full(3000, 1 / 3000))
    for before, after in zip((a, b), atoms._gathered(a, b), strict=True):
        assert 500 < len(after.positions) <= atoms.BOXES
        assert after.weights.sum() == pytest.approx(1.0, rel=1e-12)
        assert np.allclose(after.weights @ after.positions, before.weights @ before.positions, atol=1e-12)
        lost = np.trace(np.cov(before.positions.T, aweights=before.weights, ddof=0))
        kept = np.trace(np.cov(after.positions.T, aweights=after.weights, ddof=0))
        assert after.slack == pytest.approx(lost - kept, rel=1e-9)


def test_high_dimensions_and_draws_say_so_and_repeat():
    x = np.random.default_rng(3).standard_normal((60, 5))
    cloud = wf.Particles(x)
    assert wasserstein2_with_method(cloud, wf.Particles(x + 1.0)) == (
        pytest.approx(np.sqrt(5.0), rel=1e-12),
        "linear program, exact",
    )
    many = wf.Particles(np.random.default_rng(4).standard_normal((2100, 4)))
    moved = wf.Particles(many.positions + np.array([0.0, 3.0, 0.0, 4.0]))
    value, method = wasserstein2_with_method(many, moved)
    assert (value, method) == (pytest.approx(5.0, rel=1e-10), "200 slices, a lower bound")
    target = wf.Gaussian(np.zeros(2), 1.0)
    flat = wf.Particles(np.random.default_rng(5).standard_normal((15, 2)))
    first = wasserstein2_with_method(flat, target, rng=7)
    assert first[0] == pytest.approx(wasserstein2(flat, wf.Particles(target.sample(2000, 8))), rel=0.03)
    assert "100000 draws of the Gaussian" in first[1]
    assert first == wasserstein2_with_method(flat, target, rng=7)
    assert "linear program, from 2000 draws" in wasserstein2_with_method(cloud, wf.Gaussian(np.zeros(5), 1.0))[1]


def test_moments_count_the_spread_inside_cells():
    mixture = wf.GaussianMixture([[-1.0], [3.0]], [1.0, 2.0], [0.25, 0.75])
    mean, cov = moments(mixture)
    assert mean[0] == pytest.approx(2.0)
    assert cov[0, 0] == pytest.approx(0.25 + 1.5 + 0.1875 * 16)
    assert moments(wf.Uniform(0.0, 3.0))[1][0, 0] == pytest.approx(0.75)
    assert moments(wf.KernelDensity([[0.0], [2.0]], bandwidth=0.5))[1][0, 0] == pytest.approx(1.25)
    grid = wf.Grid([0.0, 0.0], [3.0, 2.0], (3, 4))
    assert np.allclose(moments(wf.Density(grid, np.ones((3, 4))))[1], np.diag([0.75, 1 / 3]))


def test_refusals_say_what_to_do():
    with pytest.raises(wf.InputError, match=r"wf\.Density"):
        wasserstein2(wf.Gibbs("x**2"), NORMAL)
    with pytest.raises(wf.InputError, match="same dimension, got 1 and 2"):
        wasserstein2(NORMAL, wf.Point([0.0, 0.0]))
    with pytest.raises(wf.InputError, match="takes states and targets, got int"):
        wasserstein2(3, NORMAL)


def test_masses_at_the_end_of_float64():
    """Cells of 1e-320 beside one of all the mass: the distance of two cells, 13 of 0.3 apart, and no nan."""
    values = np.full(20, 1e-320)
    values[3] = 1.0
    a, b = (wf.Density(wf.Grid(-3.0, 3.0, 20), v) for v in (values, values[::-1].copy()))
    assert np.isclose(wasserstein2(a, b), 13 * 0.3, rtol=1e-12)
    assert wasserstein2(a, a) == 0.0
    thin = wf.Density(a.grid, values * 1e-318, normalize=False)
    assert np.isclose(wasserstein2(thin, b), 13 * 0.3, rtol=1e-12)


def test_l1_on_one_grid_and_on_two():
    grid = wf.Grid(0.0, 4.0, 4)
    left, right = wf.Density(grid, [1.0, 1.0, 0.0, 0.0]), wf.Density(grid, [0.0, 0.0, 1.0, 1.0])
    assert l1(left, right) == pytest.approx(2.0)
    beyond = wf.Density(wf.Grid(10.0, 11.0, 5), np.ones(5))
    assert l1(left, beyond) == pytest.approx(2.0)
    errors = []
    for n in (40, 80, 160):
        coarse = wf.Density(wf.Grid([-5, -5], [5, 5], n // 2), wf.Gaussian([0.0, 0.3], 1.0))
        fine = wf.Density(wf.Grid([-5, -5], [5, 5], n), wf.Gaussian([0.0, 0.3], 1.0))
        moved = values_on(coarse, fine.grid)
        assert moved.sum() * fine.grid.volume == pytest.approx(1.0, rel=1e-12)
        assert moved.min() >= 0.0
        errors.append(l1(fine, coarse))
    assert errors[-1] < 4e-3
    assert np.all(np.log2(np.divide(errors[:-1], errors[1:])) > 1.8)


def test_l1_of_clouds_and_gaussians():
    rng = np.random.default_rng(6)
    density = wf.Density(wf.Grid(-6.0, 6.0, 300), WIDE)
    cloud = wf.Particles(rng.standard_normal((20_000, 1)))
    assert l1(density, WIDE) < 1e-7
    assert l1(density, cloud) < 0.03
    assert l1(cloud, density) == pytest.approx(l1(density, cloud), rel=1e-12)
    assert l1(cloud, WIDE) == pytest.approx(l1(density, cloud), rel=0.05)
    # Uniform in its box: without the mirror images at the walls the estimate would fall off there.
    box = wf.Grid(0.0, 1.0, 50)
    even = wf.Particles((np.arange(2000.0)[:, None] + 0.5) / 2000, domain=box)
    assert l1(wf.Density(box, np.ones(50)), even) < 1e-3
    shifted = wf.Gaussian([0.5], 1.0)
    # 2 (2 cdf(1/4) - 1)
    assert l1(WIDE, shifted) == pytest.approx(2 * 0.19741265136584, rel=1e-5)
    assert np.isnan(l1(density, wf.Point([0.0])))
    assert np.isnan(l1(wf.Particles([[1.0], [1.0]]), density))
    assert np.isnan(l1(wf.Gaussian(np.zeros(4), 1.0), wf.Gaussian(np.ones(4), 1.0)))
