"""What one sweep has found so far: states, findings, project-days, and a sigil for every path where one is wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from tracewatchd.model.findings import FACTS, DayResult, FileState, Finding, Kind, Severity, VerificationResult
from tracewatchd.reconcile.plan import Each, SweepPlan

_WORST_FIRST: Sequence[Severity] = ("critical", "error", "warning", "info")

_SIGILS: Mapping[FileState | Kind, str] = {
    FileState.LOADED: "=",
    FileState.SUPERSEDED: "=",
    FileState.QUARANTINED: "+",
    FileState.UNREADABLE: "!",
    FileState.PENDING: "*",
    Kind.MISSING: "+",
    Kind.MOVED: "-",
    Kind.GONE: "-",
    Kind.LOST: "-",
    Kind.FOREIGN: "-",
}
"""What is no difference: everything else is one."""


def sigil_of(what: FileState | Kind) -> str:
    """What a path is called that is in this state or of this kind."""
    return _SIGILS.get(what, "*")


class Tally:
    """Counts and keeps; at most ``findings_kept`` findings, the worst, in one order."""

    def __init__(
        self, source: str, plan: SweepPlan, *, findings_kept: int, began_at: datetime, each: Each | None
    ) -> None:
        self.result = VerificationResult(source, plan.depth, started_at=began_at, dry_run=plan.dry_run)
        self._kept = findings_kept
        self._each = each
        self._days: dict[str, DayResult] = {}

    @property
    def wants_each(self) -> bool:
        """Whether every path must be named."""
        return self._each is not None

    def day(self, directory: str) -> DayResult:
        """The result of one project-day."""
        return self._days.setdefault(directory, DayResult(directory))

    def name(self, subject: str, what: FileState | Kind) -> None:
        """Give a path its sigil."""
        if self._each:
            self._each(sigil_of(what), subject)

    def same(self, directory: str, files: int, paths: Iterable[str]) -> None:
        """Files of a directory that are loaded, all of them, without a look at each."""
        self.result.states[FileState.LOADED] += files
        self.day(directory).files += files
        if self._each:
            for path in paths:
                self.name(path, FileState.LOADED)

    def count(self, path: str, state: FileState, kind: Kind | None = None) -> None:
        """A file's state; ``kind`` is the difference that a pending file stands for."""
        self.result.states[state] += 1
        self.day(_directory_of(path)).files += 1
        self.name(path, kind if kind and state is FileState.PENDING else state)
        if state is FileState.QUARANTINED:
            self.found(Finding(Kind.QUARANTINED, path, FACTS[Kind.QUARANTINED].meaning))

    def unreadable_file(self, path: str, cause: str) -> None:
        """A run file that could not be read."""
        self.count(path, FileState.UNREADABLE)
        self.found(Finding(Kind.UNREADABLE, path, cause))

    def closed(self, path: str, cause: str, days: Collection[str]) -> None:
        """Something that the sweep could not look at, and the project-days of which that leaves something unchecked."""
        self.not_checked(f"{path}: {cause}", days)
        self.found(Finding(Kind.UNREADABLE, path, cause), path if path in days else None)
        if len(self.result.closed) < self._kept:
            self.result.closed[path] = cause

    def not_checked(self, sentence: str, days: Collection[str] = ()) -> None:
        """What could not be checked, in one sentence."""
        if sentence not in self.result.unchecked:
            self.result.unchecked.append(sentence)
        for directory in days:
            self.day(directory).checked = False

    def found(self, finding: Finding, directory: str | None = None) -> None:
        """A finding, of the directory that its path is in unless another one is named."""
        self.result.counts[finding.kind] += 1
        if finding.path and not directory:
            directory = _directory_of(finding.path)
        if directory in self._days:
            self._days[directory].counts[finding.kind] += 1
        self.result.findings.append(finding)
        if len(self.result.findings) > 2 * self._kept:
            self._keep_the_worst()

    def finish(self, took_s: float) -> VerificationResult:
        """The result, its findings and days in order."""
        self._keep_the_worst()
        self.result.days = [day for _, day in sorted(self._days.items())]
        self.result.took_s = round(took_s, 4)
        return self.result

    def _keep_the_worst(self) -> None:
        found = self.result.findings
        found.sort(key=_rank)
        del found[self._kept :]


def _directory_of(path: str) -> str:
    return path.rpartition("/")[0]


def _rank(finding: Finding) -> tuple[int, bool, str, str, str]:
    # Quarantined files can be many, stand for long and have a list of their own: they hide nothing else.
    is_listed_elsewhere = finding.kind is Kind.QUARANTINED
    severity = _WORST_FIRST.index(finding.severity)
    return severity, is_listed_elsewhere, finding.path or "", finding.kind, finding.run_id or ""
