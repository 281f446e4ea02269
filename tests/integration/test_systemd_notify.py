"""What a supervisor hears, on real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tracewatchd.model.events import (
    DaemonReady,
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
            "READY=1\nSTATUS=watching",
            "STATUS=waiting for database",
            "STATUS=watching",
            "STOPPING=1\nSTATUS=stopping",
        ]


def test_the_status_after_an_outage_is_what_it_was_before(tmp_path: Path) -> None:
    """A daemon that is starting or stands by does not claim to watch when the database is back."""
    address = str(tmp_path / "notify")
    with supervisor(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        told(notifier, AWAY, BACK, STANDBY, AWAY, BACK)
        assert heard(listening) == [
            "STATUS=waiting for database",
            "STATUS=starting",
            "READY=1\nSTATUS=standby: host:1 watches s",
            "STATUS=waiting for database",
            "STATUS=standby: host:1 watches s",
        ]


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
