"""The commands: `wflow COMMAND --help`. Heavy libraries are loaded by the command that needs them."""

import typer

from wflow.cli import inspecting, running

app = typer.Typer(
    help="Wasserstein gradient flows: run experiments, look at their files, compare them.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

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
