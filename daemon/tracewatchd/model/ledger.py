"""What the database remembers of a file, and how a file's state follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from tracewatchd.model.record import Reason
from tracewatchd.model.stamp import Stamp, Version

LedgerState = Literal["acknowledged", "quarantined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One file as the ledger knows it."""

    path: str
    stamp: Stamp
    state: LedgerState
    file_sha256: bytes | None
    run_id: UUID | None
    reason: Reason | None
    detail: str | None
    setting: str | None
    rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVersion:
    """What the table ``runs`` holds of one run, without its data."""

    run_id: UUID
    version: Version
    rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySummary:
    """One directory's ledger rows in few numbers.

    ``files``, ``quarantined`` and ``fingerprint`` leave out what was told as gone, where that was asked for. ``runs``
    and ``sum`` are about all acknowledged rows, whose run ids are one text, to be passed on as it came.
    """

    files: int
    quarantined: int
    fingerprint: bytes
    runs: int
    sum: Decimal | None
    run_ids: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOutline:
    """Where the ledger has paths: directories of days, and paths that are in no such directory."""

    directories: list[str]
    strays: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """A quarantined file as the ledger tells an operator."""

    source: str
    path: str
    reason: Reason
    detail: str
    setting: str | None
    size_bytes: int
    file_sha256: str | None
    run_id: UUID | None
    rules: int
    first_seen_at: datetime
    updated_at: datetime
