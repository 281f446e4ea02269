"""One budget of requests for everything in a process that asks the same service.

Each `Limit` is a sliding window, as the service counts it. A request is counted at the moment when its answer was
there: the service saw it earlier, so that its window is over when ours is, whatever the way takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

_MARGIN_S = 0.01  # a service may count both ends of its window


class Limit(NamedTuple):
    """At most so many requests within any window of so many seconds."""

    name: str
    requests: int
    window_s: float


@dataclass(slots=True)
class _Sent:
    """One request: when it was sent, and then when its answer was there."""

    at_s: float


@dataclass(slots=True)
class _Window:
    limit: Limit
    sent: list[_Sent] = field(default_factory=list)
    held_until_s: float = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """How long until there is room; not positive where there is."""
        free_at_s = self.held_until_s
        if len(self.sent) >= self.limit.requests:
            free_at_s = max(free_at_s, min(one.at_s for one in self.sent) + self.limit.window_s + _MARGIN_S)
        return free_at_s - now_s

    def take(self, one: _Sent) -> None:
        """Count a request in place of the oldest one, which is out of the window."""
        if len(self.sent) >= self.limit.requests:
            self.sent.remove(min(self.sent, key=lambda other: other.at_s))
        self.sent.append(one)

    def left(self, now_s: float) -> int:
        if self.held_until_s > now_s:
            return 0
        begin_s = now_s - self.limit.window_s - _MARGIN_S
        return self.limit.requests - sum(one.at_s > begin_s for one in self.sent)


class Pace:
    """Lets requests through as their limits allow, in the order in which they came.

    Args:
        clock: seconds that never go back.
        sleep: waits so many seconds.
    """

    def __init__(self, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._windows: dict[Limit, _Window] = {}
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, *limits: Limit) -> AsyncIterator[None]:
        """Wait for room in all of these limits; the request that the block makes counts in each."""
        windows = [self._window(limit) for limit in limits]
        async with self._door:
            while (wait_s := max(window.wait_s(self._clock()) for window in windows)) > 0:
                await self._sleep(wait_s)
            one = _Sent(self._clock())
            for window in windows:
                window.take(one)
        try:
            yield
        finally:
            one.at_s = self._clock()

    def hold(self, limit: Limit, for_s: float) -> None:
        """Let nothing of this limit through for a while: the service asked for it."""
        window = self._window(limit)
        window.held_until_s = max(window.held_until_s, self._clock() + for_s)

    def left(self, limit: Limit) -> int:
        """Requests that would pass at once."""
        return self._window(limit).left(self._clock())

    def _window(self, limit: Limit) -> _Window:
        return self._windows.setdefault(limit, _Window(limit))
