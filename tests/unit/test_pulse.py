"""Whether the work goes on: what counts as a sign of life, and what as a standstill."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soon import soon
from tracewatchd.model.events import DaemonStuck, DaemonUnstuck, Event
from tracewatchd.service.pulse import Moving, Pulse
from tracewatchd.service.threads import Threads

LIMIT_S = 10.0


@dataclass(eq=False)
class Line:
    """A line as a pulse sees it."""

    source: str = "s"
    progress: int = 0
    moved: int = 0
    backlog: int = 0
    unfinished: int = 0
    oldest_s: float | None = None


class Ward:
    """A pulse whose clock, line and store are the test's; `ask` looks after so many seconds."""

    def __init__(self, *threads: Threads) -> None:
        self.now = 100.0
        self.is_reachable = True
        self.longest_use_s = 0.0
        self.pulse = Pulse(self, threads, limit_s=LIMIT_S, clock=lambda: self.now)

    def ask(self, after_s: float) -> str | None:
        self.now += after_s
        return self.pulse.stuck()


def test_a_line_with_nothing_to_do_is_well() -> None:
    """Neither an empty line nor no line at all stands still."""
    ward = Ward()
    assert ward.ask(LIMIT_S * 3) is None
    with ward.pulse.of(Line()):
        assert [ward.ask(LIMIT_S), ward.ask(LIMIT_S * 3)] == [None, None]
    assert ward.pulse.lines == ()


def test_a_line_is_stuck_when_nothing_is_done_about_what_waits() -> None:
    """From the last sign of life on, for longer than the limit; a batch taken, read or tried is one."""
    ward, line = Ward(), Line(unfinished=3)
    with ward.pulse.of(line):
        assert [ward.ask(0), ward.ask(LIMIT_S)] == [None, None]
        line.progress += 1
        assert [ward.ask(1), ward.ask(LIMIT_S)] == [None, None]
        assert ward.ask(1) == "3 files wait on the line of s, and nothing has been done about them for 11 s"
        line.progress += 1
        assert ward.ask(LIMIT_S) is None


def test_an_outage_is_a_declared_wait() -> None:
    """While the gate is shut nothing has to move, and time counts anew when it is open."""
    ward, line = Ward(), Line(unfinished=1)
    with ward.pulse.of(line):
        ward.ask(0)
        ward.is_reachable = False
        assert ward.ask(LIMIT_S * 100) is None
        ward.is_reachable = True
        assert [ward.ask(LIMIT_S), ward.ask(LIMIT_S)] == [None, None]
        assert ward.ask(1) is not None


def test_a_use_of_the_database_has_its_deadline() -> None:
    """Up to the limit it is waited for; what outlives that hangs."""
    ward = Ward()
    ward.longest_use_s = LIMIT_S
    assert ward.ask(0) is None
    ward.longest_use_s = LIMIT_S + 1
    assert ward.ask(0) == "a use of the database has outlived its deadline: it began 11 s ago"


async def test_a_thread_that_hangs_is_seen_and_one_that_computes_is_not() -> None:
    """The processor time of the thread tells them apart; while it works, a line may wait for it."""
    threads = Threads(1, name="read", work="reading files")
    ward = Ward(threads)
    ends, computes = threading.Event(), threading.Event()

    def work() -> None:
        while computes.is_set():
            sum(range(1_000))
        ends.wait()

    computes.set()
    job = asyncio.create_task(threads.run(work))
    await soon(lambda: any(threads.under_way().values()))
    with ward.pulse.of(Line(unfinished=1)):
        for _ in range(3):
            await _goes_on(threads)
            assert ward.ask(LIMIT_S * 2) is None
        computes.clear()
        await soon(lambda: _stands_still(threads))
        ward.ask(0)
        assert ward.ask(LIMIT_S + 1) == "reading files has stood still for 11 s"
        ends.set()
        await job
        assert ward.ask(0) is None
    threads.close()


async def _goes_on(threads: Threads) -> None:
    before = sum(threads.under_way().values())
    await soon(lambda: sum(threads.under_way().values()) > before)


def _stands_still(threads: Threads) -> bool:
    before = threads.under_way()
    threading.Event().wait(0.02)
    return before == threads.under_way()


async def test_work_that_no_thread_takes_up_hangs_too() -> None:
    """Where no thread works and something waits for one, the threads themselves stand still."""
    threads = Threads(1, name="read", work="reading files")
    ends = threading.Event()
    first = asyncio.create_task(threads.run(ends.wait))
    await soon(lambda: any(threads.under_way().values()))
    second = asyncio.create_task(threads.run(lambda: 7))
    await asyncio.sleep(0)
    assert len(threads.under_way()) == 1, "what waits for its turn is not what hangs"
    ends.set()
    assert (await first, await second) == (True, 7)
    assert threads.under_way() == {}
    threads.close()


async def test_work_that_nobody_waits_for_is_still_under_way() -> None:
    """Giving up waiting ends no thread, so that one that hangs stays known."""
    threads = Threads(1, name="read", work="reading files")
    ends = threading.Event()
    job = asyncio.create_task(threads.run(ends.wait))
    await soon(lambda: any(threads.under_way().values()))
    job.cancel()
    await asyncio.wait([job])
    assert len(threads.under_way()) == 1
    ends.set()
    await soon(lambda: not threads.under_way())
    threads.close()


async def test_a_standstill_is_told_once_and_so_is_its_end() -> None:
    """Each look is handed on with the lines; the event comes when it begins and when it is over."""
    ward, line = Ward(), Line(unfinished=1)
    told: list[Event] = []
    beats: list[tuple[str | None, Sequence[Moving]]] = []
    with ward.pulse.of(line):
        looking = asyncio.create_task(ward.pulse.watch(0.001, lambda *seen: beats.append(seen), told.append))
        await _after(beats, lambda: setattr(ward, "now", ward.now + LIMIT_S + 1))
        await soon(lambda: told)
        ward.now += 5
        await _after(beats, lambda: setattr(line, "progress", 1))
        await soon(lambda: len(told) > 1)
        looking.cancel()
        await asyncio.wait([looking])
    assert [type(event) for event in told] == [DaemonStuck, DaemonUnstuck]
    assert isinstance(told[1], DaemonUnstuck)
    assert told[1].after_s == 5
    assert beats[0] == (None, (line,))
    assert any(where for where, _ in beats)


async def _after(beats: Sequence[object], act: Callable[[], None]) -> None:
    """Act when at least one more look was taken."""
    before = len(beats)
    await soon(lambda: len(beats) > before)
    act()
