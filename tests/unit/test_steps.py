"""Long work in a thread: its result, its errors, and how it ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tracewatchd.archive.steps import GoOn, StoppedError, in_thread
from tracewatchd.model.errors import TransientError


async def test_the_result_and_the_progress() -> None:
    """Both arrive, from another thread."""
    told: list[tuple[int, int, bool]] = []

    def work(go_on: GoOn) -> str:
        go_on(1, 2)
        return "done"

    def progress(done: int, known: int) -> None:
        told.append((done, known, threading.current_thread() is threading.main_thread()))

    assert await in_thread(work, progress) == "done"
    assert told == [(1, 2, False)]


async def test_an_error_arrives_as_it_is() -> None:
    """Nothing is wrapped."""

    def work(_: GoOn) -> None:
        raise TransientError("full")

    with pytest.raises(TransientError, match="full"):
        await in_thread(work, lambda *_: None)


@pytest.mark.parametrize("ends", [False, True], ids=["stops", "ends by itself"])
async def test_what_is_cancelled_cleans_up_first(ends: bool) -> None:  # noqa: FBT001 - a case
    """The work sees it at its next step; whoever cancelled waits until it has cleaned up."""
    begun = asyncio.Event()
    cancelled = threading.Event()
    cleaned: list[str] = []
    loop = asyncio.get_running_loop()

    def work(go_on: GoOn) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert cancelled.wait(20)
        try:
            if not ends:
                go_on(0, 1)
        except StoppedError:
            cleaned.append("stopped")
            raise
        cleaned.append("ended")

    task = asyncio.create_task(in_thread(work, lambda *_: None))
    await begun.wait()
    task.cancel()
    loop.call_later(0.01, cancelled.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["ended" if ends else "stopped"]
