"""The store: what is written comes back, finished, unfinished and live."""

import json
import os

import h5py
import numpy as np
import pytest
import xarray
from store_cases import ENERGY, LAYOUTS, agrees, point, values, write

from wflow.errors import FileError, InputError
from wflow.store import Layout, Reader, Variable, Writer, reader, verify, writer


@pytest.mark.parametrize("status", [None, "complete"])
@pytest.mark.parametrize("count", [0, 2, 3, 70])
@pytest.mark.parametrize("name", LAYOUTS)
def test_round_trip(tmp_path, name, count, status):
    """Also more frames than were expected; nothing else is left in the folder."""
    path = write(tmp_path / "new" / "a.h5", LAYOUTS[name], count, status)
    agrees(path, LAYOUTS[name], count)
    assert verify(path) == []
    assert [item.name for item in path.parent.iterdir()] == ["a.h5"]
    with Reader(path) as file:
        assert file.attributes["status"] == (status or "running")


@pytest.mark.parametrize("status", [None, "complete"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_xarray_opens_it_as_it_stands(tmp_path, name, status):
    layout = LAYOUTS[name]
    path = write(tmp_path / "a.h5", layout, 2, status)
    with h5py.File(path) as file:
        for item in file.values():
            scales = [len(dim) for dim in item.dims]
            assert scales == ([0] if item.is_scale else [1] * item.ndim)
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        for v in layout.framed:
            assert data[v.name].dims == v.dims
            np.testing.assert_array_equal(data[v.name][1], values(layout, 1)[v.name])
        assert data.attrs["status"] == (status or "running")
        assert data.sizes["time"] == (2 if status else layout.frames or writer.FIRST_FRAMES)
        assert data.attrs.get("functional") == layout.attributes.get("functional")
        if not status:
            assert np.isnan(data["time"][2:]).all()
            assert all(np.isnan(data[v.name][2:]).all() for v in layout.framed)
            assert np.isnan(data["step_time"][4:]).all()
            assert int(data["step"][-1]) == data.sizes["step"] - 1


def test_packing_trims_compresses_and_is_checked(tmp_path):
    layout = Layout(500, {}, (Variable("mean", ("time", "axis"), (100,)),))
    with Writer(tmp_path / "a.h5", layout) as out:
        for k in range(300):
            out.frame({"time": k, "mean": np.full(100, k)})
        large = os.path.getsize(tmp_path / "a.h5")
        out.close("stopped early")
        out.close("a second time")
    assert os.path.getsize(tmp_path / "a.h5") < large / 5
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["mean"].shape == (300, 100)
        assert (file["mean"].compression, file["mean"].shuffle, file["mean"].fletcher32) == ("gzip", True, True)
    with Reader(tmp_path / "a.h5") as file:
        assert (file.attributes["status"], file.attributes["storage"]) == ("stopped early", "packed")
        np.testing.assert_array_equal(file.column("mean")[:, 0], np.arange(300))


def test_steps_after_the_last_frame_are_kept(tmp_path):
    with Writer(tmp_path / "a.h5", point()) as out:
        for k in range(3000):
            out.step({"time": k})
        out.close("stopped")
        with pytest.raises(InputError, match="closed"):
            out.step({"time": 0.0})
    with Reader(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file.steps["time"], np.arange(3000))
        assert file.frames == 0


def test_a_live_reader_follows_the_writer_through_growth_and_packing(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "FIRST_FRAMES", 2)
    with Writer(tmp_path / "a.h5", point()) as out, Reader(tmp_path / "a.h5", live=True) as live:
        for k in range(9):
            out.frame(values(point(), k))
            assert live.frames == k + 1
            np.testing.assert_array_equal(live.frame("position", k), values(point(), k)["position"])
        out.close("complete")
        assert live.attributes["status"] == "complete"
        still = Reader(tmp_path / "a.h5")
        (tmp_path / "a.h5").unlink()
        assert still.frames == 9
        assert still.column("time")[-1] == 4.0
        still.close()
        with pytest.raises(InputError, match="closed"):
            _ = still.frames


def test_one_writer_at_a_time(tmp_path):
    with Writer(tmp_path / "a.h5", point()) as first:
        with pytest.raises(FileError, match=f"written by process {os.getpid()}"):
            Writer(tmp_path / "a.h5", point(), overwrite=True)
        os.symlink(tmp_path / "a.h5", tmp_path / "b.h5")
        with pytest.raises(FileError, match="written by"):
            Writer(tmp_path / "b.h5", point(), overwrite=True)
        first.frame(values(point(), 0))
    Writer(tmp_path / "a.h5", point(), overwrite=True).close("complete")


def test_a_live_reader_does_not_trust_the_clock_of_a_young_file(tmp_path, monkeypatch):
    """Two writes within one tick of the clock leave the same time and size."""
    monkeypatch.setattr(reader, "SETTLED", 10**18)
    path = tmp_path / "a.h5"
    with Writer(path, point()) as out, Reader(path, live=True) as live:
        before = path.stat()
        out.frame(values(point(), 0))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert live.frames == 1


def test_what_stands_there_is_kept(tmp_path):
    path = write(tmp_path / "a.h5", point(), 2, "complete")
    with pytest.raises(InputError, match="exists"):
        Writer(path, point())
    agrees(path, point(), 2)
    (tmp_path / "diary.h5").write_text("dear diary")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["data"] = np.arange(3)
    for name in ("diary.h5", "other.h5"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(FileError, match="not a whole wflow file"):
            Writer(tmp_path / name, point(), overwrite=True)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(FileError, match="cannot write"):
        Writer(tmp_path / "diary.h5" / "a.h5", point())
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.h5", "diary.h5", "other.h5"]


def test_a_read_only_folder_is_told(tmp_path):
    """As another user where the test runs as root, whom no permission stops."""
    tmp_path.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(FileError, match="Permission denied"):
            Writer(tmp_path / "a.h5", point())
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


BAD = {
    "dims must be": lambda: Layout(1, {}, (Variable("a", ("axis",), (2,)),)),
    "used twice": lambda: Layout(1, {}, (ENERGY, ENERGY)),
    "reserved": lambda: Layout(1, {}, (Variable("crc32", ("time",)),)),
    "one different name": lambda: Layout(1, {}, (Variable("c", ("time", "axis", "axis"), (2, 2)),)),
    "has 3 along 'x', others have 2": lambda: Layout(1, {"x": np.ones(2)}, (Variable("q", ("time", "x"), (3,)),)),
    "cannot name": lambda: Layout(1, {}, (Variable("a/b", ("time",)),)),
    "per-step": lambda: Layout(1, {}, (Variable("step_a", ("time",)),)),
    "written by the store": lambda: Layout(1, attributes={"status": "complete"}),
    "must be text, a number": lambda: Layout(1, attributes={"flag": True}),
    "NUL": lambda: Layout(1, attributes={"text": "a\0b"}),
    "UTF-8": lambda: Layout(1, attributes={"text": "\ud800"}),
    "a count": lambda: Layout(-1),
}


@pytest.mark.parametrize("told", BAD)
def test_a_wrong_layout_is_refused(told):
    with pytest.raises(InputError, match=told):
        BAD[told]()


def test_wrong_frames_are_refused_and_cost_nothing(tmp_path):
    good = values(point(), 0)
    with Writer(tmp_path / "a.h5", point()) as out:
        for wrong, told in (
            ({"time": 0.0}, r"lacks \['position'\]"),
            (good | {"energy": 1.0}, r"unknown \['energy'\]"),
            (good | {"position": np.zeros(2)}, r"shape \(3,\)"),
            (good | {"position": np.zeros(3, complex)}, "must be real"),
        ):
            with pytest.raises(InputError, match=told):
                out.frame(wrong)
        with pytest.raises(InputError, match="unknown per-step"):
            out.step({"speed": 1.0})
        with pytest.raises(InputError, match="status"):
            out.close("long" * 100)
        out.step({"time": 0})
        out.step({"time": 1})
        out.frame(good)
        out.close("complete")
    agrees(tmp_path / "a.h5", point(), 1)


def test_text_and_numbers_of_attributes_come_back(tmp_path):
    attributes = {"arguments": json.dumps({"V": "x²", "n": 3}), "grid": [0.0, 1.0], "cells": [3, 4], "list": []}
    path = write(tmp_path / "a.h5", Layout(1, stepped=("time",), attributes=attributes), 1, "complete")
    with Reader(path) as file:
        found = file.attributes
    assert {name: found[name] for name in attributes} == attributes
    assert found["wflow_schema"] == [1, 0]


@pytest.mark.parametrize(("kind", "packed"), [("noise", None), ("zeros", "gzip")])
def test_what_does_not_shrink_is_not_compressed(tmp_path, kind, packed):
    """Judged by the last row that was written, not by the empty ones that wait behind it."""
    layout = Layout(None, {}, (Variable("position", ("time", "particle"), (4000,)),))
    rng = np.random.default_rng(0)
    with Writer(tmp_path / "a.h5", layout) as out:
        for k in range(3):
            out.frame({"time": k, "position": rng.normal(size=4000) if kind == "noise" else np.zeros(4000)})
        out.close("complete")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["position"].compression == packed
        assert file["position"].fletcher32
    assert verify(tmp_path / "a.h5") == []
