"""When a source is swept: at start, at an interval, on demand, and when hints may have been lost.

Quick sweeps go over everything. Full and deep ones roll: each takes the project-days that were verified at its depth
the longest time ago, as many as its budget allows, and waits while the line has a backlog.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from tracewatchd.model.errors import NotCheckedError, TransientError
from tracewatchd.model.events import SweepFailed, SweepFinished, Tell
from tracewatchd.model.findings import VerificationResult
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.service.standing import Standing

_JITTER = 0.1
_AFTER_FAILURE_S = 5.0
_LOOK_AGAIN_S = 5.0
_YIELD_AT_MOST_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """What is swept again and again, and the time between two of these sweeps."""

    plan: SweepPlan
    interval_s: float

    @property
    def is_whole(self) -> bool:
        """Whether each of these sweeps goes over everything."""
        return self.plan.budget_s is None and self.plan.budget_bytes is None


@dataclass(slots=True)
class _Turn:
    """When a rhythm's next sweep is due. ``yielding_since_s`` is when it first gave way to what waits on the line."""

    rhythm: Rhythm
    due_s: float
    yielding_since_s: float | None = None


class SweepSchedule:
    """Runs the sweeps of one source, one at a time; wishes that come meanwhile are one next sweep.

    Args:
        source: what is swept.
        sweep: carries out one sweep.
        rhythms: the quick one first, which is also what a wish is for.
        has_backlog: whether the line has so much to do that rolling sweeps had better wait.
        random: spreads the intervals.
        tell: hears of it.
    """

    def __init__(
        self,
        source: str,
        sweep: Callable[[SweepPlan], Awaitable[VerificationResult]],
        rhythms: Sequence[Rhythm],
        *,
        has_backlog: Callable[[], bool],
        random: Random,
        tell: Tell,
    ) -> None:
        self._source = source
        self._sweep = sweep
        self._rhythms = rhythms
        self._turns: list[_Turn] = []
        self._has_backlog = has_backlog
        self._random = random
        self._tell = tell
        self._news = asyncio.Event()
        self._cause = ""
        self._standing = Standing(tell)

    def want(self, cause: str) -> bool:
        """Ask for a quick sweep as soon as possible; False when one was already asked for."""
        if self._cause:
            return False
        self._cause = cause
        self._news.set()
        return True

    def take_over(self, rhythms: Sequence[Rhythm]) -> None:
        """Go on with other rhythms; a sweep that is under way is ended as it was begun.

        Where an interval is another one, it counts from now.
        """
        due_s = {turn.rhythm.plan.depth: turn.due_s for turn in self._turns}
        kept = {before.plan.depth for before in self._rhythms for now in rhythms if _is_as_often(before, now)}
        self._rhythms = rhythms
        if self._turns:
            self._turns = [
                _Turn(each, due_s[each.plan.depth] if each.plan.depth in kept else self._next_s(each))
                for each in rhythms
            ]
            self._news.set()

    async def run(self) -> None:
        """Sweep until cancelled.

        Raises:
            PermanentError: the store's surroundings are wrong.
        """
        self._turns = [_Turn(rhythm, self._next_s(rhythm)) for rhythm in self._rhythms]
        while True:
            turn = min(self._turns, key=lambda turn: turn.due_s)
            if await self._hears_before(turn.due_s):
                cause, self._cause = self._cause, ""
                if cause:
                    await self._take(self._turns[0], cause)
            elif not self._yields(turn):
                await self._take(turn, "interval")

    async def _hears_before(self, due_s: float) -> bool:
        """Whether a sweep was asked for, or the rhythms changed, by then."""
        try:
            async with asyncio.timeout_at(due_s):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def _yields(self, turn: _Turn) -> bool:
        """Whether a rolling sweep gives way once more to what waits on the line; not for ever."""
        now_s = _clock()
        since_s = turn.yielding_since_s if turn.yielding_since_s is not None else now_s
        if turn.rhythm.is_whole or not self._has_backlog() or now_s - since_s >= _YIELD_AT_MOST_S:
            return False
        turn.yielding_since_s, turn.due_s = since_s, now_s + _LOOK_AGAIN_S
        return True

    async def _take(self, turn: _Turn, cause: str) -> None:
        turn.yielding_since_s = None
        try:
            await self._sweep_now(turn.rhythm, cause)
        except (TransientError, NotCheckedError) as error:
            self._tell(SweepFailed(source=self._source, depth=turn.rhythm.plan.depth, error=str(error)))
            await asyncio.sleep(_AFTER_FAILURE_S)
            if turn.rhythm.plan.depth == self._rhythms[0].plan.depth:
                self.want(cause)
        turn.due_s = self._next_s(turn.rhythm)

    def _next_s(self, rhythm: Rhythm) -> float:
        return _clock() + rhythm.interval_s * (1 + self._random.uniform(-_JITTER, _JITTER))

    async def sweep_once(self, cause: str) -> VerificationResult:
        """Sweep everything quickly now and say what was found."""
        return await self._sweep_now(self._rhythms[0], cause)

    async def _sweep_now(self, rhythm: Rhythm, cause: str) -> VerificationResult:
        result = await self._sweep(rhythm.plan)
        self._standing.say(result, whole=rhythm.is_whole)
        self._tell(finished(result, cause))
        return result


def _is_as_often(one: Rhythm, other: Rhythm) -> bool:
    return (one.plan.depth, one.interval_s) == (other.plan.depth, other.interval_s)


def finished(result: VerificationResult, cause: str) -> SweepFinished:
    """The canonical event of a sweep."""
    return SweepFinished(
        source=result.source,
        depth=result.depth,
        cause=cause,
        verdict=result.verdict,
        files=result.files,
        states={str(state): count for state, count in sorted(result.states.items())},
        findings={str(kind): count for kind, count in sorted(result.counts.items())},
        fixed={str(kind): count for kind, count in sorted(result.fixed.items()) if count},
        days=len(result.days),
        ignored=result.ignored,
        directories=result.directories,
        took_s=result.took_s,
    )


def _clock() -> float:
    return asyncio.get_running_loop().time()
