"""Fields given as text, numbers and functions: values, derivatives, both bindings, and a closed grammar."""

import math
import os
import pickle
import re
import subprocess
import sys
import time

import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

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
    binding,
    fields,
    scalars,
)
from wflow.expression.functions import FUNCTIONS

WELL = "(x**2 - 1)**2 + 2*y**2"


@pytest.fixture(autouse=True, scope="module")
def cache_folder(tmp_path_factory):
    """Compiled code of this file's tests goes to a folder of its own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WFLOW_CACHE", str(folder))
        yield folder


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache folder, in a process that knows no compiled code yet."""
    for name in [name for name in sys.modules if name.startswith("wflow_expression_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("WFLOW_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    sys.modules.pop(binding.bind_numba(SOURCE).__name__)


def cloud(n, d, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (n, d))


# ---- values and derivatives


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
            assert wave[row, i] == pytest.approx(
                float(mpmath.diff(value, tuple(p[row]), tuple(order))), rel=1e-10
            )
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


# ---- the two bindings

ALL = " + ".join(
    f"{name}(x*y/8{', z/9' if function.arguments == 2 else ''})" for name, function in FUNCTIONS.items()
)


@pytest.mark.parametrize("text", [WELL, ALL, "x2*exp(-x0**2) + x2**1.7/(1 + x0)**3 + t*x0"])
@pytest.mark.parametrize("d", [3, 5])
def test_numpy_and_numba_agree_to_rounding(text, d):
    V, p = Expression(text), cloud(COMPILE_FROM, d, 0.5, 2)
    few = p[:200]
    assert np.allclose(V.value(p, 0.5)[:200], V.value(few, 0.5), rtol=1e-14, atol=1e-14)
    assert np.allclose(V.gradient(p, 0.5)[:200], V.gradient(few, 0.5), rtol=1e-13, atol=1e-13)


def test_both_bindings_are_used(monkeypatch):
    used = []
    real = fields._first_compiled
    monkeypatch.setattr(fields, "_first_compiled", lambda text: used.append(text) or real(text))
    Expression(WELL).value(cloud(COMPILE_FROM - 1, 2))
    Expression(WELL).gradient(cloud(COMPILE_FROM - 1, 2))
    assert used == []
    Expression(WELL).value(cloud(COMPILE_FROM, 2))
    Expression(WELL).gradient(cloud(COMPILE_FROM, 2))
    assert used == [WELL, WELL]


def test_positions_of_any_layout():
    p = cloud(COMPILE_FROM, 2)
    V = Expression(WELL)
    assert np.array_equal(V.gradient(np.asfortranarray(p)), V.gradient(p))
    assert np.array_equal(V.value(p[::2]), V.value(p[::2].copy()))
    assert np.array_equal(V.value([[1, 2]]), [8.0])
    with pytest.raises(InputError, match=r"\(n, d\), got \(2,\)"):
        V.value(np.zeros(2))


@njit
def drift_at(value, gradient, x, t, out):
    gradient(x, t, out)
    return value(x, t)


def test_compiled_functions_serve_other_kernels():
    V = Expression("x0*x2 + t")
    compiled, p = V.compiled(), cloud(6, 4)
    slope, slopes, values = np.full(4, np.nan), np.full((6, 4), np.nan), np.full(6, np.nan)
    assert drift_at(compiled.value, compiled.gradient, p[1], 0.5, slope) == V.value(p, 0.5)[1]
    assert np.array_equal(slope, V.gradient(p, 0.5)[1])
    compiled.values(p[2:5], 0.5, values[2:5])
    compiled.gradients(p[2:5], 0.5, slopes[2:5])
    assert np.array_equal(values[2:5], V.value(p, 0.5)[2:5])
    assert np.array_equal(slopes[2:5], V.gradient(p, 0.5)[2:5])
    assert np.isnan(values[[0, 1, 5]]).all()


def test_generated_source_has_products_and_shared_parts():
    source = fields._first_source("exp(x*y)**2 + x**6*y + 1/x**3")[1]
    assert "**" not in source
    assert source.split("def gradient")[1].count("exp(") == 1
    assert "** " not in fields._first_source("x**1000")[1]


# ---- the cache of compiled code

SOURCE = "@kernel\ndef value(x):\n    return 2.0 * x\n"


def test_compiled_code_is_loaded_by_the_next_process(own_cache):
    module = binding.bind_numba(SOURCE)
    assert module.value(3.0) == 6
    assert sum(module.value.stats.cache_misses.values()) == 1
    del sys.modules[module.__name__]
    again = binding.bind_numba(SOURCE)
    assert again is not module
    assert again.value(3.0) == 6
    assert sum(again.value.stats.cache_hits.values()) == 1
    assert [path.suffix for path in own_cache.iterdir() if path.is_file()] == [".py"]


def test_a_second_process_does_not_compile(own_cache):
    field_text = "x**2 + 0.1283*x"
    Expression(field_text).value(np.ones((COMPILE_FROM, 1)))
    code = (
        "import numpy as np; from wflow.expression import Expression;"
        f"V = Expression({field_text!r}); V.value(np.ones(({COMPILE_FROM}, 1)));"
        "s = V.compiled().values.stats; print(sum(s.cache_hits.values()), sum(s.cache_misses.values()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


def test_a_forged_file_is_overwritten_and_never_run(own_cache):
    module = binding.bind_numba(SOURCE)
    path = next(own_cache.glob("*.py"))
    good = path.read_text()
    del sys.modules[module.__name__]
    path.write_text(good.replace("2.0 * x", "3.0 * x") + "raise SystemExit\n")
    assert binding.bind_numba(SOURCE).value(1.0) == 2
    assert path.read_text() == good


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX rights")
def test_a_folder_others_may_write_to_is_not_used(own_cache):
    own_cache.mkdir()
    own_cache.chmod(0o777)
    module = binding.bind_numba(SOURCE)
    assert module.value(1.0) == 2
    assert list(own_cache.iterdir()) == []


def test_without_a_folder_to_write_to_a_temporary_one_serves(own_cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WFLOW_CACHE", str(tmp_path / "file" / "cache"))
    module = binding.bind_numba(SOURCE)
    assert module.value(1.0) == 2
    assert not module.__file__.startswith(str(tmp_path))


def test_the_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("WFLOW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert binding._wanted_folders() == [tmp_path / "wflow"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert binding._wanted_folders() == [tmp_path / "home" / ".cache" / "wflow"]


# ---- the grammar

REFUSED = (
    ("x^2", r"'x\^2'.*\*\*"),
    ("2x", "products need \\*"),
    ("sine(x)", "did you mean 'sin'"),
    ("Exp(x)", "did you mean 'exp'"),
    ("w + x", "'w'.*known: x, y, z"),
    ("x01", "'x01'"),
    ("sin", r"sin\(\.\.\.\)"),
    ("sin(x, y)", "1 argument"),
    ("maximum(x)", "2 arguments"),
    ("sin(a=x)", "1 argument"),
    ("sin(*x)", r"'\*x'"),
    ("x < 1", "comparisons"),
    ("1 if x else 2", "conditions"),
    ("x // 2", "'x // 2'"),
    ("x % 2", "'x % 2'"),
    ("not x", "'not x'"),
    ("x and y", "'x and y'"),
    ("~x", "'~x'"),
    ("x, y", "one number"),
    ("[x]", r"'\[x\]'"),
    ("x[0]", r"'x\[0\]'"),
    ("{x: 1}", "'{x: 1}'"),
    ("x.real", "'x.real'"),
    ("1.5.real", "1.5.real"),
    ("lambda: x", "'lambda: x'"),
    ("(lambda: x)()", "'lambda: x'"),
    ("[x for x in y]", "for x in"),
    ("__import__('os').system('true')", "not the name of a function"),
    ("f'{x}'", "f'{x}'"),
    ("'x'", "real number"),
    ("True", "real number"),
    ("None", "real number"),
    ("1j", "real number"),
    ("1e400", "too large"),
    ("1" * 5000, "cannot be read"),
    ("1/0", "division by zero"),
    ("y/(x - x)", "division by zero"),
    ("0**-1", "0\\*\\*-1"),
    ("(-8)**(1/3)", "power"),
    ("(-2)**x", "power"),
    ("log(0)", "finite"),
    ("sqrt(-1)", "finite"),
    ("exp(1000)", "finite"),
    ("9**9**9", "1000"),
    ("x**1001", "1000"),
    ("(1e300*x)**1000", "too large"),
    ("((1e300*x)**500)**1000", "too large"),
    ("1e200*x*1e200", "1e308"),
    ("((7*x)**900*y)**900", "too large"),
    ("", "empty"),
    (" \n", "empty"),
    ("x +", "cannot be read"),
    ("x; y", "';'"),
    ("x := 1", "cannot be read"),
    ("import os", "cannot be read"),
    ("π*x", "'π'"),
    ("x\x00", "character"),
    ("x" * 10_001, "10000 characters"),
    ("*".join(["x"] * 2_000) + "+" + "*".join(["x"] * 1_500), "5000 parts"),
    ("-" * 9_999 + "x", "nested"),
    ("-" * 200 + "x", "deeper than 100"),
    ("(" * 4_000 + "x" + ")" * 4_000, "nested"),
    ("2**" * 3_000 + "x", "nested"),
    ("sin(" * 150 + "x" + ")" * 150, "deeper than 100"),
)


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:20] for text, _ in REFUSED])
def test_all_else_is_refused_quickly_and_by_name(text, message):
    start = time.perf_counter()
    with pytest.raises(InputError, match=re.compile(message, re.DOTALL)):
        Expression(text)
    assert time.perf_counter() - start < 2


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="xyt0123456789.e+-*/()^ ,sincoglpqr", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        V = Expression(text)
    except InputError:
        return
    assert V.gradient(np.ones((2, 60_000 if V.dim > 3 else 3))[:, : max(V.dim, 1)], 1.0).shape[0] == 2


def test_long_sums_are_fine():
    d = 120
    V = Expression(" + ".join(f"x{i}**2/{i + 1}" for i in range(d)))
    p = cloud(2, d)
    assert np.allclose(V.gradient(p), 2 * p / np.arange(1, d + 1))


def test_no_text_is_run(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(InputError):
        Expression(f"open('{target}', 'w')")
    assert not target.exists()


def test_expressions_are_values():
    V = Expression(" x*y ")
    assert V.text == "x*y"
    assert Expression("x*y") == V
    assert Expression("y*x") != V
    assert len({V, Expression("x*y")}) == 1
    copy = pickle.loads(pickle.dumps(V))
    assert copy == V
    assert copy.value(np.array([[2.0, 3.0]]))[0] == 6
    with pytest.raises(AttributeError):
        V.text = "x"


@pytest.mark.parametrize(
    ("text", "dim"), [("1", 0), ("t", 0), ("x", 1), ("x1", 2), ("y", 2), ("z*x", 3), ("x7", 8)]
)
def test_dimension(text, dim):
    V = Expression(text)
    V.check_dim(max(dim, 1))
    V.check_dim(dim + 3)
    if dim > 1:
        with pytest.raises(InputError, match=f"dimension {dim}, got {dim - 1}"):
            V.check_dim(dim - 1)
        with pytest.raises(InputError, match=f"dimension {dim}, got {dim - 1}"):
            V.value(np.zeros((1, dim - 1)))


# ---- functions


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


# ---- what a user may pass


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


@pytest.mark.parametrize(
    "bad", [None, [1, 2], np.zeros(2), True, 1j, float("nan"), float("inf"), 10**400, b"x"]
)
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
