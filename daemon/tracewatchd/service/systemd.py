"""What a supervisor is told: READY, STATUS and STOPPING by sd_notify(3); nothing where there is no supervisor."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

from tracewatchd.model.events import (
    DaemonReady,
    DaemonStandby,
    DaemonStopping,
    Event,
    StoreRecovered,
    StoreUnavailable,
)


class Notifier:
    """A listener that turns events into notifications on ``$NOTIFY_SOCKET``."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = "starting"
        """What we do as long as the database answers."""

    def __call__(self, event: Event) -> None:
        """Send what this event means to a supervisor, if anything."""
        if self._address and (message := self._message(event)):
            self._send(message)

    def _message(self, event: Event) -> str:
        match event:
            case DaemonReady():
                return self._ready("watching")
            case DaemonStandby(source=source, holder=holder):
                return self._ready(f"standby: {holder} watches {source}")
            case DaemonStopping():
                return "STOPPING=1\nSTATUS=stopping"
            case StoreUnavailable():
                return "STATUS=waiting for database"
            case StoreRecovered():
                return f"STATUS={self._status}"
            case _:
                return ""

    def _ready(self, status: str) -> str:
        self._status = status
        return f"READY=1\nSTATUS={status}"

    def _send(self, message: str) -> None:
        # A leading @ stands for the NUL byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto(message.encode(), address)
