"""The availability gate, with a probe that the test answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stores import until
from tracewatchd.model.errors import PermanentError, TracewatchError, TransientError
from tracewatchd.model.events import Event, StoreAwaited, StoreRecovered, StoreUnavailable
from tracewatchd.store import gate as gate_module
from tracewatchd.store.gate import Gate

AWAY = TransientError("connection lost", sqlstate="08006")


class Probe:
    """Fails until it is told how to end."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: TracewatchError | None = AWAY
        self.called = asyncio.Event()

    async def __call__(self) -> None:
        self.calls += 1
        self.called.set()
        await asyncio.sleep(0)
        if self.error:
            raise self.error


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_WAIT_S", (0.001, 0.01))


@asynccontextmanager
async def gate_of(probe: Probe, told: list[Event]) -> AsyncIterator[Gate]:
    gate = Gate(probe, database="db", tell=told.append)
    try:
        yield gate
    finally:
        await gate.close()


async def test_an_open_gate_lets_pass_without_asking() -> None:
    """While no outage is known nobody waits and nothing is probed."""
    probe, told = Probe(), list[Event]()
    async with gate_of(probe, told) as gate:
        await gate.passed()
        assert gate.is_open
    assert (probe.calls, told) == (0, [])


async def test_one_outage_is_told_once_and_ended_once() -> None:
    """However many run into it: one unavailable, one prober, one recovered with how long it took, everyone passes."""
    probe, told = Probe(), list[Event]()
    async with gate_of(probe, told) as gate:
        waiting = []
        for _ in range(20):
            gate.shut(AWAY)
            waiting.append(asyncio.create_task(gate.passed()))
        await until(lambda: probe.calls > 3)
        assert not gate.is_open
        assert not any(task.done() for task in waiting)
        probe.error = None
        await asyncio.gather(*waiting)
        await gate.passed()
    unavailable, recovered = told
    assert unavailable == StoreUnavailable(error="connection lost", database="db")
    assert isinstance(recovered, StoreRecovered)
    assert 0 < recovered.after_s < 5


async def test_the_next_outage_is_told_again() -> None:
    """An outage after a recovery is a new pair of events."""
    probe, told = Probe(), list[Event]()
    async with gate_of(probe, told) as gate:
        for _ in range(3):
            probe.error = AWAY
            gate.shut(AWAY)
            probe.error = None
            await gate.passed()
    assert [type(event) for event in told] == [StoreUnavailable, StoreRecovered] * 3


async def test_a_long_outage_is_told_again_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reminders say how long it has lasted, come one by one, and end with the outage."""
    assert gate_module._REMIND_S == 30
    monkeypatch.setattr(gate_module, "_REMIND_S", 0.05)
    probe, told = Probe(), list[Event]()
    async with gate_of(probe, told) as gate:
        gate.shut(AWAY)
        await until(lambda: len(told) == 4)
        probe.error = None
        await gate.passed()
        count = len(told)
        await asyncio.sleep(0.12)
        assert len(told) == count
    reminders = [event for event in told if isinstance(event, StoreAwaited)]
    assert [type(event) for event in told] == [StoreUnavailable, *[StoreAwaited] * len(reminders), StoreRecovered]
    lasted = [event.outage_s for event in reminders]
    assert lasted == sorted(lasted)
    assert lasted[0] >= 0.05
    assert lasted[2] >= 0.15


async def test_waiting_grows_with_the_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probing backs off: a long outage is not probed in a tight loop."""
    monkeypatch.setattr(gate_module, "_WAIT_S", (0.01, 10.0))
    probe = Probe()
    async with gate_of(probe, []) as gate:
        gate.shut(AWAY)
        await asyncio.sleep(0.5)
    assert 1 <= probe.calls <= 20


async def test_what_waiting_cannot_mend_is_raised_to_everyone() -> None:
    """A permanent error met while probing ends the waiting of all, now and later, and is no recovery."""
    probe, told = Probe(), list[Event]()
    async with gate_of(probe, told) as gate:
        gate.shut(AWAY)
        waiting = [asyncio.create_task(gate.passed()) for _ in range(3)]
        await until(lambda: probe.calls > 1)
        probe.error = PermanentError("password authentication failed", sqlstate="28P01")
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert outcomes == [probe.error] * 3
        with pytest.raises(PermanentError, match="password"):
            await gate.passed()
    assert [type(event) for event in told] == [StoreUnavailable]


async def test_closing_ends_probing_and_lets_everyone_go() -> None:
    """Nobody hangs at a gate that is closed, nothing is told of an end that was not seen, and nothing begins anew."""
    probe, told = Probe(), list[Event]()
    gate = Gate(probe, database="db", tell=told.append)
    gate.shut(AWAY)
    waiting = asyncio.create_task(gate.passed())
    await probe.called.wait()
    await gate.close()
    async with asyncio.timeout(1):
        await waiting
    gate.shut(AWAY)
    calls = probe.calls
    await asyncio.sleep(0.05)
    assert probe.calls == calls
    assert [type(event) for event in told] == [StoreUnavailable]
    assert len(asyncio.all_tasks()) == 1
