"""A damaged set as sweeps would find it, for tests of reports: no database, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID

from tracewatchd.model.findings import DayResult, Difference, DueDay, FileState, Finding, Kind, VerificationResult

STARTED = datetime(2026, 11, 25, 6, 30, tzinfo=UTC)
_DAMAGE: dict[str, dict[Kind, int]] = {
    "support-bot/2026-11-09": {Kind.MISMATCH: 2},
    "support-bot/2026-11-18": {Kind.MISSING: 3, Kind.STALE: 1},
    "checkout-agent/2026-11-12": {Kind.GONE: 4},
    "checkout-agent/2026-11-21": {Kind.ALTERED: 1, Kind.ORPHAN: 2},
    "nightly-evals/2026-10-30": {Kind.QUARANTINED: 2, Kind.MISPLACED: 1},
    "nightly-evals/2026-11-03": {Kind.FOREIGN: 1, Kind.OUTDATED: 5},
}
_WITHOUT_FOLDER = "support-bot/2026-11-13"
_DETAIL = {
    Kind.MISMATCH: "the row's data differs from the file's",
    Kind.MISSING: "no ledger row knows this file",
    Kind.STALE: "the ledger's stamp is another one",
    Kind.GONE: "loaded on 2026-11-13; the file is not there any more",
    Kind.ALTERED: "sha256 is 9f2c41…, the ledger says 07bd13…",
    Kind.ORPHAN: "no row has this run's id",
    Kind.QUARANTINED: "not_json: a comma is missing at byte 1841",
    Kind.MISPLACED: "the run started on 2026-10-29",
    Kind.FOREIGN: "written at 2026-11-03 09:12:44 UTC",
    Kind.OUTDATED: "derived by rules 1; now they are 2",
}
_DIFFERENCES = (
    Difference("/data/outputs/answer", '"Refund was issued on 3 November."', '"Refund was issued on 5 November."'),
    Difference("/data/extra/metadata/temperature", "0.7", None),
    Difference("/columns/total_tokens", "1841", "1481"),
)


def damaged() -> VerificationResult:
    """A deep sweep of three projects, of which some days are damaged and some were not reached."""
    random = Random(7)
    result = VerificationResult("/srv/traces", "deep", started_at=STARTED, took_s=48.213, directories=147, ignored=3)
    for folder, first, last in _CALENDAR:
        for day in _days(first, last):
            directory = f"{folder}/{day}"
            if directory != _WITHOUT_FOLDER and (random.random() > 0.04 or directory in _DAMAGE):
                result.days.append(_day(directory, random))
    for day_result in result.days:
        result.findings += _findings(day_result, random)
        result.counts.update(day_result.counts)
    result.findings += [
        Finding(
            Kind.MISMATCH,
            "support-bot/2026-11-09/held_101112.json",
            "the row's data differs from the file's",
            run_id=str(UUID(int=5)),
            held=True,
        )
    ]
    result.counts[Kind.MISMATCH] += 1
    result.states = Counter(
        {FileState.LOADED: 51_204, FileState.SUPERSEDED: 318, FileState.QUARANTINED: 2, FileState.PENDING: 4}
    )
    result.fixed = Counter({Kind.STALE: 2})
    result.unchecked = ["nightly-evals/2026-11-24: Permission denied"]
    result.due = due()
    result.past = 2
    return result


def due() -> tuple[DueDay, ...]:
    """Days that LangSmith will soon delete."""
    return (
        DueDay("/srv/traces", "Support Bot", "support-bot/2026-11-11", "2026-11-11", 0, "never verified"),
        DueDay("/srv/traces", "Support Bot", "support-bot/2026-11-13", "2026-11-13", 2, "nothing was loaded"),
        DueDay("/srv/traces", "checkout-agent", "checkout-agent/2026-11-12", "2026-11-12", 1, "verified only quick"),
    )


_CALENDAR = (
    ("checkout-agent", date(2026, 10, 5), date(2026, 11, 24)),
    ("nightly-evals", date(2026, 9, 14), date(2026, 11, 24)),
    ("support-bot", date(2026, 10, 12), date(2026, 11, 24)),
)


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def _day(directory: str, random: Random) -> DayResult:
    checked = directory != "nightly-evals/2026-11-24"
    return DayResult(directory, random.randint(180, 520), Counter(_DAMAGE.get(directory, {})), checked)


def _findings(day: DayResult, random: Random) -> Iterator[Finding]:
    for kind, count in day.counts.items():
        for _ in range(count):
            run_id = str(UUID(int=random.getrandbits(128), version=4))
            path = None if kind is Kind.FOREIGN else f"{day.directory}/{run_id}_{random.randint(100000, 235959)}.json"
            differences = _DIFFERENCES if kind is Kind.MISMATCH else ()
            yield Finding(kind, path, _DETAIL[kind], run_id=run_id, differences=differences)
