"""The taps of B-splines against SciPy's, their laws, and spreading as the adjoint of reading."""

import numpy as np
import pytest
from numba.core.errors import TypingError
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline

from wflow.estimators import gather, spread
from wflow.kernels import splines, tangents
from wflow.kernels.taps import SPLINES

PLACES = np.concatenate([[0.0, 1e-12, 0.5, 1.0 - 2.0**-53], np.random.default_rng(0).random(200)])


def taps_at(t, order):
    """(order,) weights of a particle at t in the first cell of a line."""
    return spread((order,), np.array([[t]]), np.ones(1), np.zeros(1), np.ones(1), (0.0,) * order)


@pytest.mark.parametrize("order", SPLINES)
def test_taps_are_the_b_splines_of_scipy(order):
    """Values and slopes; the node of tap k is at k - (order/2 - 1) from the cell of the particle."""
    basis = BSpline.basis_element(np.arange(order + 1) - order / 2)
    for t in PLACES:
        places = t - (np.arange(order) - (order // 2 - 1))
        assert_allclose(taps_at(t, order), basis(places), atol=2e-16)
        slopes = [gather(row, np.array([[t]]), np.zeros(1), np.ones(1), (0.0,) * order)[1] for row in np.eye(order)]
        assert_allclose(np.ravel(slopes), basis.derivative()(places), atol=1e-15)


def test_second_derivatives_are_those_of_scipy():
    basis, out = BSpline.basis_element(np.arange(5.0) - 2.0).derivative(2), np.empty((1, 1, 1))
    for t in PLACES[:50]:
        for k, row in enumerate(np.eye(4)):
            tangents.curvature(row, (1, 1, 4), (1, 1, 4), np.array([[t / 3.0]]), np.zeros(1), np.full(1, 3.0), out, 1)
            assert_allclose(out[0, 0, 0], 9.0 * basis(t - (k - 1)), atol=1e-13)


@pytest.mark.parametrize("order", SPLINES)
def test_taps_are_positive_mirrored_and_sum_to_one(order):
    """Mirrored to the bit where 1 - t is exact: a cloud and its mirror image get the same density."""
    for t in PLACES:
        weights = taps_at(t, order)
        assert weights.min() >= 0.0
        assert abs(weights.sum() - 1.0) < 4e-16
        if 1.0 - (1.0 - t) == t and t > 0.0:
            assert np.array_equal(taps_at(1.0 - t, order), weights[::-1])
    # The outermost tap is a power, so it keeps its digits however small it is.
    assert_allclose(taps_at(1e-12, order)[-1], 1e-12 ** (order - 1) / SPLINES[order][0], rtol=1e-14)


@pytest.mark.parametrize("order", SPLINES)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_spreading_is_the_adjoint_of_reading(d, order):
    """Σ mesh · spread(mass) = Σ mass · value, and the gradient is the derivative of the value."""
    rng, shape, taps = np.random.default_rng(d), (13, 11, 12)[:d], (0.0,) * order
    x, mass, mesh = rng.uniform(0.0, 5.0, (700, d)), rng.standard_normal(700), rng.standard_normal(shape)
    offset, inverse = rng.uniform(-1.0, 0.0, d), np.array([1.0, 0.9, 0.8])[:d]
    x[0] = offset + (np.array(shape) - order + 0.5) / inverse  # whose taps end on the last node
    value, gradient = gather(mesh, x, offset, inverse, taps)
    assert_allclose(np.vdot(mesh, spread(shape, x, mass, offset, inverse, taps)), mass @ value, atol=1e-12)
    for k, step in enumerate(1e-6 * np.eye(d)):
        up, down = (gather(mesh, x + sign * step, offset, inverse, taps)[0] for sign in (1.0, -1.0))
        assert_allclose(gradient[:, k], (up - down) / 2e-6, atol=2e-8)


def test_a_strided_mesh_or_one_of_other_numbers_is_refused():
    """Vectors would be read past what it holds."""
    value, gradient, x = np.empty(1), np.empty((1, 1)), np.array([[0.5]])
    for mesh in (np.ones(8)[::2], np.ones(4, dtype=np.float32)):
        with pytest.raises(TypingError, match="flat, contiguous float64"):
            splines.gather(mesh, (4,), x, np.zeros(1), np.ones(1), value, gradient, 1, (0.0,) * 4)
