"""The commands: `wflow COMMAND --help`. Heavy libraries are loaded by the command that needs them."""

import ast
import json
import math
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import wflow as wf
from wflow.errors import FileError, InputError, choose

app = typer.Typer(
    help="Wasserstein gradient flows: run experiments, look at their files, compare them.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
FOLDER = Path("experiments")

Format = StrEnum("Format", {"CSV": "csv", "NETCDF": "netcdf", "VTKHDF": "vtkhdf"})
File = Annotated[Path, typer.Argument(help="A result file (.h5).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option(help="Where to write; without it beside the file.", show_default=False)]


def main() -> None:
    """The entry point of the command `wflow`."""
    app()


@contextmanager
def _told() -> Iterator[None]:
    """Bad input and bad files are one line on the error stream and exit code 1, not a traceback."""
    try:
        yield
    except (InputError, FileError) as error:
        typer.echo(f"wflow: {error}", err=True)
        raise typer.Exit(1) from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """What JSON takes; a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _experiments() -> dict[str, Path]:
    """The experiments of the checkout one stands in: files with a function main."""
    trees = {path: _parsed(path) for path in sorted(FOLDER.glob("*.py"))}
    found = {path.stem: path for path, tree in trees.items() if "main" in (getattr(n, "name", "") for n in tree.body)}
    if not found:
        raise InputError(f"there are no experiments here: {FOLDER.absolute()} has none; change to a checkout of wflow")
    return found


def _parsed(path: Path) -> ast.Module:
    """The syntax of a file; it is not run."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return ast.Module([], [])


def _chosen(name: str) -> Path:
    found = _experiments()
    return found[choose(name, found, "experiment")]


@app.command()
def experiments(as_json: Json = False) -> None:
    """List the experiments of the checkout one stands in."""
    with _told():
        found = _experiments()
    about = {name: (ast.get_docstring(_parsed(path)) or "").partition("\n")[0] for name, path in found.items()}
    if as_json:
        _print_json([{"name": name, "about": about[name], "file": str(path)} for name, path in found.items()])
        return
    width = max(map(len, found))
    typer.echo("\n".join(f"{name:<{width}}  {text}" for name, text in about.items()))


@app.command(context_settings={**PASSED_ON, "help_option_names": []})
def run(
    context: typer.Context, name: Annotated[str, typer.Argument(help="See `wflow experiments`.")] = "--help"
) -> None:
    """Run an experiment; what follows its name are its own options (`wflow run NAME --help`)."""
    if name in ("--help", "-h"):
        typer.echo(context.get_help())
        return
    with _told():
        path = _chosen(name)
        sys.argv = [str(path), *context.args]
        sys.path.insert(0, str(path.parent.absolute()))
        runpy.run_path(str(path), run_name="__main__")


@app.command()
def info(file: File, as_json: Json = False) -> None:
    """Say what is in a file and what made it."""
    with _told():
        found = _described(file)
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name + ':':<16} {text}")


def _described(file: Path) -> dict[str, Any]:
    with import_module("wflow.store").Reader(file, live=True) as reader:
        found: dict[str, Any] = {"file": str(file), "bytes": file.stat().st_size}
        attributes = reader.attributes
        found |= {"status": attributes.pop("status"), "frames": reader.frames}
        times, steps = reader.column("time"), reader.steps
        if len(times):
            found["time"] = [float(times[0]), float(times[-1])]
        found["steps"] = len(next(iter(steps.values()), ()))
        sizes = {name: reader.frame(name, 0).shape for name in reader.names} if reader.frames else {}
        dims = {name: reader.dims(name)[1:] for name in sizes}
        found["variables"] = {n: dict(zip(dims[n], shape, strict=True)) for n, shape in sizes.items() if shape}
        found["series"] = [name for name, shape in sizes.items() if not shape]
    for name, value in attributes.items():
        if name not in ("committed", "committed_steps", "storage") and value != "null":
            found[name] = value
            if isinstance(value, str) and value.startswith("{"):
                with suppress(ValueError):  # JSON is what the package writes, but any text may be there
                    found[name] = json.loads(value)
    return found


@app.command()
def verify(files: Annotated[list[Path], typer.Argument(show_default=False)], as_json: Json = False) -> None:
    """Look for damage; the exit code is 1 where there is any."""
    check: Callable[[Path], list[str]] = import_module("wflow.store").verify
    found = {str(file): check(file) for file in files}
    if as_json:
        _print_json(found)
    else:
        for name, problems in found.items():
            typer.echo("\n".join(f"{name}: {text}" for text in problems or ["no damage found"]))
    raise typer.Exit(1 if any(found.values()) else 0)


@app.command("plot")
def plot_file(file: File, out: Out = None, as_json: Json = False) -> None:
    """Draw a result as .png, .svg or .pdf."""
    target = file.with_suffix(".png") if out is None else out
    with _told():
        wf.plot.result(wf.load(file, live=True), target)
    _written([target], as_json)


@app.command("movie")
def movie_file(
    file: File,
    out: Out = None,
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 15.0,
    most: Annotated[int, typer.Option(help="Pictures at most, chosen evenly.")] = 300,
    as_json: Json = False,
) -> None:
    """Make a movie of a result: .mp4 by ffmpeg, else .gif."""
    with _told():
        make = import_module("wflow.plot.movies").movie
        written = make(wf.load(file, live=True), file.with_suffix(".mp4") if out is None else out, fps, most)
    _written([written], as_json)


@app.command("compare")
def compare_files(
    files: Annotated[list[Path], typer.Argument(help="Two or more; the first is the reference.", show_default=False)],
    plot: Annotated[Path | None, typer.Option(help="Draw W2, L1 and energies there.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Hold results against the first of them at their common times."""
    with _told():
        if len(files) < 2:
            raise InputError("compare needs two or more files, got one")
        stems = [file.stem for file in files]
        names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
        first, second, *more = (wf.load(file, live=True) for file in files)
        compared = wf.compare(first, second, *more, names=names)
        if plot is not None:
            compared.plot(plot)
    if as_json:
        _print_json({"names": compared.names, "rows": compared.rows})
    else:
        typer.echo(str(compared))


@app.command("export")
def export_file(
    file: File, to: Annotated[Format, typer.Option(show_default=False)], out: Out = None, as_json: Json = False
) -> None:
    """Write a file in a format of other programs."""
    with _told():
        written = import_module("wflow.store.export").export(file, to.value, out)
    _written(written, as_json)


def _written(paths: list[Path], as_json: bool) -> None:
    if as_json:
        _print_json({"written": paths})
    else:
        typer.echo("\n".join(map(str, paths)))


@app.command(context_settings=PASSED_ON)
def converge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="See `wflow experiments`.", show_default=False)],
    vary: Annotated[str, typer.Option(help="The option of the experiment to vary.", show_default=False)],
    sizes: Annotated[str, typer.Option(help="Its values, with commas: 32,64,128.", show_default=False)],
    file: Annotated[str, typer.Option(help="Compare the last states in this file of the experiment.")] = "",
    value: Annotated[str, typer.Option(help="Compare this number of what it returns, as in grid.w2.")] = "",
    exact: Annotated[float | None, typer.Option(help="The exact number; without it Richardson.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs, table, record and picture go.")] = Path("results/converge"),
    as_json: Json = False,
) -> None:
    """Run an experiment at several sizes and print the orders of convergence; further options are its own."""
    with _told():
        if bool(file) == bool(value) or (file and exact is not None):
            raise InputError("give one of --file NAME.h5 and --value NAME; --exact goes with --value")
        numbers = [_number(text) for text in sizes.split(",")]
        place = out / name
        solve = _solver(_chosen(name), vary, file, value, context.args, place)
        study = wf.convergence(solve, numbers, reference=exact)
        place.mkdir(parents=True, exist_ok=True)
        study.save(place / f"{vary}.h5")
        study.plot(place / f"{vary}.png")
    if as_json:
        fits = {norm: vars(fit) for norm, fit in study.fits.items()}
        _print_json({"rows": study.rows, "fits": fits, "asymptotic": study.asymptotic})
    else:
        typer.echo(f"{study}\n{place / vary}.h5, .png")


def _number(text: str) -> int | float:
    try:
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InputError(f"--sizes must be numbers with commas between, got {text!r}") from None


def _solver(path: Path, vary: str, file: str, value: str, options: list[str], out: Path) -> Callable[[Any], Any]:
    """A function of the size that runs the experiment and gives its state or number."""
    sys.path.insert(0, str(path.parent.absolute()))
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command()(runpy.run_path(str(path))["main"])
    command = typer.main.get_command(single)
    known = [parameter.name or "" for parameter in command.params]
    choose(vary.replace("-", "_"), known, f"option of {path.stem}")

    def solve(size: Any) -> Any:
        folder = out / f"{vary}={size}"
        given = [
            *options,
            f"--{vary.replace('_', '-')}",
            str(size),
            *(["--out", str(folder)] if "out" in known else []),
        ]
        with redirect_stdout(sys.stderr):
            report = command.main(given, prog_name=path.stem, standalone_mode=False)
        return wf.load(folder / file) if file else _looked_up(report, value)

    return solve


def _looked_up(report: Any, path: str) -> float:
    for part in path.split("."):
        if not isinstance(report, dict):
            raise InputError(f"{path!r} does not lead to a number of what the experiment returns")
        report = report[choose(part, map(str, report), "name in what the experiment returns")]
    try:
        return float(report)
    except (TypeError, ValueError):
        raise InputError(f"{path!r} leads to a {type(report).__name__}, not to a number") from None
