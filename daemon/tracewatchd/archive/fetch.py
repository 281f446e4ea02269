"""``archive fetch``: the runs of one project-day, from LangSmith into run files.

A page is on disk before the next one is asked for. Feedback is asked for in full chunks only, so that a run whose
feedback is still to come is written as *not fetched* first, and again with its feedback: no file claims more than it
holds. What the state directory holds (`Hints`) saves time after an interruption and is never needed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from msgspec import Raw

from tracewatchd.archive.fetch_attachments import Attachments
from tracewatchd.archive.fetch_feedback import Feedback
from tracewatchd.archive.fetch_files import Files
from tracewatchd.archive.fetch_hints import DayHint, Hints, Standing
from tracewatchd.edges.day_folder import DayFolder
from tracewatchd.edges.langsmith import ContradictionError, LangSmith, Walk
from tracewatchd.edges.langsmith_pages import Window
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.events import FetchFinished, FetchIncomplete, Tell
from tracewatchd.model.fetching import FetchProgress, FetchResult
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.upstream import UpstreamRun

_DAY = timedelta(days=1)
_HINT_AGE = timedelta(days=1)
_RUNS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSetting:
    """What the fetches of one root have in common.

    ``state`` holds hints, a directory for each project; ``attachment_bytes`` is None where attachments are left;
    ``clock`` gives seconds that never go back.
    """

    langsmith: LangSmith
    source: str
    root: Path
    state: Path
    tell: Tell
    now: Callable[[], datetime]
    clock: Callable[[], float]
    pending_days: int
    attachment_bytes: int | None
    progress: Callable[[FetchProgress], None] = lambda _: None


class Fetch:
    """One fetch of one project-day.

    Args:
        project: the project's name in LangSmith.
        day: its folder, and the UTC day on which runs started.
        setting: what it works with.
    """

    def __init__(self, project: str, day: ProjectDay, setting: FetchSetting) -> None:
        self._project = project
        self._day = day
        self._setting = setting
        self._langsmith = setting.langsmith
        self._hints = Hints(setting.state / day.folder, setting.root)
        self._began_at = setting.now()
        self._feedback = Feedback(setting.langsmith)
        self._pending: dict[str, datetime] = {}

    async def run(self) -> FetchResult:
        """Fetch the whole day, going on where an interrupted fetch stopped.

        Raises:
            ConfigError: the folder holds another project.
            TransientError: LangSmith or the disk did not heal within the patience; what came is on disk.
            PermanentError: LangSmith refused, or files cannot be written.
        """
        result = await self._fetch(self._whole_day)
        if result.is_whole and not result.pending and self._window_of("").end <= self._began_at:
            self._hints.keep_fetched(self._day.day, self._began_at, result.runs)
        self._hints.forget(self._day.day)
        return result

    async def renew(self, run_ids: Sequence[str]) -> FetchResult:
        """Fetch these runs of the day again, as far as LangSmith still has them.

        Raises:
            ConfigError, TransientError, PermanentError: as for `run`.
        """
        return await self._fetch(lambda window: self._some(window, run_ids))

    async def _fetch(self, pages: Callable[[Window], AsyncGenerator[Sequence[bytes | Raw], None]]) -> FetchResult:
        setting = self._setting
        began_s, asked = setting.clock(), self._langsmith.requests
        folder = await asyncio.to_thread(DayFolder, setting.root, self._day)
        self._files = Files(folder, self._project, self._day.day, extracted_at=self._began_at, feedback=self._feedback)
        self._attachments = Attachments(self._langsmith, folder, setting.attachment_bytes, self._files.result)
        await asyncio.to_thread(self._files.begin)
        window = self._window_of(await self._langsmith.project_id(self._project))
        async with aclosing(pages(window)) as taken:
            async for page in taken:
                await self._take(page)
        await self._feedback.ask(rest=True)
        await asyncio.to_thread(self._files.complete)
        self._files.give_up_feedback()
        result = self._files.result
        result.given_up = self._remember_pending()
        result.requests = self._langsmith.requests - asked
        result.took_s = round(setting.clock() - began_s, 3)
        self._sum_up(result)
        return result

    def _window_of(self, project_id: str) -> Window:
        start = datetime.combine(self._day.day, time(), UTC)
        return Window(project_id, start, start + _DAY)

    async def _some(self, window: Window, run_ids: Sequence[str]) -> AsyncGenerator[Sequence[bytes | Raw], None]:
        for at in range(0, len(run_ids), _RUNS_AT_ONCE):
            yield (await self._langsmith.runs(window, run_ids[at : at + _RUNS_AT_ONCE])).runs

    async def _whole_day(self, window: Window) -> AsyncGenerator[Sequence[bytes | Raw], None]:
        """Page by page; how far it got is remembered when a page has been taken."""
        walk, page = await self._begin(window)
        while True:
            yield page
            if walk.cursor is None:
                break
            self._keep_hint(window, walk.cursor)
            page = await walk.next()

    async def _begin(self, window: Window) -> tuple[Walk, Sequence[bytes | Raw]]:
        """The first page, of the whole day or of what an interrupted fetch left of it."""
        if hint := self._usable_hint(window):
            walk = Walk(self._langsmith, window, hint.cursor)
            try:
                page = await walk.next()
            except (PermanentError, ContradictionError):  # too old a cursor; anything else the first page meets, too
                pass
            else:
                await asyncio.to_thread(self._files.go_on, hint.owed)
                self._feedback.want(hint.owed)
                return walk, page
        walk = Walk(self._langsmith, window)
        return walk, await walk.next()

    def _usable_hint(self, window: Window) -> DayHint | None:
        hint = self._hints.day(self._day.day)
        if hint is None or hint.project_id != window.project_id or self._files.count < hint.files:
            return None
        return hint if self._began_at - hint.began_at < _HINT_AGE else None

    def _keep_hint(self, window: Window, cursor: str) -> None:
        """Remember where to go on, unless going on from there would miss something.

        Pages go from the day's end backwards: while it is not over, runs start before the first page. And what failed
        on a page (feedback, attachments) is asked for again only with that page.
        """
        if window.end <= self._began_at and not (self._feedback.error or self._attachments.error):
            hint = DayHint(
                root=self._hints.root,
                project_id=window.project_id,
                files=self._files.count,
                began_at=self._began_at,
                cursor=cursor,
                owed=self._files.owed,
            )
            self._hints.keep(self._day.day, hint)

    async def _take(self, page: Sequence[bytes | Raw]) -> None:
        """Put a page on disk, with the feedback that can be asked for by now."""
        runs = await asyncio.to_thread(self._files.accept, page)
        self._feedback.want(run.run_id for run in runs if run.has_feedback)
        await self._feedback.ask()
        await asyncio.to_thread(self._files.place, runs)
        await asyncio.to_thread(self._files.complete)
        self._pending.update((run.run_id, run.start) for run in runs if run.pending)
        await self._attachments.fetch(runs)
        self._show(runs)

    def _show(self, runs: Sequence[UpstreamRun]) -> None:
        window = self._window_of("")
        oldest = min((run.start for run in runs), default=window.start)
        self._setting.progress(
            FetchProgress(
                project=self._project,
                day=self._day.day,
                runs=self._files.result.runs,
                requests=self._langsmith.requests,
                share=(window.end - oldest) / _DAY,
                left=self._langsmith.left(window),
            )
        )

    def _remember_pending(self) -> int:
        """Which runs are to be fetched again; returns how many are given up because of their age."""
        standing = self._hints.standing()
        oldest = self._began_at - timedelta(days=self._setting.pending_days)
        young = {run_id: start for run_id, start in self._pending.items() if start >= oldest}
        others = {run_id: start for run_id, start in standing.pending.items() if start.date() != self._day.day}
        last_day = max(self._day.day, standing.last_day or self._day.day)
        self._hints.keep_standing(Standing(self._hints.root, last_day, others | young))
        return len(self._pending) - len(young)

    def _sum_up(self, result: FetchResult) -> None:
        source, project, day = self._setting.source, self._project, self._day.day.isoformat()
        finished = FetchFinished(
            source=source,
            project=project,
            day=day,
            written_files=result.written,
            replaced_files=result.replaced,
            unchanged_files=result.unchanged,
            pending_runs=result.pending,
            requests=result.requests,
            took_s=result.took_s,
        )
        self._setting.tell(finished)
        if not result.is_whole:
            incomplete = FetchIncomplete(
                source=source,
                project=project,
                day=day,
                bad_runs=result.errors,
                without_feedback_runs=result.feedback_not_fetched,
                missing_files=result.attachments_missing,
                error=self._feedback.error or self._attachments.error,
            )
            self._setting.tell(incomplete)


def days_since(last: date | None, today: date, overlap_days: int) -> list[date]:
    """The days that ``--since-last`` means: from some before the last fetched one up to today; none without one."""
    if last is None:
        return []
    first = min(last, today) - timedelta(days=overlap_days)
    return [first + timedelta(days=number) for number in range((today - first).days + 1)]


def pending_before(standing: Standing, first: date, now: datetime, pending_days: int) -> Mapping[date, list[str]]:
    """Runs that had not ended, by day, as far as they are young enough and no whole fetch of their day is due."""
    oldest = now - timedelta(days=pending_days)
    found: defaultdict[date, list[str]] = defaultdict(list)
    for run_id, start in standing.pending.items():
        if oldest <= start and start.astimezone(UTC).date() < first:
            found[start.astimezone(UTC).date()].append(run_id)
    return found
