"""``tracewatchd archive full-sweep``: project-days from LangSmith into files, zip, Drive and database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Self

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tracewatchd.archive.whole_day import WholeDay
from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    DryRun,
    EndDay,
    Everything,
    Project,
    Resume,
    SkipDb,
    SkipFetch,
    SkipUpload,
    SkipZip,
    Source,
    StartDay,
    Verbose,
)
from tracewatchd.cli.output import Output, console_on
from tracewatchd.cli.selecting import one_place, selection_of
from tracewatchd.cli.working import apart, counted, require_roots, settings_of
from tracewatchd.model.exits import LOADING, Exit
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.selection import Selection
from tracewatchd.model.whole_day import FullSweepResult, Step, StepResult
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place
from tracewatchd.service.day_verbs import DayVerbs
from tracewatchd.service.late import LateAssembly

_DAYS_AT_ONCE = 2
_EXAMPLES = [
    "tracewatchd archive full-sweep --project support-bot --date 2026-11-20",
    "tracewatchd archive full-sweep --project support-bot --date 2026-11-20 --resume --skip-upload",
]
_EXITS = {
    **LOADING,
    Exit.OK: "every step that was asked for is done on every day",
    Exit.FOUND: "a step failed or was not possible, or interrupted once; what is done is kept",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "full-sweep", exits=_EXITS, examples=_EXAMPLES)(full_sweep)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the options come to."""

    project: str | None
    selection: Selection
    source: str | None
    steps: frozenset[Step]
    resume: bool
    dry_run: bool


def full_sweep(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    everything: Everything = False,
    skip_fetch: SkipFetch = False,
    skip_zip: SkipZip = False,
    skip_upload: SkipUpload = False,
    skip_db: SkipDb = False,
    resume: Resume = False,
    dry_run: DryRun = False,
    source: Source = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Fetch, zip, upload and load project-days; a step that fails stops only those that need it.

    With --all every project of the setting retention.projects, from its first day on unless days are named. Doing it
    again does what is left; --resume does not ask LangSmith again for days that were fetched whole.
    """
    selection = selection_of(None, day, start_date, end_date)
    if everything == (project is not None):
        raise typer.BadParameter("name one project, or say --all (but not both)", param_hint="--project")
    if project is not None and selection.first is None:
        raise typer.BadParameter("name a day, or the first one with --start-date", param_hint="--date")
    settings = settings_of(config)
    require_roots(settings, source)
    skipped = {Step.FETCH: skip_fetch, Step.ZIP: skip_zip, Step.UPLOAD: skip_upload, Step.TO_DB: skip_db}
    steps = frozenset(step for step, is_skipped in skipped.items() if not is_skipped)
    choice = _Choice(project, selection, source, steps, resume, dry_run)
    results = apart(settings, partial(_sweep, choice=choice), verbose=verbose)
    _show(results, Output(as_json=as_json))
    return Exit.OK if all(result.is_whole for result in results) else Exit.FOUND


async def _sweep(archiving: Archiving, *, choice: _Choice) -> list[FullSweepResult]:
    place = one_place(archiving, choice.source)
    days = list(_days(archiving, choice))
    turn = asyncio.Semaphore(_DAYS_AT_ONCE)
    async with LateAssembly(archiving, create=not choice.dry_run) as database:
        bars = _Bars(len(days))

        async def in_turn(project: str, day: ProjectDay) -> FullSweepResult:
            verbs = DayVerbs(
                archiving,
                place,
                project,
                database,
                resume=choice.resume,
                dry_run=choice.dry_run,
                show=bars.show,
            )
            async with turn:
                result = await _whole_day(archiving, place, verbs, choice.steps).carry_out(day)
                bars.done(day)
                return result

        with bars:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(in_turn(project, day)) for project, day in days]
    return [task.result() for task in running]


def _whole_day(archiving: Archiving, place: Place, verbs: DayVerbs, steps: frozenset[Step]) -> WholeDay:
    chosen = {step: verb for step, verb in verbs.verbs.items() if step in steps}
    return WholeDay(place.source, chosen, tell=archiving.tell)


def _days(archiving: Archiving, choice: _Choice) -> Sequence[tuple[str, ProjectDay]]:
    """Every project's name in LangSmith with each of its days that is meant, up to today."""
    today = datetime.now(UTC).date()
    found = []
    for name, first in _projects(archiving, choice).items():
        project, folder = archiving.project_of(name)
        found += [(project, ProjectDay(folder, day)) for day in _between(first, choice.selection.last or today)]
    return found


def _projects(archiving: Archiving, choice: _Choice) -> Mapping[str, date]:
    """Each project that is meant, with the first day that is."""
    first = choice.selection.first
    if choice.project is not None and first is not None:
        return {choice.project: first}
    kept = archiving.settings.retention.projects
    if not kept:
        raise typer.BadParameter("no project is configured in retention.projects", param_hint="--all")
    return {one.project: max(first or one.first_day, one.first_day) for one in kept}


def _between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


class _Bars:
    """All days, and each step that works, with the time left, on a terminal; nothing elsewhere."""

    def __init__(self, days: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console_on(sys.stderr), disable=not sys.stderr.isatty())
        self._all = self._progress.add_task("days", total=days)
        self._steps: dict[tuple[ProjectDay, Step], TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, day: ProjectDay, step: Step, done: float, known: float) -> None:
        """Show how far a step is; may be called from a thread."""
        if (day, step) not in self._steps:
            self._steps[day, step] = self._progress.add_task(f"{day.directory} {step}", total=None)
        self._progress.update(self._steps[day, step], completed=done, total=known or None)

    def done(self, day: ProjectDay) -> None:
        """A day is over: its steps go, and all days are one further."""
        for key in [key for key in self._steps if key[0] == day]:
            self._progress.remove_task(self._steps.pop(key))
        self._progress.advance(self._all)


def _show(results: Sequence[FullSweepResult], out: Output) -> None:
    for result in results:
        out.line(
            f"{result.project}/{result.date}: {'done' if result.is_whole else 'not done'} in {result.took_s:.1f} s"
        )
        for step in result.steps:
            out.line(f"  {_sentence(step)}")
            if step.error and step.advice:
                out.line(f"    {step.advice}")
    out.data(results)


def _sentence(step: StepResult) -> str:
    if step.state == "skipped":
        return f"{step.step}: skipped"
    told = counted({name: count for name, count in step.counts.items() if isinstance(count, int)})
    outcome = step.counts.get("outcome")
    said = ": ".join(filter(None, (str(outcome or ""), step.error or told)))
    return f"{step.step}: {step.state.replace('_', ' ')}, {said}, {step.took_s:.1f} s"
