"""Going on with a run: bit for bit what the uninterrupted run gives, for every stepper on every state it serves."""

import errno
import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import wflow as wf
from wflow.errors import InterruptionWarning, RunWarning, Status
from wflow.loop import recorder
from wflow.states import KINDS
from wflow.steppers import SAMPLERS, STEPPERS, MiniBatch
from wflow.store import Reader, disk, verify

P = wf.GaussianMixture([[-1.0], [1.5]], 0.5)
WELL = wf.Potential("(x**2 - 1)**2/4")
STARTS = {
    "density": (wf.FDivergence("reverse-kl", P), wf.Density(wf.Grid(-4, 4, 24), wf.Gaussian([0.3], 0.5))),
    "particles": (WELL, wf.Particles(np.linspace(-1, 2, 7)[:, None], np.arange(1.0, 8.0))),
    "point": (WELL, wf.Point([1.7])),
    "gaussian": (wf.FDivergence("reverse-kl", P), wf.Gaussian([2.0], 0.4)),
}
SAMPLED = wf.FDivergence("reverse-kl", P)
# All that may be refused, state by state; whatever else is must fail.
GRIDLESS, CLOUDLESS = ("particles", "gaussian", "point"), ("density", "gaussian", "point")
POINTLESS = ("density", "particles", "gaussian")
REFUSED = {
    "Exponential": (GRIDLESS, "linear flow on a grid"),
    "Langevin": (CLOUDLESS, "moves Particles|Point has no density"),
    "MALA": (CLOUDLESS, "moves Particles|Point has no density"),
    "UnderdampedLangevin": (CLOUDLESS, "moves Particles|Point has no density"),
    "Momentum": (("density",), "moves points, particles and Gaussians"),
    "Nesterov": (("density",), "moves points, particles and Gaussians"),
    "Adam": (("density",), "moves points, particles and Gaussians"),
    "AdaGrad": (("density",), "moves points, particles and Gaussians"),
    "RMSProp": (("density",), "moves points, particles and Gaussians"),
    "LineSearch": (("density",), "moves points, particles and Gaussians"),
    "NormalizedGradient": (("density",), "moves points, particles and Gaussians"),
    "ProximalGradient": (POINTLESS, "moves a Point, not a"),
    "MiniBatch": (POINTLESS, "moves a Point in a mean over data"),
}
CASES = [(stepper, word) for stepper in STEPPERS for word in KINDS.values()]
TAKEN = [(stepper, word) for stepper, word in CASES if word not in REFUSED.get(stepper.__name__, ((), ""))[0]]


MEAN = wf.Potential(wf.FiniteSum(lambda x, a: 0.25 * (x[0] ** 2 - a) ** 2, np.array([0.5, 1.0, 1.5])))


def start(stepper, word):
    F, q = STARTS[word]
    return {MiniBatch: MEAN}.get(stepper, SAMPLED if stepper in SAMPLERS else F), q


class Killed(BaseException):
    """What no handler in the package expects."""


class Bomb:
    """A stop function that goes off after so many steps, once."""

    def __init__(self, after, what=None):
        self.left, self.what = after, what
        self.__qualname__ = "bomb"

    def __call__(self, time, state):
        self.left -= 1
        if self.left == 0:
            if self.what is None:
                raise Killed
            if isinstance(self.what, Exception):
                raise self.what
            os.kill(os.getpid(), self.what)
        return False


@pytest.fixture
def always(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(recorder, "PERIOD", 0.0)
    monkeypatch.setattr(recorder, "SPARSE", 0.0)


def equal(a, b):
    """Two files hold the same bits, but for the time at which the run was started."""
    one, other = wf.load(a), wf.load(b)
    one.info.pop("created"), other.info.pop("created")
    return one == other and np.array_equal(one.steps["time"], other.steps["time"])


@pytest.mark.parametrize(("stepper", "word"), TAKEN, ids=lambda c: getattr(c, "__name__", c))
def test_a_killed_run_goes_on_bit_for_bit(stepper, word, tmp_path, always):
    F, q = start(stepper, word)
    arguments = {"t_end": 0.3, "save": 4, "stepper": stepper(), "rng": 3}
    if not stepper.adaptive or stepper.order is None:
        arguments["dt"] = 0.05

    def run(name, stop, **more):
        return wf.run(F, q, stop=stop, out=tmp_path / name, **arguments, **more)

    whole = run("whole.h5", Bomb(10**6))
    count = len(whole.steps["time"])
    for after in sorted({1, 1 + count // 2}):
        with pytest.raises(Killed):
            run("part.h5", Bomb(after))
        assert wf.load(tmp_path / "part.h5").status is Status.RUNNING
        assert verify(tmp_path / "part.h5") == []
        run("part.h5", Bomb(10**6), resume=True)
        assert equal(tmp_path / "whole.h5", tmp_path / "part.h5")


def test_what_is_not_taken_is_refused_with_the_reason():
    """And every stepper is taken by some state."""
    assert {stepper for stepper, _ in TAKEN} == set(STEPPERS)
    for stepper, word in CASES:
        if (stepper, word) not in TAKEN:
            F, q = start(stepper, word)
            with pytest.raises(wf.InputError, match=REFUSED[stepper.__name__][1]):
                wf.run(F, q, steps=1, dt=0.01, stepper=stepper())


def clouds(out, stop, **more):
    """A run with noise, memory, a drift and adaptive everything switched on."""
    x = wf.Gaussian([0.5, 0.0], 0.3).sample(200, rng=1)
    F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0))
    return wf.run(
        F, wf.Particles(x), t_end=0.4, save="all", stop=stop, out=out, estimator=0.3, drift=["-y", "x + t"],
        diagnostics={"far": lambda t, s: float(np.abs(s.positions).max())}, **more,
    )  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"dt": 0.02, "stepper": wf.steppers.Langevin()}], ids=["ODE", "Langevin"])
def test_a_cloud_with_everything_goes_on_twice(tmp_path, always, more):
    clouds(tmp_path / "whole.h5", Bomb(10**6), **more)
    with pytest.raises(Killed):
        clouds(tmp_path / "part.h5", Bomb(2), **more)
    with pytest.raises(Killed):
        clouds(tmp_path / "part.h5", Bomb(3), resume=True, **more)
    clouds(tmp_path / "part.h5", Bomb(10**6), resume=True, **more)
    assert equal(tmp_path / "whole.h5", tmp_path / "part.h5")


def decay(out, stop=None, **more):
    return wf.run(WELL, wf.Point([1.7, 1.0]), **{"dt": 0.1, "steps": 10, "save": 6, "stop": stop, "out": out} | more)


def left_by(number, out):
    """The status that a run left by a signal has, or the exit code of a process that is ended."""
    try:
        return decay(out, Bomb(5, number)).status
    except SystemExit as left:
        return left.code if number == signal.SIGTERM else None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_leaves_a_file_that_goes_on(tmp_path, number):
    out, handler = tmp_path / "a.h5", signal.getsignal(number)
    decay(tmp_path / "whole.h5", Bomb(10**6))
    with pytest.warns(InterruptionWarning, match=r"interrupted .* \(at t = 0.5\)"):
        assert left_by(number, out) in (Status.INTERRUPTED, 143)
    assert signal.getsignal(number) is handler
    part = wf.load(out)
    assert part.status is Status.INTERRUPTED
    np.testing.assert_allclose(part.times, [0, 0.2, 0.4, 0.5])
    with Reader(out) as file:
        assert file.checkpoint().steps == 5
    decay(out, Bomb(10**6), resume=True)
    assert equal(tmp_path / "whole.h5", out)


def test_a_second_signal_acts_at_once(tmp_path):
    def impatient(t, s):
        if t > 0.35:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return False

    with pytest.raises(KeyboardInterrupt):
        decay(tmp_path / "a.h5", impatient)
    assert wf.load(tmp_path / "a.h5").status is Status.RUNNING
    assert verify(tmp_path / "a.h5") == []


def test_a_run_without_a_file_is_ended_by_sigterm_as_ever():
    """There is nothing to keep: the handler of the process stays in place."""
    seen = []
    handler = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        assert decay(None, Bomb(5, signal.SIGTERM)).status is Status.COMPLETE
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert seen == [signal.SIGTERM]


def test_in_another_thread_no_signal_is_handled(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(decay(tmp_path / "a.h5")))
    thread.start()
    thread.join()
    assert results[0].status is Status.COMPLETE


def test_the_newest_whole_checkpoint_wins(tmp_path, always):
    """A kill in the middle of a checkpoint leaves the one before."""
    decay(tmp_path / "whole.h5", Bomb(10**6))
    out, starts = tmp_path / "a.h5", []
    for broken in (0, 1, 2):
        with pytest.raises(Killed):
            decay(out, Bomb(7))
        with Reader(out) as file:
            newest = file.checkpoint()
        assert newest.steps == 6
        data = bytearray(out.read_bytes())
        for number in range(newest.number, newest.number - broken, -1):
            data[data.index(b"]]]", data.index(marked(number))) + 8] ^= 1
        out.write_bytes(data)
        seen = Counting()
        decay(out, seen, resume=True)
        starts.append(seen.steps)
        assert equal(tmp_path / "whole.h5", out)
    assert starts == [4, 5, 10]


class Counting(Bomb):
    def __init__(self):
        super().__init__(0)
        self.steps = 0

    def __call__(self, time, state):
        self.steps += 1
        return False


def marked(number):
    """The beginning of the table of a checkpoint, after its head of fixed size."""
    return f"[{number}, ".encode()


def test_what_has_ended_is_given_back_and_a_missing_file_starts_anew(tmp_path):
    out = tmp_path / "a.h5"
    first = decay(out, resume=True)
    stamp = out.stat().st_mtime_ns
    assert decay(out, resume=True) == first
    assert out.stat().st_mtime_ns == stamp
    with pytest.warns(RunWarning, match="not finite"):
        decay(tmp_path / "b.h5", dt=10.0)
    with pytest.warns(RunWarning, match=r"b\.h5 is of a run that .* not finite"):
        assert decay(tmp_path / "b.h5", dt=10.0, resume=True).status is Status.NOT_FINITE


def test_max_steps_may_be_raised(tmp_path):
    out = tmp_path / "a.h5"
    decay(tmp_path / "whole.h5")
    for most in (3, 3, 7):
        with pytest.warns(RunWarning, match="max_steps"):
            assert len(decay(out, max_steps=most, resume=True).steps["time"]) == most
    decay(out, resume=True)
    one, other = wf.load(out), wf.load(tmp_path / "whole.h5")
    assert np.array_equal(one.times, other.times)
    assert np.array_equal(one.final.x, other.final.x)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dt": 0.2, "steps": 5}, "dt was 0.1 and is 0.2; steps was 10 and is 5"),
        ({"rng": 1}, "seed was 0 and is 1"),
        ({"stepper": wf.steppers.Heun()}, r"stepper was ExplicitEuler\(\) and is Heun\(\)"),
        ({"diagnostics": {"a": left_by}}, "diagnostics was null"),
    ],
)
def test_other_arguments_are_refused_with_the_difference(tmp_path, change, told):
    decay(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(wf.InputError, match=told):
        decay(tmp_path / "a.h5", resume=True, **change)
    assert (tmp_path / "a.h5").read_bytes() == before


def test_another_start_target_or_function_is_refused(tmp_path):
    """Functions have names and no text: the numbers of the first frame tell them apart."""
    out, q = tmp_path / "a.h5", wf.Density(wf.Grid(-3, 3, 12), wf.Gaussian([0.3], 0.5))
    wf.run(wf.Potential(lambda x: x[:, 0] ** 2), wf.Point([1.0]), t_end=0.1, out=out)
    for V, x in ((lambda x: x[:, 0] ** 4 / 3, 1.0), (lambda x: x[:, 0] ** 2, 1.5)):
        with pytest.raises(wf.InputError, match="its first frame differs in"):
            wf.run(wf.Potential(V), wf.Point([x]), t_end=0.1, out=out, resume=True)
    samples = np.linspace(-2, 2, 20)[:, None]
    wf.run(wf.FDivergence("kl", wf.KernelDensity(samples)), q, t_end=0.1, out=out)
    with pytest.raises(wf.InputError, match=r"first frame differs in .*target"):
        wf.run(wf.FDivergence("kl", wf.KernelDensity(samples + 0.01)), q, t_end=0.1, out=out, resume=True)


def test_resume_needs_a_file_and_a_whole_one(tmp_path):
    with pytest.raises(wf.InputError, match="give its path as out"):
        decay(None, resume=True)
    (tmp_path / "a.h5").write_bytes(b"no file of ours")
    with pytest.raises(wf.FileError, match="not an HDF5 file"):
        decay(tmp_path / "a.h5", resume=True)
    assert (tmp_path / "a.h5").read_bytes() == b"no file of ours"


def test_other_versions_are_told(tmp_path, always, monkeypatch):
    with pytest.raises(Killed):
        decay(tmp_path / "a.h5", Bomb(5))
    monkeypatch.setattr(recorder, "installed", lambda name: "9.9")
    with pytest.warns(RunWarning, match=r"numpy .* to 9\.9"):
        decay(tmp_path / "a.h5", Bomb(10**6), resume=True)


def test_checkpoints_are_rare(tmp_path, monkeypatch):
    """By time and by cost: a fiftieth of the time at most."""
    now, kept = [0.0], []
    monkeypatch.setattr(recorder, "perf_counter", lambda: now[0])

    class Slow:
        resumed = None

        def checkpoint(self, arrays):
            kept.append(now[0])
            now[0] += 0.5

    plan = SimpleNamespace(flow=SimpleNamespace(facts=SimpleNamespace(weighted=False)))
    keeper = recorder.Recorder(plan, {}, tmp_path / "a.h5", writer=Slow(), kept=0.0)
    monkeypatch.setattr(recorder, "to_arrays", lambda *_: {})
    for _ in range(60):
        now[0] += 1.0
        keeper.keep(None)
    np.testing.assert_allclose(kept, [5.0, 30.5, 56.0])


@pytest.mark.parametrize("writes", [60, 90, 150])
def test_a_disk_that_fills_up_is_told_and_the_run_goes_on_later(tmp_path, always, monkeypatch, writes):
    """In the midst of rows, checkpoints and the room for them."""
    decay(tmp_path / "whole.h5", Bomb(10**6))
    out, pwrite, left = tmp_path / "a.h5", os.pwrite, [writes]

    def full(*given):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(*given)

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "pwrite", full)
        with pytest.raises(wf.FileError, match="No space left on device"):
            decay(out, Bomb(10**6))
    if out.exists():
        assert verify(out) == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") in (
        ["a.h5", "whole.h5"],
        ["whole.h5"],
    )
    decay(out, Bomb(10**6), resume=True)
    assert equal(tmp_path / "whole.h5", out)


def test_an_error_of_a_function_ends_the_file_and_the_run_goes_on_once_it_is_mended(tmp_path, always):
    """Its words may be of any length and kind, and are cut to the room there is."""
    words = "é\n\0\udce9" * 99
    decay(tmp_path / "whole.h5", Bomb(10**6))
    out = tmp_path / "a.h5"
    with pytest.raises(LookupError):
        decay(out, Bomb(5, LookupError(words)))
    left = wf.load(out)
    assert (left.status, left.status.resumable, left.status.good) == (Status.RAISED, True, False)
    assert left.info["message"].startswith("LookupError: é \\udce9é")
    assert len(left.times) == 3
    assert verify(out) == []
    decay(out, Bomb(10**6), resume=True)
    assert equal(tmp_path / "whole.h5", out)
    assert "message" not in wf.load(out).info


def test_two_runs_on_one_file(tmp_path, always):
    """The second is told, and the first loses nothing."""
    out, told = tmp_path / "a.h5", []

    def meddle(time, state):
        with pytest.raises(wf.FileError, match="is being written by process") as error:
            decay(out, Bomb(10**6), resume=len(told) > 5)
        told.append(str(error.value))
        return False

    meddle.__qualname__ = "bomb"
    decay(out, meddle)
    assert len(told) == 10
    assert verify(out) == []
    assert wf.load(out).status is Status.COMPLETE
