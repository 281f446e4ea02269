"""The shipped units under a real systemd, each as it is but for what a drop-in says."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from daemons import query, rows_reach
from postgres import Server, run_now
from run_files import put, run_body, run_path
from running import eventually
from systemd_machine import CREDENTIALS, UNIT, Machine, machine, why_not

pytestmark = pytest.mark.xdist_group("systemd")

RECONCILE = "tracewatchd-reconcile.service"
TIMER = "tracewatchd-reconcile.timer"
ROOT = "/srv/traces"
PASSWORD = "correct-horse-battery"
WATCHDOG_S = 4
RESTARTED_SOON = f"WatchdogSec={WATCHDOG_S}\nRestartSec=100ms"
PATIENCE_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """A machine, the directory that it watches, and a database that is its own."""

    machine: Machine
    server: Server
    traces: Path
    dsn: str

    @property
    def url(self) -> str:
        """The database as the machine reaches it, with a password that must stay secret."""
        name = self.dsn.partition("@/")[2].partition("?")[0]
        return f"postgresql://tracewatchd:{PASSWORD}@/{name}?host=/run/database"

    def configure(self, *, drop_in: str = RESTARTED_SOON, **sections: dict[str, Any]) -> None:
        """A configuration in which nothing happens by itself, but for what is given; the address is a credential."""
        calm = {"sweep_interval_s": 3600, "roots": [ROOT]}
        sections["watch"] = calm | sections.get("watch", {})
        sections["sweep"] = {"full_interval_s": 0, "deep_interval_s": 0} | sections.get("sweep", {})
        self.machine.write(f"{CREDENTIALS}/database__url", self.url, mode=0o600)
        self.machine.configure(sections, drop_in=drop_in)

    def start(self, unit: str = UNIT) -> None:
        """Start a unit, and return when systemd says that it has started."""
        self.machine.run("systemctl", "start", unit)

    def put(self, numbers: Sequence[int]) -> None:
        """Write run files."""
        for number in numbers:
            put(self.traces, run_path(number), run_body(number))


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[tuple[Machine, Server, Path]]:
    """A machine, a server and a directory for every test of this page."""
    if reason := why_not():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("systemd")
    traces = directory / "traces"
    traces.mkdir()
    with Server(wheel) as server:
        server.directory.chmod(0o711)
        with machine(directory / "machine", {ROOT: traces, "/run/database": server.directory}) as booted:
            yield booted, server, traces


@pytest.fixture
def site(grounds: tuple[Machine, Server, Path]) -> Iterator[Site]:
    """The machine with nothing of ours running, an empty directory and an empty database."""
    booted, server, traces = grounds
    dsn = server.create_database()
    yield Site(machine=booted, server=server, traces=traces, dsn=dsn)
    booted.run("systemctl", "stop", TIMER, RECONCILE, UNIT)
    booted.run("systemctl", "reset-failed")
    booted.run("journalctl", "--quiet", "--rotate", "--vacuum-time=1s")
    for file in traces.rglob("*.json"):
        file.unlink()
    server.drop_database(dsn)


# ---- starting


def test_it_is_active_only_when_it_is_ready(site: Site) -> None:
    """While the database has not answered yet, the start goes on; when it has, and watches stand, it is over."""
    site.configure()
    postmaster = site.server.process
    assert postmaster is not None
    postmaster.send_signal(signal.SIGSTOP)
    try:
        site.machine.run("systemctl", "start", "--no-block", UNIT)
        site.machine.wait_for_event("daemon.started")
        assert site.machine.show("ActiveState") == "activating"
    finally:
        postmaster.send_signal(signal.SIGCONT)
    site.machine.wait_for("StatusText", "watching 1 root: nothing waits")
    assert site.machine.show("ActiveState") == "active"
    assert site.machine.events("store.unavailable") == []


def test_without_its_database_it_is_active_and_says_so(site: Site) -> None:
    """The status names the outage, at the start and later; what was written meanwhile is loaded when it is over."""
    site.configure()
    site.server.stop()
    try:
        site.start()
        assert (site.machine.show("ActiveState"), site.machine.show("StatusText")) == ("active", "waiting for database")
        site.put(range(20))
    finally:
        site.server.start()
    site.machine.wait_for("StatusText", "watching 1 root: nothing waits")
    rows_reach(site.dsn, 20)
    site.server.stop()
    try:
        site.put(range(20, 30))
        site.machine.wait_for("StatusText", "waiting for database")
    finally:
        site.server.start()
    rows_reach(site.dsn, 30)
    assert site.machine.show("NRestarts") == "0"


def test_a_configuration_that_cannot_be_used_is_not_tried_again(site: Site) -> None:
    """It ends with 78, stays down, and the unit that tells somebody has run."""
    site.configure(ingest={"batch_rows": 0})
    site.machine.run("systemctl", "start", UNIT, check=False)
    site.machine.wait_for("ActiveState", "failed")
    assert (site.machine.show("ExecMainStatus"), site.machine.show("NRestarts")) == ("78", "0")
    assert "ingest.batch_rows: must be a whole number" in site.machine.journal(UNIT)
    told = f"tracewatchd-failed@{UNIT}.service"
    eventually(lambda: f"{UNIT} failed: exit-code, exit status 78" in site.machine.journal(told), patience_s=PATIENCE_S)


# ---- reloading


def test_a_reload_applies_what_can_change_and_rejects_what_is_wrong(site: Site) -> None:
    """Another interval counts at once, in the same process; of a broken file nothing is taken, and the work goes on."""
    site.configure()
    site.start()
    site.machine.wait_for_event("sweep.finished")
    before = site.machine.show("MainPID")
    site.configure(watch={"sweep_interval_s": 1}, ingest={"batch_rows": 7})
    site.machine.run("systemctl", "reload", UNIT)
    told = site.machine.wait_for_event("config.reloaded")
    assert (told["taken_over"], told["needs_restart"]) == (["watch.sweep_interval_s"], ["ingest.batch_rows"])
    swept = site.machine.wait_for_event("sweep.finished", count=3)
    assert swept["cause"] == "interval"
    site.configure(watch={"sweep_interval_s": 0})
    site.machine.run("systemctl", "reload", UNIT)
    (fault,) = site.machine.wait_for_event("config.rejected")["faults"]
    assert fault.startswith("/etc/tracewatchd/config.toml: watch.sweep_interval_s: must be a number from 1 to 86400")
    site.machine.wait_for_event("sweep.finished", count=len(site.machine.events("sweep.finished")) + 2)
    assert (site.machine.show("ActiveState"), site.machine.show("MainPID")) == ("active", before)


# ---- the watchdog


def test_a_line_that_hangs_is_killed_and_comes_back_without_loss(site: Site) -> None:
    """A thread hangs in the reading of a file, and the rest goes on: systemd is told nothing, and starts it anew."""
    site.configure(service={"stuck_s": 1}, database={"commit_timeout_s": 1, "connect_timeout_s": 1})
    site.start()
    site.put(range(3))
    rows_reach(site.dsn, 3)
    before = site.machine.show("MainPID")
    stalled = f"{ROOT}/{run_path(7)}"
    stall = ("strace", "-f", "-p", before, "-P", stalled, "-e", "inject=read:delay_enter=600s")
    with site.machine.running(*stall) as tracer:
        assert tracer.stderr is not None
        assert b"attached" in tracer.stderr.readline()
        site.put(range(10))
        stuck = site.machine.wait_for_event("daemon.stuck")
        # A traced process does not go before its tracer has.
        eventually(lambda: "Watchdog timeout" in site.machine.journal(UNIT), patience_s=PATIENCE_S)
    site.machine.wait_for("NRestarts", "1")
    assert "reading files has stood still for" in stuck["where"]
    rows_reach(site.dsn, 10)
    assert site.machine.show("MainPID") != before
    site.machine.wait_for("StatusText", "nothing waits")


def test_a_process_that_stands_still_is_killed_too(site: Site) -> None:
    """Nothing runs in it any more, so nothing pings."""
    site.configure()
    site.start()
    site.machine.run("kill", "-STOP", site.machine.show("MainPID"))
    site.put(range(5))
    site.machine.wait_for("NRestarts", "1")
    rows_reach(site.dsn, 5)


def test_a_commit_that_takes_long_is_left_alone(site: Site) -> None:
    """Somebody holds `runs` for three times the watchdog's limit: each wait is one that was declared."""
    site.configure(database={"lock_timeout_s": 60, "commit_timeout_s": 60})
    site.start()
    site.put([0])
    rows_reach(site.dsn, 1)

    async def hold() -> None:
        connection = await asyncpg.connect(site.dsn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE runs IN EXCLUSIVE MODE")
            site.put(range(1, 6))
            site.machine.wait_for("StatusText", "files wait")
            began_us = int(site.machine.show("WatchdogTimestampMonotonic"))
            eventually(
                lambda: int(site.machine.show("WatchdogTimestampMonotonic")) > began_us + 3 * WATCHDOG_S * 1_000_000,
                patience_s=PATIENCE_S,
            )
        await connection.close()

    run_now(hold())
    rows_reach(site.dsn, 6)
    assert site.machine.show("NRestarts") == "0"
    assert site.machine.events("daemon.stuck") == []


# ---- stopping


def test_a_stop_drains(site: Site) -> None:
    """What was written before the stop is loaded when systemd says that it has stopped."""
    site.configure()
    site.start()
    site.put(range(1_000))
    site.machine.run("systemctl", "stop", UNIT)
    assert query(site.dsn, "SELECT count(*) FROM runs") == 1_000
    (stopped,) = site.machine.events("daemon.stopped")
    assert (stopped["exit_code"], stopped["left_files"]) == (0, 0)
    assert (site.machine.show("ActiveState"), site.machine.show("Result")) == ("inactive", "success")


# ---- the timer


def test_the_timer_sweeps_and_a_failure_is_told(site: Site) -> None:
    """`reconcile --once` loads what it finds, with no daemon there; where it cannot check, somebody is told."""
    site.configure()
    site.start()
    site.machine.run("systemctl", "stop", UNIT)
    site.put(range(10))
    # In place of once a day.
    soon = "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n"
    site.machine.write(f"etc/systemd/system/{TIMER}.d/test.conf", soon)
    site.machine.run("systemctl", "daemon-reload")
    site.start(TIMER)
    rows_reach(site.dsn, 10)
    site.machine.wait_for("SubState", "dead", RECONCILE)
    assert (site.machine.show("Result", RECONCILE), site.machine.show("ExecMainStatus", RECONCILE)) == ("success", "0")
    site.server.stop()
    try:
        site.machine.run("systemctl", "start", RECONCILE, check=False)
    finally:
        site.server.start()
    told = f"tracewatchd-failed@{RECONCILE}.service"
    eventually(
        lambda: f"{RECONCILE} failed: exit-code, exit status 3" in site.machine.journal(told), patience_s=PATIENCE_S
    )


# ---- secrets


def test_secrets_are_nowhere_to_be_seen(site: Site) -> None:
    """The password is in the file of the credential alone: in no property, argument, variable or line of a log."""
    site.configure()
    site.start()
    site.put([1])
    rows_reach(site.dsn, 1)
    inside = site.machine
    shown = inside.run("systemctl", "show", UNIT) + inside.run("systemctl", "cat", UNIT)
    processes = inside.run("ps", "-eww", "-o", "args")
    variables = inside.run("cat", f"/proc/{inside.show('MainPID')}/environ")
    assert UNIT in shown
    assert "run --config" in processes
    assert "CREDENTIALS_DIRECTORY" in variables
    assert "daemon.ready" in inside.journal()
    assert PASSWORD not in shown + processes + variables + inside.journal()
