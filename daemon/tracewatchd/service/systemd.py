"""What a supervisor is told by sd_notify(3), from READY to STOPPING; nothing where there is no supervisor."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from tracewatchd.model.events import (
    ConfigRejected,
    ConfigReloaded,
    DaemonReady,
    DaemonReloading,
    DaemonStandby,
    DaemonStopping,
    Event,
    StoreRecovered,
    StoreUnavailable,
)
from tracewatchd.service.pulse import Moving

_BEAT_S = 5.0
_BEATS_PER_WATCHDOG = 3
_START_S = 30.0
"""How much longer a start may take, said anew at each beat: a server that does not exist yet is made, tables are."""
_CLOSE_S = 30.0
"""How long it may take, beyond the drain, to give everything back: an embedded server is shut down in good order."""


class Notifier:
    """A listener that turns events, and regular beats, into notifications on ``$NOTIFY_SOCKET``.

    Started is what watches, stands by, or waits for its database: each is a state that lasts, and each is told.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _watchdog_s(environ)
        self._is_started = self._is_away = self._is_stopping = False
        self._roots = 0
        self._doing = "starting"
        """What we do as long as the database answers."""
        self._told_status = ""

    @property
    def interval_s(self) -> float:
        """The time between two beats."""
        return min(_BEAT_S, self._watchdog_s / _BEATS_PER_WATCHDOG) if self._watchdog_s else _BEAT_S

    def __call__(self, event: Event) -> None:
        """Send what this event means to a supervisor, if anything."""
        match event:
            case DaemonReady(roots=roots):
                self._roots = len(roots)
                self._started("watching")
            case DaemonStandby(source=source, holder=holder):
                self._roots = 0
                self._started(f"standby: {holder} watches {source}")
            case StoreUnavailable():
                self._is_away = True
                self._started(self._doing)
            case StoreRecovered():
                self._is_away = False
                self._send(*self._status(self._doing))
            case DaemonReloading() if self._is_started:
                self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            case ConfigReloaded() | ConfigRejected() if self._is_started:
                self._send("READY=1")
            case DaemonStopping(shutdown_s=shutdown_s):
                self._is_stopping = True
                self._send("STOPPING=1", _extended(shutdown_s + _CLOSE_S), *self._status("stopping"))

    def beat(self, stuck: str | None, lines: Iterable[Moving]) -> None:
        """Say that the work goes on, unless it is stuck; and what it is at, where that has changed."""
        parts = []
        if self._watchdog_s and stuck is None:
            parts.append("WATCHDOG=1")
        if not (self._is_started or self._is_stopping) and stuck is None:
            parts.append(_extended(_START_S))
        self._send(*parts, *self._status(f"hung: {stuck}" if stuck else self._watching(lines)))

    def _watching(self, lines: Iterable[Moving]) -> str:
        if not self._roots or self._is_stopping:
            return self._doing
        waiting = [line for line in lines if line.backlog]
        roots = f"watching {self._roots} root{'s' * (self._roots != 1)}"
        if not waiting:
            return f"{roots}: nothing waits"
        oldest_s = max((line.oldest_s or 0.0 for line in waiting), default=0.0)
        return f"{roots}: {sum(line.backlog for line in waiting)} files wait, oldest {oldest_s:.0f} s"

    def _started(self, doing: str) -> None:
        self._doing = doing
        ready = [] if self._is_started else ["READY=1"]
        self._is_started = True
        self._send(*ready, *self._status(doing))

    def _status(self, doing: str) -> list[str]:
        """The status, where it is another one than was told last."""
        if self._is_stopping:
            doing = "stopping"
        elif self._is_away:
            doing = "waiting for database"
        if doing == self._told_status:
            return []
        self._told_status = doing
        return [f"STATUS={' '.join(doing.split())}"]

    def _send(self, *parts: str) -> None:
        if not self._address or not parts:
            return
        # A leading @ stands for the NUL byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto("\n".join(parts).encode("utf-8", "replace"), address)


def _extended(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """Within what time a supervisor wants to hear from this very process; 0 where it does not."""
    limit, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    return int(limit) / 1e6 if limit.isdecimal() and pid in {"", str(os.getpid())} else 0.0
