"""Asking before something is done that takes away what no file holds."""

from __future__ import annotations

import sys

import typer

from tracewatchd.cli.output import note


def consented(question: str, *, yes: bool) -> bool:
    """Whether to go on: ``yes`` says so beforehand, else whoever sits at the terminal is asked.

    Raises:
        BadParameter: nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "there is no terminal to ask on; say --yes to do it without asking", param_hint="--yes"
        )
    answer = typer.confirm(question, err=True)
    if not answer:
        note("nothing was done")
    return answer
