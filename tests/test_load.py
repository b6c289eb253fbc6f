"""Files that are no results are refused when they are opened; what stands in a place is kept until the new is whole."""

import os
import sys

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import wflow as wf
from wflow.cli import app
from wflow.errors import Status
from wflow.results import make_layout
from wflow.store import Reader, Writer, reader, slots, verify

KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
LINE = wf.Density(wf.Grid(-4, 4, 16), wf.Gaussian([1.0], 0.5))


def go(path, state=LINE, **more):
    return wf.run(KL, state, t_end=0.1, save=3, out=path, **more)


def put(file, name, array, dims):
    """A dataset in the place of another."""
    if name in file:
        del file[name]
    file.create_dataset(name, data=array).attrs["dimensions"] = np.array([dim.encode() for dim in dims], "S")


CELLS = '{"lower": [0], "upper": [1], "cells": [1000000000000], "boundary": [["no-flux", "no-flux"]]}'
HOSTILE = {
    "'density' has 5 along 'x', the scale of that has 16": lambda f: put(f, "density", np.ones((3, 5)), ("time", "x")),
    "the axis 'y' of 'density' has no scale": lambda f: put(f, "density", np.ones((3, 16, 2)), ("time", "x", "y")),
    "the axis 'time' of '.*' has no scale": lambda f: put(f, "time", np.ones((3, 2)), ("time", "x")),
    "'density' holds int8, not float64": lambda f: put(f, "density", np.ones((3, 16), "i1"), ("time", "x")),
    "the 'density' of its density is missing": lambda f: f.__delitem__("density"),
    "over time, time, not over time, x": lambda f: put(f, "density", np.ones((3, 3)), ("time", "time")),
    "the 'position' of its particles is missing": lambda f: f.attrs.__setitem__("state", np.bytes_("particles")),
    "unknown kind of state 'cloud'": lambda f: f.attrs.__setitem__("state", np.bytes_("cloud")),
    "a density file without a grid": lambda f: f.attrs.__setitem__("grid", np.bytes_("null")),
    "does not fit the grid": lambda f: f.attrs.__setitem__("grid", np.bytes_(CELLS)),
    "the 'target' of its density is over x, x, not": lambda f: put(f, "target", np.ones((16, 16)), ("x", "x")),
    "time of frame 2 is not after": lambda f: f["time"].__setitem__(slice(None), [0.0, 2.0, 1.0]),
    "time of frame 1 is not after": lambda f: f["time"].__setitem__(slice(None), [0.0, np.nan, 1.0]),
}


@pytest.mark.parametrize("told", HOSTILE)
def test_a_file_that_is_no_result_is_refused(told, tmp_path):
    go(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        HOSTILE[told](file)
    with pytest.raises(wf.FileError, match=told) as caught:
        wf.load(tmp_path / "a.h5")
    assert str(caught.value).count(str(tmp_path)) == 1
    assert verify(tmp_path / "a.h5")


def test_a_file_of_no_frame(tmp_path):
    """As a run leaves it that is killed at its start."""
    result, path = go(tmp_path / "whole.h5"), tmp_path / "none.h5"
    layout = make_layout(LINE, 3, tuple(result.diagnostics), tuple(result.steps), result.info, result.target)
    Writer(path, layout).abandon()
    left = wf.load(path)
    assert (left.status, len(left.times), list(left.states)) == (Status.RUNNING, 0, [])
    assert "0 frames" in repr(left)
    assert left == wf.load(path)
    for act in (
        lambda: left.final,
        lambda: left.save(tmp_path / "b.h5"),
        left.to_xarray,
        lambda: wf.compare(left, left),
    ):
        with pytest.raises(wf.InputError, match="no frame"):
            act()
    answer = CliRunner().invoke(app, ["plot", str(path)])
    assert (answer.exit_code, "no frame" in answer.output) == (1, True)
    assert wf.run(KL, LINE, t_end=0.1, save=3, out=path, resume=True).status is Status.COMPLETE


@pytest.mark.parametrize("live", [False, True])
def test_a_result_is_saved_over_its_own_file(tmp_path, live):
    first = go(tmp_path / "a.h5")
    wf.load(tmp_path / "a.h5", live=live).save(tmp_path / "a.h5")
    assert wf.load(tmp_path / "a.h5") == first
    assert verify(tmp_path / "a.h5") == []


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    go(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    broken = wf.run(KL, LINE, t_end=0.2, save=3)
    object.__setattr__(broken, "states", (*broken.states[:2], wf.Point([0.0])))
    with pytest.raises(wf.InputError, match="a frame lacks"):
        broken.save(tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_live_result_is_one_moment_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "SETTLED", 10**18)
    result = go(tmp_path / "whole.h5")
    layout = make_layout(LINE, 3, ("energy",), (), result.info, result.target)
    with Writer(tmp_path / "a.h5", layout) as out:
        out.frame({"time": 0.0, "density": LINE.values, "energy": 1.0})
        seen = wf.load(tmp_path / "a.h5", live=True)  # young, so that it is opened anew at every look
        out.frame({"time": 1.0, "density": 2.0 * LINE.values, "energy": 0.5})
        assert len(seen.states) == len(seen.times) == len(seen.diagnostics["energy"]) == 1
        assert np.array_equal(seen.final.values, LINE.values)
        with pytest.raises(wf.InputError, match=r"after 1, that of the last; got 1"):
            out.frame({"time": 1.0, "density": LINE.values, "energy": 0.5})
        with Reader(tmp_path / "a.h5") as file:
            assert file.frames == 2


def test_a_pipe_is_no_place_for_a_result(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(wf.FileError, match="not overwritten"):
        go(tmp_path / "pipe")
    assert "not a file" in verify(tmp_path / "pipe")[0]


def test_names_in_another_encoding(tmp_path, monkeypatch):
    """Of the script, which every result tells, and of the file."""
    monkeypatch.setattr(sys, "argv", ["caf\udce9.py", "--x", "1"])
    path = tmp_path / "caf\udce9.h5"
    assert go(path).info["command"] == r"'caf\udce9.py' --x 1"
    with Reader(path) as file:
        assert file.attributes["written_as"] == r"caf\udce9.h5"


def test_a_checkpoint_that_found_no_room_does_not_cost_the_newest(tmp_path, monkeypatch):
    result = go(tmp_path / "whole.h5")
    out = Writer(tmp_path / "a.h5", make_layout(LINE, 3, (), (), result.info, None))
    for number in (1.0, 2.0):
        out.checkpoint({"a": np.array(number)})
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_grow", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(wf.FileError, match="No space"):
            out.checkpoint({"a": np.zeros(10 * slots.BLOCK)})
    with h5py.File(tmp_path / "a.h5") as file:
        data = file[slots.NAME][...]
    data[[slots.decode(slot.tobytes()).number == 1 for slot in data].index(True)] = 0
    out.checkpoint({"a": np.array(3.0)})
    out.abandon()
    with h5py.File(tmp_path / "a.h5") as file:
        found = sorted(slots.decode(slot.tobytes()).arrays["a"].item() for slot in file[slots.NAME])
    assert found == [2.0, 3.0]


@pytest.mark.parametrize(
    "given", [{"t_end": 1e308, "dt": 1e-10}, {"t_end": 1.0, "dt": 1e-300}, {"steps": 10**400, "dt": 1.0}], ids=str
)
def test_more_steps_than_can_be_counted_are_refused(given):
    with pytest.raises(wf.InputError, match="steps"):
        wf.run(wf.Potential("x**2"), wf.Point([1.0]), **given)
