"""What a sweep asks of its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from tracewatchd.ingest.inbox import Receipt
from tracewatchd.ingest.ports import LineStore
from tracewatchd.model.findings import DayResult, Depth, Finding
from tracewatchd.model.fixes import Journal
from tracewatchd.model.ledger import DirectorySummary, LedgerOutline, LedgerRow, RowVersion
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.retention import VerifiedDay
from tracewatchd.reconcile.foreign import ForeignStore
from tracewatchd.reconcile.roots import RootStore
from tracewatchd.store.queries import StoredRun


class SweepStore(RootStore, ForeignStore, Protocol):
    """Postgres, as far as a sweep is concerned: reading, a page at a time."""

    async def ledger_outline(self, source: str) -> LedgerOutline:
        """Every ``folder/day`` that the ledger has a path in, and paths that are in none; each in byte order."""
        ...

    async def directory_summary(
        self, source: str, directory: str, *, with_sha256: bool, without_told: bool
    ) -> DirectorySummary:
        """One directory's ledger rows in one answer."""
        ...

    async def runs_agree(self, summary: DirectorySummary) -> bool:
        """Whether each acknowledged file of a directory has a row of its own that came from its bytes."""
        ...

    async def quarantined_in(self, source: str, directory: str, limit: int) -> list[LedgerRow]:
        """The quarantined files of one directory."""
        ...

    async def ledger_page(self, source: str, directory: str, after: str, limit: int) -> list[LedgerRow]:
        """The next rows of a directory in byte order of their paths, those greater than ``after``."""
        ...

    async def ledger_rows(self, source: str, paths: Sequence[str]) -> dict[str, LedgerRow]:
        """What the ledger holds of these paths."""
        ...

    async def ledger_of_runs(self, run_ids: Iterable[UUID]) -> list[tuple[str, LedgerRow]]:
        """Every ledger row, of any source, that acknowledges one of these runs."""
        ...

    async def row_versions(self, run_ids: Iterable[UUID]) -> dict[UUID, RowVersion]:
        """The versions of those of these runs that have a row."""
        ...

    async def verified_days(self, source: str) -> Sequence[VerifiedDay]:
        """What the last sweep of each depth said of each project-day."""
        ...

    async def remember_days(self, source: str, depth: Depth, began_at: datetime, days: Sequence[DayResult]) -> None:
        """Note what a sweep said of project-days that it compared whole."""
        ...

    async def held(self, source: str, run_ids: Iterable[UUID], paths: Iterable[str]) -> tuple[set[UUID], set[str]]:
        """Those of these runs and paths of which a fix was rolled back and not released since."""
        ...

    async def told_gone(self, source: str, paths: Iterable[str]) -> set[str]:
        """Those of these files that were told as gone."""
        ...

    async def tell_gone(self, source: str, paths: Sequence[str]) -> None:
        """Remember that these files were told as gone."""
        ...

    async def untell_gone(self, source: str, paths: Sequence[str]) -> None:
        """Forget it of these."""
        ...

    async def differing(self, records: Sequence[TraceRecord]) -> Mapping[int, tuple[str, ...]]:
        """Which of these files' rows came from the same bytes and hold something else: by position, the columns."""
        ...

    async def runs_by_id(self, run_ids: Iterable[UUID]) -> list[StoredRun]:
        """These runs, as far as they have rows."""
        ...


class Offering(Protocol):
    """The line, as far as a sweep is concerned."""

    async def offer(self, paths: Sequence[str], *, reread: bool = False) -> Receipt:
        """Put paths on the line."""
        ...


class RepairStore(LineStore, Protocol):
    """Postgres, as far as repairs are concerned."""

    async def ledger_of_runs(self, run_ids: Iterable[UUID]) -> list[tuple[str, LedgerRow]]:
        """Every ledger row, of any source, that acknowledges one of these runs."""
        ...

    async def row_versions(self, run_ids: Iterable[UUID]) -> dict[UUID, RowVersion]:
        """The versions of those of these runs that have a row."""
        ...

    async def run(self, run_id: UUID) -> StoredRun | None:
        """One run, whole."""
        ...

    async def held(self, source: str, run_ids: Iterable[UUID], paths: Iterable[str]) -> tuple[set[UUID], set[str]]:
        """Those of these runs and paths of which a fix was rolled back and not released since."""
        ...

    async def forget(self, source: str, paths: Sequence[str], journal: Journal) -> int:
        """Remove what is known of files, and the rows that no other file acknowledges; one attempt."""
        ...


class Repairing(Offering, Protocol):
    """Puts right what is no mere work: by a line that keeps a journal, or by more than reading a file again."""

    async def fix(self, findings: Sequence[Finding]) -> frozenset[str]:
        """Put right those of these confirmed findings that are wanted; says which paths were acted upon."""
        ...
