"""What LangSmith still has of a project-day, against its files: run by run, mapped to the form that files have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import UUID

from msgspec import Raw

from tracewatchd.edges.day_folder import DayFolder
from tracewatchd.edges.langsmith import LangSmith, Walk
from tracewatchd.edges.langsmith_pages import Window
from tracewatchd.model.certificate import DIFFERENCES_TOLD, Location, View, ViewState
from tracewatchd.model.errors import PoisonError
from tracewatchd.model.manifest import Manifest
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.upstream import FeedbackState, UpstreamRun, fingerprint, read_run

_DAY = timedelta(days=1)
_FILES_ASKED = 3
SHORTEST_RETENTION = timedelta(days=14)
"""LangSmith deletes no run that is younger (its base plan's retention)."""


@dataclass(slots=True)
class _Found:
    """What the pages of a day came to so far."""

    seen: set[UUID] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLook:
    """Looks at LangSmith's runs of days of one project, page by page."""

    langsmith: LangSmith
    project: str
    root: Path
    today: date

    async def __call__(self, files: Manifest) -> View:
        """One look at one day.

        Raises:
            TransientError, PermanentError: LangSmith did not answer, or refused; or the files cannot be read.
        """
        folder = await asyncio.to_thread(DayFolder, self.root, files.day)
        start = datetime.combine(files.day.day, time(), UTC)
        window = Window(await self.langsmith.project_id(self.project), start, start + _DAY)
        walk, found = Walk(self.langsmith, window), _Found()
        while not walk.ended:
            await asyncio.to_thread(_compare, await walk.next(), folder, files.day, found)
        return self._judged(files, found)

    def _judged(self, files: Manifest, found: _Found) -> View:
        gone = files.run_ids - found.seen
        may_be_deleted = self.today - files.day.day >= SHORTEST_RETENTION
        state: ViewState = "agrees"
        detail = ""
        if gone and not may_be_deleted:
            found.differences += [f"{run_id}: no longer in LangSmith" for run_id in gone]
        if found.differences:
            state = "differs"
        elif gone:
            state, detail = "no_longer_checkable", f"LangSmith has {len(gone)} of the day's runs no more"
        elif found.pending:
            state, detail = "pending", f"{found.pending} runs have not ended"
        return View(
            location=Location.LANGSMITH,
            state=state,
            runs=len(found.seen),
            differences=tuple(sorted(found.differences)[:DIFFERENCES_TOLD]),
            differing=len(found.differences),
            detail=detail,
        )


def _compare(page: Iterable[bytes | Raw], folder: DayFolder, day: ProjectDay, found: _Found) -> None:
    for body in page:
        try:
            run = read_run(body)
        except PoisonError as error:
            found.differences.append(f"a run that cannot become a file: {error}")
            continue
        if run.start.astimezone(UTC).date() != day.day or UUID(run.run_id) in found.seen:
            continue
        found.seen.add(UUID(run.run_id))
        found.pending += run.pending
        if difference := _difference(run, folder):
            found.differences.append(f"{run.run_id}: {difference}")


def _difference(run: UpstreamRun, folder: DayFolder) -> str:
    stored = folder.stored(run.run_id)
    if stored is None:
        return "no file"
    if fingerprint(stored.run) != fingerprint(bytes(run.body)):
        return "the file is of another state of the run"
    return "its feedback was not fetched" if run.has_feedback and stored.state is FeedbackState.NOT_FETCHED else ""


def named_project(root: Path, files: Manifest) -> str | None:
    """What the day's files call their project; None where those that are looked at name none.

    Raises:
        TransientError, PermanentError: the files cannot be read.
    """
    folder = DayFolder(root, files.day)
    run_ids = [file.run_id for file in files.files if file.run_id][:_FILES_ASKED]
    stored = [folder.stored(str(run_id)) for run_id in run_ids]
    return next((one.project for one in stored if one and one.project), None)
