"""``archive to-db``: every run file of the selected project-days is offered to the line, once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.ingest.inbox import Receipt
from tracewatchd.ingest.line import Line, Offload
from tracewatchd.ingest.read import ReadRules
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.results import LoadResult, Outcome
from tracewatchd.model.selection import Selection
from tracewatchd.model.stamp import Stamp

_PAGE_FILES = 1000
_PAGES_OPEN = 4


class KnowingStore(Protocol):
    """The ledger, as far as a dry run is concerned."""

    async def ledger_rows(self, source: str, paths: list[str]) -> Mapping[str, LedgerRow]:
        """What the ledger holds of these paths."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """How far a load is: files that have an outcome, of those found so far."""

    done: int
    found: int


def find(folder: Folder, selection: Selection) -> tuple[list[str], int]:
    """The selected directories, and how many entries outside the layout there are.

    Raises:
        NotCheckedError: the root or a folder in it cannot be listed.
    """
    try:
        outline = folder.outline()
    except UnreadableError as error:
        raise _unlisted(error.path, error.cause) from error
    for path, cause in outline.unreadable.items():
        if selection.folder in {None, path}:
            raise _unlisted(path, cause)
    return [directory for directory in outline.directories if selection.covers(directory)], outline.ignored


def _unlisted(path: str, cause: str) -> NotCheckedError:
    return NotCheckedError(f"cannot list {path}: {cause}", hint="mount it, or give this user permission to read it")


class Load:
    """One load of some directories."""

    def __init__(self, folder: Folder, directories: Iterable[str], *, offload: Offload) -> None:
        self._folder = folder
        self._directories = directories
        self._offload = offload
        self._open: deque[Receipt] = deque()
        self._found = 0
        self._done = 0
        self.result = LoadResult()

    async def run(self, line: Line, progress: Callable[[LoadProgress], None]) -> LoadResult:
        """Offer every file and wait for all outcomes; the line is closed afterwards.

        Raises (in a group):
            TransientError, PermanentError: the store failed for good.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(line.run())
            for directory in self._directories:
                for page in _pages(await self._listing(directory)):
                    self._found += len(page)
                    self._open.append(await line.offer(list(page)))
                    await self._settle(_PAGES_OPEN, progress)
            await self._settle(0, progress)
            line.close()
        return self.result

    async def foresee(self, source: str, store: KnowingStore, rules: ReadRules) -> LoadResult:
        """What a load would find to do: files that it would read are counted as pending. Nothing is written."""
        for directory in self._directories:
            for page in _pages(await self._listing(directory)):
                known = await store.ledger_rows(source, list(page))
                for path, stamp in page.items():
                    self.result.add(_foreseen(stamp, known.get(path), rules))
        return self.result

    async def _listing(self, directory: str) -> dict[str, Stamp]:
        try:
            listing = await self._offload(partial(self._folder.listing, directory))
        except UnreadableError as error:
            raise _unlisted(error.path, error.cause) from error
        self.result.ignored += listing.ignored
        self.result.unreadable += len(listing.unreadable)
        return listing.stamps

    async def _settle(self, left_open: int, progress: Callable[[LoadProgress], None]) -> None:
        while len(self._open) > left_open:
            outcomes = await self._open.popleft().wait()
            for outcome in outcomes.values():
                self.result.add(outcome)
            self._done += len(outcomes)
            progress(LoadProgress(done=self._done, found=self._found))


def _foreseen(stamp: Stamp, row: LedgerRow | None, rules: ReadRules) -> Outcome:
    if row is None or row.stamp != stamp:
        return Outcome.PENDING
    return rules.remembered(row) or Outcome.PENDING


def _pages(stamps: Mapping[str, Stamp]) -> Iterable[dict[str, Stamp]]:
    files = iter(stamps.items())
    while page := dict(islice(files, _PAGE_FILES)):
        yield page
