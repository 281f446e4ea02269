"""How long LangSmith keeps what, and which days it will delete before anyone has proved that they are kept here.

A day is safe when a full or deep sweep, made after the day had ended, said that it is consistent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from tracewatchd.model.findings import Depth, DueDay, Verdict
from tracewatchd.model.layout import encode_path

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long LangSmith keeps a project's runs, and since when there are any.

    ``folder`` is the name of its directory, where that is not the project's own; ``source`` is None where the project
    may lie in any.
    """

    project: str
    retention_days: int
    first_day: date
    folder: str | None = None
    source: str | None = None

    def directory(self, day: date) -> str:
        """Where the files of a day lie, if there are any."""
        return f"{encode_path((self.folder or self.project).encode())}/{day.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDay:
    """What the last sweep of one depth that looked at a whole project-day said of it, and how many files it had."""

    directory: str
    depth: Depth
    verified_at: datetime
    verdict: Verdict
    files: int = 0


class Proofs(Protocol):
    """What proves of days that they are kept."""

    def why_unsafe(self, directory: str, day: date) -> str:
        """Why a day is not proved to be kept; empty where it is."""
        ...


class Kept:
    """What is known here of one source's days: ``loaded`` holds the directories that the ledger has a path in."""

    def __init__(self, verified: Iterable[VerifiedDay], loaded: Iterable[str]) -> None:
        self._loaded = frozenset(loaded)
        self._verified: dict[str, list[VerifiedDay]] = defaultdict(list)
        for one in verified:
            self._verified[one.directory].append(one)

    def why_unsafe(self, directory: str, day: date) -> str:
        """Why a day is not proved to be kept; empty where it is. What could not be checked proves nothing."""
        told = self._verified.get(directory, ())
        read = [one for one in told if one.depth != "quick" and one.verdict != "not_checked"]
        if not read:
            return self._why_unread(directory, told)
        newest = max(read, key=lambda one: one.verified_at)
        if newest.verdict == "inconsistent":
            return "inconsistent"
        return "" if newest.verified_at >= _end(day) else "verified only before the day had ended"

    def _why_unread(self, directory: str, told: Sequence[VerifiedDay]) -> str:
        if any(one.depth != "quick" for one in told):
            return "not checked"
        if told:
            return "verified only quick"
        return "never verified" if directory in self._loaded else "nothing was loaded"


class Certified:
    """What certificates say of one source's days: when each was written, and which days changed after theirs."""

    def __init__(self, certified_at: Mapping[str, datetime], changed: Collection[str]) -> None:
        self._certified_at = certified_at
        self._changed = changed

    def why_unsafe(self, directory: str, day: date) -> str:
        """Why a day has no certificate that holds; empty where it has."""
        certified_at = self._certified_at.get(directory)
        if certified_at is None:
            return "no certificate"
        if certified_at < _end(day):
            return "certified only before the day had ended"
        return "changed after its certificate" if directory in self._changed else ""


def _end(day: date) -> datetime:
    return datetime.combine(day + _DAY, time(), UTC)


@dataclass(frozen=True, slots=True)
class Retained:
    """The days of one source that will soon be deleted unproved, and how many already were."""

    due: tuple[DueDay, ...] = ()
    past: int = 0


def due_days(
    source: str,
    retentions: Iterable[Retention],
    kept: Proofs,
    *,
    now: datetime,
    warn_days: int,
) -> Retained:
    """What the clock says of a source: every day of each project counts, from its first up to yesterday (UTC).

    A day's first runs are deleted ``retention_days`` after it began, its last ones a day later: that whole day counts
    as the one on which it is deleted.
    """
    today = now.astimezone(UTC).date()
    unsafe = [
        day
        for retention in retentions
        if retention.source in {None, source}
        for day in _unsafe(source, retention, kept, today, warn_days)
    ]
    due = sorted((day for day in unsafe if day.days_left >= 0), key=lambda one: (one.days_left, one.directory))
    return Retained(tuple(due), len(unsafe) - len(due))


def _unsafe(source: str, retention: Retention, kept: Proofs, today: date, warn_days: int) -> Iterator[DueDay]:
    """The days that are deleted within ``warn_days``, or were, and are not proved to be kept."""
    ages = range(max(1, retention.retention_days - warn_days), (today - retention.first_day).days + 1)
    for age in reversed(ages):
        day = today - timedelta(days=age)
        directory = retention.directory(day)
        why = kept.why_unsafe(directory, day)
        if why:
            days_left = retention.retention_days - age
            yield DueDay(source, retention.project, directory, day.isoformat(), days_left, why)
