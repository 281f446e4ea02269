"""When a source is swept: at start, at an interval, on demand, and when hints may have been lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tracewatchd.model.errors import NotCheckedError, TransientError
from tracewatchd.model.events import (
    FindingConfirmed,
    FindingsWithheld,
    SweepFailed,
    SweepFinished,
    Tell,
)
from tracewatchd.model.findings import FACTS, Kind, VerificationResult

_JITTER = 0.1
_AFTER_FAILURE_S = 5.0
# Told when it happens, by the line; a sweep only counts them.
_TOLD_ELSEWHERE = frozenset({Kind.QUARANTINED, Kind.UNREADABLE})


class SweepSchedule:
    """Runs the quick sweeps of one source, one at a time; wishes that come meanwhile are one next sweep."""

    def __init__(
        self,
        source: str,
        sweep: Callable[[], Awaitable[VerificationResult]],
        *,
        interval_s: float,
        random: Random,
        tell: Tell,
    ) -> None:
        self._source = source
        self._sweep = sweep
        self._interval_s = interval_s
        self._random = random
        self._tell = tell
        self._wanted = asyncio.Event()
        self._cause = ""
        self._standing: set[tuple[Kind, str]] = set()

    def want(self, cause: str) -> bool:
        """Ask for a sweep as soon as possible; False when one was already asked for."""
        if self._wanted.is_set():
            return False
        self._cause = cause
        self._wanted.set()
        return True

    async def run(self) -> None:
        """Sweep until cancelled.

        Raises:
            PermanentError: the store's surroundings are wrong.
        """
        while True:
            cause = await self._next()
            try:
                await self.sweep_once(cause)
            except (TransientError, NotCheckedError) as error:
                self._tell(SweepFailed(source=self._source, depth="quick", error=str(error)))
                await asyncio.sleep(_AFTER_FAILURE_S)
                self.want(cause)

    async def _next(self) -> str:
        wait_s = self._interval_s * (1 + self._random.uniform(-_JITTER, _JITTER))
        try:
            await asyncio.wait_for(self._wanted.wait(), wait_s)
        except TimeoutError:
            return "interval"
        self._wanted.clear()
        return self._cause

    async def sweep_once(self, cause: str) -> VerificationResult:
        """Sweep now and say what was found."""
        result = await self._sweep()
        say_findings(result, self._tell, self._standing)
        self._tell(finished(result, cause))
        return result


def say_findings(result: VerificationResult, tell: Tell, standing: set[tuple[Kind, str]]) -> None:
    """Tell each finding once for as long as it stands; ``standing`` remembers those of the sweep before."""
    found = [finding for finding in result.findings if finding.kind not in _TOLD_ELSEWHERE]
    now = {(finding.kind, finding.path) for finding in found}
    for finding in found:
        if (finding.kind, finding.path) not in standing:
            tell(
                FindingConfirmed(
                    source=result.source,
                    kind=finding.kind,
                    severity=finding.severity,
                    path=finding.path,
                    run_id=finding.run_id,
                    detail=f"{finding.detail}; {FACTS[finding.kind].remedy}",
                )
            )
    withheld = {
        kind: n
        for kind, n in (result.counts - Counter(finding.kind for finding in result.findings)).items()
        if kind not in _TOLD_ELSEWHERE
    }
    if withheld:
        tell(FindingsWithheld(source=result.source, findings={str(kind): n for kind, n in withheld.items()}))
    standing.clear()
    standing.update(now)


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
        ignored=result.ignored,
        directories=result.directories,
        took_s=result.took_s,
    )
