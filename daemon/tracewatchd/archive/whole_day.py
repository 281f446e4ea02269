"""``archive full-sweep``: the verbs of one project-day, one after the other, so that it takes the memory of one.

A step that fails costs those that need it and no other. Every verb asks the world what there is to do, so that doing
them all again does only what is left.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from tracewatchd.model.errors import TracewatchError, ungrouped
from tracewatchd.model.events import DayArchived, StepFailed, Tell
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.whole_day import NEEDS, Done, FullSweepResult, Step, StepResult

Verb: TypeAlias = Callable[[ProjectDay], Awaitable[Done]]
"""Carries out one step; what it raises of our own errors is the step's failure."""


class WholeDay:
    """Carries out the steps that it has a verb for; the others count as skipped."""

    def __init__(
        self,
        source: str,
        verbs: Mapping[Step, Verb],
        *,
        tell: Tell,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._verbs = verbs
        self._tell = tell
        self._clock = monotonic

    async def carry_out(self, day: ProjectDay) -> FullSweepResult:
        """All steps of a day."""
        began = self._clock()
        results: dict[Step, StepResult] = {}
        for step in Step:
            results[step] = await self._step(step, day, results.get(NEEDS.get(step, step)))
        result = FullSweepResult(
            source=self._source,
            project=day.folder,
            date=day.day,
            took_s=self._since(began),
            steps=list(results.values()),
        )
        self._say(result)
        return result

    def _say(self, result: FullSweepResult) -> None:
        day = result.date.isoformat()
        for step in result.steps:
            if step.state in {"failed", "not_possible"}:
                failed = StepFailed(
                    source=self._source,
                    project=result.project,
                    day=day,
                    step=step.step,
                    error=step.error,
                    hint=step.advice,
                )
                self._tell(failed)
        if result.is_whole:
            self._tell(DayArchived(source=self._source, project=result.project, day=day, took_s=result.took_s))

    async def _step(self, step: Step, day: ProjectDay, needed: StepResult | None) -> StepResult:
        if step not in self._verbs:
            return StepResult(step=step, state="skipped")
        if needed and needed.state in {"failed", "not_possible"}:
            return StepResult(step=step, state="not_possible", error=f"needs {needed.step}, which is not done")
        began = self._clock()
        try:
            with ungrouped():
                done = await self._verbs[step](day)
        except TracewatchError as error:
            done = Done(complaint=str(error), advice=error.hint)
        return StepResult(
            step=step,
            state="failed" if done.complaint else "done",
            took_s=self._since(began),
            counts=done.counts,
            error=done.complaint,
            advice=done.advice,
        )

    def _since(self, began: float) -> float:
        return round(self._clock() - began, 3)
