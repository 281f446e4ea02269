"""Writing files so that nobody ever sees a part of one: temporary name beside it, then a rename."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from tracewatchd.model.errors import PermanentError, TransientError

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_LEFT_AFTER_S = 3_600
HEALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def write_file(
    path: Path, content: bytes, *, durable: bool = False, private: bool = False, mtime_ns: int | None = None
) -> None:
    """Put ``content`` at ``path`` in one step, in place of a file that may be there; its directory must exist.

    A symlink is followed, and only a regular file is replaced, no device or pipe. The temporary name begins with ``.``,
    so that no watcher or sweep takes it for a run file, and is short, so that any name that the file system allows can
    be written. ``durable`` waits until file and name are on the disk, ``private`` lets nobody but the owner read it,
    ``mtime_ns`` is the age that it is seen with from the first moment on.

    Raises:
        TransientError: The disk is full or failing, or this process has too many files open.
        PermanentError: The file cannot be written there (permissions, no such directory, read-only).
    """
    with classified(path.parent, f"write {path.name}"):
        _write(_replaceable(path), content, durable=durable, mtime_ns=mtime_ns, mode=0o600 if private else 0o666)


def write_new_file(path: Path, content: bytes, *, mtime_ns: int) -> bool:
    """Put a new file at ``path`` in one step, on the disk and with this age; False where something is there already.

    Raises:
        TransientError: The disk is full or failing, or this process has too many files open.
        PermanentError: The file cannot be written there (permissions, no such directory, read-only).
    """
    with classified(path.parent, f"write {path.name}"):
        try:
            _write(path, content, durable=True, mtime_ns=mtime_ns, only_new=True)
        except FileExistsError:
            return False
    return True


class GrowingFile:
    """A file that is written piece by piece and seen, in place of one that may be there, only when it is finished.

    Raises:
        TransientError: The disk is full or failing, or this process has too many files open.
        PermanentError: The file cannot be written there (permissions, no such directory, read-only).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._classified():
            self._target = _replaceable(path)
            self._temporary = _beside(self._target)
            self._stream = self._temporary.open("xb")

    def write(self, piece: bytes) -> None:
        """Add a piece.

        Raises:
            TransientError, PermanentError: as for the whole file.
        """
        with self._classified():
            self._stream.write(piece)

    def finish(self, *, durable: bool = False) -> None:
        """Let everyone see it; ``durable`` waits until file and name are on the disk.

        Raises:
            TransientError, PermanentError: as for the whole file.
        """
        with self._classified():
            self._stream.flush()
            if durable:
                os.fsync(self._stream.fileno())
            self._stream.close()
            self._temporary.replace(self._target)
            if durable:
                sync_directory(self._target.parent)

    def discard(self) -> None:
        """Leave nothing of it; of a finished file everything stays."""
        with suppress(OSError):
            self._stream.close()
        _remove(self._temporary)

    def _classified(self) -> AbstractContextManager[None]:
        return classified(self._path.parent, f"write {self._path.name}")


def remove_file(path: Path) -> None:
    """Let there be no file at ``path``.

    Raises:
        TransientError: The disk is failing.
        PermanentError: It cannot be removed (permissions, read-only).
    """
    with classified(path.parent, f"remove {path.name}"):
        path.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, where they are missing.

    Raises:
        TransientError: The disk is full or failing.
        PermanentError: It cannot be made there (permissions, a file in its place, read-only).
    """
    with classified(path, "make it"):
        path.mkdir(parents=True, exist_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files of writers that were killed: ours by their names, and untouched for an hour.

    Raises:
        TransientError: The disk is failing.
        PermanentError: The directory cannot be looked into.
    """
    oldest_s = time.time() - _LEFT_AFTER_S
    with classified(directory, "look into it"), suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if not _TEMPORARY.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest_s:
                    _remove(directory / entry.name)


def is_empty(path: Path) -> bool:
    """Whether a directory holds no entry at all, hidden ones included, or is not there.

    Raises:
        TransientError: The disk is failing.
        PermanentError: It cannot be looked into (permissions, no directory).
    """
    with classified(path, "look into it"), suppress(FileNotFoundError), os.scandir(path) as entries:
        return next(entries, None) is None
    return True


@contextmanager
def classified(directory: Path, doing: str) -> Iterator[None]:
    """Say of an OSError whether it heals, and what to look at.

    Raises:
        TransientError: the disk is full or failing, or this process has too many files open.
        PermanentError: it cannot be done there (permissions, no such directory, read-only).
    """
    try:
        yield
    except OSError as error:
        reason = f"{directory}: cannot {doing}: {error.strerror}"
        if error.errno in HEALS:
            raise TransientError(
                reason, hint=f"Look at the space and the health of the disk of {directory}."
            ) from error
        hint = f"Make sure that {directory} is a directory that this user may write into."
        raise PermanentError(reason, hint=hint) from error


def _write(
    path: Path,
    content: bytes,
    *,
    durable: bool,
    mtime_ns: int | None,
    mode: int = 0o666,
    only_new: bool = False,
) -> None:
    """Write beside ``path``, then rename, or where it must be new link."""
    temporary = _beside(path)
    with ExitStack() as undo:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        undo.callback(_remove, temporary)
        try:
            _write_all(descriptor, content)
            if mtime_ns is not None:
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if only_new:
            path.hardlink_to(temporary)
        else:
            temporary.replace(path)
            undo.pop_all()
    if durable:
        sync_directory(path.parent)


def _replaceable(path: Path) -> Path:
    """Where a name leads, if a file may be put there: a rename over a device would take it from the whole machine."""
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(target.stat().st_mode):
            raise OSError(errno.EINVAL, "something other than a regular file is there")
    return target


def _beside(path: Path) -> Path:
    return path.parent / f".{secrets.token_hex(8)}.tmp"


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:  # a signal or a full disk may cut one write short
        rest = rest[os.write(descriptor, rest) :]


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk.

    Raises:
        OSError: they cannot be written, or there is no such directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
