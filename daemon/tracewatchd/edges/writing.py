"""Writing files so that nobody ever sees a part of one: temporary name beside it, then a rename."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from tracewatchd.model.errors import PermanentError, TransientError

_HEALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def write_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put ``content`` at ``path`` in one step, in place of a file that may be there; its directory must exist.

    A symlink is followed, and only a regular file is replaced, no device or pipe. The temporary name begins with ``.``,
    so that no watcher or sweep takes it for a run file, and is short, so that any name that the file system allows can
    be written. ``durable`` waits until file and name are on the disk.

    Raises:
        TransientError: The disk is full or failing, or this process has too many files open.
        PermanentError: The file cannot be written there (permissions, no such directory, read-only).
    """
    with _classified(path.parent, f"write {path.name}"):
        _write(_replaceable(path), content, durable=durable)


def write_new_file(path: Path, content: bytes, *, mtime_ns: int) -> bool:
    """Put a new file at ``path`` in one step, on the disk and with this age; False where something is there already.

    Raises:
        TransientError: The disk is full or failing, or this process has too many files open.
        PermanentError: The file cannot be written there (permissions, no such directory, read-only).
    """
    with _classified(path.parent, f"write {path.name}"):
        try:
            _write(path, content, durable=True, mtime_ns=mtime_ns)
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

    def finish(self) -> None:
        """Let everyone see it.

        Raises:
            TransientError, PermanentError: as for the whole file.
        """
        with self._classified():
            self._stream.close()
            self._temporary.replace(self._target)

    def discard(self) -> None:
        """Leave nothing of it; of a finished file everything stays."""
        with suppress(OSError):
            self._stream.close()
        _remove(self._temporary)

    def _classified(self) -> AbstractContextManager[None]:
        return _classified(self._path.parent, f"write {self._path.name}")


def make_directory(path: Path) -> None:
    """Make a directory and those above it, where they are missing.

    Raises:
        TransientError: The disk is full or failing.
        PermanentError: It cannot be made there (permissions, a file in its place, read-only).
    """
    with _classified(path, "make it"):
        path.mkdir(parents=True, exist_ok=True)


def is_empty(path: Path) -> bool:
    """Whether a directory holds no entry at all, hidden ones included, or is not there.

    Raises:
        TransientError: The disk is failing.
        PermanentError: It cannot be looked into (permissions, no directory).
    """
    with _classified(path, "look into it"), suppress(FileNotFoundError), os.scandir(path) as entries:
        return next(entries, None) is None
    return True


@contextmanager
def _classified(directory: Path, doing: str) -> Iterator[None]:
    """Say of an OSError whether it heals, and what to look at."""
    try:
        yield
    except OSError as error:
        reason = f"{directory}: cannot {doing}: {error.strerror}"
        if error.errno in _HEALS:
            raise TransientError(
                reason, hint=f"Look at the space and the health of the disk of {directory}."
            ) from error
        hint = f"Make sure that {directory} is a directory that this user may write into."
        raise PermanentError(reason, hint=hint) from error


def _write(path: Path, content: bytes, *, durable: bool, mtime_ns: int | None = None) -> None:
    """Write beside ``path`` and rename; what has an age of its own is new and takes no other file's place."""
    temporary = _beside(path)
    with ExitStack() as undo:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        undo.callback(_remove, temporary)
        try:
            _write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if mtime_ns is None:
            temporary.replace(path)
            undo.pop_all()
        else:
            os.utime(temporary, ns=(mtime_ns, mtime_ns))
            path.hardlink_to(temporary)
    if durable:
        _sync_directory(path.parent)


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


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
