"""``reconcile --once``: what it finds and repairs, what it says, and how it exits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from one_shot import Desk, body
from run_files import run_id, run_path

SWEEP = ("reconcile", "--once")


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    return Desk(tmp_path, database)


@pytest.fixture
def loaded(desk: Desk) -> Desk:
    """Three runs that are loaded: files and database agree."""
    for number in (1, 2, 3):
        desk.put(number)
    assert desk.run("archive", "to-db", "--all").returncode == 0
    return desk


def test_what_is_missing_is_loaded(desk: Desk) -> None:
    """New files become rows, which is no finding: exit 0, the verdict, and what was done."""
    desk.put(1)
    desk.put(2)
    (desk.root / "stray.json").touch()
    told = desk.json(*SWEEP)
    assert list(told) == ["verdict", "files", "states", "counts", "outcomes", "ignored", "findings", "unchecked"]
    assert (told["verdict"], told["files"], told["states"]) == ("consistent", 2, {"loaded": 2})
    assert (told["outcomes"], told["ignored"], told["findings"]) == ({"loaded": 2}, 1, [])
    assert desk.rows("SELECT count(*) FROM runs") == [(2,)]


def test_a_consistent_tree_is_left_alone(loaded: Desk) -> None:
    """A sweep over what agrees writes nothing to either table, and says that it agrees."""
    written = loaded.written()
    result = loaded.run(*SWEEP)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{loaded.root}: consistent",
        "  3 run files: 3 loaded; 0 other entries ignored",
    ]
    assert loaded.written() == written


def _make_work(desk: Desk) -> None:
    """One file that the ledger does not know, one that changed, one whose row was removed."""
    desk.put(1, body(1, day=9, text="edited"))
    desk.rows(f"DELETE FROM runs WHERE run_id = '{run_id(2)}' RETURNING 1")  # noqa: S608 - an invented id
    desk.put(4)


def test_what_the_line_can_repair_is_repaired(loaded: Desk) -> None:
    """Missing, stale and orphaned files are loaded, and the exit status tells the state after that."""
    _make_work(loaded)
    told = loaded.json(*SWEEP)
    assert (told["verdict"], told["states"], told["findings"]) == ("consistent", {"loaded": 4}, [])
    assert told["outcomes"] == {"loaded": 2, "updated": 1}
    assert loaded.rows("SELECT data->>'text' FROM runs ORDER BY run_id") == [
        ("edited",),
        ("hello",),
        ("hello",),
        ("hello",),
    ]


def test_without_repair_it_only_looks(loaded: Desk) -> None:
    """Each difference is a finding with its place, exit 1, and neither table is written."""
    _make_work(loaded)
    written = loaded.written()
    told = loaded.json(*SWEEP, "--no-repair", status=1)
    assert loaded.written() == written
    assert (told["verdict"], told["outcomes"]) == ("inconsistent", {})
    assert told["counts"] == {"missing": 1, "stale": 1, "orphan": 1}
    assert told["states"] == {"loaded": 1, "pending": 3}
    found = {finding["kind"]: finding for finding in told["findings"]}
    assert {kind: finding["severity"] for kind, finding in found.items()} == {
        "missing": "error",
        "stale": "error",
        "orphan": "critical",
    }
    assert list(found["orphan"]) == ["source", "kind", "severity", "run_id", "path", "detail"]
    assert (found["orphan"]["source"], found["orphan"]["path"]) == (str(loaded.root), run_path(2))
    assert (found["orphan"]["run_id"], found["missing"]["run_id"]) == (str(run_id(2)), None)
    assert "no such row" in found["orphan"]["detail"]


def test_findings_for_people(loaded: Desk) -> None:
    """Each kind is told with its number, how bad it is, what it means and what to do, then each place."""
    _make_work(loaded)
    lines = loaded.run(*SWEEP, "--no-repair").stdout.splitlines()
    assert lines[0] == f"{loaded.root}: inconsistent"
    assert "  1 missing (error): a run file that the database does not know; what to do: run" in "\n".join(lines)
    assert f"    orphan {run_path(2)} (run {run_id(2)})" in lines


def test_work_in_progress_is_no_finding(loaded: Desk) -> None:
    """What is younger than sweep.grace_s is pending, not missing."""
    loaded.put(4)
    told = loaded.json(*SWEEP, "--no-repair", TRACEWATCHD_SWEEP__GRACE_S="600")
    assert (told["verdict"], told["findings"]) == ("consistent", [])
    assert told["states"] == {"loaded": 3, "pending": 1}


def test_a_row_that_nobody_explains_is_not_overwritten(loaded: Desk) -> None:
    """A row whose bytes come from no file is told and left alone, with repair too."""
    loaded.rows(f"UPDATE runs SET file_sha256 = sha256('x') WHERE run_id = '{run_id(2)}' RETURNING 1")  # noqa: S608 - as above
    written = loaded.written()
    told = loaded.json(*SWEEP, status=1)
    assert (told["verdict"], told["counts"]) == ("inconsistent", {"mismatch": 1})
    assert loaded.written() == written


def test_warnings_count_when_they_are_asked_to(loaded: Desk) -> None:
    """A file that went away and one in quarantine are warnings: exit 0, and 1 with --strict."""
    (loaded.root / run_path(1)).unlink()
    loaded.put(9, b"this is a note, not a run\n")
    assert loaded.json(*SWEEP)["counts"] == {"gone": 1, "quarantined": 1}
    assert loaded.json(*SWEEP, "--strict", status=1)["verdict"] == "consistent"


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (("--project", "bot"), 3),
        (("--start-date", "2026-11-21"), 0),
        (("--end-date", "2026-11-20", "--source", "ROOT"), 3),
    ],
)
def test_what_is_swept_can_be_named(loaded: Desk, options: tuple[str, ...], files: int) -> None:
    """Project, days and source restrict the sweep as they restrict to-db."""
    named = [option.replace("ROOT", str(loaded.root)) for option in options]
    assert loaded.json(*SWEEP, *named)["files"] == files


def test_a_project_that_is_not_there(loaded: Desk) -> None:
    """A slip in a name is not called consistent: exit 2 with the folders that there are, or that the ledger knows."""
    result = loaded.run(*SWEEP, "--project", "bott")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no project has days in a folder 'bott'; there are: bot" in result.stderr
    (loaded.root / "other" / "2026-11-20").mkdir(parents=True)
    shutil.rmtree(loaded.root / "bot")
    assert loaded.json(*SWEEP, "--project", "bot")["counts"] == {"gone": 3}


@pytest.mark.parametrize(
    "state", ["No such file or directory", "empty, but the ledger knows files in it"], ids=["missing", "empty"]
)
def test_a_root_that_cannot_be_checked(loaded: Desk, state: str) -> None:
    """A root that is missing, or suddenly empty, is not "all gone": exit 3, and nothing is written."""
    written = loaded.written()
    shutil.rmtree(loaded.root)
    if state.startswith("empty"):
        loaded.root.mkdir()
    told = loaded.json(*SWEEP, status=3)
    assert loaded.written() == written
    assert (told["verdict"], told["counts"]) == ("not_checked", {})
    (sentence,) = told["unchecked"]
    assert sentence == f"{loaded.root}: {state}"
    assert f"  not checked: {sentence}" in loaded.run(*SWEEP).stdout
    assert loaded.run(*SWEEP, "--project", "bot").returncode == 3


def test_one_root_of_two(loaded: Desk) -> None:
    """What could be checked is; findings outweigh a root that could not be, which outweighs agreement."""
    roots = f"{loaded.root}:{loaded.directory / 'not-mounted'}"
    assert loaded.json(*SWEEP, status=3, TRACEWATCHD_WATCH__ROOTS=roots)["states"] == {"loaded": 3}
    loaded.put(4)
    told = loaded.json(*SWEEP, "--no-repair", status=1, TRACEWATCHD_WATCH__ROOTS=roots)
    assert (told["verdict"], len(told["unchecked"])) == ("inconsistent", 1)


def test_another_sweep_is_busy(loaded: Desk) -> None:
    """While somebody else sweeps the source it waits lock_wait_s, then exits 3 and says who is busy."""
    loaded.rows(
        f"INSERT INTO leases (name, holder, expires_at) VALUES ('sweep:{loaded.root}', 'other:1', now() + '1 hour')"  # noqa: S608 - a temporary directory
        " RETURNING 1"
    )
    result = loaded.run(*SWEEP, TRACEWATCHD_DATABASE__LOCK_WAIT_S="0")
    assert (result.returncode, result.stdout) == (3, "")
    error, hint = result.stderr.splitlines()
    assert error == f"error: busy: other:1 has been sweeping {loaded.root} for more than 0 s"
    assert hint.startswith("hint: try again later")
    loaded.rows("UPDATE leases SET expires_at = now() RETURNING 1")
    assert loaded.json(*SWEEP)["verdict"] == "consistent"
    assert loaded.rows("SELECT holder FROM leases") == []


def test_a_database_without_tables(tmp_path: Path, empty_database: str) -> None:
    """It could not check, says what to run, and makes no tables."""
    desk = Desk(tmp_path, empty_database)
    desk.put(1)
    result = desk.run(*SWEEP)
    assert (result.returncode, result.stdout) == (3, "")
    assert "hint: run `tracewatchd db migrate`" in result.stderr
    assert desk.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_it_sweeps_once_only_when_told(desk: Desk) -> None:
    """Without --once it is wrong usage: watching is the daemon's."""
    result = desk.run("reconcile")
    assert result.returncode == 2
    assert "say --once" in result.stderr
