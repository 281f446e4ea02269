"""The catalogue of events: its page, its names, and that nothing in it is dead."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import msgspec
import pytest

from tracewatchd.model import events
from tracewatchd.model.events import Event, catalogue

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "daemon" / "tracewatchd"
STATES = {"daemon.standby", "daemon.ready", "daemon.stopping", "file.unreadable", "file.readable", "root.missing"} | {
    "daemon.reloading",
    "daemon.stuck",
    "daemon.unstuck",
    "store.unavailable",
    "file.from_future",
    "day.due",
    "certificate.due",
    "sweep.incomplete",
    "fetch.incomplete",
}
"""Names that are ``noun.state``; all others are ``noun.past_verb``."""
IRREGULAR = {"hints.suspected_lost", "lease.lost", "finding.withheld", "fix.rolled_back"}
UNITS = {"_s", "_bytes", "_files", "_runs"}
NUMBERS_WITHOUT_UNIT = {
    "pid",
    "exit_code",
    "files",
    "places",
    "lines",
    "ignored",
    "directories",
    "before",
    "now",
    "days_left",
    "days",
    "requests",
    "runs",
}
"""Codes, ids and versions have no unit; the others are counts of what they name."""


def kinds() -> list[type[Event]]:
    return list(catalogue().values())


def test_the_page_is_what_the_catalogue_makes() -> None:
    """docs/events.md is made from the catalogue and committed as made."""
    made = runpy.run_path(str(REPOSITORY / "docs" / "make_events.py"))["page"]()
    assert (REPOSITORY / "docs" / "events.md").read_text(encoding="utf-8") == made, "run `make docs`"


def test_the_catalogue_holds_every_kind_once() -> None:
    """No two kinds share a name, and none stands outside the catalogue."""
    defined = [value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)]
    assert {kind.event for kind in kinds()} == {kind.event for kind in defined if kind is not Event}
    assert len(kinds()) == len(defined) - 1


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.event)
def test_an_event_is_named_by_what_happened_or_how_things_are(kind: type[Event]) -> None:
    """Names are a noun, a dot, and a verb in the past tense or a state, in lower case."""
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)?", kind.event)
    assert kind.event.endswith("ed") or kind.event in STATES | IRREGULAR
    assert kind.__doc__


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.event)
def test_numbers_say_their_unit_and_no_field_hides_what_each_line_has(kind: type[Event]) -> None:
    """A number's name ends with its unit or is a plain count; no field is called as those that every line has."""
    for field in msgspec.structs.fields(kind):
        assert field.name not in {"timestamp", "level", "event", "v"}
        if field.type in {int, float, float | None, int | None} and field.name not in NUMBERS_WITHOUT_UNIT:
            assert field.name.endswith(tuple(UNITS)), field.name
        if field.type in {float, float | None}:
            assert field.name.endswith("_s"), field.name


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.event)
def test_every_event_is_told_somewhere(kind: type[Event]) -> None:
    """The catalogue promises nothing that the program never says."""
    sources = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "model" / "events.py"]
    telling = re.compile(
        rf"\b{kind.__name__}\(\n?\s*\w+=|\b{kind.__name__} if |else {kind.__name__}\)|_say\({kind.__name__}, "
    )
    assert any(telling.search(path.read_text(encoding="utf-8")) for path in sources)
