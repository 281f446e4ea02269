"""The bounded set of paths that wait for the line, and the receipts of those who offered them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tracewatchd.model.results import Outcome


class Receipt:
    """The outcomes of the paths of one offer: awaitable, complete when each path has one."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._open = set(paths)
        self.outcomes: dict[str, Outcome] = {}
        self._complete = asyncio.Event()
        if not self._open:
            self._complete.set()

    def settle(self, path: str, outcome: Outcome) -> None:
        """Say what became of a path."""
        self._open.discard(path)
        self.outcomes[path] = outcome
        if not self._open:
            self._complete.set()

    async def wait(self) -> dict[str, Outcome]:
        """The outcome of each path, when all have one."""
        await self._complete.wait()
        return self.outcomes

    def counts(self) -> Counter[Outcome]:
        """Paths by outcome, so far."""
        return Counter(self.outcomes.values())


@dataclass(slots=True, eq=False)
class Entry:
    """One path on its way.

    ``reread`` reads and writes the file although its stamp is known. ``recheck`` reads it because its stamp may hide a
    rewrite: where its bytes are those that the ledger knows, nothing is written. ``since_s`` is when it was first
    offered, on the monotonic clock.
    """

    path: str
    reread: bool = False
    recheck: bool = False
    receipts: list[Receipt] = field(default_factory=list)
    since_s: float = field(default_factory=time.monotonic)

    def merge(self, other: Entry) -> None:
        """Take over what another offer of the same path asked for."""
        self.reread |= other.reread
        self.recheck |= other.recheck
        self.receipts.extend(other.receipts)
        self.since_s = min(self.since_s, other.since_s)

    def settle(self, outcome: Outcome) -> None:
        """Tell everyone who offered the path, once, what became of it."""
        receipts, self.receipts = self.receipts, []
        for receipt in receipts:
            receipt.settle(self.path, outcome)


class Inbox:
    """Paths that wait, at most ``limit`` of them, each at most once, and never while the same path is in flight."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, Entry] = {}
        self._in_flight: dict[str, Entry] = {}
        self._again: dict[str, Entry] = {}
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._taking = asyncio.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def unfinished(self) -> int:
        """Paths that wait or are in flight."""
        return len(self._waiting) + len(self._in_flight)

    def entries(self) -> Iterator[Entry]:
        """Every path that waits or is in flight."""
        yield from self._waiting.values()
        yield from self._in_flight.values()

    def hint(self, path: str) -> bool:
        """Add a path if there is room for it; False says that it was dropped."""
        if len(self._waiting) < self._limit or path in self._waiting or path in self._in_flight:
            return self._add(Entry(path))
        return False

    async def put(self, entry: Entry) -> None:
        """Add a path, waiting for room; a closed inbox settles it as pending."""
        while len(self._waiting) >= self._limit and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            entry.settle(Outcome.PENDING)
        else:
            self._add(entry)

    def again(self, entry: Entry) -> None:
        """Add a path that was on the line before: neither the limit nor closing is for what was taken in already."""
        self._place(entry)

    def _add(self, entry: Entry) -> bool:
        if self._closed:
            entry.settle(Outcome.PENDING)
            return False
        self._place(entry)
        return True

    def _place(self, entry: Entry) -> None:
        place = self._again if entry.path in self._in_flight else self._waiting
        if known := place.get(entry.path):
            known.merge(entry)
        else:
            place[entry.path] = entry
        self._signal()

    async def take(self, limit: int, linger_s: float) -> list[Entry]:
        """Up to ``limit`` paths, in the order they came; waits for the first, then a little for more.

        An empty list says that the inbox is closed and nothing waits any more.
        """
        async with self._taking:  # one batch is gathered at a time, so that batches fill
            await self._ready.wait()
            if len(self._waiting) < limit and not self._closed and linger_s:
                await asyncio.sleep(linger_s)
            taken = [self._waiting.pop(path) for path in list(islice(self._waiting, limit))]
            self._in_flight.update((entry.path, entry) for entry in taken)
            self._signal()
            return taken

    def done(self, entries: Sequence[Entry]) -> None:
        """These paths are out of flight; what was offered again meanwhile waits now."""
        for entry in entries:
            self._in_flight.pop(entry.path, None)
            if again := self._again.pop(entry.path, None):
                self._waiting[again.path] = again  # taken in before, so also when the inbox is closed by now
        self._signal()

    def back(self, entries: Sequence[Entry]) -> None:
        """These paths were taken but not dealt with: they wait again, before all others."""
        if not entries:
            return
        rest = self._waiting
        self._waiting = {}
        for entry in entries:
            self._in_flight.pop(entry.path, None)
            if again := self._again.pop(entry.path, None):
                entry.merge(again)
            self._waiting[entry.path] = entry
        self._waiting.update(rest)
        self._signal()

    def close(self) -> None:
        """Take nothing more in; what waits is still given out."""
        self._closed = True
        self._signal()

    def abandon(self) -> int:
        """Take nothing more in and settle what is left as pending; returns how many paths that were."""
        self.close()
        places = (self._waiting, self._in_flight, self._again)
        left = [entry for place in places for entry in place.values()]
        for place in places:
            place.clear()
        for entry in left:
            entry.settle(Outcome.PENDING)
        return len({entry.path for entry in left})

    def _signal(self) -> None:
        if self._waiting or self._closed:
            self._ready.set()
        else:
            self._ready.clear()
        if len(self._waiting) < self._limit or self._closed:
            self._room.set()
