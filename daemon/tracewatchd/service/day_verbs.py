"""The verbs of a full sweep of one project's days, made from the settings: what each did, as counts and advice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict

from tracewatchd.archive.fetch_hints import Hints
from tracewatchd.archive.load import Load, find
from tracewatchd.archive.steps import in_thread
from tracewatchd.archive.whole_day import Verb
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.results import LoadResult
from tracewatchd.model.selection import Selection
from tracewatchd.model.whole_day import Done, Step
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place
from tracewatchd.service.late import LateAssembly
from tracewatchd.service.memory import give_back_memory

Show = Callable[[ProjectDay, Step, float, float], None]
"""Shows how far a step of a day is: what is done, and what there is to do."""


class DayVerbs:
    """What full sweeps of days of one project do.

    Args:
        archiving: what is made from the settings.
        place: the root that the days lie in.
        project: the project's name in LangSmith.
        database: what days are loaded into.
        resume: whether a day that was fetched to its end after it was over is not asked for again.
        dry_run: whether it is only said what would be done.
        show: shows progress.
    """

    def __init__(
        self,
        archiving: Archiving,
        place: Place,
        project: str,
        database: LateAssembly,
        *,
        resume: bool,
        dry_run: bool,
        show: Show,
    ) -> None:
        self._archiving = archiving
        self._place = place
        self._project = project
        self._database = database
        self._resume = resume
        self._dry_run = dry_run
        self._show = show

    @property
    def verbs(self) -> Mapping[Step, Verb]:
        """Each step's verb."""
        return {Step.FETCH: self.fetch, Step.ZIP: self.zip, Step.UPLOAD: self.upload, Step.TO_DB: self.to_db}

    async def fetch(self, day: ProjectDay) -> Done:
        """From LangSmith into files."""
        from tracewatchd.archive.fetch_days import FetchDays  # noqa: PLC0415 - as in service/archiving.py

        if self._resume and await asyncio.to_thread(self._was_fetched, day):
            return Done(counts={"fetched_before": 1})
        if self._dry_run:
            return Done(counts={"would_fetch": 1})
        async with self._archiving.langsmith() as langsmith:
            setting = self._archiving.fetch_setting(
                langsmith,
                self._place,
                progress=lambda progress: self._show(day, Step.FETCH, progress.share, 1.0),
            )
            result = await FetchDays(self._project, day.folder, setting).run([day.day], {})
        if not result.is_whole:
            return Done(
                counts=_numbers(asdict(result)),
                complaint="the day was not fetched whole: " + _said(asdict(result), _FETCH_GAPS),
                advice="the same command fetches what is missing; the day's _errors.json says which runs are bad",
            )
        return Done(counts=_numbers(asdict(result)))

    def _was_fetched(self, day: ProjectDay) -> bool:
        hints = Hints(self._archiving.fetch_hints / day.folder, self._place.folder.root)
        return hints.was_fetched(day.day, len(self._place.folder.survey(day.directory).names))

    async def zip(self, day: ProjectDay) -> Done:
        """From files into a zip."""
        give_back_memory()  # a zip's directory needs memory of another kind than what came before
        packing = self._archiving.packing(self._place)
        result = await in_thread(
            lambda go_on: packing.carry_out(day, go_on, dry_run=self._dry_run),
            lambda done, known: self._show(day, Step.ZIP, done, known),
        )
        return Done(counts={"outcome": result.outcome.value, **_numbers(asdict(result))})

    async def upload(self, day: ProjectDay) -> Done:
        """From the zip to Drive."""
        give_back_memory()
        async with self._archiving.drive() as drive:
            uploads = self._archiving.upload(drive)
            if self._dry_run:
                result = await uploads.foresee(day)
            else:
                result = await uploads.carry_out(
                    day,
                    progress=lambda progress: self._show(day, Step.UPLOAD, progress.done_bytes, progress.size_bytes),
                )
        return Done(counts={"outcome": result.what, **_numbers(asdict(result))})

    async def to_db(self, day: ProjectDay) -> Done:
        """From files into the database."""
        assembly = await self._database.get()
        found = await assembly.offload(lambda: find(self._place.folder, Selection(day.folder, day.day, day.day)))
        load = Load(self._place.source, self._place.folder, found, offload=assembly.offload, tell=assembly.tell)
        if self._dry_run:
            return Done(counts=_numbers(asdict(await load.foresee(assembly.database, assembly.rules()))))
        result = await load.run(
            assembly.line(self._place),
            lambda progress: self._show(day, Step.TO_DB, progress.done, progress.found),
        )
        return Done(
            counts=_numbers(asdict(result)),
            complaint="not every file was loaded: " + _said(asdict(result), _LOAD_GAPS) if _is_short(result) else "",
            advice="`tracewatchd quarantine list` says what is wrong with files that cannot be stored",
        )


_FETCH_GAPS = ("errors", "feedback_not_fetched", "attachments_missing")
_LOAD_GAPS = ("quarantined", "unreadable", "pending")


def _numbers(values: Mapping[str, object]) -> dict[str, int | str | None]:
    return {name: value for name, value in values.items() if isinstance(value, int) and value}


def _said(values: Mapping[str, object], names: tuple[str, ...]) -> str:
    return ", ".join(f"{values[name]} {name.replace('_', ' ')}" for name in names if values[name])


def _is_short(result: LoadResult) -> bool:
    return bool(result.quarantined or result.unreadable or result.pending)
