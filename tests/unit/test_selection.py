"""Which project-days a selection covers, and what results count."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.model.results import BatchResult, LoadResult, Outcome
from tracewatchd.model.selection import EVERYTHING, Selection

DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, True),
        (Selection("bot"), True),
        (Selection("bo"), False),
        (Selection(first=DAY), True),
        (Selection(last=DAY), True),
        (Selection("bot", DAY, DAY), True),
        (Selection(first=DAY + timedelta(days=1)), False),
        (Selection(last=DAY - timedelta(days=1)), False),
        (Selection("other", DAY, DAY), False),
    ],
)
def test_a_selection_covers_its_folder_and_days(selection: Selection, expected: object) -> None:
    """Folder and both ends count, both ends are included, and None leaves a side open."""
    assert selection.covers("bot/2026-11-20") is expected


@given(st.dates(), st.dates(), st.dates())
def test_days_compare_as_dates(day: date, first: date, last: date) -> None:
    """Comparing names of days is comparing days, for every day that a folder can be named after."""
    assert Selection(first=first, last=last).covers(f"bot/{day.isoformat()}") is (first <= day <= last)


@given(st.lists(st.sampled_from(Outcome)))
def test_a_load_counts_every_outcome_once(outcomes: list[Outcome]) -> None:
    """There is a field for each outcome, and their sum is the number of files; ignored ones are no run files."""
    result = LoadResult(ignored=3)
    for outcome in outcomes:
        result.add(outcome)
    assert result.files == len(outcomes)
    assert all(getattr(result, outcome.value) == outcomes.count(outcome) for outcome in Outcome)


def test_a_batch_counts_only_what_occurred() -> None:
    """Counts are by name, sorted, and without zeros."""
    result = BatchResult({"a": Outcome.UPDATED, "b": Outcome.LOADED, "c": Outcome.LOADED}, retry=("d",))
    assert list(result.counts().items()) == [("loaded", 2), ("updated", 1)]
