"""What a sweep can find, how bad it is, and the typed result that says whether files and database agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
    ALTERED = "altered"
    ORPHAN = "orphan"
    LOST = "lost"
    MISMATCH = "mismatch"
    MOVED = "moved"
    GONE = "gone"
    FOREIGN = "foreign"
    QUARANTINED = "quarantined"
    MISPLACED = "misplaced"
    OUTDATED = "outdated"
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
    Kind.ALTERED: KindFacts(
        "critical",
        "the file's bytes are others than those that were loaded, although its size and times say that it is the same",
        "find out what changed it; `--fix altered` loads it as it is now, a copy from the zip brings back what it was",
    ),
    Kind.ORPHAN: KindFacts(
        "critical",
        "the ledger says loaded, but there is no such row; the file is still there",
        "run `tracewatchd reconcile --once`, which loads it again; then find out who removes rows",
    ),
    Kind.LOST: KindFacts(
        "critical",
        "the ledger says loaded, but there is neither row nor file",
        "restore the day from its zip, then run `tracewatchd reconcile --once`; `--fix gone-rows` forgets the file",
    ),
    Kind.MISMATCH: KindFacts(
        "critical",
        "the row is neither what this file says nor a newer version that a file explains",
        "find out who else writes to `runs`; `--fix mismatch` replaces the row by what the run's files say",
    ),
    Kind.MOVED: KindFacts("info", "the file was moved; its row is explained by the file's new place", "nothing"),
    Kind.GONE: KindFacts(
        "warning",
        "a file that was loaded is no longer there; its row stays",
        "nothing, if it was removed on purpose; `--fix gone` writes it again, `--fix gone-rows` removes its rows",
    ),
    Kind.FOREIGN: KindFacts(
        "warning",
        "a row in `runs` that no file explains",
        "find out who else writes to `runs`; it is never removed by us",
    ),
    Kind.QUARANTINED: KindFacts(
        "warning", "a run file that cannot be stored", "`tracewatchd quarantine list` says why for each"
    ),
    Kind.MISPLACED: KindFacts(
        "warning",
        "a run file in the folder of another day than that of its run",
        "move it to the folder of its day, so that archives of that day hold it",
    ),
    Kind.OUTDATED: KindFacts(
        "info", "a row that older rules derived from its file", "`--fix outdated` derives it again"
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
class Difference:
    """One place where file and row differ: a JSON pointer below ``/data`` or ``/metadata``, or ``/columns/<name>``.

    Both values are JSON text, shortened for people; None where that side has nothing at the place.
    """

    pointer: str
    in_file: str | None
    in_row: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A disagreement that a second look confirmed; what could be repaired is no finding any more.

    ``path`` is None where no file is concerned (foreign), ``run_id`` where no run is known. ``held`` says that a fix
    of it was rolled back and that nothing repairs it until that fix is released.
    """

    kind: Kind
    path: str | None
    detail: str
    run_id: str | None = None
    held: bool = False
    differences: tuple[Difference, ...] = ()

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return FACTS[self.kind].severity


@dataclass(slots=True)
class DayResult:
    """One project-day of a sweep: ``directory`` is ``<project folder>/<YYYY-MM-DD>``."""

    directory: str
    files: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    checked: bool = True

    @property
    def verdict(self) -> Verdict:
        """Whether files and database hold the same thing of this day."""
        return _verdict(self.counts, complete=self.checked)


@dataclass(frozen=True, slots=True)
class DueDay:
    """A project-day that is not verified whole and that LangSmith will delete in ``days_left`` days (UTC).

    ``project`` is named as it is configured; ``directory`` is where the day's files lie, or would.
    """

    source: str
    project: str
    directory: str
    day: str
    days_left: int
    why: str


@dataclass(slots=True)
class VerificationResult:
    """What a sweep found, after repair.

    ``states`` counts run files; ``findings`` holds the worst ones, ``counts`` all of them by kind; ``outcomes`` counts
    what the line made of the paths that the sweep offered and ``fixed`` the findings that were repaired (with
    ``dry_run`` those that would be); ``days`` holds every project-day that was looked at, in byte order; ``closed``
    holds the first paths that the sweep itself could not look at, and why (of a file that could not be read the line
    tells). ``due`` are the project-days that LangSmith will soon delete; ``past`` counts those that it has deleted
    before they were verified. ``unchecked`` says, one sentence each, what could not be checked: where there is any,
    the verdict is ``not_checked``, unless findings already say ``inconsistent``.
    """

    source: str
    depth: Depth
    started_at: datetime | None = None
    states: Counter[FileState] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    fixed: Counter[Kind] = field(default_factory=Counter)
    days: list[DayResult] = field(default_factory=list)
    due: Sequence[DueDay] = ()
    past: int = 0
    dry_run: bool = False
    repair_id: str | None = None
    ignored: int = 0
    directories: int = 0
    took_s: float = 0.0

    @property
    def files(self) -> int:
        """Run files that were seen."""
        return sum(self.states.values())

    def found(self, severities: frozenset[Severity]) -> int:
        """Findings of these severities."""
        return found(self.counts, severities)

    @property
    def verdict(self) -> Verdict:
        """Whether files and database hold the same thing."""
        return _verdict(self.counts, complete=not self.unchecked)


ERRORS: frozenset[Severity] = frozenset({"error", "critical"})
WARNINGS: frozenset[Severity] = ERRORS | {"warning"}


def found(counts: Counter[Kind], severities: frozenset[Severity]) -> int:
    """How many of these findings have one of these severities."""
    return sum(count for kind, count in counts.items() if FACTS[kind].severity in severities)


def _verdict(counts: Counter[Kind], *, complete: bool) -> Verdict:
    if found(counts, ERRORS):
        return "inconsistent"
    return "consistent" if complete else "not_checked"
