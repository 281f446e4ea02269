"""``archive verify --against`` as it is installed: five places, a certificate where they agree, and what blocks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_world import DAYS, FOLDER, OLD_DAYS, PROJECT, World, world

DAY = DAYS[0]
ALL = "langsmith,files,zip,drive,db"


@pytest.fixture
def here(tmp_path: Path, database: str) -> Iterator[World]:
    with world(tmp_path, database, 90) as made:
        made.desk.json("archive", "full-sweep", "--project", PROJECT, "--date", str(DAY))
        yield made


def verify(here: World, places: str = ALL, *words: str, status: int = 0, **settings: str) -> dict[str, Any]:
    """What is said of the first day."""
    day = ("--project", FOLDER, "--date", str(DAY))
    told: dict[str, Any] = here.desk.json(
        "archive", "verify", *day, "--against", places, *words, status=status, **settings
    )
    return told


def states(told: dict[str, Any]) -> dict[str, str]:
    return {view["location"]: view["state"] for view in told["places"]}


def certificates(here: World) -> list[dict[str, Any]]:
    """What stands beside the zip."""
    path = here.desk.directory / "zips" / FOLDER / f"{DAY}.certificates.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_five_places_agree_and_it_is_certified(here: World) -> None:
    """The certificate stands in the database and beside the zip, with the digest that the zip's manifest has."""
    told = verify(here)
    assert states(told) == dict.fromkeys(("files", "langsmith", "zip", "drive", "db"), "agrees")
    assert (told["verdict"], told["certified"], told["runs"]) == ("consistent", True, len(here.expected(DAY)))
    (certificate,) = certificates(here)
    assert certificate["day_digest"] == told["day_digest"]
    assert certificate["locations"] == ["files", "langsmith", "zip", "drive", "db"]
    assert here.desk.rows("SELECT directory, runs, encode(day_digest, 'hex') FROM certificates") == [
        (f"{FOLDER}/{DAY}", told["runs"], told["day_digest"])
    ]


def test_a_difference_anywhere_is_told_and_not_certified(here: World) -> None:
    """A row that is gone: exit 1, the place and the file; the other places agree."""
    here.desk.rows("DELETE FROM runs WHERE run_id = (SELECT min(run_id::text)::uuid FROM runs) RETURNING 1")
    told = verify(here, status=1)
    assert states(told) == {**dict.fromkeys(("files", "langsmith", "zip", "drive"), "agrees"), "db": "differs"}
    (db,) = [view for view in told["places"] if view["location"] == "db"]
    assert (db["differing"], db["differences"][0].endswith(": missing")) == (1, True)
    assert (told["verdict"], told["certified"], certificates(here)) == ("inconsistent", False, [])


def test_what_came_of_it_is_in_the_log(here: World) -> None:
    """A certificate is told with its digest, a comparison that ends without one with what each place came to."""
    words = ("archive", "verify", "--project", FOLDER, "--date", str(DAY), "--against", "zip,db", "--verbose")
    certified = events(here.desk.run(*words).stderr)["day.certified"]
    assert (certified["places"], certified["day_digest"]) == (
        ["files", "zip", "db"],
        certificates(here)[0]["day_digest"],
    )
    here.desk.rows("DELETE FROM runs RETURNING 1")
    uncertified = events(here.desk.run(*words[:-1]).stderr)["day.uncertified"]
    assert (uncertified["level"], uncertified["verdict"]) == ("warning", "inconsistent")
    assert uncertified["places"] == {"files": "agrees", "zip": "agrees", "db": "absent"}


def events(log: str) -> dict[str, dict[str, Any]]:
    """The lines of a log by their events."""
    return {line["event"]: line for line in map(json.loads, log.splitlines())}


def test_a_place_that_cannot_be_reached_is_not_checked(here: World) -> None:
    """Postgres away: exit 3, and the others are compared all the same."""
    told = verify(here, status=3, TRACEWATCHD_DATABASE__URL="postgresql:///nobody?host=/nowhere")
    assert states(told)["db"] == "not_checked"
    assert (told["verdict"], told["certified"], certificates(here)) == ("not_checked", False, [])
    assert states(told)["zip"] == "agrees"


def test_only_the_places_that_are_named_are_looked_at(here: World) -> None:
    """Without the database its certificate is beside the zip alone; a dry run writes none."""
    asked = len(here.langsmith.requests)
    assert verify(here, "zip", "--dry-run")["certified"] is False
    told = verify(here, "zip")
    assert (states(told), told["certified"]) == ({"files": "agrees", "zip": "agrees"}, True)
    assert [one["locations"] for one in certificates(here)] == [["files", "zip"]]
    assert here.desk.rows("SELECT count(*) FROM certificates") == [(0,)]
    assert len(here.langsmith.requests) == asked


def test_what_langsmith_deleted_is_no_longer_checkable(tmp_path: Path, database: str) -> None:
    """The other places of an old day are certified without it."""
    day = OLD_DAYS[0]
    one = ("--project", PROJECT, "--date", str(day))
    with world(tmp_path, database, 90, days=OLD_DAYS) as here:
        here.desk.json("archive", "full-sweep", *one)
        here.langsmith.upstream.forget([run["id"] for run in here.expected(day)])
        told = here.desk.json("archive", "verify", *one, "--against", ALL)
    assert states(told) == {
        "langsmith": "no_longer_checkable",
        **dict.fromkeys(("files", "zip", "drive", "db"), "agrees"),
    }
    assert (told["verdict"], told["certified"]) == ("consistent", True)


def test_people_are_told_in_sentences(here: World) -> None:
    """A line for each place, then the verdict with the day digest, then whether it is certified."""
    result = here.desk.run("archive", "verify", "-p", FOLDER, "-d", str(DAY), "--against", "zip,db")
    runs = len(here.expected(DAY))
    digest = certificates(here)[0]["day_digest"]
    assert result.stdout.splitlines() == [
        f"files: agrees, {runs} runs, {runs} files",
        f"zip: agrees, {runs} runs, {runs} files",
        f"db: agrees, {runs} runs, {runs} files",
        f"{FOLDER}/{DAY}: consistent; day digest {digest}",
        "certified",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--against", "moon"), "'moon' is no place"),
        (("--against", "zip", "--deep"), "has one depth"),
        (("--against", "zip", "--fix", "missing"), "repairs nothing"),
    ],
)
def test_what_is_no_comparison(here: World, words: tuple[str, ...], told: str) -> None:
    """A usage error says why."""
    result = here.desk.run("archive", "verify", "-p", FOLDER, "-d", str(DAY), *words)
    assert (result.returncode, told in " ".join(result.stderr.split())) == (2, True), result.stderr
