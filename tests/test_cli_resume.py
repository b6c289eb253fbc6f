"""`wflow resume`: the experiment again with the options in the file, or the run from the file alone."""

import json
import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import call

import wflow as wf
from wflow.loop import recorder

EXPERIMENT = '''"""Two decays, the first of which may be interrupted."""

import os
import signal
from pathlib import Path

import typer

import wflow as wf


def bomb(time, state):
    if time > 0.45 and Path("bomb").exists():
        os.kill(os.getpid(), getattr(signal, Path("bomb").read_text()))
    return False


def main(steps: int = 10, rate: float = 1.0, out: Path = Path("results/decays")) -> dict:
    """x' = -x from 1, by explicit Euler."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("one", "two"):
        with open(out / "started", "a") as file:
            file.write(name + " ")
        wf.run(wf.Potential(f"{rate}*x**2/2"), wf.Point([1.0]), t_end=1.0, dt=1.0 / steps, stop=bomb,
               out=out / f"{name}.h5")


if __name__ == "__main__":
    typer.run(main)
'''


@pytest.fixture
def checkout(checkout):
    (checkout / "experiments" / "decays.py").write_text(EXPERIMENT, encoding="utf-8")
    return checkout


def whole(name="one"):
    """The result without what differs from run to run."""
    result = wf.load(Path("results") / "whole" / f"{name}.h5")
    result.info.pop("created"), result.info.pop("command")
    return result


def without(result):
    result.info.pop("created"), result.info.pop("command")
    return result


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_experiment_stopped_half_way_goes_on(checkout, number, code):
    assert call("run", "decays", "--steps", 20, "--out", "results/whole").exit_code == 0
    Path("bomb").write_text(number, encoding="utf-8")
    answer = call("run", "decays", "--steps", 20, "--out", "here")
    assert answer.exit_code == code
    if number == "SIGINT":
        assert "interrupted" in answer.stderr
        assert "wflow resume here/one.h5" in answer.stderr.replace(os.sep, "/")
    assert Path("here/started").read_text(encoding="utf-8") == "one "
    assert json.loads(call("info", "here/one.h5", "--json").stdout)["checkpoint"]["steps"] == 10
    Path("bomb").unlink()
    answer = call("resume", "here/one.h5", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["status"], told["experiment"], told["time"]) == ("complete", "decays", 1.0)
    for name in ("one", "two"):
        assert without(wf.load(f"here/{name}.h5")) == whole(name)
    stamp = Path("here/one.h5").stat().st_mtime_ns
    assert "here/one.h5: complete" in call("resume", "here/one.h5").stdout
    assert Path("here/one.h5").stat().st_mtime_ns == stamp


def test_it_writes_where_the_file_is_whatever_the_file_says(checkout):
    """A folder that has been moved, or a file from elsewhere."""
    Path("bomb").write_text("SIGINT", encoding="utf-8")
    call("run", "decays", "--out", "there")
    Path("bomb").unlink()
    Path("there").rename("moved")
    assert call("resume", "moved/one.h5").exit_code == 0
    assert wf.load("moved/two.h5").status.value == "complete"
    assert not Path("there").exists()


def change(path, name, text):
    with h5py.File(path, "r+") as file:
        file.attrs[name] = np.bytes_(text.encode())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("experiments/decays.py --hops 3", "No such option"),
        ("experiments/decays.py --steps many", "valid integer"),
        ("experiments/decays.py --steps 5", "dt was 0.1 and is 0.2"),
        ("evil.py; touch hacked", "stop cannot be rebuilt"),
        ("'", "stop cannot be rebuilt"),
    ],
)
def test_a_file_with_another_command_is_refused(checkout, command, told):
    Path("bomb").write_text("SIGINT", encoding="utf-8")
    call("run", "decays", "--out", "here")
    Path("bomb").unlink()
    Path("evil.py").write_text("open('hacked', 'w')", encoding="utf-8")
    change("here/one.h5", "command", command)
    answer = call("resume", "here/one.h5")
    assert answer.exit_code == 1
    assert told in answer.stderr
    assert "Traceback" not in answer.output
    assert not Path("hacked").exists()
    assert wf.load("here/one.h5").status.value.startswith("interrupted")


def test_a_run_of_no_experiment_is_rebuilt_from_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    F, q = 0.5 * wf.Entropy() + wf.Potential("x**2"), wf.Density(wf.Grid(-3, 3, 16), wf.Gaussian([0.3], 0.5))
    wf.run(F, q, t_end=0.3, out="whole.h5")
    keep, count = recorder.Recorder.keep, iter(range(100))

    def interrupted(self, standing, always=False):
        if next(count) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        keep(self, standing, always)

    monkeypatch.setattr(recorder.Recorder, "keep", interrupted)
    with pytest.warns(wf.InterruptionWarning, match="wflow resume part.h5"):
        wf.run(F, q, t_end=0.3, out="part.h5")
    monkeypatch.setattr(recorder.Recorder, "keep", keep)
    assert call("resume", "part.h5").exit_code == 0
    again, once = wf.load("part.h5"), wf.load("whole.h5")
    assert without(again) == without(once)


def test_a_run_that_max_steps_has_stopped_goes_on_to_its_end(tmp_path, monkeypatch):
    """As the warning says that it will."""
    monkeypatch.chdir(tmp_path)
    with pytest.warns(wf.RunWarning, match=r"resume=True and a larger max_steps, or wflow resume part\.h5"):
        wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=0.3, out="part.h5", max_steps=3)
    Path("experiments").mkdir()  # some other one, without any of ours
    answer = call("resume", "part.h5")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert wf.load("part.h5").status.value == "complete"


def test_an_experiment_goes_on_beyond_max_steps_in_the_file_that_is_named_alone(checkout):
    path = Path("experiments") / "decays.py"
    path.write_text(EXPERIMENT.replace("stop=bomb", "max_steps=3, stop=bomb"), encoding="utf-8")
    assert call("run", "decays", "--out", "here").exit_code == 0
    assert call("resume", "here/two.h5").exit_code == 0
    assert wf.load("here/two.h5").status.value == "complete"
    assert wf.load("here/one.h5").status is wf.errors.Status.MAX_STEPS


@pytest.mark.parametrize("recorded", [True, False], ids=["its name recorded", "an older file"])
def test_a_file_of_another_name_is_refused_and_not_passed_over(checkout, recorded):
    """The experiment would write one.h5 anew, and leave the file as it is."""
    Path("bomb").write_text("SIGINT", encoding="utf-8")
    call("run", "decays", "--out", "here")
    Path("bomb").unlink()
    Path("here/one.h5").rename("here/mine.h5")
    if not recorded:
        with h5py.File("here/mine.h5", "r+") as file:
            del file.attrs["written_as"]
    before = Path("here/mine.h5").read_bytes()
    answer = call("resume", "here/mine.h5")
    assert answer.exit_code == 1
    assert ("was written as one.h5" if recorded else "is as it was, interrupted") in answer.stderr
    assert Path("here/one.h5").exists() != recorded
    assert Path("here/mine.h5").read_bytes() == before
    Path("here/mine.h5").rename("here/one.h5")
    assert call("resume", "here/one.h5").exit_code == 0


def test_a_file_that_does_not_say_what_made_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.warns(wf.RunWarning):
        wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=0.3, out="part.h5", max_steps=3)
    with h5py.File("part.h5", "r+") as file:
        del file.attrs["arguments"]
    answer = call("resume", "part.h5")
    assert answer.exit_code == 1
    assert "does not say its arguments" in answer.stderr


def test_a_kernel_density_is_not_rebuilt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recorder, "PERIOD", 0.0)
    F = wf.FDivergence("reverse-kl", wf.KernelDensity(np.linspace(-1, 1, 9)[:, None]))
    with pytest.warns(wf.RunWarning):
        wf.run(F, wf.Density(wf.Grid(-3, 3, 16), wf.Gaussian([0.3], 0.5)), t_end=0.3, out="a.h5", max_steps=3)
    answer = call("resume", "a.h5")
    assert answer.exit_code == 1
    assert "run the script that made the file again, with resume=True" in answer.stderr


def test_a_file_of_an_experiment_outside_its_checkout(checkout, monkeypatch):
    """What is complete is so everywhere; what is not says where it can go on, though no text can rebuild it."""
    (checkout / "elsewhere").mkdir()
    assert call("run", "decays", "--steps", 4).exit_code == 0
    Path("bomb").write_text("SIGINT", encoding="utf-8")
    assert call("run", "decays", "--out", "cut").exit_code == 130
    monkeypatch.chdir("elsewhere")
    assert "one.h5: complete" in call("resume", "../results/decays/one.h5").stdout
    answer = call("resume", "../cut/one.h5")
    assert answer.exit_code == 1
    assert f"it was made by {Path('experiments/decays.py')}, so do it in the checkout" in answer.stderr
