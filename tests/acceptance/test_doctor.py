"""``tracewatchd doctor`` as it is installed: eight problems, each provoked for real and named with its remedy."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bouncers import bouncing, installed_pgbouncer
from doctor_cases import CASES
from drive_server import serving_drive
from drive_state import DriveState
from drives import settings_for
from langsmith_server import serving
from langsmith_upstream import Upstream
from one_shot import Desk
from postgres import Server, run_now, statement
from running import COMMAND
from tracewatchd.store.schema import migrate

pytestmark = pytest.mark.xdist_group("doctor")

_STRANGER = 12_345
_AS_ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Takes from root its power over permissions."""

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="mounts need root",
)


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    """A root with one run file, and a database with our tables."""
    desk = Desk(tmp_path, database)
    desk.put(1)
    return desk


@pytest.fixture(scope="module")
def told() -> Iterator[list[Sequence[str]]]:
    """The rows of the table of problems, printed at the end (with ``-s``)."""
    rows: list[Sequence[str]] = []
    yield rows
    print("\n| problem | provoked by | sentence | remedy |\n|---|---|---|---|")  # noqa: T201 - the table is the proof
    for row in rows:
        print(f"| {' | '.join(row)} |")  # noqa: T201 - as above


@pytest.fixture
def names(told: list[Sequence[str]]) -> Callable[..., None]:
    """See that a result names a case, and keep what it said for the table."""

    def check(case: str, result: subprocess.CompletedProcess[str], **values: object) -> None:
        answer = json.loads(result.stdout)
        expected = CASES[case]
        found = [trouble for trouble in answer["troubles"] if expected.is_told_by(trouble, values)]
        assert len(found) == 1, (expected, result.stdout, result.stderr)
        failing = any(trouble["severity"] == "error" for trouble in answer["troubles"])
        assert result.returncode == (1 if failing else 3 if answer["unchecked"] else 0)
        told.append((case, expected.provoked, found[0]["sentence"], found[0]["remedy"]))

    return check


def doctor(desk: Desk, *words: str, through: Sequence[str] = (), **settings: str) -> subprocess.CompletedProcess[str]:
    """The doctor's answer as JSON; ``through`` are the words of a command that starts it."""
    return subprocess.run(
        [*through, COMMAND, "doctor", "--json", *words],
        env=desk.env | settings,
        cwd=desk.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def mounted(script: str) -> list[str]:
    """Starts a command in a mount namespace of its own, prepared by a script; what it mounts ends with it."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}\nexec "$@"', "sh"]


@pytest.fixture
def sound_server(server_of: Callable[..., Server], debian_postgres: Path) -> Server:
    """A server as one should be: a distribution's build that keeps what it commits."""
    return server_of(debian_postgres, fsync="on", full_page_writes="on")


@pytest.fixture
def plain_place() -> Iterator[Path]:
    """A directory on a file system of memory, which is the same on every machine, containers included."""
    place = Path(tempfile.mkdtemp(prefix="tracewatchd-doctor-", dir="/dev/shm"))
    yield place
    shutil.rmtree(place)


async def _migrated(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
    finally:
        await connection.close()


def test_a_healthy_machine_is_met_with_silence(plain_place: Path, sound_server: Server) -> None:
    """With tables, LangSmith and Drive all in order there is one line on standard output and nothing else."""
    database = sound_server.create_database()
    run_now(_migrated(database))
    desk = Desk(plain_place, database)
    for number in range(20):
        desk.put(number)
    upstream = Upstream()
    upstream.add_project("Support Bot")
    with serving(upstream) as langsmith, serving_drive(DriveState()) as drive:
        desk.settings |= {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": langsmith.key}
        desk.settings |= settings_for(drive, desk.directory)
        for secret in ("oauth-client.json", "drive-token.json"):
            (desk.directory / secret).chmod(0o600)
        desk.settings["TRACEWATCHD_RETENTION__PROJECTS"] = json.dumps(
            [{"project": "Support Bot", "retention_days": 14, "first_day": "2026-11-20"}]
        )
        result = desk.run("doctor", "--strict")
        assert (result.returncode, result.stdout, result.stderr) == (0, "nothing found\n", "")
        assert langsmith.count("GET", "/sessions") == 2
        answer = desk.json("doctor", "--strict")
    assert (answer["health"], answer["troubles"], answer["unchecked"]) == ("healthy", [], [])
    assert {f"root {desk.root}", "inotify", "limits", "database", "langsmith", "drive"} <= set(answer["checks"])


def test_too_few_watches(desk: Desk, names: Callable[..., None]) -> None:
    """Where the kernel really grants 3 watches and the root has 4 directories, the number to set is named."""
    desk.put(1)
    (desk.root / "other").mkdir()
    through = ["unshare", "--user", "--map-root-user", "sh", "-ec"]
    script = 'echo 3 > /proc/sys/user/max_inotify_watches; exec "$@"'
    if subprocess.run([*through, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("user namespaces are forbidden here")
    result = doctor(desk, through=[*through, script, "sh"])
    names("watches", result, needed=4, granted=3)
    assert "`sysctl -w user.max_inotify_watches=" in result.stdout


@needs_mounts
def test_a_short_queue(desk: Desk, names: Callable[..., None], tmp_path: Path) -> None:
    """A kernel that keeps few events is told with how many files would fill it."""
    low = tmp_path / "low"
    low.write_text("512\n")
    result = doctor(desk, through=mounted(f"mount --bind {low} /proc/sys/fs/inotify/max_queued_events"))
    names("queue", result, queue=512, files=85, setting="fs.inotify.max_queued_events=32768")


@needs_mounts
@pytest.mark.skipif(not shutil.which("rclone") or not shutil.which("fusermount3"), reason="no rclone or no fuse3 here")
def test_a_network_file_system(desk: Desk, names: Callable[..., None], tmp_path: Path) -> None:
    """A root behind FUSE is told to be polled, and by which setting the delay is chosen."""
    point = tmp_path / "point"
    point.mkdir()
    script = (
        f"rclone mount :local:{desk.root} {point} --daemon --daemon-wait 30s --config /dev/null >&2\n"
        f"trap 'fusermount3 -u {point}' EXIT\n"
        '"$@"'
    )
    through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    result = doctor(desk, through=through, TRACEWATCHD_WATCH__ROOTS=str(point))
    names("network file system", result, root=point, kind="fuse.rclone")


@needs_mounts
def test_a_container_s_own_layer(desk: Desk, tmp_path: Path) -> None:
    """A root on an overlay, where containers keep what is in no volume, is told to end with the container."""
    for name in ("upper", "work", "point"):
        (tmp_path / name).mkdir()
    layers = f"lowerdir={desk.root},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    through = mounted(
        f"mount -t tmpfs none {tmp_path}/upper; mkdir {tmp_path}/upper/u {tmp_path}/upper/w\n"
        f"mount -t overlay -o {layers.replace('/upper,', '/upper/u,').replace('/work', '/upper/w')}"
        f" overlay {tmp_path}/point"
    )
    result = doctor(desk, through=through, TRACEWATCHD_WATCH__ROOTS=f"{tmp_path}/point")
    (trouble,) = [one for one in json.loads(result.stdout)["troubles"] if one["check"] == "file system"]
    assert (trouble["severity"], "ends with the container" in trouble["sentence"]) == ("warning", True)
    assert "mount a volume" in trouble["remedy"]


def test_a_closed_directory_above_the_root(desk: Desk, names: Callable[..., None], tmp_path: Path) -> None:
    """The very level that is closed is named, not the root below it, with its mode, its owner and our user."""
    closed = tmp_path / "closed"
    root = closed / "deep" / "traces"
    root.mkdir(parents=True)
    through: Sequence[str] = ()
    if os.geteuid() == 0:
        os.chown(closed, _STRANGER, _STRANGER)
        through = _AS_ORDINARY
    closed.chmod(0o700 if os.geteuid() == 0 else 0o600)
    try:
        result = doctor(desk, through=through, TRACEWATCHD_WATCH__ROOTS=str(root))
    finally:
        closed.chmod(0o700)
    names("permission", result, root=root, closed=closed, owner=f"{_STRANGER}:{_STRANGER}")


def test_pgbouncer_in_transaction_mode(desk: Desk, names: Callable[..., None], server: Server) -> None:
    """The mode is told from outside, and the setting for it is named; with the setting there is nothing to say."""
    program = installed_pgbouncer()
    if program is None:
        pytest.skip("no pgbouncer is installed (tests/system-packages installs one)")
    with bouncing(program, server) as bouncer:
        url = bouncer.dsn(desk.database)
        names("pgbouncer mode", doctor(desk, TRACEWATCHD_DATABASE__URL=url))
        right = doctor(desk, TRACEWATCHD_DATABASE__URL=url, TRACEWATCHD_DATABASE__PGBOUNCER="true")
    assert right.returncode == 0
    assert "pgbouncer" not in {trouble["check"] for trouble in json.loads(right.stdout)["troubles"]}


def test_a_role_that_may_only_read(desk: Desk, names: Callable[..., None]) -> None:
    """What the role lacks is listed; after the very statements of the remedy it is told nothing, and it can work."""
    name = f"reader_{desk.directory.name.replace('-', '_')}"[:40].lower()
    try:
        run_now(
            statement(
                desk.database, f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
            )
        )
        url = desk.database.replace("://tracewatchd@", f"://{name}@")
        result = doctor(desk, TRACEWATCHD_DATABASE__URL=url)
        names("role", result, role=name)
        (trouble,) = [one for one in json.loads(result.stdout)["troubles"] if one["check"] == "role"]
        assert "INSERT, UPDATE, DELETE on fixes, leases, ledger, runs" in trouble["sentence"]
        run_now(statement(desk.database, *trouble["remedy"].strip("`").split("; ")))
        assert doctor(desk, TRACEWATCHD_DATABASE__URL=url).returncode == 0
        for work in (("archive", "to-db", "--all"), ("reconcile", "--once", "--depth", "deep")):
            done = desk.run(*work, TRACEWATCHD_DATABASE__URL=url)
            assert (done.returncode, done.stderr) == (0, "")
        desk.put(1).unlink()
        assert (
            desk.run("reconcile", "--once", "--fix", "gone-rows", "--yes", TRACEWATCHD_DATABASE__URL=url).returncode
            == 0
        )
    finally:
        run_now(statement(desk.database, f"DROP OWNED BY {name}", f"DROP ROLE {name}"))


@needs_mounts
def test_a_full_disk(desk: Desk, names: Callable[..., None], tmp_path: Path) -> None:
    """A directory that is written into says how little is left, and which setting moves it."""
    zips = tmp_path / "zips"
    zips.mkdir()
    result = doctor(
        desk, through=mounted(f"mount -t tmpfs -o size=8m none {zips}"), TRACEWATCHD_ARCHIVE__ZIP_DIR=str(zips)
    )
    names("disk", result, zips=zips, free=8)


def test_a_wrong_key_of_langsmith(desk: Desk, names: Callable[..., None]) -> None:
    """A key that LangSmith refuses is told after one request, and never shown."""
    with serving(Upstream()) as langsmith:
        wrong = {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": "lsv2_pt_of_somebody_else"}
        result = doctor(desk, **wrong)
        assert langsmith.count() == 1
    names("credentials: LangSmith", result)
    assert "of_somebody_else" not in result.stdout + result.stderr


def test_a_login_that_drive_does_not_take(desk: Desk, names: Callable[..., None], tmp_path: Path) -> None:
    """A login that was revoked is told with the command that makes another one."""
    with serving_drive(DriveState(), token=None) as drive:
        settings = settings_for(drive, tmp_path)
        drive.oauth.revoke()
        result = doctor(desk, **settings)
    names("credentials: Drive", result)


def test_what_cannot_be_checked_hides_nothing(desk: Desk) -> None:
    """With the database and LangSmith away the rest is told all the same; without an error the exit status is 3."""
    (desk.root / "stray.json").write_text("{}")
    away = {
        "TRACEWATCHD_DATABASE__URL": f"postgresql:///nobody?host={desk.directory}",
        "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
        "LANGSMITH_API_KEY": "lsv2_pt_nobody_asks",
    }
    result = desk.run("doctor", **away)
    assert result.returncode == 3
    said = result.stdout.splitlines()
    assert said[0].startswith(
        f"warning: a .json file under root {desk.root} is never loaded: it lies above the folders"
    )
    assert said[1].startswith(f"  remedy: put the files themselves into {desk.root}/<project>/<YYYY-MM-DD>/")
    missed = [line for line in said if line.startswith("not checked: ")]
    assert len(missed) == 2
    assert missed[0].startswith("not checked: the database (postgresql:///nobody?host=")
    assert "cannot connect to 127.0.0.1" in missed[1]
    assert "nothing found" not in said
    assert desk.run("doctor", "--strict", **away).returncode == 1


def test_one_source_alone(desk: Desk) -> None:
    """--source looks at one root of several, and a source that is not configured is wrong usage."""
    roots = json.dumps([{"path": str(desk.root), "source": "here"}, {"path": "/nowhere/at/all", "source": "there"}])
    assert desk.run("doctor", "--source", "here", TRACEWATCHD_WATCH__ROOTS=roots).returncode == 0
    result = desk.run("doctor", TRACEWATCHD_WATCH__ROOTS=roots)
    assert (result.returncode, "is not there: /nowhere does not exist" in result.stdout) == (1, True)
    assert desk.run("doctor", "--source", "elsewhere", TRACEWATCHD_WATCH__ROOTS=roots).returncode == 2


def test_a_file_with_a_secret_that_everybody_may_read(desk: Desk) -> None:
    """The configuration file that holds a password is told with what closes it; an address without one is no secret."""
    file = desk.directory / "tracewatchd.toml"
    file.write_text(f'[database]\nurl = "{desk.database.replace("tracewatchd@", "tracewatchd:secret@")}"\n')
    file.chmod(0o644)
    settings = {"TRACEWATCHD_DATABASE__URL": ""}

    def secrets() -> list[Any]:
        troubles = desk.json("doctor", "--config", str(file), **settings)["troubles"]
        return [trouble for trouble in troubles if trouble["check"] == "secrets"]

    (trouble,) = secrets()
    assert trouble["sentence"] == f"{file} holds database.url and may be read by everybody on this machine"
    assert trouble["remedy"] == f"`chmod o= {shlex.quote(str(file))}`"
    file.chmod(0o600)
    assert secrets() == []
    file.chmod(0o644)
    file.write_text(f'[database]\nurl = "{desk.database}"\n')
    assert secrets() == []
