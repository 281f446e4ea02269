"""The one transaction that writes runs and acknowledges their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from tracewatchd.model.ledger import RowVersion
from tracewatchd.model.record import Rejection, TraceRecord
from tracewatchd.model.results import ACKNOWLEDGED, BatchResult, Outcome
from tracewatchd.model.stamp import NO_EXTRACTION
from tracewatchd.store.connect import Connection
from tracewatchd.store.queries import row_versions
from tracewatchd.store.statements import statement

_COLUMNS = (
    "run_id", "trace_id", "parent_run_id", "project", "run_date", "trace_date", "name", "run_type", "status",
    "start_time", "end_time", "total_tokens", "total_cost", "rules", "sanitized",
)  # fmt: skip
_PARAMETERS = ("metadata", "data")
"""What can be refused in each parameter of the upsert: the typed columns beside the metadata fit."""
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_PARAMETER = re.compile(r"\$(\d+)\D*\Z")  # so it ends in every language of the server's messages


async def commit_batch(
    connection: Connection,
    schema: str,
    source: str,
    records: Sequence[TraceRecord],
    rejections: Sequence[Rejection],
    *,
    overwrite: bool,
) -> BatchResult:
    """Write a batch inside the caller's transaction: runs in order of run id, then the ledger in order of paths."""
    written = await write_runs(connection, schema, records, overwrite=overwrite)
    return await acknowledge(connection, schema, source, records, rejections, written)


async def write_runs(
    connection: Connection, schema: str, records: Sequence[TraceRecord], *, overwrite: bool
) -> BatchResult:
    """The first half of a batch: its runs, locked in order of run id."""
    outcomes: dict[str, Outcome] = {}
    retry: list[str] = []
    for rows in rounds(records):
        written = await _write(connection, schema, rows, overwrite=overwrite)
        refused = [row for row in rows if row.run_id not in written]
        outcomes |= {
            row.path: Outcome.LOADED if written[row.run_id] else Outcome.UPDATED
            for row in rows
            if row.run_id in written
        }
        if refused:
            stored = await row_versions(connection, schema, [row.run_id for row in refused])
            judged = judge(refused, stored, overwrite=overwrite)
            retry += [row.path for row in refused if row.path not in judged]
            outcomes |= judged
            await _touch(connection, schema, [row for row in refused if judged.get(row.path) is Outcome.UNCHANGED])
    return BatchResult(outcomes, tuple(retry))


async def acknowledge(
    connection: Connection,
    schema: str,
    source: str,
    records: Sequence[TraceRecord],
    rejections: Sequence[Rejection],
    written: BatchResult,
) -> BatchResult:
    """The second half of a batch: the ledger says what became of each file."""
    acknowledged = [record for record in records if written.outcomes.get(record.path) in ACKNOWLEDGED]
    await _remember(connection, schema, source, acknowledged, rejections)
    quarantined = {rejection.path: Outcome.QUARANTINED for rejection in rejections}
    return BatchResult({**written.outcomes, **quarantined}, written.retry)


def rounds(records: Iterable[TraceRecord]) -> list[list[TraceRecord]]:
    """The statements that a batch needs: one statement cannot take two files of one run, so the older wait.

    Each is in order of run id, as every writer locks rows in that order; `unnest` keeps it, and to sort rows that wide
    the server would copy them.
    """
    taken: dict[UUID, int] = {}
    found: list[list[TraceRecord]] = []
    for record in sorted(records, key=lambda record: record.version, reverse=True):
        turn = taken.get(record.run_id, 0)
        taken[record.run_id] = turn + 1
        if turn == len(found):
            found.append([])
        found[turn].append(record)
    return [sorted(rows, key=lambda row: row.run_id) for rows in found]


async def _write(
    connection: Connection, schema: str, rows: Sequence[TraceRecord], *, overwrite: bool
) -> dict[UUID, bool]:
    """The runs whose row is now this record's, and whether it was inserted."""
    columns = _ENCODER.encode([columns_of(row) for row in rows])
    sql = statement("upsert" if overwrite else "insert", schema)
    try:
        return {
            row["run_id"]: row["inserted"] for row in await connection.fetch(sql, columns, [row.data for row in rows])
        }
    except asyncpg.PostgresError as error:
        error.column_name = error.column_name or _column_of(error.context)
        raise


def columns_of(record: TraceRecord) -> dict[str, Any]:
    """Everything of a row but its data."""
    columns = {name: getattr(record, name) for name in _COLUMNS}
    columns["metadata"] = None if record.metadata is None else msgspec.Raw(record.metadata)
    columns["extracted_at"] = "-infinity" if record.extracted_at == NO_EXTRACTION else record.extracted_at
    columns["file_mtime_ns"] = record.stamp.mtime_ns
    columns["file_sha256"] = _as_text(record.file_sha256)
    return columns


def _as_text(sha256: bytes | None) -> str | None:
    return None if sha256 is None else "\\x" + sha256.hex()


def _column_of(context: str | None) -> str | None:
    """The column whose parameter the server could not take in; the rest of an error's context may quote content."""
    found = _PARAMETER.search((context or "").rpartition("\n")[2])
    return _PARAMETERS[int(found[1]) - 1] if found and int(found[1]) <= len(_PARAMETERS) else None


def judge(rows: Sequence[TraceRecord], stored: Mapping[UUID, RowVersion], *, overwrite: bool) -> dict[str, Outcome]:
    """What the row that won says of each record; those of which it says nothing are missing from the answer."""
    judged: dict[str, Outcome] = {}
    for row in rows:
        there = stored.get(row.run_id)
        if there is None:
            continue
        if there.version.sha256 == row.file_sha256:
            judged[row.path] = Outcome.UNCHANGED
        elif there.version > row.version:
            judged[row.path] = Outcome.SUPERSEDED
        elif not overwrite:
            judged[row.path] = Outcome.LEFT
    return judged


async def _touch(connection: Connection, schema: str, rows: Sequence[TraceRecord]) -> None:
    if rows:
        await connection.execute(
            statement("touch", schema),
            [row.run_id for row in rows],
            [row.stamp.mtime_ns for row in rows],
            [row.file_sha256 for row in rows],
        )


async def _remember(
    connection: Connection,
    schema: str,
    source: str,
    records: Sequence[TraceRecord],
    rejections: Sequence[Rejection],
) -> None:
    rows = [_ledger_row(record) for record in records] + [_ledger_row(rejection) for rejection in rejections]
    if rows:
        await connection.execute(statement("remember", schema), source, _ENCODER.encode(rows))


def _ledger_row(file: TraceRecord | Rejection) -> dict[str, Any]:
    row = {
        "path": file.path,
        **file.stamp._asdict(),
        "file_sha256": _as_text(file.file_sha256),
        "run_id": file.run_id,
        "state": "acknowledged",
        "rules": file.rules,
    }
    if isinstance(file, Rejection):
        why = {"state": "quarantined", "reason": file.reason, "detail": file.detail, "setting": file.setting}
        return row | why
    return row
