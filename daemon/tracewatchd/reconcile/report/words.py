"""What reports for people say in words: the verdict, what it rests on, what each kind of finding means."""

from __future__ import annotations

from dataclasses import dataclass

from tracewatchd.model.findings import ERRORS, FACTS, Kind, Verdict
from tracewatchd.reconcile.report.data import Data, due_sentences, plural, worst_kinds_first

_WORDS: dict[Verdict, str] = {
    "consistent": "Consistent",
    "inconsistent": "Inconsistent",
    "not_checked": "Not checked",
}
_MEANS = {
    "quick": "by size and times; no file was read",
    "full": "every file was read",
    "deep": "every file was read and compared with its whole row",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """One kind of finding: how many, how bad, what it means and what to do."""

    kind: str
    severity: str
    count: int
    fixed: int
    meaning: str
    remedy: str


def verdict_word(verdict: Verdict) -> str:
    """The verdict as a heading."""
    return _WORDS[verdict]


def sentence(data: Data) -> str:
    """The verdict in one sentence."""
    if data["verdict"] == "inconsistent":
        return _disagreement(data)
    if data["verdict"] == "not_checked":
        return "Something could not be checked, so this is no all-clear."
    basis = f" ({_MEANS[data['depth']]})" if data["depth"] in _MEANS else ""
    return f"Files and database hold the same thing: {_looked_at(data)} were compared{basis}."


def _disagreement(data: Data) -> str:
    bad = sum(count for kind, count in data["counts"].items() if FACTS[Kind(kind)].severity in ERRORS)
    days = sum(day["verdict"] == "inconsistent" for day in data["days"])
    where = f" in {days:,} of {plural(len(data['days']), 'project-day')}" if days else ""
    return f"Files and database disagree: {plural(bad, 'error')}{where}."


def _looked_at(data: Data) -> str:
    return f"{plural(data['files'], 'run file')} in {plural(len(data['days']), 'project-day')}"


def warnings_of(data: Data) -> list[str]:
    """What else a reader must know before trusting the verdict."""
    told = due_sentences([day["days_left"] for day in data["due"]], data["past"])
    if data["dry_run"]:
        told.append("This was a dry run: nothing was repaired; what is told as repaired would be")
    return told


def explained(data: Data) -> list[Explained]:
    """Each kind that was found or repaired, the worst first."""
    counts, fixed = data["counts"], data["fixed"]
    return [
        Explained(kind, facts.severity, counts.get(kind, 0), fixed.get(kind, 0), facts.meaning, facts.remedy)
        for kind, facts in ((str(kind), FACTS[kind]) for kind in worst_kinds_first())
        if kind in counts or kind in fixed
    ]
