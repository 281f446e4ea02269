"""What a supervisor hears, on real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tracewatchd.model.events import (
    ConfigRejected,
    ConfigReloaded,
    DaemonReady,
    DaemonReloading,
    DaemonStandby,
    DaemonStarted,
    DaemonStopping,
    Event,
    StoreRecovered,
    StoreUnavailable,
)
from tracewatchd.service.systemd import Notifier

READY = DaemonReady(roots=("/r",), database="db")
STANDBY = DaemonStandby(source="s", holder="host:1")
AWAY = StoreUnavailable(error="refused", database="db")
BACK = StoreRecovered(after_s=1)


@dataclass
class Line:
    """A line as a supervisor is told of it."""

    source: str = "s"
    progress: int = 0
    moved: int = 0
    backlog: int = 0
    unfinished: int = 0
    oldest_s: float | None = None


@contextmanager
def supervisor(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(0)
        yield listening


def heard(listening: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(listening.recv(10_000).decode())
        except BlockingIOError:
            return said


def told(notifier: Notifier, *events: Event) -> None:
    for event in events:
        notifier(event)


def test_a_supervisor_hears_what_the_daemon_does(tmp_path: Path) -> None:
    """READY comes with the first watch or standby, the status follows the database, STOPPING comes with a stop."""
    address = str(tmp_path / "notify")
    with supervisor(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        told(notifier, DaemonStarted(version="1", pid=1, roots=()), STANDBY, READY, AWAY, BACK)
        told(notifier, DaemonStopping(cause="SIGTERM", shutdown_s=1))
        assert heard(listening) == [
            "READY=1\nSTATUS=standby: host:1 watches s",
            "STATUS=watching",
            "STATUS=waiting for database",
            "STATUS=watching",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=31000000\nSTATUS=stopping",
        ]


def test_the_status_after_an_outage_is_what_it_was_before(tmp_path: Path) -> None:
    """A daemon that is starting or stands by does not claim to watch when the database is back."""
    address = str(tmp_path / "notify")
    with supervisor(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        told(notifier, AWAY, BACK, STANDBY, AWAY, BACK)
        assert heard(listening) == [
            "READY=1\nSTATUS=waiting for database",
            "STATUS=starting",
            "STATUS=standby: host:1 watches s",
            "STATUS=waiting for database",
            "STATUS=standby: host:1 watches s",
        ]


def test_a_beat_says_what_it_is_at_and_that_it_goes_on(tmp_path: Path) -> None:
    """The watchdog hears of every beat, the status only of what has changed; a start is given more time each time."""
    address = str(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "9000000", "WATCHDOG_PID": str(os.getpid())}
    with supervisor(address) as listening:
        notifier = Notifier(environ)
        assert notifier.interval_s == 3
        notifier.beat(None, [])
        told(notifier, READY)
        for lines in ([Line()], [Line()], [Line(backlog=2, oldest_s=3.2), Line(backlog=1)]):
            notifier.beat(None, lines)
        assert heard(listening) == [
            "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=30000000\nSTATUS=starting",
            "READY=1\nSTATUS=watching",
            "WATCHDOG=1\nSTATUS=watching 1 root: nothing waits",
            "WATCHDOG=1",
            "WATCHDOG=1\nSTATUS=watching 1 root: 3 files wait, oldest 3 s",
        ]


def test_what_is_stuck_pings_no_watchdog(tmp_path: Path) -> None:
    """The status says where; after an outage and during a stop, the status is that of the outage and the stop."""
    address = str(tmp_path / "notify")
    with supervisor(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"})
        assert notifier.interval_s == 5
        told(notifier, DaemonReady(roots=("/a", "/b"), database="db"))
        notifier.beat("reading files\nhas stood still", [])
        told(notifier, AWAY)
        notifier.beat(None, [Line(backlog=1)])
        told(notifier, DaemonStopping(cause="SIGTERM", shutdown_s=1), BACK)
        notifier.beat(None, [])
        assert heard(listening)[1:] == [
            "STATUS=hung: reading files has stood still",
            "STATUS=waiting for database",
            "WATCHDOG=1",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=31000000\nSTATUS=stopping",
            "WATCHDOG=1",
        ]


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "often"}, {"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}])
def test_another_processs_watchdog_is_not_ours(tmp_path: Path, environ: dict[str, str]) -> None:
    """Where no watchdog waits for this very process, it is not pinged."""
    address = str(tmp_path / "notify")
    with supervisor(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address} | environ)
        told(notifier, STANDBY)
        notifier.beat(None, [])
        assert heard(listening) == ["READY=1\nSTATUS=standby: host:1 watches s"]
        assert notifier.interval_s == 5


def test_a_reload_begins_and_ends(tmp_path: Path) -> None:
    """RELOADING with its time, then READY, whether the configuration was right or wrong; a start is not cut short."""
    address = str(tmp_path / "notify")
    good, bad = ConfigReloaded(taken_over=(), needs_restart=()), ConfigRejected(faults=("f",))
    with supervisor(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        told(notifier, DaemonReloading(cause="SIGHUP"), good)
        assert heard(listening) == []
        told(notifier, READY, DaemonReloading(cause="SIGHUP"), good, DaemonReloading(cause="SIGHUP"), bad)
        _, begun, ended, again, rejected = heard(listening)
        assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert again.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert ended == rejected == "READY=1"


def test_an_abstract_address_is_understood() -> None:
    """A leading @ names a socket outside the file system."""
    name = f"tracewatchd-test-{os.getpid()}"
    with supervisor(f"\0{name}") as listening:
        told(Notifier({"NOTIFY_SOCKET": f"@{name}"}), READY)
        assert heard(listening) == ["READY=1\nSTATUS=watching"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_supervisor_nothing_happens(environ: dict[str, str]) -> None:
    """No variable, an empty one and an address that nobody listens at are no errors."""
    told(Notifier(environ), READY)


def test_a_supervisor_that_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    """A full socket drops messages and returns at once."""
    address = str(tmp_path / "notify")
    with supervisor(address) as listening:
        told(Notifier({"NOTIFY_SOCKET": address}), *[AWAY, BACK] * 5_000)
        assert 0 < len(heard(listening)) < 10_000
