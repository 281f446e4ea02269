"""``tracewatchd archive upload``: zips of project-days to Google Drive."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Self

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tracewatchd.archive.zipped import zipped_days
from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    DryRun,
    EndDay,
    Everything,
    Force,
    Project,
    StartDay,
    Verbose,
)
from tracewatchd.cli.output import Output, console_on, note
from tracewatchd.cli.selecting import chosen_days, require_folder
from tracewatchd.cli.working import apart, settings_of
from tracewatchd.model.drive import TransferProgress, UploadResult
from tracewatchd.model.errors import TracewatchError
from tracewatchd.model.exits import Exit
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.service.archiving import Archiving

EXITS = {
    Exit.OK: "each selected day that has a zip is on Drive",
    Exit.FOUND: "a day of several could not be uploaded, or interrupted; the same command goes on",
    Exit.USAGE: "wrong usage",
    Exit.POISON: "the one zip that was named is damaged",
    Exit.PERMANENT: "Drive or the disk will not let us (credentials, permissions, quota); retrying will not help",
    Exit.TRANSIENT: "gave up after retrying what usually heals; the same command goes on from there",
    Exit.CONFIG: "the configuration or the credentials cannot be used",
    Exit.INTERRUPTED: "interrupted twice",
}

_EXAMPLES = [
    "tracewatchd archive upload --project support-bot --date 2026-11-20",
    "tracewatchd archive upload --all --dry-run",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "upload", exits=EXITS, examples=_EXAMPLES)(upload)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A day that could not be uploaded while others went on."""

    project: str
    day: date
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Report:
    """What became of every selected day."""

    uploads: list[UploadResult] = field(default_factory=list)
    failed: list[_Failure] = field(default_factory=list)


def upload(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    everything: Everything = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Bring zips of project-days to Google Drive, and compare what Drive then has.

    A day that Drive holds already is not sent again. What was broken off goes on from where it stopped.
    """
    selection = chosen_days(project, day, start_date, end_date, everything=everything)
    do = partial(_upload, selection=selection, force=force, dry_run=dry_run)
    report = apart(settings_of(config), do, verbose=verbose)
    _show(report, Output(as_json=as_json), dry_run=dry_run)
    return Exit.FOUND if report.failed else Exit.OK


async def _upload(archiving: Archiving, *, selection: Selection, force: bool, dry_run: bool) -> _Report:
    days = zipped_days(archiving.zip_dir, selection)
    if not days:
        there = (day.folder for day in zipped_days(archiving.zip_dir, EVERYTHING))
        require_folder(selection.folder, there, f"{archiving.zip_dir} has no zips of a project")
        return _Report()
    async with archiving.drive() as drive:
        with _Bar() as bar:
            uploads = archiving.upload(drive)
            if dry_run:
                return await _each(days, partial(uploads.foresee, force=force))
            return await _each(days, lambda day: uploads.carry_out(day, force=force, progress=bar.part(day.directory)))


async def _each(days: Sequence[ProjectDay], do: Callable[[ProjectDay], Awaitable[UploadResult]]) -> _Report:
    """Do it for every day; of several one that fails does not stop the others."""
    report = _Report()
    for day in days:
        try:
            report.uploads.append(await do(day))
        except TracewatchError as error:
            if len(days) == 1:
                raise
            report.failed.append(_Failure(day.folder, day.day, str(error), error.hint))
    return report


class _Bar:
    """The progress of one upload with rate and time left, on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console_on(sys.stderr), disable=not sys.stderr.isatty())
        self._task = self._progress.add_task("upload", total=None, visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def part(self, name: str) -> Callable[[TransferProgress], None]:
        """What shows how far the next upload is."""
        self._progress.reset(self._task, description=name, total=None, visible=False)

        def show(so_far: TransferProgress) -> None:
            self._progress.update(self._task, total=so_far.size_bytes, completed=so_far.done_bytes, visible=True)

        return show


def _show(report: _Report, out: Output, *, dry_run: bool) -> None:
    for one in report.uploads:
        out.line(f"{one.project}/{one.day}: {_said(one, dry_run=dry_run)}")
        if one.duplicates:
            out.line(f"  other files on Drive say that they are this day's zip: {', '.join(one.duplicates)}")
    for failed in report.failed:
        note(f"error: {failed.project}/{failed.day}: {failed.error}")
        if failed.hint:
            note(f"hint: {failed.hint}")
    if not report.uploads and not report.failed:
        out.line("nothing to upload: no zip of the project-days that were named; `tracewatchd archive zip` makes them")
    out.data(report)


def _said(one: UploadResult, *, dry_run: bool) -> str:
    if one.what == "unchanged":
        return f"unchanged, Drive holds it already (file {one.file_id})"
    if dry_run:
        return f"would be {one.what}, {one.size_bytes} bytes; nothing was done"
    resumed = f", going on after {one.resumed_at_bytes}" if one.resumed_at_bytes else ""
    return f"{one.what}, {one.sent_bytes} of {one.size_bytes} bytes sent{resumed} (file {one.file_id})"
