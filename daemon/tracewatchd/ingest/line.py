"""The line of one source: offered paths become committed rows, and whoever offered them gets a receipt."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState

from tracewatchd.edges.folder import Folder
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.ingest.commit import Retrying, Writer, Written
from tracewatchd.ingest.inbox import Entry, Inbox, Receipt
from tracewatchd.ingest.ports import LineStore
from tracewatchd.ingest.read import ReadBatch, ReadRules, read_batch
from tracewatchd.ingest.settle import Settling, Verdict
from tracewatchd.model.events import (
    BatchCommitted,
    FileFromFuture,
    FileQuarantined,
    FileReadable,
    FileSanitized,
    FileUnreadable,
    Tell,
)
from tracewatchd.model.fixes import Journal
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import Rejection, TraceRecord
from tracewatchd.model.results import ACKNOWLEDGED, Outcome

_FUTURE = timedelta(days=1)

T = TypeVar("T")


class Offload(Protocol):
    """Runs blocking work in a worker thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """The result of ``work``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits:
    """The sizes and waits of a line."""

    batch_rows: int
    linger_s: float
    writers: int
    inbox_paths: int
    settle_s: float
    settle_limit_s: float
    stamp_grain_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a line shares with others or is given from above."""

    store: LineStore
    budget: ByteBudget
    offload: Offload
    retrying: Retrying
    tell: Tell
    now: Callable[[], datetime]


class Line:
    """Reads, batches and commits what is offered, with a few workers, until it is closed.

    With a journal, what it replaces can be put back.
    """

    def __init__(
        self,
        source: str,
        folder: Folder,
        around: Surroundings,
        *,
        limits: LineLimits,
        rules: ReadRules,
        overwrite: bool = True,
        journal: Journal | None = None,
    ) -> None:
        self.source = source
        self._folder = folder
        self._around = around
        self._limits = limits
        self._rules = rules
        self._tell = around.tell
        self._inbox = Inbox(limits.inbox_paths)
        self._settling = Settling(settle_s=limits.settle_s, limit_s=limits.settle_limit_s, capacity=limits.inbox_paths)
        self._later: dict[str, tuple[Entry, asyncio.TimerHandle]] = {}
        self._unreadable: set[str] = set()
        self._writer = Writer(
            source,
            around.store,
            retrying=self._retrying,
            overwrite=overwrite,
            tell=around.tell,
            journal=journal,
        )
        self._share_bytes = around.budget.limit_bytes // limits.writers
        self.progress = 0
        """Rises whenever a batch was taken, read, tried or committed: what a watchdog may look at."""
        self.moved = 0
        """Files that left the line with an outcome."""

    @property
    def backlog(self) -> int:
        """Paths that wait, are in flight, or are being waited for."""
        return self._inbox.unfinished + len(self._later)

    @property
    def unfinished(self) -> int:
        """Paths that wait for a worker of the line, or that one has in hand."""
        return self._inbox.unfinished

    @property
    def oldest_s(self) -> float | None:
        """How long the path that was offered first, of those without an outcome, has been here; None without one."""
        unsettled = (entry for entry, _ in self._later.values() if not entry.recheck)
        oldest_s = min((entry.since_s for entry in chain(self._inbox.entries(), unsettled)), default=None)
        return None if oldest_s is None else max(0.0, time.monotonic() - oldest_s)

    def hint(self, path: str) -> bool:
        """Say that a path may be interesting; False when there was no room and only a sweep will find it."""
        return self._inbox.hint(path)

    async def offer(self, paths: Sequence[str], *, reread: bool = False) -> Receipt:
        """Put paths on the line, waiting for room; ``reread`` reads files although their stamp is known."""
        receipt = Receipt(paths)
        for path in paths:
            await self._inbox.put(Entry(path, reread=reread, receipts=[receipt]))
        return receipt

    async def run(self) -> None:
        """Work until the line is closed and empty.

        Raises (in a group):
            PermanentError: the store's surroundings are wrong.
            TransientError: the retry policy gave up.
        """
        await self._work_off()
        if any(entry.recheck for entry, _ in self._later.values()):
            # Whoever looks next may find the very stamp that the ledger knows, and ask no further.
            await asyncio.sleep(self._limits.stamp_grain_s)
            await self._work_off()

    async def serve(self) -> None:
        """Work until the line is closed and empty; what it still waits for by then is pending. Raises as `run` does."""
        await self.run()
        self.abandon()

    def close(self) -> None:
        """Take nothing more in; what was taken in before is still committed by `run`, save files not yet complete."""
        self._inbox.close()

    def abandon(self) -> int:
        """Give up what is left: its receipts say pending. Returns how many paths that were."""
        left = sum(path in self._settling for path in self._later)
        for entry, timer in self._later.values():
            timer.cancel()
            entry.settle(Outcome.PENDING)
        self._later.clear()
        return left + self._inbox.abandon()

    async def _work_off(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._limits.writers):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while entries := await self._inbox.take(self._limits.batch_rows, self._limits.linger_s):
            self.progress += 1
            known = await self._known(entries)
            rest = await self._pass(entries, known, self._share_bytes)
            while rest:
                entry, cost_bytes = rest
                rest = await self._pass([entry], known, cost_bytes)

    def _retrying(self, before_sleep: Callable[[RetryCallState], None]) -> AsyncRetrying:
        """The policy, so that an attempt that failed counts as one."""

        def failed(state: RetryCallState) -> None:
            self.progress += 1
            before_sleep(state)

        return self._around.retrying(failed)

    async def _known(self, entries: Sequence[Entry]) -> dict[str, LedgerRow]:
        paths = [entry.path for entry in entries if not entry.reread]
        if not paths:
            return {}
        async for attempt in self._retrying(lambda _: None):
            with attempt:
                return await self._around.store.ledger_rows(self.source, paths)
        raise AssertionError("a policy ends with a result or an error")  # pragma: no cover - tenacity reraises

    async def _pass(
        self, entries: list[Entry], known: dict[str, LedgerRow], share_bytes: int
    ) -> tuple[Entry, int] | None:
        """Read and commit once within a share; returns what needs more than the share, with its cost in bytes."""
        async with self._around.budget.charge(share_bytes):
            started, began = _clock(), self._around.now()
            batch = await self._around.offload(
                partial(read_batch, self._folder, entries, known, self._rules, share_bytes)
            )
            fresh = _fresh(batch, began, self._around.now(), timedelta(seconds=self._limits.stamp_grain_s))
            self.progress += 1
            self._inbox.back(batch.postponed)
            by_path = {entry.path: entry for entry in entries}
            self._unsettled(batch, by_path)
            self._say_readability(batch)
            read = _clock()
            written = await self._writer.write(batch.records, batch.rejections)
        self.progress += 1
        committed = _clock()
        self._finish(batch, written, by_path)
        self._recheck_later(fresh)
        waited_s = _longest_wait_s(by_path[path] for path in written.outcomes)
        self._say_written(batch, written, read_s=read - started, commit_s=committed - read, waited_s=waited_s)
        return batch.too_costly

    def _unsettled(self, batch: ReadBatch, by_path: dict[str, Entry]) -> None:
        for unsettled in batch.unsettled:
            path, now = unsettled.entry.path, _clock()
            self._stop_waiting(by_path[path])
            verdict = self._settling.look(path, unsettled.stamp, now)
            if verdict is Verdict.LOOK_AGAIN:
                self._inbox.done([by_path[path]])
                if self._settling.is_restless(path, now):
                    by_path[path].settle(Outcome.PENDING)  # the line goes on waiting, those who offered it do not
                self._look_later(by_path[path], self._settling.wait_s(path, now))
            elif verdict is Verdict.BELIEVE and unsettled.rejection:
                batch.rejections.append(unsettled.rejection)
            else:
                self._settling.forget(path)
                batch.outcomes[path] = Outcome.PENDING

    def _look_later(self, entry: Entry, wait_s: float) -> None:
        self._stop_waiting(entry)
        timer = asyncio.get_running_loop().call_later(wait_s, self._look_now, entry.path)
        self._later[entry.path] = (entry, timer)

    def _stop_waiting(self, entry: Entry) -> None:
        """Take over what waits for a later look at the same path: this entry has had the look."""
        if known := self._later.pop(entry.path, None):
            other, timer = known
            timer.cancel()
            entry.merge(other)

    def _look_now(self, path: str) -> None:
        entry, _ = self._later.pop(path)
        self._inbox.again(entry)

    def _finish(self, batch: ReadBatch, written: Written, by_path: dict[str, Entry]) -> None:
        outcomes = batch.outcomes | written.outcomes | dict.fromkeys(batch.unreadable, Outcome.UNREADABLE)
        self.moved += len(outcomes)
        for path, outcome in outcomes.items():
            entry = by_path[path]
            self._settling.forget(path)
            self._inbox.done([entry])
            entry.settle(outcome)
        for path in written.retry:
            by_path[path].reread = True
            self._inbox.back([by_path[path]])

    def _recheck_later(self, paths: Iterable[str]) -> None:
        for path in paths:
            if len(self._later) < self._limits.inbox_paths:
                self._look_later(Entry(path, recheck=True), self._limits.stamp_grain_s)

    def _say_readability(self, batch: ReadBatch) -> None:
        for path, error in batch.unreadable.items():
            if path not in self._unreadable and len(self._unreadable) < self._limits.inbox_paths:
                self._unreadable.add(path)
                self._tell(FileUnreadable(source=self.source, path=path, error=error))
        if self._unreadable:
            decoded = {record.path for record in batch.records} | {rejection.path for rejection in batch.rejections}
            for path in self._unreadable & (decoded | batch.outcomes.keys()):
                self._unreadable.discard(path)
                if batch.outcomes.get(path) is not Outcome.VANISHED:
                    self._tell(FileReadable(source=self.source, path=path))

    def _say_written(
        self, batch: ReadBatch, written: Written, *, read_s: float, commit_s: float, waited_s: float
    ) -> None:
        if not written.outcomes:
            return
        for record in batch.records:
            if written.outcomes.get(record.path) in ACKNOWLEDGED:
                self._say_oddities(record)
        for rejection, sqlstate in written.rejected:
            self._tell(_quarantined(self.source, rejection, sqlstate))
        self._tell(
            BatchCommitted(
                source=self.source,
                files=len(written.outcomes),
                outcomes=_counted(written.outcomes.values()),
                size_bytes=batch.size_bytes,
                read_s=round(read_s, 4),
                commit_s=round(commit_s, 4),
                waited_s=round(waited_s, 3),
                waiting_files=self.backlog,
            )
        )

    def _say_oddities(self, record: TraceRecord) -> None:
        if record.sanitized:
            self._tell(
                FileSanitized(
                    source=self.source, path=record.path, run_id=str(record.run_id), places=len(record.sanitized)
                )
            )
        if record.extracted_at > self._around.now() + _FUTURE:
            self._tell(
                FileFromFuture(source=self.source, path=record.path, extracted_at=record.extracted_at.isoformat())
            )


def _fresh(batch: ReadBatch, began: datetime, ended: datetime, grain: timedelta) -> list[str]:
    """What was written so shortly before it was read that its stamp would not tell a rewrite.

    A file whose mtime lies far ahead is not fresh: it would be so at every look until then.
    """
    if not grain:
        return []
    read: list[TraceRecord | Rejection] = [*batch.records, *(each for each in batch.rejections if each.file_sha256)]
    first, last = (began - grain).timestamp(), (ended + grain).timestamp()
    return [file.path for file in read if first < file.stamp.mtime_ns / 1e9 < last]


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _longest_wait_s(entries: Iterable[Entry]) -> float:
    now_s = time.monotonic()
    return now_s - min((entry.since_s for entry in entries), default=now_s)


def _counted(outcomes: Iterable[Outcome]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, outcomes)).items()))


def _quarantined(source: str, rejection: Rejection, sqlstate: str | None) -> FileQuarantined:
    return FileQuarantined(
        source=source,
        path=rejection.path,
        reason=rejection.reason,
        detail=rejection.detail,
        sqlstate=sqlstate,
        size_bytes=rejection.stamp.size_bytes,
    )
