"""Attachments of runs: downloaded beside the run files, or counted as not archived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from tracewatchd.edges.day_folder import DayFolder
from tracewatchd.edges.langsmith import LangSmith
from tracewatchd.edges.writing import GrowingFile
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.fetching import FetchResult
from tracewatchd.model.upstream import UpstreamRun


class Attachments:
    """Downloads what is not there yet. A failure costs the attachment, never the run.

    After a failure that did not heal nothing more is downloaded: each further one would wait as long.

    Args:
        langsmith: whom to ask.
        folder: the day's directory.
        most_bytes: the size above which one is not downloaded; None where all are left.
        result: counts.
    """

    def __init__(self, langsmith: LangSmith, folder: DayFolder, most_bytes: int | None, result: FetchResult) -> None:
        self._langsmith = langsmith
        self._folder = folder
        self._most_bytes = most_bytes
        self._result = result
        self._gave_up = False
        self.error = ""

    async def fetch(self, runs: Iterable[UpstreamRun]) -> None:
        """Download the attachments of these runs.

        Raises:
            TransientError, PermanentError: there is no place to write them to.
        """
        for run in runs:
            for name, url in run.attachments.items():
                await self._fetch(run.run_id, name, url)

    async def _fetch(self, run_id: str, name: str, url: str) -> None:
        if self._most_bytes is None:
            self._result.attachments_left += 1
            return
        path = await asyncio.to_thread(self._folder.attachment, run_id, name)
        if path is None:
            self._result.attachments_kept += 1
        elif not self._gave_up and await self._arrived(url, lambda: GrowingFile(path), self._most_bytes):
            self._result.attachments += 1
        else:
            self._result.attachments_missing += 1

    async def _arrived(self, url: str, begin: Callable[[], GrowingFile], most_bytes: int) -> bool:
        try:
            await self._langsmith.download(url, begin, most_bytes=most_bytes)
        except (TransientError, PermanentError) as error:
            self.error = self.error or str(error)
            self._gave_up = isinstance(error, TransientError)
            return False
        return True
