"""Fields given as functions, numbers and per axis; functions of one number."""

import pickle

import autograd.numpy as anp
import numpy as np
import pytest
from expression_cases import WELL, cloud

from wflow.errors import InputError
from wflow.expression import (
    COMPILE_FROM,
    Callback,
    Expression,
    Field,
    ScalarFunction,
    VectorField,
    as_field,
    as_scalar_function,
    as_vector_field,
    scalars,
)

pytestmark = pytest.mark.usefixtures("cache_folder")


def smooth(x):
    return anp.exp(-(x[:, 0] ** 2)) * anp.sin(x[:, 1]) + x[:, 1] ** 4


SMOOTH = "exp(-x**2)*sin(y) + y**4"


def test_derivatives_of_a_function_by_tracing():
    p = cloud(9, 2)
    f, V = as_field(smooth), Expression(SMOOTH)
    f.check_dim(2)
    assert f.text == "smooth"
    assert not f.timed
    assert np.allclose(f.value(p), V.value(p), rtol=1e-14)
    assert np.allclose(f.gradient(p), V.gradient(p), rtol=1e-12)
    assert np.allclose(f.hessian(p), V.hessian(p), rtol=1e-11, atol=1e-14)


def test_linear_and_constant_functions_have_zero_hessians():
    p = cloud(4, 2)
    assert np.array_equal(as_field(lambda x: 3 * x[:, 1]).hessian(p), np.zeros((4, 2, 2)))
    assert np.array_equal(as_field(lambda x: np.ones(len(x))).gradient(p), np.zeros((4, 2)))


def test_a_given_gradient_is_used_and_differenced():
    p = cloud(9, 2)
    V = Expression(SMOOTH)
    f = as_field(lambda x: np.exp(-(x[:, 0] ** 2)) * np.sin(x[:, 1]) + x[:, 1] ** 4, grad=V.gradient)
    assert np.array_equal(f.gradient(p), V.gradient(p))
    assert np.allclose(f.hessian(p), V.hessian(p), rtol=1e-8, atol=1e-8)
    assert np.array_equal(f.hessian(p), f.hessian(p).swapaxes(1, 2))
    full = as_field(smooth, grad=lambda x: 7 * x, hess=V.hessian)
    assert np.array_equal(full.gradient(p), 7 * p)
    assert np.array_equal(full.hessian(p), V.hessian(p))


def test_functions_of_time():
    p = cloud(3, 2)
    f = as_field(lambda x, t: t * x[:, 0] ** 2)
    assert f.timed
    assert np.allclose(f.gradient(p, 3.0)[:, 0], 6 * p[:, 0])
    assert np.allclose(f.hessian(p, 3.0)[:, 0, 0], 6)
    assert as_field(lambda x, t=0.0: x[:, 0]).timed
    assert not as_field(lambda x, power=2: x[:, 0] ** power).timed
    moved = as_field(lambda x: x[:, 0], grad=lambda x, t: t * x)
    assert moved.timed
    assert np.array_equal(moved.gradient(p, 2.0), 2 * p)
    assert not as_field(lambda *x: x[0][:, 0]).timed


def test_answers_of_another_shape_are_refused():
    p = cloud(5, 2)
    with pytest.raises(InputError, match=r"shape \(5,\).*got \(5, 2\)"):
        as_field(lambda x: x).value(p)
    with pytest.raises(InputError, match=r"got \(\)"):
        as_field(lambda x: 1.0).value(p)
    with pytest.raises(InputError, match=r"shape \(5, 2\).*got \(2, 5\)"):
        as_field(smooth, grad=lambda x: x.T).gradient(p)
    with pytest.raises(InputError, match=r"shape \(5, 2, 2\)"):
        as_field(smooth, hess=lambda x: x).hessian(p)
    with pytest.raises(InputError, match="real numbers"):
        as_field(lambda x: 1j * x[:, 0]).value(p)
    with pytest.raises(InputError, match="real numbers"):
        as_field(lambda x: "text").value(p)


def test_functions_that_do_not_fit_the_dimension():
    with pytest.raises(InputError, match="dimension 1"):
        as_field(smooth).check_dim(1)
    with pytest.raises(InputError, match="dimension 3"):
        as_field(lambda x: x @ np.ones(2)).check_dim(3)
    with pytest.raises(InputError, match="got \\(2,\\)"):
        as_field(lambda x: x.sum(axis=0)).check_dim(2)


def test_functions_autograd_cannot_trace():
    p = cloud(5, 2)
    with pytest.raises(InputError, match="pass grad"):
        as_field(lambda x: np.linalg.norm(x, axis=1)).gradient(p)
    hidden = as_field(lambda x: x[:, 0] + getattr(x, "_value", x)[:, 1] ** 2)
    with pytest.raises(InputError, match="by differences"):
        hidden.gradient(p)
    slope_hidden = as_field(lambda x: x[:, 0] * getattr(x, "_value", x)[:, 0])
    with pytest.raises(InputError, match="pass grad"):
        slope_hidden.hessian(p)


def test_rows_that_look_at_each_other_are_refused():
    with pytest.raises(InputError, match="own position"):
        as_field(lambda x: x[:, 0] * anp.sum(x[:, 0])).gradient(cloud(5, 1))


def test_tracing_is_checked_once_in_each_dimension():
    calls = []
    f = as_field(lambda x: calls.append(x.shape) or anp.sum(x**2, axis=1))
    counts = []
    for d in (1, 1, 2, 2):
        calls.clear()
        f.gradient(cloud(3, d))
        counts.append(len(calls))
    assert counts[1] == counts[3] == 1
    assert min(counts[0], counts[2]) > 1


def test_undefined_points_do_not_upset_the_check():
    f = as_field(lambda x: anp.log(x[:, 0]))
    assert np.isnan(f.value(np.array([[-1.0]]))[0])
    f.gradient(np.array([[-1.0]]))
    assert f.gradient(np.array([[4.0]]))[0, 0] == 0.25
    steep = as_field(lambda x: 1e12 + x[:, 0] ** 2)
    assert steep.gradient(np.array([[4.0]]))[0, 0] == 8


def test_steep_and_large_functions_pass_the_check():
    p = cloud(20, 3)
    for scale in (1e-12, 1.0, 1e12):
        f = as_field(lambda x, scale=scale: scale * anp.sum(anp.exp(3 * x), axis=1))
        assert np.allclose(f.gradient(p), 3 * scale * np.exp(3 * p), rtol=1e-13)


def test_as_field_takes_text_numbers_functions_and_fields():
    p = cloud(3, 2)
    for given_number in (2, 2.0, np.float64(2), np.array(2.0), np.int64(2)):
        V = as_field(given_number)
        assert isinstance(V, Expression)
        assert np.array_equal(V.value(p), [2, 2, 2])
    assert as_field(-1e-30).value(p)[0] == -1e-30
    V = as_field(WELL)
    assert as_field(V) is V
    f = as_field(smooth)
    assert as_field(f) is f
    assert isinstance(V, Field)
    assert isinstance(f, Field)
    assert isinstance(f, Callback)


@pytest.mark.parametrize("bad", [None, [1, 2], np.zeros(2), True, 1j, float("nan"), float("inf"), 10**400, b"x"])
def test_as_field_refuses(bad):
    with pytest.raises(InputError):
        as_field(bad)


def test_gradients_go_with_functions_only():
    for V in ("x", 1.0, Expression("x")):
        with pytest.raises(InputError, match="grad"):
            as_field(V, grad=lambda x: x)
    with pytest.raises(InputError, match="grad"):
        as_field(smooth, grad="x")


def test_vector_fields():
    p = cloud(4, 2)
    b = as_vector_field(("-y*t", lambda x: x[:, 0]), 2)
    assert isinstance(b, VectorField)
    assert b.timed
    assert b.text.startswith("[-y*t, ")
    assert np.array_equal(b.value(p, 2.0), np.stack([-2 * p[:, 1], p[:, 0]], axis=1))
    whole = as_vector_field(lambda x, t: t * x, 2)
    assert isinstance(whole, VectorField)
    assert whole.timed
    assert np.array_equal(whole.value(p, 3.0), 3 * p)
    assert not as_vector_field(lambda x: -x, 2).timed
    assert not as_vector_field(["x", 0], 2).timed
    assert np.array_equal(as_vector_field("x**2", 1).value(p[:, :1]), p[:, :1] ** 2)
    assert np.array_equal(as_vector_field(Expression("2"), 1).value(p[:, :1]), np.full((4, 1), 2.0))
    assert as_vector_field(b, 2) is b


@pytest.mark.parametrize(
    ("drift", "dim", "message"),
    [
        ("x", 2, "needs 2 fields"),
        (["x", "y"], 3, "needs 3 fields"),
        (["x", "z"], 2, "uses z"),
        (["x", None], 2, "NoneType"),
        (None, 1, "NoneType"),
        (lambda x: x[:, 0], 2, r"shape \(4, 2\).*got \(4,\)"),
        (lambda x: x[:, [2]], 2, "dimension 2"),
        (as_vector_field(["x", "y"], 2), 3, "dimension 3"),
    ],
)
def test_vector_fields_that_do_not_fit(drift, dim, message):
    with pytest.raises(InputError, match=message):
        as_vector_field(drift, dim)


def test_vector_callback_checks_positions():
    with pytest.raises(InputError, match=r"\(n, 2\)"):
        as_vector_field(lambda x: -x, 2).value(np.zeros((3, 3)))


def test_scalar_functions():
    U = as_scalar_function("q**2*log(q) - 3*q")
    for s in (np.array([0.5, 1.0, 4.0]), np.linspace(0.1, 2, COMPILE_FROM).reshape(2, -1)):
        assert np.allclose(U.value(s), s * s * np.log(s) - 3 * s, rtol=1e-13, atol=1e-14)
        assert np.allclose(U.slope(s), 2 * s * np.log(s) + s - 3, rtol=1e-13, atol=1e-14)
        assert np.allclose(U.curvature(s), 2 * np.log(s) + 3, rtol=1e-13, atol=1e-14)
    assert U.curvature(1.0).shape == ()
    assert np.array_equal(as_scalar_function("q").curvature(np.ones((2, 3))), np.zeros((2, 3)))
    assert as_scalar_function("c0**2", variable="c0").slope(2.0) == 4
    assert as_scalar_function(U) is U
    assert pickle.loads(pickle.dumps(U)) == U
    assert np.isnan(U.value(np.array([-1.0]))[0])


def test_large_arrays_of_scalar_functions_are_compiled(monkeypatch):
    used = []
    real = scalars._on_numba
    monkeypatch.setattr(scalars, "_on_numba", lambda *key: used.append(key) or real(*key))
    s = np.asfortranarray(np.linspace(0.1, 2, COMPILE_FROM).reshape(2, -1))
    assert np.allclose(ScalarFunction("q**3").slope(s), 3 * s * s, rtol=1e-15)
    assert used == [("q**3", "q")]


@pytest.mark.parametrize("bad", ["x", "q + t", "q^2", 3, ""])
def test_scalar_functions_refuse(bad):
    with pytest.raises(InputError):
        as_scalar_function(bad)
    with pytest.raises(InputError, match="name"):
        as_scalar_function("q", variable="1")
