"""What each place holds of a project-day, against its files: the looks from which a certificate is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol
from uuid import UUID

from tracewatchd.edges.zipping import DayZip
from tracewatchd.model.certificate import Location, View, compared
from tracewatchd.model.drive import DriveFile
from tracewatchd.model.errors import PoisonError
from tracewatchd.model.ledger import LedgerRow, RowVersion
from tracewatchd.model.manifest import Manifest
from tracewatchd.model.project_day import ProjectDay

_PAGE_ROWS = 1_000


class DayStore(Protocol):
    """Postgres, as far as a project-day's files are concerned."""

    async def ledger_page(self, source: str, directory: str, after: str, limit: int) -> list[LedgerRow]:
        """The next rows of a directory in byte order of their paths, those greater than ``after``."""
        ...

    async def row_versions(self, run_ids: Iterable[UUID]) -> dict[UUID, RowVersion]:
        """The versions of those of these runs that have a row."""
        ...

    async def ledger_of_runs(self, run_ids: Iterable[UUID]) -> list[tuple[str, LedgerRow]]:
        """Every ledger row, of any source, that acknowledges one of these runs."""
        ...


class DayDrive(Protocol):
    """An archive on Drive."""

    async def find(self, day: ProjectDay) -> list[DriveFile]:
        """Every file that says it is this day's zip, the oldest first."""
        ...


def of_files(manifest: Manifest) -> View:
    """The files themselves, which the other places are compared with."""
    return View(location=Location.FILES, state="agrees", runs=manifest.counts.runs, files=len(manifest.files))


def of_zip(path: Path, files: Manifest) -> View:
    """A zip of which every file is read back.

    Raises:
        TransientError, PermanentError: it cannot be read.
    """
    if not path.exists():
        return _nothing(Location.ZIP, files, f"there is no {path}")
    try:
        with DayZip(path) as there:
            for file in there.manifest.files:
                for _ in there.pieces(file):
                    pass
            return compared(Location.ZIP, _sums(files), _sums(there.manifest), runs=there.manifest.counts.runs)
    except PoisonError as error:
        return View(location=Location.ZIP, state="differs", detail=str(error))


async def of_drive(drive: DayDrive, day: ProjectDay, files: Manifest) -> View:
    """The zip on Drive, by what Drive says of it: the digest that was uploaded, and its own checksum of the bytes.

    Raises:
        TransientError, PermanentError: Drive cannot be asked.
    """
    there = await drive.find(day)
    if not there:
        return _nothing(Location.DRIVE, files, "Drive has no zip of the day")
    ours, *others = there
    agrees = ours.day_digest == files.day_digest and ours.is_as_uploaded
    others_told = f"{len(others)} more zips on Drive say that they are this day's" if others else ""
    changed = "" if ours.is_as_uploaded else "the file was changed on Drive after it was uploaded"
    older = "" if agrees or changed else "the zip on Drive is of another state of the day"
    detail = "; ".join(filter(None, (changed, older, others_told)))
    return View(location=Location.DRIVE, state="agrees" if agrees else "differs", detail=detail)


async def of_db(store: DayStore, source: str, day: ProjectDay, files: Manifest) -> View:
    """What the ledger acknowledges and the rows hold: each run file's own bytes, or those of a newer file of its run.

    Raises:
        TransientError, PermanentError: the database cannot be asked.
    """
    held: dict[str, str] = {}
    runs: set[UUID] = set()
    after = ""
    while page := await store.ledger_page(source, day.directory, after, _PAGE_ROWS):
        loaded = await _loaded(store, page)
        runs |= {row.run_id for row in loaded if row.run_id}
        held |= {row.path.rpartition("/")[2]: row.file_sha256.hex() for row in loaded if row.file_sha256}
        after = page[-1].path
    return compared(Location.DB, _sums(files, attachments=False), held, runs=len(runs))


async def _loaded(store: DayStore, page: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Those whose run has a row that came from the same bytes, or from a file that some ledger row knows."""
    acknowledged = [row for row in page if row.state == "acknowledged" and row.run_id]
    stored = await store.row_versions({row.run_id for row in acknowledged if row.run_id})
    sums = {run_id: row.version.sha256 for run_id, row in stored.items()}
    others = {row.run_id for row in acknowledged if row.run_id and sums.get(row.run_id) != row.file_sha256}
    known = {(row.run_id, row.file_sha256) for _, row in await store.ledger_of_runs(others & sums.keys())}
    return [row for row in acknowledged if _is_loaded(row, sums, known)]


def _is_loaded(row: LedgerRow, sums: Mapping[UUID, bytes], known: set[tuple[UUID | None, bytes | None]]) -> bool:
    stored = sums.get(row.run_id) if row.run_id else None
    return stored is not None and (stored == row.file_sha256 or (row.run_id, stored) in known)


def _nothing(location: Location, files: Manifest, detail: str) -> View:
    """A place that holds nothing, which is all that there is to hold of a day without files."""
    if files.files:
        return View(location=location, state="absent", detail=detail)
    return View(location=location, state="agrees", runs=0, files=0)


def _sums(manifest: Manifest, *, attachments: bool = True) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files if attachments or file.is_run_file}
