"""Several project-days of one project, fetched one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from tracewatchd.archive.fetch import Fetch, FetchSetting
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.events import FetchFailed
from tracewatchd.model.fetching import FetchResult
from tracewatchd.model.project_day import ProjectDay


class FetchDays:
    """The fetches of days of one project; a day that fails does not stop the others.

    Args:
        project: the project's name in LangSmith.
        folder: its folder.
        setting: what fetches work with.
    """

    def __init__(self, project: str, folder: str, setting: FetchSetting) -> None:
        self._project = project
        self._folder = folder
        self._setting = setting
        self._result = FetchResult()
        self._errors: list[TransientError | PermanentError] = []

    async def run(self, days: Sequence[date], renewed: Mapping[date, Sequence[str]]) -> FetchResult:
        """Fetch these days wholly, and of others these runs alone.

        Raises:
            ConfigError: the folder holds another project.
            TransientError, PermanentError: no day could be fetched; the last one's error.
        """
        for day in days:
            await self._attempt(day, None)
        for day, run_ids in renewed.items():
            await self._attempt(day, run_ids)
        if self._errors and not self._result.days:
            raise self._errors[-1]
        return self._result

    async def _attempt(self, day: date, run_ids: Sequence[str] | None) -> None:
        fetch = Fetch(self._project, ProjectDay(self._folder, day), self._setting)
        try:
            self._result.add(await (fetch.run() if run_ids is None else fetch.renew(run_ids)))
        except (TransientError, PermanentError) as error:
            self._errors.append(error)
            self._result.failed.append(f"{day}: {error}")
            self._setting.tell(
                FetchFailed(
                    source=self._setting.source,
                    project=self._project,
                    day=day.isoformat(),
                    error=str(error),
                    hint=error.hint,
                )
            )
