"""``config`` and the places settings come from, with the installed command; and that no secret is ever told."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from command_tree import commands
from nobody import as_nobody
from one_shot import Desk, body
from run_files import put, run_id
from running import running
from tracewatchd.cli import config
from tracewatchd.settings import Root
from tracewatchd.store.schema import newest

PASSWORD = "s3cret-of-ours"


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    return Desk(tmp_path, database)


def test_check_counts_what_is_ignored(desk: Desk) -> None:
    """Per root: how many run files there are and how much else, wherever it lies, the same as the sweep says."""
    desk.put(1)
    desk.put(2)
    day = f"bot/2026-11-20/{run_id(3)}_000000.json"
    for stray in (
        "stray.json",
        "bot/stray.json",
        "bot/2026-11-20/_summary.json",
        f"bot/2026-11-20/deep/{run_id(4)}.json",
    ):
        put(desk.root, stray, body(4))
    put(desk.root, f"bot/2026-13-20/{run_id(5)}.json", body(5))
    (desk.root / day).symlink_to(desk.root / "stray.json")
    other = desk.directory / "other"
    other.mkdir()
    roots = f"{desk.root}:{other}:{desk.directory / 'later'}"
    told = desk.json("config", "check", TRACEWATCHD_WATCH__ROOTS=roots)
    states = [(root["state"], root["run_files"], root["ignored"], root["unreadable"]) for root in told["roots"]]
    assert states == [("ready", 2, 6, 0), ("ready", 0, 0, 0), ("does not exist yet", None, None, None)]
    line = f"root {desk.root} (source {desk.root}): ready; 2 run files, 6 other entries ignored"
    assert line in desk.run("config", "check").stdout.splitlines()
    assert desk.json("reconcile", "--once")["ignored"] == 6


def test_check_counts_what_it_may_not_read() -> None:
    """A day or project that is closed to this user is counted, and the rest is counted all the same."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        for number, day in enumerate(("bot/2026-11-20", "bot/2026-11-21", "shut/2026-11-20")):
            put(directory, f"{day}/{run_id(number)}_000000.json", body(number))
        for closed in ("bot/2026-11-21", "shut"):
            (directory / closed).chmod(0)
        root = Root(path=directory, source="here")

        def check() -> None:
            look = config._look_at(root)
            assert look.said == "; 1 run files, 0 other entries ignored; 2 entries cannot be read"

        try:
            as_nobody(check)
        finally:
            for closed in ("bot/2026-11-21", "shut"):
                (directory / closed).chmod(0o700)


def test_secret_files_of_docker_and_systemd(desk: Desk) -> None:
    """The URL in a secret file is used and its origin shown; systemd's directory beats Docker's."""
    docker, systemd = desk.directory / "secrets", desk.directory / "credentials"
    for directory, url in ((docker, "postgresql:///wrong?host=/nowhere"), (systemd, desk.database)):
        directory.mkdir()
        (directory / "tracewatchd_database__url").write_text(url + "\n")
    desk.settings = {"TRACEWATCHD_DATABASE__URL": "", "TRACEWATCHD_SECRETS_DIR": str(docker)}
    shown = desk.json("config", "show")["database.url"]
    assert shown["origin"] == f"secret file {docker / 'tracewatchd_database__url'}"
    desk.settings["CREDENTIALS_DIRECTORY"] = str(systemd)
    assert desk.json("config", "show")["database.url"]["origin"].startswith(f"secret file {systemd}")
    assert desk.json("db", "status")["files_acknowledged"] == 0


def test_database_url_is_used(desk: Desk) -> None:
    """DATABASE_URL alone leads to the database."""
    desk.settings = {"TRACEWATCHD_DATABASE__URL": "", "DATABASE_URL": desk.database}
    assert desk.json("config", "show")["database.url"]["origin"] == "DATABASE_URL"
    assert desk.json("db", "status")["schema_version"] == newest()


def test_every_command_refuses_a_bad_configuration(desk: Desk) -> None:
    """Whatever the command, faults are told a line each with exit 78, and nothing else happens."""
    faults = {"TRACEWATCHD_INGEST__WRITERS": "99", "TRACEWATCHD_LOG__LEVEL": "loud"}
    for arguments in (("run",), ("archive", "to-db", "--all"), ("reconcile", "--once")):
        result = desk.run(*arguments, **faults)
        assert (result.returncode, result.stdout) == (78, "")
        writers, level, hint = result.stderr.splitlines()
        assert writers == "TRACEWATCHD_INGEST__WRITERS: must be a whole number from 1 to 32, not '99'"
        assert level.startswith("TRACEWATCHD_LOG__LEVEL: must be ")
        assert hint == "hint: config.example.toml documents every setting."


def _with_password(url: str) -> str:
    """A URL with the password in both places where one may stand."""
    return url.replace("tracewatchd@", f"tracewatchd:{PASSWORD}@") + f"&password={PASSWORD}"


def test_no_secret_is_told(desk: Desk) -> None:
    """Wherever the password stands in the URL, no command's output, log or process list shows it; `db url` does."""
    desk.put(1)
    desk.put(2, b"this is a note, not a run\n")
    desk.database = _with_password(desk.database)
    desk.settings["TRACEWATCHD_LOG__LEVEL"] = "debug"
    said = ""
    for arguments in (
        ("config", "show"),
        ("config", "show", "--json"),
        ("db", "init", "--json"),
        ("archive", "to-db", "--all", "--verbose"),
        ("reconcile", "--once", "--verbose"),
    ):
        result = desk.run(*arguments)
        assert result.returncode in {0, 1}, result.stderr
        said += result.stdout + result.stderr
    with running("run", env=desk.env) as daemon:
        daemon.wait_for("daemon.ready")
        said += Path(f"/proc/{daemon.pid}/cmdline").read_text()
        assert daemon.stop() == 0
    said += json.dumps(daemon.events) + "".join(daemon.other)
    assert "********" in said
    assert PASSWORD not in said
    assert desk.run("db", "url").stdout.count(PASSWORD) == 2


@pytest.mark.parametrize("tail", ["&sslmode=bogus", "&host=/no/such/socket", "&port=x", "&no_such_parameter=1"])
def test_no_error_tells_a_secret(desk: Desk, tail: str) -> None:
    """A URL that leads nowhere, or that driver or server refuse, is told as an error without the password."""
    desk.database = _with_password(desk.database) + tail
    for arguments, statuses in ((("db", "migrate"), {70, 75, 78}), (("db", "status"), {3, 78})):
        result = desk.run(*arguments)
        assert result.returncode in statuses, result.stderr
        assert PASSWORD not in result.stderr
        assert "Traceback" not in result.stderr


def test_no_option_takes_a_secret() -> None:
    """The URL cannot be given on a command line, where every user of the machine could read it."""
    names = {name for found in commands() for option in found.parameters for name in option.opts}
    assert not [name for name in names if "url" in name or "password" in name or "dsn" in name]
