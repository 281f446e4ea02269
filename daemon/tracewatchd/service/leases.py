"""Leases kept alive: one daemon per source, one sweep per source. They save work; correctness never rests on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from tracewatchd.model.errors import NotCheckedError, PermanentError, TransientError
from tracewatchd.model.events import DaemonStandby, LeaseAcquired, LeaseLost, Tell

_LOOKS_PER_TTL = 4


class LeaseStore(Protocol):
    """Where leases are kept, on the server's clock."""

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> str:
        """Take or renew the lease if it is free or ours; returns who holds it now."""
        ...

    async def release_lease(self, name: str, holder: str) -> None:
        """Give the lease up if it is ours."""
        ...


class Duty:
    """Being the one daemon of some sources."""

    def __init__(self, sources: Sequence[str], store: LeaseStore, *, holder: str, ttl_s: float, tell: Tell) -> None:
        self._sources = sorted(sources)
        self._store = store
        self._holder = holder
        self._ttl_s = ttl_s
        self._tell = tell

    async def take(self) -> None:
        """Return when every source's lease is ours; says for whom it waits.

        Raises:
            PermanentError: the store's surroundings are wrong.
        """
        told: dict[str, str] = {}
        while True:
            if await self._take_in_order(told):
                return
            await asyncio.sleep(self._ttl_s / _LOOKS_PER_TTL)

    async def _take_in_order(self, told: dict[str, str]) -> bool:
        """Take or renew one lease after the other up to the first that another holds; ``told`` remembers who does.

        In one order, so that two daemons of the same sources never wait for each other.
        """
        for source in self._sources:
            holder = await self._try(source)
            if holder and holder != told.get(source):
                mine = holder == self._holder
                self._tell((LeaseAcquired if mine else DaemonStandby)(source=source, holder=holder))
                told[source] = holder
            if holder != self._holder:
                return False
        return True

    async def keep(self) -> None:
        """Renew until another process holds one of the leases; then say so and return."""
        while True:
            await asyncio.sleep(self._ttl_s / _LOOKS_PER_TTL)
            for source in self._sources:
                holder = await self._try(source)
                if holder and holder != self._holder:
                    self._tell(LeaseLost(source=source, holder=holder))
                    return

    async def _try(self, source: str) -> str:
        try:
            return await self._store.acquire_lease(_daemon_lease(source), self._holder, self._ttl_s)
        except TransientError:
            return ""  # the store says that it is away; who holds the lease shows when it is back

    async def give_up(self) -> None:
        """Let a standby take over at once; where the store does not answer, it waits for the lease to expire."""
        for source in self._sources:
            with suppress(TransientError):
                await self._store.release_lease(_daemon_lease(source), self._holder)


def _daemon_lease(source: str) -> str:
    return f"daemon:{source}"


@asynccontextmanager
async def sweep_lease(
    source: str, store: LeaseStore, *, holder: str, ttl_s: float, wait_s: float
) -> AsyncIterator[None]:
    """Be the one sweep of a source for the length of the block.

    Raises:
        NotCheckedError: another sweep held the lease for ``wait_s`` seconds.
        TransientError, PermanentError: the store failed.
    """
    name = f"sweep:{source}"
    deadline = asyncio.get_running_loop().time() + wait_s
    while (other := await store.acquire_lease(name, holder, ttl_s)) != holder:
        if asyncio.get_running_loop().time() >= deadline:
            raise NotCheckedError(
                f"busy: {other} has been sweeping {source} for more than {wait_s:g} s",
                hint="try again later, or raise database.lock_wait_s",
            )
        await asyncio.sleep(min(1.0, ttl_s / _LOOKS_PER_TTL))
    renewing = asyncio.create_task(_renew(name, store, holder, ttl_s))
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(TransientError, PermanentError):
            await store.release_lease(name, holder)


async def _renew(name: str, store: LeaseStore, holder: str, ttl_s: float) -> None:
    while True:
        await asyncio.sleep(ttl_s / _LOOKS_PER_TTL)
        with suppress(TransientError, PermanentError):  # the sweep meets it too, and says so
            await store.acquire_lease(name, holder, ttl_s)
