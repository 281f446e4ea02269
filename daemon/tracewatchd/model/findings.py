"""What a sweep can find, how bad it is, and the typed result that says whether files and database agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from tracewatchd.model.results import Outcome

Severity = Literal["info", "warning", "error", "critical"]
Verdict = Literal["consistent", "inconsistent", "not_checked"]
Depth = Literal["quick", "full", "deep"]


class Kind(StrEnum):
    """The kinds of finding."""

    MISSING = "missing"
    STALE = "stale"
    ORPHAN = "orphan"
    LOST = "lost"
    MISMATCH = "mismatch"
    MOVED = "moved"
    GONE = "gone"
    QUARANTINED = "quarantined"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """How bad a kind of finding is, what it means, and what to do about it."""

    severity: Severity
    meaning: str
    remedy: str


FACTS: dict[Kind, KindFacts] = {
    Kind.MISSING: KindFacts(
        "error", "a run file that the database does not know", "run `tracewatchd reconcile --once`, which loads it"
    ),
    Kind.STALE: KindFacts(
        "error",
        "a run file that changed after it was loaded",
        "run `tracewatchd reconcile --once`, which loads it again",
    ),
    Kind.ORPHAN: KindFacts(
        "critical",
        "the ledger says loaded, but there is no such row; the file is still there",
        "run `tracewatchd reconcile --once`, which loads it again; then find out who removes rows",
    ),
    Kind.LOST: KindFacts(
        "critical",
        "the ledger says loaded, but there is neither row nor file",
        "restore the day from its zip, then run `tracewatchd reconcile --once`",
    ),
    Kind.MISMATCH: KindFacts(
        "critical",
        "the row holds neither this file's version nor a newer one that a file explains",
        "find out who else writes to `runs`; the row is not overwritten unless that is asked for",
    ),
    Kind.MOVED: KindFacts("info", "the file was moved; its row is explained by the file's new place", "nothing"),
    Kind.GONE: KindFacts(
        "warning", "a file that was loaded is no longer there; its row stays", "nothing, if it was removed on purpose"
    ),
    Kind.QUARANTINED: KindFacts(
        "warning", "a run file that cannot be stored", "`tracewatchd quarantine list` says why for each"
    ),
    Kind.UNREADABLE: KindFacts(
        "error", "a run file or directory that cannot be read now", "give the daemon's user permission to read it"
    ),
}


class FileState(StrEnum):
    """Where a run file stands: each is in exactly one of these."""

    LOADED = "loaded"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    PENDING = "pending"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """A disagreement that a second look confirmed."""

    kind: Kind
    path: str
    detail: str
    run_id: str | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return FACTS[self.kind].severity


@dataclass(slots=True)
class VerificationResult:
    """What a sweep found.

    ``states`` counts run files; ``findings`` holds the first ones, ``counts`` all of them by kind; ``outcomes`` counts
    what the line made of the paths that the sweep offered; ``closed`` holds the first paths that the sweep itself could
    not look at, and why (of a file that could not be read the line tells). ``unchecked`` says, one sentence each, what
    could not be checked: where there is any, the verdict is ``not_checked``, unless findings already say
    ``inconsistent``.
    """

    source: str
    depth: Depth
    states: Counter[FileState] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    ignored: int = 0
    directories: int = 0
    took_s: float = 0.0

    @property
    def files(self) -> int:
        """Run files that were seen."""
        return sum(self.states.values())

    def found(self, severities: frozenset[Severity]) -> int:
        """Findings of these severities."""
        return sum(count for kind, count in self.counts.items() if FACTS[kind].severity in severities)

    @property
    def verdict(self) -> Verdict:
        """Whether files and database hold the same thing."""
        if self.found(ERRORS):
            return "inconsistent"
        return "not_checked" if self.unchecked else "consistent"


ERRORS: frozenset[Severity] = frozenset({"error", "critical"})
WARNINGS: frozenset[Severity] = ERRORS | {"warning"}
