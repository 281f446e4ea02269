"""Asking the LangSmith stand-in over plain HTTP, one connection a question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from langsmith_server import KEY, Server

PATIENCE_S = 10.0


class Answer(NamedTuple):
    """A status, headers by lower-case name, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


def ask(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> Answer:
    """One request with the good key, unless ``headers`` say otherwise.

    Args:
        server: Who is asked.
        method: Its method.
        path: Its path; or a whole URL of the server's.
        body: Sent as JSON, unless it is bytes; None sends none.
        query: Parameters; a list is sent as several of one name.
        headers: Sent in the place of the key.
        patience_s: How long to wait for any bytes.
    """
    at = urlsplit(server.url)
    connection = HTTPConnection(at.hostname or "", at.port, timeout=patience_s)
    target = path.removeprefix(server.url) + (f"?{urlencode(query, doseq=True)}" if query else "")
    sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, target, sent, dict({"x-api-key": KEY} if headers is None else headers))
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, response.read())
    finally:
        connection.close()


def v1_pages(server: Server, **body: Any) -> list[Any]:
    """All pages of a v1 query, to the end of its cursors."""
    pages = [ask(server, "POST", "/runs/query", body).json]
    while cursor := pages[-1]["cursors"]["next"]:
        pages.append(ask(server, "POST", "/runs/query", body | {"cursor": cursor}).json)
    return pages


def v2_pages(server: Server, **body: Any) -> list[Any]:
    """All pages of a v2 query, to the end of its cursors."""
    pages = [ask(server, "POST", "/api/v2/runs/query", body).json]
    while cursor := pages[-1].get("next_cursor"):
        pages.append(ask(server, "POST", "/api/v2/runs/query", body | {"cursor": cursor}).json)
    return pages
