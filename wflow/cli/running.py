"""Commands that run experiments."""

import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import wflow as wf
from wflow.cli import catalogue
from wflow.cli.printing import File, Json, print_json, told
from wflow.errors import InputError, choose, readable


def experiments(as_json: Json = False) -> None:
    """List the experiments of the checkout one stands in."""
    with told():
        found = catalogue.listed()
    texts = {name: catalogue.about(path) for name, path in found.items()}
    if as_json:
        print_json([{"name": name, "about": texts[name], "file": str(path)} for name, path in found.items()])
        return
    width = max(map(len, found))
    typer.echo("\n".join(f"{name:<{width}}  {text}" for name, text in texts.items()))


def run(
    context: typer.Context, name: Annotated[str, typer.Argument(help="See `wflow experiments`.")] = "--help"
) -> None:
    """Run an experiment; what follows its name are its own options (`wflow run NAME --help`)."""
    if name in ("--help", "-h"):
        typer.echo(context.get_help())
        return
    with told():
        path = catalogue.chosen(name)
        sys.argv = [str(path), *context.args]
        catalogue.command(path).main(context.args, prog_name=f"wflow run {name}")


def resume(file: File, as_json: Json = False) -> None:
    """Go on with a run that was left: its experiment of this checkout again, with the options that the file records.

    What has ended is not run again; a run that `max_steps` has stopped goes on without it. A run that no experiment
    made is rebuilt from its file, if it was stated in expressions alone. No code is taken from the file.
    """
    with told():
        attributes = _attributes(file)
        name, options = _recorded(str(attributes.get("command", "")))
        path = catalogue.here().get(name)
        before = _stamp(file)
        if path is None:
            _go_on(file, str(attributes.get("command", "")))
        else:
            _check_name(str(attributes.get("written_as", file.name)), path.stem, file)
            _again(path, options, file)
        result = wf.load(file)
        if result.status.resumable and _stamp(file) == before:
            raise InputError(f"{file} is as it was, {result.status.value}: {name or 'its run'} writes another file")
    found = {"file": file, "status": result.status.value, "frames": len(result.times), "experiment": path and name}
    if as_json:
        print_json(found | {"time": float(result.times[-1])})
    else:
        typer.echo(f"{file}: {result.status.value}, {len(result.times)} frames to t = {result.times[-1]:g}")


def _attributes(file: Path) -> dict[str, Any]:
    with import_module("wflow.store").Reader(file) as reader:
        return reader.attributes


def _recorded(text: str) -> tuple[str, list[str]]:
    """The name of the script and its options in a recorded command."""
    try:
        first, *options = shlex.split(text)
    except ValueError:
        return "", []
    return Path(first).stem, options


def _again(path: Path, options: list[str], file: Path) -> None:
    """The experiment with its runs going on; it writes where the file is, whatever the file says."""
    known = catalogue.options_of(path)
    place = ["--out", str(file.parent)] if "out" in known else []
    typer.echo(f"{path} {shlex.join(options)}", err=True)
    resuming = import_module("wflow.loop.resumption").RESUMING
    token = resuming.set(file)
    try:
        sys.argv = [str(path), *options]
        catalogue.call(path, [*options, *place])
    finally:
        resuming.reset(token)


def _go_on(file: Path, command: str) -> None:
    """The run from its file alone; one that has ended is left as it is."""
    left = wf.load(file)
    if not left.status.resumable:
        return
    try:
        functional, state, arguments = import_module("wflow.loop.recipes").recipe(left)
    except InputError as error:
        name, _ = _recorded(command)
        place = catalogue.FOLDER / f"{name}.py"
        hint = f"; it was made by {place}, so do it in the checkout that has that" if str(place) in command else ""
        raise InputError(f"{error}{hint}") from None
    wf.run(functional, state, **{**arguments, "max_steps": None}, out=file, resume=True)


def _check_name(made: str, experiment: str, file: Path) -> None:
    """An experiment writes files of its own names."""
    if made != readable(file.name):
        raise InputError(
            f"{file} was written as {made}, which {experiment} would write again beside it: rename it back to {made}"
        )


def _stamp(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def converge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="See `wflow experiments`.", show_default=False)],
    vary: Annotated[str, typer.Option(help="The option of the experiment to vary.", show_default=False)],
    sizes: Annotated[str, typer.Option(help="Its values, with commas: 32,64,128.", show_default=False)],
    file: Annotated[str, typer.Option(help="Compare the last states in this file of the experiment.")] = "",
    value: Annotated[str, typer.Option(help="Compare this number of what it returns, as in grid.w2.")] = "",
    exact: Annotated[float | None, typer.Option(help="The exact number; without it Richardson.")] = None,
    seeds: Annotated[int, typer.Option(help="Repeat with so many seeds (its option --seed); 0: do not.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that solve sizes side by side.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Take sizes that are solved already from --out.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the runs print.")] = False,
    table: Annotated[Path | None, typer.Option(help="Write the table there too, as CSV.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Where runs, record and picture go.")] = Path("results/converge"),
    as_json: Json = False,
) -> None:
    """Run an experiment at several sizes and print the orders of convergence; further options are its own."""
    with told():
        if bool(file) == bool(value) or (file and exact is not None):
            raise InputError("give one of --file NAME.h5 and --value NAME; --exact goes with --value")
        numbers, path, place = [_number(text) for text in sizes.split(",")], catalogue.chosen(name), out / name
        known = catalogue.options_of(path)
        vary = choose(vary.replace("-", "_"), known, f"option of {path.stem}")
        if seeds:
            choose("seed", known, f"option of {path.stem}")
        solve = catalogue.Solver(path, vary, file, value, tuple(context.args), place, quiet=not verbose)
        study = wf.convergence(
            solve, numbers, exact, seeds=seeds or None, out=place / f"{vary} points", resume=resume, workers=workers
        )
        study.save(place / f"{vary}.h5")
        study.plot(place / f"{vary}.png")
        if table is not None:
            study.write(table)
    if as_json:
        fits = {norm: vars(fit) for norm, fit in study.fits.items()}
        print_json({"rows": study.rows, "fits": fits, "asymptotic": study.asymptotic})
    else:
        typer.echo(f"{study}\n{place / vary}.h5, .png")


def _number(text: str) -> int | float:
    try:
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InputError(f"--sizes must be numbers with commas between, got {text!r}") from None
