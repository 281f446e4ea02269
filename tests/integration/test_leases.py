"""Leases on a real database: one daemon per source, one sweep per source, and who is next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import asyncpg
import pytest

from soon import PATIENCE_S, soon, soon_answered
from tracewatchd.model.errors import NotCheckedError, PermanentError, TransientError
from tracewatchd.model.events import DaemonStandby, Event, LeaseAcquired, LeaseLost
from tracewatchd.service.leases import Duty, LeaseStore, sweep_lease
from tracewatchd.store.connect import StoreOptions
from tracewatchd.store.database import TraceDatabase

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
TTL_S = 1.0


@pytest.fixture
async def store(database: str) -> AsyncIterator[TraceDatabase]:
    async def locate() -> str:
        return database

    opened = TraceDatabase(locate, StoreOptions(), lambda _: None, name="test")
    await opened.open(migrate=False)
    yield opened
    await opened.close()


class Daemon:
    """One process's duty, and what it told."""

    def __init__(self, store: LeaseStore, holder: str, *sources: str, ttl_s: float = TTL_S) -> None:
        self.told: list[Event] = []
        self.duty = Duty(sources or ["s"], store, holder=holder, ttl_s=ttl_s, tell=self.told.append)


async def expire(connection: Connection, name: str) -> None:
    await connection.execute("UPDATE leases SET expires_at = now() - make_interval(secs => 1) WHERE name = $1", name)


async def holders(connection: Connection) -> dict[str, str]:
    return {row["name"]: row["holder"] for row in await connection.fetch("SELECT name, holder FROM leases")}


# ---- one daemon per source


async def test_the_first_takes_the_duty_and_the_second_stands_by_and_says_so_once(
    store: TraceDatabase, connection: Connection
) -> None:
    """A second daemon names the holder once, however often it looks, and takes over as soon as the duty is given up."""
    first, second = Daemon(store, "a:1"), Daemon(store, "b:2")
    await first.duty.take()
    assert first.told == [LeaseAcquired(source="s", holder="a:1")]
    waiting = asyncio.create_task(second.duty.take())
    keeping = asyncio.create_task(first.duty.keep())
    expiry = await connection.fetchval("SELECT expires_at FROM leases")
    await soon(lambda: second.told)
    await soon_answered(
        partial(connection.fetchval, "SELECT expires_at > $1 FROM leases", expiry + timedelta(seconds=TTL_S))
    )
    assert not waiting.done()
    assert not keeping.done()
    assert second.told == [DaemonStandby(source="s", holder="a:1")]
    keeping.cancel()
    await first.duty.give_up()
    await asyncio.wait_for(waiting, PATIENCE_S)
    assert second.told == [DaemonStandby(source="s", holder="a:1"), LeaseAcquired(source="s", holder="b:2")]
    assert await holders(connection) == {"daemon:s": "b:2"}


async def test_a_holder_that_went_silent_is_replaced_when_its_lease_expires(store: TraceDatabase) -> None:
    """Nobody renews for a dead daemon: its standby takes over after lease_ttl_s and not before."""
    first, second = Daemon(store, "a:1"), Daemon(store, "b:2")
    await first.duty.take()
    started = asyncio.get_running_loop().time()
    await asyncio.wait_for(second.duty.take(), PATIENCE_S)
    assert asyncio.get_running_loop().time() - started >= TTL_S * 0.9


async def test_a_lost_lease_ends_the_duty(store: TraceDatabase, connection: Connection) -> None:
    """Who finds another in its place after a long silence says so and steps back."""
    first, second = Daemon(store, "a:1"), Daemon(store, "b:2")
    await first.duty.take()
    await expire(connection, "daemon:s")
    await second.duty.take()
    await asyncio.wait_for(first.duty.keep(), PATIENCE_S)
    assert first.told[-1] == LeaseLost(source="s", holder="b:2")
    assert await holders(connection) == {"daemon:s": "b:2"}


async def test_giving_up_takes_nothing_from_others(store: TraceDatabase, connection: Connection) -> None:
    """A daemon that never had the duty leaves the holder's lease where it is."""
    first, second = Daemon(store, "a:1"), Daemon(store, "b:2")
    await first.duty.take()
    await second.duty.give_up()
    assert await holders(connection) == {"daemon:s": "a:1"}


async def test_leases_that_are_held_are_kept_while_another_is_waited_for(
    store: TraceDatabase, connection: Connection
) -> None:
    """A daemon of two sources that waits for the second does not let the first expire meanwhile."""
    other = Daemon(store, "b:2", "z")
    await other.duty.take()
    keeping = asyncio.create_task(other.duty.keep())
    both = Daemon(store, "a:1", "z", "a")
    waiting = asyncio.create_task(both.duty.take())
    await soon(lambda: len(both.told) == 2)
    first = await connection.fetchval("SELECT expires_at FROM leases WHERE name = 'daemon:a'")
    renewed = "SELECT expires_at > $1 FROM leases WHERE name = 'daemon:a'"
    await soon_answered(partial(connection.fetchval, renewed, first))
    keeping.cancel()
    await other.duty.give_up()
    await asyncio.wait_for(waiting, PATIENCE_S)
    assert both.told == [
        LeaseAcquired(source="a", holder="a:1"),
        DaemonStandby(source="z", holder="b:2"),
        LeaseAcquired(source="z", holder="a:1"),
    ]


async def test_two_daemons_of_the_same_sources_do_not_wait_for_each_other(store: TraceDatabase) -> None:
    """In whatever order two daemons name their sources, one of them gets them all."""
    first, second = Daemon(store, "a:1", "x", "y"), Daemon(store, "b:2", "y", "x")
    tasks = {asyncio.create_task(first.duty.take()), asyncio.create_task(second.duty.take())}
    done, waiting = await asyncio.wait(tasks, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == len(waiting) == 1
    for task in waiting:
        task.cancel()


class FailingStore:
    """A store that fails some calls and answers the others."""

    def __init__(self, *failures: Exception | None, holder: str = "a:1") -> None:
        self._failures = list(failures)
        self._holder = holder
        self.calls = 0

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> str:
        await self._answer()
        return self._holder

    async def release_lease(self, name: str, holder: str) -> None:
        await self._answer()

    async def _answer(self) -> None:
        self.calls += 1
        if self._failures and (failure := self._failures.pop(0)):
            raise failure


AWAY, REFUSED = TransientError("away"), PermanentError("permission denied")


async def test_an_outage_is_neither_a_loss_nor_an_end() -> None:
    """While the store is away nobody knows who holds the lease: the duty goes on until another is seen."""
    store = FailingStore(None, AWAY, AWAY, holder="a:1")
    daemon = Daemon(store, "a:1", ttl_s=0.02)
    await daemon.duty.take()
    keeping = asyncio.create_task(daemon.duty.keep())
    await soon(lambda: store.calls > 5)
    assert not keeping.done()
    assert daemon.told == [LeaseAcquired(source="s", holder="a:1")]
    keeping.cancel()


async def test_wrong_surroundings_end_the_duty() -> None:
    """What does not heal is raised: the daemon stops and says why."""
    with pytest.raises(PermanentError):
        await Daemon(FailingStore(REFUSED), "a:1").duty.take()
    with pytest.raises(PermanentError):
        await Daemon(FailingStore(REFUSED), "a:1", ttl_s=0.01).duty.keep()


async def test_giving_up_needs_no_store() -> None:
    """A daemon that ends during an outage leaves its lease to expire."""
    await Daemon(FailingStore(AWAY), "a:1").duty.give_up()


# ---- one sweep per source


async def test_a_sweep_waits_for_another_to_end(store: TraceDatabase, connection: Connection) -> None:
    """The second sweep begins when the first is over, and both give the lease back."""
    order: list[str] = []

    async def sweep(holder: str, entered: asyncio.Event, leave: asyncio.Event) -> None:
        async with sweep_lease("s", store, holder=holder, ttl_s=TTL_S, wait_s=PATIENCE_S):
            order.append(f"{holder} in")
            entered.set()
            await leave.wait()
            order.append(f"{holder} out")

    first_in, second_in, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(sweep("a:1", first_in, leave))
        await first_in.wait()
        group.create_task(sweep("b:2", second_in, leave))
        # Longer than the lease lives: it is renewed.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second_in.wait(), TTL_S * 1.5)
        leave.set()
    assert order == ["a:1 in", "a:1 out", "b:2 in", "b:2 out"]
    assert await holders(connection) == {}


async def test_a_busy_source_was_not_checked(store: TraceDatabase) -> None:
    """After wait_s the error names the other sweep and what to do."""
    async with sweep_lease("s", store, holder="a:1", ttl_s=TTL_S, wait_s=0):
        with pytest.raises(NotCheckedError, match=r"busy: a:1 has been sweeping s for more than 0\.3 s") as caught:
            async with sweep_lease("s", store, holder="b:2", ttl_s=TTL_S, wait_s=0.3):
                pytest.fail("two sweeps at once")
        assert "lock_wait_s" in caught.value.hint
        async with sweep_lease("other", store, holder="b:2", ttl_s=TTL_S, wait_s=0):
            pass


async def test_a_sweep_that_fails_gives_the_lease_back(store: TraceDatabase, connection: Connection) -> None:
    """Whatever ends a sweep, the next need not wait for the lease to expire."""
    with pytest.raises(ZeroDivisionError):
        async with sweep_lease("s", store, holder="a:1", ttl_s=TTL_S, wait_s=0):
            raise ZeroDivisionError
    assert await holders(connection) == {}

    async def cancelled() -> None:
        async with asyncio.timeout(0.2), sweep_lease("s", store, holder="a:1", ttl_s=TTL_S, wait_s=0):
            await asyncio.sleep(PATIENCE_S)

    with pytest.raises(TimeoutError):
        await cancelled()
    assert await holders(connection) == {}


@pytest.mark.parametrize("failure", [AWAY, REFUSED])
async def test_a_lease_that_cannot_be_renewed_or_returned_ends_no_sweep(failure: Exception) -> None:
    """Leases save work and nothing rests on them: what the store says to renewals does not fail a sweep."""
    store = FailingStore(None, failure, failure, None, failure, holder="a:1")
    async with sweep_lease("s", store, holder="a:1", ttl_s=0.02, wait_s=0):
        await soon(lambda: store.calls >= 4)
