"""An event loop that never waits: when nothing is left to do, its clock leaps to the next thing that is due."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Leaping(selectors.SelectSelector):
    """Where a selector would wait, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; else the clock leaps. Without anything due it waits as it should."""
        ready = super().select(0 if timeout else timeout)
        self.now_s += 0.0 if ready else timeout or 0.0
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now_s


def run_leaping(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, however long it sleeps, in no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
