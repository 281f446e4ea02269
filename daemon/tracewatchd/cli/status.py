"""``tracewatchd archive status``: which project-days are where, and which are proved to be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import AsJson, ConfigFile, Day, EndDay, Project, Source, StartDay, Verbose
from tracewatchd.cli.output import Output
from tracewatchd.cli.selecting import selection_of
from tracewatchd.cli.working import apart, require_roots, settings_of
from tracewatchd.model.day_status import DayStatus
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.model.selection import Selection
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.day_statuses import DayStatuses, Told
from tracewatchd.service.late import LateAssembly

_EXAMPLES = ["tracewatchd archive status", "tracewatchd archive status --project support-bot --json"]
_EXITS = {**CHECKING, Exit.OK: "every place was asked", Exit.NOT_CHECKED: "a place could not be asked"}
_EXITS.pop(Exit.FOUND)
_DIGITS = 12
"""Hexadecimal digits of a day digest that people are shown."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "status", exits=_EXITS, examples=_EXAMPLES)(status)


def status(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    source: Source = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Say of every project-day where it is, whether that is certified, and what LangSmith will soon delete.

    Nothing is read but names, stamps and manifests: a certificate is told as outdated when anything may have changed.
    """
    selection = selection_of(project, day, start_date, end_date)
    settings = settings_of(config)
    require_roots(settings, source)
    told = apart(settings, partial(_ask, source=source, selection=selection), verbose=verbose)
    _show(told, Output(as_json=as_json))
    return Exit.NOT_CHECKED if told.unchecked else Exit.OK


async def _ask(archiving: Archiving, *, source: str | None, selection: Selection) -> Told:
    together = Told()
    async with LateAssembly(archiving, create=False) as database:
        for place in archiving.places:
            if source in {None, place.source}:
                told = await DayStatuses(archiving, place, database, selection).ask()
                together.days += told.days
                together.unchecked += told.unchecked
    return together


def _show(told: Told, out: Output) -> None:
    if told.days:
        out.table(("day", "files", "zip", "drive", "db", "certificate", "upstream"), _rows(told.days))
    else:
        out.line("no project-day is anywhere")
    for sentence in told.unchecked:
        out.line(f"not checked: {sentence}")
    out.data(told)


def _rows(days: Sequence[DayStatus]) -> list[tuple[str, ...]]:
    return [
        (
            day.directory,
            str(day.files or "-"),
            (day.zip or "-")[:_DIGITS],
            (day.drive or "-")[:_DIGITS],
            "loaded" if day.in_db else "-",
            day.standing.replace("_", " "),
            "" if day.days_left is None else f"deleted in {day.days_left} days",
        )
        for day in days
    ]
