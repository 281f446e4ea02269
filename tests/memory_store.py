"""A store in memory that keeps the contract of `tracewatchd.ingest.ports.LineStore`, with faults chosen by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from tracewatchd.model.errors import PoisonError, TransientError
from tracewatchd.model.fixes import Journal
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import Rejection, TraceRecord
from tracewatchd.model.results import ACKNOWLEDGED, BatchResult, Outcome

Fault = Callable[[Sequence[TraceRecord]], Exception | None]
"""What one commit raises for these records, if anything."""


@dataclass
class MemoryStore:
    """Rows and ledger as DESIGN has them: the greatest version wins, and both change together or not at all."""

    rows: dict[UUID, TraceRecord] = field(default_factory=dict)
    ledger: dict[tuple[str, str], LedgerRow] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    """Paths whose records are refused for their content."""
    unreturned: set[str] = field(default_factory=set)
    """Paths whose row is found gone when it is read back, once each."""
    fault: Fault = lambda _: None
    attempts: list[tuple[str, ...]] = field(default_factory=list)
    """Paths of the records of each attempt that would have sent an upsert."""
    asked: list[tuple[str, ...]] = field(default_factory=list)
    """Paths of each question to the ledger."""
    journals: list[Journal | None] = field(default_factory=list)
    """The journal of each attempt."""
    probes: int = 0

    def __post_init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.turned_away = asyncio.Event()
        """Set when somebody found the store away."""

    @property
    def is_reachable(self) -> bool:
        """Whether there is no outage."""
        return self.up.is_set()

    async def available(self) -> None:
        """Return when the outage, if there is one, is over."""
        if not self.up.is_set():
            self.turned_away.set()
        await self.up.wait()

    async def probe(self) -> bool:
        """Whether there is no outage."""
        self.probes += 1
        return self.up.is_set()

    async def ledger_rows(self, source: str, paths: Sequence[str]) -> dict[str, LedgerRow]:
        """What the ledger holds of these paths."""
        await self.available()
        self.asked.append(tuple(paths))
        return {path: row for path in paths if (row := self.ledger.get((source, path)))}

    async def commit(
        self,
        source: str,
        records: Sequence[TraceRecord],
        rejections: Sequence[Rejection] = (),
        *,
        overwrite: bool = True,
        journal: Journal | None = None,
    ) -> BatchResult:
        """One transaction: runs, then ledger rows. The journals that came with the records are noted."""
        self.journals.append(journal)
        self._require_up()
        if records:
            self.attempts.append(tuple(record.path for record in records))
        await asyncio.sleep(0)
        if error := self.fault(records) or self._refusal(records):
            raise error
        retry = tuple(record.path for record in records if record.path in self.unreturned)
        self.unreturned.difference_update(retry)
        outcomes: dict[str, Outcome] = {}
        # Newest first: of two files of one run, the older one meets the row of the newer one.
        for record in sorted(records, key=lambda record: record.version, reverse=True):
            if record.path not in retry:
                outcomes[record.path] = self._upsert(record, overwrite=overwrite)
                if outcomes[record.path] in ACKNOWLEDGED:
                    self.ledger[source, record.path] = _acknowledged(record)
        for rejection in rejections:
            outcomes[rejection.path] = Outcome.QUARANTINED
            self.ledger[source, rejection.path] = _quarantined(rejection)
        return BatchResult(outcomes, retry)

    def state(self, source: str, path: str) -> str | None:
        """What the ledger says of a path: acknowledged, the reason of its quarantine, or nothing."""
        row = self.ledger.get((source, path))
        return (row.reason or row.state) if row else None

    def _require_up(self) -> None:
        if not self.up.is_set():
            self.turned_away.set()
            raise TransientError("the store is away")

    def _refusal(self, records: Sequence[TraceRecord]) -> PoisonError | None:
        refused = any(record.path in self.poison for record in records)
        return PoisonError("unsupported Unicode escape sequence", sqlstate="22P05", place="data") if refused else None

    def _upsert(self, record: TraceRecord, *, overwrite: bool) -> Outcome:
        row = self.rows.get(record.run_id)
        if row is None:
            self.rows[record.run_id] = record
            return Outcome.LOADED
        if row.file_sha256 == record.file_sha256:
            self.rows[record.run_id] = msgspec.structs.replace(
                row, stamp=max(row.stamp, record.stamp, key=lambda stamp: stamp.mtime_ns)
            )
            return Outcome.UNCHANGED
        if row.version > record.version:
            return Outcome.SUPERSEDED
        if not overwrite:
            return Outcome.LEFT
        self.rows[record.run_id] = record
        return Outcome.UPDATED


def _acknowledged(record: TraceRecord) -> LedgerRow:
    return LedgerRow(
        path=record.path,
        stamp=record.stamp,
        state="acknowledged",
        file_sha256=record.file_sha256,
        run_id=record.run_id,
        reason=None,
        detail=None,
        setting=None,
        rules=record.rules,
    )


def _quarantined(rejection: Rejection) -> LedgerRow:
    return LedgerRow(
        path=rejection.path,
        stamp=rejection.stamp,
        state="quarantined",
        file_sha256=rejection.file_sha256,
        run_id=rejection.run_id,
        reason=rejection.reason,
        detail=rejection.detail,
        setting=rejection.setting,
        rules=rejection.rules,
    )
