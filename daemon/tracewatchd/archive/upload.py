"""``archive upload``: a project-day's zip is brought to Google Drive, once, and what Drive then has is compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tracewatchd.archive.pack import zip_path
from tracewatchd.edges.claiming import Claim
from tracewatchd.edges.drive import Drive
from tracewatchd.edges.transfer import Hints, Parcel, Source
from tracewatchd.edges.writing import make_directory
from tracewatchd.edges.zipping import read_manifest
from tracewatchd.model.drive import (
    ZIP_TYPE,
    Content,
    DriveFile,
    TransferProgress,
    UploadResult,
    day_properties,
)
from tracewatchd.model.errors import PermanentError, PoisonError, TracewatchError
from tracewatchd.model.events import Tell, UploadFailed, UploadFinished
from tracewatchd.model.project_day import ProjectDay

_Progress = Callable[[TransferProgress], None]


def _nobody(_: TransferProgress) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A project-day's zip that shall be on Drive, where ``force`` says so as another revision of what is there."""

    day: ProjectDay
    zip_path: Path
    day_digest: str
    force: bool


class Upload:
    """Uploads of the zips in ``zip_dir`` to one archive on Drive. Below ``state_dir`` lie hints to go on by."""

    def __init__(self, drive: Drive, *, zip_dir: Path, state_dir: Path, tell: Tell) -> None:
        self._drive = drive
        self._zip_dir = zip_dir
        self._state_dir = state_dir
        self._tell = tell

    async def carry_out(self, day: ProjectDay, *, force: bool = False, progress: _Progress = _nobody) -> UploadResult:
        """Bring a day's zip to Drive, unless Drive holds this day digest already; with ``force`` in any case.

        Raises:
            TransientError: what heals did not heal in time, or another process uploads this day; the same upload goes
                on from there.
            PermanentError: there is no zip, Drive will not take it, or what Drive has then is not what was sent.
            PoisonError: the zip is damaged, or another day's.
        """
        try:
            with _claimed(self._place(day, ".claim")):
                result = await self._carry_out(await self._order(day, force=force), progress)
        except TracewatchError as error:
            self._tell(UploadFailed(project=day.folder, day=day.day.isoformat(), error=str(error), hint=error.hint))
            raise
        self._tell(_finished(result))
        return result

    async def foresee(self, day: ProjectDay, *, force: bool = False) -> UploadResult:
        """What an upload would do, ``sent_bytes`` what it would send. Nothing is written, there or here.

        Raises:
            TransientError, PermanentError, PoisonError: Drive cannot be asked, or the zip cannot be read.
        """
        began = time.monotonic()
        order = await self._order(day, force=force)
        found = await self._found(day)
        if current := _current(order, found):
            return _unchanged(order, current, found, began)
        with Source(order.zip_path) as source:
            content = await asyncio.to_thread(source.content)
        what, file_id = ("updated", found[0].id) if found else ("created", "")
        return _result(order, _Done(what, file_id, content, content.size, 0), found, began)

    async def _order(self, day: ProjectDay, *, force: bool) -> _Order:
        path = zip_path(self._zip_dir, day)
        manifest = await asyncio.to_thread(read_manifest, path)
        if manifest.day != day:
            raise PoisonError(
                f"{path} is the zip of {manifest.day.directory}",
                hint="Make the day's own zip by `tracewatchd archive zip`.",
            )
        return _Order(day, path, manifest.day_digest, force)

    async def _carry_out(self, order: _Order, progress: _Progress) -> UploadResult:
        began = time.monotonic()
        found = await self._found(order.day)
        if current := _current(order, found):
            return _unchanged(order, current, found, began)
        done = await self._bring(order, found, progress)
        await self._compare(order, done)
        self._drive.remember(order.day, done.file_id)
        return _result(order, done, await self._drive.find(order.day), began)

    async def _found(self, day: ProjectDay) -> list[DriveFile]:
        """What Drive has of a day, what we brought a moment ago included."""
        if last := self._hints(day).last_file_id(self._drive.calls.endpoint):
            self._drive.remember(day, last)
        return await self._drive.find(day)

    async def _bring(self, order: _Order, found: Sequence[DriveFile], progress: _Progress) -> _Done:
        with Source(order.zip_path) as source:
            content = await asyncio.to_thread(source.content)
            parcel = await self._parcel(order, content, found)
            transfer = self._drive.transfer(source, parcel, self._hints(order.day), progress)
            file_id = await transfer.run()
        what = "updated" if parcel.is_update else "created"
        return _Done(what, file_id, content, transfer.sent_bytes, transfer.resumed_at_bytes)

    async def _parcel(self, order: _Order, content: Content, found: Sequence[DriveFile]) -> Parcel:
        """A new file in the project's folder, or another revision of the oldest file that says it is this day's."""
        archive = await self._drive.archive()
        properties = day_properties(archive.id, order.day, order.day_digest, content.sha256)
        if found:
            return Parcel(content=content, file_id=found[0].id, is_update=True, metadata={"appProperties": properties})
        metadata = {
            "name": f"{order.day.day.isoformat()}.zip",
            "mimeType": ZIP_TYPE,
            "parents": [await self._drive.project_folder(order.day.folder)],
            "appProperties": properties,
        }
        return Parcel(content=content, file_id=await self._drive.new_id(), is_update=False, metadata=metadata)

    async def _compare(self, order: _Order, done: _Done) -> None:
        """See that Drive holds what was sent, and says so."""
        file = await self._drive.metadata(done.file_id)
        if not done.content.is_in(file) or file.day_digest != order.day_digest:
            raise PermanentError(
                f"{order.day.directory}: Google Drive holds other bytes than were sent (file {file.id})",
                hint="Run the same command again: it sends the zip as another revision of the file.",
            )

    def _hints(self, day: ProjectDay) -> Hints:
        return Hints(self._place(day, ".json"))

    def _place(self, day: ProjectDay, suffix: str) -> Path:
        return self._state_dir / "uploads" / day.folder / f"{day.day.isoformat()}{suffix}"


@dataclass(frozen=True, slots=True)
class _Done:
    """What was brought to Drive, and what it took."""

    what: str
    file_id: str
    content: Content
    sent_bytes: int
    resumed_at_bytes: int


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Let one process at a time bring a day: two would share a session and spoil each other's chunks."""
    make_directory(path.parent)
    with Claim(path) as claim:
        try:
            yield
        finally:
            claim.remove()


def _current(order: _Order, found: Sequence[DriveFile]) -> DriveFile | None:
    """The file that holds this very day already: by the digest that it was given, unchanged since it was uploaded."""
    if order.force:
        return None
    return next((file for file in found if file.day_digest == order.day_digest and file.is_as_uploaded), None)


def _unchanged(order: _Order, current: DriveFile, found: Sequence[DriveFile], began: float) -> UploadResult:
    content = Content(current.size or 0, current.zip_sha256, current.md5_checksum)
    return _result(order, _Done("unchanged", current.id, content, 0, 0), found, began)


def _result(order: _Order, done: _Done, found: Sequence[DriveFile], began: float) -> UploadResult:
    return UploadResult(
        project=order.day.folder,
        day=order.day.day,
        what=done.what,
        file_id=done.file_id,
        size_bytes=done.content.size,
        sent_bytes=done.sent_bytes,
        resumed_at_bytes=done.resumed_at_bytes,
        zip_sha256=done.content.sha256,
        day_digest=order.day_digest,
        duplicates=tuple(file.id for file in found if file.id != done.file_id),
        took_s=round(time.monotonic() - began, 3),
    )


def _finished(result: UploadResult) -> UploadFinished:
    return UploadFinished(
        project=result.project,
        day=result.day.isoformat(),
        what=result.what,
        file_id=result.file_id,
        size_bytes=result.size_bytes,
        sent_bytes=result.sent_bytes,
        resumed_at_bytes=result.resumed_at_bytes,
        duplicates=result.duplicates,
        took_s=result.took_s,
    )
