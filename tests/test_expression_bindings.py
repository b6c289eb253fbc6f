"""Generated code on NumPy and on Numba: both agree, and compiled code is kept, safely."""

import os
import subprocess
import sys

import numpy as np
import pytest
from expression_cases import WELL, cloud
from numba import njit

from wflow.errors import InputError
from wflow.expression import (
    COMPILE_FROM,
    Expression,
    binding,
    fields,
)
from wflow.expression.functions import FUNCTIONS

pytestmark = pytest.mark.usefixtures("cache_folder")


SOURCE = "@kernel\ndef value(x):\n    return 2.0 * x\n"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache folder, in a process that knows no compiled code yet."""
    for name in [name for name in sys.modules if name.startswith("wflow_expression_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("WFLOW_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    sys.modules.pop(binding.bind_numba(SOURCE).__name__)


ALL = " + ".join(f"{name}(x*y/8{', z/9' if function.arguments == 2 else ''})" for name, function in FUNCTIONS.items())


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
    assert len(V.compiled().gradients.signatures) == 1  # compiled once for all layouts
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
    source = fields._first_source("exp(x*y)**2 + x**6*y + 1/x**3 + 1/y")[1]
    assert "**" not in source
    assert source.split("def gradient")[1].count("exp(") == 1
    assert "** " not in fields._first_source("x**1000")[1]


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
