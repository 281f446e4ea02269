"""What a sweep asks of its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from tracewatchd.ingest.inbox import Receipt
from tracewatchd.ingest.ports import LineStore
from tracewatchd.model.findings import Finding
from tracewatchd.model.fixes import Journal
from tracewatchd.model.ledger import LedgerRow, RowVersion
from tracewatchd.store.queries import StoredRun


class SweepStore(Protocol):
    """Postgres, as far as a sweep is concerned: reading, a page at a time."""

    async def ledger_directories(self, source: str) -> list[str]:
        """Every ``folder/day`` that the ledger has a path in."""
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


class Repairing(Protocol):
    """Puts right what offering a path to the line does not."""

    async def fix(self, findings: Sequence[Finding]) -> frozenset[str]:
        """Put right those of these confirmed findings that are wanted; says which paths were acted upon."""
        ...
