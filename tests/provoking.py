"""Failures that alerts are for, provoked for real: the installed daemon, a Postgres, and what its log then says."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from daemons import daemon, ended, locked, query, rows_reach, settled
from one_shot import Desk
from postgres import Server
from run_files import put, run_body, run_id, run_path
from running import Running, environment, eventually

Log: TypeAlias = list[dict[str, Any]]

OUTAGE_S = float(os.environ.get("PROVOKED_OUTAGE_S", "32"))
"""How long Postgres is really away; an outage that is long enough for an alert is recorded, or stretched from this."""


@dataclass
class Stage:
    """Where failures are provoked: a root, a server that may be killed, and what everything that ran said.

    ``scrapes`` are answers of ``/metrics`` with their time in seconds since 1970: one of a healthy daemon first.
    """

    directory: Path
    server: Server
    log: Log = field(default_factory=list)
    scrapes: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.dsn = self.server.create_database()

    @property
    def root(self) -> Path:
        """What is watched."""
        return self.directory / "root"

    def env(self, **settings: str) -> dict[str, str]:
        """The environment of a daemon that sweeps often and believes what it sees."""
        return environment(
            TRACEWATCHD_DATABASE__URL=self.dsn,
            TRACEWATCHD_DATABASE__LEASE_TTL_S="1",
            TRACEWATCHD_WATCH__STAMP_GRAIN_S="0",
            TRACEWATCHD_WATCH__SETTLE_S="0",
            TRACEWATCHD_SWEEP__CONFIRM_S="0",
            TRACEWATCHD_SWEEP__GRACE_S="0",
            **({"TRACEWATCHD_WATCH__SWEEP_INTERVAL_S": "1"} | settings),
        )

    def put(self, *numbers: int) -> None:
        """Run files."""
        for number in numbers:
            put(self.root, run_path(number), run_body(number))

    def scrape(self, found: Running) -> None:
        """Ask a daemon for its metrics, as Prometheus does."""
        address = urlsplit(found.wait_for("http.started")["url"])
        connection = HTTPConnection(str(address.hostname), address.port, timeout=20)
        connection.request("GET", "/metrics")
        self.scrapes.append((time.time(), connection.getresponse().read().decode()))
        connection.close()

    @contextmanager
    def daemon(self, *roots: Path, **settings: str) -> Iterator[Running]:
        """A daemon; what it said by the end of the block is added to the log."""
        with daemon(*(roots or (self.root,)), env=self.env(**settings)) as found:
            try:
                yield found
            finally:
                self.log += found.events


Work: TypeAlias = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Provocation:
    """A failure, and the alerts that have to fire by its log: these and no others."""

    what: str
    alerts: frozenset[str]
    work: Work
    stretch_s: float = 0.0
    """By how much the real failure was too short for its alert."""


PROVOCATIONS: dict[str, Provocation] = {}


def _provokes(what: str, *alerts: str, stretch_s: float = 0.0) -> Callable[[Work], Work]:
    def keep(work: Work) -> Work:
        name = work.__name__.strip("_")
        PROVOCATIONS[name] = Provocation(what, frozenset(f"Tracewatchd{one}" for one in alerts), work, stretch_s)
        return work

    return keep


def stretched(log: Log, stretch_s: float) -> Log:
    """What the log would say, had the wait in it lasted so much longer: later times, longer waits."""
    if not stretch_s:
        return log
    is_later, moved = False, []
    for line in log:
        is_later |= line.get("waited_s", 0) > 1
        moved.append(_later(line, stretch_s) if is_later else line)
        is_later |= line["event"] == "store.unavailable"
    return moved


def _later(line: dict[str, Any], shift_s: float) -> dict[str, Any]:
    moved = datetime.fromisoformat(line["timestamp"]) + timedelta(seconds=shift_s)
    waits = {name: line[name] + shift_s for name in ("outage_s", "after_s", "waited_s") if line.get(name, 0) > 1}
    return line | {"timestamp": moved.isoformat().replace("+00:00", "Z")} | waits


# ---------------------------------------------------------------------------------------------------------------------
# What is provoked


@_provokes("nothing: files are loaded, each depth sweeps, a stop")
def _healthy(stage: Stage) -> None:
    stage.put(1, 2, 3)
    often = {"TRACEWATCHD_SWEEP__FULL_INTERVAL_S": "0.2", "TRACEWATCHD_SWEEP__DEEP_INTERVAL_S": "0.3"}
    with stage.daemon(**often) as found:
        settled(found)
        stage.put(4)
        rows_reach(stage.dsn, 4)
        found.wait_for("sweep.finished", count=6)
        stage.scrape(found)
        settled(found, len(found.named("sweep.finished")) + 2)
        stage.scrape(found)
        assert found.stop() == 0


@_provokes(
    "Postgres is killed and stays away, files come meanwhile",
    "StoreUnavailable",
    stretch_s=max(0.0, 305 - OUTAGE_S),
)
def _outage(stage: Stage) -> None:
    with stage.daemon() as found:
        settled(found)
        stage.scrape(found)
        stage.server.stop(signal.SIGKILL)
        stage.put(1)
        found.wait_for("store.unavailable")
        threading.Event().wait(OUTAGE_S)
        found.wait_for("store.awaited")
        stage.scrape(found)
        found.kill()


@_provokes("a table that nobody may write to", "Lag", stretch_s=120)
def _locked_table(stage: Stage) -> None:
    with stage.daemon() as found:
        settled(found)
        stage.scrape(found)
        with locked(stage.dsn):
            stage.put(1)
            eventually(lambda: query(stage.dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted"))
            threading.Event().wait(3)
            stage.scrape(found)
        rows_reach(stage.dsn, 1)
        settled(found, len(found.named("sweep.finished")) + 1)
        assert found.stop() == 0


@_provokes("an outage that has just ended", "StoreUnavailable", "Lag", stretch_s=max(0.0, 305 - OUTAGE_S))
def _catching_up(stage: Stage) -> None:
    with stage.daemon() as found:
        settled(found)
        stage.server.stop(signal.SIGKILL)
        stage.put(1)
        found.wait_for("store.unavailable")
        threading.Event().wait(OUTAGE_S)
        stage.server.start()
        found.wait_for("store.recovered")
        rows_reach(stage.dsn, 1)
        swept = len(found.named("sweep.finished"))
        found.wait_for("sweep.finished", count=swept + 2)
        assert found.stop() == 0


@_provokes("a file that is no run", "QuarantineGrows")
def _poison(stage: Stage) -> None:
    with stage.daemon() as found:
        settled(found)
        stage.scrape(found)
        put(stage.root, run_path(1), b'{"not": "a run"}')
        found.wait_for("file.quarantined")
        settled(found, len(found.named("sweep.finished")) + 1)
        stage.scrape(found)
        assert found.stop() == 0


@_provokes("a row is deleted by hand", "Inconsistent")
def _deleted_row(stage: Stage) -> None:
    stage.put(1, 2)
    with stage.daemon() as found:
        settled(found, 2)
        rows_reach(stage.dsn, 2)
        stage.scrape(found)
        query(stage.dsn, "DELETE FROM runs WHERE run_id = (SELECT run_id FROM runs LIMIT 1)")
        found.wait_for("finding.confirmed")
        settled(found, len(found.named("sweep.finished")) + 1)
        stage.scrape(found)
        assert found.stop() == 0


@_provokes("the root is no longer mounted", "NotChecked")
def _root_away(stage: Stage) -> None:
    stage.put(1)
    with stage.daemon() as found:
        settled(found)
        rows_reach(stage.dsn, 1)
        stage.scrape(found)
        stage.root.rename(stage.directory / "away")
        eventually(lambda: sum(one["verdict"] == "not_checked" for one in found.named("sweep.finished")) > 1)
        stage.scrape(found)
        assert found.stop() == 0


@_provokes("bursts of files, and room for one of them", "HintsLost")
def _bursts(stage: Stage) -> None:
    hourly = {"TRACEWATCHD_WATCH__SWEEP_INTERVAL_S": "3600"}
    with stage.daemon(**hourly, TRACEWATCHD_INGEST__INBOX_PATHS="1") as found:
        settled(found)
        stage.scrape(found)
        for burst in range(1, 7):
            stage.put(*range(burst * 10, burst * 10 + 10))
            found.wait_for("hints.suspected_lost", count=burst)
            rows_reach(stage.dsn, burst * 10)
            eventually(lambda: found.named("sweep.finished")[-1]["states"].get("loaded") == burst * 10)  # noqa: B023 - at once
        stage.scrape(found)
        assert found.stop() == 0


@_provokes("a file that hangs when it is opened, as on a dead network mount", "Stuck")
def _hung_read(stage: Stage) -> None:
    (stage.directory / "sitecustomize.py").write_text(_HANGING_OPEN.format(name=run_path(2).rpartition("/")[2]))
    limits = {
        "PYTHONPATH": str(stage.directory),
        "TRACEWATCHD_SERVICE__STUCK_S": "1",
        "TRACEWATCHD_DATABASE__COMMIT_TIMEOUT_S": "1",
        "TRACEWATCHD_DATABASE__CONNECT_TIMEOUT_S": "1",
    }
    stage.put(1)
    with stage.daemon(**limits) as found:
        settled(found)
        stage.scrape(found)
        stage.put(2)
        found.wait_for("daemon.stuck")
        stage.scrape(found)
        found.kill()


_HANGING_OPEN = """
import os, time

def hangs(path, *args, really=os.open, **options):
    if os.fsdecode(path).endswith("{name}"):
        time.sleep(3600)
    return really(path, *args, **options)

os.open = hangs
"""
"""A mount that is really dead is hard to get rid of again; for the daemon it is a call that never returns."""


@_provokes("the daemon is killed again and again", "Restarts")
def _kills(stage: Stage) -> None:
    stage.put(1)
    for _ in range(3):
        with stage.daemon() as found:
            settled(found)
            stage.scrape(found)
            found.kill()


@_provokes("a root that lies in a known one", "Failed")
def _overlap(stage: Stage) -> None:
    stage.put(1)
    with stage.daemon() as found:
        settled(found)
        assert found.stop() == 0
    with stage.daemon(stage.root / "bot") as found:
        assert ended(found) == 70


@_provokes("another database answers at the same address", "StoreReplaced")
def _another_database(stage: Stage) -> None:
    stage.put(1)
    with stage.daemon() as found:
        settled(found)
        rows_reach(stage.dsn, 1)
        stage.scrape(found)
        query(
            stage.dsn,
            "TRUNCATE runs, ledger",
            "UPDATE identity SET id = gen_random_uuid()",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        found.wait_for("store.replaced")
        rows_reach(stage.dsn, 1)
        settled(found, len(found.named("sweep.finished")) + 1)
        stage.scrape(found)
        assert found.stop() == 0


def _retention(days_left: int) -> dict[str, str]:
    """The settings of a project whose only day is deleted in so many days."""
    day = (datetime.now(UTC) - timedelta(days=14 - days_left)).date().isoformat()
    projects = [{"project": "bot", "retention_days": 14, "first_day": day}]
    return {
        "TRACEWATCHD_RETENTION__PROJECTS": json.dumps(projects),
        "TRACEWATCHD_RETENTION__WARN_DAYS": str(days_left),
    }


@_provokes("a day that nobody exported will be deleted in three days", "DayDue")
def _day_due(stage: Stage) -> None:
    with stage.daemon(**_retention(3)) as found:
        found.wait_for("day.due")
        settled(found)
        stage.scrape(found)
        assert found.stop() == 0


@_provokes("the same, tomorrow", "DayDue", "DayLost")
def _day_lost(stage: Stage) -> None:
    with stage.daemon(**_retention(1)) as found:
        found.wait_for("day.due")
        settled(found)
        stage.scrape(found)
        assert found.stop() == 0


@_provokes("a day is compared with its zip, and there is none", "Uncertified")
def _no_zip(stage: Stage) -> None:
    stage.put(1)
    with stage.daemon() as found:
        settled(found)
        assert found.stop() == 0
    _command(stage, "archive", "verify", "--against", "files,zip", day=run_path(1).split("/")[1], status=1)


@_provokes("a day that LangSmith will soon delete is changed after it was certified", "Uncertified")
def _changed_after_certificate(stage: Stage) -> None:
    day = (datetime.now(UTC) - timedelta(days=10)).date().isoformat()
    path, run = f"bot/{day}/{run_id(1)}_000000.json", {"id": str(run_id(1)), "start_time": f"{day}T06:44:12"}
    put(stage.root, path, json.dumps(run).encode())
    with stage.daemon() as found:
        settled(found)
        assert found.stop() == 0
    _command(stage, "archive", "zip", day=day)
    _command(stage, "archive", "verify", "--against", "files,zip,db", day=day)
    put(stage.root, path, json.dumps(run | {"name": "changed"}).encode())
    _command(stage, "reconcile", "--once", "--depth", "full", day=day)
    with stage.daemon(**_retention(4)) as found:
        assert found.wait_for("certificate.due")["why"] == "changed after its certificate"
        settled(found)
        stage.scrape(found)
        assert found.stop() == 0


def _command(stage: Stage, *words: str, day: str, status: int = 0) -> None:
    """Run a command on a day; what it logs is added to the log."""
    settings = {"WATCH__ROOTS": str(stage.root), "ARCHIVE__ZIP_DIR": str(stage.directory / "zips")}
    settings |= {"ARCHIVE__STATE_DIR": str(stage.directory / "state")}
    desk = Desk(stage.directory, stage.dsn, {f"TRACEWATCHD_{name}": value for name, value in settings.items()})
    result = desk.run(*words, "--project", "bot", "--date", day)
    stage.log += [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    assert result.returncode == status, result.stdout + result.stderr
