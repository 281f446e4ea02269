"""A daemon's vitals under a clock that a test moves, and statuses made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tracewatchd.model.daemon_status import (
    CurvePoint,
    DaemonStatus,
    DatabaseAnswers,
    DatabaseNow,
    DayNow,
    QuarantinedFile,
    SourceNow,
    SweepNow,
    Trouble,
)
from tracewatchd.model.events import BatchCommitted, SweepFinished
from tracewatchd.service.vitals import Vitals

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ATTACK = "</script><script>hacked=1</script><img src='http://127.0.0.1:9/x' onerror='hacked=1'>\u2028'\"><b>"
"""What would run, ask the net or break the page, were it not escaped."""


@dataclass
class Clocked:
    """Vitals, and the two clocks that they look at."""

    passed_s: float = 0.0
    vitals: Vitals = field(init=False)

    def __post_init__(self) -> None:
        self.vitals = Vitals(now=lambda: START + timedelta(seconds=self.passed_s), clock=lambda: 1_000 + self.passed_s)


@dataclass
class Load:
    """A line with this much to do."""

    source: str
    backlog: int = 0
    oldest_s: float | None = None


def committed(source: str = "data", *, files: int = 10, size_bytes: int = 1_000, **outcomes: int) -> BatchCommitted:
    """A batch in which these outcomes occurred."""
    given: dict[str, Any] = {"read_s": 0.01, "commit_s": 0.02, "waited_s": 0.1, "waiting_files": 0}
    known = {name: value for name, value in given.items() if name in BatchCommitted.__struct_fields__}
    return BatchCommitted(source=source, files=files, outcomes=outcomes, size_bytes=size_bytes, **known)


def swept(
    depth: str = "quick", verdict: str = "consistent", *, source: str = "data", fixed: int = 0, **findings: int
) -> SweepFinished:
    """A sweep over ten files that found these."""
    return SweepFinished(
        source=source,
        depth=depth,
        cause="interval",
        verdict=verdict,
        files=10,
        states={"loaded": 8, "quarantined": 2},
        findings=findings,
        fixed={"missing": fixed} if fixed else {},
        ignored=0,
        days=2,
        directories=3,
        took_s=0.5,
    )


def sweep(depth: str = "quick", verdict: str = "consistent", **given: Any) -> SweepNow:
    """The last sweep of a depth, five minutes ago."""
    usual: dict[str, Any] = {"at": START - timedelta(minutes=5), "files": 10, "days": 2}
    return SweepNow(**{"depth": depth, "verdict": verdict} | usual | given)


def source(**given: Any) -> SourceNow:
    """A root that is watched, all of whose files are rows."""
    usual: dict[str, Any] = {
        "source": "data",
        "root": "/srv/data",
        "mode": "events",
        "file_system": "ext4",
        "sweeps": (sweep(),),
    }
    return SourceNow(**usual | {"states": {"loaded": 10}} | given)


def day(directory: str = "bot/2026-11-20", **given: Any) -> DayNow:
    """A day that the last quick sweep found consistent."""
    usual: dict[str, Any] = {"verdict": "consistent", "files": 5, "depth": "quick", "verified_at": START}
    return DayNow(**{"source": "data", "directory": directory} | usual | given)


def quarantined(path: str = "bot/2026-11-20/broken.json", **given: Any) -> QuarantinedFile:
    """A file that cannot be stored."""
    usual: dict[str, Any] = {
        "reason": "invalid_json",
        "detail": "byte 0",
        "since": START,
        "command": "tracewatchd quarantine show x",
    }
    return QuarantinedFile(**{"source": "data", "path": path} | usual | given)


def points(*rows: int, away: frozenset[int] = frozenset()) -> tuple[CurvePoint, ...]:
    """A curve up to now, a point for each number of rows."""
    first = START - timedelta(seconds=30 * len(rows))
    return tuple(
        CurvePoint(
            at=first + timedelta(seconds=30 * number),
            files=count,
            rows=count,
            size_bytes=count,
            backlog_files=0,
            lag_s=count / 10,
            database_away=number in away,
        )
        for number, count in enumerate(rows)
    )


def status(**given: Any) -> DaemonStatus:
    """A healthy daemon, save for what is given."""
    usual: dict[str, Any] = {
        "version": "1.2.3",
        "pid": 7,
        "now": START,
        "started_at": START - timedelta(hours=2),
        "phase": "watching",
        "doing": "watching: idle",
        "ready": True,
        "stuck": "",
        "health": "healthy",
        "sentence": "Every run file is a row.",
        "troubles": (),
        "database": DatabaseNow(name="postgresql://db.example/traces", up=True),
        "sources": (source(),),
        "answers": DatabaseAnswers(asked_at=START, days=(day(),)),
        "curve": points(0, 50, 100, 20),
    }
    return DaemonStatus(**usual | given)


def trouble(severity: Any = "warning", sentence: str = "Something.", do: str = "Run `tracewatchd doctor`.") -> Trouble:
    """Something that is not as it should be."""
    return Trouble(severity=severity, sentence=sentence, do=do)
