"""The console script: every group of commands under one name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from tracewatchd import __version__
from tracewatchd.cli.command import group
from tracewatchd.cli.output import accept_any_text

_ABOUT = "Every LangSmith run file on disk is a row in Postgres, and there is a proof."
_PARTS = ("run", "status", "health", "reconcile", "sample", "archive", "traces", "quarantine", "db", "config", "doctor")
"""The words that may come first, each a module beside this one."""
_MODULES = {"status": "standing"}
"""The module where it is called otherwise than the word: ``status`` is that of `archive status`."""


def program(words: Sequence[str] = ()) -> typer.Typer:
    """The program; where the first word names a part of it that part alone, as each takes time to import and build."""
    app = group(_ABOUT)
    app.callback(context_settings={"help_option_names": ["-h", "--help"]})(_root)
    for part in [word for word in words[:1] if word in _PARTS] or _PARTS:
        import_module(f"tracewatchd.cli.{_MODULES.get(part, part)}").register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tracewatchd {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Every LangSmith run file on disk is a row in Postgres, and there is a proof."""


def main() -> None:
    """Run the command that the arguments name and exit with its status."""
    accept_any_text()
    program(sys.argv[1:])(prog_name="tracewatchd")


if __name__ == "__main__":
    main()
