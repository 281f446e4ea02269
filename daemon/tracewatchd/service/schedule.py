"""When a source is swept: at start, at an interval, on demand, and when hints may have been lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tracewatchd.model.errors import NotCheckedError, TransientError
from tracewatchd.model.events import (
    FileReadable,
    FileUnreadable,
    FindingConfirmed,
    FindingsWithheld,
    SweepFailed,
    SweepFinished,
    Tell,
)
from tracewatchd.model.findings import FACTS, Finding, Kind, VerificationResult

_JITTER = 0.1
_AFTER_FAILURE_S = 5.0
# Events of their own, told when it happens.
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
        self._standing = Standing(tell)

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
        self._standing.say(result)
        self._tell(finished(result, cause))
        return result


class Standing:
    """Tells each finding once for as long as it stands, and again when it comes back."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: set[tuple[Kind, str]] = set()
        self._withheld: dict[Kind, int] = {}
        self._closed: set[str] = set()

    def say(self, result: VerificationResult) -> None:
        """Tell what a sweep found that the sweep before it did not find."""
        found = {(one.kind, one.path): one for one in result.findings if one.kind not in _TOLD_ELSEWHERE}
        for key, finding in found.items():
            if key not in self._told:
                self._tell(_confirmed(result.source, finding))
        # What could not be checked may still stand.
        self._told = set(found) | (self._told if result.unchecked else set())
        self._say_withheld(result)
        self._say_closed(result)

    def _say_closed(self, result: VerificationResult) -> None:
        for path in result.closed.keys() - self._closed:
            self._tell(FileUnreadable(source=result.source, path=path, error=result.closed[path]))
        for path in self._closed - result.closed.keys():
            self._tell(FileReadable(source=result.source, path=path))
        self._closed = set(result.closed)

    def _say_withheld(self, result: VerificationResult) -> None:
        left = result.counts - Counter(finding.kind for finding in result.findings)
        withheld = {kind: count for kind, count in left.items() if kind not in _TOLD_ELSEWHERE}
        if withheld and withheld != self._withheld:
            findings = {str(kind): count for kind, count in sorted(withheld.items())}
            self._tell(FindingsWithheld(source=result.source, findings=findings))
        self._withheld = withheld


def _confirmed(source: str, finding: Finding) -> FindingConfirmed:
    return FindingConfirmed(
        source=source,
        kind=finding.kind,
        severity=finding.severity,
        path=finding.path,
        run_id=finding.run_id,
        detail=f"{finding.detail}; {FACTS[finding.kind].remedy}",
    )


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
