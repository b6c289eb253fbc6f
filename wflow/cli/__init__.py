"""The commands: `wflow COMMAND --help`. Heavy libraries are loaded by the command that needs them."""

from typing import Annotated

import typer

import wflow as wf
from wflow.cli import inspecting, running

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"wflow {wf.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Wasserstein gradient flows: run experiments, look at their files, compare them."""


app.command()(running.experiments)
app.command(context_settings={**PASSED_ON, "help_option_names": []})(running.run)
app.command()(running.resume)
app.command()(inspecting.info)
app.command()(inspecting.verify)
app.command("plot")(inspecting.plot_file)
app.command("movie")(inspecting.movie_file)
app.command("compare")(inspecting.compare_files)
app.command("export")(inspecting.export_file)
app.command(context_settings=PASSED_ON)(running.converge)


def main() -> None:
    """The entry point of the command `wflow`."""
    app()
