"""Results: round trips through `out` and `save` for all states, xarray, and nothing left behind by refused input."""

import json
import warnings

import h5py
import numpy as np
import pytest
import xarray
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import RunWarning, Status
from wflow.steppers import Langevin

TARGET = wf.Gaussian([0.2, 0.0], 0.8)
RUNS = {
    "density": (
        wf.FDivergence("reverse-kl", TARGET),
        wf.Density(wf.Grid([-2, -2], [2, 2], (8, 7)), wf.Gaussian([0.5, 0.5], 0.5)),
        {"t_end": 0.2},
    ),
    "density, periodic": (
        wf.Entropy(),
        wf.Density(wf.Grid(0, 1, 9, "periodic"), np.arange(9.0)),
        {"t_end": 0.01, "save": "all"},
    ),
    "particles": (
        wf.Entropy() + wf.Potential("x**2 + y**2"),
        wf.Particles(np.random.default_rng(0).standard_normal((7, 2)), [1, 2, 3, 4, 5, 6, 7.1]),
        {"dt": 0.1, "steps": 3, "stepper": Langevin(), "rng": 3},
    ),
    "particles, domain": (
        wf.Potential("x"),
        wf.Particles([[0.1], [0.9]], domain=wf.Grid(0, 1, 2)),
        {"t_end": 0.3},
    ),
    "point": (wf.Potential("x**2 + y**4"), wf.Point([3.0, 3.0]), {"dt": 0.01, "steps": 5}),
    "gaussian": (
        wf.FDivergence("reverse-kl", TARGET),
        wf.Gaussian([1.0, 0.3], [[1.0, 0.2], [0.2, 0.5]]),
        {"t_end": 0.3},
    ),
}
EXTRA = {"mean": lambda t, s: t + 1}  # a name that is a variable of another kind of state


def go(name, **more):
    F, q, arguments = RUNS[name]
    extra = {} if name == "gaussian" else {"diagnostics": EXTRA}
    return wf.run(F, q, **arguments, **extra, **more)


def same_numbers(a, b):
    assert_array_equal(a.times, b.times)
    assert a.status is b.status
    for mine, theirs in ((a.diagnostics, b.diagnostics), (a.steps, b.steps)):
        assert mine.keys() == theirs.keys()
        for key, series in mine.items():
            assert_array_equal(series, theirs[key])
    assert len(a.states) == len(b.states) == len(a.times)
    for x, y in zip(a.states, b.states, strict=True):
        assert type(x) is type(y)
        if isinstance(x, wf.Gaussian):  # a file holds mean and covariance
            assert_array_equal(x.mean, y.mean)
            assert_array_equal(x.cov, y.cov)
        else:
            assert_array_equal(x.coordinates, y.coordinates)
        if isinstance(x, wf.Particles):
            assert_array_equal(x.weights, y.weights)
            assert x.domain == y.domain
        if isinstance(x, wf.Density):
            assert x.grid == y.grid
    assert (a.target is None) == (b.target is None)
    if a.target is not None:
        assert_array_equal(a.target, b.target)


@pytest.mark.parametrize("name", RUNS)
def test_round_trip_through_out(name, tmp_path):
    memory, streamed = go(name), go(name, out=tmp_path / "a.h5")
    same_numbers(memory, streamed)
    again = wf.load(tmp_path / "a.h5")
    same_numbers(memory, again)
    assert again == streamed
    assert streamed.path == tmp_path / "a.h5"


@pytest.mark.parametrize("name", RUNS)
def test_round_trip_through_save(name, tmp_path):
    memory = go(name)
    memory.save(tmp_path / "b.h5")
    again = wf.load(tmp_path / "b.h5")
    same_numbers(memory, again)
    assert again == memory
    again.save(tmp_path / "c.h5")
    assert wf.load(tmp_path / "c.h5") == memory


@pytest.mark.parametrize("name", RUNS)
def test_equal_means_equal_in_everything(name):
    a, b = go(name), go(name)
    b.info["created"] = a.info["created"]
    assert a == b
    assert a != 3
    b.diagnostics["energy"] = b.diagnostics["energy"] + 1
    assert a != b


def test_clouds_with_other_weights_are_not_equal():
    q = [wf.Particles([[0.0], [1.0]], w) for w in ([1, 1], [1, 1.5])]
    a, b = (wf.run(wf.Potential("x"), s, dt=0.1, steps=2) for s in q)
    b.info["created"] = a.info["created"]
    b.diagnostics.update(a.diagnostics)
    b.steps.update(a.steps)
    assert a != b


@pytest.mark.parametrize("name", RUNS)
def test_xarray_opens_every_file_without_a_warning(name, tmp_path):
    result = go(name, out=tmp_path / "a.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as data:
            assert_array_equal(data["time"], result.times)
            assert_array_equal(data["energy"], result.diagnostics["energy"])
            assert_array_equal(data["step_dt"], result.steps["dt"])
            dims = {v: data[v].dims for v in data.variables}
            assert data.attrs["status"] == "complete"
            in_memory = result.to_xarray()
            for variable in in_memory.variables:
                assert_array_equal(in_memory[variable], data[variable])
    expected = {
        "density": {"density": ("time", "x", "y"), "target": ("x", "y")},
        "density, periodic": {"density": ("time", "x")},
        "particles": {"position": ("time", "particle", "axis"), "weight": ("particle",)},
        "particles, domain": {"position": ("time", "particle", "axis")},
        "point": {"position": ("time", "axis")},
        "gaussian": {"mean": ("time", "axis"), "covariance": ("time", "axis", "axis_2")},
    }[name]
    assert {v: dims[v] for v in expected} == expected


def test_attributes_of_the_contract(tmp_path):
    result = go("density", out=tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        names = set(file.attrs)
        assert file.attrs["wflow_schema"].tolist() == [1, 0]
        assert file.attrs["committed"] == len(result.times)
        assert json.loads(file.attrs["arguments"])["t_end"] == 0.2
    wanted = "wflow_version state status functional stepper metric grid seed created command git_commit versions"
    assert set(wanted.split()) <= names
    assert result.info["functional"] == repr(RUNS["density"][0])


def test_arguments_longer_than_an_ordinary_attribute(tmp_path):
    """HDF5 keeps at most 64 KB in a header."""
    times = np.linspace(0, 1, 6001)[1:]
    result = wf.run(wf.Potential("x**2"), wf.Point([1.0]), dt=0.1, t_end=1.0, save=times, out=tmp_path / "a.h5")
    assert wf.load(tmp_path / "a.h5").info["arguments"]["save"] == times.tolist()
    assert len(result.times) == 11


def test_an_older_result_is_replaced_and_nothing_else(tmp_path):
    go("point", out=tmp_path / "a.h5")
    go("gaussian", out=tmp_path / "a.h5")
    assert wf.load(tmp_path / "a.h5").info["state"] == "gaussian"
    (tmp_path / "b.h5").write_text("mine")
    with pytest.raises(wf.FileError, match="not overwritten"):
        go("point", out=tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_text() == "mine"


CLOUD_4D = wf.Particles(np.zeros((30, 4)))
REFUSED = {
    "no time": (wf.Potential("x"), wf.Point([1.0]), {}),
    "bad name": (wf.Potential("x"), wf.Point([1.0]), {"t_end": 1.0, "diagnostics": {"position": lambda t, s: 0.0}}),
    "energy twice": (wf.Potential("x"), wf.Point([1.0]), {"t_end": 1.0, "diagnostics": {"energy": lambda t, s: 0.0}}),
    "no density": (wf.Entropy(), wf.Point([1.0]), {"t_end": 1.0}),
    "no estimate": (wf.Entropy(), CLOUD_4D, {"t_end": 1.0}),
    "no estimate, fixed step": (wf.Entropy(), CLOUD_4D, {"dt": 0.1, "steps": 2, "stepper": wf.steppers.Heun()}),
    "saddle": (
        wf.Potential("x**2 - y**2"),
        wf.Point([1.0, 1.0]),
        {"dt": 0.1, "steps": 2, "metric": wf.metrics.Newton()},
    ),
    "stop": (wf.Potential("x"), wf.Point([1.0]), {"t_end": 1.0, "stop": 3}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_left_on_disk_after_refused_input(name, tmp_path):
    F, q, arguments = REFUSED[name]
    with pytest.raises(wf.InputError):
        wf.run(F, q, out=tmp_path / "sub" / "a.h5", **arguments)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_user_leaves_the_frames_readable(tmp_path):
    def fails(t, s):
        if t > 0.25:
            raise ZeroDivisionError("mine")
        return 0.0

    with pytest.raises(ZeroDivisionError, match="mine"):
        wf.run(
            wf.Potential("x**2"), wf.Point([1.0]), dt=0.1, steps=5, save="all", out=tmp_path / "a.h5",
            diagnostics={"f": fails},
        )  # fmt: skip
    left = wf.load(tmp_path / "a.h5")
    assert (left.status, left.info["message"]) == (Status.RAISED, "ZeroDivisionError: mine")
    assert len(left.times) == 3
    again = wf.load(left.save(tmp_path / "b.h5"))
    assert (again.status, again.info["message"]) == (left.status, left.info["message"])


def test_a_broken_run_is_in_its_file(tmp_path):
    with pytest.warns(RunWarning):
        wf.run(wf.Potential("-x**4"), wf.Point([1.0]), dt=1.0, steps=20, save="all", out=tmp_path / "a.h5")
    left = wf.load(tmp_path / "a.h5")
    assert left.status is Status.NOT_FINITE
    assert_allclose(left.states[1].x, 5.0)
    assert left.final == left.states[-1] or np.array_equal(left.final.x, left.states[-1].x)
    assert "not finite" in repr(left)


def test_states_of_a_file_are_a_sequence(tmp_path):
    result = go("point", out=tmp_path / "a.h5")
    assert len(result.states) == 6
    assert_array_equal(result.states[-1].x, result.final.x)
    assert [s.x.tolist() for s in result.states[1:3]] == [result.states[1].x.tolist(), result.states[2].x.tolist()]
    with pytest.raises(IndexError):
        result.states[6]
