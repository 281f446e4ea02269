"""A directory at one glance: walked here while Postgres sums up what it knows of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from tracewatchd.edges.folder import UnreadableError
from tracewatchd.edges.survey import Survey
from tracewatchd.model.fixes import FixKind
from tracewatchd.model.ledger import DirectorySummary
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.reconcile.setting import SweepSetting

_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Glance:
    """One directory: what was walked, what the ledger sums up to, and whether the rows agree with that sum."""

    survey: Survey
    summary: DirectorySummary
    runs_agree: bool
    closed: UnreadableError | None = None

    @property
    def is_same(self) -> bool:
        """Whether files, ledger and rows hold the same: every file is loaded, but for those in quarantine."""
        return self.runs_agree and self.survey.fingerprint == self.summary.fingerprint


class Glancer:
    """Takes glances at directories of one source."""

    def __init__(self, source: str, setting: SweepSetting, plan: SweepPlan, *, without_told: bool) -> None:
        self._source = source
        self._set = setting
        self._depth = plan.depth
        self._without_told = without_told
        # A budget must be spent before it can be known to be.
        self._ahead = _AHEAD if plan.budget_s is None and plan.budget_bytes is None else 0
        # One core walks while another one sums up: more of either would only take the processor from each other.
        self._walking = asyncio.Semaphore(1 if plan.depth != "full" else 2)
        self._asking = asyncio.Semaphore(1)
        self._read_up_to = setting.limits.max_file_bytes if plan.depth == "full" else None

    async def ahead(self, directories: Iterable[str], *, go_on: Callable[[], bool]) -> AsyncGenerator[Glance, None]:
        """Glances in order, a few of them begun before they are asked for; none is begun once ``go_on`` says no."""
        begun: deque[asyncio.Task[Glance]] = deque()
        try:
            for directory in directories:
                if not go_on():
                    break
                begun.append(asyncio.create_task(self._at(directory)))
                if len(begun) > self._ahead:
                    yield await begun.popleft()
            while begun:
                yield await begun.popleft()
        finally:
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)

    async def _at(self, directory: str) -> Glance:
        walking = asyncio.ensure_future(self._walk(directory))
        try:
            async with self._asking:
                summary, agree = await self._ask(directory)
            try:
                return Glance(await walking, summary, agree)
            except UnreadableError as error:
                return Glance(Survey(directory), summary, runs_agree=False, closed=error)
        finally:
            walking.cancel()

    async def _ask(self, directory: str) -> tuple[DirectorySummary, bool]:
        summary = await self._set.store.directory_summary(
            self._source, directory, with_sha256=self._depth == "full", without_told=self._without_told
        )
        # A deep sweep judges each file anyway.
        return summary, self._depth != "deep" and await self._set.store.runs_agree(summary)

    async def _walk(self, directory: str) -> Survey:
        # Where files are only looked at, two walkers would do little but take the interpreter from each other.
        async with self._walking:
            return await self._set.offload(partial(self._set.folder.survey, directory, read_up_to=self._read_up_to))


def leaves_out_told(plan: SweepPlan) -> bool:
    """Whether files that were told as gone are left alone: unless something is to be done about them."""
    return not plan.fixes & {FixKind.GONE, FixKind.GONE_ROWS}
