"""The limit on bytes in flight."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tracewatchd.ingest.budget import ByteBudget


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(50):
        await asyncio.sleep(0)


class Holder:
    """A task that holds a charge until it is told to let go."""

    def __init__(self, budget: ByteBudget, size_bytes: int, started: list[Holder]) -> None:
        self.size_bytes = size_bytes
        self.let_go = asyncio.Event()
        self._started = started
        self.task = asyncio.create_task(self._hold(budget))

    async def _hold(self, budget: ByteBudget) -> None:
        async with budget.charge(self.size_bytes):
            self._started.append(self)
            await self.let_go.wait()


async def end(*holders: Holder) -> None:
    for holder in holders:
        holder.let_go.set()
    await asyncio.gather(*(holder.task for holder in holders), return_exceptions=True)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=25),
)
def test_the_limit_holds_and_nothing_is_lost(limit: int, steps: list[tuple[int, int, int]]) -> None:
    """Charges, releases and cancellations in any order: never above the limit, in order, and at the end all is free."""

    async def check() -> None:
        budget, started = ByteBudget(limit), list[Holder]()
        holders: list[Holder] = []
        for size, action, which in steps:
            holders.append(Holder(budget, size, started))
            await turns()
            victim = holders[which % len(holders)]
            if action == 1:
                victim.let_go.set()
            elif action == 2:
                victim.task.cancel()
            await turns()
            held = [holder for holder in started if not holder.task.done()]
            assert budget.used_bytes == sum(min(holder.size_bytes, limit) for holder in held) <= limit
            waiting = [holder for holder in holders if not holder.task.done() and holder not in started]
            assert not waiting or budget.used_bytes + min(waiting[0].size_bytes, limit) > limit
        assert started == [holder for holder in holders if holder in started]
        await end(*holders)
        assert budget.used_bytes == 0

    asyncio.run(check())


async def test_charges_are_granted_in_order() -> None:
    """A small charge does not overtake a large one that waits: nobody starves."""
    budget, started = ByteBudget(10), list[Holder]()
    first, large, small = (Holder(budget, size, started) for size in (6, 8, 1))
    await turns()
    assert started == [first]
    first.let_go.set()
    await turns()
    assert started == [first, large, small]
    await end(first, large, small)


async def test_what_exceeds_the_limit_runs_alone() -> None:
    """A charge larger than everything is granted when nothing else is in flight, and lets nothing beside it."""
    budget, started = ByteBudget(10), list[Holder]()
    small, huge, after = (Holder(budget, size, started) for size in (1, 1_000, 1))
    await turns()
    assert started == [small]
    small.let_go.set()
    await turns()
    assert started == [small, huge]
    assert budget.used_bytes == 10
    await end(small, huge, after)
    assert budget.used_bytes == 0


async def test_cancelling_who_waits_lets_the_next_one_go() -> None:
    """A cancelled charge stands in nobody's way."""
    budget, started = ByteBudget(10), list[Holder]()
    first, large, small = (Holder(budget, size, started) for size in (6, 8, 1))
    await turns()
    large.task.cancel()
    await turns()
    assert started == [first, small]
    await end(first, large, small)


async def test_cancelling_who_was_just_granted_gives_its_bytes_back() -> None:
    """A charge that is granted and cancelled before it runs holds nothing."""
    budget, started = ByteBudget(10), list[Holder]()
    first, second = (Holder(budget, 10, started) for _ in range(2))
    await turns()
    budget._release(10)
    second.task.cancel()
    await turns()
    assert budget.used_bytes == 0
    budget.used_bytes = 10
    await end(first)
    assert budget.used_bytes == 0
