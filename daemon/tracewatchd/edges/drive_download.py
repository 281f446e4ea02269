"""One file on its way from Drive: fetched in ranges, kept when it breaks off, checked before anyone sees it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tracewatchd.edges.drive_calls import DriveCalls, Question
from tracewatchd.edges.drive_http import Answer, BusyError
from tracewatchd.edges.transfer import Source
from tracewatchd.edges.writing import classified, make_directory
from tracewatchd.model.drive import DriveFile, TransferProgress
from tracewatchd.model.errors import PermanentError

_WHOLE = 200
_PART = 206


class Download:
    """The bytes of one revision of a file, on their way to ``target``, seen there only when they are all right.

    What has arrived waits in a hidden file beside the target, whose name holds the checksum: another download of the
    same bytes goes on from there, one of other bytes does not touch it.
    """

    def __init__(
        self,
        calls: DriveCalls,
        file: DriveFile,
        target: Path,
        *,
        chunk_bytes: int,
        progress: Callable[[TransferProgress], None] = lambda _: None,
    ) -> None:
        self._calls = calls
        self._file = file
        self._target = target
        self._chunk_bytes = chunk_bytes
        self._progress = progress
        self._size = file.size or 0
        checksum = file.sha256_checksum or file.md5_checksum or file.id
        name = hashlib.sha256(f"{target.name}\0{checksum}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._part = target.parent / f".{name}.part"

    async def run(self) -> None:
        """Fetch what is missing and put the file at its place.

        Raises:
            TransientError: nothing more arrived for as long as patience goes, or the disk is full; what has arrived
                waits for the next run.
            PermanentError: Drive does not give it, it is not what Drive says it is, or it cannot be written.
        """
        make_directory(self._target.parent)
        have = await asyncio.to_thread(self._begin)
        while have < self._size:
            start = have
            piece = await self._calls.patience.over(lambda start=start: self._ask(start))  # type: ignore[misc]  # bound early
            await asyncio.to_thread(self._append, piece, start)
            have += len(piece)
            self._progress(TransferProgress(done_bytes=have, size_bytes=self._size))
        await asyncio.to_thread(self._finish)

    def _begin(self) -> int:
        """How much is there from an earlier attempt."""
        with suppress(FileNotFoundError):
            return min(self._part.stat().st_size, self._size)
        with classified(self._part.parent, f"write {self._target.name}"):
            os.close(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        return 0

    async def _ask(self, start: int) -> bytes:
        end = min(start + self._chunk_bytes, self._size)
        url = self._calls.address(f"/drive/v3/files/{quote(self._file.id, safe='')}", alt="media")
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        question = Question("give a part of a file", "GET", url, headers)
        answer = await self._calls.once(question, _WHOLE, _PART, limit_bytes=max(end - start, 1))
        return self._checked(answer, start, end)

    def _checked(self, answer: Answer, start: int, end: int) -> bytes:
        """The bytes that were asked for, if they are those."""
        whole = (start, end) == (0, self._size) and answer.status == _WHOLE
        said = f"bytes {start}-{end - 1}/{self._size}"
        if not whole and answer.headers.get("Content-Range", "") != said:
            raise PermanentError(
                f"Google Drive gave another part of {self._file.id} than was asked for",
                hint="The file may have been replaced meanwhile: try again.",
            )
        if len(answer.body) != end - start:
            raise BusyError("a part of a file broke off")
        return answer.body

    def _append(self, piece: bytes, start: int) -> None:
        with classified(self._part.parent, f"write {self._target.name}"), self._part.open("r+b") as file:
            file.seek(start)
            file.write(piece)

    def _finish(self) -> None:
        with Source(self._part) as source:
            content = source.content()
        if not content.is_in(self._file):
            self.forget()
            raise PermanentError(
                f"what was downloaded of {self._file.name or self._file.id} has another checksum than Drive says",
                hint="Try again; if it stays so, the disk or a proxy between changes what passes through it.",
            )
        with classified(self._part.parent, f"write {self._target.name}"):
            descriptor = os.open(self._part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._part.replace(self._target)

    def forget(self) -> None:
        """Leave nothing of what has arrived."""
        with suppress(OSError):
            self._part.unlink()
