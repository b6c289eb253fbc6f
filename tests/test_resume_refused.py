"""Files from which a run must not go on are refused as they are, and signals that come late are not lost."""

import os
import signal
import struct
import zlib

import h5py
import numpy as np
import pytest

import wflow as wf
from wflow.errors import FileError, RunWarning, Status
from wflow.loop import recorder, resumption
from wflow.store import Checkpoint, Reader, slots, verify
from wflow.store.writer import Writer

WELL = wf.Potential("x**2/2")
FLOWS = {
    "point": (WELL, wf.Point([1.0, 2.0]), {"dt": 0.1, "steps": 20}),
    "adaptive": (WELL, wf.Point([1.0, 2.0]), {"t_end": 2.0, "stepper": wf.steppers.BogackiShampine()}),
    "velocities": (
        wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0)),
        wf.Particles(np.linspace(-1, 1, 9)[:, None]),
        {"dt": 0.1, "steps": 20, "stepper": wf.steppers.UnderdampedLangevin()},
    ),
}


def flow(name, out, **more):
    functional, state, arguments = FLOWS[name]
    return wf.run(functional, state, out=out, **arguments, **more)


def left(name, out, steps=5):
    with pytest.warns(RunWarning, match="max_steps"):
        flow(name, out, max_steps=steps)
    with Reader(out) as file:
        return file.checkpoint()


def put(out, data):
    """The bytes in both slots."""
    with h5py.File(out, "r+") as file:
        slot = np.zeros(file["checkpoint"].shape[1:], np.uint8)
        slot.reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
        file["checkpoint"][...] = slot


def signed(text):
    """A table with the right mark and checksum."""
    rest = struct.pack("<IQ", len(text), slots.HEAD.size + len(text)) + text
    return slots.MARK + struct.pack("<I", zlib.crc32(rest)) + rest


NUMBERS = {
    "time beyond the end": [5.0, 0.1, 5, np.nan, 0, 0],
    "time below zero": [-0.5, 0.1, 5, np.nan, 0, 0],
    "fewer steps": [0.1, 0.1, 1, np.nan, 0, 0],
    "another time": [0.4, 0.1, 5, np.nan, 0, 0],
    "another step": [0.5, 0.2, 5, np.nan, 0, 0],
    "no numbers": [np.nan] * 6,
    "too few": [0.5, 0.1],
    "a flag of three": [0.5, 0.1, 5, np.nan, 0, 3],
}
ALTERED = [
    *(("point", word, {"numbers": np.array(numbers)}) for word, numbers in NUMBERS.items()),
    ("point", "nothing recorded", {"recorded": None}),
    ("point", "recorded three times", {"recorded": np.zeros(3)}),
    ("point", "a frame that is not there", {"recorded": np.array(0.3)}),
    ("point", "a short ledger", {"ledger": np.zeros(2)}),
    ("point", "no ledger", {"ledger": None}),
    ("point", "weights on a point", {"weights": np.ones(2)}),
    ("point", "coordinates not finite", {"coordinates": np.array([np.nan, 1.0])}),
    ("point", "three coordinates", {"coordinates": np.ones(3)}),
    ("adaptive", "a rate without its time", {"memory/time": None}),
    ("adaptive", "a rate of another shape", {"memory/rate": np.ones(3)}),
    ("adaptive", "a time that is none", {"memory/time": np.array(np.nan)}),
    ("velocities", "no velocity", {"memory/velocity": None}),
    ("velocities", "fewer forces", {"memory/force": np.ones((2, 1))}),
]


@pytest.mark.parametrize(("name", "word", "change"), ALTERED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_checkpoint_of_no_run_like_this_is_refused_and_nothing_is_lost(name, word, change, tmp_path):
    out = tmp_path / "a.h5"
    point = left(name, out)
    arrays = {key: array for key, array in (point.arrays | change).items() if array is not None}
    put(out, slots.encode(Checkpoint(9, point.frames, point.steps, arrays)))
    before = out.read_bytes()
    with pytest.raises(FileError, match=r"the checkpoint of .* is damaged or made up"):
        flow(name, out, resume=True)
    assert out.read_bytes() == before
    put(out, slots.encode(point))
    assert flow(name, out, resume=True).status is Status.COMPLETE


@pytest.mark.parametrize(("frames", "steps"), [(0, 5), (1, 5), (3, 4), (3, 0)])
def test_a_checkpoint_that_counts_wrong_is_refused(frames, steps, tmp_path):
    out = tmp_path / "a.h5"
    point = left("point", out)
    put(out, slots.encode(Checkpoint(9, frames, steps, point.arrays)))
    before = out.read_bytes()
    with pytest.raises(FileError, match="damaged or made up"):
        flow("point", out, resume=True)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        b"[Infinity,1,5,[]]", b'[9,1,5,[["a","<f8","C",[Infinity]]]]', b"[9,-3,5,[]]", b"[9,1,-7,[]]", b"[9,1.5,5,[]]",
        b"[" * 900 + b"]" * 900, b'[9,1,5,[["a","<f8","C",[%d,0]]]]' % 10**30, b"[[1],1,5,[]]", b"[true,1,5,[]]",
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_no_checkpoint(text):
    assert slots.decode(signed(text)) is None


@pytest.mark.parametrize("name", ["arguments", "versions"])
@pytest.mark.parametrize("text", ["[1, 2]", '"abc"', "3", "[" * 50_000])
def test_attributes_that_are_no_tables_are_refused(name, text, tmp_path):
    left("point", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs[name] = np.bytes_(text.encode())
    for act in (lambda: wf.load(tmp_path / "a.h5"), lambda: flow("point", tmp_path / "a.h5", resume=True)):
        with pytest.raises(FileError, match="attributes that this package did not write"):
            act()


def cloud(shift, out, **more):
    """Brownian motion with a drift that has no text; neither energy nor dissipation sees it."""
    q = wf.Particles(np.linspace(-1, 1, 9)[:, None])
    drift = lambda x: shift + 0.0 * x  # noqa: E731
    return wf.run(wf.Entropy(), q, dt=0.1, steps=9, stepper=wf.steppers.Langevin(), drift=drift, out=out, **more)


def mean(data, out, **more):
    """Data in another order have the same energy and the same gradient, but other draws."""
    F = wf.Potential(wf.FiniteSum(lambda x, a: 0.5 * (x[0] - a) ** 2, np.array(data)))
    stepper = wf.steppers.MiniBatch(1)
    return wf.run(F, wf.Point([0.0]), dt=0.1, steps=9, stepper=stepper, out=out, **more)


@pytest.mark.parametrize(
    ("act", "one", "other"), [(cloud, 1.0, -5.0), (mean, [1.0, -1.0], [-1.0, 1.0])], ids=["drift", "data"]
)
def test_functions_that_have_changed_and_have_no_text_are_refused(act, one, other, tmp_path):
    out = tmp_path / "a.h5"
    with pytest.warns(RunWarning, match="max_steps"):
        act(one, out, max_steps=3)
    before = out.read_bytes()
    with pytest.raises(wf.InputError, match="first frame differs in the velocities"):
        act(other, out, resume=True)
    assert out.read_bytes() == before
    assert act(one, out, resume=True).status is Status.COMPLETE


@pytest.mark.parametrize("off", ["energy", "velocities"])
@pytest.mark.parametrize(
    ("size", "versions", "goes_on"), [(1e-12, True, True), (1e-12, False, False), (1e-6, True, False)]
)
def test_other_versions_may_move_the_last_digits(off, size, versions, goes_on, tmp_path, monkeypatch):
    left("point", tmp_path / "a.h5")
    measure, mark = recorder.measure, resumption.fingerprint
    if versions:
        monkeypatch.setattr(recorder, "installed", lambda name: "9.9")
    if off == "energy":
        moved = lambda *given: {**measure(*given), "energy": measure(*given)["energy"] * (1 + size)}  # noqa: E731
        monkeypatch.setattr(resumption, "measure", moved)
    else:
        monkeypatch.setattr(resumption, "fingerprint", lambda plan: [1.0, *(x * (1 + size) for x in mark(plan)[1:])])
    if goes_on:
        with pytest.warns(RunWarning, match=r"numpy .* to 9\.9\): last digits may differ"):
            assert flow("point", tmp_path / "a.h5", resume=True).status is Status.COMPLETE
    else:
        with pytest.raises(wf.InputError, match=off):
            flow("point", tmp_path / "a.h5", resume=True)


@pytest.mark.parametrize("when", ["last step", "packing"])
@pytest.mark.parametrize(("number", "ends"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_that_comes_too_late_to_end_the_run_is_not_lost(when, number, ends, tmp_path, monkeypatch):
    out, pack = tmp_path / "a.h5", Writer._pack
    if when == "packing":
        monkeypatch.setattr(Writer, "_pack", lambda self, text: (os.kill(os.getpid(), number), pack(self, text)))

    def stop(time, state):
        if when == "last step" and time > 1.99:
            os.kill(os.getpid(), number)
        return False

    with pytest.raises(ends) as left:
        flow("point", out, stop=stop)
    assert getattr(left.value, "code", 143) == 143
    assert wf.load(out).status is Status.COMPLETE
    assert verify(out) == []


def test_sigint_in_the_last_step_of_a_run_without_a_file_ends_the_script():
    def stop(time, state):
        if time > 1.99:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    with pytest.raises(KeyboardInterrupt):
        flow("point", None, stop=stop)
