"""A stand-in for Google Drive: its files, uploads, downloads and OAuth as a real HTTP server on loopback.

    drive = DriveState()
    with serving_drive(drive, faults=[unavailable(on="upload.chunk")]) as server:
        ... server.url, server.requests, drive.named("2025-08-29.zip") ...

`drive_state.py` holds what Drive holds, `drive_faults.py` what can go wrong, `drive_oauth.py` the accounts. That it is
faithful is shown by tests/integration/test_drive_server.py, and by Google's own client and rclone in
tests/integration/test_drive_clients.py.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from drive_answers import RefusedError
from drive_faults import Fault, Faults, Request
from drive_oauth import OAuth, OAuthError
from drive_query import chosen, selection
from drive_reading import asked_part, flipped, kept_bytes, metadata, multipart, operations
from drive_state import Caller, DriveFile, DriveState, moment
from drive_uploads import LIFETIME_S, Session, Span, span

TOKEN = "ya29.the-stand-in-s-own"
"""An access token that never expires, unless another is named."""
PATIENCE_S = 60.0
_PIECE_BYTES = 65_536
_FILE_FIELDS = "kind,id,name,mimeType"
_LIST_FIELDS = f"kind,incompleteSearch,nextPageToken,files({_FILE_FIELDS},driveId,teamDriveId)"
_PATHS = ("/upload/drive/v3/files", "/resumable/upload/drive/v3/files")
_RESUME_INCOMPLETE = 308
_RST = struct.pack("ii", 1, 0)


class DroppedError(Exception):
    """The connection ends instead of an answer."""


@dataclass
class Call:
    """A request on its way through the server."""

    http: web.Request
    request: Request
    caller: Caller
    fault: Fault | None = None
    whole: bool = False
    """Its body was read to the end."""

    @property
    def query(self) -> dict[str, str]:
        return self.request.query

    @property
    def all_drives(self) -> bool:
        """Whether the caller said that it knows shared drives."""
        return _knows_all_drives(self.query)

    @property
    def file_id(self) -> str:
        return self.http.match_info["id"]


Answers = Callable[[Call], Awaitable[web.StreamResponse]]


class DriveServer:
    """The server, as a test sees it: where it is, what it was asked, and what of the bad weather is left."""

    def __init__(
        self, drive: DriveState, faults: Iterable[Fault], token: str | None, chunk_limit: int | None, patience_s: float
    ) -> None:
        self.drive = drive
        self.faults = Faults(faults)
        self.requests: list[Request] = []
        self.sessions: dict[str, Session] = {}
        self.chunk_limit = chunk_limit
        self._patience_s = patience_s
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.oauth = OAuth(self.url, drive.clock, token)
        self._listening = listening
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()

    # -----------------------------------------------------------------------------------------------------------------
    # What a test asks

    def asked(self, operation: str) -> list[Request]:
        """The requests for an operation so far, as drive_faults.Fault names them."""
        return [request for request in self.requests if operation in request.operations]

    @property
    def uploaded_bytes(self) -> int:
        """How many bytes of files arrived, stored or not, several times or not."""
        return sum(one.body_bytes for one in self.requests if {"upload.chunk", "upload.whole"} & one.operations)

    @property
    def uploaded_by_session(self) -> dict[str, int]:
        """The same by session."""
        sums = dict.fromkeys(self.sessions, 0)
        for one in self.asked("upload.chunk"):
            if (session := one.query["upload_id"]) in sums:
                sums[session] += one.body_bytes
        return sums

    def end_sessions(self, status: int = 404) -> None:
        """Every upload session is over."""
        for session in self.sessions.values():
            session.gone = status

    # -----------------------------------------------------------------------------------------------------------------
    # Life

    def serve(self, ready: threading.Event) -> None:
        """Serve until `close`, in this thread."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, self._listening).start()
        ready.set()
        await self._closing.wait()
        await runner.cleanup()

    def close(self) -> None:
        """Stop; who still waits for an answer is cut off."""
        self._loop.call_soon_threadsafe(self._closing.set)

    def _application(self) -> web.Application:
        application = web.Application()
        for method, path, operation, answer in (
            ("GET", "/drive/v3/about", "about.get", self._about),
            ("GET", "/drive/v3/drives", "drives.list", self._drives),
            ("GET", "/drive/v3/drives/{id}", "drives.get", self._one_drive),
            ("GET", "/drive/v3/files", "files.list", self._list),
            ("POST", "/drive/v3/files", "files.create", self._create),
            ("GET", "/drive/v3/files/generateIds", "files.generateIds", self._generate_ids),
            ("GET", "/drive/v3/files/{id}", "files.get", self._get),
            ("PATCH", "/drive/v3/files/{id}", "files.update", self._update),
            ("DELETE", "/drive/v3/files/{id}", "files.delete", self._delete),
            ("GET", "/drive/v3/files/{id}/revisions", "files.revisions", self._revisions),
            ("POST", "/token", "oauth.token", self._token),
            ("GET", "/o/oauth2/auth", "oauth.authorize", self._authorize),
            ("POST", "/revoke", "oauth.revoke", self._revoke),
            *(("*", path + end, "upload", self._upload) for path in _PATHS for end in ("", "/{id}")),
            ("*", "/{rest:.*}", "unknown", self._unknown),
        ):
            application.router.add_route(method, path, self._handler(operation, answer))
        return application

    def _handler(self, operation: str, answer: Answers) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(http: web.Request) -> web.StreamResponse:
            request = Request(http.method, http.path, dict(http.query), http.headers, operations(operation, http))
            self.requests.append(request)
            response = await self._answered(http, request, answer)
            if response is None:
                _cut(http)
                return web.Response()
            request.status = response.status
            return response

        return handle

    async def _answered(self, http: web.Request, request: Request, answer: Answers) -> web.StreamResponse | None:
        """The answer, an error's too; None where the connection ends without one."""
        call = Call(http, request, Caller(""))
        try:
            try:
                call.caller = self._authorised(call)
                call.fault = self.faults.at(request)
                return await self._weathered(call, answer)
            except RefusedError as refused:
                await self._receive(call)
                headers = refused.headers | {"Content-Type": refused.content_type}
                return web.Response(status=refused.status, body=refused.body, headers=headers)
            except OAuthError as refused:
                return web.json_response(refused.body, status=refused.status)
        except DroppedError:
            return None

    def _authorised(self, call: Call) -> Caller:
        """Who asks. The URI of an upload session is a key by itself, but a token that is sent must be good."""
        header = call.request.headers.get("Authorization")
        if any(name.startswith(("oauth", "unknown")) for name in call.request.operations):
            return Caller("")
        session = self.sessions.get(call.query.get("upload_id", ""))
        if header is None and session is not None:
            return session.caller
        caller = self.oauth.caller(header)
        if caller is None:
            raise RefusedError("authError")
        return caller

    # -----------------------------------------------------------------------------------------------------------------
    # Weather

    async def _weathered(self, call: Call, answer: Answers) -> web.StreamResponse:
        """The answer, or what goes wrong in its place; chunks and downloads know some faults of their own."""
        fault = call.fault
        if fault is None or "upload.chunk" in call.request.operations:
            return await answer(call)
        if fault.kind == "refuse":
            raise self._refusal(call, fault)
        if fault.kind == "gone":
            self._session(call).gone = fault.status
            raise RefusedError(status=fault.status)
        if "files.download" in call.request.operations and fault.kind != "lose":
            return await answer(call)
        if fault.kind in {"reset", "stall"}:
            await self._receive(call, fault.after_bytes)
            raise await self._dropped(fault)
        response = await answer(call)
        if fault.kind == "lose":
            raise DroppedError
        return response

    def _refusal(self, call: Call, fault: Fault) -> RefusedError:
        if fault.reason == "authError":
            self.oauth.over(call.request.headers.get("Authorization"))
        return fault.refusal()

    async def _dropped(self, fault: Fault) -> DroppedError:
        """The end of the connection; of one that stalls, only when the server closes."""
        if fault.kind == "stall":
            await self._closing.wait()
        return DroppedError()

    async def _receive(self, call: Call, most: int | None = None) -> bytes:
        """The body, or its first `most` bytes; what arrived of it where the connection broke.

        Raises:
            DroppedError: nothing came for `patience_s`.
        """
        heard = bytearray()
        try:
            while not call.http.content.at_eof() and (most is None or len(heard) < most):
                wanted = _PIECE_BYTES if most is None else min(most - len(heard), _PIECE_BYTES)
                async with asyncio.timeout(self._patience_s):
                    piece = await call.http.content.read(wanted)
                heard += piece
                call.request.body_bytes += len(piece)
        except TimeoutError:
            raise DroppedError from None
        except OSError:
            return bytes(heard)
        call.whole = most is None
        return bytes(heard)

    async def _told(self, call: Call) -> dict[str, Any]:
        """The metadata in a body of JSON."""
        call.request.said = await self._receive(call)
        return metadata(call.request.said)

    # -----------------------------------------------------------------------------------------------------------------
    # Files

    async def _about(self, call: Call) -> web.Response:
        if "fields" not in call.query:
            raise RefusedError("required", "fields")
        drive = self.drive
        quota = {"usage": str(drive.usage_bytes), "usageInDrive": str(drive.usage_bytes), "usageInDriveTrash": "0"}
        quota |= {} if drive.quota_bytes is None else {"limit": str(drive.quota_bytes)}
        user = {"kind": "drive#user", "displayName": call.caller.email, "emailAddress": call.caller.email, "me": True}
        told = {"kind": "drive#about", "user": user, "storageQuota": quota, "importFormats": {}, "exportFormats": {}}
        return _json(call, told, "About", "*")

    async def _drives(self, call: Call) -> web.Response:
        drives = [_drive_told(drive.id, drive.name) for drive in self.drive.drives.values()]
        return _json(call, {"kind": "drive#driveList", "drives": drives}, "DriveList", "*")

    async def _one_drive(self, call: Call) -> web.Response:
        drive = self.drive.drives.get(call.file_id)
        if drive is None:
            raise RefusedError("notFound", call.file_id)
        return _json(call, _drive_told(drive.id, drive.name), "Drive", "*")

    async def _list(self, call: Call) -> web.Response:
        files, token = self.drive.search(call.query, call.caller)
        told: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False}
        told |= {"nextPageToken": token} if token else {}
        return _json(call, told | {"files": [file.resource() for file in files]}, "FileList", _LIST_FIELDS)

    async def _generate_ids(self, call: Call) -> web.Response:
        ids = self.drive.generate_ids(int(call.query.get("count", "10")))
        return _json(call, {"kind": "drive#generatedIds", "space": "drive", "ids": ids}, "GeneratedIds", "*")

    async def _create(self, call: Call) -> web.Response:
        told = await self._told(call)
        return _file(call, self.drive.create(told, None, call.caller, all_drives=call.all_drives))

    async def _get(self, call: Call) -> web.StreamResponse:
        file = self._found(call)
        return await self._download(call, file) if call.query.get("alt") == "media" else _file(call, file)

    async def _update(self, call: Call) -> web.Response:
        told, file = await self._told(call), self._found(call)
        self.drive.update(file, told, None)
        self._move(call, file, call.query)
        return _file(call, file)

    def _move(self, call: Call, file: DriveFile, query: dict[str, str]) -> None:
        add, remove = (query[name].split(",") if name in query else [] for name in ("addParents", "removeParents"))
        self.drive.move(file, add, remove, call.caller, all_drives=call.all_drives)

    async def _delete(self, call: Call) -> web.Response:
        self.drive.delete(self._found(call))
        return web.Response(status=204)

    async def _revisions(self, call: Call) -> web.Response:
        told = [
            {"kind": "drive#revision", "id": one.id, "mimeType": file.mime_type, "modifiedTime": moment(one.modified_s),
             "size": str(len(one.content)), "md5Checksum": one.md5}
            for file in [self._found(call)] for one in file.revisions
        ]  # fmt: skip
        return _json(call, {"kind": "drive#revisionList", "revisions": told}, "RevisionList", "*")

    def _found(self, call: Call) -> DriveFile:
        return self.drive.find(call.file_id, call.caller, all_drives=call.all_drives)

    async def _download(self, call: Call, file: DriveFile) -> web.StreamResponse:
        if not file.revisions:
            raise RefusedError("fileNotDownloadable")
        fault = call.fault
        status, headers, content = asked_part(file.content, call.request.headers.get("Range"))
        content = flipped(content) if fault is not None and fault.kind == "corrupt" else content
        headers |= {"Accept-Ranges": "bytes", "Content-Type": file.mime_type}
        if fault is None or fault.kind not in {"reset", "stall"}:
            return web.Response(status=status, headers=headers, body=content)
        response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(content))})
        await response.prepare(call.http)
        await response.write(content[: len(content) // 2 if fault.after_bytes is None else fault.after_bytes])
        raise await self._dropped(fault)

    # -----------------------------------------------------------------------------------------------------------------
    # Uploads

    async def _upload(self, call: Call) -> web.Response:
        operations = call.request.operations
        if "upload.start" in operations:
            return await self._start(call)
        if "upload.whole" in operations:
            return await self._whole(call)
        session = self._session(call)
        if "upload.cancel" in operations:
            session.gone = 499
            raise RefusedError(status=499)
        chunk = span(call.request.headers.get("Content-Range"), call.http.content_length)
        if session.file is None:
            session.check(chunk)
        if chunk.length is not None:
            await self._chunk(call, session, chunk)
        return self._state(session)

    async def _start(self, call: Call) -> web.Response:
        """A new session, for a file that may be made."""
        told, headers = await self._told(call), call.request.headers
        size = headers.get("X-Upload-Content-Length")
        total = int(size) if size else None
        replaces = self._admitted(call, told, total or 0)
        session = Session(
            secrets.token_urlsafe(32), call.query, told, call.caller, self.drive.clock(),
            headers.get("X-Upload-Content-Type", ""), total, replaces,
        )  # fmt: skip
        self.sessions[session.id] = session
        host = call.http.host
        place = f"{'http' if host.startswith('127.0.0.1') else 'https'}://{host}{call.request.path}"
        return web.Response(headers={"Location": f"{place}?{urlencode(call.query | {'upload_id': session.id})}"})

    def _admitted(self, call: Call, told: dict[str, Any], size: int) -> DriveFile | None:
        """The file that the upload replaces, None for a new one; or why not."""
        if "id" not in call.http.match_info:
            self.drive.may_create(told, size, call.caller, all_drives=call.all_drives)
            return None
        file = self._found(call)
        self.drive.may_update(file, told, size)
        return file

    def _session(self, call: Call) -> Session:
        session = self.sessions.get(call.query.get("upload_id", ""))
        if session is None:
            raise RefusedError(status=404)
        if session.gone or self.drive.clock() - session.began_s > LIFETIME_S:
            raise RefusedError(status=session.gone or 404)
        return session

    async def _chunk(self, call: Call, session: Session, chunk: Span) -> None:
        """Store what the weather lets through, and end as it wants."""
        fault, length = call.fault, chunk.length or 0
        most = None
        if fault is not None and fault.kind in {"reset", "stall"}:
            most = length // 2 if fault.after_bytes is None else fault.after_bytes
        content = await self._receive(call, most)
        if session.file is None:
            stored = flipped(content) if fault is not None and fault.kind == "corrupt" else content
            session.store(chunk.first, stored[: kept_bytes(fault, len(content), length, self.chunk_limit)])
        if fault is not None:
            await self._after_chunk(call, session, fault)
        if len(content) < length:
            raise DroppedError

    async def _after_chunk(self, call: Call, session: Session, fault: Fault) -> None:
        if fault.kind == "refuse":
            raise self._refusal(call, fault)
        if fault.kind == "gone":
            session.gone = fault.status
            raise RefusedError(status=fault.status)
        if fault.kind == "lose":
            self._state(session)
        if fault.kind in {"reset", "stall", "lose"}:
            raise await self._dropped(fault)

    def _state(self, session: Session) -> web.Response:
        """The file where all of it is stored, and its making if nobody asked before; else 308 and what is stored."""
        if session.file is None and session.full:
            session.file = self._completed(session)
            session.stored = bytearray()
        if session.file is not None:
            return _resource(session.file, session.query)
        return web.Response(status=_RESUME_INCOMPLETE, reason="Resume Incomplete", headers=session.range)

    def _completed(self, session: Session) -> DriveFile:
        content, all_drives = bytes(session.stored), _knows_all_drives(session.query)
        if session.replaces is not None:
            self.drive.update(session.replaces, session.told, content)
            return session.replaces
        return self.drive.create(
            session.told, content, session.caller, all_drives=all_drives, mime_type=session.mime_type
        )

    async def _whole(self, call: Call) -> web.Response:
        """A simple or multipart upload."""
        body = await self._receive(call)
        if not call.whole:
            raise DroppedError
        kind = call.http.content_type
        told: dict[str, Any] = {}
        if call.query.get("uploadType") == "multipart":
            told, kind, body = multipart(call.request.headers.get("Content-Type", ""), body)
        replaces = self._admitted(call, told, len(body))
        body = flipped(body) if call.fault is not None and call.fault.kind == "corrupt" else body
        if replaces is None:
            file = self.drive.create(told, body, call.caller, all_drives=call.all_drives, mime_type=kind)
            return _file(call, file)
        self.drive.update(replaces, told, body)
        return _file(call, replaces)

    # -----------------------------------------------------------------------------------------------------------------
    # OAuth

    async def _token(self, call: Call) -> web.Response:
        call.request.said = await self._receive(call)
        return web.json_response(self.oauth.token(call.request.said.decode()))

    async def _authorize(self, call: Call) -> web.Response:
        return web.Response(status=302, headers={"Location": self.oauth.consent(call.query)})

    async def _revoke(self, call: Call) -> web.Response:
        call.request.said = await self._receive(call)
        self.oauth.revoked(call.request.said.decode())
        return web.json_response({})

    async def _unknown(self, call: Call) -> web.Response:
        raise RefusedError(status=404)


@contextmanager
def serving_drive(
    drive: DriveState | None = None, *,
    faults: Iterable[Fault] = (), token: str | None = TOKEN, chunk_limit: int | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[DriveServer]:  # fmt: skip
    """A server for the length of the block.

    `token` is an access token that never expires (None: there is none, ask `server.oauth`); of each chunk at most
    `chunk_limit` bytes are stored; a body that does not come is waited for `patience_s`.
    """
    server = DriveServer(drive or DriveState(), faults, token, chunk_limit, patience_s)
    ready = threading.Event()
    thread = threading.Thread(target=server.serve, args=(ready,), name="drive", daemon=True)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield server
    finally:
        server.close()
        thread.join(PATIENCE_S)


# ---------------------------------------------------------------------------------------------------------------------
# Answers


def _knows_all_drives(query: dict[str, str]) -> bool:
    return "true" in {query.get("supportsAllDrives"), query.get("supportsTeamDrives")}


def _drive_told(drive_id: str, name: str) -> dict[str, Any]:
    return {"kind": "drive#drive", "id": drive_id, "name": name, "hidden": False}


def _json(call: Call, told: dict[str, Any], schema: str, fields: str) -> web.Response:
    return _selected(told, schema, call.query.get("fields") or fields)


def _selected(told: dict[str, Any], schema: str, fields: str) -> web.Response:
    tree = selection(fields, schema)
    return web.json_response(chosen(told, tree))


def _file(call: Call, file: DriveFile) -> web.Response:
    return _resource(file, call.query)


def _resource(file: DriveFile, query: dict[str, str]) -> web.Response:
    return _selected(file.resource(), "File", query.get("fields") or _FILE_FIELDS)


def _cut(http: web.Request) -> None:
    """End the connection with a reset, as a broken network does."""
    if http.transport is not None:
        http.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        http.transport.abort()
