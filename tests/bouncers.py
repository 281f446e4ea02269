"""Real pgbouncers in front of the tests' servers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from postgres import Server

ORDINARY = "postgres"
"""pgbouncer refuses to run as root."""


def installed_pgbouncer() -> str | None:
    """Where pgbouncer is, if it is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Bouncer:
    """One pgbouncer in front of a server, with so many backends per database; ``more`` is a line of its own."""

    def __init__(
        self, program: str, server: Server, *, mode: str = "transaction", backends: int = 2, more: str = ""
    ) -> None:
        self._program = program
        self._mode, self._backends, self._more = mode, backends, more
        self._directory = server.directory / "bouncer"
        self._directory.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (self._directory / "users.txt").write_text('"tracewatchd" ""\n')
        (self._directory / "bouncer.ini").write_text(self._configuration(server))
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:
            user = pwd.getpwnam(ORDINARY)
            self._user, self._group = user.pw_uid, user.pw_gid
            server.directory.chmod(0o755)
            for path in (self._directory, *self._directory.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)

    def _configuration(self, server: Server) -> str:
        return f"""
            [databases]
            * = host={server.directory} user=tracewatchd
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {self._directory}/users.txt
            pool_mode = {self._mode}
            default_pool_size = {self._backends}
            server_login_retry = 0
            {self._more}
        """.replace("            ", "")

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self._directory / "bouncer.ini")],
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._user,
                group=self._group,
            )
        deadline, pause = time.monotonic() + 10, threading.Event()
        while not self._listens():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline
            pause.wait(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()  # which signal ends it at once, and without a core dump, depends on its version
        self._process.wait(10)

    def dsn(self, direct: str) -> str:
        """The way through the bouncer to a database."""
        name = direct.partition("@/")[2].partition("?")[0]
        return f"postgresql://tracewatchd@127.0.0.1:{self.port}/{name}?sslmode=disable"


@contextmanager
def bouncing(program: str, server: Server, **options: Any) -> Iterator[Bouncer]:
    """A bouncer for the length of the block."""
    bouncer = Bouncer(program, server, **options)
    bouncer.start()
    try:
        yield bouncer
    finally:
        bouncer.stop()
