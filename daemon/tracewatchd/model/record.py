"""What decoding a run file gives: a `TraceRecord` that can be stored or a `Rejection` that says why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from tracewatchd.model.stamp import Stamp, Version

RULES = 1
"""Number of our derivation and sanitising rules; raised when they change, so that old rows can be derived again."""

Sanitize = Literal["replace", "reject"]


class Reason(StrEnum):
    """Why a file is quarantined."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    UNSUPPORTED_SHAPE = "unsupported_shape"
    NO_RUN_ID = "no_run_id"
    BAD_RUN_ID = "bad_run_id"
    NEEDS_SANITIZING = "needs_sanitizing"
    UNSTORABLE = "unstorable"
    KEEPS_FAILING = "keeps_failing"


SETTLING = frozenset({Reason.EMPTY, Reason.TRUNCATED})
"""Reasons that may only mean that the file is still being written: they are believed when it has stood still."""


class TraceRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run, ready for the table ``runs``, and the file that it was read from.

    ``data`` and ``metadata`` are JSON text in UTF-8 that jsonb accepts as far as a decoder can know. Times are aware
    (UTC). ``sanitized`` lists the JSON pointers, in the sanitised run, of what had to be replaced; None when nothing.
    Pointers into the envelope's metadata start with ``/metadata``, pointers into the run with ``/data``, and a typed
    column that could not hold its value is listed as ``/columns/<name>``.
    """

    path: str
    stamp: Stamp
    file_sha256: bytes
    run_id: UUID
    trace_id: UUID
    parent_run_id: UUID | None
    project: str
    run_date: date
    trace_date: date | None
    name: str | None
    run_type: str | None
    status: str | None
    start_time: datetime | None
    end_time: datetime | None
    total_tokens: int | None
    total_cost: Decimal | None
    data: bytes
    metadata: bytes | None
    extracted_at: datetime
    sanitized: tuple[str, ...] | None = None
    rules: int = RULES

    @property
    def version(self) -> Version:
        """What decides between two files of this run."""
        return Version(self.extracted_at, self.stamp.mtime_ns, self.file_sha256)

    @property
    def size_bytes(self) -> int:
        """Bytes of JSON that storing this record sends."""
        return len(self.data) + len(self.metadata or b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A run file that is not to be stored, and why.

    ``detail`` is a sentence for the operator and never quotes the file's content; ``setting`` is the ``key=value``
    that caused it, where one did, so that the file is offered again when that setting changes.
    """

    path: str
    stamp: Stamp
    reason: Reason
    detail: str
    file_sha256: bytes | None = None
    run_id: UUID | None = None
    setting: str | None = None
    rules: int = RULES
