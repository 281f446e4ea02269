"""What every place says of a source's project-days, asked once and told together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tracewatchd.archive.pack import zip_path
from tracewatchd.archive.zipped import zipped_days
from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.edges.zipping import read_manifest
from tracewatchd.model.certificate import Certificate
from tracewatchd.model.day_status import DayStatus, FilesThere, Places, statuses
from tracewatchd.model.drive import days_of_files
from tracewatchd.model.errors import NotCheckedError, PoisonError, TracewatchError
from tracewatchd.model.selection import Selection
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place
from tracewatchd.service.late import LateAssembly


@dataclass(slots=True)
class Told:
    """The project-days of a source, and what could not be asked, each with the reason."""

    days: list[DayStatus] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


class DayStatuses:
    """Asks the places of one root's days. A place that fails is told, and the others are asked all the same."""

    def __init__(self, archiving: Archiving, place: Place, database: LateAssembly, selection: Selection) -> None:
        self._archiving = archiving
        self._place = place
        self._database = database
        self._selection = selection
        self._unchecked: list[str] = []

    async def ask(self) -> Told:
        """What they say.

        Raises:
            NotCheckedError: the root cannot be listed.
        """
        files = await asyncio.to_thread(self._files, self._place.folder)
        zips = await asyncio.to_thread(self._zips)
        drive = await self._drive({directory.partition("/")[0] for directory in (*files, *zips)})
        loaded, certificates, days_left = await self._db()
        places = Places(
            files=files,
            zips=zips,
            drive=drive,
            loaded=loaded,
            certificates=certificates,
            days_left=days_left,
        )
        days = [day for day in statuses(self._place.source, places) if self._selection.covers(day.directory)]
        return Told(days, self._unchecked)

    def _files(self, folder: Folder) -> Mapping[str, FilesThere]:
        try:
            directories = [one for one in folder.outline().directories if self._selection.covers(one)]
        except UnreadableError as error:
            raise NotCheckedError(
                f"cannot list {error.path}: {error.cause}", hint="mount it, or give this user permission to read it"
            ) from error
        found = {}
        for directory in directories:
            try:
                stamps = folder.survey(directory).stamps().values()
            except UnreadableError as error:
                self._unchecked.append(f"{error.path}: {error.cause}")
            else:
                found[directory] = FilesThere(len(stamps), max((stamp.ctime_ns for stamp in stamps), default=0))
        return {directory: there for directory, there in found.items() if there.files}

    def _zips(self) -> Mapping[str, str]:
        found = {}
        for day in zipped_days(self._archiving.zip_dir, self._selection):
            try:
                found[day.directory] = read_manifest(zip_path(self._archiving.zip_dir, day)).day_digest
            except PoisonError as error:
                self._unchecked.append(f"zip of {day.directory}: {error}")
        return found

    async def _drive(self, folders: Iterable[str]) -> Mapping[str, str] | None:
        if self._archiving.settings.drive.credentials_file is None and not self._archiving.has_drive_login:
            return None
        try:
            async with self._archiving.drive() as drive:
                zips = await drive.zips()
        except TracewatchError as error:
            self._unchecked.append(f"drive: {error}")
            return None
        return {day.directory: file.day_digest for day, file in days_of_files(zips, folders).items()}

    async def _db(self) -> tuple[list[str] | None, Mapping[str, Certificate] | None, Mapping[str, int]]:
        source = self._place.source
        try:
            assembly = await self._database.get()
            loaded = await assembly.database.ledger_directories(source)
            certificates = await assembly.database.certificates(source)
            retained = await assembly.clock.retained(source)
        except TracewatchError as error:
            self._unchecked.append(f"db: {error}")
            return None, None, {}
        return loaded, certificates, {day.directory: day.days_left for day in retained.due}
