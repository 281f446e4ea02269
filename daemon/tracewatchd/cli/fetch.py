"""``tracewatchd archive fetch``: runs of project-days, from LangSmith into run files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Self

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    EndDay,
    Project,
    SinceLast,
    Source,
    StartDay,
    Verbose,
    WithAttachments,
)
from tracewatchd.cli.output import Output, console_on
from tracewatchd.cli.selecting import one_place, selection_of
from tracewatchd.cli.working import apart, counted, require_roots, settings_of
from tracewatchd.model.exits import Exit
from tracewatchd.model.fetching import FetchProgress, FetchResult
from tracewatchd.model.selection import Selection
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place

EXITS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FOUND: "done, but not all came: bad runs, feedback, attachments, or one of several days",
    Exit.USAGE: "wrong usage",
    Exit.PERMANENT: "LangSmith refused, or files cannot be written; retrying will not help",
    Exit.TRANSIENT: "gave up after retrying what usually heals; the same command goes on where it stopped",
    Exit.CONFIG: "the configuration cannot be used, or two projects would share a folder",
    Exit.INTERRUPTED: "interrupted twice",
}
_EXAMPLES = [
    "tracewatchd archive fetch --project support-bot --date 2026-11-20",
    "tracewatchd archive fetch --project support-bot --since-last",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "fetch", exits=EXITS, examples=_EXAMPLES)(fetch)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the options come to."""

    project: str
    selection: Selection
    since_last: bool
    source: str | None
    attachments: bool


def fetch(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    since_last: SinceLast = False,
    attachments: WithAttachments = True,
    source: Source = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Fetch runs with their feedback from LangSmith into run files; a day is the UTC day on which runs started.

    A file is replaced only when its run or its feedback changed. The files are the same whichever of LangSmith's APIs
    answers, and no database is needed.
    """
    selection = selection_of(project, day, start_date, end_date)
    if not project:
        raise typer.BadParameter("name one project", param_hint="--project")
    if since_last == (selection.first is not None or selection.last is not None):
        raise typer.BadParameter("name days, or say --since-last (but not both)", param_hint="--date")
    settings = settings_of(config)
    require_roots(settings, source)
    choice = _Choice(project, selection, since_last, source, attachments)
    result = apart(settings, partial(_fetch, choice=choice), verbose=verbose)
    _show(result, Output(as_json=as_json))
    return Exit.OK if result.is_whole else Exit.FOUND


async def _fetch(archiving: Archiving, *, choice: _Choice) -> FetchResult:
    from tracewatchd.archive.fetch_days import FetchDays  # noqa: PLC0415 - aiohttp takes a third of a second to import

    place = one_place(archiving, choice.source)
    project, folder = archiving.project_of(choice.project)
    days, renewed = _days(archiving, place, folder, choice)
    async with archiving.langsmith() as langsmith:
        with _Bar(len(days)) as bar:
            setting = archiving.fetch_setting(langsmith, place, attachments=choice.attachments, progress=bar.show)
            return await FetchDays(project, folder, setting).run(days, renewed)


def _days(
    archiving: Archiving, place: Place, folder: str, choice: _Choice
) -> tuple[Sequence[date], Mapping[date, Sequence[str]]]:
    """The days that are fetched wholly, and of earlier days the runs that had not ended."""
    today = datetime.now(UTC).date()
    if choice.since_last:
        return archiving.since_last(place, folder, today)
    first, last = choice.selection.first, choice.selection.last or today
    if first is None:
        raise typer.BadParameter("name the first day, too", param_hint="--start-date")
    if first > last:
        raise typer.BadParameter(f"{first} has not begun", param_hint="--start-date")
    return [first + timedelta(days=number) for number in range((last - first).days + 1)], {}


class _Bar:
    """Progress with rate, requests left and time left on a terminal, nothing elsewhere."""

    def __init__(self, days: int) -> None:
        columns = (
            TextColumn("fetching {task.fields[day]}"),
            BarColumn(),
            TextColumn("{task.fields[runs]} runs, {task.fields[rate]} runs/s, {task.fields[left]} requests free"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console_on(sys.stderr), disable=not sys.stderr.isatty())
        self._task = self._progress.add_task("days", total=max(days, 1), day="", runs=0, rate="-", left="-")
        self._day: date | None = None
        self._days_done = 0
        self._runs_done = 0
        self._runs = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, progress: FetchProgress) -> None:
        """Show how far a day is."""
        if self._day not in {None, progress.day}:
            self._days_done += 1
            self._runs_done += self._runs
        self._day, self._runs = progress.day, progress.runs
        runs = self._runs_done + progress.runs
        elapsed_s = self._progress.tasks[0].elapsed or 0.0
        self._progress.update(
            self._task,
            completed=self._days_done + progress.share,
            day=progress.day,
            runs=runs,
            rate=f"{runs / elapsed_s:.0f}" if elapsed_s else "-",
            left=progress.left,
        )


def _show(result: FetchResult, out: Output) -> None:
    counts = {name: count for name, count in asdict(result).items() if isinstance(count, int)}
    files = {name: counts[name] for name in ("written", "replaced", "unchanged")}
    rest = {name: count for name, count in counts.items() if name not in {*files, "days", "requests"}}
    out.line(f"{result.runs} runs of {result.days} day{'s' * (result.days != 1)}: {counted(files)}")
    out.line(f"{counted(rest)}; {result.requests} requests in {result.took_s:.1f} s")
    if result.pending:
        out.line("pending: these runs had not ended; --since-last fetches them again")
    if result.feedback_not_fetched:
        out.line("feedback not fetched: the files say so; the same command fetches it")
    if result.errors:
        out.line("errors: these runs cannot become files; each day's _errors.json says why")
    for sentence in result.failed:
        out.line(f"failed: {sentence}")
    out.data({"runs": result.runs, **asdict(result)})
