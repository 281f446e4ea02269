"""``archive to-db``: every run file of the selected project-days is offered to the line, once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from tracewatchd.edges.folder import Folder, Outline, UnreadableError
from tracewatchd.ingest.inbox import Receipt
from tracewatchd.ingest.line import Line, Offload
from tracewatchd.ingest.read import ReadRules
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.events import FileUnreadable, Tell
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.results import LoadResult, Outcome
from tracewatchd.model.selection import Selection
from tracewatchd.model.stamp import Stamp

_PAGE_FILES = 200
_PAGES_OPEN = 20


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


def find(folder: Folder, selection: Selection) -> Outline:
    """What of the root is selected.

    Raises:
        NotCheckedError: the root cannot be listed.
    """
    try:
        outline = folder.outline()
    except UnreadableError as error:
        raise NotCheckedError(
            f"cannot list {error.path}: {error.cause}", hint="mount it, or give this user permission to read it"
        ) from error
    return Outline(
        directories=[directory for directory in outline.directories if selection.covers(directory)],
        unreadable={path: cause for path, cause in outline.unreadable.items() if selection.folder in {None, path}},
        ignored=outline.ignored,
    )


class Load:
    """One load of what `find` found; what cannot be listed is told, counted as unreadable, and costs only itself."""

    def __init__(self, source: str, folder: Folder, found: Outline, *, offload: Offload, tell: Tell) -> None:
        self._source = source
        self._folder = folder
        self._directories = found.directories
        self._offload = offload
        self._tell = tell
        self._open: deque[Receipt] = deque()
        self._found = 0
        self._done = 0
        self.result = LoadResult(ignored=found.ignored)
        for path, cause in found.unreadable.items():
            self._say_unreadable(path, cause)

    async def run(self, line: Line, progress: Callable[[LoadProgress], None]) -> LoadResult:
        """Offer every file and wait for all outcomes; the line is closed afterwards.

        Raises (in a group):
            TransientError, PermanentError: the store failed for good.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(line.serve())
            for directory in self._directories:
                for page in _pages(await self._listing(directory)):
                    self._found += len(page)
                    self._open.append(await line.offer(list(page)))
                    await self._settle(_PAGES_OPEN, progress)
            await self._settle(0, progress)
            line.close()
        return self.result

    async def foresee(self, store: KnowingStore, rules: ReadRules) -> LoadResult:
        """What a load would find to do: files that it would read are counted as pending. Nothing is written."""
        for directory in self._directories:
            for page in _pages(await self._listing(directory)):
                known = await store.ledger_rows(self._source, list(page))
                for path, stamp in page.items():
                    self.result.add(_foreseen(stamp, known.get(path), rules))
        return self.result

    async def _listing(self, directory: str) -> dict[str, Stamp]:
        try:
            survey = await self._offload(partial(self._folder.survey, directory))
        except UnreadableError as error:
            self._say_unreadable(error.path, error.cause)
            return {}
        self.result.ignored += survey.ignored
        for path, cause in survey.unreadable.items():
            self._say_unreadable(path, cause)
        return survey.stamps()

    def _say_unreadable(self, path: str, cause: str) -> None:
        self.result.unreadable += 1
        self._tell(FileUnreadable(source=self._source, path=path, error=cause))

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
