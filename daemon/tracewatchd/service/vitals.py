"""What the daemon knows of its own state: a listener that keeps, of all events, what people and monitors ask for.

It holds a bounded amount, asks nobody, and never waits: every answer is there at once, also with the database away.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from tracewatchd.model.events import (
    BatchCommitted,
    CertificateDue,
    DaemonReady,
    DaemonStandby,
    DaemonStopping,
    DayDue,
    Event,
    FileQuarantined,
    LeaseLost,
    RootMissing,
    RootReturned,
    StoreAwaited,
    StoreRecovered,
    StoreReplaced,
    StoreUnavailable,
    SweepFailed,
    SweepFinished,
    WatchStarted,
)
from tracewatchd.model.findings import FACTS, Kind
from tracewatchd.model.results import Outcome

Phase: TypeAlias = Literal["starting", "standby", "watching", "stopping"]
"""What the process does: between `standby` and `watching` there is nothing; away from the database it is the same."""

_WRITTEN = frozenset({Outcome.LOADED, Outcome.UPDATED})
_POINT_S = 30.0
_POINTS = 360
_MOST_SOURCES = 1_000
_MOST_DUE = 10_000
_DUE_HOLDS = timedelta(hours=25)


class Measured(Protocol):
    """A line, as far as its load is concerned."""

    source: str

    @property
    def backlog(self) -> int:
        """Paths that wait, are in flight, or are being waited for."""
        ...

    @property
    def oldest_s(self) -> float | None:
        """Age of the path that has waited longest; None where none waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTold:
    """The last sweep of one depth: what it said, or with an ``error`` why it ended before it was done."""

    depth: str
    at: datetime
    verdict: str
    cause: str = ""
    files: int = 0
    days: int = 0
    findings: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    error: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it was done and could check everything that it was asked to."""
        return not self.error and self.verdict != "not_checked"


@dataclass(slots=True)
class SourceVitals:
    """What is known of one source since the process began."""

    root: str = ""
    mode: str = ""
    file_system: str = ""
    missing_since: datetime | None = None
    sweeps: dict[str, SweepTold] = field(default_factory=dict)
    """The last sweep of each depth, whatever became of it."""
    whole_at: dict[str, datetime] = field(default_factory=dict)
    """When a sweep of each depth was last finished and whole."""
    said: dict[str, SweepTold] = field(default_factory=dict)
    """The last sweep of each depth that was done."""
    quarantined_since: int = 0
    """Files that were quarantined after the last quick sweep."""

    def findings(self) -> dict[str, int]:
        """Findings by kind: of each the most that the last sweep of any depth counted."""
        found: Counter[str] = Counter()
        for sweep in self.said.values():
            found |= Counter(sweep.findings)
        return dict(found)

    def states(self) -> Mapping[str, int]:
        """Run files by state as the last quick sweep, which goes over everything, counted them."""
        return self.said["quick"].states if "quick" in self.said else {}

    @property
    def quarantined(self) -> int:
        """Files in quarantine, to the best of what was told."""
        return self.states().get("quarantined", 0) + self.quarantined_since


@dataclass(slots=True)
class Point:
    """Thirty seconds of a curve: sums of what was committed, and the worst that was measured."""

    at: datetime
    files: int = 0
    rows: int = 0
    size_bytes: int = 0
    backlog: int = 0
    lag_s: float = 0.0
    away: bool = False


class _DaysDue:
    """Days that were told to be due, each until it was not told for 25 hours: it is told once a day."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._told: dict[tuple[str, str, str], tuple[int, datetime]] = {}

    def add(self, event: DayDue | CertificateDue) -> None:
        key = (event.source, event.project, event.day)
        self._told.pop(key, None)
        self._told[key] = (event.days_left, self._now())
        while len(self._told) > _MOST_DUE:
            del self._told[next(iter(self._told))]

    def days_left(self) -> dict[tuple[str, str, str], int]:
        limit = self._now() - _DUE_HOLDS
        self._told = {key: told for key, told in self._told.items() if told[1] >= limit}
        return {key: days_left for key, (days_left, _) in self._told.items()}


class Vitals:
    """Keeps the state of the daemon up to date with every event.

    Args:
        now: the time (UTC).
        clock: monotonic seconds, for how long something lasts.
    """

    def __init__(self, *, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._now = now
        self._clock = clock
        self._lines: Callable[[], Iterable[Measured]] = tuple
        self._outage_began_s: float | None = None
        self._outages_s = 0.0
        self._days_due = _DaysDue(now)
        self._certificates_due = _DaysDue(now)
        self.started_at = now()
        self.phase: Phase = "starting"
        self.standby_for: tuple[str, str] | None = None
        """While standing by: the source, and who holds it."""
        self.outage_error = ""
        self.sources: dict[str, SourceVitals] = {}
        self.curve: deque[Point] = deque(maxlen=_POINTS)

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case BatchCommitted():
                self._committed(event)
            case SweepFinished() | SweepFailed():
                self._swept(event)
            case StoreUnavailable() | StoreAwaited() | StoreRecovered() | StoreReplaced():
                self._store(event)
            case DaemonReady() | DaemonStandby() | DaemonStopping() | LeaseLost():
                self._lives(event)
            case WatchStarted() | RootMissing() | RootReturned():
                self._root(event)
            case FileQuarantined(source=source):
                self._of(source).quarantined_since += 1
            case DayDue():
                self._days_due.add(event)
            case CertificateDue():
                self._certificates_due.add(event)
            case _:
                pass

    def follow(self, lines: Callable[[], Iterable[Measured]]) -> None:
        """Measure these lines, the ones that are at work when it is asked; one source may have several."""
        self._lines = lines

    # What is asked

    @property
    def database_up(self) -> bool:
        """Whether no outage is known."""
        return self._outage_began_s is None

    @property
    def is_ready(self) -> bool:
        """Whether the watches stand, or another daemon is stood by for; an outage does not change it."""
        return self.phase in {"watching", "standby"}

    @property
    def outage_s(self) -> float:
        """How long the outage that is going on has lasted, 0 where none is."""
        return 0.0 if self._outage_began_s is None else self._clock() - self._outage_began_s

    @property
    def outages_s(self) -> float:
        """How long the database was away since the process began, in all."""
        return self._outages_s + self.outage_s

    def backlog(self) -> dict[str, int]:
        """Files that wait, by source."""
        waiting: Counter[str] = Counter()
        for line in self._lines():
            waiting[line.source] += line.backlog
        return dict(waiting)

    def oldest_s(self) -> dict[str, float]:
        """Age of the file that has waited longest, by source; 0 where none waits."""
        oldest: dict[str, float] = {}
        for line in self._lines():
            oldest[line.source] = max(oldest.get(line.source, 0.0), line.oldest_s or 0.0)
        return oldest

    def due(self) -> dict[tuple[str, str, str], int]:
        """Days until LangSmith deletes a day that is not proved to be kept, by source, project and day.

        A day that was not told for 25 hours is told no more.
        """
        return self._days_due.days_left()

    def certificates_due(self) -> dict[tuple[str, str, str], int]:
        """The same of days whose certificate is missing or outdated."""
        return self._certificates_due.days_left()

    def status_text(self) -> str:
        """What the daemon does now, in a few words."""
        if self.phase == "stopping":
            return "stopping"
        if not self.database_up:
            return f"waiting for database ({self.outage_s:.0f} s)"
        if self.standby_for:
            source, holder = self.standby_for
            return f"standby: {holder} watches {source}"
        return self._watching() if self.phase == "watching" else "starting"

    def _watching(self) -> str:
        missing = [source for source, vitals in self.sources.items() if vitals.missing_since]
        waiting = sum(self.backlog().values())
        load = f"{waiting} waiting, oldest {max(self.oldest_s().values(), default=0):.0f} s" if waiting else "idle"
        return f"watching: {load}" + (f"; missing: {', '.join(missing)}" if missing else "")

    def sample(self) -> None:
        """Take the load of the lines down in the curves; called every few seconds."""
        point = self._point()
        point.backlog = max(point.backlog, sum(self.backlog().values()))
        point.lag_s = max(point.lag_s, *self.oldest_s().values(), 0.0)
        point.away |= not self.database_up

    # What happened

    def _of(self, source: str) -> SourceVitals:
        if source not in self.sources and len(self.sources) >= _MOST_SOURCES:
            return SourceVitals()
        return self.sources.setdefault(source, SourceVitals())

    def _point(self) -> Point:
        seconds = self._now().timestamp()
        at = datetime.fromtimestamp(seconds - seconds % _POINT_S, UTC)
        if not self.curve or self.curve[-1].at != at:
            self.curve.append(Point(at))
        return self.curve[-1]

    def _committed(self, event: BatchCommitted) -> None:
        point = self._point()
        point.files += event.files
        point.rows += sum(event.outcomes.get(outcome, 0) for outcome in _WRITTEN)
        point.size_bytes += event.size_bytes

    def _swept(self, event: SweepFinished | SweepFailed) -> None:
        vitals, now = self._of(event.source), self._now()
        if isinstance(event, SweepFailed):
            told = SweepTold(depth=event.depth, at=now, verdict="not_checked", error=event.error)
        else:
            told = _told(event, now)
            vitals.said[event.depth] = told
            if event.depth == "quick":
                vitals.quarantined_since = 0
        vitals.sweeps[event.depth] = told
        if told.is_whole:
            vitals.whole_at[event.depth] = now

    def _store(self, event: StoreUnavailable | StoreAwaited | StoreRecovered | StoreReplaced) -> None:
        match event:
            case StoreUnavailable(error=error) | StoreAwaited(error=error):
                self.outage_error = error
                if self._outage_began_s is None:
                    self._outage_began_s = self._clock()
                self._point().away = True
            case StoreRecovered():
                self._outages_s += self.outage_s
                self._outage_began_s, self.outage_error = None, ""
            case _:
                pass

    def _lives(self, event: DaemonReady | DaemonStandby | DaemonStopping | LeaseLost) -> None:
        match event:
            case DaemonReady():
                self.phase, self.standby_for = "watching", None
            case DaemonStandby(source=source, holder=holder) | LeaseLost(source=source, holder=holder):
                self.phase, self.standby_for = "standby", (source, holder)
            case DaemonStopping():
                self.phase = "stopping"

    def _root(self, event: WatchStarted | RootMissing | RootReturned) -> None:
        vitals = self._of(event.source)
        vitals.root = event.root
        match event:
            case WatchStarted(mode=mode, file_system=file_system):
                vitals.mode, vitals.file_system, vitals.missing_since = mode, file_system, None
            case RootMissing():
                vitals.missing_since = vitals.missing_since or self._now()
            case RootReturned():
                vitals.missing_since = None


def _told(event: SweepFinished, now: datetime) -> SweepTold:
    return SweepTold(
        depth=event.depth,
        at=now,
        verdict=event.verdict,
        cause=event.cause,
        files=event.files,
        days=event.days,
        findings=event.findings,
        fixed=event.fixed,
        states=event.states,
        took_s=event.took_s,
    )


def severity_of(kind: str) -> str:
    """How bad a kind of finding is."""
    return FACTS[Kind(kind)].severity
