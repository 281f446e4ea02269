"""What is told of project-days: every one that any place knows, and whether its certificate still holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from tracewatchd.model.certificate import Certificate, Location
from tracewatchd.model.day_status import FilesThere, Places, statuses
from tracewatchd.model.project_day import ProjectDay

DAY = ProjectDay("support-bot", date(2026, 11, 20))
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
BEFORE_NS = int(AT.timestamp() * 1_000_000_000) - 1
GOOD, OTHER = "aa" * 32, "bb" * 32
CERTIFICATE = Certificate(
    source="s",
    day=DAY,
    certified_at=AT,
    locations=(Location.FILES, Location.ZIP),
    runs=1,
    files=1,
    day_digest=GOOD,
)
WHOLE = Places(
    files={DAY.directory: FilesThere(1, BEFORE_NS)},
    zips={DAY.directory: GOOD},
    drive={DAY.directory: GOOD},
    loaded=[DAY.directory],
    certificates={DAY.directory: CERTIFICATE},
)


@pytest.mark.parametrize(
    ("places", "standing"),
    [
        (WHOLE, "certified"),
        (replace(WHOLE, drive=None, zips={}), "certified"),
        (replace(WHOLE, files={DAY.directory: FilesThere(1, BEFORE_NS + 1_000_000_000)}), "outdated"),
        (replace(WHOLE, zips={DAY.directory: OTHER}), "outdated"),
        (replace(WHOLE, drive={DAY.directory: OTHER}), "outdated"),
        (replace(WHOLE, files={}), "outdated"),
        (replace(WHOLE, certificates={}), "not_certified"),
        (replace(WHOLE, certificates=None), "not_checked"),
    ],
)
def test_a_certificate_holds_until_something_may_have_changed(places: Places, standing: str) -> None:
    """A file that changed later, none at all, or a zip of another digest, here or on Drive."""
    (status,) = statuses("s", places)
    assert (status.directory, status.standing) == (DAY.directory, standing)


def test_a_day_is_told_whoever_knows_it() -> None:
    """In byte order, with what each place has of it."""
    places = Places(
        files={"b/1": FilesThere(2, 0)},
        zips={"c/1": GOOD},
        drive={"a/1": OTHER},
        loaded=["d/1"],
        certificates={"e/1": CERTIFICATE},
        days_left={"f/1": 3},
    )
    told = statuses("s", places)
    assert [day.directory for day in told] == ["a/1", "b/1", "c/1", "d/1", "e/1", "f/1"]
    assert [(day.files, day.zip, day.drive, day.in_db, day.days_left) for day in told] == [
        (0, None, OTHER, False, None),
        (2, None, None, False, None),
        (0, GOOD, None, False, None),
        (0, None, None, True, None),
        (0, None, None, False, None),
        (0, None, None, False, 3),
    ]
