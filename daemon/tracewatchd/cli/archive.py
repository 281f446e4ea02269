"""``tracewatchd archive``: one project-day at a time, here from files into the database."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import NamedTuple, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tracewatchd.archive.load import Load, LoadProgress, find
from tracewatchd.cli import drive, fetch, fixes, full_sweep, restore, status, upload, verify, zipping
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
from tracewatchd.cli.selecting import chosen_days, require_project
from tracewatchd.cli.working import GentleStop, counted, places_of, require_roots, settings_of, work
from tracewatchd.edges.folder import Outline, UnreadableError
from tracewatchd.model.exits import LOADING, Exit
from tracewatchd.model.results import LoadResult
from tracewatchd.model.selection import Selection
from tracewatchd.service.assemble import Assembly, Place

app = group("Archive commands for project-days.")
app.add_typer(fixes.app, name="fixes")
app.add_typer(drive.app, name="drive")
fetch.register(app)
upload.register(app)
zipping.register(app)
restore.register(app)
full_sweep.register(app)
status.register(app)
verify.register(app)


def register(program: typer.Typer) -> None:
    """Add the group."""
    program.add_typer(app, name="archive")


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
    stop: GentleStop = field(default_factory=GentleStop)


class _Tour(NamedTuple):
    """What is to be loaded of one root."""

    place: Place
    found: Outline


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
    selection = chosen_days(project, day, start_date, end_date, everything=everything)
    settings = settings_of(config)
    require_roots(settings, source)
    choice = _Choice(source, selection, batch_size, overwrite, dry_run)
    load = partial(_load, choice=choice)
    result = work(settings, load, create=not dry_run, migrate=not dry_run, verbose=verbose, stop=choice.stop)
    _show(result, Output(as_json=as_json), choice)
    failed = result.quarantined or result.unreadable or (result.pending and not dry_run) or choice.stop.times_asked
    return Exit.FOUND if failed else Exit.OK


async def _load(assembly: Assembly, *, choice: _Choice) -> LoadResult:
    places = places_of(assembly, choice.source)
    tours = [await _plan(assembly, place, choice.selection) for place in places]
    await require_project(assembly, places, choice.selection)
    if not choice.dry_run:
        await assembly.claim(places)
    total = LoadResult()
    with _Bar() as bar:
        for tour in tours:
            if bar.is_shown:
                bar.expect(await assembly.offload(partial(_count, tour)))
        for tour in tours:
            _add(total, await _load_one(assembly, tour, choice, bar))
    return total


async def _plan(assembly: Assembly, place: Place, selection: Selection) -> _Tour:
    return _Tour(place, await assembly.offload(partial(find, place.folder, selection)))


async def _load_one(assembly: Assembly, tour: _Tour, choice: _Choice, bar: _Bar) -> LoadResult:
    place = tour.place
    load = Load(place.source, place.folder, tour.found, offload=assembly.offload, tell=assembly.tell)
    if choice.dry_run:
        return await load.foresee(assembly.database, assembly.rules())
    line = choice.stop.on(assembly.line(place, batch_rows=choice.batch_rows, overwrite=choice.overwrite))
    return await load.run(line, bar.part())


def _add(total: LoadResult, more: LoadResult) -> None:
    for count in fields(LoadResult):
        setattr(total, count.name, getattr(total, count.name) + getattr(more, count.name))


def _count(tour: _Tour) -> int:
    """Run files of a tour; what cannot be listed is told by the load itself."""
    files = 0
    for directory in tour.found.directories:
        with suppress(UnreadableError):
            files += len(tour.place.folder.survey(directory).names)
    return files


class _Bar:
    """A progress bar with rate and time left on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty()
        columns = (
            TextColumn("loading"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} files/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console_on(sys.stderr), disable=not self.is_shown)
        self._task = self._progress.add_task("files", total=0, rate="-")
        self._expected = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def expect(self, files: int) -> None:
        """So many more files will come."""
        self._expected += files
        self._progress.update(self._task, total=self._expected)

    def part(self) -> Callable[[LoadProgress], None]:
        """What shows the progress of the next load, on top of what is done already."""
        task = self._progress.tasks[0]
        before = task.completed

        def show(progress: LoadProgress) -> None:
            rate = f"{task.speed:.0f}" if task.speed else "-"
            total = max(self._expected, before + progress.found)
            self._progress.update(self._task, total=total, completed=before + progress.done, rate=rate)

        return show


def _show(result: LoadResult, out: Output, choice: _Choice) -> None:
    counts = asdict(result)
    said = counted({name: count for name, count in counts.items() if name != "ignored"})
    prefix = "would be offered as pending, nothing was done: " if choice.dry_run else ""
    out.line(f"{result.files} run files: {prefix}{said}; {result.ignored} other entries ignored")
    if not result.files:
        out.line("nothing to load: no run file lies in the project-days that were named")
    if choice.stop.times_asked:
        out.line(f"interrupted: {result.pending} files were left; the same command takes them up")
    if result.left:
        out.line("left: an older version of the run is in the database; --overwrite replaces it")
    if result.quarantined or result.already_quarantined:
        out.line("quarantined: `tracewatchd quarantine list` says why for each")
    out.data({"files": result.files, **counts})
