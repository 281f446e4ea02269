"""``archive status`` as it is installed: where project-days are, and whether that is certified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_world import DAYS, FOLDER, PROJECT, World, world

DAY = ("--project", FOLDER, "--date", str(DAYS[0]))


@pytest.fixture
def here(tmp_path: Path, database: str) -> Iterator[World]:
    with world(tmp_path, database, 60) as made:
        made.sweep()
        made.desk.json("archive", "verify", *DAY, "--against", "zip,drive,db")
        yield made


def days(here: World, *words: str, status: int = 0) -> dict[str, dict[str, Any]]:
    """What is told of each day, by its date."""
    told = here.desk.json("archive", "status", *words, status=status)
    return {day["directory"].rpartition("/")[2]: day for day in told["days"]}


def test_where_days_are_and_which_are_certified(here: World) -> None:
    """All places of all days; a file that changes afterwards makes a certificate outdated."""
    told = days(here)
    assert list(told) == [str(day) for day in DAYS]
    assert [day["standing"] for day in told.values()] == ["certified", "not_certified", "not_certified"]
    for day, one in zip(DAYS, told.values(), strict=True):
        assert (one["files"], one["in_db"]) == (len(here.expected(day)), True)
        assert one["zip"] == one["drive"] is not None
    next((here.desk.root / FOLDER / str(DAYS[0])).glob("*.json")).touch()
    assert days(here, *DAY)[str(DAYS[0])]["standing"] == "outdated"


def test_a_place_that_cannot_be_asked_is_told(here: World) -> None:
    """Exit 3 with the reason; what the others say is told all the same."""
    here.desk.settings["TRACEWATCHD_DATABASE__URL"] = "postgresql:///nobody?host=/nowhere"
    told = days(here, status=3)
    assert {day["standing"] for day in told.values()} == {"not_checked"}
    assert all(day["zip"] and day["drive"] for day in told.values())
    (here.desk.directory / "zips" / FOLDER / f"{DAYS[1]}.zip").write_bytes(b"no zip")
    result = here.desk.run("archive", "status")
    assert result.returncode == 3
    assert f"not checked: zip of {FOLDER}/{DAYS[1]}: " in result.stdout


def test_days_that_langsmith_will_delete_are_told(here: World) -> None:
    """For projects whose retention is configured and that no sweep has proved to be kept."""
    kept = f'[{{"project": "{PROJECT}", "folder": "{FOLDER}", "retention_days": 400, "first_day": "{DAYS[0]}"}}]'
    here.desk.settings |= {"TRACEWATCHD_RETENTION__PROJECTS": kept, "TRACEWATCHD_RETENTION__WARN_DAYS": "400"}
    left = days(here)[str(DAYS[0])]["days_left"]
    assert left is not None
    table = here.desk.run("archive", "status", *DAY).stdout
    assert f"deleted in {left} days" in table


def test_without_drive_the_rest_is_told(here: World) -> None:
    """Drive is asked only where there are credentials."""
    del here.desk.settings["GOOGLE_APPLICATION_CREDENTIALS"]
    told = days(here)
    assert {day["drive"] for day in told.values()} == {None}


def test_nothing_anywhere(here: World) -> None:
    """Is said in a sentence."""
    assert here.desk.run("archive", "status", "--date", "2020-01-01").stdout == "no project-day is anywhere\n"
