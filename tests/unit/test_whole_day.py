"""The steps of a project-day: what each waits for, and what a failure costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from itertools import product

import pytest

from tracewatchd.archive.whole_day import Verb, WholeDay
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.events import DayArchived, Event, StepFailed
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.whole_day import Done, FullSweepResult, Step

DAY = ProjectDay("support-bot", date(2026, 11, 20))


def verbs(
    trace: list[Step], failing: frozenset[Step] = frozenset(), only: frozenset[Step] = frozenset(Step)
) -> dict[Step, Verb]:
    """Verbs that note that they were called, some of which fail."""

    def verb(step: Step) -> Verb:
        async def carry_out(day: ProjectDay) -> Done:
            assert day == DAY
            trace.append(step)
            await asyncio.sleep(0)
            if step in failing:
                raise TransientError(f"{step} broke", hint=f"mend {step}")
            return Done(counts={"files": 1})

        return carry_out

    return {step: verb(step) for step in Step if step in only}


def whole_day(chosen: Mapping[Step, Verb], told: list[Event] | None = None) -> WholeDay:
    return WholeDay("s", chosen, tell=(told if told is not None else []).append)


def states(result: FullSweepResult) -> Mapping[Step, str]:
    return {step.step: step.state for step in result.steps}


@pytest.mark.parametrize(
    "failing",
    [
        frozenset(step for step, fails in zip(Step, row, strict=True) if fails)
        for row in product([False, True], repeat=4)
    ],
)
async def test_a_failure_costs_what_needs_it_and_nothing_else(failing: frozenset[Step]) -> None:
    """Zip needs fetch, upload needs zip, rows need neither; what is not possible is not tried."""
    trace: list[Step] = []
    told: list[Event] = []
    result = await whole_day(verbs(trace, failing), told).carry_out(DAY)
    fetched = Step.FETCH not in failing
    zipped = fetched and Step.ZIP not in failing
    assert states(result) == {
        Step.FETCH: "done" if fetched else "failed",
        Step.ZIP: "done" if zipped else "failed" if fetched else "not_possible",
        Step.UPLOAD: ("failed" if Step.UPLOAD in failing else "done") if zipped else "not_possible",
        Step.TO_DB: "failed" if Step.TO_DB in failing else "done",
    }
    assert set(trace) == {step for step, state in states(result).items() if state != "not_possible"}
    assert result.is_whole == (not failing)
    assert {event.step for event in told if isinstance(event, StepFailed)} == {
        step for step, state in states(result).items() if state != "done"
    }
    assert [type(event) for event in told if not isinstance(event, StepFailed)] == [DayArchived] * (not failing)
    for step in result.steps:
        if step.state == "failed":
            assert (step.error, step.advice) == (f"{step.step} broke", f"mend {step.step}")


async def test_one_step_at_a_time() -> None:
    """A step begins when the one before it is over, and rows come before the slow way to Drive."""
    running: set[Step] = set()
    trace: list[Step] = []

    def alone(step: Step) -> Verb:
        async def verb(_: ProjectDay) -> Done:
            assert not running
            running.add(step)
            await asyncio.sleep(0)
            running.remove(step)
            trace.append(step)
            return Done()

        return verb

    result = await whole_day({step: alone(step) for step in Step}).carry_out(DAY)
    assert result.is_whole
    assert trace == [Step.FETCH, Step.TO_DB, Step.ZIP, Step.UPLOAD]


async def test_steps_that_are_not_asked_for_are_skipped_and_needed_by_nobody() -> None:
    """Without fetch the files that are there are zipped; without zip the zip that is there is uploaded."""
    trace: list[Step] = []
    result = await whole_day(verbs(trace, only=frozenset({Step.UPLOAD}))).carry_out(DAY)
    assert trace == [Step.UPLOAD]
    assert states(result) == {
        Step.FETCH: "skipped",
        Step.ZIP: "skipped",
        Step.UPLOAD: "done",
        Step.TO_DB: "skipped",
    }
    assert result.is_whole


async def test_a_step_may_be_no_success_without_an_error() -> None:
    """What it did is counted all the same, and what needs it is not tried."""

    async def fetch(_: ProjectDay) -> Done:
        return Done(counts={"written": 3}, complaint="2 runs are bad", advice="see the list")

    result = await whole_day({**verbs([]), Step.FETCH: fetch}).carry_out(DAY)
    assert states(result)[Step.ZIP] == "not_possible"
    assert (result.steps[0].counts, result.steps[0].error, result.steps[0].advice) == (
        {"written": 3},
        "2 runs are bad",
        "see the list",
    )


@pytest.mark.parametrize("error", [PermanentError("no"), PoisonError("no"), ExceptionGroup("", [TransientError("no")])])
async def test_errors_of_ours_are_failures(error: Exception) -> None:
    """Alone or in a group."""

    async def fails(_: ProjectDay) -> Done:
        raise error

    result = await whole_day({Step.ZIP: fails}).carry_out(DAY)
    (zipped,) = (step for step in result.steps if step.step is Step.ZIP)
    assert (zipped.state, zipped.error) == ("failed", "no")


async def test_other_errors_are_nobodys_failure() -> None:
    """A defect is not told as a step that failed."""

    async def fails(_: ProjectDay) -> Done:
        raise ExceptionGroup("", [KeyError("defect")])

    with pytest.raises(ExceptionGroup) as met:
        await whole_day({Step.ZIP: fails}).carry_out(DAY)
    assert met.group_contains(KeyError)
