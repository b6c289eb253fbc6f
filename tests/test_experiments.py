"""Every experiment runs small and gives its numbers; the README's commands and example are true."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from wflow.functionals import FUNCTIONALS, NAMES
from wflow.metrics import METRICS
from wflow.states import STATES
from wflow.steppers import STEPPERS
from wflow.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "experiments"
EXPERIMENTS = tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "common"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

# Holl & Thuerey's printed tables, float32.
DESCENT = [
    (2.94, 1.9200001), (2.8812, 1.6368846), (2.823576, 1.4614503), (2.7671044, 1.3365935), (2.7117622, 1.2410815),
    (2.657527, 1.1646168), (2.6043763, 1.1014326), (2.5522888, 1.0479842), (2.501243, 1.0019454),
    (2.4512184, 0.96171147),
]  # fmt: skip
NEWTON = [
    (2.0, 2.6666667), (1.3333333, 2.3703704), (0.88888884, 2.1069958), (0.59259254, 1.8728852), (0.39506167, 1.6647868),
    (0.26337445, 1.4798105), (0.17558296, 1.315387), (0.1170553, 1.1692328), (0.07803687, 1.0393181),
    (0.05202458, 0.92383826),
]  # fmt: skip


@pytest.fixture(scope="module")
def load() -> Iterator[Any]:
    """Import an experiment by name, from its folder, as Python does when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)

        def one(name: str) -> ModuleType:
            return importlib.import_module(name)

        yield one


@pytest.fixture(scope="module")
def optimizers(load: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The optimizers experiment, run once."""
    out = tmp_path_factory.mktemp("optimizers")
    return load("optimizers").main(out=out), out


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_is_one_documented_function(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert ast.get_docstring(tree)
    assert len(ast.get_docstring(functions["main"]) or "") > 300, "the docstring of main is its mathematics"
    arguments = functions["main"].args
    assert len(arguments.defaults) == len(arguments.args) > 0, "every argument has a default"
    assert "typer.run(main)" in ast.unparse(tree.body[-1])
    assert f"`{name}.py`" in README


@pytest.mark.checklist("P1", "P2", "P3", "P4")
def test_optimizers_derivatives(optimizers: Any) -> None:
    found = optimizers[0]["derivatives"]
    np.testing.assert_array_equal(found["y"], [3.0, 9.0])
    assert found["L"] == 90.0
    np.testing.assert_array_equal(found["dL/dy"], [6.0, 18.0])
    np.testing.assert_array_equal(found["dy/dx"], [[1.0, 0.0], [0.0, 6.0]])
    np.testing.assert_allclose(found["J^-1 (J x)"], [3.0, 3.0], rtol=1e-15)
    np.testing.assert_array_equal(found["dL/dx"], [6.0, 108.0])
    np.testing.assert_array_equal(found["f'"], [6.0, 108.0])


@pytest.mark.checklist("P5", "P6", "P15")
@pytest.mark.parametrize(
    ("name", "table", "distance"), [("gradient descent", DESCENT, 2.633128), ("Newton", NEWTON, 0.925302)]
)
def test_optimizers_tables(optimizers: Any, name: str, table: list[tuple[float, float]], distance: float) -> None:
    found = optimizers[0][name]
    np.testing.assert_allclose(found["iterates"], table, rtol=3e-7)
    assert found["error"] < 1e-14
    assert found["distance"] == pytest.approx(distance, abs=1e-6)


@pytest.mark.checklist("P8", "P16")
def test_optimizers_first_steps(optimizers: Any) -> None:
    descent, newton = (optimizers[0][name] for name in ("gradient descent", "Newton"))
    assert descent["diagonal"] == pytest.approx(114 / np.hypot(6, 108), rel=1e-13)
    assert newton["diagonal"] == pytest.approx(4 / np.sqrt(10), rel=1e-13)
    assert (descent["first_step"], newton["first_step"]) == pytest.approx((1.0816654, 1.0540926), abs=1e-7)


@pytest.mark.checklist("P14")
def test_optimizers_leave_pictures_and_files(optimizers: Any) -> None:
    names = {path.name for path in optimizers[1].iterdir()}
    assert {"gradient_descent.h5", "Newton.h5", "inverse_simulator.h5", "Adam.h5", "paths.png"} <= names
    five = ("gradient_descent.png", "both.png", "three.png", "y_inverse_simulator.png", "y_three.png")
    assert set(five) <= names
    with h5py.File(optimizers[1] / "Newton.h5") as file:
        np.testing.assert_allclose(file["position"][-1], NEWTON[-1], rtol=3e-7)
    # 4 x 4 inches at 100 dots each: width and height stand in the PNG header.
    for file in five:
        header = (optimizers[1] / file).read_bytes()[16:24]
        assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (400, 400)


@pytest.mark.checklist("P7", "P8", "P11", "P12", "P16", "P19")
def test_optimizers_inverse_simulator_and_others(optimizers: Any) -> None:
    report = optimizers[0]
    found = report["inverse simulator"]
    assert found["error"] < 1e-14
    assert found["distance"] == pytest.approx(0.511282, abs=1e-6)
    assert (found["diagonal"], found["first_step"]) == pytest.approx((1.356443, 1.0247534), abs=1e-6)
    np.testing.assert_allclose(found["in_y"][-1], [0.08474258, 0.25422773], atol=1e-8)
    assert report["mean_absolute_error"] == pytest.approx(9.94e-7, rel=1e-3)
    np.testing.assert_allclose(report["Adam"]["iterates"][-1], [0.22874746, 0.62958598], atol=1e-8)
    assert report["natural gradient"]["error"] < 1e-14


def test_f_divergences(load: Any, tmp_path: Path) -> None:
    module = load("f_divergences")
    report = module.main(cells=60, span=4.0, out=tmp_path)
    assert set(report) == set(NAMES)
    curvature = {"chi2": 2, "reverse-chi2": 2, "jeffreys": 2, "hellinger": 0.5, "jensen-shannon": 0.25}
    for name, row in report.items():
        assert row["expected"] == pytest.approx(2 * curvature.get(name, 1) * 0.4545466, rel=1e-7)
        assert row["ratio"] == pytest.approx(1.0, abs=2e-3), name
        assert row["mass_error"] < 1e-13
        assert 0.0 < row["end"] < 1e-3 < row["start"]
        assert (tmp_path / f"{name}.h5").exists()
    # KL(q‖p) of the start by the trapezoidal rule on 10⁵ points: 0.5321.
    assert report["reverse-kl"]["start"] == pytest.approx(start_by_quadrature(), rel=1e-4)
    assert {path.name for path in tmp_path.glob("*.png")} == {"densities.png", "decay.png"}


def start_by_quadrature() -> float:
    """∫ p u log u of the start of f_divergences, on a fine grid."""
    x = np.linspace(-3, 3, 100_001)
    p = np.exp(-2 * (x**2 - 1) ** 2)
    p /= p.sum()
    bump = np.exp(-0.5 * ((x - 1.2) / 0.3) ** 2)
    u = 0.2 + 0.8 * bump / (bump @ p)
    return float(p @ (u * np.log(u)))


def test_geyser(load: Any, tmp_path: Path) -> None:
    module = load("geyser")
    numbers = module.main(particles=2000, cells=48, t_end=1.0, dt=0.02, bandwidth=0.2, out=tmp_path)
    assert numbers["kl_start"] == pytest.approx(11.48, abs=0.05)
    # The gap of the 128² grid is 0.20498; at t = 1 the decay has not come down to it.
    assert numbers["gap"] == pytest.approx(0.205, abs=2e-3)
    assert numbers["rate"] > 2 * numbers["gap"]
    # The three solutions agree: W2 between 2000 draws and the density itself is about 0.1 here.
    for file in ("ode", "langevin"):
        assert numbers[file]["w2"] < 0.15
        np.testing.assert_allclose(numbers[file]["mean"], numbers["grid"]["mean"], atol=0.08)
        assert numbers[file]["kl"] == pytest.approx(numbers["grid"]["kl"], abs=0.06)
    assert numbers["ode"]["l1"] < 0.08
    assert {path.name for path in tmp_path.iterdir()} == {
        "grid.h5", "ode.h5", "langevin.h5", "frames.png", "decay.png", "comparison.png",
    }  # fmt: skip


def test_geyser_data(load: Any) -> None:
    data = load("geyser").standardised()
    assert data.shape == (272, 2)
    np.testing.assert_allclose(data.mean(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(data.std(axis=0), 1.0, rtol=1e-14)
    # The correlation of duration and waiting time, as R gives it for `faithful`.
    assert np.mean(data[:, 0] * data[:, 1]) == pytest.approx(0.9008112, abs=1e-7)


def test_porous_medium(load: Any, tmp_path: Path) -> None:
    report = load("porous_medium").main(levels=2, waiting_cells=100, out=tmp_path)
    assert min(report[f"order_{dim}d"] for dim in (1, 2, 3)) > 1.5
    assert min(row["front_share"] for row in report["rows"]) > 0.5, "the free boundary carries the error"
    assert 0.8 * report["waiting_time"] < report["first_move"] < 1.6 * report["waiting_time"]
    assert (tmp_path / "porous_medium.png").exists()


def test_aggregation(load: Any, tmp_path: Path) -> None:
    report = load("aggregation").main(cells=24, t_end=2.0, out=tmp_path)
    assert report["status"] == "COMPLETE"
    assert report["largest_rise"] <= 0.0
    assert report["minimum"] == 0.0
    assert report["mass_error"] < 1e-13
    assert report["clusters"][0] == 1
    assert report["clusters"][-1] == 4
    assert abs(report["balance"]) < 1e-3 * (report["energy"][0] - report["energy"][-1])
    assert (tmp_path / "energy.png").exists()


@pytest.mark.checklist("G14", "G15")
def test_jko(load: Any, tmp_path: Path) -> None:
    report = load("jko").main(cells=400, particles=60, halvings=2, out=tmp_path)
    orders, errors = report["orders"], report["errors"]
    assert 1.6 < orders.pop("variational BDF2") < 2.2
    assert all(abs(order - 1) < 0.15 for order in orders.values())
    np.testing.assert_allclose(errors["JKO"], errors["JKO of Gaussians"], rtol=3e-3)
    assert errors["JKO"][0] < errors["implicit Euler, cells"][0]
    assert (tmp_path / "errors.png").exists()


@pytest.mark.checklist("G4", "D2", "D3", "D9", "D13")
def test_landscape(load: Any, tmp_path: Path) -> None:
    report = load("landscape").main(cells=24, out=tmp_path)
    assert report["kinds"] == [("minimum", False), ("maximum", False), ("saddle", True)]
    assert report["points"] == {"minimum": 4, "saddle": 4, "maximum": 1}
    np.testing.assert_allclose(report["descent"], 2 * np.outer([-1, 1], 0.7 ** np.arange(13)), rtol=1e-12)
    np.testing.assert_allclose(report["shares"], 0.25, atol=0.03)
    assert 0.02 < report["changed"] < 0.3
    assert report["line"]["minima"] == 4
    assert 0.1 < report["line"]["found"] < 0.5
    assert {path.stem for path in tmp_path.iterdir()} == {
        "kinds",
        "descent",
        "line",
        "basins_flow",
        "basins_long_steps",
    }


@pytest.mark.checklist("G5", "G7", "P21")
def test_metrics(load: Any, tmp_path: Path) -> None:
    """Eight curves to one minimum; straight in y only where y is the chart; natural and chart one flow at order one."""
    experiment, gaps = load("metrics"), []
    for steps in (300, 600):
        report = experiment.main(dt=9.0 / steps, steps=steps, out=tmp_path)
        gaps.append(report.pop("natural_against_chart"))
    assert abs(np.log2(gaps[0] / gaps[1]) - 1) < 0.1
    assert len(report) == 8
    assert max(row["energy"] for row in report.values()) < 0.1  # of 19 at the start
    assert report["chart"]["bend_in_y"] < 1e-13
    assert report["natural"]["bend_in_y"] < 0.01
    assert min(report[name]["bend_in_y"] for name in ("Euclidean", "preconditioned", "l1", "mirror, cosh")) > 0.2
    assert (tmp_path / "metrics.png").exists()


@pytest.mark.checklist("G10b", "G21")
def test_natural_gradient(load: Any, tmp_path: Path) -> None:
    report = load("natural_gradient").main(cells=160, t_end=1.0, out=tmp_path)
    for name, row in report.items():
        assert row["error"] < 0.01, name
    both = np.array(report["both"]["kl"])
    assert np.all(both < report["Wasserstein"]["kl"])
    assert np.all(both < report["Fisher–Rao"]["kl"])
    assert (tmp_path / "curves.png").exists()


def test_fitted_rate_finds_the_late_slope(load: Any) -> None:
    times = np.linspace(0.0, 4.0, 41)
    values = np.exp(-3.0 * times) + 10.0 * np.exp(-40.0 * times)
    assert load("common").fitted_rate(times, values, start=1.0) == pytest.approx(3.0, abs=1e-10)


def test_readme_opens_with_a_small_picture() -> None:
    path = re.match(r"!\[[^\]]+\]\(([^)]+)\)", README).group(1)
    assert 10_000 < (ROOT / path).stat().st_size < 300_000


def test_readme_commands_come_first() -> None:
    assert [body.strip() for _, body in BLOCKS[:2]] == [
        "python -m pip install . && python experiments/geyser.py",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert '\npython -m pip install --quiet -e ".[test]"\n' in ci
    assert "\npython -m pytest\n" in ci
    assert all(f"\nexperiment {name}" in ci for name in EXPERIMENTS)


def test_readme_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    language, code = BLOCKS[2]
    assert language == "python"
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # the project's own text
    assert {path.name for path in tmp_path.iterdir()} == {"grid.h5", "grid.png"}
    printed = capsys.readouterr().out
    assert "reference: grid" in printed
    assert "Point([1.0" in printed
    assert names["grid"].final.mean[0] == pytest.approx(names["ode"].final.mean[0], abs=0.03)


def test_readme_names_everything() -> None:
    classes = (*FUNCTIONALS, *TARGETS, *STATES, *STEPPERS, *METRICS)
    missing = [c.__name__ for c in classes if not re.search(rf"`(\w+\.)*{c.__name__}\b", README)]
    missing += [name for name in NAMES if f"`{name}`" not in README]
    assert not missing
