from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.model.times import compact_day, time_of_milliseconds, written_time

MOMENT = datetime(2025, 8, 29, 6, 44, 12, 622037, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-08-29 06:44:12.622037+00:00", MOMENT),
        ("2025-08-29 06:44:12.622037", MOMENT),
        ("2025-08-29T06:44:12.622037", MOMENT),
        ("2025-08-29T06:44:12.622037Z", MOMENT),
        ("2025-08-29 06:44:12", MOMENT.replace(microsecond=0)),
        ("2025-08-29T08:44:12.622037999+0200", MOMENT),
        ("2025-08-29 06:44:12.6-00", MOMENT.replace(microsecond=600_000)),
    ],
)
def test_every_form_of_a_time_is_read_as_utc(text: str, moment: datetime) -> None:
    """The written forms of an instant give the same aware datetime in UTC."""
    written = written_time(text)
    assert written == moment
    assert written is not None
    assert written.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2025-08-29",
        "2025-02-30 00:00:00",
        "2025-08-29 24:61:00",
        "2025-W01-1T00:00:00",
        "1724913852622",
        "2025-08-29 06:44:12+99:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59.999999Z",
        "12025-08-29 06:44:12",
        "٢٠٢٥-08-29 06:44:12",
    ],
)
def test_what_is_no_time_gives_none(text: str) -> None:
    """A text that names no instant, or one that the database could not hold, is none and no error."""
    assert written_time(text) is None


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """Reading a time never raises."""
    assert written_time(text) is None or compact_day(text) is None


def test_milliseconds_count_from_1970_and_know_their_end() -> None:
    """Integer milliseconds are UTC; one that no year holds is none."""
    assert time_of_milliseconds(1_756_449_852_622) == MOMENT.replace(microsecond=622_000)
    assert time_of_milliseconds(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert time_of_milliseconds(10**18) is None
    assert time_of_milliseconds(253_402_300_000_000 - 1) is None


def test_a_compact_day_is_a_day_or_none() -> None:
    """Eight digits are a day of the calendar, or none."""
    assert compact_day("20250829") == date(2025, 8, 29)
    assert compact_day("20250230") is None
    assert compact_day("00010101") is None
