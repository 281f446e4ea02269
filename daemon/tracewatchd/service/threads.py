"""Threads for blocking work, which know what is under way in them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """A few threads with one queue. ``name`` is theirs, ``work`` says in a few words what they are for."""

    def __init__(self, count: int, *, name: str, work: str) -> None:
        self.work = work
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._jobs: set[_Job] = set()

    async def run(self, work: Callable[[], T], /) -> T:
        """The result of blocking work. Where nobody waits for it any more, it is done all the same."""
        job = _Job()
        self._jobs.add(job)
        done = self._pool.submit(partial(job.do, work))
        done.add_done_callback(lambda _: self._jobs.discard(job))
        return await asyncio.wrap_future(done)

    def under_way(self) -> dict[object, float]:
        """What is under way: the processor time of its thread in seconds, which stands still where the thread does.

        Work that waits for a thread is under way only where none works: then it is the threads that stand still.
        """
        jobs = list(self._jobs)
        return {job: job.processor_s for job in jobs if job.has_begun} or dict.fromkeys(jobs[:1], 0.0)

    def close(self) -> None:
        """Take nothing more; what is under way is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Job:
    """One piece of work and the clock of its thread."""

    def __init__(self) -> None:
        self._clock: int | None = None

    def do(self, work: Callable[[], T]) -> T:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        return work()

    @property
    def has_begun(self) -> bool:
        return self._clock is not None

    @property
    def processor_s(self) -> float:
        return 0.0 if self._clock is None else time.clock_gettime(self._clock)
