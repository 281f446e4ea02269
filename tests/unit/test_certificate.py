"""What looks at the places of a project-day come to."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.model.certificate import DIFFERENCES_TOLD, Agreement, Certificate, Location, View, ViewState, compared
from tracewatchd.model.project_day import ProjectDay

DAY = ProjectDay("support-bot", date(2026, 11, 20))
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SHA = "ab" * 32


def agreement(**states: ViewState) -> Agreement:
    """Looks that came to these states, by place."""
    views = tuple(View(location=Location(name), state=state) for name, state in states.items())
    return Agreement(source="s", day=DAY, checked_at=NOW, day_digest=SHA, runs=1, files=1, views=views)


@pytest.mark.parametrize(
    ("states", "verdict", "certifiable"),
    [
        ({"files": "agrees", "db": "agrees"}, "consistent", True),
        ({"files": "agrees", "db": "agrees", "langsmith": "no_longer_checkable"}, "consistent", True),
        ({"files": "agrees", "langsmith": "no_longer_checkable"}, "consistent", False),
        ({"files": "agrees"}, "consistent", False),
        ({"zip": "agrees", "db": "agrees"}, "consistent", False),
        ({"files": "agrees", "db": "agrees", "langsmith": "pending"}, "consistent", False),
        ({"files": "agrees", "db": "differs"}, "inconsistent", False),
        ({"files": "agrees", "db": "agrees", "drive": "absent"}, "inconsistent", False),
        ({"files": "agrees", "db": "not_checked"}, "not_checked", False),
        ({"files": "agrees", "db": "not_checked", "zip": "differs"}, "inconsistent", False),
    ],
)
def test_what_may_be_certified(states: dict[str, ViewState], verdict: str, *, certifiable: bool) -> None:
    """Only where nothing disagrees, nothing is pending and two places at least agree; unchecked is never consistent."""
    found = agreement(**states)
    assert (found.verdict, found.is_certifiable) == (verdict, certifiable)


def test_a_certificate_names_the_places_that_agreed() -> None:
    """A place that could no longer be checked is not among them."""
    certificate = Certificate.of(agreement(langsmith="no_longer_checkable", files="agrees", db="agrees"))
    assert certificate.locations == (Location.FILES, Location.DB)
    assert (certificate.day, certificate.certified_at, certificate.day_digest) == (DAY, NOW, SHA)


NAMES = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["1" * 64, "2" * 64]), min_size=1)


@given(NAMES, NAMES)
def test_places_agree_exactly_when_they_hold_the_same(expected: dict[str, str], held: dict[str, str]) -> None:
    """Every name that is missing, added or of other bytes is one difference."""
    view = compared(Location.ZIP, expected, held, runs=len(held))
    wrong = {name for name in expected.keys() | held.keys() if expected.get(name) != held.get(name)}
    assert (view.state == "agrees") == (expected == held)
    assert view.differing == len(wrong) == len(view.differences)
    assert {told.partition(":")[0] for told in view.differences} == wrong


def test_a_place_with_nothing_of_the_day_is_absent() -> None:
    """That is told as such, not as a list of everything; nothing against nothing agrees."""
    assert compared(Location.DB, {"a": SHA}, {}, runs=0).state == "absent"
    assert compared(Location.DB, {}, {}, runs=0).state == "agrees"


def test_differences_that_are_named_are_bounded() -> None:
    """The rest is in the count."""
    view = compared(Location.DB, {str(number): SHA for number in range(100)}, {"0": SHA}, runs=1)
    assert (len(view.differences), view.differing) == (DIFFERENCES_TOLD, 99)


@pytest.mark.parametrize("directory", ["support-bot", "support-bot/x", "support-bot/2026-13-01"])
def test_what_is_no_project_day(directory: str) -> None:
    """A directory is a folder and a day, or an error."""
    assert ProjectDay.of(DAY.directory) == DAY
    with pytest.raises(ValueError, match=r"isoformat|month"):
        ProjectDay.of(directory)
