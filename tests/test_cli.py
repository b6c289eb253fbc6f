"""The commands, as a user types them; what they say when something is wrong; what other programs read of an export."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import call
from scipy.io import netcdf_file

import wflow as wf
from wflow.store.export import export

ROOT = Path(__file__).resolve().parent.parent
KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
PLANE = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0))
COMMANDS = ("experiments", "run", "info", "verify", "plot", "movie", "compare", "export", "converge")
EXPERIMENT = '''"""A decay."""

from pathlib import Path

import typer

import wflow as wf


def main(steps: int = 10, shift: float = 0.0, out: Path = Path("results/decay")) -> dict:
    """x' = -x from 1, by explicit Euler."""
    out.mkdir(parents=True, exist_ok=True)
    print("decay")
    state = wf.Point([1.0])
    result = wf.run(wf.Potential("x**2 / 2"), state, t_end=1.0, dt=1.0 / steps, save="ends", out=out / "decay.h5")
    return {"end": {"x": result.final.x[0] + shift}}


if __name__ == "__main__":
    typer.run(main)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of every kind of state."""
    place = tmp_path_factory.mktemp("files")
    line, plane = wf.Grid(-4.0, 4.0, 20), wf.Grid([-3.0, -2.0], [3.0, 2.0], (6, 4))
    x = wf.Gaussian([1.0, 0.0], 0.3).sample(30, rng=0)
    runs = {
        "line": (KL, wf.Density(line, wf.Gaussian([1.0], 0.3))),
        "fine": (KL, wf.Density(wf.Grid(-4.0, 4.0, 40), wf.Gaussian([1.0], 0.3))),
        "plane": (PLANE, wf.Density(plane, wf.Gaussian([1.0, 0.0], 0.5))),
        "cloud": (wf.Potential("x**2 + y**2"), wf.Particles(x)),
        "point": (wf.Potential("x**2 + y**2"), wf.Point([1.0, 2.0])),
        "gaussian": (KL, wf.Gaussian([1.0], 0.3)),
    }
    for name, (functional, state) in runs.items():
        wf.run(functional, state, t_end=0.4, save=3, out=place / f"{name}.h5")
    return place


@pytest.fixture
def checkout(checkout):
    (checkout / "experiments" / "decay.py").write_text(EXPERIMENT, encoding="utf-8")
    (checkout / "experiments" / "common.py").write_text("X = 1\n", encoding="utf-8")
    return checkout


def good(*arguments):
    answer = call(*arguments)
    assert answer.exit_code == 0, answer.output + repr(answer.exception)
    return answer.stdout


def bad(*arguments):
    answer = call(*arguments)
    assert answer.exit_code == 1
    assert "Traceback" not in answer.output
    return answer.stderr


def test_help_is_quick_and_loads_nothing_heavy():
    heavy = ("numpy", "numba", "h5py", "matplotlib", "sympy", "ot", "scipy")
    code = (
        "import sys; from wflow.cli import main; sys.argv = ['wflow', '--help']\n"
        f"try: main()\nexcept SystemExit: print('loaded', *[m for m in {heavy!r} if m in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - start)
    assert answer.stdout.splitlines()[-1].split() == ["loaded"]
    assert all(f"\n  {name} " in answer.stdout for name in COMMANDS)
    assert min(seconds) < 0.5


def test_experiments(checkout):
    assert good("experiments") == "decay  A decay.\n"
    assert json.loads(good("experiments", "--json")) == [
        {"name": "decay", "about": "A decay.", "file": os.path.join("experiments", "decay.py")}
    ]


def test_no_experiments_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["experiments"], ["run", "geyser"]):
        assert "there are no experiments here" in bad(*command)


def test_run_passes_options_on(checkout):
    answer = call("run", "decay", "--steps", "4", "--out", "here")
    assert answer.exit_code == 0, answer.output
    assert "decay" in answer.stdout
    result = wf.load("here/decay.h5")
    assert result.final.x[0] == pytest.approx(0.75**4)
    assert result.info["command"] == "experiments/decay.py --steps 4 --out here"


def test_version(checkout):
    assert good("--version") == f"wflow {wf.__version__}\n"
    assert "--version" in good("--help")


def test_help_of_run_and_of_an_experiment(checkout):
    assert "Run an experiment" in good("run", "--help")
    told = good("run", "decay", "--help")
    assert "--shift" in told
    assert told.startswith("Usage: wflow run decay [OPTIONS]")


def test_run_says_what_it_knows(checkout):
    assert "did you mean 'decay'" in bad("run", "decai")


def test_info(folder):
    found = json.loads(good("info", folder / "plane.h5", "--json"))
    assert found["status"] == "complete"
    assert found["frames"] == 3
    assert found["time"] == [0.0, 0.4]
    assert found["variables"] == {"density": {"x": 6, "y": 4}}
    assert "energy" in found["series"]
    assert found["grid"]["cells"] == [6, 4]
    text = good("info", folder / "cloud.h5")
    assert "particle 30, axis 2" in text.replace("{", "").replace("}", "").replace("'", "").replace(":", "")
    assert "null" not in text


def test_verify_finds_damage(folder, tmp_path):
    assert "no damage found" in good("verify", folder / "line.h5")
    data = bytearray((folder / "line.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.h5").write_bytes(data)
    answer = call("verify", folder / "line.h5", tmp_path / "bad.h5", "--json")
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert found[str(folder / "line.h5")] == []
    assert found[str(tmp_path / "bad.h5")]


@pytest.mark.parametrize("command", ["info", "plot", "movie", "compare", "export"])
def test_files_that_are_not_there_or_not_ours(command, folder, tmp_path):
    (tmp_path / "text.h5").write_text("hello", encoding="utf-8")
    more = {"compare": [folder / "line.h5"], "export": ["--to", "csv"]}.get(command, [])
    assert "not an HDF5 file" in bad(command, tmp_path / "text.h5", *more)
    assert "nothing.h5" in bad(command, tmp_path / "nothing.h5", *more)


def test_plot_and_movie(folder, tmp_path):
    written = json.loads(good("plot", folder / "line.h5", "--out", tmp_path / "a.svg", "--json"))["written"]
    assert written == [str(tmp_path / "a.svg")]
    assert (tmp_path / "a.svg").stat().st_size > 1000
    assert good("movie", folder / "point.h5", "--out", tmp_path / "b.gif").strip() == str(tmp_path / "b.gif")
    assert "picture is a .png" in bad("plot", folder / "line.h5", "--out", tmp_path / "a.bmp")


def test_compare(folder, tmp_path):
    text = good("compare", folder / "fine.h5", folder / "line.h5", "--plot", tmp_path / "c.png")
    assert "reference: fine" in text
    assert (tmp_path / "c.png").exists()
    found = json.loads(good("compare", folder / "fine.h5", folder / "line.h5", folder / "gaussian.h5", "--json"))
    assert found["names"] == ["fine", "line", "gaussian"]
    assert len(found["rows"]) == 6
    assert all(row["w2"] < 0.2 for row in found["rows"])
    assert "two or more files" in bad("compare", folder / "line.h5")


def test_export_csv(folder, tmp_path):
    assert "not densities or clouds" in " ".join(good("export", "--help").split())
    out = tmp_path / "point.csv"
    assert good("export", folder / "point.h5", "--to", "csv", "--out", out).split() == [
        str(out),
        str(tmp_path / "point.steps.csv"),
    ]
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    result = wf.load(folder / "point.h5")
    assert [float(row["time"]) for row in rows] == result.times.tolist()
    assert [float(row["position_1"]) for row in rows] == [state.x[1] for state in result.states]
    assert [float(row["energy"]) for row in rows] == result.diagnostics["energy"].tolist()
    assert len((tmp_path / "point.steps.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(result.steps["time"])


@pytest.mark.parametrize("name", ["line", "plane", "cloud", "point", "gaussian"])
def test_export_netcdf(folder, tmp_path, name):
    (out,) = export(folder / f"{name}.h5", "netcdf", tmp_path / "out.nc")
    with h5py.File(folder / f"{name}.h5") as source, netcdf_file(out, mmap=False) as file:
        assert file.status == b"complete"
        for key in ("density", "position", "weight", "mean", "covariance", "time", "step_dt", "x", "energy"):
            assert (key in file.variables) == (key in source), key
            if key in source:
                np.testing.assert_array_equal(file.variables[key][:], source[key][:])
        if name == "plane":
            assert file.variables["density"].dimensions == ("time", "x", "y")
    assert os.listdir(tmp_path) == ["out.nc"]


def test_export_vtkhdf_density(folder, tmp_path):
    (out,) = export(folder / "plane.h5", "vtkhdf", tmp_path / "out.vtkhdf")
    result = wf.load(folder / "plane.h5")
    with h5py.File(out) as file:
        root = file["VTKHDF"]
        assert root.attrs["Type"] == b"ImageData"
        assert root.attrs["WholeExtent"].tolist() == [0, 6, 0, 4, 0, 1]
        assert root.attrs["Origin"].tolist() == [-3.0, -2.0, 0.0]
        assert root.attrs["Spacing"].tolist() == [1.0, 1.0, 1.0]
        assert root["CellData/density"].shape == (3, 1, 4, 6)
        for k in range(3):
            np.testing.assert_array_equal(root["CellData/density"][k, 0].T, result.states[k].values)
        np.testing.assert_array_equal(root["Steps/Values"], result.times)
        assert root["Steps"].attrs["NSteps"] == 3
        assert root["Steps/CellDataOffsets/density"][:].tolist() == [0, 1, 2]
        np.testing.assert_array_equal(root["CellData/target"][0, 0].T, result.target)


@pytest.mark.parametrize(("name", "n"), [("cloud", 30), ("point", 1)])
def test_export_vtkhdf_points(folder, tmp_path, name, n):
    (out,) = export(folder / f"{name}.h5", "vtkhdf", tmp_path / "out.vtkhdf")
    result = wf.load(folder / f"{name}.h5")
    with h5py.File(out) as file:
        root = file["VTKHDF"]
        assert root.attrs["Type"] == b"PolyData"
        for k in range(3):
            first = root["Steps/PointOffsets"][k]
            points = root["Points"][first : first + root["NumberOfPoints"][k]]
            np.testing.assert_array_equal(points[:, :2], np.reshape(result.states[k].coordinates, (n, 2)))
            assert not points[:, 2].any()
        assert root["Vertices/Connectivity"][:].tolist() == list(range(n))
        assert root["Vertices/Offsets"][:].tolist() == list(range(n + 1))
        assert root["Lines/Offsets"][:].tolist() == [0]
        assert root["Steps/CellOffsets"].shape == (3, 4)


def test_export_refuses(folder, tmp_path):
    assert "VTKHDF is for" in bad("export", folder / "gaussian.h5", "--to", "vtkhdf", "--out", tmp_path / "a.vtkhdf")
    assert not list(tmp_path.iterdir())
    assert "is the file itself" in bad("export", folder / "line.h5", "--to", "csv", "--out", folder / "line.h5")
    assert wf.load(folder / "line.h5").final is not None
    assert call("export", folder / "line.h5", "--to", "excel").exit_code == 2


def test_converge_by_number(checkout):
    options = ["--vary", "steps", "--sizes", "10,20,40", "--value", "end.x", "--shift", "0.5"]
    found = json.loads(good("converge", "decay", *options, "--exact", 0.5 + np.exp(-1.0), "--json"))
    assert found["fits"]["linf"]["order"] == pytest.approx(1.0, abs=0.05)
    assert found["asymptotic"] is True
    assert "decay" not in call("converge", "decay", *options).stderr
    assert call("converge", "decay", *options, "-v").stderr.count("decay") == 3
    assert found["rows"][0]["linf"] == pytest.approx(np.exp(-1.0) - 0.9**10)
    assert {path.name for path in Path("results/converge/decay").glob("steps.*")} == {"steps.h5", "steps.png"}


def test_converge_by_last_states(checkout):
    text = good("converge", "decay", "--vary", "steps", "--sizes", "10,20,40,80", "--file", "decay.h5")
    assert "estimated from the next finer size" in text
    assert "W2: order 1.0" in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sizes", "10,20", "--value", "end.x", "--vary", "step"], "did you mean 'steps'"),
        (["--sizes", "10,a", "--value", "end.x", "--vary", "steps"], "commas"),
        (["--sizes", "10,20", "--value", "end.y", "--vary", "steps"], "Known: x"),
        (["--sizes", "10,20", "--value", "end", "--vary", "steps"], "not to a number"),
        (["--sizes", "10,20", "--vary", "steps"], "one of --file"),
    ],
)
def test_converge_refuses(checkout, options, text):
    assert text in bad("converge", "decay", *options)
