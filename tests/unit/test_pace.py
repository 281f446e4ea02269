"""One budget of requests: as fast as the limits allow, and never faster."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.edges.pace import Limit, Pace

TEN = Limit("ten", 10, 10.0)
THREE = Limit("three", 3, 10.0)


class Time:
    """A clock that moves only when somebody sleeps, or a request takes a while."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.pace = Pace(clock=lambda: self.now_s, sleep=self.sleep)
        self.seen_s: list[float] = []

    async def sleep(self, for_s: float) -> None:
        self.now_s += for_s
        await asyncio.sleep(0)

    async def ask(self, *limits: Limit, way_s: float = 0.0, back_s: float = 0.0) -> None:
        """A request that the service sees after ``way_s``, and whose answer is there ``back_s`` later."""
        async with self.pace.turn(*limits):
            self.now_s += way_s
            self.seen_s.append(self.now_s)
            self.now_s += back_s


def most_within(seen_s: list[float], window_s: float) -> int:
    """The most requests that any window of this length, one of its ends included, saw."""
    return max(sum(first <= one < first + window_s for one in seen_s) for first in seen_s)


async def test_a_burst_passes_at_once_and_the_next_waits() -> None:
    """As many as the limit allows pass without waiting; the one after them waits until the window is over."""
    clock = Time()
    for _ in range(10):
        await clock.ask(TEN)
    assert clock.seen_s == [100.0] * 10
    await clock.ask(TEN)
    assert 10 < clock.now_s - 100 < 10.1


async def test_it_is_as_fast_as_the_limit_allows() -> None:
    """A hundred requests of 10 in 10 s take hardly more than the 90 s that no order can beat."""
    clock = Time()
    for _ in range(100):
        await clock.ask(TEN, way_s=0.02, back_s=0.02)
    assert 90 <= clock.now_s - 100 < 90 * 1.1


@given(
    ways_s=st.lists(
        st.tuples(st.floats(0, 3, allow_subnormal=False), st.floats(0, 3, allow_subnormal=False)),
        min_size=1,
        max_size=60,
    )
)
def test_the_service_never_sees_too_many(ways_s: list[tuple[float, float]]) -> None:
    """However long requests and answers take on their way, no window of the service's holds more than the limit."""
    clock = Time()

    async def ask() -> None:
        for way_s, back_s in ways_s:
            await clock.ask(THREE, way_s=way_s, back_s=back_s)

    asyncio.run(ask())
    assert most_within(clock.seen_s, THREE.window_s) <= THREE.requests


async def test_requests_at_the_same_time_share_the_limit() -> None:
    """Tasks that ask at once get turns one after the other, and together no more than the limit allows."""
    clock = Time()
    await asyncio.gather(*(clock.ask(THREE) for _ in range(7)))
    assert len(clock.seen_s) == 7
    assert most_within(clock.seen_s, THREE.window_s) == THREE.requests


async def test_each_limit_of_a_request_counts() -> None:
    """A request that counts in two limits waits for the slower one and takes room in both."""
    clock = Time()
    for _ in range(3):
        await clock.ask(TEN, THREE)
    assert (clock.pace.left(TEN), clock.pace.left(THREE)) == (7, 0)
    await clock.ask(TEN, THREE)
    assert clock.now_s > 110


async def test_a_failed_request_counts() -> None:
    """What the service saw counts, whatever came of it."""
    clock = Time()
    for _ in range(3):
        with pytest.raises(OSError, match="lost"):
            async with clock.pace.turn(THREE):
                raise OSError("lost")
    assert clock.pace.left(THREE) == 0


async def test_being_held_stops_that_limit_alone() -> None:
    """After the service asked for patience nothing of that limit passes for as long; others do."""
    clock = Time()
    clock.pace.hold(THREE, 30.0)
    assert clock.pace.left(THREE) == 0
    await clock.ask(TEN)
    assert clock.now_s == 100.0
    await clock.ask(THREE)
    assert clock.now_s == pytest.approx(130.0)
    clock.pace.hold(THREE, 5.0)
    clock.pace.hold(THREE, 1.0)
    await clock.ask(THREE)
    assert clock.now_s == pytest.approx(135.0)


async def test_what_is_left_comes_back() -> None:
    """Room that a request took is there again when its window is over."""
    clock = Time()
    await clock.ask(THREE)
    assert clock.pace.left(THREE) == 2
    await clock.sleep(10.1)
    assert clock.pace.left(THREE) == 3
