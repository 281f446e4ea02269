"""One sweep over a source: every directory against its ledger rows, page by page.

Memory is bounded by one directory's names. What the line can put right is offered to it; the rest becomes a finding
when a second look, at least ``confirm_s`` later, says the same again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import groupby
from uuid import UUID

from tracewatchd.edges.folder import Folder, Listing, UnreadableError
from tracewatchd.ingest.inbox import Receipt
from tracewatchd.ingest.line import Offload
from tracewatchd.model.findings import FACTS, FileState, Finding, Kind, VerificationResult
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.model.stamp import Stamp
from tracewatchd.reconcile.compare import STATE_AFTER, WORK, Known, doubtful, judge
from tracewatchd.reconcile.ports import Offering, SweepStore

_RECEIPTS_OPEN = 8
_DOUBTS_OPEN = 10_000
_SHRUNK_BY_AT_LEAST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLimits:
    """The sizes and waits of a sweep."""

    page_rows: int
    confirm_s: float
    grace_s: float
    findings_kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSetting:
    """What a sweep works with."""

    folder: Folder
    store: SweepStore
    line: Offering
    limits: SweepLimits
    still_quarantined: Callable[[LedgerRow], bool]
    offload: Offload
    now: Callable[[], datetime]


class Sweep:
    """One quick sweep of a source."""

    def __init__(self, source: str, setting: SweepSetting, *, repair: bool, selection: Selection = EVERYTHING) -> None:
        self._source = source
        self._set = setting
        self._repair = repair
        self._selection = selection
        self._receipts: deque[Receipt] = deque()
        self._doubts: deque[tuple[float, list[tuple[str, Kind]]]] = deque()
        self._result = VerificationResult(source, "quick")

    async def run(self) -> VerificationResult:
        """Compare everything once.

        Raises:
            TransientError, PermanentError: the store failed; nothing that was not compared counts as compared.
        """
        started = _clock()
        try:
            outline = await self._set.offload(self._set.folder.outline)
        except UnreadableError as error:
            self._result.unchecked.append(f"{error.path}: {error.cause}")
            return self._result
        self._result.ignored = outline.ignored
        for path, cause in outline.unreadable.items():
            self._unreadable(path, cause)
        remembered = await self._set.store.ledger_directories(self._source)
        if remembered and not outline.directories:
            self._result.unchecked.append(f"{self._set.folder.root}: empty, but the ledger knows files in it")
            remembered = []
        for directory in _distinct(outline.directories, remembered):
            if self._selection.covers(directory) and not _is_below(directory, outline.unreadable):
                await self._directory(directory)
        await self._finish_receipts(0)
        await self._finish_doubts(0)
        self._result.took_s = round(_clock() - started, 4)
        return self._result

    async def _directory(self, directory: str) -> None:
        try:
            listing = await self._set.offload(partial(self._set.folder.listing, directory))
        except UnreadableError as error:
            self._unreadable(error.path, error.cause)
            return
        self._result.directories += listing.exists
        self._result.ignored += listing.ignored
        for path, cause in listing.unreadable.items():
            self._result.states[FileState.UNREADABLE] += 1
            self._unreadable(path, cause)
        gone: list[tuple[str, Kind]] = []
        known = 0
        async for stamps, rows in self._pages(directory, listing):
            known += len(rows)
            gone += await self._page(stamps, {p: r for p, r in rows.items() if p not in listing.unreadable})
        if listing.exists and len(gone) >= _SHRUNK_BY_AT_LEAST and len(gone) * 2 > known:
            self._result.unchecked.append(f"{directory}: {len(gone)} of {known} files are missing from it at once")
        else:
            await self._doubt(gone)

    async def _pages(
        self, directory: str, listing: Listing
    ) -> AsyncIterator[tuple[Mapping[str, Stamp], Mapping[str, LedgerRow]]]:
        """The directory's files and ledger rows side by side, a page of ledger rows at a time."""
        files = list(listing.stamps)
        position, after, limit = 0, "", self._set.limits.page_rows
        while True:
            rows = await self._set.store.ledger_page(self._source, directory, after, limit)
            last = len(rows) < limit
            after = "" if last else rows[-1].path
            end = len(files) if last else bisect_right(files, after)
            yield {path: listing.stamps[path] for path in files[position:end]}, {row.path: row for row in rows}
            if last:
                return
            position = end

    async def _page(self, stamps: Mapping[str, Stamp], rows: Mapping[str, LedgerRow]) -> list[tuple[str, Kind]]:
        """Judge one page: counts states, offers work, doubts the rest; returns what has a row but no file."""
        judged = self._judge(stamps, rows, await self._known(rows.values(), stamps.__contains__))
        without_file = [(path, kind) for path, kind in judged if path not in stamps]
        work = [(path, kind) for path, kind in judged if path in stamps and kind in WORK]
        await self._doubt([(path, kind) for path, kind in judged if path in stamps and kind not in WORK])
        if self._repair:
            await self._offer(work)
        else:
            await self._doubt(work)
        return without_file

    async def _known(self, rows: Iterable[LedgerRow], on_disk: Callable[[str], bool]) -> Known:
        rows = [row for row in rows if row.state == "acknowledged"]
        versions = await self._set.store.row_versions({row.run_id for row in rows if row.run_id})
        asked = doubtful(rows, versions, on_disk)
        others: dict[UUID, list[tuple[str, LedgerRow]]] = {run_id: [] for run_id in asked}
        if asked:
            for source, row in await self._set.store.ledger_of_runs(asked):
                if row.run_id:
                    others[row.run_id].append((source, row))
        return Known(versions, others)

    def _judge(
        self, stamps: Mapping[str, Stamp], rows: Mapping[str, LedgerRow], known: Known
    ) -> list[tuple[str, Kind]]:
        """Possible findings of some paths; those that merely have a state are counted."""
        kinds = []
        for path in stamps.keys() | rows.keys():
            judged = judge(stamps.get(path), rows.get(path), known, self._set.still_quarantined)
            if isinstance(judged, Kind):
                kinds.append((path, judged))
            elif judged is not None:
                self._count(path, judged)
        return kinds

    def _count(self, path: str, state: FileState) -> None:
        self._result.states[state] += 1
        if state is FileState.QUARANTINED:
            self._found(Kind.QUARANTINED, path)
        elif state is FileState.UNREADABLE:
            self._found(Kind.UNREADABLE, path)

    async def _offer(self, work: Sequence[tuple[str, Kind]]) -> None:
        for reread in (False, True):
            paths = [path for path, kind in work if (kind is Kind.ORPHAN) is reread]
            if paths:
                self._receipts.append(await self._set.line.offer(paths, reread=reread))
        await self._finish_receipts(_RECEIPTS_OPEN)

    async def _finish_receipts(self, left_open: int) -> None:
        while len(self._receipts) > left_open:
            for path, outcome in (await self._receipts.popleft().wait()).items():
                self._result.outcomes[outcome] += 1
                if state := STATE_AFTER.get(outcome):
                    self._count(path, state)

    async def _doubt(self, doubts: Sequence[tuple[str, Kind]]) -> None:
        if doubts:
            self._doubts.append((_clock() + self._set.limits.confirm_s, list(doubts)))
            await self._finish_doubts(_DOUBTS_OPEN)

    async def _finish_doubts(self, left_open: int) -> None:
        while sum(len(doubts) for _, doubts in self._doubts) > left_open:
            due, doubts = self._doubts.popleft()
            await asyncio.sleep(max(0.0, due - _clock()))
            for start in range(0, len(doubts), self._set.limits.page_rows):
                await self._look_again(dict(doubts[start : start + self._set.limits.page_rows]))

    async def _look_again(self, doubts: Mapping[str, Kind]) -> None:
        """The second look: a fresh stat, ledger row and row for each; only what says the same is a finding."""
        stamps, unreadable = await self._set.offload(partial(self._stamps, tuple(doubts)))
        for path in unreadable:
            self._count(path, FileState.UNREADABLE)
        rows = await self._set.store.ledger_rows(self._source, [path for path in doubts if path not in unreadable])
        known = await self._known(rows.values(), stamps.__contains__)
        for path, kind in self._judge(stamps, rows, known):
            if kind is doubts[path] and not self._is_young(kind, stamps.get(path)):
                self._found(kind, path, rows.get(path))
            if path in stamps:
                self._result.states[FileState.PENDING] += 1

    def _stamps(self, paths: Sequence[str]) -> tuple[dict[str, Stamp], set[str]]:
        found: dict[str, Stamp] = {}
        unreadable: set[str] = set()
        with self._set.folder.reader() as reader:
            for path in paths:
                try:
                    if stamp := reader.stamp(path):
                        found[path] = stamp
                except UnreadableError:
                    unreadable.add(path)
        return found, unreadable

    def _is_young(self, kind: Kind, stamp: Stamp | None) -> bool:
        if kind not in WORK or stamp is None:
            return False
        return self._set.now().timestamp() - stamp.ctime_ns / 1e9 < self._set.limits.grace_s

    def _unreadable(self, path: str, cause: str) -> None:
        self._result.unchecked.append(f"{path}: {cause}")
        self._found(Kind.UNREADABLE, path)

    def _found(self, kind: Kind, path: str, row: LedgerRow | None = None) -> None:
        self._result.counts[kind] += 1
        if len(self._result.findings) < self._set.limits.findings_kept:
            run_id = str(row.run_id) if row and row.run_id else None
            self._result.findings.append(Finding(kind, path, FACTS[kind].meaning, run_id))


def _distinct(*sorted_directories: Iterable[str]) -> Iterable[str]:
    return (directory for directory, _ in groupby(merge(*sorted_directories)))


def _is_below(directory: str, folders: Mapping[str, str]) -> bool:
    return directory.partition("/")[0] in folders


def _clock() -> float:
    return asyncio.get_running_loop().time()
