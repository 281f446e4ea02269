"""Questions to the database: seldom, one round at a time, within limits, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from soon import soon
from standings import START
from tracewatchd.model.certificate import Certificate, Location
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.findings import DueDay
from tracewatchd.model.ledger import QuarantineRow
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.record import Reason
from tracewatchd.model.retention import Retained, VerifiedDay
from tracewatchd.service.http.answers import AnswerSetting, StoreAnswers, standing, what_stands
from tracewatchd.store.queries import QuarantineCount

DAY = "bot/2026-11-20"


def verified(depth: Any, verdict: Any, *, after_s: float = 0, directory: str = DAY, files: int = 3) -> VerifiedDay:
    at = START + timedelta(seconds=after_s)
    return VerifiedDay(directory=directory, depth=depth, verified_at=at, verdict=verdict, files=files)


ROW = QuarantineRow(
    source="it's data",
    path=f"{DAY}/a b.json",
    reason=Reason.INVALID_JSON,
    detail="x" * 900,
    setting=None,
    size_bytes=5,
    file_sha256=None,
    run_id=None,
    rules=1,
    first_seen_at=START,
    updated_at=START,
)


@dataclass
class FakeStore:
    """A database that answers when it is let, and counts how often it is asked."""

    error: Exception | None = None
    rounds: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    days: list[VerifiedDay] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def quarantine_counts(self, limit: int) -> list[QuarantineCount]:
        self.rounds += 1
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return [QuarantineCount("data", DAY, "empty", 2), QuarantineCount("other", DAY, "empty", 3)]

    async def quarantined_newest(self, limit: int) -> list[QuarantineRow]:
        return [ROW]

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        return self.days

    async def ledger_directories(self, source: str) -> list[str]:
        return [DAY, "bot/2026-11-21"]

    async def certificates(self, source: str) -> dict[str, Certificate]:
        day = ProjectDay.of(DAY)
        return {
            DAY: Certificate(
                source=source, day=day, certified_at=START, locations=(Location.FILES,), runs=1, files=1, day_digest=""
            )
        }


@dataclass
class Asked:
    """Answers from a store, under a clock that the test moves."""

    store: FakeStore
    answers: StoreAnswers
    now_s: float = 0.0
    may_ask: bool = True


async def _retained(source: str) -> Retained:
    due = DueDay(source=source, project="bot", directory="bot/2026-11-11", day="2026-11-11", days_left=2, why="never")
    return Retained(due=(due,))


@asynccontextmanager
async def asking(store: FakeStore, *, limit_s: float = 5, wait_s: float = 5) -> AsyncIterator[Asked]:
    asked: Asked
    setting = AnswerSetting(
        sources=["data"],
        store=store,
        retained=_retained,
        may_ask=lambda: asked.may_ask,
        now=lambda: START,
        clock=lambda: asked.now_s,
        limit_s=limit_s,
        wait_s=wait_s,
    )
    asked = Asked(store, StoreAnswers(setting))
    try:
        yield asked
    finally:
        await asked.answers.close()


async def test_everything_is_put_together() -> None:
    """Quarantine by source and reason with commands that a shell takes, and each day with all that is known of it."""
    async with asking(FakeStore(days=[verified("full", "consistent")])) as asked:
        told = await asked.answers.get()
    assert told == asked.answers.last
    assert (told.asked_at, told.error) == (START, "")
    assert told.quarantined_files == {"data": 2, "other": 3}
    assert told.quarantine_reasons == {"empty": 5}
    (file,) = told.quarantine
    assert file.command == f"""tracewatchd quarantine show --source 'it'"'"'s data' '{DAY}/a b.json'"""
    assert len(file.detail) == 500
    due, known, unseen = told.days
    assert (due.directory, due.verdict, due.days_left, due.why_due) == ("bot/2026-11-11", "", 2, "never")
    assert (known.directory, known.verdict, known.files, known.depth) == (DAY, "consistent", 3, "full")
    assert (known.quarantined_files, known.certified_at, known.days_left) == (2, START, None)
    assert (unseen.directory, unseen.verdict) == ("bot/2026-11-21", "")
    assert told.verified_since == {"data": {"quick": START, "full": START}}
    assert told.unverified_days == {"data": {"quick": 1, "full": 1, "deep": 2}}


async def test_answers_stand_for_a_while() -> None:
    """Whoever looks again within ten seconds gets the same answers, later new ones; monitors may be content longer."""
    async with asking(FakeStore()) as asked:
        await asked.answers.get()
        asked.now_s = 9.9
        await asked.answers.get()
        assert asked.store.rounds == 1
        asked.now_s = 10
        await asked.answers.get(fresh_s=60)
        assert asked.store.rounds == 1
        await asked.answers.get()
        assert asked.store.rounds == 2


async def test_one_round_serves_all_who_look_meanwhile() -> None:
    """Twenty requests at once are one round of questions."""
    store = FakeStore()
    store.may_answer.clear()
    async with asking(store) as asked:
        looks = [asyncio.create_task(asked.answers.get()) for _ in range(20)]
        await soon(lambda: store.rounds)
        store.may_answer.set()
        told = await asyncio.gather(*looks)
    assert store.rounds == 1
    assert {one.asked_at for one in told} == {START}


async def test_a_slow_database_is_not_waited_for() -> None:
    """Whoever looks gets the old answers after a short wait; the round goes on, and is given up at its own limit."""
    store = FakeStore()
    async with asking(store, limit_s=0.05, wait_s=0) as asked:
        store.may_answer.clear()
        assert (await asked.answers.get()).asked_at is None
        await soon(lambda: asked.answers.last.error)
        assert asked.answers.last.error == "the database did not answer within 0.05 s"


@pytest.mark.parametrize("error", [TransientError("refused"), PermanentError("no such table")])
async def test_a_failure_keeps_what_was_known(error: Exception) -> None:
    """What was answered before stays, with why it is old; and the question is not asked again at once."""
    async with asking(FakeStore()) as asked:
        await asked.answers.get()
        asked.store.error, asked.now_s = error, 20
        told = await asked.answers.get()
        assert (told.asked_at, told.error) == (START, str(error))
        await asked.answers.get()
        assert asked.store.rounds == 2


async def test_a_database_that_is_away_is_not_asked() -> None:
    """While it is known to be away nobody asks it, and what was known is said to be old."""
    async with asking(FakeStore()) as asked:
        await asked.answers.get()
        asked.may_ask, asked.now_s = False, 100
        told = await asked.answers.get()
    assert (asked.store.rounds, told.asked_at) == (1, START)
    assert told.error == "the database cannot be asked now"
    assert asked.answers.last.error == ""


async def test_closing_ends_a_round() -> None:
    """Nothing is under way afterwards, however long the database would have taken."""
    store = FakeStore()
    store.may_answer.clear()
    async with asking(store, wait_s=0) as asked:
        await asked.answers.get()
        await soon(lambda: store.rounds)
        await asked.answers.close()
        await asked.answers.close()
    assert asked.answers.last.asked_at is None


@pytest.mark.parametrize(
    ("told", "stands"),
    [
        ([], None),
        ([("quick", "consistent", 0)], ("quick", "consistent")),
        ([("deep", "inconsistent", 0), ("quick", "consistent", 9)], ("deep", "inconsistent")),
        ([("quick", "inconsistent", 0), ("full", "consistent", 9)], ("full", "consistent")),
        ([("full", "consistent", 9), ("quick", "inconsistent", 20)], ("quick", "inconsistent")),
        ([("deep", "consistent", 0), ("quick", "consistent", 9)], ("deep", "consistent")),
        ([("full", "not_checked", 5), ("quick", "consistent", 9)], ("full", "not_checked")),
        ([("full", "inconsistent", 5), ("quick", "not_checked", 9)], ("full", "inconsistent")),
    ],
)
def test_what_stands_of_a_day(told: list[tuple[str, str, float]], stands: tuple[str, str] | None) -> None:
    """A verdict stands until a later sweep of at least its depth; of those that stand the worst counts."""
    last = standing([verified(depth, verdict, after_s=after_s) for depth, verdict, after_s in told])
    assert (last and (last.depth, last.verdict)) == stands


def test_what_stands_of_each_day() -> None:
    """Days are judged apart from each other."""
    told = [verified("quick", "consistent"), verified("quick", "inconsistent", directory="bot/2026-11-21")]
    assert {name: day.verdict for name, day in what_stands(told).items()} == {
        DAY: "consistent",
        "bot/2026-11-21": "inconsistent",
    }
