"""The directory in which the embedded Postgres lives: its cluster, its log, its socket, and the lock of its owner."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.store.server_binaries import USER

MAX_SOCKET_PATH_BYTES = 107
"""The longest path that a unix socket may have on Linux (``sun_path`` less its closing NUL)."""

MAX_LOG_BYTES = 10_000_000
"""A log that is longer when the server starts is set aside, and replaces the one that was set aside before."""

_SOCKET = ".s.PGSQL.5432"
_STATUS_LINE = 7  # of postmaster.pid, counted from 0; what pg_ctl reads


class Home:
    """One such directory. Whoever holds its lock owns the server; the kernel frees the lock when its holder ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "cluster"
        self.log = directory / "server.log"
        self._socket_record = directory / "socket.path"
        self._lock: int | None = None

    @property
    def owner(self) -> tuple[int, int]:
        """The uid and gid that the directory belongs to."""
        found = self.directory.stat()
        return found.st_uid, found.st_gid

    def take_lock(self) -> bool:
        """Become the owner of the server, or stay it; False while another process is."""
        if self._lock is not None:
            return True
        handle = self._open("owner.lock", os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    def give_lock_back(self) -> None:
        """Let another process own the server."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open_log(self) -> int:
        """A handle to append to the log."""
        return self._open("server.log", os.O_WRONLY | os.O_APPEND)

    def _open(self, name: str, flags: int) -> int:
        """Open or make a file, never through a link; what root makes belongs to the directory's owner as well."""
        handle = os.open(self.directory / name, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._hand_over(handle)
        return handle

    def _hand_over(self, made: int | Path) -> None:
        if os.geteuid() == 0:
            os.chown(made, *self.owner)

    def give_to(self, user: tuple[int, int]) -> None:
        """Make everything the server's user's, where the directory is not yet; only root can."""
        if self.owner == user:
            return
        for folder, _, names in os.walk(self.directory):
            for path in Path(folder), *(Path(folder, name) for name in names):
                os.chown(path, *user, follow_symlinks=False)

    def rotate_log(self) -> None:
        """Set a long log aside."""
        try:
            too_long = self.log.stat().st_size > MAX_LOG_BYTES
        except FileNotFoundError:
            return
        if too_long:
            self.log.replace(self.log.with_name("server.log.1"))

    @property
    def socket_directory(self) -> Path:
        """Where the server's socket is.

        Raises:
            PermanentError: no server was ever started here that could say so.
        """
        own = self.directory / "socket"
        if _usable(own):
            return own
        try:
            return Path(os.fsdecode(self._socket_record.read_bytes()))
        except FileNotFoundError:
            raise nothing_there(self.directory) from None

    def make_socket_directory(self, environ: Mapping[str, str]) -> Path:
        """Make sure of a directory for the socket that only the server's user can enter.

        Raises:
            PermanentError: there is no place whose path is short enough, or somebody else was there first.
        """
        own = self.directory / "socket"
        if _usable(own):
            self._make_private(own)
            return own
        short = self._short_directory(environ)
        with open(self._open("socket.path.new", os.O_WRONLY | os.O_TRUNC), "wb") as record:  # noqa: PTH123 - a handle
            record.write(os.fsencode(short))
        self._socket_record.with_name("socket.path.new").replace(self._socket_record)
        return short

    def _short_directory(self, environ: Mapping[str, str]) -> Path:
        uid = self.owner[0]
        mark = sha256(os.fsencode(self.directory)).hexdigest()[:12]
        for parent in _runtime_directories(environ):
            short = parent / f"tracewatchd-{mark}-{uid}"
            if _usable(short) and parent.is_dir() and (parent.stat().st_uid in {uid, 0}):
                self._make_private(short)
                return short
        raise PermanentError(
            f"no directory's path is short enough for the socket of the embedded Postgres in {self.directory}",
            hint="name a shorter directory in database.embedded_dir",
        )

    def _make_private(self, directory: Path) -> None:
        """Make a directory in a place where anybody may make one, or know it for ours."""
        try:
            directory.mkdir(mode=0o700)
            self._hand_over(directory)
        except FileExistsError:
            found = directory.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == self.owner[0] and not found.st_mode & 0o077
            if not ours:
                raise PermanentError(
                    f"{directory} is not ours, so the embedded Postgres cannot have its socket there",
                    hint="remove it, or name a shorter directory in database.embedded_dir",
                ) from None

    @property
    def dsn(self) -> str:
        """How to reach the server."""
        return f"postgresql://{USER}@/{USER}?host={quote(str(self.socket_directory), safe='')}"

    def answering_pid(self) -> int | None:
        """The process of the server that is ready, or None while there is none."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != "ready" or not self._listens():
            return None
        return int(lines[0])

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # noqa: FBT003 - the socket's own signature
            try:
                probe.connect(str(self.socket_directory / _SOCKET))
            except BlockingIOError:
                return True  # its queue is full: it is there, and busy
            except (ConnectionError, FileNotFoundError):
                return False
        return True

    def clear_remains(self, limit_s: float) -> None:
        """Wait until no process of an earlier server is left, then remove its marks; blocks, and needs the lock.

        After a kill -9 its backends end by themselves once they notice. Postgres would take a mark for a living server
        where its pid was given to another process since, as it is in every container that starts again.

        Raises:
            TransientError: a server runs here that nobody owns.
        """
        deadline = time.monotonic() + limit_s
        for pid in _serving(self.data):
            if not _ended(pid, deadline):
                raise TransientError(
                    f"process {pid} still runs a Postgres in {self.data}",
                    hint="end it if it was started by hand; it is looked for again",
                )
        for mark in self.data / "postmaster.pid", self.directory / "socket" / f"{_SOCKET}.lock":
            mark.unlink(missing_ok=True)


def nothing_there(directory: Path) -> PermanentError:
    """The error of looking for a database where none was made yet."""
    return PermanentError(
        f"there is no embedded database in {directory} yet",
        hint="start `tracewatchd run` once, or name a database in database.url",
    )


def _usable(directory: Path) -> bool:
    """Whether a socket can be there: short enough, and no comma, which separates hosts in a DSN."""
    return len(os.fsencode(directory / _SOCKET)) <= MAX_SOCKET_PATH_BYTES and "," not in str(directory)


def _runtime_directories(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        if value := environ.get(name):
            yield Path(value.partition(":")[0])
    yield Path(tempfile.gettempdir())


def _serving(data: Path) -> Iterator[int]:
    """The processes of Postgres that stand in a cluster's directory, where a server and its backends always do."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and _is_postgres(entry) and (entry / "cwd").samefile(data):
                yield int(entry.name)
        except OSError:
            continue  # it has ended, or is somebody else's


def _is_postgres(process: Path) -> bool:
    return (process / "comm").read_text(encoding="utf-8", errors="replace").strip() == "postgres"


def _ended(pid: int, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(handle)
