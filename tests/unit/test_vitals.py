"""What the daemon keeps of its events: state, outages, sweeps, curves; bounded, and there at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from standings import START, Clocked, Load, committed, swept
from tracewatchd.model.events import (
    DaemonReady,
    DaemonStandby,
    DaemonStopping,
    DayDue,
    FileQuarantined,
    HintsSuspectedLost,
    LeaseLost,
    RootMissing,
    RootReturned,
    StoreAwaited,
    StoreRecovered,
    StoreReplaced,
    StoreUnavailable,
    SweepFailed,
    WatchStarted,
)
from tracewatchd.service import vitals as vitals_module
from tracewatchd.service.vitals import severity_of

READY = DaemonReady(roots=("/srv/data",), database="here")
AWAY = StoreUnavailable(error="refused", database="here")


@pytest.fixture
def clocked() -> Clocked:
    return Clocked()


def test_the_phase_follows_the_daemons_life(clocked: Clocked) -> None:
    """Starting, standby, watching, standby again when the lease is lost, and stopping; the text says each."""
    vitals = clocked.vitals
    assert (vitals.phase, vitals.status_text(), vitals.is_ready) == ("starting", "starting", False)
    vitals(DaemonStandby(source="data", holder="other:1"))
    assert (vitals.status_text(), vitals.is_ready) == ("standby: other:1 watches data", True)
    vitals(READY)
    assert (vitals.phase, vitals.status_text(), vitals.is_ready) == ("watching", "watching: idle", True)
    vitals(LeaseLost(source="data", holder="third:1"))
    assert vitals.status_text() == "standby: third:1 watches data"
    vitals(DaemonStopping(cause="SIGTERM", shutdown_s=5))
    assert (vitals.status_text(), vitals.is_ready) == ("stopping", False)


def test_load_is_measured_of_every_line_of_a_source(clocked: Clocked) -> None:
    """Lines of one source add up, the oldest file is the oldest of all of them; the text says both."""
    clocked.vitals(READY)
    lines = [Load("data", 3, 2.0), Load("data", 1, 9.0), Load("other")]
    clocked.vitals.follow(lambda: lines)
    assert clocked.vitals.backlog() == {"data": 4, "other": 0}
    assert clocked.vitals.oldest_s() == {"data": 9.0, "other": 0.0}
    assert clocked.vitals.status_text() == "watching: 4 waiting, oldest 9 s"


def test_an_outage_lasts_until_the_recovery_and_adds_up(clocked: Clocked) -> None:
    """While it lasts the text says how long; afterwards the sum stays. Reminders and another identity begin none."""
    vitals = clocked.vitals
    vitals(READY)
    vitals(AWAY)
    clocked.passed_s = 7
    vitals(StoreAwaited(error="still refused", outage_s=7))
    assert (vitals.database_up, vitals.outage_s, vitals.outage_error) == (False, 7, "still refused")
    assert vitals.status_text() == "waiting for database (7 s)"
    vitals(StoreRecovered(after_s=7))
    vitals(StoreReplaced(before="a", now="b"))
    assert (vitals.database_up, vitals.outage_s, vitals.outages_s, vitals.outage_error) == (True, 0.0, 7, "")
    vitals(AWAY)
    clocked.passed_s = 10
    assert vitals.outages_s == 10


def test_sweeps_are_kept_by_depth(clocked: Clocked) -> None:
    """The last of each depth is kept; one that failed or could not check all leaves the time of the last whole one."""
    vitals = clocked.vitals
    vitals(swept(fixed=3))
    vitals(swept("full", "inconsistent", mismatch=2))
    clocked.passed_s = 60
    vitals(SweepFailed(source="data", depth="quick", error="busy"))
    vitals(swept("full", "not_checked"))
    known = vitals.sources["data"]
    assert known.sweeps["quick"].error == "busy"
    assert known.said["quick"].fixed == {"missing": 3}
    assert known.whole_at == {"quick": START, "full": START}
    assert known.states() == {"loaded": 8, "quarantined": 2}


def test_findings_are_those_of_the_last_sweep_of_any_depth(clocked: Clocked) -> None:
    """A kind that only one depth can see is not forgotten by a sweep of another depth, and is not counted twice."""
    vitals = clocked.vitals
    vitals(swept("deep", "inconsistent", mismatch=2, gone=1))
    vitals(swept(gone=3))
    assert vitals.sources["data"].findings() == {"mismatch": 2, "gone": 3}
    vitals(swept("deep"))
    assert vitals.sources["data"].findings() == {"gone": 3}


def test_quarantine_is_counted_on_from_the_last_quick_sweep(clocked: Clocked) -> None:
    """What came after the sweep is added to what it counted, and the next sweep counts anew."""
    vitals = clocked.vitals
    assert vitals.sources == {}
    vitals(FileQuarantined(source="data", path="p", reason="empty", detail="", size_bytes=0))
    assert vitals.sources["data"].quarantined == 1
    vitals(swept())
    assert vitals.sources["data"].quarantined == 2
    vitals(FileQuarantined(source="data", path="q", reason="empty", detail="", size_bytes=0))
    assert vitals.sources["data"].quarantined == 3


def test_roots_come_and_go(clocked: Clocked) -> None:
    """How a root is watched is kept, and since when it is missing; the text names it until it is back."""
    vitals = clocked.vitals
    vitals(READY)
    vitals(WatchStarted(source="data", root="/srv/data", mode="events", file_system="ext4"))
    known = vitals.sources["data"]
    assert (known.root, known.mode, known.file_system, known.missing_since) == ("/srv/data", "events", "ext4", None)
    vitals(RootMissing(source="data", root="/srv/data", error="no such directory"))
    clocked.passed_s = 5
    vitals(RootMissing(source="data", root="/srv/data", error="no such directory"))
    assert known.missing_since == START
    assert vitals.status_text() == "watching: idle; missing: data"
    vitals(RootReturned(source="data", root="/srv/data", missing_s=5))
    assert known.missing_since is None


def test_curves_sum_what_was_committed_and_keep_the_worst_load(clocked: Clocked) -> None:
    """Thirty seconds are one point: rows and bytes of its batches, the most backlog and age, and any outage."""
    vitals = clocked.vitals
    lines = [Load("data", 5, 1.5)]
    vitals.follow(lambda: lines)
    vitals(committed(loaded=6, updated=2, unchanged=2))
    vitals.sample()
    lines[0] = Load("data", 2, 4.0)
    clocked.passed_s = 29
    vitals.sample()
    vitals(committed(loaded=10))
    clocked.passed_s = 31
    vitals(AWAY)
    first, second = vitals.curve
    assert (first.at, first.files, first.rows, first.size_bytes) == (START, 20, 18, 2_000)
    assert (first.backlog, first.lag_s, first.away) == (5, 4.0, False)
    assert (second.at, second.rows, second.away) == (START + timedelta(seconds=30), 0, True)


def test_three_hours_of_curve_are_kept(clocked: Clocked) -> None:
    """Memory is bounded: after four hours the first one is forgotten."""
    for number in range(480):
        clocked.passed_s = number * 30
        clocked.vitals.sample()
    assert len(clocked.vitals.curve) == 360
    assert clocked.vitals.curve[0].at == START + timedelta(hours=1)


def test_days_that_are_due_are_told_for_a_day(clocked: Clocked) -> None:
    """A due day is kept while it is told anew each day, and forgotten when it is told no more."""

    def due(day: str, left: int) -> DayDue:
        return DayDue(source="data", project="bot", day=day, days_left=left, why="never verified")

    clocked.vitals(due("2026-11-20", 3))
    clocked.vitals(due("2026-11-21", 4))
    clocked.passed_s = 86_400
    clocked.vitals(due("2026-11-20", 2))
    assert clocked.vitals.due() == {("data", "bot", "2026-11-21"): 4, ("data", "bot", "2026-11-20"): 2}
    clocked.passed_s += 7_200
    assert clocked.vitals.due() == {("data", "bot", "2026-11-20"): 2}


def test_the_number_of_due_days_and_sources_is_bounded(clocked: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of too many due days is forgotten; of too many sources the last ones are not taken in."""
    monkeypatch.setattr(vitals_module, "_MOST_DUE", 2)
    monkeypatch.setattr(vitals_module, "_MOST_SOURCES", 2)
    for number in range(3):
        clocked.vitals(DayDue(source=f"s{number}", project="bot", day="2026-11-20", days_left=1, why=""))
        clocked.vitals(swept(source=f"s{number}"))
    assert [source for source, _, _ in clocked.vitals.due()] == ["s1", "s2"]
    assert list(clocked.vitals.sources) == ["s0", "s1"]


def test_other_events_change_nothing(clocked: Clocked) -> None:
    """What is not about the daemon's state is not kept."""
    clocked.vitals(HintsSuspectedLost(source="data", cause="many"))
    assert clocked.vitals.sources == {}
    assert severity_of("mismatch") == "critical"
