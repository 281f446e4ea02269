"""The one availability gate: everyone who uses the database waits at it, and it alone tells an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from tracewatchd.model.errors import TracewatchError, TransientError
from tracewatchd.model.events import StoreAwaited, StoreRecovered, StoreUnavailable, Tell

_WAIT_S = (0.1, 3.0)
_REMIND_S = 30.0


class Gate:
    """Open while the database answers. ``probe`` is one bounded attempt that raises one of our errors.

    During an outage one task probes, with jittered exponential back-off and without end; nobody else does.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], *, database: str, tell: Tell) -> None:
        self._probe = probe
        self._database = database
        self._tell = tell
        self._open = asyncio.Event()
        self._open.set()
        self._prober: asyncio.Task[None] | None = None
        self._fatal: TracewatchError | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether no outage is known."""
        return self._open.is_set()

    async def passed(self) -> None:
        """Return when no outage is known.

        Raises:
            PermanentError: probing showed that waiting will not help.
        """
        await self._open.wait()
        if self._fatal:
            raise self._fatal

    def shut(self, error: TransientError) -> None:
        """An outage begins, unless one is known already."""
        if not self._closed and (self._prober is None or self._prober.done()):
            self._open.clear()
            self._tell(StoreUnavailable(error=str(error), database=self._database))
            self._prober = asyncio.create_task(self._until_it_answers(error))

    async def close(self) -> None:
        """Stop probing, for good, and let everyone pass."""
        self._closed = True
        if self._prober:
            self._prober.cancel()
            await asyncio.wait([self._prober])

    async def _until_it_answers(self, error: TransientError) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reminder = asyncio.create_task(self._remind(began, error))
        multiplier, most_s = _WAIT_S
        try:
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=multiplier, max=most_s),
                retry=retry_if_exception_type(TransientError),
                reraise=True,
            ):
                with attempt:
                    await self._probe()
            self._tell(StoreRecovered(after_s=round(loop.time() - began, 3)))
        except TracewatchError as fatal:
            self._fatal = fatal
        finally:
            reminder.cancel()
            self._open.set()

    async def _remind(self, began: float, error: TransientError) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_REMIND_S)
            self._tell(StoreAwaited(error=str(error), outage_s=round(loop.time() - began, 3)))
