"""What archive verbs are made of that need no database."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tracewatchd.archive.pack import Packing
from tracewatchd.archive.restore import Restoring
from tracewatchd.edges.pace import Pace
from tracewatchd.model.drive import MY_DRIVE
from tracewatchd.model.errors import ConfigError
from tracewatchd.model.events import Tell
from tracewatchd.model.fetching import FetchProgress
from tracewatchd.model.layout import encode_path
from tracewatchd.model.project_day import folder_of
from tracewatchd.service.assemble import Place, place_of
from tracewatchd.service.memory import give_back_memory
from tracewatchd.settings import Settings
from tracewatchd.store.embedded import default_directory

if TYPE_CHECKING:
    from tracewatchd.archive.fetch import FetchSetting
    from tracewatchd.archive.upload import Upload
    from tracewatchd.edges.drive import Drive
    from tracewatchd.edges.drive_http import Http, Patience
    from tracewatchd.edges.langsmith import LangSmith


class Archiving:
    """Everything that is made from the settings for verbs between LangSmith, files, zips and Drive."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self.settings = settings
        self.tell = tell
        self.places = tuple(map(place_of, settings.watch.roots))
        self.pace = Pace(clock=time.monotonic, sleep=asyncio.sleep)

    @property
    def zip_dir(self) -> Path:
        """Where zips lie: ``<project folder>/<YYYY-MM-DD>.zip`` below it."""
        return self.settings.archive.zip_dir or default_directory(os.environ) / "zips"

    @property
    def state_dir(self) -> Path:
        """Where hints lie whose loss costs time only: cursors and upload sessions."""
        return self.settings.archive.state_dir or default_directory(os.environ) / "archive"

    @property
    def fetch_hints(self) -> Path:
        """Where hints of fetches lie, a directory for each project."""
        return self.state_dir / "fetch"

    def packing(self, place: Place) -> Packing:
        """Zips of the days of one root."""
        return Packing(
            source=place.source,
            root=place.folder.root,
            zip_dir=self.zip_dir,
            max_file_bytes=self.settings.ingest.max_file_bytes,
            tell=self.tell,
        )

    def restoring(self, place: Place) -> Restoring:
        """Days that come back into one root."""
        return Restoring(
            source=place.source,
            root=place.folder.root,
            max_file_bytes=self.settings.ingest.max_file_bytes,
            tell=self.tell,
        )

    # What talks to others is imported where it is needed: it takes a third of a second, and most commands do not.

    @asynccontextmanager
    async def langsmith(self) -> AsyncIterator[LangSmith]:
        """LangSmith, for the length of a block; all blocks share one budget of requests.

        Raises:
            ConfigError: no key is set.
        """
        from tracewatchd.edges.langsmith import LangSmith  # noqa: PLC0415 - as above
        from tracewatchd.edges.langsmith_http import Access  # noqa: PLC0415 - as above

        chosen = self.settings.langsmith
        if chosen.api_key is None:
            raise ConfigError(
                "langsmith.api_key: no key is set",
                hint="Set LANGSMITH_API_KEY, or put the key into a secret file tracewatchd_langsmith__api_key.",
            )
        access = Access(
            endpoint=chosen.endpoint,
            api_key=chosen.api_key.get_secret_value(),
            workspace_id=str(chosen.workspace_id) if chosen.workspace_id else None,
            request_timeout_s=chosen.request_timeout_s,
            patience_s=chosen.patience_s,
            answer_bytes=chosen.answer_bytes,
        )
        give_back_memory()
        async with LangSmith(access, self.pace, self.tell) as langsmith:
            yield langsmith

    def fetch_setting(
        self,
        langsmith: LangSmith,
        place: Place,
        *,
        attachments: bool = True,
        progress: Callable[[FetchProgress], None] = lambda _: None,
    ) -> FetchSetting:
        """What fetches into a root work with."""
        from tracewatchd.archive.fetch import FetchSetting  # noqa: PLC0415 - as above

        return FetchSetting(
            langsmith=langsmith,
            source=place.source,
            root=place.folder.root,
            state=self.fetch_hints,
            tell=self.tell,
            now=lambda: datetime.now(UTC),
            clock=time.monotonic,
            pending_days=self.settings.archive.pending_days,
            attachment_bytes=self.settings.langsmith.attachment_bytes if attachments else None,
            progress=progress,
        )

    def since_last(self, place: Place, folder: str, today: date) -> tuple[Sequence[date], Mapping[date, Sequence[str]]]:
        """What is to be fetched again of a project: whole days, and of earlier days the runs that had not ended.

        Where no hint says which day was the last, the newest day on disk was.

        Raises:
            ConfigError: nothing of the project has been fetched yet.
            TransientError, PermanentError: its folder cannot be read.
        """
        from tracewatchd.archive.fetch import days_since, pending_before  # noqa: PLC0415 - as above
        from tracewatchd.archive.fetch_hints import Hints  # noqa: PLC0415 - as above
        from tracewatchd.edges.day_folder import newest_day  # noqa: PLC0415 - as above

        archive = self.settings.archive
        standing = Hints(self.fetch_hints / folder, place.folder.root).standing()
        newest = newest_day(place.folder.root, folder)
        last = standing.last_day or (date.fromisoformat(newest.name) if newest else None)
        days = days_since(last, today, archive.overlap_days)
        if not days:
            raise ConfigError(
                f"nothing of {folder} has been fetched yet", hint="Say where to begin: --start-date YYYY-MM-DD."
            )
        return days, pending_before(standing, days[0], datetime.now(UTC), archive.pending_days)

    def project_of(self, name: str) -> tuple[str, str]:
        """A project by its name in LangSmith, or by the folder that ``retention.projects`` gives it: name and folder.

        Raises:
            ConfigError: no folder can be named after it.
        """
        for kept in self.settings.retention.projects:
            if name in {kept.project, kept.directory_name}:
                return kept.project, encode_path(os.fsencode(kept.directory_name))
        try:
            return name, folder_of(name)
        except ValueError as error:
            raise ConfigError(str(error), hint="Give it a folder in retention.projects.") from None

    @asynccontextmanager
    async def drive(self) -> AsyncIterator[Drive]:
        """The archive on Google Drive, for the length of a block. Nothing is asked before it is used.

        Raises:
            ConfigError: there are no credentials, or they cannot be used.
        """
        from tracewatchd.edges.drive import Drive  # noqa: PLC0415 - as above
        from tracewatchd.edges.drive_auth import Tokens, read_grant  # noqa: PLC0415 - as above
        from tracewatchd.edges.drive_calls import DriveCalls  # noqa: PLC0415 - as above

        chosen = self.settings.drive
        grant = read_grant(chosen.credentials_file, self._drive_token_file)
        async with self._google() as (http, patience):
            calls = DriveCalls(http, Tokens(grant, http, patience), patience, endpoint=chosen.endpoint)
            yield Drive(calls, folder=chosen.folder or MY_DRIVE, chunk_bytes=chosen.chunk_bytes)

    def upload(self, drive: Drive) -> Upload:
        """Uploads of zips to an archive on Drive."""
        from tracewatchd.archive.upload import Upload  # noqa: PLC0415 - as above

        return Upload(drive, zip_dir=self.zip_dir, state_dir=self.state_dir, tell=self.tell)

    async def log_in_to_drive(self, show: Callable[[str], None], *, within_s: float) -> Path:
        """Ask a person for access to Drive, and keep it; returns the file that it is kept in.

        Raises:
            ConfigError: there is no OAuth client to ask with.
            TransientError, PermanentError: access was not given, or it cannot be kept.
        """
        from tracewatchd.edges.drive_auth import read_client  # noqa: PLC0415 - as above
        from tracewatchd.edges.drive_login import log_in  # noqa: PLC0415 - as above

        client = read_client(self.settings.drive.credentials_file)
        async with self._google() as (http, patience):
            login = await log_in(client, http, patience, show=show, within_s=within_s)
        login.save(self._drive_token_file)
        return self._drive_token_file

    @property
    def has_drive_login(self) -> bool:
        """Whether somebody has logged in to Drive here."""
        return self._drive_token_file.exists()

    @property
    def _drive_token_file(self) -> Path:
        return self.settings.drive.token_file or self.state_dir / "drive-token.json"

    @asynccontextmanager
    async def _google(self) -> AsyncIterator[tuple[Http, Patience]]:
        from tracewatchd.edges.drive_http import Http, Patience, opened_session  # noqa: PLC0415 - as above

        chosen = self.settings.drive
        async with opened_session() as session:
            yield Http(session, timeout_s=chosen.request_timeout_s), Patience(patience_s=chosen.patience_s)
