"""Which days LangSmith will delete before anyone has proved that they are kept here."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.model.findings import Depth, Verdict
from tracewatchd.model.retention import Kept, Retained, Retention, VerifiedDay, due_days

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BOT = Retention(project="bot", retention_days=14, first_day=date(2026, 11, 10))


def verified(day: str, depth: Depth, verdict: Verdict, at: datetime = NOW) -> VerifiedDay:
    """What a sweep said of a day of the bot."""
    return VerifiedDay(directory=f"bot/{day}", depth=depth, verified_at=at, verdict=verdict)


def clock(
    *told: VerifiedDay,
    retention: Retention = BOT,
    loaded: tuple[str, ...] = (),
    now: datetime = NOW,
    warn_days: int = 3,
) -> Retained:
    """What the clock says of the source ``s``."""
    return due_days("s", [retention], Kept(told, loaded), now=now, warn_days=warn_days)


def days(retained: Retained) -> list[tuple[str, int]]:
    """The days that are due, and how long they have."""
    return [(day.day, day.days_left) for day in retained.due]


def test_days_that_are_told() -> None:
    """Within the days of warning a day is due, on the day of its deletion too; after it, it is past."""
    found = clock()
    assert days(found) == [("2026-11-11", 0), ("2026-11-12", 1), ("2026-11-13", 2), ("2026-11-14", 3)]
    assert found.past == 1
    assert {(day.source, day.project, day.why) for day in found.due} == {("s", "bot", "nothing was loaded")}
    assert found.due[0].directory == "bot/2026-11-11"


def test_days_begin_in_utc() -> None:
    """Where it is another day than in Greenwich, Greenwich counts."""
    elsewhere = NOW.replace(hour=23).astimezone(timezone(timedelta(hours=5)))
    assert elsewhere.date() != NOW.date()
    assert clock(now=elsewhere) == clock()


def test_neither_today_nor_what_is_to_come() -> None:
    """A day that is not over is no day to prove, however early the warning; nor is one before the project's first."""
    early = clock(warn_days=400)
    assert early.due[-1].day == "2026-11-24"
    assert len(early.due) == 14
    assert clock(retention=Retention(project="bot", retention_days=14, first_day=NOW.date())) == Retained()
    future = Retention(project="bot", retention_days=14, first_day=date(2027, 1, 1))
    assert clock(retention=future, warn_days=400) == Retained()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ((), "never verified"),
        ((verified("2026-11-11", "quick", "consistent"),), "verified only quick"),
        ((verified("2026-11-11", "full", "inconsistent"),), "inconsistent"),
        ((verified("2026-11-11", "full", "not_checked"),), "not checked"),
        (
            (verified("2026-11-11", "deep", "consistent", datetime(2026, 11, 11, 23, 59, tzinfo=UTC)),),
            "verified only before the day had ended",
        ),
        (
            (
                verified("2026-11-11", "deep", "consistent", NOW - timedelta(days=2)),
                verified("2026-11-11", "full", "inconsistent"),
            ),
            "inconsistent",
        ),
    ],
)
def test_why_a_day_is_not_safe(told: tuple[VerifiedDay, ...], why: str) -> None:
    """Only a sweep that read every file after the day had ended and found all well makes it safe."""
    (first, *_) = clock(*told, loaded=("bot/2026-11-11",)).due
    assert (first.day, first.why) == ("2026-11-11", why)


@pytest.mark.parametrize("depth", ["full", "deep"])
def test_a_day_that_is_safe(depth: Depth) -> None:
    """A day that was verified whole is not told, and one that is deleted by now is not counted."""
    every = [verified(f"2026-11-{day}", depth, "consistent") for day in range(10, 15)]
    assert clock(*every) == Retained()
    quick = verified("2026-11-11", "quick", "inconsistent")
    unread = verified("2026-11-11", "deep" if depth == "full" else "full", "not_checked", NOW + timedelta(hours=1))
    assert clock(*every, quick, unread) == Retained()


def test_the_moment_at_which_a_day_ends() -> None:
    """The first instant of the next day is late enough."""
    ended = datetime(2026, 11, 12, tzinfo=UTC)
    assert "2026-11-11" not in dict(days(clock(verified("2026-11-11", "full", "consistent", ended))))


def test_projects_in_other_folders_and_sources() -> None:
    """A folder's name is spelt as in the ledger; a project of another source is not this one's."""
    odd = Retention(project="Bot", folder="50%", retention_days=400, first_day=date(2025, 10, 22), source="s")
    assert clock(retention=odd).due[0].directory == "50%25/2025-10-22"
    assert clock(retention=odd).due[0].project == "Bot"
    other = Retention(project="bot", retention_days=14, first_day=date(2026, 11, 1), source="other")
    assert clock(retention=other) == Retained()


@given(st.dates(date(2025, 1, 1), date(2027, 1, 1)), st.dates(date(2025, 1, 1), date(2027, 1, 1)), st.integers(0, 400))
def test_every_day_is_counted_once(first: date, today: date, warn_days: int) -> None:
    """Due, past and not yet told days add up to every day from the first up to yesterday, whatever the clock says."""
    retention = Retention(project="bot", retention_days=14, first_day=first)
    now = datetime(today.year, today.month, today.day, 3, tzinfo=UTC)
    found = clock(retention=retention, now=now, warn_days=warn_days)
    ages = [(today - first).days - number for number in range(max(0, (today - first).days))]
    assert found.past == sum(age > 14 for age in ages)
    assert len(found.due) == sum(14 - warn_days <= age <= 14 for age in ages)
    assert all(0 <= day.days_left <= warn_days for day in found.due)
