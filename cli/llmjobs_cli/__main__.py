"""``llmjobs``, also installed as ``kubectl-llmjobs``."""

from importlib.metadata import version as package_version
from typing import Annotated

import typer

from llmjobs_cli.dev_commands import dev

app = typer.Typer(
    name="llmjobs",
    help="Long-running LLM jobs on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(dev, name="dev")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(package_version("llmjobs"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
