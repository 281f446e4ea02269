"""A root on disk: walking it, looking at its files and reading them, without ever following a symlink.

Only reads. A path is the spelling of `tracewatchd.model.layout`; a *directory* is a path's first two parts,
``<project folder>/<YYYY-MM-DD>``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tracewatchd.edges.survey import Survey, digest
from tracewatchd.model.layout import RunPath, day_of, decode_path, encode_path
from tracewatchd.model.stamp import Seen, Stamp

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a fifo that was put in a run file's place must not wait for a writer.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Each level holds two descriptors while it is counted.
_COUNTED_LEVELS = 16


class UnreadableError(Exception):
    """A file or directory is there but cannot be read right now; the message says why."""

    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(f"{path}: {error.strerror or error}")
        self.path = path
        self.cause = error.strerror or str(error)


class RootIdentity(NamedTuple):
    """Which directory a root is, as long as it is not mounted or made anew."""

    device: int
    inode: int


class Body(NamedTuple):
    """What one read of a file gave. ``stable`` says that the file had the same stamp before and after."""

    stamp: Stamp
    content: bytes
    stable: bool


@dataclass(slots=True)
class Outline:
    """The directories of a root, in byte order, and what stands outside them; ``projects`` are those that exist."""

    directories: list[str] = field(default_factory=list)
    projects: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    ignored: int = 0


class Folder:
    """One root. Calls block: they belong in a worker thread."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def identity(self) -> RootIdentity:
        """Which directory the root is now.

        Raises:
            UnreadableError: it is missing, no directory, or closed to us.
        """
        try:
            status = self.root.stat()
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(20, "Not a directory")
            os.close(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise UnreadableError(os.fspath(self.root), error) from error
        return RootIdentity(status.st_dev, status.st_ino)

    def outline(self) -> Outline:
        """Every project-day's directory, and the count of what lies outside the layout.

        Raises:
            UnreadableError: the root itself cannot be listed.
        """
        found = Outline()
        with _opened(self.root, "") as root, _entries(root, os.fspath(self.root)) as entries:
            for entry in entries:
                if not _is_directory(entry):
                    found.ignored += 1
                    continue
                try:
                    _outline_project(root, encode_path(os.fsencode(entry.name)), found)
                except UnreadableError as error:
                    found.unreadable[error.path] = error.cause
        found.directories.sort()
        return found

    def days(self, project: str) -> list[str]:
        """The directories of one project's folder, in byte order.

        Raises:
            UnreadableError: the folder is there but cannot be listed.
        """
        found = Outline()
        with _opened(self.root, "") as root:
            _outline_project(root, project, found)
        return sorted(found.directories)

    def survey(self, directory: str, *, read_up_to: int | None = None) -> Survey:
        """The run files of one directory; with ``read_up_to`` those of at most so many bytes are read.

        Raises:
            UnreadableError: the directory is there but cannot be listed.
        """
        found = Survey(directory)
        with self.reader() as reader:
            folder = reader.directory(directory)
            if folder is not None:
                found.exists = True
                reading = None if read_up_to is None else _Reading(folder, read_up_to)
                _survey(folder, _names(folder, directory), reading, found)
                found.read_bytes = reading.read_bytes if reading else 0
        found.seal()
        return found

    def reader(self) -> Reader:
        """Something to look at and read many files with; to be used in a ``with`` block."""
        return Reader(self.root)


class Reader:
    """Looks at and reads files, holding each directory open once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, int | None] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def directory(self, path: str) -> int | None:
        """A descriptor of the directory, None where there is none (or only a symlink).

        Raises:
            UnreadableError: it is there but closed to us.
        """
        if path not in self._open:
            self._open[path] = self._open_directory(path)
        return self._open[path]

    def _open_directory(self, path: str) -> int | None:
        project, _, day = path.partition("/")
        if {project, day} & {"", ".", ".."} or "/" in day:  # whatever a database says: nothing outside the layout
            return None
        try:
            with _opened(self._root, "") as root, _opened(decode_path(project), path, root) as folder:
                return self._stack.enter_context(_opened(decode_path(day), path, folder))
        except FileNotFoundError:
            return None

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of the regular file at this path, None where there is none.

        Raises:
            UnreadableError: a directory on the way is closed to us.
        """
        directory, _, name = path.rpartition("/")
        folder = self.directory(directory)
        if folder is None:
            return None
        try:
            status = os.stat(decode_path(name), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableError(path, error) from error
        return Stamp.of(status) if stat.S_ISREG(status.st_mode) else None

    def seen(self, path: str, *, read_up_to: int | None = None) -> Seen | None:
        """What `Folder.survey` would see of one path; None where no run file is or can be.

        Raises:
            UnreadableError: the file, or a directory on the way, is closed to us.
        """
        parsed = RunPath.parse(path)
        if parsed is None or encode_path(decode_path(path)) != path:
            return None
        stamp = self.stamp(path)
        if stamp is None or read_up_to is None or stamp.size_bytes > read_up_to:
            return Seen(stamp) if stamp else None
        body = self.read(path, read_up_to)
        return Seen(body.stamp, sha256(body.content).digest()) if body else None

    def read(self, path: str, limit_bytes: int) -> Body | None:
        """The file's bytes with its stamps before and after, None where there is no regular file.

        Reads at most ``limit_bytes`` + 1: a file that grew beyond the limit meanwhile is not stable.

        Raises:
            UnreadableError: the file is there but cannot be read.
        """
        directory, _, name = path.rpartition("/")
        folder = self.directory(directory)
        if folder is None:
            return None
        try:
            descriptor = os.open(decode_path(name), _OPEN_FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            if _is_symlink(folder, decode_path(name)):
                return None
            raise UnreadableError(path, error) from error
        try:
            return _read_regular(path, descriptor, limit_bytes)
        finally:
            os.close(descriptor)


def _read_regular(path: str, descriptor: int, limit_bytes: int) -> Body | None:
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return None
        content = _read_all(descriptor, before.st_size, limit_bytes)
        after = Stamp.of(os.fstat(descriptor))
    except OSError as error:
        raise UnreadableError(path, error) from error
    return Body(after, content, stable=after == Stamp.of(before) and len(content) == after.size_bytes)


def _read_all(descriptor: int, expected_bytes: int, limit_bytes: int) -> bytes:
    """What is expected, and one byte more to see that there is no more; usually in one call."""
    left = min(expected_bytes, limit_bytes) + 1
    first = os.read(descriptor, left)
    if len(first) in {0, expected_bytes}:
        return first
    chunks = [first]
    left -= len(first)
    while left and (chunk := os.read(descriptor, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return first if len(chunks) == 1 else b"".join(chunks)


class _opened:  # noqa: N801 - reads like the function it stands for
    """A directory's descriptor for a ``with`` block; `FileNotFoundError` where there is none or only a symlink."""

    def __init__(self, name: Path | bytes, path: str, parent: int | None = None) -> None:
        # The root may be a symlink: the operator named it. Below it nothing is followed.
        flags = _OPEN_DIRECTORY if parent is not None else _OPEN_DIRECTORY & ~os.O_NOFOLLOW
        try:
            self._descriptor = os.open(name, flags, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError) as error:
            if parent is None:
                raise UnreadableError(path or os.fspath(os.fsdecode(name)), error) from error
            raise FileNotFoundError(path) from error
        except OSError as error:
            if parent is not None and _is_symlink(parent, os.fsencode(name)):
                raise FileNotFoundError(path) from error
            raise UnreadableError(path or os.fspath(os.fsdecode(name)), error) from error

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


@contextmanager
def _entries(folder: int, path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:  # of looking at an entry, too
        raise UnreadableError(path, error) from error


def _outline_project(root: int, project: str, found: Outline) -> None:
    try:
        with _opened(decode_path(project), project, root) as folder, _entries(folder, project) as entries:
            found.projects.add(project)
            for entry in entries:
                if not _is_directory(entry):
                    found.ignored += 1
                elif day_of(os.fsencode(entry.name)):
                    found.directories.append(f"{project}/{entry.name}")
                else:
                    found.ignored += _count_below(folder, entry.name)
    except FileNotFoundError:
        return


class _Reading:
    """Reads the files of a directory, and counts what it has read."""

    def __init__(self, folder: int, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self.read_bytes = 0

    def __call__(self, name: str) -> tuple[os.stat_result, bytes | None]:
        """What a file is after it was read, and its sha256: None where it is too large, or no regular file at all."""
        try:
            descriptor = os.open(name, _OPEN_FILE, dir_fd=self._folder)
        except OSError:
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                raise
            return status, None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > self._limit_bytes:
                return status, None
            hashed = digest(descriptor, status.st_size)
            self.read_bytes += status.st_size
            return os.fstat(descriptor), hashed
        finally:
            os.close(descriptor)


def _names(folder: int, path: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise UnreadableError(path, error) from error


def _survey(folder: int, names: Iterable[str], read: _Reading | None, found: Survey) -> None:
    # The one place where each file of a tree costs time, however little has changed: no call that is not needed.
    look, is_regular, hashed = os.stat, stat.S_ISREG, None
    add_name, add_number = found.names.append, found.numbers.append
    for name in names:
        if not name.endswith(".json") or name[0] in "_.":
            found.ignored += _count_at(folder, name)
            continue
        try:
            if read is None:
                status = look(name, dir_fd=folder, follow_symlinks=False)
            else:
                status, hashed = read(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.unreadable[f"{found.directory}/{encode_path(os.fsencode(name))}"] = error.strerror or str(error)
            continue
        if not is_regular(status.st_mode):
            found.ignored += _count_at(folder, name)
            continue
        if read is not None:
            found.hashes.append(hashed)
        add_name(name)
        try:
            add_number(status.st_size)
            add_number(status.st_mtime_ns)
            add_number(status.st_ctime_ns)
        except OverflowError:
            found.stamp_last(Stamp.of(status))


def _count_at(folder: int, name: str) -> int:
    """What an entry that is no run file counts for."""
    with suppress(OSError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return _count_below(folder, name)
    return 1


def _count_below(parent: int, name: str, levels: int = _COUNTED_LEVELS) -> int:
    """Files below a directory outside the layout, as far as they can be seen.

    A directory counts itself where its name looks like a file's, and one that lies too deep counts as a file.
    """
    if not levels:
        return 1
    count = int(name.endswith(".json"))
    with (
        suppress(OSError, UnreadableError),
        _opened(os.fsencode(name), "", parent) as folder,
        os.scandir(folder) as entries,
    ):
        for below in entries:
            count += _count_below(folder, below.name, levels - 1) if _is_directory(below) else 1
    return count


def _is_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_symlink(folder: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
