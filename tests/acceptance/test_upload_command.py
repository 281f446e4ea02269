"""``archive upload`` and ``archive drive login`` as they are installed: what they send, say, survive and exit with."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from drive_faults import Fault, lost_answer, refused, stall
from drive_server import DriveServer, serving_drive
from drive_state import DriveState
from drives import CHUNK, DAY, browser, noise, put_zip
from one_shot import Desk
from running import COMMAND, PATIENCE_S, eventually, running
from tracewatchd.model.project_day import ProjectDay

ONE = ("archive", "upload", "--project", "support-bot", "--date", "2026-11-20")


@pytest.fixture
def server() -> Iterator[DriveServer]:
    with serving_drive(DriveState()) as drive:
        yield drive


@pytest.fixture
def desk(tmp_path: Path, server: DriveServer) -> Desk:
    """A place with credentials and no database at all."""
    login = tmp_path / "login.json"
    login.write_text(json.dumps(server.oauth.user_credentials()))
    settings = {
        "TRACEWATCHD_DATABASE__URL": "postgresql:///nobody?host=/nowhere",
        "TRACEWATCHD_ARCHIVE__ZIP_DIR": str(tmp_path / "zips"),
        "TRACEWATCHD_ARCHIVE__STATE_DIR": str(tmp_path / "state"),
        "TRACEWATCHD_DRIVE__ENDPOINT": server.url,
        "TRACEWATCHD_DRIVE__CHUNK_BYTES": str(CHUNK),
        "TRACEWATCHD_DRIVE__REQUEST_TIMEOUT_S": "10",
        "GOOGLE_APPLICATION_CREDENTIALS": str(login),
    }
    return Desk(tmp_path, "", settings)


def put(desk: Desk, size: int = 3 * CHUNK, *, seed: int = 1, day: ProjectDay = DAY) -> Path:
    return put_zip(desk.directory / "zips", {"a_000000.json": noise(size, seed)}, day)[0]


def test_upload_twice_and_by_force(desk: Desk, server: DriveServer) -> None:
    """The first one sends the zip, the second one nothing, and --force makes a revision of the same file."""
    path = put(desk)
    first = desk.run(*ONE)
    assert (first.returncode, first.stderr) == (0, "")
    size = path.stat().st_size
    assert re.fullmatch(rf"support-bot/2026-11-20: created, {size} of {size} bytes sent \(file \S+\)\n", first.stdout)
    (again,) = desk.json(*ONE)["uploads"]
    assert (again["what"], again["sent_bytes"]) == ("unchanged", 0)
    assert server.uploaded_bytes == size
    (forced,) = desk.json(*ONE, "--force")["uploads"]
    assert (forced["what"], forced["file_id"]) == ("updated", again["file_id"])
    assert forced["zip_sha256"] == sha256(path.read_bytes()).hexdigest()
    (file,) = server.drive.named("2026-11-20.zip")
    assert [revision.content for revision in file.revisions] == [path.read_bytes()] * 2


@pytest.mark.parametrize("after_chunks", [0, 1, 5])
def test_killed_in_the_middle(desk: Desk, server: DriveServer, after_chunks: int) -> None:
    """After kill -9 the same command sends what is missing and at most one chunk twice; nothing secret is printed."""
    path = put(desk, 8 * CHUNK)
    server.faults.add(stall(on="upload.chunk", skip=after_chunks))
    process = subprocess.Popen([COMMAND, *ONE], env=desk.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: server.faults.happened)
    process.send_signal(signal.SIGKILL)
    said = b"".join(process.communicate(timeout=PATIENCE_S))
    (hint,) = (desk.directory / "state").rglob("*.json")
    assert stat.S_IMODE(hint.stat().st_mode) == 0o600
    again = desk.run(*ONE, "--json", "--verbose")
    assert again.returncode == 0, again.stderr
    (result,) = json.loads(again.stdout)["uploads"]
    assert result["resumed_at_bytes"] == after_chunks * CHUNK
    assert server.uploaded_bytes <= path.stat().st_size + CHUNK
    assert [file.content for file in server.drive.named("2026-11-20.zip")] == [path.read_bytes()]
    (session,) = server.sessions
    for text in (said.decode(), again.stdout, again.stderr):
        assert session not in text
        assert not any(token in text for token in server.oauth._access)
    assert session not in hint.read_text()


def test_two_processes_make_one_folder(desk: Desk, server: DriveServer) -> None:
    """Two days of a project that are uploaded at once by two processes lie in one folder, and in no second one."""
    other = ProjectDay(DAY.folder, DAY.day.replace(day=21))
    put(desk)
    put(desk, day=other)
    days = ("2026-11-20", "2026-11-21")
    line = (COMMAND, *ONE[:-1])
    processes = [subprocess.Popen([*line, day], env=desk.env, stdout=subprocess.PIPE) for day in days]
    for process in processes:
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
    (folder,) = [folder for folder in server.drive.named("support-bot") if not folder.trashed]
    assert [server.drive.named(f"{day}.zip")[0].parents for day in days] == [[folder.id]] * 2


def test_a_range_of_which_one_day_fails(desk: Desk, server: DriveServer) -> None:
    """A day that fails is told with its hint and stops no other one; exit 1, and one day alone has its own status."""
    for day in (19, 20, 21):
        put(desk, 1_000, day=ProjectDay(DAY.folder, DAY.day.replace(day=day)))
    (desk.directory / "zips" / DAY.folder / "2026-11-20.zip").write_bytes(b"no zip")
    result = desk.run("archive", "upload", "--start-date", "2026-11-19", "--end-date", "2026-11-21", "--json")
    assert result.returncode == 1
    assert "error: support-bot/2026-11-20: " in result.stderr
    told = json.loads(result.stdout)
    assert [upload["day"] for upload in told["uploads"]] == ["2026-11-19", "2026-11-21"]
    assert [failed["day"] for failed in told["failed"]] == ["2026-11-20"]
    assert desk.run(*ONE).returncode == 65


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        (refused("storageQuotaExceeded", on="upload.start"), 70, "Free space on this Drive, or upload to a shared"),
        (Fault("refuse", on="upload.chunk", status=503, times=1_000), 75, "the same command goes on from there"),
        (Fault("refuse", on="oauth.token", status=400, times=9), 70, "Log in with `tracewatchd archive drive login`"),
    ],
    ids=["quota", "503", "revoked"],
)
def test_what_it_says_when_it_fails(desk: Desk, server: DriveServer, fault: Fault, status: int, told: str) -> None:
    """One error, one hint, the exit status, and nothing on standard output."""
    put(desk)
    server.faults.add(Fault(**vars(fault)))
    result = desk.run(*ONE, TRACEWATCHD_DRIVE__PATIENCE_S="0.5", TRACEWATCHD_LOG__FORMAT="json")
    assert (result.returncode, result.stdout) == (status, "")
    assert re.search(r"(?m)^error: ", result.stderr)
    assert told in result.stderr
    assert '"event":"upload.failed"' in result.stderr


def test_without_credentials(desk: Desk) -> None:
    """Exit 78 and where credentials are named; Drive is not asked."""
    put(desk)
    result = desk.run(*ONE, GOOGLE_APPLICATION_CREDENTIALS="")
    assert result.returncode == 78
    assert "there are no credentials for Google Drive" in result.stderr
    assert "drive.credentials_file (or GOOGLE_APPLICATION_CREDENTIALS)" in result.stderr


def test_a_dry_run_sends_nothing(desk: Desk, server: DriveServer) -> None:
    """It says what would be sent, and nothing is made there or here."""
    put(desk)
    result = desk.run("archive", "upload", "--all", "--dry-run")
    assert result.returncode == 0
    assert re.search(r"would be created, \d+ bytes; nothing was done", result.stdout)
    assert server.drive.named("support-bot") == []
    assert not (desk.directory / "state").exists()


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ((), 2, "--all"),
        (("--project", "supprt-bot"), 2, "there are: support-bot"),
        (("--project", "support-bot", "--date", "2026-11-01"), 0, "nothing to upload"),
    ],
)
def test_what_is_selected(desk: Desk, options: tuple[str, ...], status: int, told: str) -> None:
    """A slip in a project's name is told, a day without a zip is none."""
    put(desk)
    result = desk.run("archive", "upload", *options)
    assert result.returncode == status
    assert told in result.stdout + result.stderr


def test_the_folder_by_its_url(desk: Desk, server: DriveServer) -> None:
    """GOOGLE_DRIVE_FOLDER_URL names the folder, and the archive is made in it."""
    put(desk)
    folder = server.drive.add_folder("archive")
    url = f"https://drive.google.com/drive/folders/{folder.id}"
    assert desk.run(*ONE, GOOGLE_DRIVE_FOLDER_URL=url).returncode == 0
    assert server.drive.named("support-bot")[0].parents == [folder.id]


def test_progress_on_a_terminal(desk: Desk) -> None:
    """On a terminal a bar shows the day, how much of how much, the rate and the time left; it is not in the result."""
    put(desk)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, *ONE], env=desk.env | {"TERM": "xterm"}, stdout=subprocess.PIPE, stderr=follower
    )
    os.close(follower)
    out, _ = process.communicate(timeout=PATIENCE_S)
    seen = os.read(leader, 1 << 20).decode()
    os.close(leader)
    assert process.returncode == 0
    assert "created" in out.decode()
    assert "support-bot/2026-11-20" in seen
    assert re.search(r"MB|kB", seen)


def test_memory_is_bounded(desk: Desk, server: DriveServer) -> None:
    """A day of 50,000 runs and 100 MB is uploaded in at most 150 MB of memory."""
    put_zip(desk.directory / "zips", {f"{number:06}.json": noise(2_000, number) for number in range(50_000)})
    server.faults.add(stall(on="upload.last"))
    settings = {"TRACEWATCHD_DRIVE__CHUNK_BYTES": str(8 << 20), "TRACEWATCHD_DRIVE__REQUEST_TIMEOUT_S": "60"}
    with running(*ONE, env=desk.env | settings) as process:
        eventually(lambda: server.faults.happened)
        assert process.rss_bytes(peak=True) <= 150_000_000
    assert server.uploaded_bytes >= 100_000_000


def test_interrupted(desk: Desk, server: DriveServer) -> None:
    """Ctrl-C ends with status 1 and says how to go on, which works."""
    put(desk)
    server.faults.add(stall(on="upload.chunk", skip=1))
    process = subprocess.Popen([COMMAND, *ONE], env=desk.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: server.faults.happened)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert b"the same command goes on from there" in err
    assert desk.json(*ONE)["uploads"][0]["resumed_at_bytes"] == CHUNK


def test_the_answer_to_the_last_chunk_is_lost(desk: Desk, server: DriveServer) -> None:
    """The command ends well, and no byte was sent twice."""
    path = put(desk)
    server.faults.add(lost_answer())
    assert desk.run(*ONE).returncode == 0
    assert server.uploaded_bytes == path.stat().st_size


# ---------------------------------------------------------------------------------------------------------------------
# The login


def login(desk: Desk, server: DriveServer) -> subprocess.CompletedProcess[str]:
    """`archive drive login` with a browser that follows where it is sent."""
    client = desk.directory / "client.json"
    client.write_text(json.dumps(server.oauth.client_secrets()))
    return desk.run(
        "archive", "drive", "login", GOOGLE_APPLICATION_CREDENTIALS=str(client), BROWSER=browser(desk.directory)
    )


def test_log_in_and_upload(desk: Desk, server: DriveServer) -> None:
    """The login is kept for our eyes alone, printed nowhere, and uploads use it."""
    put(desk)
    result = login(desk, server)
    assert (result.returncode, result.stderr) == (0, "")
    kept = desk.directory / "state" / "drive-token.json"
    assert str(kept) in result.stdout
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["refresh_token"] not in result.stdout
    assert desk.run(*ONE, GOOGLE_APPLICATION_CREDENTIALS="").returncode == 0


def test_a_login_that_is_refused(desk: Desk, server: DriveServer) -> None:
    """Exit 70, a hint, and nothing is kept."""
    server.oauth.consents = False
    result = login(desk, server)
    assert result.returncode == 70
    assert "access to Google Drive was not given" in result.stderr
    assert not (desk.directory / "state").exists()


def test_no_browser(desk: Desk, server: DriveServer) -> None:
    """With --no-browser the address is printed and nothing is opened; Ctrl-C leaves nothing behind."""
    client = desk.directory / "client.json"
    client.write_text(json.dumps(server.oauth.client_secrets()))
    env = desk.env | {"GOOGLE_APPLICATION_CREDENTIALS": str(client), "BROWSER": "/nonexistent %s"}
    line = [COMMAND, "archive", "drive", "login", "--no-browser"]
    process = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    assert process.stdout.readline().startswith(f"{server.url}/o/oauth2/auth?client_id=")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert server.requests == []
