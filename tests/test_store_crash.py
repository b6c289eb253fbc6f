"""The store when a process dies or the disk is full: no committed frame is lost, at any instant."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from store_cases import agrees, grid, point, values, write

import wflow.errors
from wflow.store import Layout, Reader, Writer, building, disk, verify, writer

ROOT = Path(wflow.errors.__file__).parents[1]


def record(path, layout, count, monkeypatch):
    """Return the writes and renames of a whole run, and after how many of them each frame and each checkpoint was
    committed.

    An item is (file number, offset, bytes); the bytes are None for a truncation, the offset for a rename.
    """
    log, opened, replace = [], [], os.replace

    class Recorder(disk.Disk):
        def __init__(self, path):
            super().__init__(path)
            opened.append(self)

        def write(self, data):
            log.append((opened.index(self), self.place, bytes(data)))
            return super().write(data)

        def truncate(self, size):
            log.append((opened.index(self), size, None))
            return super().truncate(size)

    def replace_recorded(source, target):
        log.append((len(opened) - 1, None, Path(source).read_bytes()))
        replace(source, target)

    monkeypatch.setattr(building, "Disk", Recorder)
    monkeypatch.setattr(os, "replace", replace_recorded)
    marks, kept = [], []
    with Writer(path, layout) as out:
        for k in range(count):
            out.step({"time": 2 * k})
            out.step({"time": 2 * k + 1})
            out.frame(values(layout, k))
            marks.append(len(log))
            out.checkpoint(state_of(k))
            kept.append(len(log))
        out.close("complete")
    monkeypatch.undo()
    return log, marks, kept


def state_of(k):
    """Arrays of growing size, so that the room for checkpoints grows too."""
    return {"memory": np.full((k // 4 + 1, 90), float(k)), "order": np.asfortranarray(np.arange(6.0).reshape(2, 3))}


def crash_points(log):
    """Yield (writes done, bytes of the file that has the name), also with a write torn between two pages."""
    visible, image = None, bytearray()
    for done, (number, offset, data) in enumerate(log, start=1):
        if offset is None:
            visible, image = number, bytearray(data)
            yield done, bytes(image)
        elif number == visible and data is None:
            image = image[:offset].ljust(offset, b"\0")
            yield done, bytes(image)
        elif number == visible:
            cuts = range(4096 - offset % 4096, len(data), 4096)
            for cut in (*cuts, len(data)):
                image = image.ljust(offset + cut, b"\0")
                image[offset : offset + cut] = data[:cut]
                yield done - (cut < len(data)), bytes(image)


def check_checkpoint(file, done):
    """The last one that was finished, or the one after it; a finished file has none."""
    point = file.checkpoint()
    if file.attributes["storage"] == "packed":
        assert point is None
        return
    assert done <= (0 if point is None else point.number) <= done + 1
    if point is not None:
        k = point.number - 1
        assert (point.frames, point.steps) == (k + 1, 2 * k + 2)
        for name, array in state_of(k).items():
            np.testing.assert_array_equal(point.arrays[name], array)
            assert point.arrays[name].flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("text", [100, 20_000])
def test_every_crash_point_leaves_every_committed_frame(tmp_path, monkeypatch, text):
    """Long attributes once put the counters into a write across two pages, which a kill can tear."""
    monkeypatch.setattr(writer, "FIRST_FRAMES", 4)
    monkeypatch.setattr(writer, "FIRST_STEPS", 8)
    base = grid(1)
    attributes = {"arguments": "a" * text} | {f"note_{k}": "hello" for k in range(14)}
    layout = Layout(None, base.coordinates, base.framed, base.static, base.stepped, attributes)
    log, marks, kept = record(tmp_path / "a.h5", layout, 12, monkeypatch)
    assert sum(offset is None for _, offset, _ in log) > 3
    points = 0
    for done, image in crash_points(log):
        (tmp_path / "b.h5").write_bytes(image)
        with Reader(tmp_path / "b.h5") as file:
            count = file.frames
            assert count >= sum(mark <= done for mark in marks)
            np.testing.assert_array_equal(file.column("time"), 0.5 * np.arange(count))
            assert len(file.steps["time"]) in (2 * count, 2 * count + 2)
            check_checkpoint(file, sum(mark <= done for mark in kept))
        assert verify(tmp_path / "b.h5") == []
        points += 1
    assert points > 100
    agrees(tmp_path / "b.h5", layout, 12)


CHILD = """
import resource, signal, sys
import numpy as np
from wflow.store import Layout, Variable, Writer
path, count, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
layout = Layout(None, {}, (Variable("position", ("time", "particle"), (500,)),), {}, ("time",))
def cap():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if limit:
    cap()
out = Writer(path, layout, overwrite=True)
for k in range(count):
    out.step({"time": k})
    position = np.random.default_rng(k).normal(size=500)
    position[7] = k
    out.frame({"time": k, "position": position})
    print(k + 1, flush=True)
limit = limit or 20_000
cap()
out.close("complete")
"""


def child(path, count, limit):
    command = [sys.executable, "-c", CHILD, str(path), str(count), str(limit)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def test_a_killed_writer_loses_nothing(tmp_path):
    path = tmp_path / "a.h5"
    for wait in (1, 63, 64, 130):
        process = child(path, 10**6, 0)
        told = [int(process.stdout.readline()) for _ in range(wait)][-1]
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, process.stdout.read().split())])
        process.communicate()
        with Reader(path) as file:
            assert told <= file.frames <= told + 1
            assert file.attributes["status"] == "running"
            np.testing.assert_array_equal(file.column("position")[:, 7], np.arange(file.frames))
            np.testing.assert_array_equal(file.steps["time"], np.arange(len(file.steps["time"])))
        assert verify(path) == []
    write(tmp_path / "b.h5", point(), 1)
    Writer(path, point(), overwrite=True).close("complete")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.parametrize(("count", "limit", "kept"), [(5, 20_000, None), (200, 400_000, 64), (40, 0, 40)])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, count, limit, kept):
    """At the start, when the file grows and when it is packed."""
    process = child(tmp_path / "a.h5", count, limit)
    _, told = process.communicate()
    assert process.returncode == 1
    assert "FileError: " in told
    assert "File too large" in told
    assert [item.name for item in tmp_path.iterdir() if item.suffix != ".lock"] == (["a.h5"] if kept else [])
    if kept:
        assert verify(tmp_path / "a.h5") == []
        with Reader(tmp_path / "a.h5") as file:
            assert file.frames == kept
            assert file.attributes["status"] == ("running" if limit else "complete")
