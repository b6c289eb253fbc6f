"""What commands share: how they take files and how they speak."""

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from wflow.errors import FileError, InputError, InterruptionWarning, RunWarning

File = Annotated[Path, typer.Argument(help="A result file (.h5).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option(help="Where to write; without it beside the file.", show_default=False)]
INTERRUPTED = 130


@contextmanager
def told() -> Iterator[None]:
    """Bad input and bad files are one line on the error stream and exit code 1, not a traceback; an interrupted run
    ends the command, not only the run, with exit code 130. Warnings are a line each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", RunWarning)
            warnings.simplefilter("error", InterruptionWarning)
            warnings.showwarning = _say  # type: ignore[assignment]
            yield
    except (InputError, FileError) as error:
        typer.echo(f"wflow: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("wflow: interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except InterruptionWarning as warning:
        typer.echo(f"wflow: {warning}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _say(message: Warning | str, category: type[Warning], *rest: Any) -> None:
    typer.echo(f"wflow: {message}", err=True)


def print_json(value: Any) -> None:
    """Print a value as JSON; a number that is not finite is null."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def written(paths: list[Path], as_json: bool) -> None:
    """Say what has been written."""
    if as_json:
        print_json({"written": paths})
    else:
        typer.echo("\n".join(map(str, paths)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
