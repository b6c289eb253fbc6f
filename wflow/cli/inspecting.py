"""Commands that look at files."""

import json
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import wflow as wf
from wflow.cli.printing import File, Json, Out, print_json, told, written
from wflow.errors import InputError

Format = StrEnum("Format", {"CSV": "csv", "NETCDF": "netcdf", "VTKHDF": "vtkhdf"})
HIDDEN = ("committed", "committed_steps", "storage", "fingerprint")


def info(file: File, as_json: Json = False) -> None:
    """Say what is in a file and what made it."""
    with told():
        found = _described(file)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        parts = {k: _short(v) for k, v in value.items()} if isinstance(value, dict) else {}
        typer.echo(f"{name + ':':<16} {', '.join(f'{k} {v}' for k, v in parts.items()) if parts else _short(value)}")


def _short(value: Any) -> Any:
    """A long list by its ends; JSON has it whole."""
    if isinstance(value, list) and len(value) > 12 and not isinstance(value[0], str):
        return f"[{', '.join(f'{x:g}' for x in value[:3])}, … {len(value)} in all …, {value[-1]:g}]"
    return value


def _described(file: Path) -> dict[str, Any]:
    with import_module("wflow.store").Reader(file, live=True) as reader:
        found: dict[str, Any] = {"file": str(file), "bytes": file.stat().st_size}
        attributes = reader.attributes
        found |= {"status": attributes.pop("status"), "frames": reader.frames}
        times, steps = reader.column("time"), reader.steps
        if len(times):
            found["time"] = [float(times[0]), float(times[-1])]
        found["steps"] = len(next(iter(steps.values()), ()))
        point = reader.checkpoint()
        if point is not None:
            found["checkpoint"] = {"steps": point.steps, "frames": point.frames}
        sizes = {name: reader.frame(name, 0).shape for name in reader.names} if reader.frames else {}
        dims = {name: reader.dims(name)[1:] for name in sizes}
        found["variables"] = {n: dict(zip(dims[n], shape, strict=True)) for n, shape in sizes.items() if shape}
        found["series"] = [name for name, shape in sizes.items() if not shape]
    for name, value in attributes.items():
        if name not in HIDDEN and value != "null":
            found[name] = value
            if isinstance(value, str) and value.startswith("{"):
                with suppress(ValueError):  # JSON is what the package writes, but any text may be there
                    found[name] = json.loads(value)
    return found


def verify(files: Annotated[list[Path], typer.Argument(show_default=False)], as_json: Json = False) -> None:
    """Look for damage; the exit code is 1 where there is any."""
    check: Callable[[Path], list[str]] = import_module("wflow.store").verify
    found = {str(file): check(file) for file in files}
    if as_json:
        print_json(found)
    else:
        for name, problems in found.items():
            typer.echo("\n".join(f"{name}: {text}" for text in problems or ["no damage found"]))
    raise typer.Exit(1 if any(found.values()) else 0)


def plot_file(file: File, out: Out = None, as_json: Json = False) -> None:
    """Draw a result as .png, .svg or .pdf."""
    target = file.with_suffix(".png") if out is None else out
    with told():
        wf.plot.result(wf.load(file, live=True), target)
    written([target], as_json)


def movie_file(
    file: File,
    out: Out = None,
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 15.0,
    most: Annotated[int, typer.Option(help="Pictures at most, chosen evenly.")] = 300,
    as_json: Json = False,
) -> None:
    """Make a movie of a result: .mp4 by ffmpeg, else .gif."""
    with told():
        make = import_module("wflow.plot.movies").movie
        made = make(wf.load(file, live=True), file.with_suffix(".mp4") if out is None else out, fps, most)
    written([made], as_json)


def compare_files(
    files: Annotated[list[Path], typer.Argument(help="Two or more; the first is the reference.", show_default=False)],
    plot: Annotated[Path | None, typer.Option(help="Draw W2, L1 and energies there.", show_default=False)] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw the last states over each other there.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold results against the first of them at their common times, of which more than 20 are printed as 12."""
    with told():
        if len(files) < 2:
            raise InputError("compare needs two or more files, got one")
        stems = [file.stem for file in files]
        names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
        first, second, *more = (wf.load(file, live=True) for file in files)
        compared = wf.compare(first, second, *more, names=names)
        if plot is not None:
            compared.plot(plot)
        if overlay is not None:
            compared.overlay(overlay)
    if as_json:
        verdicts = [
            vars(verdict) | {"agrees": verdict.agrees, "beyond": verdict.beyond} for verdict in compared.verdicts
        ]
        costs = dict(zip(compared.names, compared.costs, strict=True))
        print_json({"names": compared.names, "rows": compared.rows, "costs": costs, "verdicts": verdicts})
    else:
        typer.echo(str(compared))


def export_file(
    file: File, to: Annotated[Format, typer.Option(show_default=False)], out: Out = None, as_json: Json = False
) -> None:
    """Write a file in a format of other programs.

    csv has series only, a row to a frame and, in a second file, a row to a step: time, energy, what else is one
    number, and the coordinates of points, not densities or clouds. netcdf has everything; vtkhdf, for ParaView, the
    states.
    """
    with told():
        made = import_module("wflow.store.export").export(file, to.value, out)
    written(made, as_json)
