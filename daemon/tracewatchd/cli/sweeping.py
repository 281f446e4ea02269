"""What `reconcile` and `archive verify` share: a sweep of each root, what is said of it, reports, the exit status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import typer

from tracewatchd.cli.asking import consented
from tracewatchd.cli.combined import Combined
from tracewatchd.cli.output import Output, note
from tracewatchd.cli.selecting import require_project
from tracewatchd.cli.working import counted, places_of, require_roots, work
from tracewatchd.model.errors import NotCheckedError, PermanentError, TracewatchError, TransientError
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.model.findings import ERRORS, FACTS, WARNINGS, Depth, Finding, Kind, VerificationResult
from tracewatchd.model.fixes import DESTRUCTIVE, FixKind
from tracewatchd.reconcile.plan import Each, SweepPlan
from tracewatchd.reconcile.report import as_data, due_lines, write_report
from tracewatchd.service.assemble import Assembly, Place
from tracewatchd.settings import Settings

EXITS = CHECKING | {
    Exit.NOT_CHECKED: "could not check (store away, root missing, busy), or could not write a file that was asked for"
}
"""What each exit status of a sweep says; findings outweigh what could not be checked or written."""

_TAKES: Mapping[FixKind, str] = {
    FixKind.ALTERED: "replaces the rows of altered files by what those files say now",
    FixKind.MISMATCH: "replaces rows by what their runs' files say",
    FixKind.GONE_ROWS: "removes the rows of files that are gone",
}
"""What a destructive fix takes out of the database."""

_READING: frozenset[Depth] = frozenset({"full", "deep"})
_DEEP: frozenset[Depth] = frozenset({"deep"})
_FOUND_AT: Mapping[FixKind, frozenset[Depth]] = {FixKind.ALTERED: _READING, FixKind.OUTDATED: _DEEP}
"""At which depths the findings of a fix are found, where not at all of them."""

_COULD_NOT = (TransientError, PermanentError, NotCheckedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the options of a sweeping command come to; ``accept_gone`` holds directories by source."""

    plan: SweepPlan
    source: str | None = None
    accept_gone: Mapping[str, frozenset[str]] = field(default_factory=dict)
    out: Path | None = None
    combined: Path | None = None
    reports: Sequence[Path] = ()
    strict: bool = False
    as_json: bool = False
    verbose: bool = False
    yes: bool = False

    def check(self, settings: Settings) -> None:
        """See that the options go together.

        Raises:
            BadParameter: they contradict each other, or ask for what this sweep cannot find.
            ConfigError: no root is configured.
        """
        require_roots(settings, self.source)
        fixes, depth = self.plan.fixes, self.plan.depth
        if {FixKind.GONE, FixKind.GONE_ROWS} <= fixes:
            raise typer.BadParameter("gone writes files again, gone-rows forgets them: say one", param_hint="--fix")
        for fix in sorted(fixes):
            if depth not in _FOUND_AT.get(fix, {depth}):
                least = "a deep sweep" if _FOUND_AT[fix] == _DEEP else "a full or deep sweep"
                raise typer.BadParameter(f"only {least} finds what is {fix}; this one is {depth}", param_hint="--fix")
        if self.out and FixKind.GONE not in fixes:
            raise typer.BadParameter("it says where --fix gone writes; there is no --fix gone", param_hint="--out")
        if self.combined and self.source is None and len(settings.watch.roots) > 1:
            raise typer.BadParameter("it holds the paths of one root; name one with --source", param_hint="--combined")


@dataclass(slots=True)
class _Swept:
    """What came of it, as far as it came."""

    results: list[VerificationResult] = field(default_factory=list)
    failures: list[TracewatchError] = field(default_factory=list)


def sweep(settings: Settings, request: Request) -> Exit:
    """Sweep every root that is meant, say what was found, and write it down.

    Whatever fails on the way is said on standard error, and what it kept from being checked counts as not checked.
    """
    request.check(settings)
    if not _may_go_on(request):
        return Exit.NOT_CHECKED
    swept = _Swept()
    with ExitStack() as stack:
        combined = stack.enter_context(Combined(request.combined)) if request.combined else None
        doing = partial(_sweep, request=request, each=combined.add if combined else None, swept=swept)
        try:
            work(settings, doing, create=False, migrate=False, verbose=request.verbose)
        except _COULD_NOT as error:
            _give_up(swept, settings, request, error)
        _show(swept.results, Output(as_json=request.as_json))
        swept.failures += _write_reports(swept.results, request.reports)
        if combined and (unwritten := combined.finish()):
            swept.failures.append(unwritten)
    for failure in swept.failures:
        _tell(failure)
    return _status(swept.results, strict=request.strict, failed=bool(swept.failures))


def _may_go_on(request: Request) -> bool:
    taking = sorted(request.plan.fixes & DESTRUCTIVE)
    if not taking or request.plan.dry_run:
        return True
    said = "; ".join(f"--fix {fix} {_TAKES[fix]}" for fix in taking)
    return consented(f"{said}. Each fix can be rolled back. Go on?", yes=request.yes)


def _give_up(swept: _Swept, settings: Settings, request: Request, error: TracewatchError) -> None:
    """What was not swept was not checked."""
    swept.failures.append(error)
    done = {result.source for result in swept.results}
    for root in settings.watch.roots:
        if root.source not in done and request.source in {None, root.source}:
            swept.results.append(_unchecked(str(root.source), request.plan.depth, error))


def _unchecked(source: str, depth: Depth, error: TracewatchError) -> VerificationResult:
    return VerificationResult(source, depth, unchecked=[str(error)])


# ---------------------------------------------------------------------------------------------------------------------
# Sweeping


async def _sweep(assembly: Assembly, *, request: Request, each: Each | None, swept: _Swept) -> None:
    places = places_of(assembly, request.source)
    await assembly.claim(places)
    selection = request.plan.selection
    if selection.folder is not None:
        remembered = [path for place in places for path in await assembly.database.ledger_directories(place.source)]
        await require_project(assembly, places, selection, remembered)
    repair_id = uuid4()
    for place in places:
        try:
            plan = replace(
                request.plan,
                accept_gone=request.accept_gone.get(place.source, frozenset()),
                foreign=place is places[0],
            )
            await _sweep_one(assembly, place, plan, out=request.out, repair_id=repair_id, each=each, swept=swept)
        except NotCheckedError as error:
            swept.failures.append(error)
            swept.results.append(_unchecked(place.source, request.plan.depth, error))


async def _sweep_one(
    assembly: Assembly,
    place: Place,
    plan: SweepPlan,
    *,
    out: Path | None,
    repair_id: UUID,
    each: Each | None,
    swept: _Swept,
) -> None:
    async with assembly.journaled_line(place, repair_id) as line:
        repairs = assembly.repairs(place, line, repair_id=repair_id, fixes=plan.fixes, out=out)
        result = await assembly.sweep(place, line, plan, repairs=repairs, each=each)
    swept.results.append(result)
    if plan.fixes and not plan.dry_run:
        async for _ in assembly.database.fixes(source=place.source, repair_id=repair_id):
            result.repair_id = str(repair_id)
            break
    await assembly.clock.add_to(result)


# ---------------------------------------------------------------------------------------------------------------------
# Saying it


def _status(results: Sequence[VerificationResult], *, strict: bool, failed: bool) -> Exit:
    if any(result.found(WARNINGS if strict else ERRORS) for result in results):
        return Exit.FOUND
    return Exit.NOT_CHECKED if failed or any(result.unchecked for result in results) else Exit.OK


def _write_reports(results: Sequence[VerificationResult], paths: Sequence[Path]) -> Iterator[TracewatchError]:
    """Write each; yields why one could not be written."""
    for path in paths:
        try:
            write_report(results, path)
        except (TransientError, PermanentError) as error:
            yield error


def _tell(error: TracewatchError) -> None:
    note(f"error: {error}")
    if error.hint:
        note(f"hint: {error.hint}")


def _show(results: Sequence[VerificationResult], out: Output) -> None:
    for result in results:
        for line in _lines(result):
            out.line(line)
    for told in due_lines(results):
        out.line(told)
    for repair_id in dict.fromkeys(result.repair_id for result in results if result.repair_id):
        out.line(f"to undo what was repaired: tracewatchd archive fixes rollback --repair-id {repair_id}")
    out.data(as_data(results))


def _lines(result: VerificationResult) -> Iterator[str]:
    yield f"{result.source}: {result.verdict.replace('_', ' ')}"
    states = counted({str(state): count for state, count in result.states.items()})
    yield f"  {result.files} run files: {states}; {result.ignored} other entries ignored"
    if result.outcomes:
        yield f"  done by this sweep: {counted({str(outcome): count for outcome, count in result.outcomes.items()})}"
    if result.fixed.total():
        fixed = counted({str(kind): count for kind, count in sorted(result.fixed.items())})
        yield f"  {'would be repaired' if result.dry_run else 'repaired'}: {fixed}"
    yield from (f"  not checked: {sentence}" for sentence in result.unchecked)
    yield from (_kind_line(kind, count) for kind, count in sorted(result.counts.items()))
    for finding in result.findings:
        yield from _finding_lines(finding)
    if left := result.counts.total() - len(result.findings):
        yield f"    and {left} more findings"


def _kind_line(kind: Kind, count: int) -> str:
    facts = FACTS[kind]
    return f"  {count} {kind} ({facts.severity}): {facts.meaning}; what to do: {facts.remedy}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    run = f"run {finding.run_id}" if finding.run_id else ""
    subject = f"{finding.path} ({run})" if finding.path and run else finding.path or run
    held = "; held, a fix of it was rolled back: see `tracewatchd archive fixes list --state rolled_back`"
    yield f"    {finding.kind} {subject}{_more_than_meant(finding)}" + (held if finding.held else "")
    for difference in finding.differences:
        in_file, in_row = (value or "nothing" for value in (difference.in_file, difference.in_row))
        yield f"      {difference.pointer}: in the file {in_file}, in the row {in_row}"


def _more_than_meant(finding: Finding) -> str:
    """What is said of a finding beyond what its kind means."""
    meaning = FACTS[finding.kind].meaning
    detail = finding.detail.removeprefix(meaning).lstrip(": ")
    return f": {detail}" if detail else ""
