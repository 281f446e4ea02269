"""The document of `/status`, put together from vitals, answers and a pulse."""

from __future__ import annotations

from datetime import timedelta

import pytest

from standings import START, Clocked, Load, committed, swept
from tracewatchd.model.daemon_status import DaemonStatus, DatabaseAnswers
from tracewatchd.model.events import (
    DaemonReady,
    DaemonStandby,
    DaemonStopping,
    RootMissing,
    StoreRecovered,
    StoreUnavailable,
    SweepFailed,
    WatchStarted,
)
from tracewatchd.service.http.told import About, status_of, why_not_ready

AWAY = StoreUnavailable(error="refused", database="here")


@pytest.fixture
def clocked() -> Clocked:
    return Clocked()


def told(clocked: Clocked, stuck: str | None = None) -> DaemonStatus:
    about = About(
        version="1.2.3",
        pid=7,
        roots={"data": "/srv/data", "more": "/srv/more"},
        database="here",
        now=lambda: START + timedelta(seconds=clocked.passed_s),
    )
    return status_of(about, clocked.vitals, DatabaseAnswers(), stuck)


def test_a_daemon_that_has_just_started_is_not_known_to_be_well(clocked: Clocked) -> None:
    """Every root is listed, also before anything is known of it."""
    status = told(clocked)
    assert (status.health, status.phase, status.ready, status.pid) == ("unknown", "starting", False, 7)
    assert [(source.source, source.root, source.mode) for source in status.sources] == [
        ("data", "/srv/data", ""),
        ("more", "/srv/more", ""),
    ]


def test_everything_that_is_known_stands_in_it(clocked: Clocked) -> None:
    """Load, sweeps in the order of their depth, curves and uptime."""
    vitals = clocked.vitals
    for event in (
        DaemonReady(roots=(), database="here"),
        WatchStarted(source="data", root="/srv/data", mode="events", file_system="ext4"),
        swept("full"),
        swept(fixed=2, gone=1),
        SweepFailed(source="data", depth="deep", error="busy"),
        committed(loaded=4),
    ):
        vitals(event)
    vitals.follow(lambda: [Load("data", 3, 1.23)])
    clocked.passed_s = 90
    status = told(clocked)
    assert (status.health, status.ready, status.doing) == ("attention", True, "watching: 3 waiting, oldest 1 s")
    data, _ = status.sources
    assert (data.backlog_files, data.oldest_s, data.mode, data.file_system) == (3, 1.2, "events", "ext4")
    assert [(sweep.depth, sweep.error) for sweep in data.sweeps] == [("quick", ""), ("full", ""), ("deep", "busy")]
    assert data.sweeps[0].fixed == {"missing": 2}
    assert (data.states, data.findings) == ({"loaded": 8, "quarantined": 2}, {"gone": 1})
    assert [point.rows for point in status.curve] == [4]
    assert status.now - status.started_at == timedelta(seconds=90)


def test_a_standstill_and_an_outage_stand_in_it(clocked: Clocked) -> None:
    """Both make it unhealthy, the standstill first; a missing root says since when."""
    clocked.vitals(DaemonReady(roots=(), database="here"))
    clocked.vitals(AWAY)
    clocked.vitals(RootMissing(source="more", root="/srv/more", error="no such directory"))
    clocked.passed_s = 12
    status = told(clocked, "the line stands")
    assert (status.health, status.ready, status.stuck) == ("unhealthy", False, "the line stands")
    assert status.sentence.startswith("The work stands still: the line stands.")
    assert (status.database.up, status.database.outage_s, status.database.error) == (False, 12, "refused")
    assert status.sources[1].missing_since == START


def test_why_it_is_not_ready(clocked: Clocked) -> None:
    """Starting, waiting and stopping are reasons; standing by is none."""
    vitals = clocked.vitals
    assert why_not_ready(vitals) == "starting: the watches do not stand yet"
    vitals(AWAY)
    clocked.passed_s = 3
    assert why_not_ready(vitals) == "waiting for database for 3 s"
    vitals(StoreRecovered(after_s=3))
    vitals(DaemonStandby(source="data", holder="other"))
    assert why_not_ready(vitals) == ""
    vitals(DaemonReady(roots=(), database=""))
    assert why_not_ready(vitals) == ""
    vitals(DaemonStopping(cause="SIGTERM", shutdown_s=1))
    assert why_not_ready(vitals) == "stopping"
