"""What the Drive stand-in reads in a request: what is asked for, metadata, parts, ranges, and how much of it counts."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from drive_answers import RefusedError
from drive_faults import GRAIN_BYTES, Fault
from drive_uploads import span


def operations(operation: str, http: web.Request) -> frozenset[str]:
    """What a request asks for; see drive_faults.Fault."""
    if operation == "files.get" and http.query.get("alt") == "media":
        return frozenset({"files.download"})
    if operation != "upload":
        return frozenset({operation})
    if "upload_id" in http.query:
        return frozenset({"upload.cancel"}) if http.method == "DELETE" else _chunk_operations(http)
    return frozenset({"upload.start" if http.query.get("uploadType") == "resumable" else "upload.whole"})


def _chunk_operations(http: web.Request) -> frozenset[str]:
    try:
        chunk = span(http.headers.get("Content-Range"), None)
    except RefusedError:
        return frozenset({"upload.chunk"})
    if "Content-Range" not in http.headers:
        return frozenset({"upload.chunk", "upload.last"})
    if chunk.length is None:
        return frozenset({"upload.query"})
    return frozenset({"upload.chunk"} | ({"upload.last"} if chunk.first + chunk.length == chunk.total else set()))


def kept_bytes(fault: Fault | None, heard: int, length: int, limit: int | None) -> int:
    """How many bytes of a chunk are stored: when it breaks off, what is a multiple of the grain."""
    kept = heard if heard == length else heard - heard % GRAIN_BYTES
    if fault is not None and fault.keep_bytes is not None:
        kept = min(fault.keep_bytes, heard)
    elif fault is not None and fault.kind in {"refuse", "gone"}:
        kept = 0
    return kept if limit is None else min(kept, limit)


def metadata(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; nothing at all is an empty one."""
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        raise RefusedError("parseError") from None
    if not isinstance(told, dict):
        raise RefusedError("parseError")
    return told


def multipart(header: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    """The metadata, the content's type and the content of a multipart/related body."""
    boundary = re.search(r'boundary="?([^";]+)"?', header)
    mark = b"--" + boundary[1].encode() if boundary else b"-"
    end = b"\r\n" if body.startswith(mark + b"\r\n") else b"\n"
    pieces = (end + body).split(end + mark)
    if not header.startswith("multipart/related") or len(pieces) != 4:
        raise RefusedError("badRequest", "Malformed multipart body.")
    head, _, told = pieces[1].removeprefix(end).partition(end + end)
    head, _, content = pieces[2].removeprefix(end).partition(end + end)
    kind = re.search(rb"(?i)content-type:\s*([^\s;]+)", head)
    return metadata(told), kind[1].decode() if kind else "", content


def asked_part(content: bytes, header: str | None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and bytes of a download, of a range of it where one is asked for."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None or found.groups() == ("", ""):
        return 200, {}, content
    size = len(content)
    first = int(found[1]) if found[1] else max(size - int(found[2]), 0)
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if first >= size or last < first:
        return 416, {"Content-Range": f"bytes */{size}"}, b""
    return 206, {"Content-Range": f"bytes {first}-{last}/{size}"}, content[first : last + 1]


def flipped(content: bytes) -> bytes:
    """The content with one bit changed."""
    return bytes([content[0] ^ 1]) + content[1:] if content else content
