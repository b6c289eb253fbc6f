"""Files of every schema that was ever written keep opening and keep meaning what they meant.

They were made by tests/golden/make.py when their schema was new; the numbers here are of closed solutions, or follow
from the method by hand.
"""

import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import wflow as wf
from wflow.errors import Status
from wflow.store import SCHEMA, Reader, verify

FOLDER = Path(__file__).resolve().parent / "golden"
SCHEMAS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path.name[0].isdigit())


def test_every_schema_is_here():
    assert f"{SCHEMA[0]}.{SCHEMA[1]}" in SCHEMAS


@pytest.fixture(params=SCHEMAS)
def golden(request):
    return FOLDER / request.param


def test_complete_files(golden):
    density, cloud, gaussian = (wf.load(golden / f"{name}.h5") for name in ("density", "particles", "gaussian"))
    for result in (density, cloud, gaussian):
        assert result.status is Status.COMPLETE
        assert verify(result.path) == []
    assert density.final.grid.boundary == (("periodic", "periodic"),)
    x, rate = density.final.grid.centers[0], 4.0 * 8**2 * np.sin(np.pi / 8) ** 2
    np.testing.assert_allclose(density.times, [0.0, 0.005, 0.01])
    wave = 1.0 + 0.5 * np.exp(-rate * 0.01) * np.sin(2.0 * np.pi * x)
    np.testing.assert_allclose(density.final.values, wave, atol=1e-4)
    np.testing.assert_allclose(density.diagnostics["mass"], 1.0, rtol=1e-14)
    np.testing.assert_array_equal(cloud.final.weights, [0.25, 0.75])
    np.testing.assert_array_equal(cloud.final.positions, [[0.0, 0.25], [0.5, 0.75]])
    np.testing.assert_array_equal(cloud.steps["dt"], 0.5)
    np.testing.assert_allclose(gaussian.final.mean, [np.exp(-1.0)], rtol=1e-6)
    np.testing.assert_allclose(gaussian.final.cov, [[1.0 + 3.0 * np.exp(-2.0)]], rtol=1e-6)
    assert density.info["functional"] == "Entropy()"
    assert density.info["arguments"]["save"] == 3


def test_an_unfinished_file_goes_on(golden, tmp_path, monkeypatch):
    path = Path(shutil.copy(golden / "unfinished.h5", tmp_path))
    with Reader(path) as file:
        point = file.checkpoint()
    assert (point.steps, point.frames) == (4, 5)
    assert verify(path) == []
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "make", raising=False)
    from make import ARMED, unfinished

    ARMED.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wf.RunWarning)  # under whatever versions stand here
        again = unfinished(path, resume=True)
    whole = unfinished(None)
    assert again.status is Status.COMPLETE
    np.testing.assert_allclose([state.x for state in again.states], [state.x for state in whole.states], rtol=1e-13)


@pytest.mark.parametrize("name", ["density", "particles", "gaussian", "unfinished"])
def test_xarray_opens_them(golden, name):
    xarray = pytest.importorskip("xarray")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(golden / f"{name}.h5", engine="h5netcdf") as data:
            assert data.sizes["time"] >= 2
            assert data.attrs["wflow_schema"].tolist() == [int(part) for part in golden.name.split(".")]
