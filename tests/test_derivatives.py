"""Derivatives of plain functions: numbers, shapes, nesting, branches, and the check of a gradient by hand."""

import autograd.numpy as anp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.derivatives import check_gradient, directional, grad, hessian, jacobian, value_and_gradients
from wflow.errors import InputError

X = np.array([0.3, -0.7, 1.2])


def bowl(x):
    return anp.sum(anp.exp(x) * x) + x[0] * x[1] * x[2]


def branches(a):
    """Doubled until it is long; times a hundred where it is negative."""
    b = 2 * a
    while anp.sqrt(b * b) < 1000:
        b = 2 * b
    return b if b > 0 else 100 * b


@pytest.mark.checklist("D1")
def test_the_derivative_is_the_local_scale():
    """f(x + e) - f(x) - e f'(x) falls as e²; a small step against the sign of f' descends."""
    f, x = (lambda a: anp.sin(a) * a), 0.8
    slope = grad(f)(x)
    steps = np.array([1e-2, 5e-3, 2.5e-3])
    rest = np.array([abs(f(x + e) - f(x) - e * slope) for e in steps])
    assert_allclose(np.diff(np.log2(rest)), -2, atol=0.02)
    assert all(f(x - e * np.sign(slope)) < f(x) for e in steps)


@pytest.mark.checklist("D4")
def test_gradient_against_differences_complex_steps_and_the_expression():
    found = grad(bowl)(X)
    exact = np.exp(X) * (1 + X) + np.prod(X) / X
    assert_allclose(found, exact, rtol=1e-14)
    complex_step = [np.imag(np.sum(np.exp(z) * z) + np.prod(z)) / 1e-30 for z in X + 1e-30j * np.eye(3)]
    assert_allclose(found, complex_step, rtol=1e-14)
    central = [(bowl(X + 1e-6 * e) - bowl(X - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    assert_allclose(found, central, rtol=1e-7)
    text = wf.Potential("exp(x)*x + exp(y)*y + exp(z)*z + x*y*z").field
    assert_allclose(found, text.gradient(X[None])[0], rtol=1e-14)
    assert_allclose(hessian(bowl)(X), text.hessian(X[None])[0], rtol=1e-13, atol=1e-14)


@pytest.mark.checklist("D5", "D6")
def test_directional_derivatives():
    """uᵀ∇f; over unit u it is |g| cos θ, least at -g/|g|."""
    rng, g = np.random.default_rng(0), grad(bowl)(X)
    for u in rng.normal(size=(5, 3)):
        assert_allclose(directional(bowl, X, u), u @ g, rtol=1e-14)
    best = -g / np.linalg.norm(g)
    assert_allclose(directional(bowl, X, best), -np.linalg.norm(g), rtol=1e-14)
    across = np.cross(best, [0, 0, 1.0])
    across /= np.linalg.norm(across)
    for angle in np.linspace(0, np.pi, 7):
        u = -np.cos(angle) * best + np.sin(angle) * across
        assert_allclose(directional(bowl, X, u), np.linalg.norm(g) * np.cos(angle), atol=1e-13)


@pytest.mark.checklist("D10")
def test_gradient_of_a_column():
    x = np.arange(4.0)[:, None]
    found = grad(lambda v: 2 * anp.dot(v.T, v))(x)
    assert found.shape == (4, 1)
    assert_array_equal(found[:, 0], [0, 4, 8, 12])


@pytest.mark.checklist("D11")
def test_many_gradients_from_one_trace_and_second_derivatives():
    """y = x², z = y²: dz/dx and dy/dx from one trace, and by nesting."""
    x = np.arange(4.0)
    value, pull = value_and_gradients(lambda v: anp.stack([v * v, (v * v) ** 2]), x)
    assert_array_equal(value, [x**2, x**4])
    ones, zeros = np.ones(4), np.zeros(4)
    assert_array_equal(pull([zeros, ones]), [0, 4, 32, 108])
    assert_array_equal(pull([ones, zeros]), [0, 2, 4, 6])
    fourth = grad(lambda a: a**4)
    assert (fourth(2.0), grad(fourth)(2.0), grad(grad(fourth))(2.0)) == (32.0, 48.0, 48.0)
    with pytest.raises(InputError, match="weights"):
        pull(ones)


@pytest.mark.checklist("D12")
def test_gradient_through_loops_and_branches():
    assert (branches(0.5), grad(branches)(0.5)) == (1024.0, 2048.0)
    assert (branches(-0.5), grad(branches)(-0.5)) == (-102400.0, 204800.0)
    for a in np.random.default_rng(3).normal(size=50):
        assert_allclose(grad(branches)(a), branches(a) / a, rtol=4e-16)  # equal to one ulp only


def test_jacobians_have_the_shape_of_value_and_argument():
    found = jacobian(lambda x: anp.stack([x[0], x[1] ** 2]))([3.0, 3.0])
    assert_array_equal(found, [[1, 0], [0, 6]])
    assert jacobian(lambda x: x[:, None] * x)(X).shape == (3, 3, 3)


def wrong_in_silence(x):
    """The trace is lost: autograd sees a constant."""
    return float(np.sum(x**2)) if isinstance(x, np.ndarray) else 0.0 * x[0]


def test_wrong_traces_are_found():
    with pytest.raises(InputError, match="traces wrongly"):
        grad(wrong_in_silence)(X)
    assert_array_equal(grad(wrong_in_silence, check=False)(X), 0)
    with pytest.raises(InputError, match="autograd cannot differentiate"):
        grad(lambda x: np.linalg.norm(np.asarray(x, dtype=float)))(X)
    with pytest.raises(InputError, match="take jacobian"):
        grad(lambda x: x)(X)
    with pytest.raises(InputError, match="finite"):
        grad(bowl)([np.nan, 0.0, 0.0])
    with pytest.raises(InputError, match="shape"):
        directional(bowl, X, [1.0])
    with pytest.raises(InputError, match="traces wrongly"):
        jacobian(lambda x: x * wrong_in_silence(x))(X)


def test_a_gradient_by_hand_is_checked():
    right = check_gradient(bowl, grad(bowl), X)
    assert abs(right.slope - 2) < 0.05
    assert right.error < 1e-10
    with pytest.raises(InputError, match=r"component \[1\]"):
        check_gradient(bowl, lambda x: grad(bowl)(x) + np.array([0, 1e-3, 0]), X)
    with pytest.raises(InputError, match="shape"):
        check_gradient(bowl, lambda x: 1.0, X)
    with pytest.raises(InputError, match="not finite"):
        check_gradient(lambda x: np.log(x[0] - 5), lambda x: np.array([np.inf]), [5.0])
    loose = check_gradient(bowl, lambda x: grad(bowl)(x) + np.array([0, 1.0, 0]), X, tolerance=1.0)
    assert abs(loose.slope - 1) < 0.2
    assert np.isnan(check_gradient(lambda x: 3.0 * x[0], lambda x: np.array([3.0]), [1.0]).slope)
