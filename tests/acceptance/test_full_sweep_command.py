"""``archive full-sweep`` as it is installed: from LangSmith into files, zip, Drive and database, again and in part."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from archive_world import DAYS, FOLDER, PROJECT, World, states, steps, world
from zips import snapshot

ALL_DONE = {"fetch": "done", "zip": "done", "upload": "done", "to-db": "done"}


@pytest.fixture
def here(tmp_path: Path, database: str) -> Iterator[World]:
    with world(tmp_path, database, 120) as made:
        yield made


def test_every_place_holds_every_run(here: World) -> None:
    """Files, zips, Drive and rows of all days, and the counts of each step say so."""
    results = here.sweep()
    assert [states(result) for result in results] == [ALL_DONE] * 3
    for day, result in zip(DAYS, results, strict=True):
        runs = len(here.expected(day))
        assert steps(result)["fetch"]["counts"]["written"] == runs
        assert steps(result)["zip"]["counts"]["runs"] == runs
        assert steps(result)["to-db"]["counts"]["loaded"] == runs
        (file,) = here.drive.drive.named(f"{day}.zip")
        zipped = here.desk.directory / "zips" / FOLDER / f"{day}.zip"
        assert sha256(file.content).digest() == sha256(zipped.read_bytes()).digest()
    assert here.desk.rows("SELECT count(*), count(DISTINCT project), min(project) FROM runs") == [
        (here.runs, 1, PROJECT)
    ]


def test_a_second_one_writes_nothing_anywhere(here: World) -> None:
    """No file is touched, no byte is uploaded, no row is written, and with --resume nothing is asked of LangSmith."""
    here.sweep()
    files, sent, rows = snapshot(here.desk.root), here.drive.uploaded_bytes, here.desk.written()
    again = here.sweep()
    asked = len(here.langsmith.requests)
    resumed = here.sweep("--resume")
    assert len(here.langsmith.requests) == asked
    for results in (again, resumed):
        assert [states(result) for result in results] == [ALL_DONE] * 3
    for result in again:
        counts = steps(result)["fetch"]["counts"]
        assert (counts.get("written", 0), counts.get("replaced", 0)) == (0, 0)
        assert steps(result)["upload"]["counts"]["outcome"] == "unchanged"
    assert (snapshot(here.desk.root), here.drive.uploaded_bytes, here.desk.written()) == (files, sent, rows)


def test_without_a_database_the_rest_is_done_and_resume_loads(here: World) -> None:
    """Postgres away: files, zips and uploads are made, exit 1 says what failed, and --resume then does only to-db."""
    away = {"TRACEWATCHD_DATABASE__URL": "postgresql:///nobody?host=/nowhere"}
    for result in here.sweep(status=1, **away):
        assert states(result) == {**ALL_DONE, "to-db": "failed"}
        assert steps(result)["to-db"]["error"]
    asked, sent = len(here.langsmith.requests), here.drive.uploaded_bytes
    for result in here.sweep("--resume"):
        assert states(result) == ALL_DONE
        assert steps(result)["fetch"]["counts"] == {"fetched_before": 1}
        assert steps(result)["zip"]["counts"]["outcome"] == "unchanged"
    assert (len(here.langsmith.requests), here.drive.uploaded_bytes) == (asked, sent)
    assert here.desk.rows("SELECT count(*) FROM runs") == [(here.runs,)]


def test_what_is_skipped_is_not_done(here: World) -> None:
    """Only the steps that are left are carried out, and a dry run carries out none."""
    (first, *_) = here.sweep("--skip-zip", "--skip-upload", "--skip-db")
    assert states(first) == {"fetch": "done", "zip": "skipped", "upload": "skipped", "to-db": "skipped"}
    assert not (here.desk.directory / "zips").exists()
    (planned, *_) = here.sweep("--dry-run", "--resume", "--skip-upload")
    assert steps(planned)["zip"]["counts"]["outcome"] == "planned"
    assert not (here.desk.directory / "zips").exists()
    assert here.desk.rows("SELECT count(*) FROM runs") == [(0,)]


def test_a_refused_key_costs_what_needs_the_fetch(here: World) -> None:
    """LangSmith refuses: no zip and no upload of days that are not whole, but what lies there is loaded."""
    here.sweep("--skip-zip", "--skip-upload", "--skip-db")
    for result in here.sweep(status=1, LANGSMITH_API_KEY="wrong"):
        assert states(result) == {"fetch": "failed", "zip": "not_possible", "upload": "not_possible", "to-db": "done"}
        assert steps(result)["fetch"]["advice"]
    assert here.desk.rows("SELECT count(*) FROM runs") == [(here.runs,)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name one project, or say --all"),
        (("--project", PROJECT), "name a day"),
        (("--project", PROJECT, "--all"), "but not both"),
        (("--all",), "no project is configured in retention.projects"),
    ],
)
def test_what_is_no_choice_of_days(here: World, words: tuple[str, ...], told: str) -> None:
    """A usage error says what to name."""
    result = here.desk.run("archive", "full-sweep", *words)
    assert (result.returncode, told in result.stderr) == (2, True), result.stderr
