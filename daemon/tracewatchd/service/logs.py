"""Log lines: every event as one JSON object (or one line for people), written without ever blocking the work."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import select
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

from tracewatchd.model.events import CATALOGUE_VERSION, Event, Level, LibraryLogged, LogDropped

LogFormat = Literal["auto", "json", "console"]

_RANKS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
# Of a URL everything up to its last @: a password may hold, unescaped, what ends other parts of a URL.
_CREDENTIALS = re.compile(r"(://[^:/?#@\s]*:)\S+@|\b((?:pg|ssl)?password=)[^&\s]+", re.IGNORECASE)
_LINES_WAITING = 10_000
_CLOSE_S = 2.0

_EventDict = MutableMapping[str, Any]


class LinePipe:
    """Lines on their way to a descriptor, at most 10,000; what does not fit is dropped and counted.

    A thread of its own writes, so that a reader that stands still stops only the log.
    """

    def __init__(self, descriptor: int, *, dropped_line: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_WAITING)
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Add a line; returns at once."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._drop(1)

    def close(self) -> None:
        """Write what waits, for at most two seconds."""
        try:
            self._lines.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write_after_count(line)
        self._write_after_count("")

    def _write_after_count(self, line: str) -> None:
        """Write a line, and before it how many were dropped, if any were."""
        dropped = self._take_dropped()
        text = self._dropped_line(dropped) + line if dropped else line
        if not self._write_out(text.encode("utf-8", "backslashreplace")):
            self._drop(dropped + bool(line))

    def _drop(self, lines: int) -> None:
        with self._counting:
            self._dropped += lines

    def _take_dropped(self) -> int:
        with self._counting:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _write_out(self, left: bytes) -> bool:
        try:
            while left:
                left = left[self._write_some(left) :]
        except OSError:
            # Whoever read the log is gone. The work goes on; the count is told when someone reads again.
            return False
        return True

    def _write_some(self, left: bytes) -> int:
        try:
            return os.write(self._descriptor, left)
        except BlockingIOError:  # whoever started us made the pipe so; half a line must not stay half
            select.select([], [self._descriptor], [])
            return 0


class Log:
    """The listener that writes events of at least ``level`` as lines."""

    def __init__(self, stream: TextIO, *, format: LogFormat, level: Level) -> None:  # noqa: A002 - as the setting is called
        as_json = format == "json" or (format == "auto" and not stream.isatty())
        self._least = _RANKS[level]
        self._render = _json_line if as_json else _console(colors=stream.isatty())
        self._pipe = LinePipe(stream.fileno(), dropped_line=lambda lines: self._line(LogDropped(lines=lines)))

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if _RANKS[event.level] >= self._least:
            self._pipe.put(self._line(event))

    def take_over(self, level: Level) -> None:
        """Write events of at least this level from now on."""
        self._least = _RANKS[level]

    def close(self) -> None:
        """Write what waits, within a limit."""
        self._pipe.close()

    def take_over_libraries(self) -> None:
        """What libraries log (warnings and worse) becomes events too, so that every line has the one form."""
        logging.basicConfig(handlers=[_LibraryHandler(self)], level=logging.WARNING, force=True)
        logging.captureWarnings(capture=True)

    def _line(self, event: Event) -> str:
        fields = {"level": event.level, "event": event.event, "v": CATALOGUE_VERSION}
        fields |= msgspec.to_builtins(event)
        return _rendered(self._render, fields)


class _LibraryHandler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text = f"{text}: {record.exc_info[1]!r}"
        self._log(LibraryLogged(library=record.name, message=text))


def _mask(fields: _EventDict) -> _EventDict:
    """The last line of defence: no password of a connection leaves, whoever put it into a message."""
    for key, value in fields.items():
        if isinstance(value, str):
            fields[key] = _CREDENTIALS.sub(_masked, value)
    return fields


def _masked(found: re.Match[str]) -> str:
    before_url_password, before_parameter = found.groups()
    return f"{before_url_password}********@" if before_url_password else f"{before_parameter}********"


def _rendered(render: Callable[[_EventDict], str], fields: _EventDict) -> str:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return render(_mask({"timestamp": now, **fields})) + "\n"


def _json_line(fields: _EventDict) -> str:
    try:
        return msgspec.json.encode(fields).decode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace").decode()


def _console(*, colors: bool) -> Callable[[_EventDict], str]:
    import structlog  # noqa: PLC0415 - takes a tenth of a command's start, and only a terminal has this form

    renderer = structlog.dev.ConsoleRenderer(colors=colors)

    def render(fields: _EventDict) -> str:
        shown = {key: value for key, value in fields.items() if key != "v"}
        return str(renderer(None, "", shown))

    return render


def standard_error_log(*, format: LogFormat, level: Level) -> Log:  # noqa: A002 - as the setting is called
    """The log of this process."""
    return Log(sys.stderr, format=format, level=level)
