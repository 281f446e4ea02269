"""Log lines on real pipes: their form, what never reaches them, and that nobody waits for whoever reads them."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from running import eventually
from tracewatchd.model.events import (
    CATALOGUE_VERSION,
    BatchCommitted,
    DaemonStopped,
    Event,
    FileQuarantined,
    FileReadable,
    LeaseLost,
    Level,
    RootMissing,
    StoreRecovered,
    StoreUnavailable,
)
from tracewatchd.service import logs
from tracewatchd.service.logs import LinePipe, Log, LogFormat
from tracewatchd.service.telling import tell_all

RECOVERED = StoreRecovered(after_s=1.5)


class Reader:
    """The other end of a pipe, which reads only when it is told to."""

    def __init__(self) -> None:
        self.end, self.writing = os.pipe()

    def lines(self) -> list[str]:
        """Everything that was written, when the writer has closed its end."""
        os.close(self.writing)
        with os.fdopen(self.end, "rb") as pipe:
            return pipe.read().decode().splitlines()


@contextmanager
def log_to(descriptor: int, format: LogFormat = "json", level: Level = "debug") -> Iterator[Log]:  # noqa: A002 - as Log
    """A log that writes to a descriptor, closed at the end of the block."""
    with os.fdopen(descriptor, "w", closefd=False) as stream:
        log = Log(stream, format=format, level=level)
        try:
            yield log
        finally:
            log.close()


def written(*events: Event, format: LogFormat = "json", level: Level = "debug") -> list[str]:  # noqa: A002 - as Log
    """The lines that these events become."""
    reader = Reader()
    with log_to(reader.writing, format, level) as log:
        for event in events:
            log(event)
    return reader.lines()


def line_of(event: Event) -> dict[str, Any]:
    (line,) = written(event)
    fields = json.loads(line)
    assert isinstance(fields, dict)
    return fields


# ---- the form


def test_a_line_is_one_json_object_with_what_each_line_has() -> None:
    """First stand timestamp (UTC, ISO 8601), level, event and v, then the fields of the event."""
    fields = line_of(StoreUnavailable(error="refused", database="db"))
    assert list(fields) == ["timestamp", "level", "event", "v", "error", "database"]
    assert fields["level"] == "error"
    assert fields["event"] == "store.unavailable"
    assert fields["v"] == CATALOGUE_VERSION
    assert fields["timestamp"].endswith("Z")
    moment = datetime.fromisoformat(fields["timestamp"])
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_mappings_and_optional_fields_keep_their_shape() -> None:
    """Counts are an object; an optional field that was not given is left out."""
    batch = BatchCommitted(
        source="s",
        files=3,
        outcomes={"loaded": 3},
        size_bytes=9,
        read_s=0.1,
        commit_s=0.2,
        waited_s=0.3,
        waiting_files=0,
    )
    assert line_of(batch)["outcomes"] == {"loaded": 3}
    stopped = DaemonStopped(exit_code=0, left_files=0, uptime_s=1.0, cause="SIGTERM")
    assert "hint" not in line_of(stopped)


def test_the_console_form_is_one_readable_line_for_each_event() -> None:
    """People see level, event and fields without JSON, colours or the catalogue's version; line ends are escaped."""
    (line,) = written(StoreUnavailable(error="one\ntwo", database="db"), format="console")
    assert "store.unavailable" in line
    assert "error='one\\ntwo'" in line
    assert "database=db" in line
    assert not line.startswith("{")
    assert "\x1b" not in line
    assert " v=" not in line


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(level: Level, count: int) -> None:
    """Of an info, a warning and an error event only those of at least the level are written."""
    events = (
        FileReadable(source="s", path="p"),
        LeaseLost(source="s", holder="h"),
        RootMissing(source="s", root="/r", error="e"),
    )
    assert len(written(*events, level=level)) == count


def test_another_level_counts_from_then_on() -> None:
    """What a reload says of the level holds for the next event."""
    reader = Reader()
    with log_to(reader.writing, level="error") as log:
        log(RECOVERED)
        log.take_over("info")
        log(RECOVERED)
        log.take_over("error")
        log(RECOVERED)
    assert len(reader.lines()) == 1


def test_auto_is_json_in_a_pipe_and_for_people_on_a_terminal() -> None:
    """The form follows what standard error is."""
    assert written(RECOVERED, format="auto")[0].startswith("{")
    terminal, end = pty.openpty()
    with log_to(end, "auto") as log:
        log(RECOVERED)
    shown = os.read(terminal, 10_000).decode()
    os.close(end)
    os.close(terminal)
    assert "store.recovered" in shown
    assert not shown.startswith("{")


SURROGATE = "\udcff"


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_lone_surrogate_breaks_no_line(format: LogFormat) -> None:  # noqa: A002 - as Log
    """A name that is not UTF-8 is written with something in its place, and its neighbours whole."""
    lines = written(RECOVERED, FileReadable(source="s", path=f"a{SURROGATE}b"), RECOVERED, format=format)
    assert len(lines) == 3
    assert "file.readable" in lines[1]
    if format == "json":
        assert json.loads(lines[1])["path"] == "a?b"


@given(st.text(st.characters(), max_size=30))
def test_any_text_in_a_field_gives_one_line_of_json(text: str) -> None:
    """Whatever a field holds, its line is one JSON object, and says it as it is where UTF-8 can."""
    (line,) = _rendered_lines(FileReadable(source="s", path=text))
    said = json.loads(line)["path"]
    if "password" not in text.lower() and "://" not in text:
        assert said == text.encode("utf-8", "replace").decode()


def _rendered_lines(event: Event) -> list[str]:
    fields = {"level": event.level, "event": event.event, **msgspec.to_builtins(event)}
    return logs._rendered(logs._json_line, fields).rstrip("\n").split("\n")


# ---- secrets


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no route to postgresql://bob:s3cret@db/x", "no route to postgresql://bob:********@db/x"),
        ("postgres://bob:s3cret/with@at:and#more@db:5432/x failed", "postgres://bob:********@db:5432/x failed"),
        ("postgres://:s3cret@db/x", "postgres://:********@db/x"),
        ("postgresql:///x?host=/run&password=s3cret&user=bob", "postgresql:///x?host=/run&password=********&user=bob"),
        ("host=db PASSWORD=s3cret user=bob", "host=db PASSWORD=******** user=bob"),
        ("postgres://bob@db:5432/x", "postgres://bob@db:5432/x"),
        ("https://example.org:443/a b@c", "https://example.org:443/a b@c"),
    ],
)
@pytest.mark.parametrize("format", ["json", "console"])
def test_passwords_never_reach_a_line(said: str, shown: str, format: LogFormat) -> None:  # noqa: A002 - as Log
    """Whoever put a connection's password into a message, it is masked; user, host and database stay readable."""
    (line,) = written(StoreUnavailable(error=said, database="x"), format=format)
    assert "s3cret" not in line
    if format == "json":
        assert json.loads(line)["error"] == shown
    else:
        assert shown in line


# ---- nobody waits


def tell_often(log: Log, times: int) -> None:
    for _ in range(times):
        log(RECOVERED)


def test_a_full_pipe_blocks_nobody_and_what_was_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing reads, telling returns at once; afterwards the written and the dropped lines add up."""
    monkeypatch.setattr(logs, "_LINES_WAITING", 100)
    reader = Reader()
    with log_to(reader.writing) as log:
        told = 5_000
        telling = threading.Thread(target=tell_often, args=(log, told))
        telling.start()
        telling.join(20)
        assert not telling.is_alive()
        lines: list[str] = []
        draining = threading.Thread(target=lambda: lines.extend(_read_lines(reader.end)))
        draining.start()
        telling_more = 0
        while not any("log.dropped" in line for line in lines):
            tell_often(log, 1)
            telling_more += 1
    os.close(reader.writing)
    draining.join(20)
    events = [json.loads(line) for line in lines]
    dropped = sum(event["lines"] for event in events if event["event"] == "log.dropped")
    assert dropped > 1_000
    assert dropped + sum(event["event"] == "store.recovered" for event in events) == told + telling_more
    assert {event["event"] for event in events} == {"log.dropped", "store.recovered"}


def _read_lines(end: int) -> Iterator[str]:
    with os.fdopen(end, "r") as pipe:
        yield from pipe


def test_lines_from_many_threads_are_told_or_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost from the count, however many threads tell at once."""
    monkeypatch.setattr(logs, "_LINES_WAITING", 10)
    reader = Reader()
    lines: list[str] = []
    draining = threading.Thread(target=lambda: lines.extend(_read_lines(reader.end)))
    draining.start()
    with log_to(reader.writing) as log:
        threads = [threading.Thread(target=tell_often, args=(log, 2_000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    os.close(reader.writing)
    draining.join(20)
    events = [json.loads(line) for line in lines]
    counts = [event.get("lines", 1) for event in events]
    assert sum(counts) == 8_000


def test_a_reader_that_goes_away_ends_nothing() -> None:
    """Lines to nobody are dropped; closing returns."""
    reader = Reader()
    os.close(reader.end)
    with log_to(reader.writing) as log:
        for _ in range(10):
            log(RECOVERED)
    os.close(reader.writing)


@pytest.mark.parametrize(("more", "read"), [(["kept\n"], b"dropped 3\nkept\n"), ([], b"dropped 3\n")])
def test_when_somebody_reads_again_the_count_comes_first(tmp_path: Path, more: list[str], read: bytes) -> None:
    """What a fifo without reader lost is counted before the next line, and at the end where none comes any more."""
    place = tmp_path / "fifo"
    os.mkfifo(place)
    first = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(place, os.O_WRONLY)
    os.close(first)
    pipe = LinePipe(writing, dropped_line=lambda count: f"dropped {count}\n")
    for _ in range(3):
        pipe.put("lost\n")
    eventually(lambda: pipe._dropped == 3)
    second = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    for line in more:
        pipe.put(line)
    pipe.close()
    os.close(writing)
    assert os.read(second, 1_000) == read
    os.close(second)


def test_closing_waits_for_a_reader_that_stands_still_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody empties holds up the end of the process for a limited time."""
    monkeypatch.setattr(logs, "_CLOSE_S", 0.05)
    monkeypatch.setattr(logs, "_LINES_WAITING", 5)
    reader = Reader()
    with log_to(reader.writing) as log:
        for _ in range(5_000):
            log(RECOVERED)
    os.close(reader.end)
    os.close(reader.writing)


def test_a_pipe_that_does_not_wait_gets_whole_lines() -> None:
    """Where whoever started us made standard error non-blocking, a full pipe delays lines and breaks none."""
    reader = Reader()
    os.set_blocking(reader.writing, False)
    lines: list[str] = []
    draining = threading.Thread(target=lambda: lines.extend(_read_lines(reader.end)))
    events = [FileReadable(source="s", path=f"{number}" * 50) for number in range(2_000)]
    with log_to(reader.writing) as log:
        for event in events:
            log(event)
        draining.start()
    os.close(reader.writing)
    draining.join(20)
    assert [json.loads(line)["path"] for line in lines] == [event.path for event in events]


# ---- what others say


@pytest.fixture
def libraries() -> Iterator[None]:
    """Python's own logging as it was, after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_what_libraries_warn_of_becomes_an_event(libraries: None) -> None:
    """A library's warning is a line of our form with its name and the exception's text; what is less is left out."""
    reader = Reader()
    kept = logging.getLogger().handlers[:]
    for handler in kept:  # force=True would close what is not ours
        logging.getLogger().removeHandler(handler)
    with log_to(reader.writing) as log:
        log.take_over_libraries()
        library = logging.getLogger("a_dependency")
        library.info("chatter")
        library.warning("trouble %s", 7)
        library.error("broken", exc_info=ValueError("why"))
        warnings.simplefilter("always")
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    events = [json.loads(line) for line in reader.lines()]
    assert {event["event"] for event in events} == {"library.logged"}
    assert [event["library"] for event in events] == ["a_dependency", "a_dependency", "py.warnings"]
    assert [event["message"] for event in events[:2]] == ["trouble 7", "broken: ValueError('why')"]
    assert "old ways" in events[2]["message"]


def test_the_log_of_the_process_writes_to_standard_error() -> None:
    """It is JSON where asked for, and the whole of it is there when the process has ended."""
    script = (
        "from tracewatchd.service.logs import standard_error_log\n"
        "from tracewatchd.model.events import StoreRecovered\n"
        "log = standard_error_log(format='json', level='info')\n"
        "[log(StoreRecovered(after_s=n)) for n in range(500)]\n"
        "log.close()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [json.loads(line)["after_s"] for line in ended.stderr.splitlines()] == list(range(500))
    assert ended.stdout == ""


def test_every_listener_hears_every_event_in_order() -> None:
    """One teller hands an event to each listener, the first first."""
    heard: list[tuple[str, Event]] = []
    tell = tell_all(iter([lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event))]))
    tell(RECOVERED)
    tell(FileQuarantined(source="s", path="p", reason="empty", detail="d", size_bytes=0))
    assert [name for name, _ in heard] == ["a", "b", "a", "b"]
    assert heard[0][1] is heard[1][1] is RECOVERED
