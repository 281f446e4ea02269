"""When a source is swept, and what is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar

import pytest

from soon import PATIENCE_S, soon
from tracewatchd.model.errors import NotCheckedError, PermanentError, TransientError
from tracewatchd.model.events import (
    Event,
    FileReadable,
    FileUnreadable,
    FindingConfirmed,
    FindingsWithheld,
    SweepFailed,
    SweepFinished,
)
from tracewatchd.model.findings import FileState, Finding, Kind, VerificationResult
from tracewatchd.service import schedule as schedule_module
from tracewatchd.service.schedule import Standing, SweepSchedule, finished

E = TypeVar("E", bound=Event)


class Sweeps:
    """A schedule whose sweeps are the test's, and what it told."""

    def __init__(self, interval_s: float = 3_600, random: Random | None = None) -> None:
        self.told: list[Event] = []
        self.answers: list[VerificationResult | Exception] = []
        self.begun = 0
        self.at_once = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.schedule = SweepSchedule(
            "s", self._sweep, interval_s=interval_s, random=random or Random(1), tell=self.told.append
        )

    async def _sweep(self) -> VerificationResult:
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1
        await self.may_end.wait()
        self.at_once -= 1
        answer = self.answers.pop(0) if self.answers else result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def of(self, kind: type[E]) -> list[E]:
        """What was told of this kind."""
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def causes(self) -> list[str]:
        """Why the finished sweeps were made."""
        return [event.cause for event in self.of(SweepFinished)]


@asynccontextmanager
async def at_work(sweeps: Sweeps) -> AsyncIterator[None]:
    running = asyncio.create_task(sweeps.schedule.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


def result(*findings: tuple[Kind, str], more: Counter[Kind] | None = None, unchecked: str = "") -> VerificationResult:
    """What a sweep found: some findings that it kept, and more that it only counted."""
    kept = [Finding(kind, path, "what it means", None) for kind, path in findings]
    counts = Counter(kind for kind, _ in findings) + (more or Counter())
    return VerificationResult("s", "quick", counts=counts, findings=kept, unchecked=[unchecked] if unchecked else [])


# ---- when


async def test_a_wish_is_swept_at_once_and_nothing_before_it() -> None:
    """Without a wish nothing happens until the interval is over; a wish brings one sweep, with its cause."""
    sweeps = Sweeps()
    async with at_work(sweeps):
        await asyncio.sleep(0)
        assert sweeps.begun == 0
        assert sweeps.schedule.want("watch started")
        await soon(lambda: sweeps.causes)
    assert sweeps.causes == ["watch started"]
    assert sweeps.begun == 1


async def test_a_wish_from_before_the_start_is_kept() -> None:
    """A sweep that was wanted before the schedule runs is made when it does."""
    sweeps = Sweeps()
    sweeps.schedule.want("watch started")
    async with at_work(sweeps):
        await soon(lambda: sweeps.causes == ["watch started"])


async def test_wishes_that_come_during_a_sweep_are_one_next_sweep() -> None:
    """However often a sweep is wanted meanwhile, one more is made: it begins after all of the wishes."""
    sweeps = Sweeps()
    sweeps.may_end.clear()
    async with at_work(sweeps):
        sweeps.schedule.want("first")
        await soon(lambda: sweeps.begun == 1)
        assert [sweeps.schedule.want(cause) for cause in ("second", "third", "fourth")] == [True, False, False]
        sweeps.may_end.set()
        await soon(lambda: len(sweeps.causes) == 2)
        assert sweeps.schedule.want("fifth")
        await soon(lambda: len(sweeps.causes) == 3)
    assert sweeps.causes == ["first", "second", "fifth"]


async def test_sweeps_come_at_an_interval() -> None:
    """Without any wish sweeps go on, one after the other."""
    sweeps = Sweeps(interval_s=0.02)
    async with at_work(sweeps):
        await soon(lambda: len(sweeps.causes) >= 3)
    assert set(sweeps.causes) == {"interval"}


async def test_the_interval_is_spread_so_that_daemons_do_not_sweep_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wait differs from the interval by up to a tenth of it."""
    waits: list[float] = []

    async def timed_out(wanted: Coroutine[object, object, object], wait_s: float) -> None:
        wanted.close()
        waits.append(wait_s)
        await asyncio.sleep(0)
        raise TimeoutError

    monkeypatch.setattr(asyncio, "wait_for", timed_out)
    sweeps = Sweeps(interval_s=100)
    async with at_work(sweeps):
        await soon(lambda: len(waits) > 50)
    assert all(90 <= wait_s <= 110 for wait_s in waits)
    assert max(waits) - min(waits) > 10


@pytest.mark.parametrize("error", [TransientError("timeout"), NotCheckedError("busy")])
async def test_a_sweep_that_failed_is_told_and_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that heals is one event, and the same wish is tried again after a while."""
    monkeypatch.setattr(schedule_module, "_AFTER_FAILURE_S", 0.01)
    sweeps = Sweeps()
    sweeps.answers = [error, error]
    async with at_work(sweeps):
        sweeps.schedule.want("watch started")
        await soon(lambda: sweeps.causes)
    assert sweeps.of(SweepFailed) == [SweepFailed(source="s", depth="quick", error=str(error))] * 2
    assert sweeps.causes == ["watch started"]


async def test_wrong_surroundings_end_the_schedule() -> None:
    """What does not heal is raised to whoever runs the schedule."""
    sweeps = Sweeps()
    sweeps.answers = [PermanentError("permission denied")]
    sweeps.schedule.want("watch started")
    with pytest.raises(PermanentError, match="permission denied"):
        await asyncio.wait_for(sweeps.schedule.run(), PATIENCE_S)


# ---- what is told


def test_the_canonical_line_has_all_counts() -> None:
    """Verdict, states, findings by kind and sizes are in the one event of a sweep; the states add up to the files."""
    one = result((Kind.LOST, "p"), more=Counter({Kind.GONE: 3}))
    one.states = Counter({FileState.QUARANTINED: 1, FileState.LOADED: 7})
    one.ignored, one.directories, one.took_s = 4, 2, 0.5
    assert finished(one, "interval") == SweepFinished(
        source="s",
        depth="quick",
        cause="interval",
        verdict="inconsistent",
        files=8,
        states={"loaded": 7, "quarantined": 1},
        findings={"gone": 3, "lost": 1},
        ignored=4,
        directories=2,
        took_s=0.5,
    )


def told_by(*results: VerificationResult) -> list[list[tuple[str, str]]]:
    """Kind and path of the findings that were told after each sweep."""
    told: list[Event] = []
    standing = Standing(told.append)
    each = []
    for one in results:
        standing.say(one)
        each.append([(event.kind, event.path) for event in told if isinstance(event, FindingConfirmed)])
        told.clear()
    return each


def test_a_finding_is_told_once_for_as_long_as_it_stands_and_again_when_it_is_back() -> None:
    """Two sweeps that find the same tell it once; after a sweep without it, it is news again."""
    lost, gone = (Kind.LOST, "a"), (Kind.GONE, "b")
    assert told_by(result(lost), result(lost), result(lost, gone), result(gone), result(lost, gone)) == [
        [lost],
        [],
        [gone],
        [],
        [lost],
    ]


def test_a_path_with_another_kind_is_another_finding() -> None:
    """A file that was gone and is now lost is told again."""
    assert told_by(result((Kind.GONE, "a")), result((Kind.LOST, "a"))) == [[("gone", "a")], [("lost", "a")]]


def test_what_could_not_be_checked_may_still_stand() -> None:
    """A sweep that could not check does not make old findings news for the next one."""
    lost = (Kind.LOST, "a")
    assert told_by(result(lost), result(unchecked="the root is missing"), result(lost)) == [[lost], [], []]


def test_what_the_line_met_is_told_by_the_line() -> None:
    """A quarantined or unreadable file had its own event when it happened: it is no finding to be woken by again."""
    assert told_by(result((Kind.QUARANTINED, "a"), (Kind.UNREADABLE, "b"))) == [[]]


def test_a_closed_directory_is_told_when_it_begins_and_when_it_ends() -> None:
    """Only the sweep meets a directory that cannot be listed: it tells so once, and that it is open again once."""
    told: list[Event] = []
    standing = Standing(told.append)
    closed = result()
    closed.closed = {"bot/2026-11-20": "Permission denied"}
    for one in (closed, closed, result(), result()):
        standing.say(one)
    assert told == [
        FileUnreadable(source="s", path="bot/2026-11-20", error="Permission denied"),
        FileReadable(source="s", path="bot/2026-11-20"),
    ]


def test_a_finding_says_what_it_means_and_what_to_do() -> None:
    """The event has the severity, the run and one sentence that ends with the remedy."""
    told: list[Event] = []
    one = result()
    one.findings = [Finding(Kind.LOST, "p", "neither row nor file", "run-1")]
    Standing(told.append).say(one)
    (event,) = told
    assert event == FindingConfirmed(
        source="s",
        kind="lost",
        severity="critical",
        path="p",
        run_id="run-1",
        detail="neither row nor file; restore the day from its zip, then run `tracewatchd reconcile --once`",
    )


def test_findings_beyond_the_limit_are_counted_and_told_when_their_number_changes() -> None:
    """What is not told one by one is one event by kind; it is not repeated while the numbers stand still."""
    told: list[Event] = []
    standing = Standing(told.append)
    many = result((Kind.LOST, "a"), more=Counter({Kind.LOST: 2, Kind.GONE: 5, Kind.QUARANTINED: 9}))
    more = result((Kind.LOST, "a"), more=Counter({Kind.LOST: 3}))
    for one in (many, many, result((Kind.LOST, "a")), many, more):
        standing.say(one)
    withheld = [event.findings for event in told if isinstance(event, FindingsWithheld)]
    assert withheld == [{"gone": 5, "lost": 2}, {"gone": 5, "lost": 2}, {"lost": 3}]


async def test_findings_are_told_before_the_line_of_their_sweep() -> None:
    """A sweep's own event comes last, when everything about it has been said."""
    sweeps = Sweeps()
    sweeps.answers = [result((Kind.LOST, "a"))]
    await sweeps.schedule.sweep_once("stop")
    assert [event.event for event in sweeps.told] == ["finding.confirmed", "sweep.finished"]
