"""Real Postgres servers for tests: on a unix socket only, ended with the test run, fast as they may lose data."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import asyncpg
import psutil

from tracewatchd.store.server_binaries import USER, Binaries, create_cluster, environment, find_binaries, identities

START_LIMIT_S = 30.0
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
}

T = TypeVar("T")


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, whatever loop the caller has."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def statement(dsn: str, *queries: str) -> list[asyncpg.Record]:
    """Run statements one by one, each committed; returns the rows of the last."""
    connection = await asyncpg.connect(dsn)
    try:
        answers = [await connection.fetch(query) for query in queries]
    finally:
        await connection.close()
    return answers[-1]


class Server:
    """One Postgres with a cluster of its own, made at once; as a context it starts and goes away."""

    def __init__(self, binaries: Path, **settings: str) -> None:
        # Not under pytest's directory: a socket's path may have 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="tracewatchd-test-"))
        self.binaries: Binaries = find_binaries(binaries, identities((os.geteuid(), os.getegid())))
        self.settings = SETTINGS | settings
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._hand_over(self.directory)
        create_cluster(self.binaries, self.data, self.log, durable=False)

    @property
    def data(self) -> Path:
        return self.directory / "cluster"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def _hand_over(self, directory: Path) -> None:
        if self.binaries.identity.user is not None:
            os.chown(directory, *self.binaries.identity.user)

    def dsn(self, database: str = USER) -> str:
        """How to reach a database of the server."""
        return f"postgresql://{USER}@/{quote(database)}?host={quote(str(self.directory), safe='')}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        assert threading.current_thread() is threading.main_thread(), "it would end with the thread that starts it"
        settings = self.settings | {"listen_addresses": "", "unix_socket_directories": str(self.directory)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = self.binaries.command("postgres", "-D", str(self.data), *options, death_signal=signal.SIGQUIT)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd="/", env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_LIMIT_S
        pause = threading.Event()
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()[-2_000:]
            assert time.monotonic() < deadline, self.log.read_text()[-2_000:]
            pause.wait(0.01)

    def _ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.pid)] and len(lines) > 7 and lines[7].strip() == "ready"

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it and wait until it is gone; SIGKILL is a crash, after which `start` recovers."""
        if self.process is not None and self.process.poll() is None:
            backends = psutil.Process(self.pid).children()
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(START_LIMIT_S)
            psutil.wait_procs(backends, START_LIMIT_S)

    def create_database(self, template: str | None = None) -> str:
        """Make a database (empty, or a copy of another) and return its DSN."""
        name = f"db{next(self._numbers)}"
        source = "template0" if template is None else template
        run_now(statement(self.dsn("postgres"), f"CREATE DATABASE {name} TEMPLATE {source}"))
        return self.dsn(name)

    def drop_database(self, dsn: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = dsn.partition("@/")[2].partition("?")[0]
        run_now(statement(self.dsn("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def installed_binaries() -> Path | None:
    """The programs of the newest PostgreSQL that the system has installed."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    return None if newest is None else newest.parent
