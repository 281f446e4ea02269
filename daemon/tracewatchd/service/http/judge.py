"""Whether the daemon is well, in one word and one sentence, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from tracewatchd.model.daemon_status import (
    DatabaseAnswers,
    DatabaseNow,
    Health,
    Seriousness,
    SourceNow,
    SweepNow,
    Trouble,
)
from tracewatchd.model.findings import ERRORS, FACTS, Kind

LATE_S = 60.0
"""Age of the oldest waiting file from which the line counts as late."""
_NAMED = 3
_SWEEP = "`tracewatchd reconcile --once` compares everything now and puts right what reading files again puts right."


def troubles_of(
    *, stuck: str, database: DatabaseNow, sources: Sequence[SourceNow], answers: DatabaseAnswers
) -> tuple[Trouble, ...]:
    """Everything that is not as it should be, the worst first."""
    found = [*_of_the_work(stuck, database)]
    for source in sources:
        found += _of_source(source, late_counts=database.up)
    found += _of_days(answers, sources)
    found += _of_quarantine(answers, sources)
    order: Sequence[Seriousness] = ("error", "warning", "info")
    return tuple(sorted(found, key=lambda trouble: order.index(trouble.severity)))


def _of_the_work(stuck: str, database: DatabaseNow) -> Iterator[Trouble]:
    if stuck:
        yield _error(f"The work stands still: {stuck}.", "Restart the daemon; nothing is lost by it.")
    if not database.up:
        yield _error(
            f"The database has not answered for {spoken_s(database.outage_s)}: {database.error.rstrip('.')}."
            " New files wait where they lie; nothing is lost.",
            f"See that it runs and can be reached: {database.name}. The work goes on by itself.",
        )


def _of_source(source: SourceNow, *, late_counts: bool) -> Iterator[Trouble]:
    if source.missing_since:
        yield _error(
            f"The root {source.root} is not there; nothing in it counts as gone.",
            "Mount it, or take it out of watch.roots.",
        )
    bad = {kind: count for kind, count in source.findings.items() if FACTS[Kind(kind)].severity in ERRORS}
    if bad:
        worst = max(bad, key=lambda kind: (FACTS[Kind(kind)].severity == "critical", bad[kind]))
        yield _error(
            f"Files and database disagree in {source.source}: {_counted(bad)}.",
            f"For {worst}: {FACTS[Kind(worst)].remedy}.",
        )
    for sweep in source.sweeps:
        if sweep.error:
            yield _warning(f"The last {sweep.depth} sweep of {source.source} failed: {sweep.error}.", _SWEEP)
        elif sweep.verdict == "not_checked":
            yield _warning(f"The last {sweep.depth} sweep of {source.source} could not check everything.", _SWEEP)
    if late_counts and source.oldest_s >= LATE_S:
        yield _warning(
            f"A file of {source.source} has waited for {spoken_s(source.oldest_s)}.",
            "See the log for batch.retried and file.unreadable; a first load may take its time.",
        )


def _of_days(answers: DatabaseAnswers, sources: Sequence[SourceNow]) -> Iterator[Trouble]:
    told = {source.source for source in sources if source.findings}
    bad = [day.directory for day in answers.days if day.verdict == "inconsistent" and day.source not in told]
    if bad:
        yield _error(f"Files and database disagree in {plural(len(bad), 'project-day')}: {_named(bad)}.", _SWEEP)
    due = [day for day in answers.days if day.days_left is not None]
    if due:
        soonest = min(day.days_left for day in due if day.days_left is not None)
        yield _warning(
            f"LangSmith deletes {plural(len(due), 'project-day')} that {_be(len(due))} not proved to be kept here,"
            f" the first {in_days(soonest)}: {_named([day.directory for day in due])}.",
            "Export what is not here, then `tracewatchd reconcile --once --depth full`.",
        )


def _of_quarantine(answers: DatabaseAnswers, sources: Sequence[SourceNow]) -> Iterator[Trouble]:
    files = quarantined_files(answers, sources)
    if files:
        yield _warning(
            f"{plural(files, 'file')} cannot be stored and {_be(files)} in quarantine; all others are not concerned.",
            "`tracewatchd quarantine list` says why for each; `tracewatchd quarantine retry --all` tries them again.",
        )


def quarantined_files(answers: DatabaseAnswers, sources: Sequence[SourceNow]) -> int:
    """How many files are in quarantine: what the database said, else what the last quick sweeps counted."""
    if answers.asked_at:
        return sum(answers.quarantined_files.values())
    return sum(source.states.get("quarantined", 0) for source in sources)


def health_of(phase: str, troubles: Sequence[Trouble], sweeps: Sequence[SweepNow]) -> Health:
    """The one word. Where no sweep has been whole yet, nothing is known to be well."""
    severities = {trouble.severity for trouble in troubles}
    if "error" in severities:
        return "unhealthy"
    if phase in {"starting", "stopping"} or (phase == "watching" and not _last_whole(sweeps)):
        return "unknown"
    return "attention" if "warning" in severities else "healthy"


def sentence_of(phase: str, doing: str, troubles: Sequence[Trouble], sweeps: Sequence[SweepNow], now: datetime) -> str:
    """The one sentence: the worst trouble, else what the daemon vouches for."""
    if troubles and troubles[0].severity != "info":
        more = len(troubles) - 1
        return troubles[0].sentence + (f" And {plural(more, 'other thing')} below." if more else "")
    if phase == "standby":
        return f"Another daemon does the work; this one takes over when it ends ({doing})."
    last = _last_whole(sweeps)
    if phase != "watching" or not last:
        return {
            "starting": "The daemon is starting: nothing was compared yet.",
            "stopping": "The daemon is stopping: what is under way is committed first.",
        }.get(phase, "The first sweep is under way: nothing was compared yet.")
    files = sum(sweep.files for sweep in sweeps if sweep.depth == "quick")
    ago = spoken_s((now - last.at).total_seconds())
    return f"Every run file is a row: {plural(files, 'run file')} compared {ago} ago, and what comes is loaded at once."


def _last_whole(sweeps: Sequence[SweepNow]) -> SweepNow | None:
    whole = [sweep for sweep in sweeps if sweep.depth == "quick" and not sweep.error and sweep.verdict != "not_checked"]
    return min(whole, key=lambda sweep: sweep.at, default=None)


def _error(sentence: str, do: str) -> Trouble:
    return Trouble(severity="error", sentence=sentence, do=do)


def _warning(sentence: str, do: str) -> Trouble:
    return Trouble(severity="warning", sentence=sentence, do=do)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def plural(count: int, noun: str) -> str:
    """How many of something, in words."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def in_days(days: int) -> str:
    """When something happens that lies so many days ahead."""
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")


def spoken_s(seconds: float) -> str:
    """A length of time as people say it, cut to one unit: ``45 s``, ``12 min``, ``3 h``, ``2 days``."""
    for limit_s, unit_s, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit_s:
            return f"{max(0, seconds) // unit_s:.0f} {unit}"
    return f"{seconds // 86_400:.0f} days"
