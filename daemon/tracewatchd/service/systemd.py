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

    def __call__(self, event: Event) -> None:
        """Send what this event means to a supervisor, if anything."""
        if self._address and (message := _message(event)):
            self._send(message)

    def _send(self, message: str) -> None:
        # A leading @ stands for the NUL byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto(message.encode(), address)


def _message(event: Event) -> str:
    match event:
        case DaemonReady():
            return "READY=1\nSTATUS=watching"
        case DaemonStandby(source=source, holder=holder):
            return f"READY=1\nSTATUS=standby: {holder} watches {source}"
        case DaemonStopping():
            return "STOPPING=1\nSTATUS=stopping"
        case StoreUnavailable():
            return "STATUS=waiting for database"
        case StoreRecovered():
            return "STATUS=watching"
        case _:
            return ""
