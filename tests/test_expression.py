"""Fields given as text: values and exact derivatives."""

import math

import mpmath
import numpy as np
import pytest
from expression_cases import WELL, cloud

from wflow.expression import (
    COMPILE_FROM,
    Expression,
)
from wflow.expression.functions import FUNCTIONS

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_double_well_against_its_formulas():
    p = cloud(7, 2)
    x, y = p.T
    V = Expression(WELL)
    zero = np.zeros(7)
    assert np.allclose(V.value(p), (x * x - 1) ** 2 + 2 * y * y, rtol=1e-15)
    assert np.allclose(V.gradient(p), np.stack([4 * x**3 - 4 * x, 4 * y], axis=1), rtol=1e-14)
    hessian = np.stack([np.stack([12 * x * x - 4, zero], 1), np.stack([zero, zero + 4], 1)], axis=1)
    assert np.allclose(V.hessian(p), hessian, rtol=1e-14)


MIXED = "exp(-x0*x1/3)*sin(x3) + sqrt(1 + x3**2)/x1 + x0*x3*t"


def test_mixed_derivatives_in_a_space_with_an_unused_axis():
    p, t = cloud(5, 4, 0.5, 1.5), 0.7
    V = Expression(MIXED)
    wave, slope = V.gradient(p, t), V.hessian(p, t)
    for row in range(5):

        def value(a, b, c, d):
            return mpmath.exp(-a * b / 3) * mpmath.sin(d) + mpmath.sqrt(1 + d * d) / b + a * d * t

        for i in range(4):
            order = np.eye(4, dtype=int)[i]
            assert wave[row, i] == pytest.approx(float(mpmath.diff(value, tuple(p[row]), tuple(order))), rel=1e-10)
            for j in range(4):
                both = tuple(order + np.eye(4, dtype=int)[j])
                expected = float(mpmath.diff(value, tuple(p[row]), both))
                assert slope[row, i, j] == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert V.value(p, t)[0] == pytest.approx(float(value(*p[0])), rel=1e-14)


PRECISE = {
    "absolute": abs,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "maximum": lambda a, b: max(a, b),
    "minimum": lambda a, b: min(a, b),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_and_its_derivatives(name):
    """Against mpmath, through an inner function, so that the chain rule is felt."""
    code = FUNCTIONS[name].code
    precise = PRECISE.get(code) or getattr(mpmath, code)
    second = ", 0.35" if FUNCTIONS[name].arguments == 2 else ""
    V = Expression(f"{name}(x**2/3{second})")

    def value(x):
        return precise(x * x / 3, mpmath.mpf(0.35)) if second else precise(x * x / 3)

    p = np.array([[0.3], [0.7], [1.2], [1.6]])
    found = np.stack([V.value(p), V.gradient(p)[:, 0], V.hessian(p)[:, 0, 0]])
    with mpmath.workdps(30):
        expected = [[float(mpmath.diff(value, mpmath.mpf(x), order)) for x in p[:, 0]] for order in range(3)]
    assert np.allclose(found, expected, rtol=1e-13, atol=1e-15)


def test_derivatives_at_kinks_and_beyond():
    p = np.array([[-2.0], [0.0], [3.0]])
    assert Expression("abs(x)").gradient(p)[:, 0].tolist() == [-1, 0, 1]
    assert Expression("abs(x)").hessian(p)[:, 0, 0].tolist() == [0, 0, 0]
    assert Expression("maximum(x, 0)").gradient(p)[:, 0].tolist() == [0, 0.5, 1]
    assert Expression("min(x, 0)").gradient(p)[:, 0].tolist() == [1, 0.5, 0]
    assert Expression("max(x, 0)**2").hessian(p)[:, 0, 0].tolist() == [0, 0.5, 2]
    assert Expression("minimum(-x, 2*x)").gradient(p)[:, 0].tolist() == [2, 0.5, -1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1/4", -0.25),
        ("2**-2", 0.25),
        ("2**0.5", math.sqrt(2)),
        ("0.1 + 0.2", 0.3),
        ("pi", math.pi),
        ("e**2", math.exp(2)),
        ("cos(pi)", -1),
        ("1_000e-3", 1),
        ("-2**2", -4),
        ("2**3**2", 512),
        ("10 - 4 - 3", 3),
        ("24/4/3*2", 4),
        ("x**0", 1),
        ("maximum(2, 3) - abs(-5)", -2),
        ("0*x", 0),
        ("sign(-3) + erf(0)", -1),
    ],
)
def test_constants_fold_and_fill_every_row(text, value):
    V = Expression(text)
    for n in (0, 4, COMPILE_FROM):
        p = np.ones((n, 2))
        assert V.value(p).shape == (n,)
        assert np.all(V.value(p) == value)
        assert np.array_equal(V.gradient(p), np.zeros((n, 2)))
    assert np.array_equal(V.hessian(p[:3]), np.zeros((3, 2, 2)))


@pytest.mark.parametrize("power", [-1000, -7, -2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2, 2.5, 3, 7, 64, 0.3, -2.7])
def test_powers(power):
    p = np.array([[0.9], [1.0], [1.1]])
    x = p[:, 0]
    V = Expression(f"x**({power})")
    assert np.allclose(V.value(p), x**power, rtol=5e-13)
    assert np.allclose(V.gradient(p)[:, 0], power * x ** (power - 1), rtol=5e-13)
    assert np.allclose(V.hessian(p)[:, 0, 0], power * (power - 1) * x ** (power - 2), rtol=5e-13)


def test_powers_of_variables():
    p = cloud(6, 2, 0.5, 2)
    x, y = p.T
    assert np.allclose(Expression("x**y").gradient(p), np.stack([y * x ** (y - 1), x**y * np.log(x)], 1))
    assert np.allclose(Expression("2**(x*y)").gradient(p)[:, 0], 2 ** (x * y) * y * math.log(2))
    assert np.allclose(Expression("e**(x*y)").hessian(p)[:, 0, 1], np.exp(x * y) * (1 + x * y))


def test_factors_are_not_distributed():
    """2*(x - 1) near x = 1 keeps its digits; 2*x - 2 would not."""
    x = 1 + 2.0**-52
    assert Expression("1e8*(x - 1)").value(np.array([[x]]))[0] == 1e8 * 2.0**-52
    V = Expression("3*(x - 1)**2 + t")
    assert V.gradient(np.array([[x]]))[0, 0] == 6 * 2.0**-52


def test_undefined_values_are_silent():
    p = np.array([[-1.0], [0.0]])
    with np.errstate(all="raise"):
        for text in ("log(x)", "sqrt(x)", "1/x", "x**0.3", "x**-2", "asin(5*x - 1)/x"):
            V = Expression(text)
            for found in (V.value(p), V.gradient(p)):
                assert not np.all(np.isfinite(found))
            V.hessian(p)
        V, large = Expression("log(x) + 1/x + x**0.3"), np.resize(p, (COMPILE_FROM, 1))
        assert np.isnan(V.value(large)[0])
        assert np.isnan(V.gradient(large)[0, 0])
        assert np.isnan(V.value(large)[1])
        assert not np.isfinite(V.gradient(large)[1, 0])


def test_time():
    V = Expression("t*x + 1/t")
    assert V.timed
    assert not Expression(WELL).timed
    assert Expression("cos(t)").timed
    assert V.value(np.array([[3.0]]), 2)[0] == 6.5
    assert V.value(np.array([[3.0]]))[0] == np.inf
    assert V.value(np.full((COMPILE_FROM, 1), 3.0), 2)[-1] == 6.5
    assert V.gradient(np.full((COMPILE_FROM, 1), 3.0), 2)[-1, 0] == 2
