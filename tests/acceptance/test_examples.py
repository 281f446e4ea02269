"""Every example of every command's help does what it shows."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from command_tree import examples
from drive_server import serving_drive
from drive_state import DriveState
from drives import settings_for
from langsmith_server import serving
from langsmith_upstream import Upstream
from one_shot import Desk, body
from postgres import Server
from run_files import put
from running import running

BROKEN = "support-bot/2026-11-20/broken.json"
EXAMPLES = [example[1:] for example in examples()]


@pytest.fixture(scope="module")
def place(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A directory whose ./data holds the sample, loaded and zipped; LangSmith has nothing more, Drive has nothing."""
    desk = Desk(tmp_path_factory.mktemp("examples"), server.create_database(template))
    desk.settings["TRACEWATCHD_WATCH__ROOTS"] = "data"
    assert desk.run("sample", "data", "--runs", "40").returncode == 0
    put(desk.directory / "data", "support-bot/2026-11-20/one.json", body(1))
    assert desk.run("archive", "to-db", "--all").returncode == 0
    upstream = Upstream()
    upstream.add_project("support-bot")
    assert desk.run("archive", "zip", "--all").returncode == 0
    with serving(upstream) as langsmith, serving_drive(DriveState()) as drive:
        desk.settings |= {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": langsmith.key}
        desk.settings |= settings_for(drive, desk.directory)
        yield desk
    server.drop_database(desk.database)


def _quarantine_a_file(desk: Desk) -> Path:
    path = put(desk.directory / "data", BROKEN, b"this is a note, not a run\n")
    assert desk.run("archive", "to-db", "--all").returncode == 1
    return path


def _put_into_the_journal(desk: Desk, fix_id: str, *, state: str) -> None:
    """A repair of nothing, so that the examples find one under the id that they name."""
    desk.rows("DELETE FROM fixes RETURNING 1")
    desk.rows(
        "INSERT INTO fixes (fix_id, repair_id, source, kind, paths, ledger_before, ledger_after, state) VALUES"  # noqa: S608 - the test's own words
        f" ('{fix_id}', '{fix_id}', 'data', 'stale', '{{}}', '[]', '[]', '{state}') RETURNING 1"
    )


@contextmanager
def _daemon_to_ask(desk: Desk) -> Iterator[None]:
    """A daemon that has swept once, at a port that commands know."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        desk.settings["TRACEWATCHD_HTTP__PORT"] = str(free.getsockname()[1])
    with running("run", env=desk.env, cwd=desk.directory) as daemon:
        daemon.wait_for("daemon.ready")
        daemon.wait_for("sweep.finished")
        yield
        assert daemon.stop() == 0
    del desk.settings["TRACEWATCHD_HTTP__PORT"]


@pytest.mark.parametrize("example", EXAMPLES, ids=shlex.join)
def test_each_example_works_where_the_sample_is_loaded(place: Desk, example: list[str]) -> None:
    """The line of the help, run as it stands there, ends with exit status 0 and complains of nothing."""
    if example[0] == "quarantine":
        broken = _quarantine_a_file(place)
        if example[1] == "retry":
            broken.write_bytes(body(1))
    if example[:2] == ["archive", "fixes"] and example[2] != "list":
        _put_into_the_journal(place, example[3], state="rolled_back" if example[2] == "release" else "applied")
    if example[0] == "run":
        with running(*example, env=place.env, cwd=place.directory) as daemon:
            daemon.wait_for("daemon.ready")
            assert daemon.stop() == 0
        return
    with _daemon_to_ask(place) if example[0] in {"status", "health"} else nullcontext():
        result = place.run(*example)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout
