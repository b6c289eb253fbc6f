"""Clouds paired one for one by an auction, against the assignment of SciPy and maps that are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import wflow as wf
import wflow.linalg.assignment
from wflow.distances.atoms import _above
from wflow.distances.transport import wasserstein2_with_method
from wflow.kernels import auction
from wflow.linalg import transport
from wflow.linalg.assignment import MOST, _alike, _tree, assignment, pairable

RNG = np.random.default_rng(5)


def peaks(n, d):
    """Two narrow peaks with unequal masses and a heavy tail on the first axis."""
    x = np.where(RNG.random(n)[:, None] < 0.3, 2.0, -2.0) + 0.3 * RNG.standard_normal((n, d))
    x[:, 0] **= 3
    return x


CLOUDS = {
    "normal": lambda n, d: RNG.standard_normal((n, d)),
    "stretched and moved": lambda n, d: RNG.standard_normal((n, d)) * np.linspace(0.01, 9.0, d) + 50.0,
    "peaks": peaks,
    "on a lattice, many alike": lambda n, d: np.round(RNG.standard_normal((n, d))),
    "on a line": lambda n, d: RNG.standard_normal((n, 1)) * np.ones(d),
    "in one place": lambda n, d: np.full((n, d), 3.0),
}


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(("n", "d"), [(1, 2), (2, 3), (9, 2), (33, 1), (400, 2), (300, 3)])
def test_the_mean_squared_distance_is_least_up_to_the_gap(name, n, d):
    x, y = RNG.standard_normal((n, d)), CLOUDS[name](n, d)
    which, value, excess = assignment(x, y)
    assert np.array_equal(np.sort(which), np.arange(n))
    costs = cdist(x, y, "sqeuclidean")
    least, found = costs[linear_sum_assignment(costs)].mean(), costs[np.arange(n), which].mean()
    assert_allclose(value, np.sqrt(found), rtol=1e-12)
    assert excess <= 1e-5 * value + 1e-14
    assert value - excess <= np.sqrt(least) * (1.0 + 1e-12) + 1e-12
    assert least <= found * (1.0 + 1e-12) + 1e-24


def test_the_accuracy_can_be_chosen():
    x, y = RNG.standard_normal((2, 500, 2))
    costs = cdist(x, y, "sqeuclidean")
    least = costs[linear_sum_assignment(costs)].mean()
    exact, rough = assignment(x, y, 1e-9), assignment(x, y, 0.3)
    assert_allclose(costs[np.arange(500), exact[0]].mean(), least, rtol=1e-9)
    assert rough[2] > 100.0 * exact[2]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_units_do_not_matter(scale):
    x, y = RNG.standard_normal((2, 300, 2))
    which, value, excess = assignment(x, y)
    scaled = assignment(scale * x, scale * y)
    assert np.array_equal(scaled[0], which)
    assert_allclose(scaled[1:], (scale * value, scale * excess), rtol=1e-9)


def test_far_outliers_and_heavy_tails_take_few_bids(monkeypatch):
    """From an increment of the variance on, all others' prices had to climb to that of the far one in steps of it."""
    monkeypatch.setattr(wflow.linalg.assignment, "BIDS", 200)
    x, y = RNG.standard_normal((2, 1000, 2))
    x[0], y[0] = [1e3, 0.0], [-1e3, 0.0]
    for a, b in ((x, y), RNG.standard_cauchy((2, 1000, 3))):
        _, value, excess = assignment(a, b)
        assert excess <= 1e-5 * value


def test_points_that_lie_close_against_the_extent_are_known_to_be_uncertain():
    """The same far point in both clouds: digits end before the others are paired; the bound holds, and says so."""
    x, y = 1e-5 * RNG.standard_normal((2, 400, 2))
    x[0] = y[0] = [1e6, 0.0]
    costs = cdist(x[1:], y[1:], "sqeuclidean")
    least = np.sqrt(costs[linear_sum_assignment(costs)].sum() / 400)
    _, value, excess = assignment(x, y)
    assert value - excess <= least <= value
    assert excess > 1e-3 * value


def test_what_bids_do_not_suffice_for_is_not_believed(monkeypatch):
    monkeypatch.setattr(wflow.linalg.assignment, "BIDS", 2)
    x, y = RNG.standard_normal((2, 2100, 2))
    _, value, excess = assignment(x, y)
    assert excess > 0.1 * value
    assert "boxes" in wasserstein2_with_method(wf.Particles(x), wf.Particles(y))[1]


def test_a_permuted_cloud_is_found_again():
    x, which = RNG.random((3000, 3)), RNG.permutation(3000)
    found, _, excess = assignment(x, x[which])
    assert np.array_equal(which[found], np.arange(3000))
    assert excess < 1e-7


def test_both_clouds_get_one_covariance_and_inner_products_stay():
    x, y = RNG.standard_normal((200, 3)), RNG.standard_normal((200, 3)) @ np.diag([5.0, 1.0, 0.1])
    u, v = _alike(x, y)
    assert_allclose(u.T @ u, v.T @ v, atol=1e-3 * np.trace(v.T @ v))
    assert_allclose(np.sum(u * v, axis=1), np.sum(x * y, axis=1), atol=1e-12)


def test_best_offers_of_the_tree_are_those_of_a_search_through_all():
    n, d = 137, 3
    places, prices = RNG.standard_normal((n, d)), np.zeros(n)
    order, low, high = _tree(places)
    places, least = places[order], np.zeros(len(low))
    stack, bounds = np.empty(64, np.int64), np.empty(64)
    for _ in range(300):
        j = RNG.integers(n)
        prices[j] += RNG.random()
        auction._rise(j, prices, least)
        point = RNG.standard_normal(d)
        which, cost, second = auction._best(point, places, prices, low, high, least, 0.0, stack, bounds)
        costs = np.sum((places - point) ** 2, axis=1) + prices
        assert which == np.argmin(costs)
        assert_allclose([cost, second], np.sort(costs)[:2], rtol=1e-14)
    leaves = (len(least) + 1) // 2
    expected = [prices[n * k // leaves : n * (k + 1) // leaves].min() for k in range(leaves)]
    assert np.array_equal(least[leaves - 1 :], expected)
    assert np.array_equal(least[: leaves - 1], np.minimum(least[1::2], least[2::2]))


def test_w2_of_clouds_too_large_for_the_program_is_within_its_bound(monkeypatch):
    """One pair by both; a translate exactly; weights that differ, or counts, are gathered as before."""
    x, y = RNG.standard_normal((900, 2)), 0.5 * RNG.standard_normal((900, 2)) + 2.0
    a, b = wf.Particles(x), wf.Particles(y)
    exact, how = wasserstein2_with_method(a, b)
    assert how == "linear program, exact"
    monkeypatch.setattr(transport, "EXACT_PAIRS", 800**2)
    value, how = wasserstein2_with_method(a, b)
    assert how.startswith("auction, at most ")
    assert exact * (1.0 - 1e-12) <= value <= exact + float(how.split()[3])
    moved = wf.Particles(x[::-1] + np.array([3.0, 4.0]))
    assert wf.wasserstein2(a, moved) == pytest.approx(5.0, rel=1e-12)
    half = wf.displacement(a, b, 0.5)
    assert wf.wasserstein2(a, half) == pytest.approx(0.5 * value, rel=1e-5)
    weighted = wf.Particles(y, RNG.random(900))
    assert "boxes" in wasserstein2_with_method(a, weighted)[1]
    assert "boxes" in wasserstein2_with_method(a, wf.Particles(y[1:]))[1]


def test_clouds_that_hardly_differ_are_paired_and_none_is_moved_along_a_loose_plan(monkeypatch):
    """Boxes would leave a tenth of the spread open, where digits end at 1e-8 of it."""
    x = RNG.standard_normal((2100, 2))
    a, b = wf.Particles(x), wf.Particles(x[::-1] + 1e-9 * RNG.standard_normal(x.shape))
    value, how = wasserstein2_with_method(a, b)
    assert how.startswith("auction")
    assert value == pytest.approx(np.sqrt(2.0) * 1e-9, rel=0.05)
    assert wf.wasserstein2(a, wf.displacement(a, b, 0.5)) < 1e-8
    monkeypatch.setattr(wflow.linalg.assignment, "BIDS", 2)
    with pytest.raises(wf.InputError, match="could be paired only to"):
        wf.displacement(a, wf.Particles(RNG.standard_normal(x.shape)), 0.5)


def test_which_clouds_are_paired():
    ones = np.ones(MOST + 1)
    assert pairable(ones[1:], ones[1:], 3)
    assert pairable(np.diff(np.linspace(0.0, 1.0, 3001)), ones[:3000] / 3000.0, 2)  # equal but for rounding
    assert pairable(ones, ones, 1)
    for a, b, d in (
        (ones, ones, 2),
        (ones[:9], ones[:9], 4),
        (ones[:9], ones[:8], 2),
        (ones[:2], np.array([1.0, 1.1]), 2),
    ):
        assert not pairable(a, b, d)


def test_a_bound_is_rounded_up():
    assert [_above(bound) for bound in (0.0, 1.01e-6, 3e-5, 0.4, 9.91)] == ["0", "1.1e-06", "3e-05", "0.4", "10"]
