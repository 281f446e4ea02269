"""The listener of one root: kernel hints become hints to the line, and whatever may have been missed wants a sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tracewatchd.edges.filesystem import FileSystem
from tracewatchd.edges.folder import Folder, RootIdentity, UnreadableError
from tracewatchd.edges.watch import Hints, Idle, WatchEndedError, Watching, watch
from tracewatchd.ingest.line import Line, Offload
from tracewatchd.model.events import (
    HintsSuspectedLost,
    RootMissing,
    RootReplaced,
    RootReturned,
    Tell,
    WatchRestarted,
    WatchStarted,
)

# When a new directory's watch may still have been missing, a little later, and once more for a slow machine.
_SCANS_AFTER_S = (0.0, 0.25, 1.5)
_SCANS_AT_ONCE = 500
_ROOT_LOOK_S = 1.0
_RESTART_S = (0.2, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HintSetting:
    """What the listener of a root works with."""

    folder: Folder
    line: Line
    file_system: FileSystem
    poll_interval_s: float
    want_sweep: Callable[[str], bool]
    offload: Offload
    tell: Tell


class RootReplacedError(Exception):
    """The root is another directory than the one that is being watched."""


class RootListener:
    """Watches one root for as long as the daemon lives, whatever becomes of the root."""

    def __init__(self, setting: HintSetting) -> None:
        self._set = setting
        self._source = setting.line.source
        self._identity: RootIdentity | None = None
        self._scans: set[asyncio.Task[None]] = set()
        self.standing = asyncio.Event()
        """Set when the root was watched for the first time, or found missing."""

    async def run(self) -> None:
        """Listen until cancelled."""
        wait_s, most_s = _RESTART_S
        try:
            while True:
                await self._until_there()
                started = asyncio.get_running_loop().time()
                await self._listen()
                if asyncio.get_running_loop().time() - started > most_s:
                    wait_s = _RESTART_S[0]
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, most_s)
        finally:
            for scan in self._scans:
                scan.cancel()

    async def _until_there(self) -> None:
        missing_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._identity = await self._set.offload(self._set.folder.identity)
                break
            except UnreadableError as error:
                if missing_since is None:
                    missing_since = loop.time()
                    self._set.tell(RootMissing(source=self._source, root=self._root, error=error.cause))
                    self.standing.set()
            await asyncio.sleep(_ROOT_LOOK_S)
        if missing_since is not None:
            missing_s = round(loop.time() - missing_since, 3)
            self._set.tell(RootReturned(source=self._source, root=self._root, missing_s=missing_s))

    @property
    def _root(self) -> str:
        return str(self._set.folder.root)

    async def _listen(self) -> None:
        try:
            if self._set.file_system.sends_events:
                await self._watch()
            else:
                await self._poll()
        except WatchEndedError as error:
            self._set.tell(WatchRestarted(source=self._source, cause=str(error), hint=error.hint))
            self._set.want_sweep("watch restarted")
            self.standing.set()
        except RootReplacedError:
            self._set.tell(RootReplaced(source=self._source, root=self._root))
        except UnreadableError:
            return  # the root is gone: the next round says so and waits for it

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        async for notice in watch(self._set.folder.root):
            if isinstance(notice, Watching):
                self._say_started("events")
            elif isinstance(notice, Hints):
                self._take(notice)
            # A root that was moved away may still be written to: then no moment is idle.
            if isinstance(notice, Idle) or loop.time() - looked >= _ROOT_LOOK_S:
                await self._check_root()
                looked = loop.time()

    async def _poll(self) -> None:
        """Where no events come, sweeping often is what finds files."""
        self._say_started("polling")
        while True:
            await asyncio.sleep(self._set.poll_interval_s)
            await self._check_root()
            self._set.want_sweep("poll")

    def _say_started(self, mode: str) -> None:
        poll_s = self._set.poll_interval_s if mode == "polling" else None
        kind = self._set.file_system.kind
        self._set.tell(WatchStarted(source=self._source, root=self._root, mode=mode, file_system=kind, poll_s=poll_s))
        self._set.want_sweep("watch started")
        self.standing.set()

    async def _check_root(self) -> None:
        if await self._set.offload(self._set.folder.identity) != self._identity:
            raise RootReplacedError

    def _take(self, hints: Hints) -> None:
        if hints.suspected_lost:
            self._suspect("more changes at once than the kernel's queue surely holds")
        self._hint(hints.paths)
        if len(self._scans) + len(hints.new_directories) > _SCANS_AT_ONCE:
            self._suspect("more new directories at once than are scanned one by one")
            return
        for directory in hints.new_directories:
            scan = asyncio.create_task(self._scan(directory))
            self._scans.add(scan)
            scan.add_done_callback(self._scans.discard)

    def _hint(self, paths: tuple[str, ...]) -> None:
        dropped = sum(not self._set.line.hint(path) for path in paths)
        if dropped:
            self._suspect(f"the inbox was full: {dropped} hints were dropped")

    def _suspect(self, cause: str) -> None:
        if self._set.want_sweep("hints suspected lost"):
            self._set.tell(HintsSuspectedLost(source=self._source, cause=cause))

    async def _scan(self, directory: str) -> None:
        """Hint at everything in a new directory: what was written before its watch existed sent no event."""
        for wait_s in _SCANS_AFTER_S:
            await asyncio.sleep(wait_s)
            try:
                self._hint(await self._set.offload(partial(_run_files_below, self._set.folder, directory)))
            except UnreadableError:
                return  # the next sweep says so


def _run_files_below(folder: Folder, path: str) -> tuple[str, ...]:
    directories = [path] if "/" in path else folder.days(path)
    return tuple(file for directory in directories for file in folder.survey(directory).paths())
