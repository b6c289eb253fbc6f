"""Commands as the tests call them."""

from typer.testing import CliRunner

from wflow.cli import app


def call(*arguments):
    """The answer of `wflow` to arguments, with `exit_code`, `stdout` and `stderr`."""
    return CliRunner().invoke(app, [str(a) for a in arguments])
