"""Optimal transport between arrays, and quadrature under a Gaussian."""

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.special import ndtr

from wflow.linalg import quadrature, transport


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 7, 8, 20])
def test_gauss_hermite_is_exact_on_monomials(dim):
    nodes, weights = quadrature.gauss_hermite(dim)
    assert nodes.shape == (weights.size, dim)
    assert weights.size <= 10_000
    assert np.abs(weights).sum() < 3
    moments = {0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0, 4: 3.0, 5: 0.0}
    for degrees in itertools.product(range(6), repeat=min(dim, 3)):
        if sum(degrees) <= 5:
            values = np.prod([nodes[:, a] ** p for a, p in enumerate(degrees)], axis=0)
            expected = np.prod([moments[p] for p in degrees])
            assert weights @ values == pytest.approx(expected, abs=1e-12 * dim**2)


def test_gauss_hermite_degree_and_tensor_order():
    nodes, weights = quadrature.gauss_hermite(1)
    assert weights @ nodes[:, 0] ** 38 == pytest.approx(float(np.prod(np.arange(1, 38, 2.0))), rel=1e-12)
    nodes, weights = quadrature.gauss_hermite(5, order=3)
    assert nodes.shape == (243, 5)
    assert weights @ np.prod(nodes**2, axis=1) == pytest.approx(1.0, rel=1e-13)


def test_degree_five_rule_tells_all_pairs_of_axes():
    nodes, weights = quadrature.gauss_hermite(9)
    second = np.einsum("m,mi,mj->ij", weights, nodes, nodes)
    fourth = np.einsum("m,mi,mj->ij", weights, nodes**2, nodes**2)
    assert np.allclose(second, np.eye(9), atol=1e-13)
    assert np.allclose(fourth, np.ones((9, 9)) + 2 * np.eye(9), atol=1e-12)


@pytest.mark.checklist("G13")
def test_w2_on_the_line_matches_the_linear_program():
    rng = np.random.default_rng(6)
    x, y, a, b = rng.standard_normal(30), 2 + rng.standard_normal(40), rng.random(30), rng.random(40)
    a[3] = b[5] = 0.0
    cost = np.subtract.outer(x, y) ** 2
    expected = np.sqrt(transport.ot.emd2(a / a.sum(), b / b.sum(), cost))
    assert transport.wasserstein2_1d(x, y, a, b) == pytest.approx(expected, rel=1e-10)
    shifted = transport.wasserstein2_1d(x, x[::-1] - 3.0)
    assert shifted == pytest.approx(3.0, rel=1e-14)


@pytest.mark.checklist("G13")
def test_w2_of_cells_closed_forms():
    edges = np.linspace(0, 1, 11)
    mass = np.random.default_rng(7).random(10)
    mass[[0, 4, 5, 9]] = 0.0
    assert transport.wasserstein2_cells(edges, mass, edges + 2.5, 3 * mass) == pytest.approx(2.5, rel=1e-14)
    assert transport.wasserstein2_cells(edges, mass, edges, mass) == 0.0
    # T(x) = 3x - 1 maps [0, 1] onto [-1, 2]: the integral of (2x - 1)^2 is 1/3.
    one = transport.wasserstein2_cells(np.array([0.0, 1.0]), np.ones(1), np.linspace(-1, 2, 7), np.ones(6))
    assert one**2 == pytest.approx(1 / 3, rel=1e-13)
    # Half of the mass of [0, 1] in each of [0, 1] and [5, 6], an empty gap between: the squared distances are
    # the integral over s < 1/2 of s^2 and over s > 1/2 of (4 + s)^2.
    split = transport.wasserstein2_cells(
        np.array([0.0, 1.0]), np.ones(1), np.array([0.0, 1.0, 5.0, 6.0]), np.array([1.0, 0.0, 1.0])
    )
    assert split**2 == pytest.approx((0.5**3 + 5**3 - 4.5**3) / 3, rel=1e-13)


def test_w2_of_cells_falls_to_the_gaussian_value_at_second_order():
    errors = []
    for n in (200, 400, 800):
        edges = np.linspace(-9, 9, n + 1)
        narrow, wide = np.diff(ndtr(edges)), np.diff(ndtr((edges - 0.5) / 1.5))
        errors.append(abs(transport.wasserstein2_cells(edges, narrow, edges, wide) - np.sqrt(0.5)))
    assert errors[-1] < 1e-4
    assert np.allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.1)


@pytest.mark.checklist("G13")
def test_bures_matches_the_difference_of_traces_and_keeps_digits():
    rng = np.random.default_rng(8)
    a, b = (r @ r.T for r in rng.standard_normal((2, 4, 4)))
    root = sqrtm(a)
    squared = 5.0 + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(root @ b @ root).real)
    mean = np.array([1.0, 2.0, 0.0, 0.0])
    assert transport.bures(mean, a, np.zeros(4), b) ** 2 == pytest.approx(squared, rel=1e-12)
    near = transport.bures(mean, np.eye(4), mean, (1 + 1e-9) ** 2 * np.eye(4))
    assert near == pytest.approx(2e-9, rel=1e-6)
    flat_one, flat_other = np.diag([1.0, 0.0]), np.diag([0.0, 4.0])
    assert transport.bures(mean[:2], flat_one, mean[:2], flat_other) == pytest.approx(np.sqrt(5.0), rel=1e-14)


@pytest.mark.checklist("G13")
def test_clouds_choose_their_method():
    rng = np.random.default_rng(9)
    x, shift = rng.standard_normal((300, 3)), np.array([1.0, -2.0, 2.0])
    value, method = transport.clouds(x, rng.permutation(x + shift))
    assert (method, value) == ("exact", pytest.approx(3.0, rel=1e-10))
    weights = rng.random(300)
    value, method = transport.clouds(x, x + shift, weights, 2 * weights)
    assert (method, value) == ("exact", pytest.approx(3.0, rel=1e-10))
    assert transport.clouds(x[:, :1], x[:, :1] + 2.0) == (pytest.approx(2.0, rel=1e-13), "quantiles")
    large = rng.standard_normal((2001, 2))
    value, method = transport.clouds(large, large[::-1] + 1.0)
    assert (method, value) == ("sliced", pytest.approx(np.sqrt(2.0), rel=1e-10))


def test_sliced_is_a_lower_bound_and_the_same_every_time():
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((200, 3)), rng.standard_normal((250, 3)) * np.array([1.0, 3.0, 0.5])
    bound, exact = transport.sliced(x, y), transport.clouds(x, y)[0]
    assert 0.7 * exact < bound < exact
    assert transport.sliced(x, y) == bound
    assert transport.sliced(x, y, directions=4000) == pytest.approx(bound, rel=0.05)
