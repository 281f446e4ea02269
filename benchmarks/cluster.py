"""A Postgres of the benchmark's own: installed programs, default durable settings, a temporary directory."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_START = 60
TEMPLATE = "migrated"


def newest_programs() -> Path:
    """The directory of the newest installed PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise SystemExit("no PostgreSQL in /usr/lib/postgresql: name one with --programs")
    return found[-1]


@dataclass(frozen=True)
class Cluster:
    """A running server: reached through its socket by any local user, as its superuser."""

    programs: Path
    sockets: Path
    owner: str

    def url(self, database: str) -> str:
        """Where a client finds the database."""
        return f"postgresql://{self.owner}@/{database}?host={self.sockets}"

    def psql(self, database: str, *commands: str) -> str:
        """Run SQL or backslash commands one after the other; the answer's bare rows."""
        return subprocess.run(self.psql_argv(database, *commands), check=True, capture_output=True, text=True).stdout

    def psql_argv(self, database: str, *commands: str) -> list[str]:
        """The command line that runs these commands."""
        given = [word for command in commands for word in ("-c", command)]
        return [str(self.programs / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(database), *given]

    def create(self, database: str, template: str = "template0") -> None:
        """Make a database anew and wait until nothing of it is left to write."""
        self.psql(
            "postgres",
            f'drop database if exists "{database}" with (force)',
            f'create database "{database}" template "{template}"',
            "checkpoint",
        )


def _run_as(owner: str, argv: Sequence[str | Path]) -> None:
    """Run a program of the server, which refuses to be root."""
    other = owner if os.geteuid() == 0 else None
    subprocess.run(
        argv, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=SECONDS_TO_START, user=other, group=other
    )


@contextmanager
def cluster(programs: Path, directory: Path) -> Iterator[Cluster]:
    """Make and start a cluster below the directory; it is stopped at the end, whatever happens."""
    owner = "postgres" if os.geteuid() == 0 else getpass.getuser()
    data, log = directory / "cluster" / "data", directory / "cluster" / "log"
    data.parent.mkdir()
    if os.geteuid() == 0:
        shutil.chown(data.parent, owner, owner)
    _run_as(owner, [programs / "initdb", "-D", data, "-U", owner, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"])
    options = f"-c listen_addresses='' -c unix_socket_directories='{data.parent}'"
    control: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-s"]
    _run_as(owner, [*control, "-l", log, "-o", options, "start"])
    try:
        yield Cluster(programs, data.parent, owner)
    finally:
        _run_as(owner, [*control, "-m", "fast", "stop"])
