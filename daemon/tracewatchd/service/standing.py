"""What sweeps have told, so that what stands is told once: findings, closed paths, what could not be checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeAlias, get_args

from tracewatchd.model.events import (
    FileReadable,
    FileUnreadable,
    FindingConfirmed,
    FindingsWithheld,
    SweepIncomplete,
    Tell,
)
from tracewatchd.model.findings import FACTS, Depth, Finding, Kind, VerificationResult

# Events of their own, told when it happens.
_TOLD_ELSEWHERE = frozenset({Kind.QUARANTINED, Kind.UNREADABLE})

_DEPTHS: tuple[Depth, ...] = get_args(Depth)
_SEEN_AT_ANY_DEPTH = frozenset({Kind.MISSING, Kind.ORPHAN, Kind.LOST, Kind.MOVED, Kind.GONE})
_REMEMBERED = 10_000
_REASONS = 5

_Key: TypeAlias = tuple[Kind, str]


class Standing:
    """Tells each thing once for as long as it stands, and again when it comes back.

    It stands as long as the last sweep of any depth that could have seen it, and looked at its project-day, said so.
    Of very many the oldest are forgotten, and told again.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._findings = _Told()
        self._closed = _Told()
        self._withheld: dict[Depth, Mapping[Kind, int]] = {}
        self._unchecked: dict[Depth, set[str]] = {}

    def say(self, result: VerificationResult, *, whole: bool = True) -> None:
        """Tell what a sweep found and was not told before; ``whole`` says that it was of the whole source."""
        looked = _Looked(result, whole=whole)
        found = {_key(one): one for one in result.findings if one.kind not in _TOLD_ELSEWHERE}
        for key in self._findings.add(found, result.depth):
            self._tell(_confirmed(result.source, found[key]))
        self._findings.settle(found, looked)
        self._say_withheld(result)
        self._say_closed(result, looked)
        self._say_unchecked(result, whole=whole)

    def _say_closed(self, result: VerificationResult, looked: _Looked) -> None:
        closed = {(Kind.UNREADABLE, path): cause for path, cause in result.closed.items()}
        for _, path in self._closed.add(closed, result.depth):
            self._tell(FileUnreadable(source=result.source, path=path, error=result.closed[path]))
        for _, path in self._closed.settle(closed, looked):
            self._tell(FileReadable(source=result.source, path=path))

    def _say_withheld(self, result: VerificationResult) -> None:
        withheld = {kind: count for kind, count in _uncertain(result).items() if kind not in _TOLD_ELSEWHERE}
        if withheld and withheld != self._withheld.get(result.depth):
            findings = {str(kind): count for kind, count in sorted(withheld.items())}
            self._tell(FindingsWithheld(source=result.source, findings=findings))
        self._withheld[result.depth] = withheld

    def _say_unchecked(self, result: VerificationResult, *, whole: bool) -> None:
        """Tell why something was not checked, unless a sweep of any depth told so."""
        told = set().union(*self._unchecked.values())
        if new := [sentence for sentence in result.unchecked if sentence not in told]:
            more = len(new) - _REASONS
            reasons = (*new[:_REASONS], *([f"and {more} more"] if more > 0 else []))
            self._tell(SweepIncomplete(source=result.source, depth=result.depth, reasons=reasons))
        before = self._unchecked.get(result.depth, set())
        kept = set() if whole or len(before) > _REMEMBERED else before
        self._unchecked[result.depth] = kept.union(result.unchecked[:_REMEMBERED])


class _Looked:
    """What a sweep can say of things that it did not find."""

    def __init__(self, result: VerificationResult, *, whole: bool) -> None:
        self._depth = result.depth
        self._everywhere = whole and not result.unchecked
        self._days = {day.directory for day in result.days if day.checked}
        self._folders = {directory.partition("/")[0] for directory in self._days}
        self._uncertain = _uncertain(result)

    def rules_out(self, key: _Key) -> frozenset[Depth]:
        """Sweeps of which depths, before it, can have been right to find what this one did not."""
        kind, subject = key
        directory = subject.rpartition("/")[0]
        if kind in self._uncertain or not (
            self._everywhere or {directory, subject} & self._days or subject in self._folders
        ):
            return frozenset()
        if kind in _SEEN_AT_ANY_DEPTH:
            return frozenset(_DEPTHS)
        if kind is Kind.STALE:
            return frozenset({self._depth})  # a quick sweep does not know whether a touched file says the same
        return frozenset(_DEPTHS[: _DEPTHS.index(self._depth) + 1])


class _Told:
    """What was told and stands, and sweeps of which depths have found it."""

    def __init__(self) -> None:
        self._standing: dict[_Key, frozenset[Depth]] = {}

    def add(self, found: Collection[_Key], depth: Depth) -> list[_Key]:
        """What was found; returns what of it is news."""
        new = [key for key in found if key not in self._standing]
        for key in found:
            self._standing[key] = self._standing.get(key, frozenset()) | {depth}
        for key in list(self._standing)[:-_REMEMBERED]:
            del self._standing[key]
        return new

    def settle(self, found: Collection[_Key], looked: _Looked) -> list[_Key]:
        """Forget what was not found any more, and return it."""
        over = []
        for key, depths in list(self._standing.items()):
            if key in found:
                continue
            self._standing[key] = depths - looked.rules_out(key)
            if not self._standing[key]:
                del self._standing[key]
                over.append(key)
        return over


def _uncertain(result: VerificationResult) -> Counter[Kind]:
    """How many findings of each kind were counted and not kept: of these none is known by name."""
    return result.counts - Counter(finding.kind for finding in result.findings)


def _key(finding: Finding) -> _Key:
    return finding.kind, finding.path or finding.run_id or ""


def _confirmed(source: str, finding: Finding) -> FindingConfirmed:
    return FindingConfirmed(
        source=source,
        kind=finding.kind,
        severity=finding.severity,
        path=finding.path,
        run_id=finding.run_id,
        held=finding.held,
        detail=f"{finding.detail}; {FACTS[finding.kind].remedy}",
    )
