"""The retention clock: tells of days that LangSmith will soon delete and that no sweep has proved to be kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

from tracewatchd.model.errors import TransientError
from tracewatchd.model.events import DayDue, Tell
from tracewatchd.model.findings import DueDay, VerificationResult
from tracewatchd.model.retention import Kept, Retained, Retention, VerifiedDay, due_days

_LOOK_S = 600.0


class RetentionStore(Protocol):
    """What Postgres knows of the days of a source."""

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        """What the last sweep of each depth said of each project-day."""
        ...

    async def ledger_directories(self, source: str) -> list[str]:
        """Every ``folder/day`` that the ledger has a path in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSetting:
    """Which projects of which sources are watched, and when a day is told."""

    sources: Sequence[str]
    retentions: Sequence[Retention]
    warn_days: int
    now: Callable[[], datetime]
    look_s: float = _LOOK_S


class RetentionClock:
    """Looks every few minutes; a day that is due is told once on each day (UTC) until it is verified or deleted."""

    def __init__(self, setting: ClockSetting, store: RetentionStore, tell: Tell) -> None:
        self._set = setting
        self._store = store
        self._tell = tell
        self._today: date | None = None
        self._told: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Tell until cancelled; returns at once where no project is watched.

        Raises:
            PermanentError: the store's surroundings are wrong.
        """
        while self._set.retentions:
            await self.look()
            await asyncio.sleep(self._set.look_s)

    async def look(self) -> None:
        """Tell what is due and was not told today. What the store cannot say now is told at another look."""
        today = self._set.now().astimezone(UTC).date()
        if today != self._today:
            self._today, self._told = today, set()
        for source in self._set.sources:
            try:
                self._say(await self.retained(source))
            except TransientError:
                return  # the store's gate tells of the outage

    def _say(self, retained: Retained) -> None:
        for day in retained.due:
            key = (day.source, day.directory)
            if key not in self._told:
                self._told.add(key)
                self._tell(_event(day))

    async def retained(self, source: str) -> Retained:
        """What will soon be deleted of a source, and what was.

        Raises:
            TransientError, PermanentError: the store failed.
        """
        setting = self._set
        if not setting.retentions:
            return Retained()
        kept = Kept(await self._store.verified_days(source), await self._store.ledger_directories(source))
        return due_days(source, setting.retentions, kept, now=setting.now(), warn_days=setting.warn_days)

    async def add_to(self, result: VerificationResult) -> None:
        """Let a sweep's result say it too; what cannot be said was not checked.

        Raises:
            PermanentError: the store's surroundings are wrong.
        """
        try:
            retained = await self.retained(result.source)
        except TransientError as error:
            result.unchecked.append(f"which days LangSmith will soon delete: {error}")
        else:
            result.due, result.past = retained.due, retained.past


def _event(day: DueDay) -> DayDue:
    return DayDue(source=day.source, project=day.project, day=day.day, days_left=day.days_left, why=day.why)
