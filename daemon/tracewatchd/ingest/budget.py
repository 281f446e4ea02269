"""The limit on bytes in flight: what readers hold in memory at once, all together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """Bytes that may be in flight, given out in the order in which they were asked for.

    A charge larger than the whole budget is granted when nothing else is in flight: it runs alone.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def charge(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold this many bytes for the length of the block."""
        size_bytes = min(size_bytes, self.limit_bytes)
        await self._acquire(size_bytes)
        try:
            yield
        finally:
            self._release(size_bytes)

    async def _acquire(self, size_bytes: int) -> None:
        if not self._queue and self.used_bytes + size_bytes <= self.limit_bytes:
            self.used_bytes += size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            granted = turn.done() and not turn.cancelled()
            self._release(size_bytes if granted else 0)  # whoever stood behind may have room now
            raise

    def _release(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes
        while self._queue:
            wanted, turn = self._queue[0]
            if turn.cancelled():
                self._queue.popleft()
                continue
            if self.used_bytes + wanted > self.limit_bytes:
                return
            self._queue.popleft()
            self.used_bytes += wanted
            turn.set_result(None)
