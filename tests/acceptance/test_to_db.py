"""``archive to-db``: what it loads, what it leaves, what it says and how it exits."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from dataclasses import fields
from pathlib import Path

import pytest

from one_shot import Desk, body, rows
from run_files import put, run_id
from running import COMMAND
from tracewatchd.model.results import LoadResult

LOAD = ("archive", "to-db")
BROKEN = b"this is a note, not a run\n"


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    return Desk(tmp_path, database)


def _days(desk: Desk) -> None:
    """Six runs: two projects on three days."""
    for number, project in enumerate(("bot", "a b")):
        for day in (19, 20, 21):
            name = f"{run_id(10 * number + day)}_000000.json"
            put(desk.root, f"{project}/2026-11-{day}/{name}", body(10 * number + day))


@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        ("--all", {"bot/19", "bot/20", "bot/21", "a b/19", "a b/20", "a b/21"}),
        ("--project=a b --date=2026-11-19", {"a b/19"}),
        ("--start-date=2026-11-20", {"bot/20", "bot/21", "a b/20", "a b/21"}),
        ("--end-date=2026-11-19 --project=bot", {"bot/19"}),
    ],
)
def test_what_is_selected_is_loaded(desk: Desk, options: str, loaded: set[str]) -> None:
    """Exactly the project-days that the options name become rows; both ends of a range are included."""
    _days(desk)
    result = desk.json(*LOAD, *re.split(r" (?=--)", options))
    assert result["loaded"] == result["files"] == len(loaded)
    days = "SELECT split_part(path, '/', 1) || '/' || substr(split_part(path, '/', 2), 9) FROM ledger"
    assert {day for (day,) in desk.rows(days)} == loaded
    assert desk.rows("SELECT count(*) FROM runs") == [(len(loaded),)]


def test_one_source_of_several(desk: Desk) -> None:
    """Without --source every root is loaded and the counts are of all of them, with it only the root of that name."""
    _days(desk)
    other = desk.directory / "other"
    put(other, f"bot/2026-11-20/{run_id(1)}_000000.json", body(1))
    (other / "stray.json").touch()
    roots = f'["{desk.root}", {{"path": "{other}", "source": "export"}}]'
    assert desk.json(*LOAD, "--all", "--source", "export", TRACEWATCHD_WATCH__ROOTS=roots)["loaded"] == 1
    both = desk.json(*LOAD, "--all", TRACEWATCHD_WATCH__ROOTS=roots)
    assert (both["files"], both["loaded"], both["already_loaded"], both["ignored"]) == (7, 6, 1, 1)
    assert desk.rows("SELECT DISTINCT source FROM ledger ORDER BY 1") == [(str(desk.root),), ("export",)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "--all"),
        (("--all", "--project", "bot"), "--all"),
        (("--date", "2026-11-20", "--end-date", "2026-11-21"), "--date names one day"),
        (("--start-date", "2026-11-21", "--end-date", "2026-11-20"), "2026-11-20 is before --start-date 2026-11-21"),
        (("--all", "--source", "nobody"), "no root has the source 'nobody'; configured are: /"),
        (("--project", "bott"), "no project has days in a folder 'bott'; there are: a b, bot"),
    ],
)
def test_wrong_usage(desk: Desk, options: tuple[str, ...], told: str) -> None:
    """Exit 2 and what is allowed, on standard error; nothing is loaded."""
    _days(desk)
    result = desk.run(*LOAD, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert told in result.stderr
    assert desk.rows("SELECT count(*) FROM runs") == [(0,)]


def test_days_without_runs_are_no_mistake(desk: Desk) -> None:
    """A day that holds nothing is said plainly and is done: a nightly job for yesterday must not fail by it."""
    _days(desk)
    result = desk.run(*LOAD, "--project", "bot", "--date", "2026-11-01")
    assert result.returncode == 0
    assert "nothing to load" in result.stdout


def test_the_size_of_batches(desk: Desk) -> None:
    """--batch-size bounds the files of every batch; --verbose tells each batch, and without it nothing is logged."""
    for number in range(7):
        desk.put(number)
    result = desk.run(*LOAD, "--all", "--batch-size", "3", "--verbose", TRACEWATCHD_INGEST__WRITERS="1")
    batches = [int(files) for files in re.findall(r'"batch.committed".*?"files":(\d+)', result.stderr)]
    assert batches == [3, 3, 1]
    desk.put(7)
    quiet = desk.run(*LOAD, "--all")
    assert (quiet.stderr, quiet.stdout[:41]) == ("", "8 run files: 1 loaded, 7 already loaded; ")


def test_without_overwrite_rows_are_only_added(desk: Desk) -> None:
    """A newer file of a known run is left and not acknowledged; with --overwrite it wins; an older one never does."""
    desk.put(1, body(1, day=2, text="old"))
    desk.json(*LOAD, "--all")
    desk.put(1, body(1, day=3, text="new"), second=1)
    desk.put(2)
    left = desk.json(*LOAD, "--all")
    assert (left["loaded"], left["left"], left["already_loaded"]) == (1, 1, 1)
    assert desk.rows("SELECT data->>'text' FROM runs ORDER BY run_id") == [("old",), ("hello",)]
    assert desk.rows("SELECT count(*) FROM ledger") == [(2,)]
    assert "--overwrite replaces it" in desk.run(*LOAD, "--all").stdout

    assert desk.json(*LOAD, "--all", "--overwrite")["updated"] == 1
    desk.put(1, body(1, day=1, text="oldest"), second=2)
    assert desk.json(*LOAD, "--all", "--overwrite")["superseded"] == 1
    assert desk.rows("SELECT data->>'text' FROM runs ORDER BY run_id") == [("new",), ("hello",)]
    assert desk.rows("SELECT count(*) FROM ledger") == [(4,)]


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_second_load_writes_nothing(desk: Desk, overwrite: tuple[str, ...]) -> None:
    """No row of either table is written again, and every file is told as loaded already."""
    _days(desk)
    desk.json(*LOAD, "--all")
    written = desk.written()
    assert desk.json(*LOAD, "--all", *overwrite)["already_loaded"] == 6
    assert desk.written() == written


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    """It tells files that would be read as pending and what is known as known, and leaves every table alone."""
    _days(desk)
    desk.json(*LOAD, "--project=bot")
    before = desk.written(), desk.rows("SELECT * FROM sources")
    told = desk.json(*LOAD, "--all", "--dry-run")
    assert (told["files"], told["pending"], told["already_loaded"]) == (6, 3, 3)
    assert "nothing was done: 3 already loaded, 3 pending" in desk.run(*LOAD, "--all", "-n").stdout
    assert (desk.written(), desk.rows("SELECT * FROM sources")) == before


def test_a_dry_run_makes_no_tables(tmp_path: Path, empty_database: str) -> None:
    """Where there are no tables it says what makes them and makes none itself."""
    desk = Desk(tmp_path, empty_database)
    desk.put(1)
    result = desk.run(*LOAD, "--all", "--dry-run")
    assert (result.returncode, result.stdout) == (70, "")
    assert "tracewatchd db migrate" in result.stderr
    assert rows(empty_database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert desk.run(*LOAD, "--all").returncode == 0
    assert desk.rows("SELECT count(*) FROM runs") == [(1,)]


def test_a_dry_run_makes_no_cluster(desk: Desk) -> None:
    """Where the embedded database is not there yet a dry run does not begin it."""
    home = desk.directory / "state"
    settings = {"TRACEWATCHD_DATABASE__URL": "", "TRACEWATCHD_DATABASE__EMBEDDED_DIR": str(home)}
    result = desk.run(*LOAD, "--all", "--dry-run", **settings)
    assert result.returncode == 70
    assert "hint: " in result.stderr
    assert not home.exists()


def test_the_result_as_json(desk: Desk) -> None:
    """Every count of a LoadResult and the sum of the files, under these names; they add up."""
    _days(desk)
    desk.put(5, BROKEN)
    (desk.root / "stray.json").touch()
    told = desk.json(*LOAD, "--all", status=1)
    assert list(told) == ["files", *(field.name for field in fields(LoadResult))]
    assert told["files"] == sum(count for name, count in told.items() if name not in {"files", "ignored"}) == 7
    assert (told["loaded"], told["quarantined"], told["ignored"]) == (6, 1, 1)


def test_growing_quarantine_is_told_once(desk: Desk) -> None:
    """A file that cannot be stored costs itself: exit 1, the rest is loaded. Known as such it is a count and exit 0."""
    _days(desk)
    desk.put(5, BROKEN)
    first = desk.run(*LOAD, "--all")
    assert first.returncode == 1
    assert "6 loaded, 1 quarantined" in first.stdout
    assert "tracewatchd quarantine list" in first.stdout
    assert '"event":"file.quarantined"' in first.stderr
    second = desk.run(*LOAD, "--all")
    assert (second.returncode, second.stderr) == (0, "")
    assert "6 already loaded, 1 already quarantined" in second.stdout


def test_a_progress_bar_on_a_terminal_alone(desk: Desk) -> None:
    """A terminal shows files done of all, the rate and the time left, and gets its cursor back; a pipe shows none."""
    for number in range(6_000):
        desk.put(number)
    master, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [COMMAND, *LOAD, "--all"],
            env=desk.env | {"TERM": "xterm-256color", "COLUMNS": "120", "TRACEWATCHD_INGEST__INBOX_PATHS": "100"},
            stdout=subprocess.PIPE,
            stderr=terminal,
            cwd=desk.directory,
        )
        os.close(terminal)
        shown = _all_of(master)
        assert process.communicate(timeout=30)[0].startswith(b"6000 run files: 6000 loaded")
    finally:
        os.close(master)
    assert process.returncode == 0
    assert re.search(r"\b[1-5]\d00/6000 .* \d+ files/s .*\d:\d\d:\d\d.* 0:00:\d\d", _plain(shown))
    assert "6000/6000" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    piped = desk.run(*LOAD, "--all")
    assert "files/s" not in piped.stderr + piped.stdout


def _all_of(master: int) -> str:
    """What is written to a terminal until nobody holds it any more."""
    written = b""
    while True:
        try:
            written += os.read(master, 65_536)
        except OSError:  # how a terminal's end is told
            return written.decode()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_root_that_is_missing(desk: Desk) -> None:
    """Exit 75 with the root and what to do, before anything is loaded from the roots that are there."""
    _days(desk)
    roots = f"{desk.root}:{desk.directory / 'not-mounted'}"
    result = desk.run(*LOAD, "--all", TRACEWATCHD_WATCH__ROOTS=roots)
    assert (result.returncode, result.stdout) == (75, "")
    error, hint = result.stderr.splitlines()
    assert error == f"error: cannot list {desk.directory / 'not-mounted'}: No such file or directory"
    assert hint.startswith("hint: mount it")
    assert desk.rows("SELECT count(*) FROM runs") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("archive", "to-db", "--all"), 75),
        (("archive", "to-db", "--all", "--dry-run"), 75),
        (("db", "status"), 3),
        (("reconcile", "--once"), 3),
    ],
)
def test_a_database_that_is_down(tmp_path: Path, arguments: tuple[str, ...], status: int) -> None:
    """One probe, then one sentence that names the database and what failed, one that says what to do, and the exit.

    A sweep gives its verdict all the same: not checked.
    """
    desk = Desk(tmp_path, "postgresql://someone:s3cret@/runs?host=/no/such/socket")
    began = time.monotonic()
    result = desk.run(*arguments)
    assert time.monotonic() - began < 10
    assert result.returncode == status
    assert ("not checked" in result.stdout) == ("reconcile" in arguments)
    error, hint = result.stderr.splitlines()
    shown = "postgresql://someone:********@/runs?host=/no/such/socket"
    assert error == f"error: the database ({shown}) cannot be reached: connection lost: No such file or directory"
    assert hint.startswith("hint: see that it runs")


@pytest.mark.parametrize(("arguments", "status"), [(("archive", "to-db", "--all"), 70), (("db", "status"), 3)])
def test_a_role_that_is_not_there(desk: Desk, arguments: tuple[str, ...], status: int) -> None:
    """What waiting does not heal is told at once, with its SQLSTATE and what to check."""
    result = desk.run(*arguments, TRACEWATCHD_DATABASE__URL=desk.database.replace("//tracewatchd@", "//nobody@"))
    assert (result.returncode, result.stdout) == (status, "")
    error, hint = result.stderr.splitlines()
    assert error.endswith('role "nobody" does not exist [28000]')
    assert hint == "hint: check user, password and pg_hba.conf"


@pytest.mark.parametrize(
    "arguments",
    [("archive", "to-db", "--all"), ("run",), ("reconcile", "--once")],
    ids=" ".join,
)
def test_no_root_at_all(desk: Desk, arguments: tuple[str, ...]) -> None:
    """Exit 78 with the key and how to set it, before an embedded database is made for nothing."""
    home = desk.directory / "state"
    settings = {"TRACEWATCHD_DATABASE__URL": "", "TRACEWATCHD_DATABASE__EMBEDDED_DIR": str(home)}
    result = desk.run(*arguments, TRACEWATCHD_WATCH__ROOTS="", **settings)
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr.startswith("watch.roots: no root is configured\nhint: ")
    assert not home.exists()
