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
from typing import NamedTuple, TypeAlias
from uuid import UUID

from tracewatchd.edges.folder import Folder, Listing, Outline, RootIdentity, UnreadableError
from tracewatchd.ingest.inbox import Receipt
from tracewatchd.ingest.line import Offload
from tracewatchd.model.findings import FACTS, FileState, Finding, Kind, Severity, VerificationResult
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.stamp import Stamp
from tracewatchd.reconcile.compare import STATE_AFTER, WORK, Known, doubtful, judge
from tracewatchd.reconcile.plan import Each, SweepPlan
from tracewatchd.reconcile.ports import Offering, Repairing, SweepStore

_RECEIPTS_OPEN = 8
_DOUBTS_OPEN = 10_000
_SHRUNK_BY_AT_LEAST = 100
_WORST_FIRST: Sequence[Severity] = ("critical", "error", "warning", "info")

_Doubts: TypeAlias = list[tuple[str, Kind]]


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


class _Fresh(NamedTuple):
    """A second look at some paths, and whether the root was still the same after it."""

    stamps: dict[str, Stamp]
    unreadable: dict[str, str]
    same_root: bool


class Sweep:
    """One quick sweep of a source."""

    def __init__(
        self,
        source: str,
        setting: SweepSetting,
        plan: SweepPlan,
        *,
        repairs: Repairing | None = None,
        each: Each | None = None,
    ) -> None:
        self._source = source
        self._set = setting
        self._repair = bool(plan.fixes)
        self._selection = plan.selection
        self._receipts: deque[tuple[Receipt, _Doubts]] = deque()
        self._doubts: deque[tuple[float, _Doubts]] = deque()
        self._result = VerificationResult(source, "quick")
        self._began_s = setting.now().timestamp()
        self._root: RootIdentity | None = None

    async def run(self) -> VerificationResult:
        """Compare everything once.

        Raises:
            TransientError, PermanentError: the store failed; nothing that was not compared counts as compared.
        """
        started = _clock()
        try:
            self._root = await self._set.offload(self._set.folder.identity)
            outline = await self._set.offload(self._set.folder.outline)
        except UnreadableError as error:
            self._not_checked(f"{error.path}: {error.cause}")
            return self._result
        await self._compare(outline)
        await self._finish_receipts(0)
        await self._finish_doubts(0)
        self._keep_the_worst()
        self._result.took_s = round(_clock() - started, 4)
        return self._result

    async def _compare(self, outline: Outline) -> None:
        self._result.ignored = outline.ignored
        for project, cause in outline.unreadable.items():
            if self._selection.folder in {None, project}:
                self._unreadable(project, cause)
        remembered = await self._set.store.ledger_directories(self._source)
        if remembered and not outline.directories:
            self._not_checked(f"{self._set.folder.root}: empty, but the ledger knows files in it")
            remembered = []
        for directory in _distinct(outline.directories, remembered):
            if self._selection.covers(directory) and not _is_below(directory, outline.unreadable):
                await self._directory(directory)

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
        absent: _Doubts = []
        known = 0
        async for stamps, rows in self._pages(directory, listing):
            known += len(rows)
            absent += await self._page(stamps, {p: r for p, r in rows.items() if p not in listing.unreadable})
        if listing.exists and len(absent) >= _SHRUNK_BY_AT_LEAST and len(absent) * 2 > known:
            self._not_checked(f"{directory}: {len(absent)} of {known} files are missing from it at once")
        else:
            await self._doubt(absent)

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

    async def _page(self, stamps: Mapping[str, Stamp], rows: Mapping[str, LedgerRow]) -> _Doubts:
        """Judge one page: counts states, offers work, doubts the rest; returns files that are nowhere any more."""
        judged = self._judge(stamps, rows, await self._known(rows.values(), stamps.__contains__))
        absent: _Doubts = [(path, kind) for path, kind in judged if path not in stamps and kind is not Kind.MOVED]
        work = [(path, kind) for path, kind in judged if self._repair and kind in WORK]
        settled = {*absent, *work}
        await self._doubt([doubt for doubt in judged if doubt not in settled])
        await self._offer(work)
        return absent

    async def _known(self, rows: Iterable[LedgerRow], on_disk: Callable[[str], bool]) -> Known:
        rows = [row for row in rows if row.state == "acknowledged"]
        versions = await self._set.store.row_versions({row.run_id for row in rows if row.run_id})
        asked = doubtful(rows, versions, on_disk)
        if not asked:
            return Known(versions)
        acknowledging = await self._set.store.ledger_of_runs(asked)
        own = [row for source, row in acknowledging if source == self._source]
        fresh = await self._set.offload(partial(self._look, [row.path for row in own]))
        return Known(
            versions,
            acknowledged=_held(row for _, row in acknowledging),
            live=_held(row for row in own if fresh.stamps.get(row.path) == row.stamp),
        )

    def _judge(self, stamps: Mapping[str, Stamp], rows: Mapping[str, LedgerRow], known: Known) -> _Doubts:
        """Possible findings of some paths; those that merely have a state are counted."""
        kinds = []
        for path in sorted(stamps.keys() | rows.keys()):
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

    async def _offer(self, work: _Doubts) -> None:
        if work:
            # Whatever the ledger said a moment ago made these work: the line need not ask it again.
            receipt = await self._set.line.offer([path for path, _ in work], reread=True)
            self._receipts.append((receipt, work))
        await self._finish_receipts(_RECEIPTS_OPEN)

    async def _finish_receipts(self, left_open: int) -> None:
        while len(self._receipts) > left_open:
            receipt, work = self._receipts.popleft()
            outcomes = await receipt.wait()
            undone: _Doubts = []
            for path, kind in work:
                self._result.outcomes[outcomes[path]] += 1
                state = STATE_AFTER.get(outcomes[path])
                if state is FileState.PENDING:
                    undone.append((path, kind))
                elif state:
                    self._count(path, state)
            await self._doubt(undone)

    async def _doubt(self, doubts: _Doubts) -> None:
        if doubts:
            self._doubts.append((_clock() + self._set.limits.confirm_s, doubts))
            await self._finish_doubts(_DOUBTS_OPEN)

    async def _finish_doubts(self, left_open: int) -> None:
        while sum(len(doubts) for _, doubts in self._doubts) > left_open:
            due, doubts = self._doubts.popleft()
            await asyncio.sleep(max(0.0, due - _clock()))
            for start in range(0, len(doubts), self._set.limits.page_rows):
                await self._look_again(dict(doubts[start : start + self._set.limits.page_rows]))

    async def _look_again(self, doubts: Mapping[str, Kind]) -> None:
        """The second look: a fresh stat, ledger row and row for each; only what says the same is a finding."""
        fresh = await self._set.offload(partial(self._look, list(doubts)))
        if not fresh.same_root:
            self._not_checked(f"{self._set.folder.root}: another directory, or none, since the sweep began")
            return
        for path, cause in fresh.unreadable.items():
            self._result.states[FileState.UNREADABLE] += 1
            self._found(Kind.UNREADABLE, path, detail=cause)
        readable = [path for path in doubts if path not in fresh.unreadable]
        rows = await self._set.store.ledger_rows(self._source, readable)
        known = await self._known(rows.values(), fresh.stamps.__contains__)
        for path, kind in self._judge(fresh.stamps, rows, known):
            if kind is doubts[path] and not self._is_young(kind, fresh.stamps.get(path)):
                self._found(kind, path, rows.get(path))
            if path in fresh.stamps:
                self._result.states[FileState.PENDING] += 1

    def _look(self, paths: Sequence[str]) -> _Fresh:
        fresh: dict[str, Stamp] = {}
        unreadable: dict[str, str] = {}
        with self._set.folder.reader() as reader:
            for path in paths:
                try:
                    if stamp := reader.stamp(path):
                        fresh[path] = stamp
                except UnreadableError as error:
                    unreadable[path] = error.cause
        return _Fresh(fresh, unreadable, self._is_same_root())

    def _is_same_root(self) -> bool:
        try:
            return self._set.folder.identity() == self._root
        except UnreadableError:
            return False

    def _is_young(self, kind: Kind, stamp: Stamp | None) -> bool:
        """Whether a difference is work in progress: the file changed after the sweep began, or within ``grace_s``."""
        if kind not in WORK or stamp is None:
            return False
        now_s = self._set.now().timestamp()
        # abs: a file from a host whose clock runs ahead would stay young until then.
        return abs(now_s - stamp.ctime_ns / 1e9) < max(self._set.limits.grace_s, now_s - self._began_s)

    def _not_checked(self, sentence: str) -> None:
        if sentence not in self._result.unchecked:
            self._result.unchecked.append(sentence)

    def _unreadable(self, path: str, cause: str) -> None:
        self._not_checked(f"{path}: {cause}")
        self._found(Kind.UNREADABLE, path, detail=cause)
        if len(self._result.closed) < self._set.limits.findings_kept:
            self._result.closed[path] = cause

    def _found(self, kind: Kind, path: str, row: LedgerRow | None = None, *, detail: str = "") -> None:
        self._result.counts[kind] += 1
        run_id = str(row.run_id) if row and row.run_id else None
        self._result.findings.append(Finding(kind, path, detail or FACTS[kind].meaning, run_id))
        if len(self._result.findings) > 2 * self._set.limits.findings_kept:
            self._keep_the_worst()

    def _keep_the_worst(self) -> None:
        """Keep as many findings as are wanted: the worst, in one order, so that each sweep keeps the same ones."""
        found = self._result.findings
        found.sort(key=_rank)
        del found[self._set.limits.findings_kept :]


def _distinct(*sorted_directories: Iterable[str]) -> Iterable[str]:
    return (directory for directory, _ in groupby(merge(*sorted_directories)))


def _held(rows: Iterable[LedgerRow]) -> set[tuple[UUID, bytes]]:
    return {(row.run_id, row.file_sha256) for row in rows if row.run_id and row.file_sha256}


def _rank(finding: Finding) -> tuple[int, bool, str, str]:
    # Quarantined files can be many, stand for long and have a list of their own: they hide nothing else.
    is_listed_elsewhere = finding.kind is Kind.QUARANTINED
    return _WORST_FIRST.index(finding.severity), is_listed_elsewhere, finding.path, finding.kind


def _is_below(directory: str, folders: Mapping[str, str]) -> bool:
    return directory.partition("/")[0] in folders


def _clock() -> float:
    return asyncio.get_running_loop().time()
