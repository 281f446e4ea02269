"""The retention clock against the store: what is told, when, and what happens when the store or the clock does odd."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from soon import soon
from stores import SOURCE, database_at, plainly
from tracewatchd.model.certificate import Certificate, Location
from tracewatchd.model.errors import TransientError
from tracewatchd.model.events import CertificateDue, DayDue, Event
from tracewatchd.model.findings import VerificationResult
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.retention import Retention, VerifiedDay
from tracewatchd.service.retention import ClockSetting, RetentionClock

BOT = Retention(project="bot", retention_days=14, first_day=date(2026, 11, 11))


class Clocked:
    """A retention clock whose store and time are the test's."""

    def __init__(self, *retentions: Retention, look_s: float = 3_600, warn_days: int = 1) -> None:
        self.told: list[Event] = []
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.verified: list[VerifiedDay] = []
        self.certified: list[Certificate] = []
        self.changed: frozenset[str] = frozenset()
        self.failure: TransientError | None = None
        self.looks = 0
        setting = ClockSetting(
            sources=["s"], retentions=retentions, warn_days=warn_days, now=lambda: self.now, look_s=look_s
        )
        self.clock = RetentionClock(setting, self, self.told.append)

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        self.looks += 1
        if self.failure:
            raise self.failure
        return self.verified

    async def ledger_directories(self, source: str) -> list[str]:
        return ["bot/2026-11-11"]

    async def certificates(self, source: str) -> dict[str, Certificate]:
        return {certificate.day.directory: certificate for certificate in self.certified}

    async def changed_after(self, source: str, since: Mapping[str, datetime]) -> frozenset[str]:
        assert since == {one.day.directory: one.certified_at for one in self.certified if one.day.directory in since}
        return self.changed & since.keys()

    def certify(self, day: int, *, at: datetime) -> None:
        """Write a certificate of this day of the month."""
        self.certified.append(
            Certificate(
                source="s",
                day=ProjectDay.of(f"bot/2026-11-{day}"),
                certified_at=at,
                locations=(Location.FILES, Location.ZIP),
                runs=1,
                files=1,
                day_digest="00" * 32,
            )
        )

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


async def test_certificates_that_are_missing_or_outdated_are_told() -> None:
    """Of the days that are due each whose certificate does not hold is told, once a day, with the reason."""
    clocked = Clocked(BOT, warn_days=4)
    for day, at in ((12, datetime(2026, 11, 12, 23, tzinfo=UTC)), (13, clocked.now), (14, clocked.now)):
        clocked.certify(day, at=at)
    clocked.changed = frozenset({"bot/2026-11-14", "bot/2026-11-20"})
    await clocked.clock.look()
    await clocked.clock.look()
    told = [(one.day, one.why, one.days_left) for one in clocked.told if isinstance(one, CertificateDue)]
    assert told == [
        ("2026-11-11", "no certificate", 0),
        ("2026-11-12", "certified only before the day had ended", 1),
        ("2026-11-14", "changed after its certificate", 3),
        ("2026-11-15", "no certificate", 4),
    ]


async def test_who_never_certified_anything_misses_no_certificate() -> None:
    """Where a source has no certificate at all, none is told to be missing."""
    clocked = Clocked(BOT)
    await clocked.clock.look()
    assert {type(event) for event in clocked.told} == {DayDue}


async def test_what_was_written_after_a_moment(database: str) -> None:
    """Of the directories that are asked for, those with a ledger row written after the moment given for each."""
    store = database_at(database)
    await store.open(migrate=False)
    early, late = datetime(2026, 11, 12, 1, tzinfo=UTC), datetime(2026, 11, 12, 2, tzinfo=UTC)
    insert = (
        "INSERT INTO ledger"
        " (source, path, size_bytes, mtime_ns, ctime_ns, state, reason, detail, setting, rules, updated_at)"
        " VALUES ($1, $2, 1, 1, 1, 'quarantined', 'truncated', 'cut', '', 1, $3)"
    )
    async with plainly(database) as connection:
        for source, path, at in (
            (SOURCE, "bot/2026-11-11/a.json", late),
            (SOURCE, "bot/2026-11-12/a.json", early),
            (SOURCE, "bot/2026-11-12x/a.json", late),
            (SOURCE, "bot/2026-11-13/a.json", late),
            ("/other", "bot/2026-11-12/b.json", late),
        ):
            await connection.execute(insert, source, path, at)
    asked = dict.fromkeys(("bot/2026-11-11", "bot/2026-11-12", "bot/2026-11-14"), early)
    assert await store.changed_after(SOURCE, asked | {"bot/2026-11-13": late}) == {"bot/2026-11-11"}
    assert await store.changed_after(SOURCE, {}) == frozenset()
    await store.close()


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
    """It looks at an interval until it is cancelled."""
    clocked = Clocked(BOT, look_s=0.001)
    task = asyncio.create_task(clocked.clock.run())
    await soon(lambda: clocked.looks > 2)
    task.cancel()
    await asyncio.wait([task])


async def test_another_setting_counts_at_once() -> None:
    """Where no project is watched it asks nothing; when one is, after a reload, it looks without waiting."""
    clocked = Clocked()
    task = asyncio.create_task(clocked.clock.run())
    for _ in range(3):
        await asyncio.sleep(0)
    assert clocked.looks == 0
    setting = ClockSetting(sources=["s"], retentions=[BOT], warn_days=1, now=lambda: clocked.now)
    clocked.clock.take_over(setting)
    await soon(lambda: clocked.told)
    assert clocked.looks == 1
    task.cancel()
    await asyncio.wait([task])


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
        VerifiedDay(directory="bot/2026-11-11", depth="full", verified_at=at, verdict="consistent", files=3)
    ]
    await store.close()
