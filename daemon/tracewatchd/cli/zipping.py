"""``tracewatchd archive zip``: project-days into zips."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import NamedTuple

import typer

from tracewatchd.archive.load import find
from tracewatchd.archive.steps import GoOn, in_thread
from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    DryRun,
    EndDay,
    Everything,
    Project,
    Source,
    StartDay,
    Verbose,
)
from tracewatchd.cli.output import Output, note
from tracewatchd.cli.selecting import chosen_days, require_folder
from tracewatchd.cli.steps_bar import StepsBar
from tracewatchd.cli.working import apart, require_roots, settings_of
from tracewatchd.model.errors import TracewatchError
from tracewatchd.model.exits import LOADING, Exit
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.model.zips import ZipOutcome, ZipResult
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place

_EXAMPLES = [
    "tracewatchd archive zip --project support-bot --date 2026-11-20",
    "tracewatchd archive zip --all --dry-run",
]
_EXITS = {
    Exit.OK: "done; a day whose zip is there already, or that has no files, is done",
    Exit.FOUND: "done, but a day of several could not be zipped, or interrupted once",
    Exit.USAGE: "wrong usage",
    Exit.PERMANENT: "a file cannot be read or not be zipped, or the zip not be written; retrying will not help",
    Exit.TRANSIENT: "the day changed while it was read, the disk is full, a root is not there, or another zips the day",
    Exit.CONFIG: LOADING[Exit.CONFIG],
    Exit.INTERRUPTED: LOADING[Exit.INTERRUPTED],
}


@dataclass(frozen=True, slots=True)
class _Failure:
    """A day that could not be zipped while others went on; without a day, a whole project's folder."""

    project: str
    date: date | None
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Report:
    """What became of every selected day."""

    zips: list[ZipResult] = field(default_factory=list)
    failed: list[_Failure] = field(default_factory=list)


class _Found(NamedTuple):
    """The selected project-days, each with its root, and what cannot be looked into."""

    days: Mapping[ProjectDay, Place]
    unreadable: list[_Failure]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "zip", exits=_EXITS, examples=_EXAMPLES)(zip_days)


def zip_days(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    everything: Everything = False,
    source: Source = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Zip project-days, each with a manifest that tells every file's sha256.

    The same files give the same zip. One that is there with the same files is read back and left as it is.
    """
    selection = chosen_days(project, day, start_date, end_date, everything=everything)
    settings = settings_of(config)
    require_roots(settings, source)
    report = apart(settings, partial(_zip, source=source, selection=selection, dry_run=dry_run), verbose=verbose)
    _show(report, Output(as_json=as_json))
    return Exit.FOUND if report.failed else Exit.OK


async def _zip(archiving: Archiving, *, source: str | None, selection: Selection, dry_run: bool) -> _Report:
    places = [place for place in archiving.places if source in {None, place.source}]
    found = await asyncio.to_thread(_find, places, selection)
    report = _Report(failed=found.unreadable)
    with StepsBar() as bar:
        for day, place in found.days.items():
            work = partial(_one, archiving, place, day, dry_run=dry_run)
            try:
                report.zips.append(await in_thread(work, bar.part(day.directory)))
            except TracewatchError as error:
                if len(found.days) == 1:
                    raise
                report.failed.append(_Failure(day.folder, day.day, str(error), error.hint))
    return report


def _one(archiving: Archiving, place: Place, day: ProjectDay, go_on: GoOn, *, dry_run: bool) -> ZipResult:
    return archiving.packing(place).carry_out(day, go_on, dry_run=dry_run)


def _find(places: Sequence[Place], selection: Selection) -> _Found:
    """What is selected in these roots.

    Raises:
        NotCheckedError: a root cannot be listed.
        BadParameter: no root has the project, or several have the same day.
    """
    holders: defaultdict[ProjectDay, list[Place]] = defaultdict(list)
    folders: set[str] = set()
    unreadable: list[_Failure] = []
    for place in places:
        outline = find(place.folder, EVERYTHING)
        folders |= outline.projects | outline.unreadable.keys() | {one.partition("/")[0] for one in outline.directories}
        unreadable += [
            _Failure(folder, None, f"it cannot be read: {cause}", "give the user of this command permission to read it")
            for folder, cause in outline.unreadable.items()
            if selection.folder in {None, folder}
        ]
        for directory in filter(selection.covers, outline.directories):
            folder, _, day = directory.partition("/")
            holders[ProjectDay(folder, date.fromisoformat(day))].append(place)
    require_folder(selection.folder, folders)
    return _Found({day: _only(day, holding) for day, holding in sorted(holders.items())}, unreadable)


def _only(day: ProjectDay, holding: Sequence[Place]) -> Place:
    """The one root that has a day: a zip of it can be of one alone."""
    if len(holding) > 1:
        roots = ", ".join(place.source for place in holding)
        raise typer.BadParameter(
            f"{day.directory} lies in several roots, and can have one zip: {roots}", param_hint="--source"
        )
    return holding[0]


def _show(report: _Report, out: Output) -> None:
    for one in report.zips:
        out.line(f"{one.project}/{one.date}: {_said(one)}")
        if one.damaged:
            out.line(f"  the zip that was there is damaged: {one.damaged}")
    for failed in report.failed:
        place = f"{failed.project}/{failed.date}" if failed.date else failed.project
        note(f"error: {place}: {failed.error}")
        if failed.hint:
            note(f"hint: {failed.hint}")
    if not report.zips and not report.failed:
        out.line("nothing to zip: no run file lies in the project-days that were named")
    out.data(report)


def _said(one: ZipResult) -> str:
    held = f"{one.run_files} run files" + (f" and {one.attachments} attachments" if one.attachments else "")
    match one.outcome:
        case ZipOutcome.NOTHING:
            return "no files, nothing to zip"
        case ZipOutcome.PLANNED:
            return f"would be zipped: {held}, {one.size_bytes} bytes; nothing was done"
        case ZipOutcome.UNCHANGED:
            return f"unchanged, {one.path} holds its {held} and is whole"
        case ZipOutcome.WRITTEN:
            return f"{held} zipped into {one.path}, {one.zip_bytes} of {one.size_bytes} bytes"
