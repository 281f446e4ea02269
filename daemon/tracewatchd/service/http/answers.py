"""What only the database knows of quarantine and project-days: asked when somebody looks, seldom, and never waited for.

One question is under way at a time, within a limit; whoever looks meanwhile, or while the database is away, gets what
was answered last and is told since when it holds.
"""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, get_args

import msgspec

from tracewatchd.model.certificate import Certificate
from tracewatchd.model.daemon_status import DatabaseAnswers, DayNow, QuarantinedFile
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.findings import Depth, DueDay
from tracewatchd.model.ledger import QuarantineRow
from tracewatchd.model.retention import Retained, VerifiedDay
from tracewatchd.store.queries import QuarantineCount

_DEPTHS: tuple[Depth, ...] = get_args(Depth)
_WORST_FIRST = ("inconsistent", "not_checked", "consistent")
_MOST_FILES = 100
_MOST_COUNTS = 10_000
_MOST_DAYS = 6_000
_LIMIT_S = 10.0
_WAIT_S = 2.0
_FRESH_S = 10.0
_DETAIL_CHARACTERS = 500


class AnswerStore(Protocol):
    """What is asked of the database."""

    async def quarantined_newest(self, limit: int) -> list[QuarantineRow]:
        """The files that were quarantined last."""
        ...

    async def quarantine_counts(self, limit: int) -> list[QuarantineCount]:
        """How many files are quarantined, by source, project-day and reason."""
        ...

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        """What the last sweep of each depth said of each project-day."""
        ...

    async def ledger_directories(self, source: str) -> list[str]:
        """Every ``folder/day`` that the ledger has a path in."""
        ...

    async def certificates(self, source: str) -> dict[str, Certificate]:
        """The last certificate of each project-day."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSetting:
    """What is asked about, and how.

    ``retained`` says which days of a source LangSmith will soon delete, ``may_ask`` whether the database can be asked
    now. One round of questions takes at most ``limit_s``, and whoever looks waits at most ``wait_s`` for it.
    """

    sources: Sequence[str]
    store: AnswerStore
    retained: Callable[[str], Awaitable[Retained]]
    may_ask: Callable[[], bool]
    now: Callable[[], datetime]
    clock: Callable[[], float]
    limit_s: float = _LIMIT_S
    wait_s: float = _WAIT_S


class StoreAnswers:
    """The last answers, renewed when somebody looks and they are older than a few seconds."""

    def __init__(self, setting: AnswerSetting) -> None:
        self._set = setting
        self._last = DatabaseAnswers()
        self._tried_s: float | None = None
        self._round: asyncio.Task[None] | None = None

    @property
    def last(self) -> DatabaseAnswers:
        """What was answered last."""
        return self._last

    async def get(self, *, fresh_s: float = _FRESH_S) -> DatabaseAnswers:
        """The last answers, after an attempt to renew them that is waited for a little, where they are too old."""
        if not self._set.may_ask():
            return msgspec.structs.replace(self._last, error="the database cannot be asked now")
        if self._round is None and self._is_old(fresh_s):
            self._round = asyncio.create_task(self._ask())
        if self._round:
            await asyncio.wait([self._round], timeout=self._set.wait_s)
        return self._last

    async def close(self) -> None:
        """Ask no more."""
        if self._round:
            self._round.cancel()
            await asyncio.wait([self._round])

    def _is_old(self, fresh_s: float) -> bool:
        return self._tried_s is None or self._set.clock() - self._tried_s >= fresh_s

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(self._set.limit_s):
                self._last = await self._asked()
        except TimeoutError:
            self._failed(f"the database did not answer within {self._set.limit_s:g} s")
        except (TransientError, PermanentError) as error:
            self._failed(str(error))
        finally:
            self._tried_s, self._round = self._set.clock(), None

    def _failed(self, error: str) -> None:
        self._last = msgspec.structs.replace(self._last, error=error)

    async def _asked(self) -> DatabaseAnswers:
        store = self._set.store
        counts = await store.quarantine_counts(_MOST_COUNTS)
        newest = await store.quarantined_newest(_MOST_FILES)
        known = [await self._days_of(source, counts) for source in self._set.sources]
        newest_first = sorted((day for days in known for day in days.told), key=lambda day: day.directory[-10:])
        return DatabaseAnswers(
            asked_at=self._set.now(),
            quarantine=tuple(map(_quarantined, newest)),
            quarantined_files=_summed((count.source, count.files) for count in counts),
            quarantine_reasons=_summed((count.reason, count.files) for count in counts),
            days=tuple(sorted(newest_first[-_MOST_DAYS:], key=lambda day: (day.source, day.directory))),
            verified_since={days.source: days.verified_since for days in known},
            unverified_days={days.source: days.unverified for days in known},
        )

    async def _days_of(self, source: str, counts: Sequence[QuarantineCount]) -> _Days:
        store = self._set.store
        verified = _by_day(await store.verified_days(source))
        loaded = await store.ledger_directories(source)
        certificates = await store.certificates(source)
        due = {day.directory: day for day in (await self._set.retained(source)).due}
        quarantined = _summed((count.directory, count.files) for count in counts if count.source == source)
        told = [
            _day(
                source,
                directory,
                standing(verified.get(directory, ())),
                certificates.get(directory),
                quarantined.get(directory, 0),
                due.get(directory),
            )
            for directory in sorted({*loaded, *verified, *certificates, *due})
        ]
        times = {depth: [_verified_at(verified.get(day, ()), depth) for day in loaded] for depth in _DEPTHS}
        return _Days(
            source=source,
            told=told,
            verified_since={depth: min(at) for depth, one in times.items() if (at := [each for each in one if each])},
            unverified={depth: one.count(None) for depth, one in times.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Days:
    """What is known of one source's days, and since when its loaded days are verified at each depth."""

    source: str
    told: Sequence[DayNow]
    verified_since: Mapping[str, datetime]
    unverified: Mapping[str, int]


def _day(
    source: str,
    directory: str,
    last: VerifiedDay | None,
    certificate: Certificate | None,
    quarantined_files: int,
    due: DueDay | None,
) -> DayNow:
    return DayNow(
        source=source,
        directory=directory,
        verdict=last.verdict if last else "",
        files=last.files if last else 0,
        depth=last.depth if last else "",
        verified_at=last.verified_at if last else None,
        certified_at=certificate.certified_at if certificate else None,
        quarantined_files=quarantined_files,
        days_left=due.days_left if due else None,
        why_due=due.why if due else "",
    )


def standing(told: Iterable[VerifiedDay]) -> VerifiedDay | None:
    """What of all that was said of a day stands: the worst that no later sweep of at least the same depth overruled."""
    every = list(told)
    valid = [
        one
        for one in every
        if not any(
            other.verified_at > one.verified_at and _DEPTHS.index(other.depth) >= _DEPTHS.index(one.depth)
            for other in every
        )
    ]
    return min(valid, key=lambda one: (_WORST_FIRST.index(one.verdict), -_DEPTHS.index(one.depth)), default=None)


def what_stands(verified: Iterable[VerifiedDay]) -> Mapping[str, VerifiedDay]:
    """The same of each day of a source."""
    return {directory: last for directory, told in _by_day(verified).items() if (last := standing(told))}


def _verified_at(told: Iterable[VerifiedDay], depth: Depth) -> datetime | None:
    """When a day was last compared at this depth, or deeper."""
    deep_enough = [
        one.verified_at
        for one in told
        if _DEPTHS.index(one.depth) >= _DEPTHS.index(depth) and one.verdict != "not_checked"
    ]
    return max(deep_enough, default=None)


def _by_day(verified: Iterable[VerifiedDay]) -> Mapping[str, Sequence[VerifiedDay]]:
    by_day: dict[str, list[VerifiedDay]] = {}
    for one in verified:
        by_day.setdefault(one.directory, []).append(one)
    return by_day


def _quarantined(row: QuarantineRow) -> QuarantinedFile:
    return QuarantinedFile(
        source=row.source,
        path=row.path,
        reason=row.reason,
        detail=row.detail[:_DETAIL_CHARACTERS],
        since=row.first_seen_at,
        command=f"tracewatchd quarantine show --source {shlex.quote(row.source)} {shlex.quote(row.path)}",
    )


def _summed(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for key, count in counts:
        total[key] += count
    return dict(total)
