"""The project-days of the page as months of a calendar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tracewatchd.model.daemon_status import DayNow
from tracewatchd.model.layout import day_of
from tracewatchd.reconcile.report.project_days import Cell, ProjectCalendar, months_of
from tracewatchd.service.http.judge import in_days, plural

_MOST_MONTHS = 6


@dataclass(frozen=True, slots=True)
class Marks:
    """The calendar, and of which of its days there is a certificate. ``hidden`` counts months that are not drawn."""

    projects: tuple[ProjectCalendar, ...]
    certified: frozenset[tuple[str, str]]
    quarantined: frozenset[tuple[str, str]]
    hidden: int


def marks_of(days: Sequence[DayNow]) -> Marks:
    """The last months of each project."""
    by_project: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for day in days:
        folder, _, name = day.directory.rpartition("/")
        date = day_of(name.encode())
        if date is not None:
            cell = Cell(date, day.directory, day.verdict, _says(day), day.why_due, found=False)
            by_project[day.source, folder].append(cell)
    whole = [ProjectCalendar(*project, months_of(cells)) for project, cells in by_project.items()]
    drawn = tuple(ProjectCalendar(one.source, one.folder, one.months[-_MOST_MONTHS:]) for one in whole)
    return Marks(
        drawn,
        frozenset((day.source, day.directory) for day in days if day.certified_at),
        frozenset((day.source, day.directory) for day in days if day.quarantined_files),
        sum(len(one.months) for one in whole) - sum(len(one.months) for one in drawn),
    )


def _says(day: DayNow) -> str:
    said = [day.verdict.replace("_", " ") or "loaded, not looked at yet"]
    if day.verified_at:
        said[0] += f" by the {day.depth} sweep of {day.verified_at:%-d %B, %H:%M}"
        said.append(plural(day.files, "file"))
    if day.quarantined_files:
        said.append(f"{day.quarantined_files:,} in quarantine")
    if day.certified_at:
        said.append(f"certified {day.certified_at:%-d %B}")
    if day.days_left is not None:
        said.append(f"deleted upstream {in_days(day.days_left)}: {day.why_due}")
    return ", ".join(said)
