"""The forms in which run files write an instant, and the one form in which it goes on: an aware datetime in UTC."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WRITTEN = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)


def written_time(text: str) -> datetime | None:
    """The instant that a text names, in UTC; None where it names none.

    Date and time are separated by ``T`` or a space; the fraction (cut to microseconds) and the offset may be missing,
    and a time without offset is UTC. The calendar's first and last year (the zero of some writers lies there) hold no
    times: asyncpg writes their ends as infinities, and ``-infinity`` already means "none".
    """
    if not _WRITTEN.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return _storable(moment)


def time_of_milliseconds(milliseconds: int) -> datetime | None:
    """The instant that lies so many milliseconds after 1970 began; None where no year of `written_time` holds it."""
    try:
        return _storable(_EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None


def compact_day(digits: str) -> date | None:
    """The day that ``YYYYMMDD`` names, within the years of `written_time`; None where it names none."""
    try:
        day = date.fromisoformat(digits)
    except ValueError:
        return None
    return day if MINYEAR < day.year < MAXYEAR else None


def _storable(moment: datetime) -> datetime | None:
    return moment if MINYEAR < moment.year < MAXYEAR else None
