"""What a daemon says of itself: the document of ``/status``, from which the page and ``tracewatchd status`` are drawn.

Times are UTC; every number's unit stands in its name. Fields are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

Health = Literal["healthy", "attention", "unhealthy", "unknown"]
"""*attention*: something wants a person, and nothing is broken. *unknown*: nothing was checked yet, or no longer."""
Seriousness = Literal["error", "warning", "info"]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be, and the one thing to do next: words, with commands between backticks."""

    severity: Seriousness
    sentence: str
    do: str


class DatabaseNow(msgspec.Struct, frozen=True, kw_only=True):
    """The database. ``name`` holds no password; ``outages_s`` adds up every outage since the process began."""

    name: str
    up: bool
    error: str = ""
    outage_s: float = 0.0
    outages_s: float = 0.0


class SweepNow(msgspec.Struct, frozen=True, kw_only=True):
    """The last sweep of one depth. With an ``error`` it ended before it was done."""

    depth: str
    at: datetime
    verdict: str
    files: int = 0
    days: int = 0
    findings: Mapping[str, int] = {}
    fixed: Mapping[str, int] = {}
    took_s: float = 0.0
    error: str = ""


class SourceNow(msgspec.Struct, frozen=True, kw_only=True):
    """One root. ``states`` counts its run files as the last quick sweep did; ``mode`` is empty until it is watched."""

    source: str
    root: str
    mode: str = ""
    file_system: str = ""
    missing_since: datetime | None = None
    backlog_files: int = 0
    oldest_s: float = 0.0
    states: Mapping[str, int] = {}
    findings: Mapping[str, int] = {}
    sweeps: tuple[SweepNow, ...] = ()


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Thirty seconds: what was committed in them, and the worst load that was measured."""

    at: datetime
    files: int
    rows: int
    size_bytes: int
    backlog_files: int
    lag_s: float
    database_away: bool


class DayNow(msgspec.Struct, frozen=True, kw_only=True):
    """One project-day. ``verdict`` is empty where no sweep has looked at it.

    ``verdict`` is what sweeps say that no later sweep of at least the same depth has overruled. ``days_left`` is set
    where LangSmith will soon delete a day that is not proved to be kept, and ``why_due`` says what is missing.
    """

    source: str
    directory: str
    verdict: str = ""
    files: int = 0
    depth: str = ""
    verified_at: datetime | None = None
    certified_at: datetime | None = None
    quarantined_files: int = 0
    days_left: int | None = None
    why_due: str = ""


class QuarantinedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that cannot be stored, and the command that says more of it."""

    source: str
    path: str
    reason: str
    detail: str
    since: datetime
    command: str


class DatabaseAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """What only the database knows, as of ``asked_at``; ``error`` says why it could not be asked since.

    ``quarantine`` holds the files that were quarantined last, ``quarantined_files`` counts all of them by source and
    ``quarantine_reasons`` by reason; ``days`` is in byte order. ``verified_since`` says, by source and depth, since
    when at the latest every project-day that was ever verified at that depth, or deeper, has been; ``unverified_days``
    counts those that never were.
    """

    asked_at: datetime | None = None
    error: str = ""
    quarantine: tuple[QuarantinedFile, ...] = ()
    quarantined_files: Mapping[str, int] = {}
    quarantine_reasons: Mapping[str, int] = {}
    days: tuple[DayNow, ...] = ()
    verified_since: Mapping[str, Mapping[str, datetime]] = {}
    unverified_days: Mapping[str, Mapping[str, int]] = {}


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. ``phase`` is starting, standby, watching or stopping; ``doing`` says the same in words."""

    version: str
    pid: int
    now: datetime
    started_at: datetime
    phase: str
    doing: str
    ready: bool
    stuck: str
    health: Health
    sentence: str
    troubles: tuple[Trouble, ...]
    database: DatabaseNow
    sources: tuple[SourceNow, ...]
    answers: DatabaseAnswers
    curve: tuple[CurvePoint, ...]
