"""The retention clock against the store: what is told, when, and what happens when the store or the clock does odd."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

from soon import soon
from stores import SOURCE, database_at, plainly
from tracewatchd.model.errors import TransientError
from tracewatchd.model.events import DayDue, Event
from tracewatchd.model.findings import VerificationResult
from tracewatchd.model.retention import Retention, VerifiedDay
from tracewatchd.service.retention import ClockSetting, RetentionClock

BOT = Retention(project="bot", retention_days=14, first_day=date(2026, 11, 11))


class Clocked:
    """A retention clock whose store and time are the test's."""

    def __init__(self, *retentions: Retention, look_s: float = 3_600) -> None:
        self.told: list[Event] = []
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.verified: list[VerifiedDay] = []
        self.failure: TransientError | None = None
        self.looks = 0
        setting = ClockSetting(sources=["s"], retentions=retentions, warn_days=1, now=lambda: self.now, look_s=look_s)
        self.clock = RetentionClock(setting, self, self.told.append)

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        self.looks += 1
        if self.failure:
            raise self.failure
        return self.verified

    async def ledger_directories(self, source: str) -> list[str]:
        return ["bot/2026-11-11"]

    def days(self) -> list[str]:
        """The days that were told since the last time."""
        found = [event.day for event in self.told if isinstance(event, DayDue)]
        self.told.clear()
        return found


async def test_a_day_is_told_once_a_day() -> None:
    """Each day that is due is told at the first look of a day, and again on the next one, until it is verified."""
    clocked = Clocked(BOT)
    await clocked.clock.look()
    assert clocked.told[0] == DayDue(source="s", project="bot", day="2026-11-11", days_left=0, why="never verified")
    assert clocked.days() == ["2026-11-11", "2026-11-12"]
    await clocked.clock.look()
    assert clocked.days() == []
    clocked.now += timedelta(days=1)
    clocked.verified = [
        VerifiedDay(directory="bot/2026-11-13", depth="full", verified_at=clocked.now, verdict="consistent")
    ]
    await clocked.clock.look()
    assert clocked.days() == ["2026-11-12"]


async def test_a_clock_that_jumps() -> None:
    """After a jump far ahead or back, what is due on that day is told, and no look fails."""
    clocked = Clocked(BOT)
    told = []
    for jump in (timedelta(days=40_000), timedelta(days=-80_000), timedelta(days=40_000)):
        clocked.now += jump
        await clocked.clock.look()
        told.append(clocked.days())
    assert told == [["2136-05-18", "2136-05-19"], [], ["2026-11-11", "2026-11-12"]]


async def test_the_store_is_away() -> None:
    """A look that the store does not answer tells nothing; the next one does."""
    clocked = Clocked(BOT)
    clocked.failure = TransientError("away")
    await clocked.clock.look()
    assert clocked.told == []
    clocked.failure = None
    await clocked.clock.look()
    assert clocked.days() == ["2026-11-11", "2026-11-12"]


async def test_it_looks_again_and_again() -> None:
    """It looks at an interval until it is cancelled; where no project is watched it asks nothing and ends."""
    clocked = Clocked(BOT, look_s=0.001)
    task = asyncio.create_task(clocked.clock.run())
    await soon(lambda: clocked.looks > 2)
    task.cancel()
    await asyncio.wait([task])
    idle = Clocked()
    await idle.clock.run()
    assert idle.looks == 0


async def test_a_result_says_it_too() -> None:
    """A sweep's result gets the days that are due; when the store cannot say, that was not checked."""
    clocked = Clocked(BOT)
    result = VerificationResult("s", "full")
    clocked.now += timedelta(days=1)
    await clocked.clock.add_to(result)
    assert [day.day for day in result.due] == ["2026-11-12", "2026-11-13"]
    assert (result.past, result.verdict) == (1, "consistent")
    clocked.failure = TransientError("away")
    unsaid = VerificationResult("s", "full")
    await clocked.clock.add_to(unsaid)
    assert (unsaid.due, unsaid.verdict) == ((), "not_checked")
    assert unsaid.unchecked == ["which days LangSmith will soon delete: away"]


async def test_what_postgres_remembers(database: str) -> None:
    """The days of this source and no other come back as they were written."""
    store = database_at(database)
    await store.open(migrate=False)
    at = datetime(2026, 11, 12, 1, tzinfo=UTC)
    async with plainly(database) as connection:
        for source in (SOURCE, "/other"):
            await connection.execute(
                "INSERT INTO project_days VALUES ($1, 'bot/2026-11-11', 'full', $2, 'consistent', 3, '{}')", source, at
            )
    assert await store.verified_days(SOURCE) == [
        VerifiedDay(directory="bot/2026-11-11", depth="full", verified_at=at, verdict="consistent")
    ]
    await store.close()
