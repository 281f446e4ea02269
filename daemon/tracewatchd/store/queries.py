"""Reading: ledger, rows, and what people ask for; each call is one page or one bounded answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from tracewatchd.model.ledger import LedgerRow, QuarantineRow, RowVersion
from tracewatchd.model.record import Reason
from tracewatchd.model.stamp import Stamp, Version
from tracewatchd.store.connect import Connection
from tracewatchd.store.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One row of ``runs``. ``data`` and ``metadata`` are JSON text as Postgres writes it; times are aware (UTC)."""

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
    file_mtime_ns: int
    file_sha256: bytes
    rules: int
    sanitized: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many runs the database holds of one project and day."""

    project: str
    run_date: date
    runs: int


@dataclass(frozen=True, slots=True)
class QuarantineCount:
    """How many files of a project-day are quarantined for one reason; ``directory`` is ``<project folder>/<day>``."""

    source: str
    directory: str
    reason: str
    files: int


def _aware(stored: datetime) -> datetime:
    """A time as the model has it: the driver gives infinities, and nothing else, as naive extremes."""
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored


def stored_run(row: asyncpg.Record) -> StoredRun:
    """A row of ``runs`` as an object."""
    fields = dict(row)
    for name in ("start_time", "end_time", "extracted_at"):
        fields[name] = fields[name] and _aware(fields[name])
    fields["sanitized"] = None if fields["sanitized"] is None else tuple(fields["sanitized"])
    return StoredRun(**fields)


def ledger_row(row: asyncpg.Record) -> LedgerRow:
    """A row of the ledger as an object."""
    return LedgerRow(
        path=row["path"],
        stamp=Stamp(row["size_bytes"], row["mtime_ns"], row["ctime_ns"]),
        state=row["state"],
        file_sha256=row["file_sha256"],
        run_id=row["run_id"],
        reason=Reason(row["reason"]) if row["reason"] else None,
        detail=row["detail"],
        setting=row["setting"],
        rules=row["rules"],
    )


async def row_versions(connection: Connection, schema: str, run_ids: Iterable[UUID]) -> dict[UUID, RowVersion]:
    """The versions of those of these runs that have a row."""
    rows = await connection.fetch(statement("versions", schema), list(run_ids))
    return {
        row["run_id"]: RowVersion(
            run_id=row["run_id"],
            version=Version(_aware(row["extracted_at"]), row["file_mtime_ns"], row["file_sha256"]),
            rules=row["rules"],
        )
        for row in rows
    }


async def ledger_rows(connection: Connection, schema: str, source: str, paths: Sequence[str]) -> dict[str, LedgerRow]:
    """What the ledger holds of these paths."""
    rows = await connection.fetch(statement("ledger_rows", schema), source, list(paths))
    return {row["path"]: ledger_row(row) for row in rows}


async def ledger_page(
    connection: Connection, schema: str, source: str, directory: str, after: str, limit: int
) -> list[LedgerRow]:
    """The next rows of a directory in byte order of their paths."""
    # "0" is the character after "/": the first text after everything in the directory.
    first, end = max(after, f"{directory}/"), f"{directory}0"
    return [
        ledger_row(row) for row in await connection.fetch(statement("ledger_page", schema), source, first, end, limit)
    ]


async def ledger_of_runs(connection: Connection, schema: str, run_ids: Iterable[UUID]) -> list[tuple[str, LedgerRow]]:
    """Every ledger row, of any source, that acknowledges one of these runs."""
    rows = await connection.fetch(statement("ledger_of_runs", schema), list(run_ids))
    return [(row["source"], ledger_row(row)) for row in rows]


def quarantine_row(row: asyncpg.Record) -> QuarantineRow:
    """A quarantined file as an operator sees it."""
    return QuarantineRow(**{**dict(row), "reason": Reason(row["reason"])})
