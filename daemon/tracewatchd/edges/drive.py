"""Google Drive: finding what an archive has there, making folders, and saying what a file holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec

from tracewatchd.edges.drive_calls import DriveCalls, Question
from tracewatchd.edges.drive_download import Download
from tracewatchd.edges.drive_http import RefusedError
from tracewatchd.edges.transfer import Hints, Parcel, Source, Transfer
from tracewatchd.model.drive import (
    CHUNK_GRAIN_BYTES,
    FIELDS,
    FOLDER_TYPE,
    DriveFile,
    Identity,
    TransferProgress,
    folder_identity,
    oldest_first,
    query,
    shown_name,
    zip_identity,
    zips_query,
)
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.project_day import ProjectDay

FILES = "/drive/v3/files"

_PAGE_FILES = 1_000  # the most that Drive gives at once
_PAGES = 10_000  # ten million files; a list that has not ended by then goes in circles
_MISSING = 404
_NO_ZIP_HINT = "See `tracewatchd archive upload`, and that drive.folder is the folder that was uploaded to."
_EXISTS = 409


class _Page(msgspec.Struct, rename="camel", frozen=True):
    files: list[DriveFile] = []
    next_page_token: str = ""


class _Ids(msgspec.Struct, frozen=True):
    ids: list[str]


class Drive:
    """One archive on Drive: a folder that holds a folder for each project, with the zips of its days.

    ``folder`` is the id of that folder, ``root`` for the top of the account's own files. ``chunk_bytes`` are the bytes
    of one request of a transfer, and what a transfer takes of memory.
    """

    def __init__(self, calls: DriveCalls, *, folder: str, chunk_bytes: int) -> None:
        self.calls = calls
        self._chunk_bytes = chunk_bytes - chunk_bytes % CHUNK_GRAIN_BYTES
        self._folder = folder
        self._root: DriveFile | None = None
        self._project_folders: dict[str, str] = {}
        self._known: dict[ProjectDay, str] = {}
        self._making = asyncio.Lock()

    async def archive(self) -> DriveFile:
        """The folder that the whole archive lies in.

        Raises:
            TransientError: Drive did not answer for as long as patience goes.
            PermanentError: it will not (no such folder, credentials, permissions).
        """
        if self._root is None:
            self._root = await self._look_at_root()
        return self._root

    async def find(self, day: ProjectDay) -> list[DriveFile]:
        """Every file that says it is this day's zip, the oldest first: more than one are duplicates.

        Raises:
            TransientError, PermanentError: as in `archive`.
        """
        identity = zip_identity((await self.archive()).id, day)
        found = await self._found(identity)
        known = self._known.get(day)
        if known and known not in {file.id for file in found}:
            found += await self._still_there(known, identity)
        return sorted(found, key=oldest_first)

    def remember(self, day: ProjectDay, file_id: str) -> None:
        """A file that may be the day's zip: Drive's searches are some seconds behind what was uploaded."""
        self._known[day] = file_id

    async def _still_there(self, file_id: str, identity: Identity) -> list[DriveFile]:
        try:
            file = await self.metadata(file_id)
        except RefusedError as error:
            if error.status != _MISSING:
                raise
            return []
        is_it = identity.properties().items() <= file.app_properties.items()
        return [file] if is_it and not file.trashed else []

    async def zips(self) -> list[DriveFile]:
        """Every zip of the archive, of all projects and days, in the order of `oldest_first`.

        Raises:
            TransientError, PermanentError: as in `archive`.
        """
        return sorted(await self._listed(zips_query((await self.archive()).id)), key=oldest_first)

    async def metadata(self, file_id: str) -> DriveFile:
        """What Drive says of a file, its size and checksums included.

        Raises:
            TransientError, PermanentError: as in `archive`.
        """
        url = self.calls.address(f"{FILES}/{quote(file_id, safe='')}", fields=FIELDS)
        return (await self.calls.ask(Question("show a file", "GET", url))).decoded(DriveFile)

    async def new_id(self) -> str:
        """An id for a file to be: making it twice with the same id makes no twin.

        Raises:
            TransientError, PermanentError: as in `archive`.
        """
        url = self.calls.address(f"{FILES}/generateIds", count="1", space="drive", type="files")
        return (await self.calls.ask(Question("give an id", "GET", url))).decoded(_Ids).ids[0]

    async def project_folder(self, folder: str) -> str:
        """The id of a project's folder, made where there is none; all who ask, here and elsewhere, get the same one.

        Raises:
            TransientError, PermanentError: as in `archive`.
        """
        async with self._making:
            if folder not in self._project_folders:
                self._project_folders[folder] = await self._find_or_make(folder)
            return self._project_folders[folder]

    def transfer(
        self, source: Source, parcel: Parcel, hints: Hints, progress: Callable[[TransferProgress], None]
    ) -> Transfer:
        """An upload to here, which `Transfer.run` carries out."""
        return Transfer(self.calls, source, parcel, hints, chunk_bytes=self._chunk_bytes, progress=progress)

    async def fetch_zip(
        self, day: ProjectDay, target: Path, progress: Callable[[TransferProgress], None] = lambda _: None
    ) -> DriveFile:
        """Bring a day's zip from here to ``target``, seen there only when its checksum is right.

        What has arrived when it breaks off waits beside the target, and the next call goes on from there.

        Raises:
            TransientError: Drive did not answer for as long as patience goes, or the disk is full.
            PermanentError: there is no zip of this day, it is not what was uploaded, or it cannot be written.
        """
        found = await self.find(day)
        if not found:
            raise PermanentError(f"Google Drive holds no zip of {day.directory}", hint=_NO_ZIP_HINT)
        file = next((one for one in found if one.is_as_uploaded), None)
        if file is None:
            raise PermanentError(
                f"the zip of {day.directory} on Google Drive (file {found[0].id}) is not what was uploaded",
                hint="Restore an earlier revision of the file on Drive, or upload the day again.",
            )
        await Download(self.calls, file, target, chunk_bytes=self._chunk_bytes, progress=progress).run()
        return file

    async def _find_or_make(self, folder: str) -> str:
        identity = folder_identity((await self.archive()).id, folder)
        if found := await self._found(identity):
            return found[0].id
        made = await self._make_folder(identity, shown_name(folder))
        # Somebody else may have made one at the same time: the oldest is everyone's.
        oldest = min([*await self._found(identity), await self.metadata(made)], key=oldest_first).id
        if oldest != made:
            await self._throw_away_empty(made)
        return oldest

    async def _make_folder(self, identity: Identity, name: str) -> str:
        made = await self.new_id()
        content = {
            "id": made,
            "name": name,
            "mimeType": FOLDER_TYPE,
            "parents": [identity.archive],
            "appProperties": identity.properties(),
        }
        question = Question("make a folder", "POST", self.calls.address(FILES)).saying(content)
        # "It exists" is said where the answer to an earlier attempt was lost.
        await self.calls.ask(question, 200, _EXISTS)
        return made

    async def _throw_away_empty(self, folder_id: str) -> None:
        """Put a folder that came too late into the bin, unless somebody was quick and uses it already."""
        if not await self._listed(f"'{folder_id}' in parents and trashed = false"):
            url = self.calls.address(f"{FILES}/{folder_id}")
            await self.calls.ask(Question("put an empty folder into the bin", "PATCH", url).saying({"trashed": True}))

    async def _found(self, identity: Identity) -> list[DriveFile]:
        return sorted(await self._listed(query(identity.properties())), key=oldest_first)

    async def _listed(self, search: str) -> list[DriveFile]:
        where = await self._where_to_look() | {
            "q": search,
            "fields": f"nextPageToken,files({FIELDS})",
            "pageSize": str(_PAGE_FILES),
        }
        files: list[DriveFile] = []
        for _ in range(_PAGES):
            url = self.calls.address(FILES, **where)
            page = (await self.calls.ask(Question("list files", "GET", url))).decoded(_Page)
            files += page.files
            if not page.next_page_token:
                return files
            where["pageToken"] = page.next_page_token
        raise PermanentError("Google Drive's list of files does not end")

    async def _where_to_look(self) -> dict[str, str]:
        """The parameters by which a search sees a shared drive: without them it looks into none."""
        drive_id = (await self.archive()).drive_id
        within = {"corpora": "drive", "driveId": drive_id} if drive_id else {}
        return {"includeItemsFromAllDrives": "true", **within}

    async def _look_at_root(self) -> DriveFile:
        try:
            found = await self.metadata(self._folder)
        except RefusedError as error:
            if error.status != _MISSING:
                raise
            raise PermanentError(
                f"Google Drive shows this account no folder {self._folder} (drive.folder)",
                hint="See that drive.folder is right and that the folder is shared with this account.",
            ) from error
        if found.mime_type != FOLDER_TYPE or found.trashed:
            what = "lies in the bin" if found.trashed else "is no folder"
            raise PermanentError(
                f"{self._folder} (drive.folder) {what}", hint="Set drive.folder to the id or URL of a folder."
            )
        return found
