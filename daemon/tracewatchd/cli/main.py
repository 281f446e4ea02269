"""The console script: every group of commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from tracewatchd import __version__
from tracewatchd.cli import archive, config, db, quarantine, reconcile, run, sample, verify
from tracewatchd.cli.command import group
from tracewatchd.cli.output import accept_any_text

app = group("Every LangSmith run file on disk is a row in Postgres, and there is a proof.")
run.register(app)
reconcile.register(app)
sample.register(app)
verify.register(archive.app)
app.add_typer(archive.app, name="archive")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(db.app, name="db")
app.add_typer(config.app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tracewatchd {__version__}")
        raise typer.Exit


@app.callback(context_settings={"help_option_names": ["-h", "--help"]})
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Every LangSmith run file on disk is a row in Postgres, and there is a proof."""


def main() -> None:
    """Run the command that the arguments name and exit with its status."""
    accept_any_text()
    app(prog_name="tracewatchd")


if __name__ == "__main__":
    main()
