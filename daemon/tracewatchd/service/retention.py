"""The retention clock: tells of days that LangSmith will soon delete and that no sweep has proved to be kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

from tracewatchd.model.certificate import Certificate
from tracewatchd.model.errors import TransientError
from tracewatchd.model.events import CertificateDue, DayDue, Tell
from tracewatchd.model.findings import VerificationResult
from tracewatchd.model.retention import Certified, Kept, Proofs, Retained, Retention, VerifiedDay, due_days

_LOOK_S = 600.0


class RetentionStore(Protocol):
    """What Postgres knows of the days of a source."""

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        """What the last sweep of each depth said of each project-day."""
        ...

    async def ledger_directories(self, source: str) -> list[str]:
        """Every ``folder/day`` that the ledger has a path in."""
        ...

    async def certificates(self, source: str) -> dict[str, Certificate]:
        """The last certificate of each project-day, by directory."""
        ...

    async def changed_after(self, source: str, since: Mapping[str, datetime]) -> frozenset[str]:
        """Those of these directories of which the ledger was written after the moment given for each."""
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
    """Looks every few minutes; what is due is told once on each day (UTC) until it is proved, or deleted."""

    def __init__(self, setting: ClockSetting, store: RetentionStore, tell: Tell) -> None:
        self._set = setting
        self._store = store
        self._tell = tell
        self._today: date | None = None
        self._told: set[tuple[str, str, str]] = set()
        self._changed = asyncio.Event()

    def take_over(self, setting: ClockSetting) -> None:
        """Go on with another setting, and look at once."""
        self._set = setting
        self._changed.set()

    async def run(self) -> None:
        """Tell until cancelled; where no project is watched, there is nothing to ask.

        Raises:
            PermanentError: the store's surroundings are wrong.
        """
        while True:
            self._changed.clear()
            if self._set.retentions:
                await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._set.look_s):
                    await self._changed.wait()

    async def look(self) -> None:
        """Tell what is due and was not told today. What the store cannot say now is told at another look."""
        today = self._set.now().astimezone(UTC).date()
        if today != self._today:
            self._today, self._told = today, set()
        for source in self._set.sources:
            try:
                self._say(DayDue, await self.retained(source))
                self._say(CertificateDue, await self.uncertified(source))
            except TransientError:
                return  # the store's gate tells of the outage

    def _say(self, kind: type[DayDue | CertificateDue], retained: Retained) -> None:
        for day in retained.due:
            key = (kind.event, day.source, day.directory)
            if key not in self._told:
                self._told.add(key)
                self._tell(
                    kind(source=day.source, project=day.project, day=day.day, days_left=day.days_left, why=day.why)
                )

    async def retained(self, source: str) -> Retained:
        """What will soon be deleted of a source, and what was.

        Raises:
            TransientError, PermanentError: the store failed.
        """
        if not self._set.retentions:
            return Retained()
        kept = Kept(await self._store.verified_days(source), await self._store.ledger_directories(source))
        return self._due(source, kept)

    async def uncertified(self, source: str) -> Retained:
        """The days of a source that will soon be deleted and have no certificate that holds.

        A source of which no day was ever certified has none to miss.

        Raises:
            TransientError, PermanentError: the store failed.
        """
        certificates = await self._store.certificates(source)
        if not certificates:
            return Retained()
        soon = {day.directory for day in self._due(source, Certified({}, ())).due}
        since = {each: certificates[each].certified_at for each in soon & certificates.keys()}
        return self._due(source, Certified(since, await self._store.changed_after(source, since)))

    def _due(self, source: str, proofs: Proofs) -> Retained:
        setting = self._set
        return due_days(source, setting.retentions, proofs, now=setting.now(), warn_days=setting.warn_days)

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
