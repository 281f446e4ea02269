"""The one object that says what sweeps found: ``--json`` prints it, and every report is made from it.

It holds plain JSON types alone. Its keys are documented in docs/reports.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC
from typing import Any, TypeAlias, get_args

from tracewatchd.model.findings import (
    FACTS,
    DayResult,
    Finding,
    Kind,
    Severity,
    Verdict,
    VerificationResult,
)

Data: TypeAlias = dict[str, Any]

_WORST_VERDICT_FIRST: tuple[Verdict, ...] = ("inconsistent", "not_checked", "consistent")
_BY_SEVERITY = {severity: rank for rank, severity in enumerate(reversed(get_args(Severity)))}


def as_data(results: Sequence[VerificationResult]) -> Data:
    """Everything that these sweeps found, the worst findings first."""
    due = [day for result in results for day in result.due]
    started = [result.started_at for result in results if result.started_at]
    return {
        "verdict": worst_verdict(results),
        "depth": results[0].depth if results else None,
        "started_at": min(started).astimezone(UTC).isoformat() if started else None,
        "took_s": round(sum(result.took_s for result in results), 3),
        "dry_run": any(result.dry_run for result in results),
        "repair_id": next((result.repair_id for result in results if result.repair_id), None),
        "sources": [_source(result) for result in results],
        "files": sum(result.files for result in results),
        "ignored": sum(result.ignored for result in results),
        "states": _summed(result.states for result in results),
        "counts": _summed((result.counts for result in results), worst_kinds_first()),
        "fixed": _summed((result.fixed for result in results), worst_kinds_first()),
        "outcomes": _summed(result.outcomes for result in results),
        "unchecked": [sentence for result in results for sentence in result.unchecked],
        "closed": [
            {"source": result.source, "path": path, "detail": why}
            for result in results
            for path, why in result.closed.items()
        ],
        "findings": _findings(results),
        "days": [_day(result.source, day) for result in results for day in result.days],
        "due": [asdict(day) for day in sorted(due, key=lambda day: (day.days_left, day.source, day.directory))],
        "past": sum(result.past for result in results),
    }


def worst_verdict(results: Iterable[VerificationResult]) -> Verdict:
    """The verdict over all of them; nothing at all was not checked."""
    said = {result.verdict for result in results} or {"not_checked"}
    return next(verdict for verdict in _WORST_VERDICT_FIRST if verdict in said)


def due_lines(results: Iterable[VerificationResult]) -> list[str]:
    """What people must know of days that LangSmith will soon delete, or has: a sentence each, none if all is well."""
    every = list(results)
    return due_sentences([day.days_left for one in every for day in one.due], sum(one.past for one in every))


def due_sentences(days_left: Sequence[int], past: int) -> list[str]:
    """The same, from how many days each of them has left."""
    told = []
    if days_left:
        within = plural(max(1, *days_left), "day")
        be = "is" if len(days_left) == 1 else "are"
        told.append(
            f"{plural(len(days_left), 'project-day')} will be deleted upstream within {within} and {be} not verified"
        )
    if past:
        be = "was" if past == 1 else "were"
        told.append(
            f"{plural(past, 'project-day')} {be} deleted upstream before {'it' if past == 1 else 'they'} {be} verified"
        )
    return told


def plural(count: int, noun: str) -> str:
    """How many of something, in words."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def worst_kinds_first() -> list[Kind]:
    """Every kind of finding, by severity and then in the order of the catalogue."""
    return sorted(FACTS, key=lambda kind: _BY_SEVERITY[FACTS[kind].severity])


def _summed(counters: Iterable[Mapping[Any, int]], order: Sequence[str] = ()) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update({str(key): count for key, count in counter.items()})
    names = [str(key) for key in order] or sorted(total)
    return {name: total[name] for name in names if total[name]}


def _source(result: VerificationResult) -> Data:
    return {"source": result.source, "verdict": result.verdict, "files": result.files, "took_s": result.took_s}


def _findings(results: Sequence[VerificationResult]) -> list[Data]:
    found = [_finding(result.source, finding) for result in results for finding in result.findings]
    return sorted(found, key=lambda one: (_BY_SEVERITY[one["severity"]], one["source"], one["path"] or ""))


def _finding(source: str, finding: Finding) -> Data:
    return {
        "source": source,
        "kind": str(finding.kind),
        "severity": finding.severity,
        "run_id": finding.run_id,
        "path": finding.path,
        "detail": finding.detail,
        "held": finding.held,
        "differences": [asdict(difference) for difference in finding.differences],
    }


def _day(source: str, day: DayResult) -> Data:
    return {
        "source": source,
        "directory": day.directory,
        "files": day.files,
        "verdict": day.verdict,
        "counts": _summed([day.counts], worst_kinds_first()),
    }
