"""Long work in a thread: how far it is, and how it is ended from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias, TypeVar

GoOn: TypeAlias = Callable[[int, int], None]
"""Called often by work in a thread, with steps done and steps known; what it raises ends the work."""

T = TypeVar("T")


class StoppedError(Exception):
    """The work was asked to stop."""


class Steps:
    """Counts the steps of a piece of work, and asks after each bit of it whether to go on."""

    def __init__(self, go_on: GoOn) -> None:
        self._go_on = go_on
        self._done = 0
        self._known = 0

    def expect(self, steps: int) -> None:
        """So many more steps are known."""
        self._known += steps

    def go_on(self) -> None:
        """Within a step.

        Raises:
            StoppedError: the work is to end.
        """
        self._go_on(self._done, self._known)

    def done(self) -> None:
        """One step is done.

        Raises:
            StoppedError: the work is to end.
        """
        self._done += 1
        self.go_on()


async def in_thread(work: Callable[[GoOn], T], progress: GoOn) -> T:
    """The result of blocking work. Cancelling asks it to stop and waits until it has cleaned up.

    ``progress`` is called in the thread.

    Raises:
        whatever the work raises.
    """
    stop = threading.Event()

    def go_on(done: int, known: int) -> None:
        if stop.is_set():
            raise StoppedError
        progress(done, known)

    running = asyncio.get_running_loop().run_in_executor(None, work, go_on)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        with suppress(StoppedError):
            await running
        raise
