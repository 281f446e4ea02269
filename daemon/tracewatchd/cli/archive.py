"""``tracewatchd archive``: one project-day at a time, here from files into the database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tracewatchd.archive.load import Load, LoadProgress, find
from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import (
    AsJson,
    BatchSize,
    ConfigFile,
    Day,
    DryRun,
    EndDay,
    Everything,
    Overwrite,
    Project,
    Source,
    StartDay,
    Verbose,
)
from tracewatchd.cli.output import Output, console_on
from tracewatchd.cli.selecting import selection_of
from tracewatchd.cli.working import counted, places_of, settings_of, work
from tracewatchd.model.exits import LOADING, Exit
from tracewatchd.model.results import LoadResult
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.service.assemble import Assembly, Place

app = group("Archive commands for project-days.")

_EXAMPLES = [
    "tracewatchd archive to-db --all",
    "tracewatchd archive to-db --start-date 2026-11-01 --end-date 2026-11-30 --overwrite",
]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the options of ``to-db`` come to."""

    source: str | None
    selection: Selection
    batch_rows: int | None
    overwrite: bool
    dry_run: bool


@command(app, "to-db", exits=LOADING, examples=_EXAMPLES)
def to_db(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    everything: Everything = False,
    source: Source = None,
    batch_size: BatchSize = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Load run files into the database.

    Without --overwrite rows are only added: files whose run is there in an older version are counted as left and stay
    pending. With it the newest version wins, as in the daemon.
    """
    selection = selection_of(project, day, start_date, end_date)
    if everything != (selection == EVERYTHING):
        raise typer.BadParameter("name a project or days, or say --all (but not both)", param_hint="--all")
    settings = settings_of(config)
    choice = _Choice(source, selection, batch_size, overwrite, dry_run)
    result = work(settings, partial(_load, choice=choice), create=not dry_run, migrate=not dry_run, verbose=verbose)
    _show(result, Output(as_json=as_json), dry_run=dry_run)
    failed = result.quarantined or result.unreadable or (result.pending and not dry_run)
    return Exit.FOUND if failed else Exit.OK


async def _load(assembly: Assembly, *, choice: _Choice) -> LoadResult:
    total = LoadResult()
    with _progress() as progress:
        for place in places_of(assembly, choice.source):
            _add(total, await _load_one(assembly, place, choice, progress))
    return total


async def _load_one(
    assembly: Assembly, place: Place, choice: _Choice, progress: Callable[[LoadProgress], None]
) -> LoadResult:
    directories, ignored = await assembly.offload(partial(find, place.folder, choice.selection))
    load = Load(place.folder, directories, offload=assembly.offload)
    load.result.ignored = ignored
    if choice.dry_run:
        return await load.foresee(place.source, assembly.database, assembly.rules())
    line = assembly.line(place, batch_rows=choice.batch_rows, overwrite=choice.overwrite)
    return await load.run(line, progress)


def _add(total: LoadResult, more: LoadResult) -> None:
    for field in fields(LoadResult):
        setattr(total, field.name, getattr(total, field.name) + getattr(more, field.name))


@contextmanager
def _progress() -> Iterator[Callable[[LoadProgress], None]]:
    """A progress bar with rate and time left on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        TextColumn("loading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} files/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console_on(sys.stderr)) as bar:
        task = bar.add_task("files", total=None, rate="-")

        def show(progress: LoadProgress) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, total=progress.found, completed=progress.done, rate=f"{speed:.0f}" if speed else "-")

        yield show


def _show(result: LoadResult, out: Output, *, dry_run: bool) -> None:
    counts = asdict(result)
    said = counted({name: count for name, count in counts.items() if name != "ignored"})
    prefix = "would be offered as pending, nothing was done: " if dry_run else ""
    out.line(f"{result.files} run files: {prefix}{said}; {result.ignored} other entries ignored")
    if result.left:
        out.line("left: an older version of the run is in the database; --overwrite replaces it")
    if result.quarantined or result.already_quarantined:
        out.line("quarantined: `tracewatchd quarantine list` says why for each")
    out.data({"files": result.files, **counts})
