"""Upload sessions of the Drive stand-in: what was stored, and what a Content-Range means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from drive_answers import RefusedError
from drive_faults import GRAIN_BYTES
from drive_state import Caller, DriveFile

LIFETIME_S = 7 * 86_400.0
"""A session is over after a week."""
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Span:
    """What a Content-Range says: the first byte, how many there are (None: the state is asked for), and of how many."""

    first: int
    length: int | None
    total: int | None


def span(header: str | None, length: int | None) -> Span:
    """Read a request's Content-Range; without one the body is the whole file.

    Raises:
        RefusedError: 400 where it contradicts itself or the Content-Length.
    """
    if header is None:
        return Span(0, length or 0, length or 0)
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        raise RefusedError(status=400, subject="Failed to parse Content-Range header.")
    first, last, total = (None if part in {None, "*"} else int(part) for part in found.groups())
    if first is None or last is None:
        return Span(0, None, total)
    if (total is not None and last >= total) or (length is not None and length != last - first + 1):
        raise RefusedError(status=400, subject="Failed to parse Content-Range header.")
    return Span(first, last - first + 1, total)


@dataclass
class Session:
    """An upload that has begun."""

    id: str
    query: dict[str, str]
    told: dict[str, Any]
    """The metadata."""
    caller: Caller
    began_s: float
    mime_type: str
    total: int | None
    replaces: DriveFile | None = None
    """The file that gets a new revision; None makes a new one."""
    stored: bytearray = field(default_factory=bytearray, repr=False)
    file: DriveFile | None = None
    """The file, once it is complete."""
    gone: int = 0
    """The status that everything is answered with, once the session is over."""

    def check(self, chunk: Span) -> None:
        """Refuse a chunk that cannot follow what is stored."""
        if chunk.total is not None and self.total is not None and chunk.total != self.total:
            raise RefusedError(status=400, subject="Invalid request. The total size contradicts the one said before.")
        self.total = chunk.total if self.total is None else self.total
        if chunk.length is None:
            return
        if chunk.first > len(self.stored):
            said = f"the upload offset is {chunk.first} byte(s), which exceeds already uploaded size of"
            raise RefusedError(
                status=400,
                subject=f"Invalid request.  According to the Content-Range header, {said} {len(self.stored)} byte(s).",
            )
        if chunk.first + chunk.length != self.total and (chunk.length % GRAIN_BYTES or not chunk.length):
            said = f"required to be a multiple of {GRAIN_BYTES}, except for the final request"
            raise RefusedError(
                status=400,
                subject=f"Invalid request. The number of bytes uploaded is {said}. It was {chunk.length}.",
            )

    def store(self, first: int, content: bytes) -> None:
        """Keep what is not stored yet."""
        self.stored += content[len(self.stored) - first :]

    @property
    def full(self) -> bool:
        """Whether every byte is stored."""
        return self.total is not None and len(self.stored) >= self.total

    @property
    def range(self) -> dict[str, str]:
        """The header of a 308 that says what is stored: none when nothing is."""
        return {"Range": f"bytes=0-{len(self.stored) - 1}"} if self.stored else {}
