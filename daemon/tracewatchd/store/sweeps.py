"""What sweeps ask: whole directories in one answer, and whether rows still hold what their files say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from tracewatchd.model.certificate import Certificate, Location
from tracewatchd.model.findings import DayResult, Depth
from tracewatchd.model.ledger import DirectorySummary, LedgerRow
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.record import TraceRecord
from tracewatchd.store.commit import columns_of
from tracewatchd.store.connect import Connection
from tracewatchd.store.queries import ledger_row
from tracewatchd.store.sqlstate import classifying
from tracewatchd.store.statements import statement

_ENCODER = msgspec.json.Encoder(decimal_format="string")


class Between(NamedTuple):
    """Texts around all paths below a directory: "0" is the character after "/"."""

    first: str
    end: str

    @classmethod
    def of(cls, directory: str) -> Between:
        """The bounds of a directory's paths."""
        return cls(f"{directory}/", f"{directory}0")


async def directory_summary(
    connection: Connection, schema: str, source: str, directory: str, *, with_sha256: bool, without_told: bool
) -> DirectorySummary:
    """One directory's ledger rows in one answer."""
    arguments = (source, *Between.of(directory), with_sha256, without_told)
    (row,) = await connection.fetch(statement("directory_summary", schema), *arguments)
    return DirectorySummary(**row)


async def runs_agree(connection: Connection, schema: str, summary: DirectorySummary) -> bool:
    """Whether each acknowledged file of a directory has a row of its own that came from its bytes."""
    (row,) = await connection.fetch(statement("runs_sum", schema), summary.run_ids)
    return (row["runs"], row["sum"]) == (summary.runs, summary.sum)


async def quarantined_in(
    connection: Connection, schema: str, source: str, directory: str, limit: int
) -> list[LedgerRow]:
    """The quarantined files of one directory."""
    rows = await connection.fetch(statement("ledger_quarantined", schema), source, *Between.of(directory), limit)
    return [ledger_row(row) for row in rows]


async def known_below(connection: Connection, schema: str, source: str, folder: str, limit: int) -> int:
    """How many files below a folder are known and not told as gone, counted no further than the limit."""
    (row,) = await connection.fetch(statement("ledger_count", schema), source, *Between.of(folder), limit)
    return int(row["files"])


async def remember_days(
    connection: Connection, schema: str, source: str, depth: Depth, began_at: datetime, days: Iterable[DayResult]
) -> None:
    """Note what a sweep said of project-days that it compared whole."""
    rows = [
        {"directory": day.directory, "verdict": day.verdict, "files": day.files, "counts": dict(day.counts)}
        for day in days
    ]
    await connection.execute(statement("remember_days", schema), source, depth, began_at, _ENCODER.encode(rows))


async def certify(connection: Connection, schema: str, certificate: Certificate) -> None:
    """Add a certificate."""
    await connection.execute(
        statement("certify", schema),
        certificate.source,
        certificate.day.directory,
        certificate.certified_at,
        list(certificate.locations),
        certificate.runs,
        certificate.files,
        certificate.day_digest,
    )


async def certificates(connection: Connection, schema: str, source: str) -> dict[str, Certificate]:
    """The last certificate of each project-day, by directory."""
    rows = await connection.fetch(statement("certificates", schema), source)
    return {row["directory"]: _certificate(source, row) for row in rows}


async def changed_after(
    connection: Connection, schema: str, source: str, since: Mapping[str, datetime]
) -> frozenset[str]:
    """Those of these directories of which the ledger was written after the moment given for each."""
    rows = await connection.fetch(statement("changed_after", schema), source, list(since), list(since.values()))
    return frozenset(row["directory"] for row in rows)


def _certificate(source: str, row: asyncpg.Record) -> Certificate:
    return Certificate(
        source=source,
        day=ProjectDay.of(row["directory"]),
        certified_at=row["certified_at"],
        locations=tuple(map(Location, row["locations"])),
        runs=row["runs"],
        files=row["files"],
        day_digest=row["day_digest"],
    )


async def run_ids_after(
    connection: Connection, schema: str, after: UUID, limit: int, projects: Sequence[str] | None, day: date | None
) -> list[UUID]:
    """The next run ids in order: of all, or of some projects and one day."""
    if projects is None:
        rows = await connection.fetch(statement("run_ids_page", schema), after, limit)
    else:
        rows = await connection.fetch(statement("run_ids_of_day", schema), after, limit, projects, day)
    return [row["run_id"] for row in rows]


async def differing(
    connection: Connection, schema: str, records: Sequence[TraceRecord]
) -> Mapping[int, tuple[str, ...]]:
    """Which of these files' rows came from the same bytes and hold something else: by position, the columns.

    Raises:
        PoisonError: a record cannot be stored, so that no row can be what it says.
    """
    columns = _ENCODER.encode([_numbered(number, record) for number, record in enumerate(records)])
    with classifying(content=True):
        rows = await connection.fetch(statement("differing", schema), columns, [record.data for record in records])
    return {row["number"]: tuple(row["columns"]) for row in rows}


def _numbered(number: int, record: TraceRecord) -> dict[str, Any]:
    return {"number": number, **columns_of(record)}
