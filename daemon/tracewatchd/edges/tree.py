"""A whole root in numbers: how many directories there are to watch, how files arrived, and what will never be loaded.

One walk and one stat per file; nothing is read and no symlink is followed.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.layout import day_of, is_run_file_name

_DAY_LEVEL = 2
_CLOSED = frozenset({errno.EACCES, errno.EPERM})


@dataclass(slots=True)
class Burst:
    """The most files of one directory that were written within one second."""

    files: int = 0
    directory: str = ""


@dataclass(slots=True)
class TreeLook:
    """What a walk saw. Paths are absolute.

    ``outside`` counts ``.json`` files that the layout does not hold, by reason, ``examples`` has the first of each;
    ``closed`` are directories and files that we may not list or read, in the order of the walk, at most `MOST_CLOSED`;
    ``future`` counts run files that are stamped later than a minute after the walk began.
    """

    directories: int = 0
    projects: int = 0
    run_files: int = 0
    burst: Burst = field(default_factory=Burst)
    outside: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Path] = field(default_factory=dict)
    closed: list[Path] = field(default_factory=list)
    future: int = 0
    future_example: Path | None = None


MOST_CLOSED = 20
_AHEAD_S = 60.0


def look_at_tree(root: Path, *, limit_s: float, now_s: Callable[[], float] = time.time) -> TreeLook:
    """Walk a root that is there.

    Raises:
        NotCheckedError: the walk took longer than ``limit_s``, or the file system failed.
    """
    return _Walk(root, limit_s, now_s()).made()


class _Walk:
    def __init__(self, root: Path, limit_s: float, now_s: float) -> None:
        self._root = root
        self._limit_s = limit_s
        self._ends_s = time.monotonic() + limit_s
        self._future_ns = int((now_s + _AHEAD_S) * 1e9)
        self._look = TreeLook()

    def made(self) -> TreeLook:
        waiting: list[tuple[Path, int]] = [(self._root, 0)]
        while waiting:
            directory, level = waiting.pop()
            if time.monotonic() > self._ends_s:
                raise NotCheckedError(
                    f"{self._root} could not be walked within {self._limit_s:g} s",
                    hint="see whether its file system is slow; sweeps take as long",
                )
            waiting += [(below, level + 1) for below in self._enter(directory, level)]
        return self._look

    def _enter(self, directory: Path, level: int) -> list[Path]:
        """Take a directory into account; returns those below it, in the order of a stack."""
        self._look.directories += 1
        self._look.projects += level == 1
        in_day = level == _DAY_LEVEL and day_of(os.fsencode(directory.name)) is not None
        below: list[Path] = []
        seconds: Counter[int] = Counter()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(directory / entry.name)
                    elif entry.name.endswith(".json"):
                        self._take(directory, entry, seconds, level=level, in_day=in_day)
        except OSError as error:
            self._refused(directory, error)
        files = max(seconds.values(), default=0)
        if files > self._look.burst.files:
            self._look.burst = Burst(files, str(directory))
        return sorted(below, reverse=True)

    def _take(
        self, directory: Path, entry: os.DirEntry[str], seconds: Counter[int], *, level: int, in_day: bool
    ) -> None:
        if not is_run_file_name(os.fsencode(entry.name)):
            return  # summaries and temporary files lie where they belong
        path = directory / entry.name
        try:
            status = entry.stat(follow_symlinks=False)
            reason = _misplaced(status, level=level, in_day=in_day)
            if reason:
                self._look.outside[reason] += 1
                self._look.examples.setdefault(reason, path)
                return
            readable = os.access(path, os.R_OK, effective_ids=True)
        except FileNotFoundError:
            return
        except OSError as error:
            self._refused(path, error)
            return
        if not readable:
            self._close(path)
        self._look.run_files += 1
        seconds[status.st_mtime_ns // 1_000_000_000] += 1
        if status.st_mtime_ns > self._future_ns:
            self._look.future += 1
            self._look.future_example = self._look.future_example or path

    def _refused(self, path: Path, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            return
        if error.errno not in _CLOSED:
            raise NotCheckedError(
                f"{path} cannot be looked at: {error.strerror}", hint="see whether its file system is well, and its log"
            ) from error
        self._close(path)

    def _close(self, path: Path) -> None:
        if len(self._look.closed) < MOST_CLOSED:
            self._look.closed.append(path)


def _misplaced(status: os.stat_result, *, level: int, in_day: bool) -> str:
    """Why a file whose name is a run file's will not be loaded; an empty text where it will."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symlink, and none is followed"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if level < _DAY_LEVEL:
        return "lies above the folders of days"
    if level > _DAY_LEVEL:
        return "lies below the folders of days"
    return "" if in_day else "lies in a folder whose name is no day"
