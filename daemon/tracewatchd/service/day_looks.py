"""Looks at the places of a project-day, made from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from tracewatchd.archive import views
from tracewatchd.archive.certify import Look
from tracewatchd.archive.pack import zip_path
from tracewatchd.model.certificate import Location, View
from tracewatchd.model.manifest import Manifest
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Place
from tracewatchd.service.late import LateAssembly


class DayLooks:
    """Looks at days of one root.

    Args:
        archiving: what is made from the settings.
        place: the root that the files lie in.
        database: what they were loaded into.
    """

    def __init__(self, archiving: Archiving, place: Place, database: LateAssembly) -> None:
        self._archiving = archiving
        self._place = place
        self._database = database

    def at(self, locations: Iterable[Location]) -> Mapping[Location, Look]:
        """Looks at these places; the files themselves are what they are compared with."""
        looks: Mapping[Location, Look] = {
            Location.LANGSMITH: self.langsmith,
            Location.ZIP: self.zip,
            Location.DRIVE: self.drive,
            Location.DB: self.db,
        }
        return {location: look for location, look in looks.items() if location in set(locations)}

    async def langsmith(self, files: Manifest) -> View:
        """What LangSmith still has, run by run."""
        from tracewatchd.archive.upstream_view import UpstreamLook, named_project  # noqa: PLC0415 - as in archiving.py

        root = self._place.folder.root
        named = await asyncio.to_thread(named_project, root, files)
        project, _ = self._archiving.project_of(named or files.project)
        async with self._archiving.langsmith() as langsmith:
            look = UpstreamLook(langsmith=langsmith, project=project, root=root, today=datetime.now(UTC).date())
            return await look(files)

    async def zip(self, files: Manifest) -> View:
        """The zip, read to its end."""
        return await asyncio.to_thread(views.of_zip, zip_path(self._archiving.zip_dir, files.day), files)

    async def drive(self, files: Manifest) -> View:
        """The zip on Drive, by what Drive says of it."""
        async with self._archiving.drive() as drive:
            return await views.of_drive(drive, files.day, files)

    async def db(self, files: Manifest) -> View:
        """The ledger and the rows."""
        assembly = await self._database.get()
        return await views.of_db(assembly.database, self._place.source, files.day, files)
