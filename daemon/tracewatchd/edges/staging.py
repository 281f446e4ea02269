"""Where files of a day wait until all of them are known to be good: beside the day's directory, on its file system.

A staging directory's name begins with ``.``, so that no watcher or sweep takes what is in it for run files. Nothing is
reached through a symlink, and nothing is written outside of the project's folder.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tracewatchd.edges.claiming import Claim
from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.edges.writing import classified
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.layout import decode_path
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.stamp import Stamp

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPARE_BYTES = 1 << 20


class Staging:
    """Staged files of one day, each under a number, in a ``with`` block that leaves no staging behind.

    One process at a time restores a day; what a killed one left is removed by the next.

    Raises:
        TransientError: the disk is full or failing, or another process restores this day.
        PermanentError: the root is not there, or cannot be written to.
    """

    def __init__(self, root: Path, day: ProjectDay) -> None:
        self._day = day
        self._place = root / os.fsdecode(decode_path(day.folder))
        self._name = f".restore-{day.day.isoformat()}"
        self._touched: set[tuple[bytes, ...]] = set()
        _require_root(root)
        with ExitStack() as undo:
            with self._classified("make directories"):
                self._folder = _within(os.open(root, os.O_RDONLY | os.O_DIRECTORY), os.fsencode(self._place.name))
                undo.callback(os.close, self._folder)
            claim = undo.enter_context(Claim(self._place / f"{self._name}.lock"))
            undo.callback(claim.remove)
            with self._classified("make directories"):
                self._remove()
                os.mkdir(self._name, dir_fd=self._folder)
                undo.callback(self._remove)
                self._staged = os.open(self._name, _DIRECTORY, dir_fd=self._folder)
                undo.callback(os.close, self._staged)
            self._stack = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._classified("remove what was staged"):
            self._stack.close()

    def require_room(self, size_bytes: int) -> None:
        """See that so many bytes fit.

        Raises:
            TransientError: they do not.
        """
        with self._classified("look at its file system"):
            system = os.fstatvfs(self._staged)
        free = system.f_bavail * system.f_frsize
        if size_bytes + _SPARE_BYTES > free:
            raise TransientError(
                f"{self._place}: {size_bytes} bytes are to be restored, and {free} are free",
                hint="make room on this file system, then try again",
            )

    def put(self, number: int, pieces: Iterable[bytes], *, mtime_ns: int) -> None:
        """Stage a file of this age, on the disk.

        Raises:
            TransientError, PermanentError: it cannot be written; and whatever ``pieces`` raises.
        """
        with self._classified("write a staged file"):
            descriptor = os.open(str(number), _NEW_FILE, 0o666, dir_fd=self._staged)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for piece in pieces:
                    _write_all(file.fileno(), piece)
                os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
                os.fsync(file.fileno())

    def move_in(self, number: int, name: str) -> bool:
        """Give a staged file its name in the day; False, and nothing done, where anything has that name.

        Raises:
            TransientError, PermanentError: it cannot be put there.
        """
        with self._classified(f"put {name} in its place"):
            directory, last = self._directory_for(name)
            try:
                os.link(str(number), last, src_dir_fd=self._staged, dst_dir_fd=directory)
            except FileExistsError:
                return False
            finally:
                os.close(directory)
        return True

    def move_over(self, number: int, name: str, expected: Stamp) -> bool:
        """Let a staged file take the place of one that has this stamp; False, and nothing done, where it has another.

        Raises:
            TransientError, PermanentError: it cannot be put there.
        """
        with self._classified(f"put {name} in its place"):
            directory, last = self._directory_for(name)
            try:
                if Stamp.of(os.stat(last, dir_fd=directory, follow_symlinks=False)) != expected:
                    return False
                os.replace(str(number), last, src_dir_fd=self._staged, dst_dir_fd=directory)
            except FileNotFoundError:
                return False
            finally:
                os.close(directory)
        return True

    def settle(self) -> None:
        """Wait until the names of what was moved are on the disk.

        Raises:
            TransientError, PermanentError: they cannot be written.
        """
        with self._classified("write its directories"):
            for parts in sorted(self._touched):
                directory = self._directory(parts)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
            os.fsync(self._folder)

    def _directory_for(self, name: str) -> tuple[int, bytes]:
        *parts, last = decode_path(name).split(b"/")
        return self._directory(tuple(parts)), last

    def _directory(self, parts: tuple[bytes, ...]) -> int:
        """A descriptor of a directory of the day, which is made where it is missing."""
        self._touched.update(parts[:depth] for depth in range(len(parts) + 1))
        directory = _within(os.dup(self._folder), self._day.day.isoformat().encode())
        for part in parts:
            directory = _within(directory, part)
        return directory

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._name, dir_fd=self._folder)

    def _classified(self, doing: str) -> AbstractContextManager[None]:
        return classified(self._place, doing)


def _require_root(root: Path) -> None:
    """See that the root is there: making directories would make a root that is not mounted, too."""
    try:
        Folder(root).identity()
    except UnreadableError as error:
        raise PermanentError(str(error), hint="see that the root is there, then try again") from error


def _within(parent: int, name: bytes) -> int:
    """A directory's descriptor in place of its parent's; it is made where it is missing, and is no symlink."""
    try:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            raise OSError(error.errno, f"{os.fsdecode(name)} is no directory (symlinks are not followed)") from error
        raise
    finally:
        os.close(parent)


def _write_all(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:  # a signal or a full disk may cut one write short
        rest = rest[os.write(descriptor, rest) :]
