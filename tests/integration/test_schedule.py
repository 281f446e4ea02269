"""When a source is swept, and what is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar

import pytest

from leaping_clock import run_leaping
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
    SweepIncomplete,
)
from tracewatchd.model.findings import FACTS, DayResult, Depth, FileState, Finding, Kind, VerificationResult
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.service import schedule as schedule_module
from tracewatchd.service.schedule import Rhythm, SweepSchedule, finished
from tracewatchd.service.standing import Standing

E = TypeVar("E", bound=Event)


class Sweeps:
    """A schedule whose sweeps are the test's, and what it told."""

    def __init__(self, interval_s: float = 3_600, rolling: Sequence[Rhythm] = (), random: Random | None = None) -> None:
        self.told: list[Event] = []
        self.answers: list[VerificationResult | Exception] = []
        self.begun = 0
        self.at_once = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.backlog = False
        self.plans: list[tuple[float, SweepPlan]] = []
        self.takes_s = 0.0
        self.schedule = SweepSchedule(
            "s",
            self._sweep,
            [Rhythm(plan=SweepPlan(), interval_s=interval_s), *rolling],
            has_backlog=lambda: self.backlog,
            random=random or Random(1),
            tell=self.told.append,
        )

    async def _sweep(self, plan: SweepPlan) -> VerificationResult:
        self.plans.append((asyncio.get_running_loop().time(), plan))
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1
        await self.may_end.wait()
        await asyncio.sleep(self.takes_s)
        self.at_once -= 1
        answer = self.answers.pop(0) if self.answers else result(depth=plan.depth)
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


def result(
    *findings: tuple[Kind, str],
    more: Counter[Kind] | None = None,
    unchecked: str = "",
    depth: Depth = "quick",
    days: Sequence[str] = (),
) -> VerificationResult:
    """What a sweep found: some findings that it kept, and more that it only counted."""
    kept = [Finding(kind, path, "what it means", None) for kind, path in findings]
    return VerificationResult(
        "s",
        depth,
        counts=Counter(kind for kind, _ in findings) + (more or Counter()),
        findings=kept,
        unchecked=[unchecked] if unchecked else [],
        days=[DayResult(day) for day in days],
    )


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


@pytest.mark.parametrize("turns", range(6))
async def test_a_stop_in_the_moment_of_a_wish_is_heard(turns: int) -> None:
    """Cancelled while a wish is on its way, the schedule ends: it does not wait for its next sweep instead."""
    sweeps = Sweeps()
    sweeps.may_end.clear()
    running = asyncio.create_task(sweeps.schedule.run())
    await asyncio.sleep(0)
    sweeps.schedule.want("watch started")
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=PATIENCE_S)
    assert done
    assert running.cancelled()


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

    def over_at_once(due_s: float) -> asyncio.Timeout:
        waits.append(due_s - asyncio.get_running_loop().time())
        return asyncio.timeout(0)

    monkeypatch.setattr(asyncio, "timeout_at", over_at_once)
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


# ---- rolling sweeps

FULL = Rhythm(plan=SweepPlan(depth="full", budget_s=30, oldest_first=True), interval_s=600)
DEEP = Rhythm(plan=SweepPlan(depth="deep", budget_s=60, oldest_first=True), interval_s=3_600)


def over(sweeps: Sweeps, hours: float, wishes: Sequence[float] = ()) -> list[tuple[float, Depth]]:
    """When sweeps of which depth began, in so many hours, with wishes at these seconds."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for at_s in wishes:
            loop.call_at(at_s, sweeps.schedule.want, "wish")
        async with at_work(sweeps):
            await asyncio.sleep(hours * 3_600)

    run_leaping(work())
    return [(at_s, plan.depth) for at_s, plan in sweeps.plans]


def test_each_depth_comes_at_its_own_interval() -> None:
    """Quick, full and deep sweeps come as often as their intervals say, by a tenth, and never two at once."""
    sweeps = Sweeps(300, [FULL, DEEP])
    sweeps.takes_s = 20
    counts = Counter(depth for _, depth in over(sweeps, 24))
    assert 245 <= counts["quick"] <= 300  # an interval begins when a sweep ends
    assert 120 <= counts["full"] <= 160
    assert 20 <= counts["deep"] <= 27
    assert {plan.budget_s for _, plan in sweeps.plans if plan.depth == "full"} == {30}


def test_a_rolling_sweep_waits_while_the_line_has_a_backlog() -> None:
    """It gives way for ten minutes at most; quick sweeps and wishes come as ever."""
    idle, busy = Sweeps(300, [FULL]), Sweeps(300, [FULL])
    busy.backlog = True
    (at_s, _), *_ = (one for one in over(idle, 1) if one[1] == "full")
    begun = over(busy, 1, wishes=[700])
    (late_s, _), *_ = (one for one in begun if one[1] == "full")
    assert at_s <= 660
    assert 600 <= late_s - at_s <= 610
    assert (700, "quick") in begun
    assert len([depth for began_s, depth in begun if began_s < late_s and depth == "quick"]) >= 4


def test_a_rolling_sweep_begins_when_the_backlog_is_gone() -> None:
    """It need not wait for its next turn."""
    sweeps = Sweeps(86_400, [FULL])
    sweeps.backlog = True

    async def work() -> None:
        asyncio.get_running_loop().call_at(800, lambda: setattr(sweeps, "backlog", False))
        async with at_work(sweeps):
            await asyncio.sleep(900)

    run_leaping(work())
    ((at_s, plan),) = sweeps.plans
    assert plan.depth == "full"
    assert 800 <= at_s <= 805


def test_other_rhythms_count_at_once() -> None:
    """An interval that changed counts from then on, one that did not keeps its turn, and one that is gone ends."""
    sweeps = Sweeps(86_400, [FULL])

    async def work() -> None:
        running = asyncio.create_task(sweeps.schedule.run())
        await asyncio.sleep(400)
        sweeps.schedule.take_over([Rhythm(plan=SweepPlan(), interval_s=100), FULL])
        await asyncio.sleep(1_000)
        sweeps.schedule.take_over([Rhythm(plan=SweepPlan(), interval_s=100)])
        await asyncio.sleep(1_000)
        running.cancel()
        await asyncio.wait([running])

    run_leaping(work())
    begun = [(at_s, plan.depth) for at_s, plan in sweeps.plans]
    quick = [at_s for at_s, depth in begun if depth == "quick"]
    full = [at_s for at_s, depth in begun if depth == "full"]
    assert 490 <= quick[0] <= 510
    assert 17 <= len(quick) <= 22
    assert 540 <= full[0] <= 660, "its turn is the one that it had"
    assert len(full) in {1, 2}
    assert max(full) < 1_400


def test_rhythms_that_are_given_before_it_begins_count_too() -> None:
    """There is no turn yet that could be kept."""
    sweeps = Sweeps(86_400)
    sweeps.schedule.take_over([Rhythm(plan=SweepPlan(), interval_s=100)])
    assert len(over(sweeps, 1)) >= 30


def test_a_rolling_sweep_that_failed_is_told_and_comes_again_at_its_turn() -> None:
    """Its depth is in the event; it is not tried at once, as the next turn is soon enough."""
    sweeps = Sweeps(86_400, [FULL])
    sweeps.answers = [TransientError("timeout")]
    first, second, *_ = over(sweeps, 1)
    assert sweeps.of(SweepFailed) == [SweepFailed(source="s", depth="full", error="timeout")]
    assert (first[1], second[1]) == ("full", "full")
    assert second[0] - first[0] >= 540


def test_a_wish_is_for_a_quick_sweep() -> None:
    """Hints that were lost are made good by a quick sweep, at once, whatever comes next."""
    assert (10.0, "quick") in over(Sweeps(300, [FULL, DEEP]), 0.1, wishes=[10])


# ---- what is told


def test_the_canonical_line_has_all_counts() -> None:
    """Verdict, states, findings by kind and sizes are in the one event of a sweep; the states add up to the files."""
    one = result((Kind.LOST, "p"), more=Counter({Kind.GONE: 3}))
    one.states = Counter({FileState.QUARANTINED: 1, FileState.LOADED: 7})
    one.ignored, one.directories, one.took_s = 4, 2, 0.5
    one.fixed = Counter({Kind.STALE: 2, Kind.MISSING: 0})
    one.days = [DayResult("bot/2026-11-20")]
    assert finished(one, "interval") == SweepFinished(
        source="s",
        depth="quick",
        cause="interval",
        verdict="inconsistent",
        files=8,
        states={"loaded": 7, "quarantined": 1},
        findings={"gone": 3, "lost": 1},
        fixed={"stale": 2},
        ignored=4,
        days=1,
        directories=2,
        took_s=0.5,
    )


def told_by(*results: VerificationResult) -> list[list[tuple[str, str | None]]]:
    """Kind and path of the findings that were told after each sweep; one that names days looked at these alone."""
    told: list[Event] = []
    standing = Standing(told.append)
    each = []
    for one in results:
        standing.say(one, whole=not one.days)
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


def test_a_finding_is_told_once_whichever_depth_saw_it_first() -> None:
    """A full sweep does not tell again what a quick one told, nor the other way round."""
    lost = (Kind.LOST, "bot/2026-11-20/a")
    day = ["bot/2026-11-20"]
    assert told_by(result(lost), result(lost, depth="full", days=day), result(lost)) == [[lost], [], []]
    assert told_by(result(lost, depth="deep", days=day), result(lost)) == [[lost], []]


def test_what_only_a_deeper_sweep_sees_is_not_cleared_by_a_shallower_one() -> None:
    """An altered file stands until a full sweep has read it again."""
    altered = (Kind.ALTERED, "bot/2026-11-20/a")
    day = ["bot/2026-11-20"]
    seen, clear = result(altered, depth="full", days=day), result(depth="full", days=day)
    assert told_by(seen, result(), seen) == [[altered], [], []]
    assert told_by(seen, clear, seen) == [[altered], [], [altered]]


def test_what_every_depth_sees_is_cleared_by_any() -> None:
    """A missing file that a full sweep told and a quick one does not find any more is news when it is back."""
    missing = (Kind.MISSING, "bot/2026-11-20/a")
    seen = result(missing, depth="full", days=["bot/2026-11-20"])
    assert told_by(seen, result(), seen) == [[missing], [], [missing]]


def test_a_touched_file_is_not_told_by_every_quick_sweep() -> None:
    """What only a quick sweep calls stale is not cleared by a full one, which knows that it is the same."""
    stale = (Kind.STALE, "bot/2026-11-20/a")
    clear = result(depth="full", days=["bot/2026-11-20"])
    assert told_by(result(stale), clear, result(stale), result(), result(stale)) == [[stale], [], [], [], [stale]]


def test_a_rolling_sweep_clears_only_where_it_looked() -> None:
    """What lies in another project-day still stands."""
    here, there = (Kind.ALTERED, "bot/2026-11-20/a"), (Kind.ALTERED, "bot/2026-11-21/b")
    both = result(here, there, depth="full", days=["bot/2026-11-20", "bot/2026-11-21"])
    assert told_by(both, result(depth="full", days=["bot/2026-11-20"]), both) == [[here, there], [], [here]]


def test_a_finding_that_is_only_counted_still_stands() -> None:
    """Where more of its kind are counted than named, it may be one of them."""
    one, other = (Kind.LOST, "a"), (Kind.LOST, "b")
    assert told_by(result(one), result(other, more=Counter({Kind.LOST: 1})), result(one)) == [[one], [other], []]


def test_a_row_that_no_file_explains_is_told_once() -> None:
    """It has no path: its run tells one from another, and the event has no path either."""
    told: list[Event] = []
    found = result(depth="full")
    found.findings = [Finding(Kind.FOREIGN, None, "a row", f"run-{number}") for number in (1, 2)]
    found.counts = Counter({Kind.FOREIGN: 2})
    standing = Standing(told.append)
    for _ in range(2):
        standing.say(found)
    events = [event for event in told if isinstance(event, FindingConfirmed)]
    assert [(event.path, event.run_id) for event in events] == [(None, "run-1"), (None, "run-2")]


def test_why_something_was_not_checked_is_told_once() -> None:
    """One event with the reasons; again only when it was checked meanwhile."""
    told: list[Event] = []
    standing = Standing(told.append)
    emptied = result(unchecked="/srv/traces: empty, but the ledger knows files in it")
    for one in (emptied, emptied, result(), emptied):
        standing.say(one)
    event = SweepIncomplete(source="s", depth="quick", reasons=tuple(emptied.unchecked))
    assert told == [event, event]
    many = result()
    many.unchecked = [f"{number}: no" for number in range(9)]
    standing.say(many)
    (last,) = told[2:]
    assert isinstance(last, SweepIncomplete)
    assert last.reasons == (*many.unchecked[:5], "and 4 more")


def test_a_closed_directory_is_open_again_only_when_somebody_looked() -> None:
    """A rolling sweep of another day, and a sweep that could not see the root, say nothing of it."""
    told: list[Event] = []
    standing = Standing(told.append)
    closed = result(unchecked="bot/2026-11-20: Permission denied")
    closed.closed = {"bot/2026-11-20": "Permission denied"}
    elsewhere, there = (result(depth="full", days=[day]) for day in ("bot/2026-11-21", "bot/2026-11-20"))
    for one in (closed, elsewhere, result(unchecked="no root"), there):
        standing.say(one, whole=not one.days)
    assert [event.event for event in told if not isinstance(event, SweepIncomplete)] == [
        "file.unreadable",
        "file.readable",
    ]


def test_what_was_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many standing findings the oldest are forgotten, and told again."""
    monkeypatch.setattr("tracewatchd.service.standing._REMEMBERED", 2)
    first, *others = ((Kind.LOST, name) for name in "abc")
    assert told_by(result(first, *others), result(first, *others)) == [[first, *others], [first]]


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
        detail=f"neither row nor file; {FACTS[Kind.LOST].remedy}",
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
