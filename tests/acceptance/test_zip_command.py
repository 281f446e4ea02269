"""``archive zip`` and ``archive restore`` as commands: what they make, say and exit with, and what a kill leaves."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from drive_server import DriveServer, serving_drive
from drive_state import DriveState
from one_shot import Desk, body
from postgres import Server
from run_files import DIRECTORY, put, run_body, run_id, run_path
from running import COMMAND, eventually, run_for_peak
from tracewatchd.edges.zipping import read_manifest
from tracewatchd.model.manifest import DIGEST_COMMAND, MANIFEST_NAME
from zips import snapshot

ZIP = ("archive", "zip")
RESTORE = ("archive", "restore", "--project", "bot", "--date", "2026-11-20")
NO_DATABASE = "postgresql://nobody@/none?host=/no/such/socket"
PEAK_BYTES = 150 * 1024 * 1024


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """No database is reachable: neither verb needs one."""
    desk = Desk(tmp_path, NO_DATABASE)
    desk.settings["TRACEWATCHD_ARCHIVE__ZIP_DIR"] = "zips"
    desk.settings["TRACEWATCHD_ARCHIVE__STATE_DIR"] = "state"
    return desk


def zip_of(desk: Desk, day: str = DIRECTORY) -> Path:
    return desk.directory / "zips" / f"{day}.zip"


def three_days(desk: Desk) -> None:
    for day in (19, 20, 21):
        for number in range(5):
            put(desk.root, f"bot/2026-11-{day}/{run_id(10 * number + day)}_000000.json", body(10 * number + day))
    put(desk.root, "other/2026-11-20/a.json", body(1))


def test_two_times_the_same(desk: Desk) -> None:
    """Every selected day becomes a zip; a second run writes nothing; made anew elsewhere it has the same sha256."""
    three_days(desk)
    told = desk.json(*ZIP, "--project", "bot")
    assert [(one["date"], one["outcome"], one["runs"]) for one in told["zips"]] == [
        (f"2026-11-{day}", "written", 5) for day in (19, 20, 21)
    ]
    assert told["failed"] == []
    before = snapshot(desk.directory / "zips")
    again = desk.json(*ZIP, "--all")
    assert [one["outcome"] for one in again["zips"]] == ["unchanged"] * 3 + ["written"]
    assert before.items() <= snapshot(desk.directory / "zips").items()
    elsewhere = desk.json(*ZIP, "--all", TRACEWATCHD_ARCHIVE__ZIP_DIR="elsewhere")
    assert [one["sha256"] for one in elsewhere["zips"]] == [one["sha256"] for one in again["zips"]]
    for one in again["zips"]:
        assert one["sha256"] == sha256(Path(one["path"]).read_bytes()).hexdigest()


def test_the_digest_is_what_sha256sum_says(desk: Desk) -> None:
    """The documented command in the day's directory prints the digest that the command and the manifest tell."""
    three_days(desk)
    put(desk.root, f"{DIRECTORY}/_summary.json", b"{}")
    put(desk.root, f"{DIRECTORY}/_attachments/x/pic.png", b"\x89PNG")
    (one,) = desk.json(*ZIP, "--project", "bot", "--date", "2026-11-20")["zips"]
    printed = subprocess.run(
        ["sh", "-c", DIGEST_COMMAND],
        cwd=desk.root / DIRECTORY,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == f"{one['day_digest']}  -\n"
    with zipfile.ZipFile(zip_of(desk)) as archive:
        assert one["day_digest"].encode() in archive.read(MANIFEST_NAME)


def test_what_is_said(desk: Desk) -> None:
    """A line for each day on standard output, nothing on standard error."""
    three_days(desk)
    planned = desk.run(*ZIP, "--project", "other", "--dry-run")
    assert planned.stdout == "other/2026-11-20: would be zipped: 1 run files, 194 bytes; nothing was done\n"
    assert not (desk.directory / "zips").exists()
    written = desk.run(*ZIP, "--project", "other")
    assert written.stdout.startswith(f"other/2026-11-20: 1 run files zipped into {zip_of(desk, 'other/2026-11-20')}, ")
    unchanged = desk.run(*ZIP, "--project", "other")
    assert unchanged.stdout == (
        f"other/2026-11-20: unchanged, {zip_of(desk, 'other/2026-11-20')} holds its 1 run files and is whole\n"
    )
    nothing = desk.run(*ZIP, "--project", "other", "--date", "2026-11-01")
    assert nothing.stdout.startswith("nothing to zip: ")
    (desk.root / "other/2026-11-20/a.json").unlink()
    emptied = desk.run(*ZIP, "--project", "other")
    assert emptied.stdout == "other/2026-11-20: no files, nothing to zip\n"
    assert {result.stderr for result in (planned, written, unchanged, nothing, emptied)} == {""}
    assert {result.returncode for result in (planned, written, unchanged, nothing, emptied)} == {0}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (ZIP, "--all"),
        ((*ZIP, "--all", "--project", "bot"), "--all"),
        ((*ZIP, "--project", "bott"), "no project has days in a folder 'bott'; there are: bot, other"),
        ((*ZIP, "--all", "--source", "nobody"), "no root has the source 'nobody'"),
        (("archive", "restore", "--project", "bot"), "--date"),
        (("archive", "restore", "--date", "2026-11-20"), "--project"),
    ],
)
def test_wrong_usage(desk: Desk, options: tuple[str, ...], told: str) -> None:
    """Exit 2 and what is allowed; nothing is made."""
    three_days(desk)
    result = desk.run(*options)
    assert (result.returncode, result.stdout) == (2, "")
    assert told in result.stderr
    assert not (desk.directory / "zips").exists()


def test_several_roots(desk: Desk) -> None:
    """One day has one zip: where two roots have the day one is to be named, and the one to restore into always."""
    three_days(desk)
    put(desk.directory, "second/bot/2026-11-20/b.json", body(7))
    put(desk.directory, "second/mine/2026-11-20/b.json", body(8))
    roots = {"TRACEWATCHD_WATCH__ROOTS": f'["{desk.root}", {{"path": "{desk.directory}/second", "source": "second"}}]'}
    refused = desk.run(*ZIP, "--all", **roots)
    assert refused.returncode == 2
    assert f"bot/2026-11-20 lies in several roots, and can have one zip: {desk.root}, second" in refused.stderr
    assert [one["project"] for one in desk.json(*ZIP, "--project", "mine", **roots)["zips"]] == ["mine"]
    assert len(desk.json(*ZIP, "--all", "--source", "second", **roots)["zips"]) == 2
    assert "there are several roots; name one" in desk.run(*RESTORE, **roots).stderr
    assert desk.json(*RESTORE, "--source", "second", **roots)["same"] == 1


def test_one_day_of_several_that_fails(desk: Desk) -> None:
    """The others are zipped, exit 1; alone it is exit 70. The sentence and what to do stand on standard error."""
    three_days(desk)
    put(desk.root, f"bot/2026-11-20/{MANIFEST_NAME}", b"{}")
    told = desk.json(*ZIP, "--project", "bot", status=1)
    assert [one["date"] for one in told["zips"]] == ["2026-11-19", "2026-11-21"]
    assert [one["error"] for one in told["failed"]] == [
        "bot/2026-11-20/MANIFEST.json: no zip of a day holds a file of this name"
    ]
    alone = desk.run(*ZIP, "--project", "bot", "--date", "2026-11-20")
    assert alone.returncode == 70
    event, error, hint = alone.stderr.splitlines()
    assert '"event":"zip.failed"' in event
    assert error == "error: bot/2026-11-20/MANIFEST.json: no zip of a day holds a file of this name"
    assert hint.startswith("hint: rename it or move it away")


def test_a_cleared_day_comes_back(desk: Desk) -> None:
    """The files and their times are as they were; a second run does nothing; what is said says so."""
    three_days(desk)
    desk.json(*ZIP, "--all")
    before = snapshot(desk.root)
    shutil.rmtree(desk.root / DIRECTORY)
    dry = desk.run(*RESTORE, "--dry-run")
    assert dry.stdout == f"{DIRECTORY}: 5 files in {zip_of(desk)}: nothing was done; 5 new\n"
    assert not (desk.root / DIRECTORY).exists()
    assert desk.run(*RESTORE).stdout == f"{DIRECTORY}: 5 files in {zip_of(desk)}: 5 new\n"
    assert snapshot(desk.root) == before
    assert desk.json(*RESTORE)["same"] == 5


def test_files_that_are_left_are_told(desk: Desk) -> None:
    """Up to twenty by name, the others as a number; --json has all; exit 0, for nothing failed."""
    for number in range(25):
        desk.put(number)
    desk.json(*ZIP, "--all")
    for number in range(25):
        desk.put(number, body(number, day=2 if number else 1, text="edited"))
        os.utime(desk.root / run_path(number), ns=(5, 5))
    result = desk.run(*RESTORE)
    assert result.returncode == 0
    first, *left, more = result.stdout.splitlines()
    assert first.endswith(": 1 newer, 24 older")
    assert left[0] == f"  left, the file there is newer: {run_path(1).rpartition('/')[2]}"
    assert (len(left), more) == (20, "  and 4 more")
    assert len(desk.json(*RESTORE)["left"]) == 24


@pytest.mark.parametrize(
    ("bad", "status", "told"),
    [
        (b"this is no zip", 65, "does not end as a zip of a day does"),
        (None, 70, "there is no zip"),
    ],
)
def test_a_named_zip_that_is_none(desk: Desk, bad: bytes | None, status: int, told: str) -> None:
    """--from names a file; what is no zip of ours is exit 65, one that is not there exit 70, and nothing is touched."""
    three_days(desk)
    before = snapshot(desk.root)
    if bad:
        (desk.directory / "bad.zip").write_bytes(bad)
    result = desk.run(*RESTORE, "--from", "bad.zip")
    assert (result.returncode, result.stdout) == (status, "")
    assert told in result.stderr
    assert "\nhint: " in result.stderr
    assert snapshot(desk.root) == before


def test_a_zip_lies_anywhere(desk: Desk) -> None:
    """--from takes any path, and the name of the file says nothing."""
    three_days(desk)
    desk.json(*ZIP, "--project", "bot")
    shutil.move(zip_of(desk), desk.directory / "copy")
    shutil.rmtree(desk.root / DIRECTORY)
    assert desk.json(*RESTORE, "--from", "copy")["new"] == 5


# ---------------------------------------------------------------------------------------------------------------------
# From Drive


@pytest.fixture
def drive(desk: Desk) -> Iterator[DriveServer]:
    """A Drive to which the desk has access."""
    with serving_drive(DriveState()) as server:
        login = desk.directory / "login.json"
        login.write_text(json.dumps(server.oauth.user_credentials()))
        desk.settings["TRACEWATCHD_DRIVE__ENDPOINT"] = server.url
        desk.settings["GOOGLE_APPLICATION_CREDENTIALS"] = str(login)
        yield server


def test_a_day_comes_back_from_drive(desk: Desk, drive: DriveServer) -> None:
    """Zipped, uploaded, lost here altogether: every file is back with its time, and no zip stays in the state."""
    three_days(desk)
    desk.json(*ZIP, "--project", "bot", "--date", "2026-11-20")
    desk.json("archive", "upload", "--project", "bot", "--date", "2026-11-20")
    before = snapshot(desk.root)
    shutil.rmtree(desk.root / DIRECTORY)
    shutil.rmtree(desk.directory / "zips")
    assert desk.json(*RESTORE, "--from", "drive", "--dry-run")["new"] == 5
    assert not (desk.root / DIRECTORY).exists()
    assert desk.json(*RESTORE, "--from", "drive")["new"] == 5
    assert snapshot(desk.root) == before
    assert list((desk.directory / "state").rglob("*.zip")) == []


def test_a_day_that_drive_does_not_have(desk: Desk, drive: DriveServer) -> None:
    """Exit 70 and what to do; nothing is touched."""
    three_days(desk)
    before = snapshot(desk.root)
    result = desk.run(*RESTORE, "--from", "drive")
    assert (result.returncode, result.stdout) == (70, "")
    assert f"Google Drive holds no zip of {DIRECTORY}" in result.stderr
    assert snapshot(desk.root) == before


# ---------------------------------------------------------------------------------------------------------------------
# With a database, and on a terminal


def test_progress_on_a_terminal(desk: Desk) -> None:
    """A terminal shows which day, how much of it, and the time left; and gets its cursor back."""
    many(desk, 2_000)
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, *ZIP, "--all"],
        env=desk.env | {"TERM": "xterm-256color", "COLUMNS": "120"},
        cwd=desk.directory,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    shown = all_of(master)
    assert process.wait(30) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(rf"{DIRECTORY} .* 100% \d:\d\d:\d\d 0:00:00", plain)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def all_of(master: int) -> str:
    """What is written to a terminal until nobody holds it any more."""
    written = b""
    try:
        while True:
            try:
                written += os.read(master, 65_536)
            except OSError:  # how a terminal's end is told
                return written.decode()
    finally:
        os.close(master)


def test_a_database_agrees_with_what_came_back(server: Server, template: str, tmp_path: Path) -> None:
    """Loaded, zipped, lost and restored, a day is verified as consistent, and nothing is loaded again."""
    desk = Desk(tmp_path, server.create_database(template))
    desk.settings["TRACEWATCHD_ARCHIVE__ZIP_DIR"] = "zips"
    three_days(desk)
    desk.json("archive", "to-db", "--all")
    rows = desk.rows("SELECT run_id::text, xmin::text, ctid::text FROM runs ORDER BY 1")
    desk.json(*ZIP, "--all")
    shutil.rmtree(desk.root / DIRECTORY)
    desk.json(*RESTORE)
    verified = desk.run("archive", "verify", "--project", "bot", "--date", "2026-11-20", "--deep")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert desk.json("archive", "to-db", "--all")["loaded"] == 0
    assert desk.rows("SELECT run_id::text, xmin::text, ctid::text FROM runs ORDER BY 1") == rows
    server.drop_database(desk.database)


# ---------------------------------------------------------------------------------------------------------------------
# Killed, interrupted, large


def started(desk: Desk, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, *arguments],
        env=desk.env,
        cwd=desk.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def many(desk: Desk, files: int) -> None:
    directory = desk.root / DIRECTORY
    directory.mkdir(parents=True)
    for number in range(files):
        (directory / f"{run_id(number * 7919)}_000000.json").write_bytes(run_body(number * 7919))


def held(directory: Path) -> int:
    """Entries of a directory that may come and go."""
    with suppress(FileNotFoundError):
        return len(list(directory.iterdir()))
    return 0


def size(path: Path) -> int:
    """Bytes of a file that may come and go; -1 where there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return -1


def kill_when(condition: Callable[[], bool], desk: Desk, *arguments: str) -> None:
    """Start a command and kill it at the first moment of this kind, if it has not ended before."""
    process = started(desk, *arguments)
    eventually(lambda: condition() or process.poll() is not None, every_s=0.001)
    process.kill()
    process.communicate()


def test_kill_at_any_moment_of_a_zip(desk: Desk) -> None:
    """There is no zip or a whole one; the same command then makes the same bytes, and nothing else stays."""
    many(desk, 3_000)
    desk.json(*ZIP, "--all", TRACEWATCHD_ARCHIVE__ZIP_DIR="reference")
    wanted = (desk.directory / "reference" / f"{DIRECTORY}.zip").read_bytes()
    part = zip_of(desk).with_name(".2026-11-20.zip.part")
    for bytes_written in (0, 1, 300_000, 700_000):
        kill_when(lambda least=bytes_written: size(part) >= least, desk, *ZIP, "--all")  # type: ignore[misc] # bound now
        assert size(zip_of(desk)) in {-1, len(wanted)}
    desk.json(*ZIP, "--all")
    assert zip_of(desk).read_bytes() == wanted
    assert list(zip_of(desk).parent.iterdir()) == [zip_of(desk)]


def test_kill_at_any_moment_of_a_restore(desk: Desk) -> None:
    """What is there is whole, with its time; the same command then brings the rest, and nothing else stays."""
    many(desk, 3_000)
    files = snapshot(desk.root)
    desk.json(*ZIP, "--all")
    shutil.rmtree(desk.root / "bot")
    day, staging = desk.root / DIRECTORY, desk.root / "bot" / ".restore-2026-11-20"
    moments: list[Callable[[], bool]] = [staging.exists, lambda: held(staging) > 1_000, lambda: held(day) > 500]
    for moment in moments:
        kill_when(moment, desk, *RESTORE)
        there = {f"{DIRECTORY}/{name}": found for name, found in snapshot(day).items()}
        assert there.items() <= files.items()
    told = desk.json(*RESTORE)
    assert told["new"] + told["same"] == 3_000
    assert snapshot(desk.root) == files


def test_an_interrupt_leaves_nothing(desk: Desk) -> None:
    """Ctrl-C ends it at its next file: exit 1, a sentence, no part of a zip; then the command does all of it."""
    many(desk, 3_000)
    process = started(desk, *ZIP, "--all")
    part = zip_of(desk).with_name(".2026-11-20.zip.part")
    eventually(part.exists, every_s=0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == b"interrupted: what is finished is kept; the same command goes on from there\n"
    assert list(zip_of(desk).parent.iterdir()) == []
    assert desk.run(*ZIP, "--all").returncode == 0


@pytest.mark.timeout(300)
def test_fifty_thousand_runs_in_little_memory(desk: Desk) -> None:
    """Zipped, found unchanged, restored and grown, each within 150 MB of memory."""
    many(desk, 50_000)
    assert _peak(desk, *ZIP, "--all") <= PEAK_BYTES
    assert _peak(desk, *ZIP, "--all") <= PEAK_BYTES
    for path in sorted((desk.root / DIRECTORY).iterdir())[:5_000]:
        path.unlink()
    assert _peak(desk, *RESTORE) <= PEAK_BYTES
    desk.put(1)
    assert _peak(desk, *ZIP, "--all") <= PEAK_BYTES
    assert read_manifest(zip_of(desk)).counts.runs == 50_001


def _peak(desk: Desk, *arguments: str) -> int:
    """The most memory that a command ever had, in bytes."""
    _, peak_bytes = run_for_peak(*arguments, env=desk.env, cwd=desk.directory)
    return peak_bytes
