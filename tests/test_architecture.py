"""The house rules that hold the package together: who may import whom, lengths, tuples, docstrings, a light import."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from wflow.estimators import ESTIMATORS, Estimator
from wflow.functionals import FUNCTIONALS, Functional, Sum
from wflow.metrics import METRICS, Metric
from wflow.states import STATES, State
from wflow.steppers import STEPPERS, Stepper
from wflow.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "wflow"

# Each part imports only from those above it. The names after it are the only heavy libraries it may import.
LAYERS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "arrays": (),
    "kernels": ("numba",),
    "linalg": ("numba", "ot"),
    "expression": ("numba", "sympy", "autograd"),
    "derivatives": (),
    "estimators": (),
    "targets": (),
    "grid": (),
    "functionals": (),
    "states": (),
    "metrics": (),
    "flows": (),
    "steppers": (),
    "distances": (),
    "spectra": (),
    "exact": (),
    "store": ("h5py",),
    "records": (),
    "results": (),
    "loop": ("tqdm",),
    "landscape": (),
    "plot": ("matplotlib",),
    "comparison": (),
    "orders": (),
    "cli": ("typer",),
}
# What a layer may not know although it stands above.
ALONE = ("kernels", "store", "exact")
HEAVY = ("numba", "h5py", "matplotlib", "sympy", "ot", "autograd", "tqdm", "typer", "xarray")
LAZY = ("numba", "h5py", "matplotlib", "sympy", "ot", "autograd")
MAX_FILE, MAX_FUNCTION = 300, 40

FILES = sorted(PACKAGE.rglob("*.py"))
INNER = [path for path in FILES if path != PACKAGE / "__init__.py"]


def module_name(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Dotted names of everything a file imports, outside of TYPE_CHECKING; `from a import b` gives a.b and a."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports by dots; write the whole name"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def layer(name: str) -> str:
    """The layer of a dotted name within the package."""
    return name.split(".")[1]


@pytest.mark.parametrize("path", INNER, ids=module_name)
def test_imports_only_from_above(path: Path) -> None:
    order = list(LAYERS)
    own = layer(module_name(path))
    assert own in LAYERS, f"{own} is not in the table of layers"
    used = {layer(name) for name in imports(path) if name.startswith("wflow.")} - {own}
    below = {name for name in used if order.index(name) > order.index(own)}
    assert not below, f"{module_name(path)} imports from below itself: {sorted(below)}"
    if own in ALONE:
        assert used <= {"errors", "arrays"}, f"{own} must know no other part, imports {sorted(used)}"


@pytest.mark.parametrize("path", INNER, ids=module_name)
def test_heavy_libraries_have_one_home(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)} & set(HEAVY)
    assert used <= set(LAYERS[layer(module_name(path))])


def test_no_import_circles() -> None:
    modules = {module_name(path): path for path in INNER}
    graph = {
        name: {
            full if full in modules else full.rpartition(".")[0] for full in imports(path) if full.startswith("wflow.")
        }
        for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_imports_inside_functions(path: Path) -> None:
    hidden = [
        f"{function.name}:{node.lineno}"
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not hidden


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_lengths(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE
    too_long = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                length -= node.body[0].end_lineno - node.body[0].lineno + 1
            if length > MAX_FUNCTION:
                too_long[node.name] = length
    assert not too_long


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    # Module-level __getattr__ and __dir__ are Python's, not ours.
    missing = [n.name for n in definitions if ast.get_docstring(n) is None]
    assert not missing
    assert ast.get_docstring(tree) or not tree.body, "the file has no docstring"


def classes(package: str) -> list[type]:
    """All public classes defined in a part of the package, protocols aside."""
    home = importlib.import_module(f"wflow.{package}")
    names = [m.name for m in pkgutil.iter_modules(getattr(home, "__path__", []), f"wflow.{package}.")]
    modules = [home, *map(importlib.import_module, names)]
    found = {
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member) and member.__module__.startswith(f"wflow.{package}")
    }
    return [c for c in found if not c.__name__.startswith("_") and not getattr(c, "_is_protocol", False)]


def members(protocol: Any) -> set[str]:
    """What a class must have to follow a protocol."""
    return {name for name in vars(protocol) if not name.startswith("_") or name == "__call__"}


@pytest.mark.parametrize(
    ("packages", "protocol", "listed"),
    [
        (("targets",), Target, TARGETS),
        (("states", "targets"), State, STATES),
        (("metrics",), Metric, METRICS),
        (("steppers",), Stepper, STEPPERS),
        (("estimators",), Estimator, ESTIMATORS),
    ],
    ids=["targets", "states", "metrics", "steppers", "estimators"],
)
def test_every_class_is_in_its_tuple(packages: tuple[str, ...], protocol: Any, listed: tuple[type, ...]) -> None:
    wanted = members(protocol)
    assert wanted
    follow = {c for package in packages for c in classes(package) if all(hasattr(c, name) for name in wanted)}
    assert follow == set(listed)


def test_every_functional_is_in_its_tuple() -> None:
    found = {c for c in classes("functionals") if issubclass(c, Functional)} - {Functional, Sum}
    assert found == set(FUNCTIONALS)


def test_import_is_light() -> None:
    code = f"import sys, wflow; dir(wflow); print(*[m for m in {LAZY!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.split() == []


def test_every_public_name_is_there() -> None:
    wflow = importlib.import_module("wflow")
    for name in wflow.__all__:
        assert getattr(wflow, name) is not None


def test_architecture_page_is_true() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## Layers")[1].split("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(LAYERS)
    named = re.findall(r"`class (\w+)`[^`]*`(wflow/[\w/]+\.py)`", page)
    named += [(name, path) for path, name in re.findall(r"`(wflow/[\w/]+\.py)` with\s+`class (\w+)`", page)]
    assert {name for name, _ in named} == {"Hellinger", "PowerEntropy", "Heun", "Langevin"}
    for name, path in named:
        assert f"\nclass {name}" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no class {name}"


def committed() -> list[Path]:
    """The text files of the repository."""
    folders = ("wflow", "tests", "experiments", "docs", "data", ".ci")
    inside = [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    texts = [p for p in inside if p.suffix in (".py", ".md", ".csv", ".toml", "")]
    return texts + [p for p in ROOT.iterdir() if p.suffix in (".md", ".toml") or p.name == "LICENSE"]


def test_no_absolute_paths() -> None:
    places = "|".join(("home", "root", "work", "tmp", "Users", "mnt"))
    pattern = re.compile(rf"(?<![\w.}}/])/(?:{places})/\w|\b[A-Z]:\\\\?Users")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found
