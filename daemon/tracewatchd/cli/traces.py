"""``tracewatchd traces``: looking at runs and traces, in the database alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from uuid import UUID

import typer

from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    EndDay,
    Limit,
    MinLatency,
    Project,
    RunName,
    RunStatus,
    RunText,
    RunType,
    StartDay,
    TraceOrRunId,
)
from tracewatchd.cli.output import Output, note
from tracewatchd.cli.selecting import require_folder, selection_of
from tracewatchd.cli.trace_tree import cost, drawn, many, moment, one_line, summary, tokens, took
from tracewatchd.cli.working import settings_of, work
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.model.project_day import folder_of
from tracewatchd.model.selection import Selection
from tracewatchd.model.traces import RunFilter, RunLine, TraceTotals, TreeLine, totals, tree
from tracewatchd.service.assemble import Assembly
from tracewatchd.store.database import TraceDatabase

app = group("Look at runs and traces: list those of a day, show one trace as a tree.")

_READ = 100_000
"""Runs of one trace that are read at most."""
_ERROR_CHARACTERS = 100
_A_TRACE = "fb26187f-010e-412d-8b3f-b5ebea1a0280"
_COLUMNS = ("started (UTC)", "name", "type", "status", "took", "tokens", "cost", "project", "run", "error")
_EXITS: Mapping[Exit, str] = {
    Exit.OK: "done",
    Exit.USAGE: CHECKING[Exit.USAGE],
    Exit.NOT_CHECKED: "the database could not be asked, or did not answer in time",
    Exit.CONFIG: CHECKING[Exit.CONFIG],
    Exit.INTERRUPTED: CHECKING[Exit.INTERRUPTED],
}
_EXITS_OF_SHOW: Mapping[Exit, str] = {**_EXITS, Exit.FOUND: "there is no such run or trace"}


def register(program: typer.Typer) -> None:
    """Add the group."""
    program.add_typer(app, name="traces")


@command(
    app,
    "list",
    exits=_EXITS,
    examples=[
        "tracewatchd traces list --project support-bot --date 2026-11-16",
        "tracewatchd traces list --status error --min-latency 2.5 --json",
    ],
)
def list_(
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    status: RunStatus = None,
    run_type: RunType = None,
    name: RunName = None,
    min_latency: MinLatency = None,
    text: RunText = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List runs, the newest first: of the day that is named, else of the newest one; of the project, else of all.

    Only the database is asked, within database.commit_timeout_s; --text reads every run of the days.
    """
    chosen = RunFilter(
        status=status and status.lower(),
        run_type=run_type and run_type.lower(),
        name=name,
        min_latency_s=min_latency,
        text=text,
    )
    selection = selection_of(project, day, start_date, end_date)
    ask = partial(_newest, project=project, selection=selection, chosen=chosen, limit=limit + 1)
    found = work(settings_of(config), ask, create=False, migrate=False)
    shown = found[:limit]
    out = Output(as_json=as_json)
    if shown:
        out.table(_COLUMNS, map(_listed, shown))
    out.line(many(len(shown), "run") + (" and more: raise --limit" if len(found) > limit else ""))
    out.data([_as_data(run) for run in shown])


@command(
    app,
    "show",
    exits=_EXITS_OF_SHOW,
    examples=[f"tracewatchd traces show {_A_TRACE}", f"tracewatchd traces show {_A_TRACE} --json"],
)
def show(asked: TraceOrRunId, limit: Limit = 1000, as_json: AsJson = False, config: ConfigFile = None) -> Exit:
    """Show a trace as a tree: what each run took, its tokens, its cost, and what went wrong.

    A run's id shows the whole trace and marks the run. Where there are more runs than --limit, the upper levels are
    whole. Tokens and cost are those of the trace's root, else the sum over its calls of language models.
    """
    found = work(settings_of(config), partial(_trace, asked=asked), create=False, migrate=False)
    if found is None:
        note(f"error: the database holds neither a trace nor a run with the id {asked}")
        note("hint: `tracewatchd traces list` shows what there is; ids are those of LangSmith")
        return Exit.FOUND
    focus = asked if asked != found.trace_id else None
    lines = tree(found.runs, limit=limit, focus=focus)
    _show(found, lines, focus, Output(as_json=as_json))
    return Exit.OK


@dataclass(frozen=True, slots=True)
class _Trace:
    """A trace as it is in the database; ``is_cut`` where it has more runs than are ever read."""

    trace_id: UUID
    runs: Sequence[RunLine]
    is_cut: bool


async def _trace(assembly: Assembly, *, asked: UUID) -> _Trace | None:
    """The trace of this id, else that of the run of this id. A run may be there whose trace's root is not."""
    database = assembly.database
    for trace_id in (asked, await database.trace_of(asked)):
        if trace_id and (runs := await database.trace_lines(trace_id, limit=_READ + 1)):
            return _Trace(trace_id, runs[:_READ], len(runs) > _READ)
    return None


def _show(found: _Trace, lines: Sequence[TreeLine], focus: UUID | None, out: Output) -> None:
    of = totals(found.trace_id, found.runs)
    left_out = of.runs - sum(line.run is not None for line in lines)
    projects = sorted({run.project for run in found.runs})
    out.line(f"trace {found.trace_id} of {', '.join(map(one_line, projects))}")
    out.line(summary(of))
    out.line("")
    out.texts(drawn(lines, of, marked=focus, width=out.width))
    for sentence in _left_out(left_out, is_cut=found.is_cut):
        out.line(sentence)
    out.data(_tree_data(found, of, left_out, lines))


def _left_out(left_out: int, *, is_cut: bool) -> Sequence[str]:
    sentences = [f"left out: {many(left_out, 'run')} (raise --limit)"] if left_out else []
    return [*sentences, f"the trace has more than {_READ:,} runs; these are of its earliest"] if is_cut else sentences


def _tree_data(found: _Trace, of: TraceTotals, left_out: int, lines: Sequence[TreeLine]) -> dict[str, object]:
    return {
        "trace_id": found.trace_id,
        **asdict(of),
        "is_cut": found.is_cut,
        "left_out": left_out,
        "lines": [
            {"run_id": line.run_id, "depth": line.depth, "hidden": line.hidden, "run": line.run and _as_data(line.run)}
            for line in lines
        ],
    }


def _as_data(run: RunLine) -> dict[str, object]:
    return {**asdict(run), "duration_s": run.duration_s}


def _listed(run: RunLine) -> tuple[str, ...]:
    return (
        moment(run.start_time),
        one_line(run.name) or "-",
        one_line(run.run_type) or "-",
        one_line(run.status) or "-",
        took(run.duration_s),
        tokens(run.total_tokens),
        cost(run.total_cost),
        one_line(run.project),
        str(run.run_id),
        one_line(run.error, _ERROR_CHARACTERS),
    )


async def _newest(
    assembly: Assembly, *, project: str | None, selection: Selection, chosen: RunFilter, limit: int
) -> list[RunLine]:
    database = assembly.database
    projects = await _projects(database, project, selection)
    first, last = selection.first or date.min, selection.last or date.max
    if selection.first is None and selection.last is None:
        days = [counted.run_date for counted in await database.project_days() if counted.project in projects]
        first = last = max(days, default=date.max)
    return await database.newest_runs(sorted(projects), first, last, chosen, limit=limit)


async def _projects(database: TraceDatabase, project: str | None, selection: Selection) -> set[str]:
    """What the named project is called in its rows: files of one folder may call it by its name or by the folder's.

    Raises:
        BadParameter: no run is of that project.
    """
    if project is None or selection.folder is None:
        return {counted.project for counted in await database.project_days()}
    folders = {selection.folder, _folder(project) or selection.folder}
    named = {name for folder in folders for name in await database.projects_in(folder)}
    if named:  # the usual case, which asks for no counts
        return named | {project}
    known = {counted.project for counted in await database.project_days()}
    if not (named := {name for name in known if name == project or _folder(name) in folders}):
        require_folder(project, known, "no run is of the project")
    return named


def _folder(project: str) -> str | None:
    try:
        return folder_of(project)
    except ValueError:  # nothing of the name could stand in a folder's, so it is no folder's
        return None
