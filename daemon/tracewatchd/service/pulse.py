"""Whether the work goes on: what a watchdog and ``/livez`` want to know, asked of the work itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tracewatchd.model.events import DaemonStuck, DaemonUnstuck, Tell
from tracewatchd.service.threads import Threads


class Store(Protocol):
    """What a pulse knows of the database."""

    @property
    def is_reachable(self) -> bool:
        """Whether no outage is known."""
        ...

    @property
    def longest_use_s(self) -> float:
        """How long the oldest use of a connection has been under way by now."""
        ...


class Moving(Protocol):
    """What a pulse knows of a line."""

    source: str
    progress: int
    moved: int

    @property
    def backlog(self) -> int:
        """Paths that wait, are in flight, or are being waited for."""
        ...

    @property
    def unfinished(self) -> int:
        """Paths that a worker should be at."""
        ...

    @property
    def oldest_s(self) -> float | None:
        """How long the oldest path without an outcome has been here."""
        ...


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was seen of something under way, and when it was seen to move last."""

    mark: float
    moved_s: float


class Pulse:
    """Knows what is under way, and says where it stands still.

    Each wait that has an end of its own is declared: an outage, which the gate waits out; a use of the database, which
    its deadline ends; the wait before another attempt; a thread that computes or reads; nothing to do. ``limit_s``
    is the longest of them. What shows no sign of life for longer hangs.
    """

    def __init__(
        self, store: Store, threads: Iterable[Threads], *, limit_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s = limit_s
        self._store = store
        self._threads = tuple(threads)
        self._clock = clock
        self._lines: list[Moving] = []
        self._sights: dict[object, _Sight] = {}

    @property
    def lines(self) -> Sequence[Moving]:
        """The lines at work: one for each source on duty, and those of repairs."""
        return tuple(self._lines)

    @contextmanager
    def of(self, *lines: Moving) -> Iterator[None]:
        """Know these lines for the length of the block."""
        self._lines.extend(lines)
        try:
            yield
        finally:
            for line in lines:
                self._lines.remove(line)

    def stuck(self) -> str | None:
        """Where the work stands still and for how long, in one sentence; None while it goes on.

        Progress is what changed since the last time somebody asked, so this is to be asked regularly.
        """
        now = self._clock()
        under_way = {key: (mark, text) for key, mark, text in self._under_way()}
        self._sights = {key: self._look(key, mark, now) for key, (mark, _) in under_way.items()}
        for key, (_, text) in under_way.items():
            still_s = now - self._sights[key].moved_s
            if still_s > self.limit_s:
                return f"{text} for {still_s:.0f} s"
        if self._store.longest_use_s > self.limit_s:
            return f"a use of the database has outlived its deadline: it began {self._store.longest_use_s:.0f} s ago"
        return None

    async def watch(self, interval_s: float, beat: Callable[[str | None, Sequence[Moving]], None], tell: Tell) -> None:
        """Look regularly until cancelled: hand on what was seen, and tell of a standstill once."""
        stuck_since_s: float | None = None
        while True:
            where, now = self.stuck(), self._clock()
            if where and stuck_since_s is None:
                stuck_since_s = now
                tell(DaemonStuck(where=where))
            elif stuck_since_s is not None and not where:
                tell(DaemonUnstuck(after_s=round(now - stuck_since_s, 3)))
                stuck_since_s = None
            beat(where, self.lines)
            await asyncio.sleep(interval_s)

    def _look(self, key: object, mark: float, now: float) -> _Sight:
        before = self._sights.get(key)
        return before if before and before.mark == mark else _Sight(mark, now)

    def _under_way(self) -> Iterator[tuple[object, float, str]]:
        """Everything that has to move: a key, what changes when it does, and what to say where it does not."""
        busy = False
        for threads in self._threads:
            for job, processor_s in threads.under_way().items():
                busy = True
                yield job, processor_s, f"{threads.work} has stood still"
        if busy or not self._store.is_reachable:
            return
        for line in self._lines:
            if line.unfinished:
                text = (
                    f"{line.unfinished} files wait on the line of {line.source}, and nothing has been done about them"
                )
                yield line, line.progress, text
