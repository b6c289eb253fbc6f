"""Studies of convergence that go on point by point, and in processes side by side."""

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import wflow as wf
from wflow.cli import app
from wflow.orders import convergence
from wflow.store import verify

ROOT = Path(__file__).resolve().parent.parent
CALLS = []


def error(h):
    CALLS.append(h)
    return 2.0 + 3.0 * h**2


def other(h):
    return error(h)


def noisy(n, seed):
    return float(np.random.default_rng([seed, n]).normal(size=n).mean())


def heat(cells):
    return wf.run(wf.Entropy(), wf.Density(wf.Grid(-4, 4, cells), wf.Gaussian([0.0], 0.5)), t_end=0.1, save="ends")


def cloud(n):
    return wf.Particles(np.linspace(0, 1, n)[:, None] + 1.0 / n)


def array(n):
    return np.full((2, 3), 1.0 / n)


def gaussian(n):
    return wf.Gaussian([1.0 / n, 0.0], [[1.0, 0.3], [0.3, 1.0 + 1.0 / n]])


def test_a_study_that_was_killed_goes_on(tmp_path):
    def mortal(h):
        if h < 0.04:
            raise KeyboardInterrupt
        return error(h)

    mortal.__module__, mortal.__qualname__ = error.__module__, error.__qualname__
    CALLS.clear()
    with pytest.raises(KeyboardInterrupt):
        convergence(mortal, [0.2, 0.1, 0.05, 0.025], 2.0, out=tmp_path)
    assert CALLS == [0.2, 0.1, 0.05]
    CALLS.clear()
    study = convergence(error, [0.2, 0.1, 0.05, 0.025, 0.0125], 2.0, out=tmp_path, resume=True)
    assert CALLS == [0.025, 0.0125]
    assert study.errors["linf"].tolist() == convergence(error, study.sizes.tolist(), 2.0).errors["linf"].tolist()
    CALLS.clear()
    convergence(error, [0.2, 0.1], 2.0, out=tmp_path)
    assert CALLS == [0.2, 0.1]


@pytest.mark.parametrize("solve", [heat, cloud, array, gaussian])
def test_what_is_kept_is_what_was_solved(solve, tmp_path, monkeypatch):
    sizes = [8, 16, 32]
    reference = solve(64)
    reference = wf.Particles(np.linspace(0, 1, 64)[:, None]) if solve is cloud else reference
    first = convergence(solve, sizes, reference, out=tmp_path)
    assert all(verify(path) == [] for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 3
    again = convergence(solve, sizes, reference, out=tmp_path, resume=True)
    assert again.seconds.tolist() == first.seconds.tolist()
    for norm, errors in first.errors.items():
        np.testing.assert_allclose(again.errors[norm], errors, rtol=1e-12)


def test_points_of_another_function_or_half_written_are_not_taken(tmp_path):
    convergence(error, [0.2, 0.1], 2.0, out=tmp_path)
    with pytest.raises(wf.InputError, match=r"is of .*\.error, not of .*\.other"):
        convergence(other, [0.2, 0.1], 2.0, out=tmp_path, resume=True)
    path = tmp_path / "0.1.h5"
    path.write_bytes(path.read_bytes()[:1000])
    CALLS.clear()
    with pytest.raises(wf.FileError, match="not overwritten"):
        convergence(error, [0.2, 0.1], 2.0, out=tmp_path, resume=True)
    path.unlink()
    convergence(error, [0.2, 0.1], 2.0, out=tmp_path, resume=True)
    assert CALLS == [0.1, 0.1]


def test_processes_give_what_one_gives(tmp_path):
    sizes = [100, 400, 1600]
    alone = convergence(noisy, sizes, 0.0, seeds=4)
    together = convergence(noisy, sizes, 0.0, seeds=4, workers=2, out=tmp_path)
    assert together.errors["linf"].tolist() == alone.errors["linf"].tolist()
    assert len(list(tmp_path.iterdir())) == 12
    with pytest.raises(wf.InputError, match="a function of a module"):
        convergence(lambda n: 1.0 / n, sizes, 0.0, workers=2)


def test_a_run_that_did_not_reach_its_end_is_no_solution():
    def short(n):
        return wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=1.0, dt=1.0 / n, max_steps=3)

    with (
        pytest.warns(wf.RunWarning),
        pytest.raises(wf.InputError, match="the run at size 10 stopped because max_steps"),
    ):
        convergence(short, [10, 20], wf.Point([0.0]))


@pytest.mark.parametrize(
    ("more", "text"),
    [({"resume": True}, "give its path as out"), ({"workers": 0}, "at least 1"), ({"norms": ["l3"]}, "unknown norm")],
)
def test_bad_input_is_refused_before_any_work(more, text):
    CALLS.clear()
    with pytest.raises(wf.InputError, match=text):
        convergence(error, [0.2, 0.1], 2.0, **more)
    assert CALLS == []


EXPERIMENT = '''"""A mean."""

from pathlib import Path

import numpy as np


def main(n: int = 10, seed: int = 0, shift: float = 0.0) -> dict:
    """Of n normals."""
    with Path("calls").open("a") as file:
        file.write(f"{n}/{seed} ")
    return {"mean": shift + np.random.default_rng([seed, n]).normal(size=n).mean()}
'''


def test_the_command_goes_on_and_writes_a_table(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mean.py").write_text(EXPERIMENT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    given = ["converge", "mean", "--vary", "n", "--value", "mean", "--exact", "0.5", "--shift", "0.5", "--seeds", "8"]
    run = lambda *more: CliRunner().invoke(app, [*given, *more])  # noqa: E731
    first = run("--sizes", "100,400")
    assert first.exit_code == 0, first.output
    assert len((tmp_path / "calls").read_text(encoding="utf-8").split()) == 16
    (tmp_path / "calls").unlink()
    answer = run("--sizes", "100,400,1600", "--resume", "--json", "--table", "table.csv")
    assert answer.exit_code == 0, answer.output
    calls = (tmp_path / "calls").read_text(encoding="utf-8").split()
    assert calls == [f"1600/{seed}" for seed in range(8)]
    found = json.loads(answer.stdout)
    # 8 seeds at three sizes leave 0.14 of scatter in the order 1/2, so it is held against the same draws instead.
    draws = [[np.random.default_rng([seed, n]).normal(size=n).mean() for seed in range(8)] for n in (100, 400, 1600)]
    fit = np.polyfit(np.log([1 / 100, 1 / 400, 1 / 1600]), np.log(np.abs(draws).mean(axis=1)), 1)
    assert found["fits"]["linf"]["order"] == pytest.approx(fit[0], rel=1e-9)
    assert fit[0] == pytest.approx(0.5, abs=2 * 0.14)
    assert b"\r" not in (tmp_path / "table.csv").read_bytes()
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "size,h,linf,linf_spread,linf_order"
    assert lines[1].startswith("100,0.01,")
    assert lines[4].startswith("fit linf,order 0.")


def table(name):
    with (ROOT / "data" / f"orders_{name}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    rows = {float(line[0]): {k: float(v) for k, v in zip(lines[0], line, strict=False) if v} for line in lines[1:-1]}
    return rows, float(lines[-1][1].removeprefix("order "))


@pytest.mark.parametrize(
    ("problem", "vary", "sizes", "more", "order"),
    [
        ("space", "cells", [32, 64], {}, 2.0),
        ("time", "steps", [10, 20, 40], {"cells": 128}, 2.0),
        ("optimizer", "steps", [10, 20, 40, 80, 160], {}, 1.0),
    ],
)
def test_the_tables_of_orders_are_true(problem, vary, sizes, more, order, tmp_path, monkeypatch):
    """To the digits printed; what the kept fit says is the order that theory gives."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    rows, fitted = table(problem)
    main = importlib.import_module("accuracy").main
    for size in sizes:
        found = main(problem, out=tmp_path, **{vary: size}, **more)["error"]
        assert found == pytest.approx(rows[size]["linf"], rel=2e-3), size
    assert fitted == pytest.approx(order, abs=0.1)


def test_the_table_of_particles_is_true(tmp_path, monkeypatch):
    """Its mean over twenty seeds, within three standard errors of a mean over four; the order to its band, a little
    below one half, as it carries a power of log log n."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    rows, fitted = table("particles")
    main = importlib.import_module("accuracy").main
    found = [main("particles", steps=100, particles=250, seed=seed, out=tmp_path)["error"] for seed in range(20, 24)]
    spread = 20**0.5 * rows[250]["linf_spread"]
    assert np.mean(found) == pytest.approx(rows[250]["linf"], abs=3.0 * spread * (1 / 4 + 1 / 20) ** 0.5)
    assert 0.42 < fitted < 0.5
