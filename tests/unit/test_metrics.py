"""Metrics: the names and labels that alert rules are written against, and what they come to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from standings import START, Clocked, Load, committed, swept
from tracewatchd.model.daemon_status import DatabaseAnswers
from tracewatchd.model.events import (
    CertificateDue,
    DaemonReady,
    DayDue,
    DayUncertified,
    FileQuarantined,
    HintsSuspectedLost,
    LogDropped,
    RootMissing,
    StoreReplaced,
    StoreUnavailable,
    SweepFailed,
)
from tracewatchd.service.metrics import Metrics

LABELS = {
    "files_total": {"source", "outcome"},
    "rows_total": {"source"},
    "bytes_total": {"source"},
    "batch_rows_bucket": {"le"},
    "commit_seconds_bucket": {"le"},
    "oldest_pending_seconds": {"source"},
    "backlog_files": {"source"},
    "root_missing": {"source"},
    "hints_suspected_lost_total": {"source"},
    "sweeps_total": {"source", "depth", "result"},
    "last_sweep_timestamp_seconds": {"source", "depth"},
    "last_verified_timestamp_seconds": {"source", "depth"},
    "unverified_days": {"source", "depth"},
    "findings": {"source", "kind", "severity"},
    "ledger_files": {"source", "state"},
    "database_up": set(),
    "database_outage_seconds_total": set(),
    "database_replaced_total": set(),
    "quarantine_files": {"source"},
    "day_due_days": {"source", "project", "date"},
    "certificate_due_days": {"source", "project", "date"},
    "uncertified_days_total": set(),
    "stuck": set(),
    "ready": set(),
    "build_info": {"version"},
}
"""Every metric of ours and its labels; docs/http.md has the same names."""


class Metered:
    """Metrics of one daemon, told what a test tells."""

    def __init__(self) -> None:
        self.clocked = Clocked()
        self.answers = DatabaseAnswers()
        self.stuck: str | None = None
        self.metrics = Metrics(
            version="1.2.3",
            sources=["data"],
            vitals=self.clocked.vitals,
            answers=lambda: self.answers,
            stuck=lambda: self.stuck,
        )

    def tell(self, *events: object) -> None:
        for event in events:
            self.clocked.vitals(event)  # type: ignore[arg-type]  # events of any kind
            self.metrics(event)  # type: ignore[arg-type]  # as above

    def samples(self) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(self.metrics.exposition().decode()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get(f"tracewatchd_{name}", {}).get(frozenset(labels.items()))


@pytest.fixture
def metered() -> Metered:
    return Metered()


def everything(metered: Metered) -> None:
    """Tell enough for every metric to be there."""
    metered.tell(
        DaemonReady(roots=("/srv/data",), database="here"),
        committed(loaded=7, updated=2, quarantined=1, files=10),
        swept("quick", "inconsistent", stale=2, quarantined=2),
        swept("full"),
        DayDue(source="data", project="bot", day="2026-11-20", days_left=2, why="never verified"),
        CertificateDue(source="data", project="bot", day="2026-11-21", days_left=3, why="no certificate"),
        LogDropped(lines=1),
    )
    metered.answers = DatabaseAnswers(
        asked_at=START,
        quarantined_files={"data": 5},
        verified_since={"data": {"full": START}},
        unverified_days={"data": {"deep": 4}},
    )


def test_every_metric_has_its_name_and_labels(metered: Metered) -> None:
    """The exposition holds exactly the metrics of the table, each with these labels, beside those of the process."""
    everything(metered)
    found = {
        name.removeprefix("tracewatchd_"): {label for sample in samples for label, _ in sample}
        for name, samples in metered.samples().items()
        if name.startswith("tracewatchd_") and not re.search(r"_(count|sum)$", name)
    }
    assert found == LABELS
    assert "process_start_time_seconds" in metered.samples()


def test_counters_stand_at_zero_from_the_start(metered: Metered) -> None:
    """The first event is an increase, not a new series that no rate can be taken of."""
    assert metered.value("files_total", source="data", outcome="quarantined") == 0
    assert metered.value("hints_suspected_lost_total", source="data") == 0
    assert metered.value("sweeps_total", source="data", depth="quick", result="failed") == 0
    assert metered.value("database_replaced_total") == 0
    assert metered.value("uncertified_days_total") == 0


def test_batches_are_counted(metered: Metered) -> None:
    """Files by outcome, rows that were written, bytes, and both histograms."""
    metered.tell(committed(loaded=7, updated=2, quarantined=1, files=10, size_bytes=500))
    assert metered.value("files_total", source="data", outcome="loaded") == 7
    assert metered.value("files_total", source="data", outcome="quarantined") == 1
    assert metered.value("rows_total", source="data") == 9
    assert metered.value("bytes_total", source="data") == 500
    assert metered.value("batch_rows_bucket", le="10.0") == 1
    assert metered.value("batch_rows_bucket", le="5.0") == 0
    assert metered.value("commit_seconds_count") == 1


def test_sweeps_are_counted_by_what_they_came_to(metered: Metered) -> None:
    """Verdicts and failures are told apart; only a whole one moves the time of the last sweep."""
    metered.tell(swept(), swept(verdict="not_checked"), SweepFailed(source="data", depth="quick", error="busy"))
    results = {
        result: metered.value("sweeps_total", source="data", depth="quick", result=result)
        for result in ("consistent", "inconsistent", "not_checked", "failed")
    }
    assert results == {"consistent": 1, "inconsistent": 0, "not_checked": 1, "failed": 1}
    assert metered.value("last_sweep_timestamp_seconds", source="data", depth="quick") == START.timestamp()
    assert metered.value("last_sweep_timestamp_seconds", source="data", depth="full") is None


def test_other_counters_count_their_events(metered: Metered) -> None:
    """Lost hints, another database and days without a certificate are counted, each by one."""
    metered.tell(
        HintsSuspectedLost(source="data", cause="many"),
        StoreReplaced(before="a", now="b"),
        DayUncertified(source="data", project="bot", day="2026-11-20", verdict="inconsistent", places={}),
    )
    assert metered.value("hints_suspected_lost_total", source="data") == 1
    assert metered.value("database_replaced_total") == 1
    assert metered.value("uncertified_days_total") == 1


def test_measurements_are_of_now(metered: Metered) -> None:
    """Load, outage, a standstill and a missing root are as they are when they are asked for."""
    metered.clocked.vitals.follow(lambda: [Load("data", 12, 3.5)])
    assert metered.value("stuck") == 0
    assert metered.value("ready") == 0
    metered.stuck = "the line stands"
    metered.tell(
        DaemonReady(roots=(), database=""),
        StoreUnavailable(error="refused", database="here"),
        RootMissing(source="data", root="/srv/data", error="no such directory"),
    )
    metered.clocked.passed_s = 4
    assert metered.value("stuck") == 1
    assert metered.value("ready") == 1
    assert metered.value("database_up") == 0
    assert metered.value("database_outage_seconds_total") == 4
    assert metered.value("backlog_files", source="data") == 12
    assert metered.value("oldest_pending_seconds", source="data") == 3.5
    assert metered.value("root_missing", source="data") == 1


def test_findings_and_days_keep_what_makes_them_alerts(metered: Metered) -> None:
    """Findings carry their severity, states add up to the files, a due day says how many days are left."""
    everything(metered)
    assert metered.value("findings", source="data", kind="stale", severity="error") == 2
    assert metered.value("ledger_files", source="data", state="loaded") == 8
    assert metered.value("day_due_days", source="data", project="bot", date="2026-11-20") == 2
    assert metered.value("certificate_due_days", source="data", project="bot", date="2026-11-21") == 3
    assert metered.value("last_verified_timestamp_seconds", source="data", depth="full") == START.timestamp()
    assert metered.value("unverified_days", source="data", depth="deep") == 4


def test_quarantine_is_the_databases_count_once_it_was_asked(metered: Metered) -> None:
    """Until then it is what the last quick sweep counted and what came since."""
    metered.tell(swept(), FileQuarantined(source="data", path="p", reason="empty", detail="", size_bytes=0))
    assert metered.value("quarantine_files", source="data") == 3
    metered.answers = DatabaseAnswers(asked_at=START, quarantined_files={"data": 7})
    assert metered.value("quarantine_files", source="data") == 7


def test_the_docs_name_every_metric_with_its_labels() -> None:
    """The table in docs/http.md holds the same names and labels, no more and no less."""
    text = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    _, _, table = text.partition("## Metrics")
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]*) ?\|", table, re.MULTILINE)
    told = {name: {label for label in re.split("[, ]+", labels) if label} for name, labels in rows}
    assert told == {name.removesuffix("_bucket"): labels for name, labels in LABELS.items()}
