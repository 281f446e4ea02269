"""The files of one project-day on disk, as a manifest counts them: run files, and what lies below ``_attachments``.

Only reads, and never follows a symlink. Names are spelled as in `tracewatchd.model.manifest`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from tracewatchd.edges.folder import Folder, Reader, UnreadableError
from tracewatchd.edges.writing import HEALS
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.layout import decode_path, encode_path
from tracewatchd.model.manifest import ATTACHMENTS, MAX_LEVELS
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.stamp import Stamp

PIECE_BYTES = 1 << 18
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""How opening says that there is nothing, a symlink, or what is neither file nor directory."""


@dataclass(frozen=True, slots=True)
class DayLook:
    """Which files a day has, in no order; equal fingerprints mean equal names and stamps."""

    names: list[str]
    fingerprint: bytes


class OpenFile:
    """A file to read once, piece by piece, in a ``with`` block; ``stamp`` is what it was when it was opened."""

    def __init__(self, path: str, descriptor: int, stamp: Stamp) -> None:
        self.stamp = stamp
        self._path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def pieces(self) -> Iterator[bytes]:
        """All bytes from the first on.

        Raises:
            TransientError, PermanentError: the disk does not give them.
        """
        while piece := self._read():
            yield piece

    def _read(self) -> bytes:
        with _readable(self._path):
            return os.read(self._descriptor, PIECE_BYTES)


class DayFiles:
    """One project-day below a root, in a ``with`` block. A day whose directory is missing has no files."""

    def __init__(self, root: Path, day: ProjectDay) -> None:
        self.day = day
        self._root = root
        self._reader = Reader(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    def look(self) -> DayLook:
        """Walk over the day.

        Raises:
            TransientError, PermanentError: a directory cannot be listed or a file not be looked at; it is named.
        """
        with _readable(self.day.directory):
            survey = Folder(self._root).survey(self.day.directory)
            directory = self._reader.directory(self.day.directory)
        for path, cause in survey.unreadable.items():
            raise _unreadable(path, cause)
        attachments = _Attachments(self.day.directory)
        if directory is not None:
            attachments.walk(directory, ATTACHMENTS, MAX_LEVELS)
        attachments.found.sort()
        seen = sha256(survey.fingerprint or b"")
        seen.update(repr(attachments.found).encode())
        return DayLook(survey.names + [name for name, _ in attachments.found], seen.digest())

    def open(self, name: str) -> OpenFile | None:
        """A file of the day, None where no regular file is or can be reached without following a symlink.

        Raises:
            TransientError, PermanentError: it is there but cannot be opened.
        """
        path = f"{self.day.directory}/{name}"
        with _readable(path):
            directory = self._reader.directory(self.day.directory)
            if directory is None:
                return None
            try:
                return _opened(directory, decode_path(name), path)
            except OSError as error:
                if error.errno in _NO_FILE:
                    return None
                raise


@dataclass(slots=True)
class _Attachments:
    directory: str
    found: list[tuple[str, Stamp]] = field(default_factory=list)

    def walk(self, parent: int, path: str, levels: int) -> None:
        """Find every regular file below a directory; hidden names are those of unfinished files."""
        with _readable(f"{self.directory}/{path}"):
            try:
                folder = os.open(decode_path(path.rpartition("/")[2]), _OPEN_DIRECTORY, dir_fd=parent)
            except OSError as error:
                if error.errno in _NO_FILE:
                    return
                raise
            try:
                self._list(folder, path, levels)
            finally:
                os.close(folder)

    def _list(self, folder: int, path: str, levels: int) -> None:
        if not levels:
            raise OSError(0, f"it lies more than {MAX_LEVELS} directories deep")
        for name in os.listdir(folder):
            if name.startswith("."):
                continue
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            below = f"{path}/{encode_path(os.fsencode(name))}"
            if stat.S_ISDIR(status.st_mode):
                self.walk(folder, below, levels - 1)
            elif stat.S_ISREG(status.st_mode):
                self.found.append((below, Stamp.of(status)))


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Say of what cannot be read which file or directory it is, and whether it heals."""
    try:
        yield
    except UnreadableError as error:
        raise _unreadable(error.path, error.cause, getattr(error.__cause__, "errno", None)) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), error.errno) from error


def _unreadable(path: str, cause: str, number: int | None = None) -> TransientError | PermanentError:
    reason = f"{path} cannot be read: {cause}"
    if number in HEALS:
        return TransientError(reason, hint="look at the health of the disk, then try again")
    return PermanentError(reason, hint="give the user of this command permission to read it, or move it away")


def _opened(directory: int, name: bytes, path: str) -> OpenFile | None:
    first, slash, rest = name.partition(b"/")
    if slash:
        below = os.open(first, _OPEN_DIRECTORY, dir_fd=directory)
        try:
            return _opened(below, rest, path)
        finally:
            os.close(below)
    descriptor = os.open(first, _OPEN_FILE, dir_fd=directory)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return OpenFile(path, descriptor, Stamp.of(status))
    os.close(descriptor)
    return None
