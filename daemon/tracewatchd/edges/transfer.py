"""One file on its way to Drive: a resumable upload that any fault or kill may interrupt at any byte.

Drive keeps what has arrived under a session; its address is all that has to be remembered. After anything unclear
Drive is asked what it has, and only what is missing is sent: at most one chunk is sent twice for each fault.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

import msgspec

from tracewatchd.edges.drive_calls import DriveCalls, Question
from tracewatchd.edges.drive_http import Answer, BusyError, RefusedError, is_trustworthy, same_origin
from tracewatchd.edges.writing import classified, make_directory, write_file
from tracewatchd.model.drive import FIELDS, ZIP_TYPE, Content, DriveFile, TransferProgress, stored_bytes
from tracewatchd.model.errors import PermanentError, TransientError

_HASH_BYTES = 1 << 20
_RESTARTS = 5
"""Sessions that may end under one upload; Drive keeps each for a week."""
_DONE = (200, 201)
_INCOMPLETE = 308
_GONE = frozenset({404, 410})
_GONE_OR_DAMAGED = _GONE | {400}  # an address that was damaged on our disk must not be asked for ever
_EXISTS = 409
_HINT_BYTES = 64 << 10


class Source:
    """A file to send, opened once: what is sent is what was hashed, whatever is renamed over it meanwhile.

    Raises:
        TransientError, PermanentError: it cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with classified(path.parent, f"read {path.name}"):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def content(self) -> Content:
        """What its bytes are known by; reads all of it.

        Raises:
            TransientError, PermanentError: it cannot be read.
        """
        size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        while piece := self.read(size, _HASH_BYTES):
            size += len(piece)
            sha256.update(piece)
            md5.update(piece)
        return Content(size, sha256.hexdigest(), md5.hexdigest())

    def read(self, offset: int, length: int) -> bytes:
        """So many of its bytes, fewer only at its end.

        Raises:
            TransientError, PermanentError: it cannot be read.
        """
        with classified(self._path.parent, f"read {self._path.name}"):
            return os.pread(self._descriptor, length, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is to be on Drive in the end: these bytes under this id, as a new file or another revision of one."""

    content: Content
    file_id: str
    is_update: bool
    metadata: Mapping[str, object]
    """What Drive is told of the file: name, properties, and of a new one the folder."""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an upload; its loss costs time only.

    ``session`` is a secret, for who has it can write; it is empty when the upload is finished.
    """

    session: str
    endpoint: str
    file_id: str
    is_update: bool
    zip_sha256: str
    size: int

    def __repr__(self) -> str:
        """No address in it."""
        return f"Hint(file_id={self.file_id!r})"


class Hints:
    """The file of one upload's hint, for the owner's eyes alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, content: Content, endpoint: str) -> Hint | None:
        """What is remembered of sending these bytes to there; anything else that lies there counts as nothing."""
        hint = self._decoded()
        if hint is None or (hint.zip_sha256, hint.size) != (content.sha256, content.size):
            return None
        return hint if hint.endpoint == endpoint and _may_get_a_token(hint.session, endpoint) else None

    def last_file_id(self, endpoint: str) -> str:
        """The file that was brought there last, or was to be; empty where nothing is remembered."""
        hint = self._decoded()
        return hint.file_id if hint and hint.endpoint == endpoint else ""

    def _decoded(self) -> Hint | None:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_HINT_BYTES), type=Hint)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write(self, hint: Hint) -> None:
        """Remember it, in one step.

        Raises:
            TransientError, PermanentError: it cannot be written.
        """
        make_directory(self._path.parent)
        write_file(self._path, msgspec.json.encode(hint), durable=True, private=True)

    def forget(self) -> None:
        """Remember nothing; a hint that cannot be removed will fit nothing else, and Drive knows when it is over."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _may_get_a_token(session: str, endpoint: str) -> bool:
    return same_origin(session, endpoint) and is_trustworthy(session)


class Transfer:
    """One upload, in steps: begin a session or ask an old one what it has, then chunk after chunk.

    ``sent_bytes`` counts what was put on the wire, ``resumed_at_bytes`` what an earlier upload had left there.
    """

    def __init__(
        self,
        calls: DriveCalls,
        source: Source,
        parcel: Parcel,
        hints: Hints,
        *,
        chunk_bytes: int,
        progress: Callable[[TransferProgress], None],
    ) -> None:
        self.sent_bytes = 0
        self.resumed_at_bytes = 0
        self._calls = calls
        self._source = source
        self._parcel = parcel
        self._hints = hints
        self._chunk_bytes = chunk_bytes
        self._progress = progress
        self._session = ""
        self._stored: int | None = None
        """Bytes that Drive has; None where it must be asked."""
        self._restarts = 0

    @property
    def _size(self) -> int:
        return self._parcel.content.size

    async def run(self) -> str:
        """Bring all of it to Drive; returns the file's id.

        Raises:
            TransientError: nothing more arrived for as long as patience goes; the next run goes on from there.
            PermanentError: Drive will not take it.
        """
        self._remember_earlier()
        while not await self._calls.patience.over(self._advance):
            pass
        self._session = ""
        await asyncio.to_thread(self._hints.write, self._hint())
        return self._parcel.file_id

    def _remember_earlier(self) -> None:
        hint = self._hints.read(self._parcel.content, self._calls.endpoint)
        if hint and hint.is_update == self._parcel.is_update and self._may_be_for(hint):
            self._session = hint.session
            self._parcel = replace(self._parcel, file_id=hint.file_id)

    def _may_be_for(self, hint: Hint) -> bool:
        """A new file has the id that it got at first; a revision is one of the file that was found."""
        return not self._parcel.is_update or hint.file_id == self._parcel.file_id

    async def _advance(self) -> bool:
        """Bring more of it there; True when Drive has it all."""
        resuming = bool(self._session) and self._stored is None
        try:
            if not self._session:
                done = await self._begin()
            else:
                done = self._stored is None and await self._ask()
            if resuming and not self.sent_bytes:
                self.resumed_at_bytes = self._stored or 0
            return done or await self._send_chunk()
        except TransientError:
            self._stored = None  # what has arrived is not known: Drive is asked before anything is sent again
            raise

    async def _begin(self) -> bool:
        """Have a session; True where it turns out that an earlier attempt had brought the whole file."""
        try:
            answer = await self._calls.once(self._opening())
        except RefusedError as error:
            if error.status != _EXISTS or self._parcel.is_update:
                raise
            return await self._is_there_already()
        session = answer.headers.get("Location", "")
        if not _may_get_a_token(session, self._calls.endpoint):
            raise PermanentError(
                "Google Drive named an upload session at another place than drive.endpoint",
                hint="See whether a proxy stands between, and what drive.endpoint is set to.",
            )
        self._session, self._stored = session, 0
        await asyncio.to_thread(self._hints.write, self._hint())
        return False

    def _opening(self) -> Question:
        parcel = self._parcel
        path = "/upload/drive/v3/files"
        method, path = ("PATCH", f"{path}/{quote(parcel.file_id, safe='')}") if parcel.is_update else ("POST", path)
        headers = {"X-Upload-Content-Type": ZIP_TYPE, "X-Upload-Content-Length": str(self._size)}
        url = self._calls.address(path, uploadType="resumable", fields=FIELDS)
        metadata = parcel.metadata if parcel.is_update else {"id": parcel.file_id, **parcel.metadata}
        return Question("begin an upload", method, url, headers).saying(metadata)

    def _hint(self) -> Hint:
        return Hint(
            session=self._session,
            endpoint=self._calls.endpoint,
            file_id=self._parcel.file_id,
            is_update=self._parcel.is_update,
            zip_sha256=self._parcel.content.sha256,
            size=self._size,
        )

    async def _is_there_already(self) -> bool:
        """The id that was set aside for this file is in use: it arrived, or something else did and is replaced."""
        url = self._calls.address(f"/drive/v3/files/{quote(self._parcel.file_id, safe='')}", fields=FIELDS)
        file = (await self._calls.once(Question("show a file", "GET", url))).decoded(DriveFile)
        if self._parcel.content.is_in(file):
            return True
        metadata = {key: value for key, value in self._parcel.metadata.items() if key != "parents"}
        self._parcel = replace(self._parcel, is_update=True, metadata=metadata)
        return await self._begin()

    async def _ask(self) -> bool:
        """Let Drive say what it has; True when that is everything."""
        return self._note(await self._put(b"", f"bytes */{self._size}"))

    async def _send_chunk(self) -> bool:
        """Send the next chunk; True when it was the last."""
        start = self._stored or 0
        chunk = await asyncio.to_thread(self._source.read, start, min(self._chunk_bytes, self._size - start))
        if not chunk:
            raise BusyError("Google Drive has every byte of the upload but has not finished it")
        self.sent_bytes += len(chunk)
        answer = await self._put(chunk, f"bytes {start}-{start + len(chunk) - 1}/{self._size}")
        if not self._note(answer) and (self._stored or 0) <= start:
            raise BusyError("Google Drive kept nothing of a chunk")
        return answer.status in _DONE

    async def _put(self, chunk: bytes, content_range: str) -> Answer:
        headers = {"Content-Range": content_range}
        question = Question("take a part of the upload", "PUT", self._session, headers, chunk)
        try:
            return await self._calls.once(question, *_DONE, _INCOMPLETE, repeat=not chunk)
        except RefusedError as error:
            if error.status not in (_GONE if chunk else _GONE_OR_DAMAGED):
                raise
            raise self._over() from error

    def _over(self) -> TransientError | PermanentError:
        """Give a session up that is no more; what is raised says whether another one is begun."""
        self._session = ""
        self._hints.forget()
        self._restarts += 1
        if self._restarts > _RESTARTS:
            return PermanentError(f"Google Drive ended {self._restarts} sessions of one upload", hint=_OVER_HINT)
        return BusyError("the upload session is over")

    def _note(self, answer: Answer) -> bool:
        """Take down what Drive has; True when that is everything."""
        if answer.status in _DONE:
            self._stored = self._size
        else:
            self._stored = self._understood(answer)
        self._progress(TransferProgress(done_bytes=self._stored, size_bytes=self._size))
        return answer.status in _DONE

    def _understood(self, answer: Answer) -> int:
        try:
            stored = stored_bytes(answer.headers.get("Range", ""))
        except ValueError:
            stored = -1
        if not 0 <= stored <= self._size:
            raise self._over()
        return stored


_OVER_HINT = "Look at the network and at Google's status page; the same command begins anew."
