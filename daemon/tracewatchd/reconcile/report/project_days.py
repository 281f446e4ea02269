"""Project-days laid out as people know days: a calendar for each project, a grid for each month."""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any

from tracewatchd.model.layout import day_of
from tracewatchd.reconcile.report.data import Data

_MOST_DAYS = 6_000
_UNKNOWN = {"verdict": "", "files": 0, "counts": {}}


@dataclass(frozen=True, slots=True)
class Cell:
    """One day: ``verdict`` is empty where the sweep did not look, ``why_due`` where it will not soon be deleted."""

    day: date
    directory: str
    verdict: str
    says: str
    why_due: str
    found: bool

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to say of it."""
        return self.verdict == "consistent" and not self.why_due and not self.found


@dataclass(frozen=True, slots=True)
class Month:
    """One month of one project; a day that nothing is known of is None."""

    first: date
    cells: tuple[Cell | None, ...]

    @property
    def column(self) -> int:
        """Where the first day stands in a week that begins on Monday, counted from 1."""
        return self.first.weekday() + 1


@dataclass(frozen=True, slots=True)
class ProjectCalendar:
    """The months of one project that hold a day to show."""

    source: str
    folder: str
    months: tuple[Month, ...]


@dataclass(slots=True)
class Calendar:
    """What is drawn, and how many days are not."""

    projects: list[ProjectCalendar] = field(default_factory=list)
    left_out: int = 0


def calendar_of(data: Data) -> Calendar:
    """Every project-day that the sweeps looked at or that will soon be deleted; the worst of too many."""
    cells = _cells(data)
    worst_first = sorted(cells.items(), key=lambda item: (item[1].is_quiet, -item[1].day.toordinal()))
    drawn = sorted(islice(worst_first, _MOST_DAYS), key=lambda item: item[0])
    by_project: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for (source, directory), cell in drawn:
        by_project[source, directory.rpartition("/")[0]].append(cell)
    projects = [ProjectCalendar(*project, months_of(days)) for project, days in by_project.items()]
    return Calendar(projects, len(cells) - len(drawn))


def _cells(data: Data) -> dict[tuple[str, str], Cell]:
    looked_at = {(day["source"], day["directory"]): day for day in data["days"]}
    due = {(day["source"], day["directory"]): day for day in data["due"]}
    found = {}
    for key in looked_at.keys() | due.keys():
        day = day_of(key[1].rpartition("/")[2].encode())
        if day is not None:
            found[key] = _cell(key[1], day, looked_at.get(key, _UNKNOWN), due.get(key))
    return found


def _cell(directory: str, day: date, looked_at: Mapping[str, Any], due: Mapping[str, Any] | None) -> Cell:
    told = [str(looked_at["verdict"]).replace("_", " ") or "not looked at", f"{looked_at['files']:,} files"]
    told += [f"{count:,} {kind}" for kind, count in looked_at["counts"].items()]
    why_due = f"deleted upstream {in_days(due['days_left'])}: {due['why']}" if due else ""
    says = ", ".join(filter(None, (*told, why_due)))
    return Cell(day, directory, looked_at["verdict"], says, why_due, bool(looked_at["counts"]))


def in_days(days: int) -> str:
    """When something happens that lies so many days ahead."""
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")


def months_of(cells: Sequence[Cell]) -> tuple[Month, ...]:
    """The days of one project, laid out in the months that hold any of them."""
    by_day = {cell.day: cell for cell in cells}
    firsts = sorted({day.replace(day=1) for day in by_day})
    return tuple(Month(first, tuple(by_day.get(day) for day in _days_of(first))) for first in firsts)


def _days_of(first: date) -> list[date]:
    return [first.replace(day=number + 1) for number in range(monthrange(first.year, first.month)[1])]
