"""``tracewatchd reconcile``: are files and database the same? Puts right what the line can put right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    EndDay,
    Once,
    Project,
    Repair,
    Source,
    StartDay,
    Strict,
    Verbose,
)
from tracewatchd.cli.output import Output
from tracewatchd.cli.selecting import require_project, selection_of
from tracewatchd.cli.working import counted, places_of, require_roots, settings_of, work
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.model.findings import ERRORS, FACTS, WARNINGS, Finding, Verdict, VerificationResult
from tracewatchd.model.fixes import BY_DEFAULT
from tracewatchd.model.selection import Selection
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.reconcile.report import due_lines
from tracewatchd.service.assemble import Assembly, Place

_EXAMPLES = ["tracewatchd reconcile --once", "tracewatchd reconcile --once --no-repair --json"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "reconcile", exits=CHECKING, examples=_EXAMPLES)(reconcile)


def reconcile(
    once: Once = False,
    source: Source = None,
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    repair: Repair = True,
    strict: Strict = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Compare files, ledger and rows once; load what is missing or stale; say whether they agree.

    The exit status tells the state after repair.
    """
    if not once:
        raise typer.BadParameter(
            "say --once: the daemon sweeps by itself, this command sweeps once", param_hint="--once"
        )
    settings = settings_of(config)
    require_roots(settings, source)
    selection = selection_of(project, day, start_date, end_date)
    sweep = partial(_sweep, source=source, selection=selection, repair=repair)
    results = work(settings, sweep, create=False, migrate=False, verbose=verbose)
    _show(results, Output(as_json=as_json))
    return _status(results, strict=strict)


async def _sweep(
    assembly: Assembly, *, source: str | None, selection: Selection, repair: bool
) -> list[VerificationResult]:
    places = places_of(assembly, source)
    await assembly.claim(places)
    if selection.folder is not None:
        remembered = [path for place in places for path in await assembly.database.ledger_directories(place.source)]
        await require_project(assembly, places, selection, remembered)
    return [await _sweep_one(assembly, place, selection, repair=repair) for place in places]


async def _sweep_one(assembly: Assembly, place: Place, selection: Selection, *, repair: bool) -> VerificationResult:
    line = assembly.line(place)
    async with asyncio.TaskGroup() as group:
        group.create_task(line.serve())
        plan = SweepPlan(selection=selection, fixes=BY_DEFAULT if repair else frozenset())
        result = await assembly.sweep(place, line, plan)
        line.close()
    await assembly.clock.add_to(result)
    return result


def _status(results: Sequence[VerificationResult], *, strict: bool) -> Exit:
    if any(result.found(WARNINGS if strict else ERRORS) for result in results):
        return Exit.FOUND
    return Exit.NOT_CHECKED if any(result.unchecked for result in results) else Exit.OK


def _verdict(results: Sequence[VerificationResult]) -> Verdict:
    said = {result.verdict for result in results}
    worst: tuple[Verdict, ...] = ("inconsistent", "not_checked", "consistent")
    return next(verdict for verdict in worst if verdict in said)


def _show(results: Sequence[VerificationResult], out: Output) -> None:
    for result in results:
        _show_one(result, out)
    for told in due_lines(results):
        out.line(told)
    out.data(
        {
            "verdict": _verdict(results),
            "files": sum(result.files for result in results),
            "states": sum((result.states for result in results), Counter()),
            "counts": sum((result.counts for result in results), Counter()),
            "outcomes": sum((result.outcomes for result in results), Counter()),
            "ignored": sum(result.ignored for result in results),
            "findings": [_as_data(result, finding) for result in results for finding in result.findings],
            "unchecked": [sentence for result in results for sentence in result.unchecked],
        }
    )


def _show_one(result: VerificationResult, out: Output) -> None:
    out.line(f"{result.source}: {result.verdict.replace('_', ' ')}")
    states = counted({str(state): count for state, count in result.states.items()})
    out.line(f"  {result.files} run files: {states}; {result.ignored} other entries ignored")
    if result.outcomes:
        out.line(f"  done by this sweep: {counted({str(o): count for o, count in result.outcomes.items()})}")
    for sentence in result.unchecked:
        out.line(f"  not checked: {sentence}")
    for kind, count in sorted(result.counts.items()):
        facts = FACTS[kind]
        out.line(f"  {count} {kind} ({facts.severity}): {facts.meaning}; what to do: {facts.remedy}")
    for finding in result.findings:
        out.line(f"    {finding.kind} {finding.path}" + (f" (run {finding.run_id})" if finding.run_id else ""))


def _as_data(result: VerificationResult, finding: Finding) -> dict[str, str | None]:
    return {
        "source": result.source,
        "kind": finding.kind,
        "severity": finding.severity,
        "run_id": finding.run_id,
        "path": finding.path,
        "detail": finding.detail,
    }
