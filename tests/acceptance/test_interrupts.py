"""Ctrl-C: a loading command finishes what is on its way first, a checking command ends; no traceback ever."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from one_shot import Desk, body, rows
from run_files import put, run_path
from running import COMMAND, eventually

LOAD = ("archive", "to-db", "--all")
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    """A place where a line takes in few files at a time, so that an interrupt leaves many."""
    settings = {"TRACEWATCHD_INGEST__INBOX_PATHS": "100", "TRACEWATCHD_INGEST__WRITERS": "2"}
    return Desk(tmp_path, database, settings)


class Interrupted:
    """A command that runs and is interrupted."""

    def __init__(self, desk: Desk, *arguments: str, own_group: bool = False) -> None:
        self.process = subprocess.Popen(
            [COMMAND, *arguments],
            env=desk.env,
            cwd=desk.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=own_group,
        )
        self.errors = ""

    def read_until(self, text: str) -> None:
        """Read standard error until a line holds this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line
            if text in line:
                return
        raise AssertionError(f"it ended without saying {text!r}: {self.errors}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Its exit status and what it printed, when it is over; it never shows a traceback."""
        output, errors = self.process.communicate(timeout=30)
        self.errors += errors
        assert "Traceback" not in self.errors
        assert "Error" not in self.errors
        return self.process.returncode, output


@contextmanager
def interrupted(desk: Desk, *arguments: str, own_group: bool = False) -> Iterator[Interrupted]:
    """A command for the length of the block, in a process group of its own where a whole group is to be signalled."""
    found = Interrupted(desk, *arguments, own_group=own_group)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


@contextmanager
def locked(database: str, table: str) -> Iterator[Callable[[], int]]:
    """Hold a table, so that who writes or reads it stands still; gives how many wait for it."""
    held: Future[None] = Future()
    loop = asyncio.new_event_loop()

    async def hold() -> None:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            held.set_result(None)
            await release.wait()
        finally:
            await connection.close()

    release = asyncio.Event()
    with ThreadPoolExecutor(1) as thread:
        holding = thread.submit(loop.run_until_complete, hold())
        held.result(timeout=30)
        try:
            yield lambda: rows(database, WAITING.format(table=table))[0][0]
        finally:
            loop.call_soon_threadsafe(release.set)
            holding.result(timeout=30)
            loop.close()


def test_the_first_interrupt_finishes_what_is_on_its_way(desk: Desk) -> None:
    """What was taken in is committed, row and ledger alike, what was left is told, exit 1; a next load takes it up."""
    for number in range(3_000):
        desk.put(number)
    with interrupted(desk, *LOAD, "--verbose") as load:
        load.read_until("batch.committed")
        load.interrupt()
        status, output = load.end()
    assert status == 1
    assert "interrupted: what is on its way is committed, the rest is left" in load.errors
    first, second = output.splitlines()
    loaded, left = desk.rows("SELECT count(*) FROM runs")[0][0], int(second.split()[1])
    assert 0 < loaded < 3_000
    assert first.startswith(f"3000 run files: {loaded} loaded, {left} pending;")
    assert loaded + left == 3_000
    assert desk.rows("SELECT count(*) FROM ledger") == [(loaded,)]
    rest = desk.json(*LOAD)
    assert (rest["already_loaded"], rest["loaded"]) == (loaded, left)


def test_a_second_interrupt_ends_at_once(desk: Desk) -> None:
    """While the first one still waits for the database, a second ends the command with 130, leaving nothing behind."""
    desk.put(1)
    with locked(desk.database, "runs") as waiting, interrupted(desk, *LOAD) as load:
        eventually(waiting)
        load.interrupt()
        load.read_until("interrupted: what is on its way")
        assert waiting()
        load.interrupt()
        began = time.monotonic()
        assert load.end() == (130, "")
        assert time.monotonic() - began < 5
        assert load.errors.splitlines()[-1] == "interrupted"
    assert desk.rows("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM ledger)") == [(0, 0)]


def test_the_first_interrupt_waits_for_the_commit(desk: Desk) -> None:
    """A batch that stands at a lock when the interrupt comes is committed as soon as the lock is gone."""
    desk.put(1)
    with interrupted(desk, *LOAD) as load:
        with locked(desk.database, "runs") as waiting:
            eventually(waiting)
            load.interrupt()
            load.read_until("interrupted: what is on its way")
        status, output = load.end()
    assert (status, output.splitlines()[0]) == (1, "1 run files: 1 loaded; 0 other entries ignored")
    assert desk.rows("SELECT count(*) FROM runs") == [(1,)]


@pytest.mark.parametrize("arguments", [LOAD, ("quarantine", "retry", "--all")], ids=["load", "retry"])
def test_an_interrupt_does_not_wait_for_a_file_to_settle(desk: Desk, arguments: tuple[str, ...]) -> None:
    """A file that is still being written, which may take its ten minutes, is left at once and counted."""
    desk.put(1, b"[]")
    desk.put(2, b"[]")
    desk.run(*LOAD)
    desk.put(1)
    desk.put(2, body(2)[:50])
    desk.settings["TRACEWATCHD_WATCH__SETTLE_S"] = "600"
    with interrupted(desk, *arguments, "--verbose") as load:
        load.read_until("batch.committed")
        load.interrupt()
        status, output = load.end()
    assert status == 1
    assert "1 loaded, 1 pending" in output


def test_a_retry_is_interrupted_like_a_load(desk: Desk) -> None:
    """`quarantine retry` finishes what it took in, then exits 1."""
    desk.put(1, b"[]")
    desk.run(*LOAD)
    desk.put(1)
    with interrupted(desk, "quarantine", "retry", "--all") as retry:
        with locked(desk.database, "runs") as waiting:
            eventually(waiting)
            retry.interrupt()
            retry.read_until("interrupted: what is on its way")
        assert retry.end() == (1, "1 files tried again: 1 loaded\n")


def test_with_two_roots_the_second_is_left(desk: Desk) -> None:
    """An interrupt in the first root's load leaves every file of the next root, and counts them."""
    other = desk.directory / "other"
    desk.put(1)
    put(other, run_path(2), body(2))
    desk.settings["TRACEWATCHD_WATCH__ROOTS"] = f"{desk.root}:{other}"
    with interrupted(desk, *LOAD) as load:
        with locked(desk.database, "runs") as waiting:
            eventually(waiting)
            load.interrupt()
            load.read_until("interrupted: what is on its way")
        status, output = load.end()
    assert (status, output.splitlines()[0]) == (1, "2 run files: 1 loaded, 1 pending; 0 other entries ignored")


@pytest.mark.parametrize("arguments", [LOAD, (*LOAD, "--dry-run")], ids=["load", "dry run"])
def test_an_interrupt_before_anything_was_done(desk: Desk, arguments: tuple[str, ...]) -> None:
    """While the command only asks yet, there is nothing to finish: it says so and exits 1 on the first."""
    desk.put(1)
    table = "schema_version"
    with locked(desk.database, table) as waiting, interrupted(desk, *arguments) as load:
        eventually(waiting)
        load.interrupt()
        assert load.end() == (1, "")
        assert load.errors == "interrupted before anything was done\n"


@pytest.mark.parametrize(
    ("arguments", "table"),
    [
        (("reconcile", "--once"), "runs"),
        (("quarantine", "list"), "ledger"),
        (("db", "migrate"), "schema_version"),
    ],
)
def test_a_checking_command_ends_on_the_first(desk: Desk, arguments: tuple[str, ...], table: str) -> None:
    """Exit 130 at once, one line, and the lease of a sweep is given back."""
    desk.put(1)
    with locked(desk.database, table) as waiting, interrupted(desk, *arguments) as check:
        eventually(waiting)
        check.interrupt()
        assert check.end() == (130, "")
        assert check.errors == "interrupted\n"
    assert desk.rows("SELECT count(*) FROM leases") == [(0,)]


def test_ctrl_c_leaves_the_embedded_server_to_its_owner() -> None:
    """A terminal sends Ctrl-C to the whole group: the server still serves what is on its way, and ends with us."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        settings = {"TRACEWATCHD_DATABASE__EMBEDDED_DIR": str(directory / "state")}
        desk = Desk(directory, "", settings | {"TRACEWATCHD_INGEST__INBOX_PATHS": "100"})
        for number in range(2_000):
            desk.put(number)
        with interrupted(desk, *LOAD, "--verbose", own_group=True) as load:
            load.read_until("batch.committed")
            os.killpg(load.process.pid, signal.SIGINT)
            status, output = load.end()
        assert status == 1
        loaded = int(output.split()[3])
        assert 0 < loaded < 2_000
        assert desk.json("db", "status")["files_acknowledged"] == loaded
        assert "store.unavailable" not in load.errors
