"""The experiments of the checkout one stands in: found by their names, their options those of their `main`."""

import ast
import runpy
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import typer

import wflow as wf
from wflow.errors import InputError, choose

FOLDER = Path("experiments")
# Typer brings click along under changing names, but always shows this descendant.
UsageError: Any = typer.BadParameter.__mro__[1]


def here() -> dict[str, Path]:
    """Experiments by name: files with a function main; there may be none."""
    trees = {path: parsed(path) for path in sorted(FOLDER.glob("*.py"))}
    return {path.stem: path for path, tree in trees.items() if "main" in (getattr(n, "name", "") for n in tree.body)}


def listed() -> dict[str, Path]:
    """Experiments by name; raises `InputError` where there are none."""
    found = here()
    if not found:
        raise InputError(f"there are no experiments here: {FOLDER.absolute()} has none; change to a checkout of wflow")
    return found


def parsed(path: Path) -> ast.Module:
    """The syntax of a file; it is not run."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return ast.Module([], [])


def about(path: Path) -> str:
    """The first line of an experiment's docstring."""
    return (ast.get_docstring(parsed(path)) or "").partition("\n")[0]


def chosen(name: str) -> Path:
    """The file of an experiment."""
    found = listed()
    return found[choose(name, found, "experiment")]


def command(path: Path) -> Any:
    """An experiment as a command that can be called with options and gives what `main` gives."""
    if str(path.parent.absolute()) not in sys.path:
        sys.path.insert(0, str(path.parent.absolute()))
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command()(runpy.run_path(str(path))["main"])
    return typer.main.get_command(single)


def options_of(path: Path) -> list[str]:
    """Names of the arguments of an experiment's `main`."""
    return [parameter.name or "" for parameter in command(path).params]


def call(path: Path, options: list[str], quiet: bool = False) -> Any:
    """Run an experiment with options, its printing sent to the error stream, or nowhere; gives what `main` gives."""
    try:
        with redirect_stdout(StringIO() if quiet else sys.stderr):
            return command(path).main(list(options), prog_name=path.stem, standalone_mode=False)
    except UsageError as error:
        raise InputError(f"{path.stem}: {error.format_message()}") from None


@dataclass(frozen=True)
class Solver:
    """A function of the size, and of a seed, that runs an experiment and gives its last state or a number; it can be
    sent to other processes."""

    path: Path
    vary: str
    file: str
    value: str
    options: tuple[str, ...]
    out: Path
    quiet: bool = False

    def __call__(self, size: Any, seed: int | None = None) -> Any:
        known = options_of(self.path)
        more = {self.vary: size} if seed is None else {self.vary: size, "seed": seed}
        folder = self.out / ",".join(f"{name}={value}" for name, value in more.items())
        if "out" in known:
            more["out"] = folder
        given = [text for name, value in more.items() for text in (f"--{name.replace('_', '-')}", str(value))]
        report = call(self.path, [*self.options, *given], self.quiet)
        return wf.load(folder / self.file) if self.file else looked_up(report, self.value)


def looked_up(report: Any, path: str) -> float:
    """The number at a dotted path of what an experiment returns."""
    for part in path.split("."):
        if not isinstance(report, dict):
            raise InputError(f"{path!r} does not lead to a number of what the experiment returns")
        report = report[choose(part, map(str, report), "name in what the experiment returns")]
    try:
        return float(report)
    except (TypeError, ValueError):
        raise InputError(f"{path!r} leads to a {type(report).__name__}, not to a number") from None
