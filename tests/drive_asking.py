"""A client for the Drive stand-in that does exactly what it is told, one connection per request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from drive_server import TOKEN, DriveServer

FILES = "/drive/v3/files"
UPLOAD = "/upload/drive/v3/files"
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason in an error of Google's shape."""
        error = self.json["error"]
        assert error["code"] == self.status
        assert error["errors"][0]["message"] == error["message"]
        return str(error["errors"][0]["reason"])


class Asking:
    """Asks one server with one access token (None: without)."""

    def __init__(self, server: DriveServer, token: str | None = TOKEN, *, patience_s: float = PATIENCE_S) -> None:
        self._host = urlsplit(server.url).netloc
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._patience_s = patience_s

    def __call__(
        self, method: str, path: str, body: bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None, /, **query: str | int,
    ) -> Answer:  # fmt: skip
        """One request. A dictionary is sent as JSON; keywords become the query."""
        content = json.dumps(body).encode() if isinstance(body, Mapping) else body
        connection = http.client.HTTPConnection(self._host, timeout=self._patience_s)
        try:
            place = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, place, content, self._headers | dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, file_id: str, /, **query: str | int) -> Answer:
        return self("GET", f"{FILES}/{file_id}", **query)

    def listed(self, q: str = "", /, **query: str | int) -> Answer:
        chosen: dict[str, str | int] = {"q": q} if q else {}
        return self("GET", FILES, None, None, **chosen, **query)

    def names(self, q: str = "", /, **query: str | int) -> list[str]:
        """The names of the files that a query finds, sorted."""
        answer = self.listed(q, **query)
        assert answer.status == 200, answer.body
        return sorted(file["name"] for file in answer.json["files"])

    def create(self, told: Mapping[str, Any], /, **query: str | int) -> Answer:
        return self("POST", FILES, told, **query)

    def download(self, file_id: str, span: str | None = None) -> Answer:
        return self("GET", f"{FILES}/{file_id}", None, {"Range": span} if span else {}, alt="media")

    def begin(
        self, told: Mapping[str, Any], total: int | None = None, file_id: str = "", /, **query: str | int
    ) -> Answer:
        """Ask for an upload session, to replace a file where one is named."""
        headers = {"X-Upload-Content-Type": "application/zip"}
        headers |= {} if total is None else {"X-Upload-Content-Length": str(total)}
        method, path = ("PATCH", f"{UPLOAD}/{file_id}") if file_id else ("POST", UPLOAD)
        return self(method, path, told, headers, uploadType="resumable", **query)

    def session(self, total: int | None = None, name: str = "day.zip", /, **query: str | int) -> str:
        """The path of a new upload session."""
        answer = self.begin({"name": name}, total, **query)
        assert answer.status == 200, answer.body
        place = urlsplit(answer.headers["Location"])
        return f"{place.path}?{place.query}"

    def chunk(
        self, session: str, first: int, content: bytes, total: int | str, *, method: str = "PUT", token: bool = True
    ) -> Answer:
        """Send a chunk."""
        span = f"bytes {first}-{first + len(content) - 1}/{total}"
        asking = self if token else self._without_token()
        return asking(method, session, content, {"Content-Range": span})

    def stored(self, session: str, total: int | str = "*") -> Answer:
        """Ask what of an upload is stored."""
        return self("PUT", session, b"", {"Content-Range": f"bytes */{total}"})

    def _without_token(self) -> Asking:
        bare = Asking.__new__(Asking)
        bare._host, bare._headers, bare._patience_s = self._host, {}, self._patience_s
        return bare
