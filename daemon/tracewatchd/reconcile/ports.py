"""What a sweep asks of its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from tracewatchd.ingest.inbox import Receipt
from tracewatchd.model.ledger import LedgerRow, RowVersion


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
