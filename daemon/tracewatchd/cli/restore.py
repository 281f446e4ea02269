"""``tracewatchd archive restore``: a project-day's files back from its zip."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from tracewatchd.archive.pack import zip_path
from tracewatchd.archive.steps import GoOn, in_thread
from tracewatchd.cli.command import command
from tracewatchd.cli.options import AsJson, ConfigFile, Day, DryRun, Project, RestoreFrom, Source, Verbose
from tracewatchd.cli.output import Output
from tracewatchd.cli.selecting import one_place, selection_of
from tracewatchd.cli.steps_bar import StepsBar
from tracewatchd.cli.working import apart, counted, require_roots, settings_of
from tracewatchd.edges.writing import remove_file
from tracewatchd.model.exits import LOADING, Exit
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.zips import RestoreKind, RestoreResult
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place

_EXAMPLES = ["tracewatchd archive restore --project support-bot --date 2026-11-20 --dry-run"]
_EXITS = {
    Exit.OK: "done; files that are newer than those of the zip, or cannot be compared, are left and told",
    Exit.FOUND: "interrupted once",
    Exit.USAGE: "wrong usage",
    Exit.POISON: "the zip is damaged, hostile, or no zip of ours; nothing was touched",
    Exit.PERMANENT: "there is no such zip, it is another day's, or files cannot be written; retrying will not help",
    Exit.TRANSIENT: "the disk is full or failing, Drive does not answer, or another process restores the day",
    Exit.CONFIG: LOADING[Exit.CONFIG],
    Exit.INTERRUPTED: LOADING[Exit.INTERRUPTED],
}
_DRIVE = "drive"
_LEFT_SHOWN = 20
"""Files that were left are named up to this number; --json names all."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the options come to."""

    day: ProjectDay
    origin: str | None
    dry_run: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "restore", exits=_EXITS, examples=_EXAMPLES)(restore)


def restore(
    project: Project = None,
    day: Day = None,
    origin: RestoreFrom = None,
    source: Source = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Bring the files of one project-day back from its zip, with their times.

    All of the zip is checked before anything is touched. A file that is there in a newer version stays, and so does one
    that differs and has the same age: to have the zip's, move it away first.
    """
    folder = selection_of(project, day, None, None).folder
    if folder is None or day is None:
        raise typer.BadParameter("name the project-day to restore", param_hint="--date" if project else "--project")
    settings = settings_of(config)
    require_roots(settings, source)
    choice = _Choice(ProjectDay(folder, day), origin, dry_run)
    result = apart(settings, partial(_restore, source=source, choice=choice), verbose=verbose)
    _show(result, Output(as_json=as_json))
    return Exit.OK


async def _restore(archiving: Archiving, *, source: str | None, choice: _Choice) -> RestoreResult:
    place = one_place(archiving, source)
    async with _zip(archiving, choice) as path:
        with StepsBar() as bar:
            work = partial(_one, archiving, place, choice, path)
            return await in_thread(work, bar.part(choice.day.directory))


def _one(archiving: Archiving, place: Place, choice: _Choice, path: Path, go_on: GoOn) -> RestoreResult:
    return archiving.restoring(place).carry_out(choice.day, path, go_on, dry_run=choice.dry_run)


@asynccontextmanager
async def _zip(archiving: Archiving, choice: _Choice) -> AsyncIterator[Path]:
    """Where the zip lies. One from Drive is kept until it was restored, so that a download is never for nothing."""
    if choice.origin != _DRIVE:
        yield Path(choice.origin) if choice.origin else zip_path(archiving.zip_dir, choice.day)
        return
    fetched = zip_path(archiving.state_dir / "from-drive", choice.day)
    async with archiving.drive() as drive:
        await drive.fetch_zip(choice.day, fetched)
    yield fetched
    remove_file(fetched)


def _show(result: RestoreResult, out: Output) -> None:
    counts = {kind.value: getattr(result, kind.value) for kind in RestoreKind}
    prefix = "nothing was done; " if result.dry_run else ""
    out.line(f"{result.project}/{result.date}: {result.files} files in {result.zip}: {prefix}{counted(counts)}")
    for name, kind in list(result.left.items())[:_LEFT_SHOWN]:
        out.line(f"  left, {_WHY[kind]}: {name}")
    if len(result.left) > _LEFT_SHOWN:
        out.line(f"  and {len(result.left) - _LEFT_SHOWN} more")
    out.data(result)


_WHY = {
    RestoreKind.OLDER: "the file there is newer",
    RestoreKind.DIFFERENT: "the file there is another, and not older",
}
