"""Hints from the kernel: which paths under a root changed. Hints may be lost, late, doubled or wrong.

watchfiles tells neither that the kernel's queue overflowed nor what was in a directory before its watch existed, and a
file name that is not UTF-8 ends it (https://github.com/samuelcolvin/watchfiles/issues/348 for the first). So this edge
says when hints may have been lost, which directories are new, and raises when watching ended.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from watchfiles import Change, awatch

from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.model.layout import RunPath, day_of, decode_path, encode_path

_QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
_DEFAULT_QUEUE_LIMIT = 16_384
# A full queue of atomic writes is six events a file and three changes here; 0.4 stays above what 2,000 files at once
# give (6,000 of 16,384) and below what a full queue gives (8,191).
_SUSPICIOUS_SHARE = 0.4
_WINDOW_S = 0.3
_DEBOUNCE_MS = 50
_STEP_MS = 20  # each step wakes the interpreter: with 5 ms an idle daemon takes 1 % of a core
_IDLE_MS = 1000
_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")
_LIMITS = {
    errno.ENOSPC: "raise fs.inotify.max_user_watches (one watch per directory) with sysctl",
    errno.EMFILE: "raise fs.inotify.max_user_instances with sysctl, or end other watchers",
}


@dataclass(frozen=True, slots=True)
class Watching:
    """The watches of the root stand: what happens from now on gives hints. Told once, first."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing changed for about a second: a moment to look whether the root is still the same."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Run files that were added or changed, and directories that are new and so may hold unreported files."""

    paths: tuple[str, ...]
    new_directories: tuple[str, ...]
    suspected_lost: bool


Notice: TypeAlias = Watching | Idle | Hints


class WatchEndedError(Exception):
    """Watching a root ended; it can be started again. ``hint`` says what an operator can do, if anything."""

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(cause)
        self.hint = hint


class _ClosedDirectoryError(Exception):
    """A directory below the root may not be watched, which leaves others unwatched too."""


async def watch(root: Path) -> AsyncGenerator[Notice, None]:
    """Notices about a root until it is left or watching ends.

    Raises:
        WatchEndedError: the watches could not be made or came to an end.
    """
    try:
        async with aclosing(_notices(root, [root], around_closed=False)) as notices:
            async for notice in notices:
                yield notice
    except _ClosedDirectoryError:
        open_ones = await asyncio.to_thread(_directories, root)
        async with aclosing(_notices(root, open_ones, around_closed=True)) as notices:
            async for notice in notices:
                yield notice


def _directories(root: Path) -> list[Path]:
    """The root and each directory of the layout: named one by one, a closed one costs none of the others its watch."""
    try:
        outline = Folder(root).outline()
    except UnreadableError as error:
        raise WatchEndedError(str(error)) from error
    projects = {directory.partition("/")[0] for directory in outline.directories}
    # watchfiles takes no other names than UTF-8.
    names = [decode_path(path) for path in (*sorted(projects), *outline.directories) if _is_utf8(path)]
    return [root, *(root / os.fsdecode(name) for name in names)]


async def _notices(root: Path, watched: Sequence[Path], *, around_closed: bool) -> AsyncGenerator[Notice, None]:
    """Notices from watches of these directories and all below them.

    ``around_closed`` lets watchfiles ignore whatever error a watch meets, running out of watches among them.
    """
    suspicion = _Suspicion(_queue_limit())
    changes = awatch(
        *watched,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_IDLE_MS,
        yield_on_timeout=True,
        force_polling=False,
        ignore_permission_denied=around_closed,
    )
    async with aclosing(changes):
        first = asyncio.ensure_future(anext(changes))
        try:
            # The watches are made synchronously when the generator is first run.
            await asyncio.sleep(0)
            if not first.done():
                yield Watching()
            yield _notice(root, await first, suspicion)
            async for found in changes:
                yield _notice(root, found, suspicion)
        except PermissionError as error:
            raise _ClosedDirectoryError from error
        except (OSError, RuntimeError, ExceptionGroup) as error:
            raise _ended(_first(error)) from error
        finally:
            await _settled(first)
    raise WatchEndedError("the stream of changes ended")


async def _settled(task: asyncio.Future[set[tuple[Change, str]]]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait([task])


def _first(error: Exception) -> OSError | RuntimeError:
    """The error itself, or the first in a group: what is raised while changes are waited for comes in one."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError | RuntimeError):
        return error
    raise error


def _ended(error: OSError | RuntimeError) -> WatchEndedError:
    return WatchEndedError(f"{type(error).__name__}: {error}", _LIMITS.get(_number(error), ""))


def _number(error: OSError | RuntimeError) -> int:
    """The errno behind an error of watchfiles, which tells it in words alone; 0 where there is none."""
    if "OS file watch limit reached" in str(error):
        return errno.ENOSPC
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = _ERROR_NUMBER.search(str(error))
    return int(found[1]) if found else 0


class _Suspicion:
    """Whether a burst of changes was so large that the kernel's queue may have overflowed before it."""

    def __init__(self, queue_limit: int) -> None:
        self._threshold = queue_limit * _SUSPICIOUS_SHARE
        self._recent: deque[tuple[float, int]] = deque()

    def seen(self, changes: int, now: float) -> bool:
        self._recent.append((now, changes))
        while self._recent[0][0] < now - _WINDOW_S:
            self._recent.popleft()
        if sum(count for _, count in self._recent) < self._threshold:
            return False
        self._recent.clear()
        return True


def _queue_limit() -> int:
    try:
        return int(_QUEUE_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _DEFAULT_QUEUE_LIMIT


def _notice(root: Path, changes: set[tuple[Change, str]], suspicion: _Suspicion) -> Notice:
    if not changes:
        return Idle()
    lost = suspicion.seen(len(changes), asyncio.get_running_loop().time())
    prefix = os.fsencode(root).rstrip(b"/") + b"/"
    paths: dict[str, None] = {}
    directories: dict[str, None] = {}
    for change, name in changes:
        raw = os.fsencode(name)
        if change is Change.deleted or not raw.startswith(prefix):
            continue
        path = encode_path(raw.removeprefix(prefix))
        if RunPath.parse(path):
            paths[path] = None
        elif change is Change.added and _may_be_directory(path):
            directories[path] = None
    return Hints(tuple(paths), tuple(directories), lost)


def _is_utf8(path: str) -> bool:
    try:
        decode_path(path).decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_be_directory(path: str) -> bool:
    project, _, day = path.partition("/")
    return bool(project) and (not day or day_of(day.encode()) is not None)
