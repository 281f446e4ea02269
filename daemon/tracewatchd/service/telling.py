"""One event, many listeners: log lines, the supervisor's notifications, progress."""

from __future__ import annotations

from collections.abc import Iterable

from tracewatchd.model.events import Event, Tell


def tell_all(listeners: Iterable[Tell]) -> Tell:
    """A teller that hands each event to every listener, in order."""
    fixed = tuple(listeners)

    def tell(event: Event) -> None:
        for listener in fixed:
            listener(event)

    return tell
