"""``reconcile --once``: what it finds and repairs, what it says, and how it exits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from one_shot import Desk, body
from run_files import run_id, run_path
from running import COMMAND, eventually
from tracewatchd.reconcile.report import as_data

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
    assert list(told) == list(as_data([]))
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
    assert result.returncode == 3
    assert result.stdout.splitlines()[0] == f"{loaded.root}: not checked"
    error, hint = result.stderr.splitlines()
    assert error == f"error: busy: other:1 has been sweeping {loaded.root} for more than 0 s"
    assert hint.startswith("hint: try again later")
    loaded.rows("UPDATE leases SET expires_at = now() RETURNING 1")
    assert loaded.json(*SWEEP)["verdict"] == "consistent"
    assert loaded.rows("SELECT holder FROM leases") == []


def test_a_source_that_is_busy_does_not_keep_others_from_being_swept(loaded: Desk) -> None:
    """The other root is swept; the verdict over both is that not everything was checked."""
    other = loaded.directory / "other"
    other.mkdir()
    loaded.rows(
        f"INSERT INTO leases (name, holder, expires_at) VALUES ('sweep:{loaded.root}', 'other:1', now() + '1 hour')"  # noqa: S608 - a temporary directory
        " RETURNING 1"
    )
    roots = {"TRACEWATCHD_WATCH__ROOTS": f"{loaded.root}:{other}", "TRACEWATCHD_DATABASE__LOCK_WAIT_S": "0"}
    told = loaded.json(*SWEEP, status=3, **roots)
    assert {one["source"]: one["verdict"] for one in told["sources"]} == {
        str(loaded.root): "not_checked",
        str(other): "consistent",
    }


def test_a_row_that_no_file_explains_is_told_once_whatever_is_swept(loaded: Desk) -> None:
    """It belongs to no source: a sweep of all roots tells it once, and so does one of any root alone."""
    other = loaded.directory / "other"
    other.mkdir()
    loaded.rows(
        "INSERT INTO runs (run_id, trace_id, project, run_date, data, file_mtime_ns, file_sha256, rules)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'elsewhere', '2026-11-20', '{}', 1, sha256(''), 1) RETURNING 1"
    )
    roots = {"TRACEWATCHD_WATCH__ROOTS": f"{loaded.root}:{other}"}
    for chosen in ((), ("--source", str(loaded.root)), ("--source", str(other))):
        assert loaded.json(*SWEEP, "--depth", "full", *chosen, **roots)["counts"] == {"foreign": 1}


def test_a_database_without_tables(tmp_path: Path, empty_database: str) -> None:
    """It could not check, says what to run, and makes no tables."""
    desk = Desk(tmp_path, empty_database)
    desk.put(1)
    result = desk.run(*SWEEP)
    assert (result.returncode, result.stdout.splitlines()[0]) == (3, f"{desk.root}: not checked")
    assert "hint: run `tracewatchd db migrate`" in result.stderr
    assert desk.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_it_sweeps_once_only_when_told(desk: Desk) -> None:
    """Without --once it is wrong usage: watching is the daemon's."""
    result = desk.run("reconcile")
    assert result.returncode == 2
    assert "say --once" in result.stderr


# ---- depths, repair, what is written down


def at_a_terminal(desk: Desk, typed: str, status: int, *arguments: str) -> str:
    """What a command says to somebody who types this."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env=desk.env,
            cwd=desk.directory,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.write(ours, typed.encode())
        said, _ = process.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == status, said
    return said


def test_depths(loaded: Desk) -> None:
    """What a quick sweep cannot see a deep one does, and the object says how deep it was."""
    loaded.rows(f"UPDATE runs SET data = '{{}}' WHERE run_id = '{run_id(2)}' RETURNING 1")  # noqa: S608 - an invented id
    assert [loaded.json(*SWEEP, "--depth", depth)["counts"] for depth in ("quick", "full")] == [{}, {}]
    told = loaded.json(*SWEEP, "--depth", "deep", status=1)
    assert (told["depth"], told["counts"]) == ("deep", {"mismatch": 1, "misplaced": 2})
    told = loaded.json(*SWEEP, "--depth", "deep", "--fix", "mismatch", "--yes")
    assert (told["verdict"], told["fixed"], told["counts"]) == ("consistent", {"mismatch": 1}, {"misplaced": 3})


def test_what_was_repaired_can_be_undone(loaded: Desk) -> None:
    """It says how, for people and in the object; where nothing was repaired there is nothing to undo."""
    assert loaded.json(*SWEEP)["repair_id"] is None
    _make_work(loaded)
    lines = loaded.run(*SWEEP).stdout.splitlines()
    assert "  repaired: 1 missing, 1 orphan, 1 stale" in lines
    undo = lines[-1].removeprefix("to undo what was repaired: tracewatchd ").split()
    assert undo[:4] == ["archive", "fixes", "rollback", "--repair-id"]
    assert loaded.run(*undo, "--yes").returncode == 0
    told = loaded.json(*SWEEP, status=1)
    assert {one["kind"]: one["held"] for one in told["findings"]} == dict.fromkeys(["missing", "stale", "orphan"], True)


def test_every_path_in_one_file(loaded: Desk) -> None:
    """Each path with its sigil, while sweeping, beside the verdict; in place of what was there, and nothing else."""
    _make_work(loaded)
    loaded.put(5)
    assert loaded.json(*SWEEP, "--fix", "outdated", "--depth", "deep")["states"] == {"loaded": 5}
    _make_work(loaded)
    loaded.put(6)
    (loaded.root / run_path(5)).unlink()
    strange = loaded.root / run_path(7).replace(".json", "\n%.json")
    strange.write_bytes(body(7))
    (loaded.directory / "paths").write_text("older")
    loaded.json(*SWEEP, "--no-repair", "--combined", "paths", status=1)
    assert sorted((loaded.directory / "paths").read_text().splitlines()) == sorted(
        [
            f"* {run_path(1)}",
            f"* {run_path(2)}",
            f"= {run_path(3)}",
            f"* {run_path(4)}",
            f"- {run_path(5)}",
            f"+ {run_path(6)}",
            f"+ {run_path(7).replace('.json', '%0A%25.json')}",
        ]
    )
    assert sorted(path.name for path in loaded.directory.iterdir()) == ["paths", "traces"]


def test_a_file_of_paths_that_cannot_be_written(loaded: Desk) -> None:
    """It is said, the verdict appears, and the exit status is that of something that could not be done."""
    result = loaded.run(*SWEEP, "--combined", "no-such-directory/paths")
    assert (result.returncode, result.stdout.splitlines()[0]) == (3, f"{loaded.root}: consistent")
    assert "cannot write paths: No such file or directory" in result.stderr
    _make_work(loaded)
    assert loaded.run(*SWEEP, "--no-repair", "--combined", "no-such-directory/paths").returncode == 1


def test_each_report(loaded: Desk) -> None:
    """As many as are asked for, each in the form of its name, from the object that --json prints."""
    _make_work(loaded)
    names = ["a.json", "b.jsonl", "c.csv", "d.md", "e.html"]
    told = loaded.json(*SWEEP, "--no-repair", *(f"--report={name}" for name in names), status=1)
    assert all((loaded.directory / name).stat().st_size for name in names)
    assert json.loads((loaded.directory / "a.json").read_text()) == told


@pytest.mark.parametrize("named", [".", "ROOT", "bot", "bot/2026-11-20", "ROOT/bot/2026-11-20/"])
def test_what_is_gone_indeed_is_settled(loaded: Desk, named: str) -> None:
    """An emptied directory is not believed until --accept-gone names it: each file is told as gone, once."""
    for number in range(4, 204):
        loaded.put(number)
    assert loaded.run(*SWEEP).returncode == 0
    for file in (loaded.root / run_path(1)).parent.iterdir():
        file.unlink()
    assert loaded.json(*SWEEP, status=3)["counts"] == {}
    told = loaded.json(*SWEEP, "--accept-gone", named.replace("ROOT", str(loaded.root)))
    assert (told["verdict"], told["counts"]) == ("consistent", {"gone": 203})
    assert loaded.json(*SWEEP)["counts"] == {}
    assert loaded.rows("SELECT count(*) FROM runs") == [(203,)]


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 3)])
def test_somebody_at_a_terminal_is_asked(loaded: Desk, answer: str, status: int) -> None:
    """A destructive fix says what it takes away; without a yes nothing is swept."""
    (loaded.root / run_path(1)).unlink()
    said = at_a_terminal(loaded, f"{answer}\n", status, *SWEEP, "--fix", "gone-rows")
    assert "--fix gone-rows removes the rows of files that are gone. Each fix can be rolled back. Go on?" in said
    assert ("nothing was done" in said) == (answer == "n")
    assert loaded.rows("SELECT count(*) FROM runs") == [(2 if answer == "y" else 3,)]


def test_an_interrupted_sweep_leaves_nothing_half_written(loaded: Desk) -> None:
    """Ctrl-C while it waits for a second look: exit 130, no file of paths, no report, and the next sweep can begin."""
    _make_work(loaded)
    settings = loaded.env | {"TRACEWATCHD_SWEEP__CONFIRM_S": "600"}
    process = subprocess.Popen(
        [COMMAND, *SWEEP, "--no-repair", "--combined", "paths", "--report", "it.md"],
        env=settings,
        cwd=loaded.directory,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: loaded.rows("SELECT name FROM leases"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert [path.name for path in loaded.directory.iterdir()] == ["traces"]
    assert loaded.json(*SWEEP, TRACEWATCHD_DATABASE__LOCK_WAIT_S="0")["verdict"] == "consistent"
