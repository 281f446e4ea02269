"""What the line asks of its neighbours: a store that keeps rows and ledger, and a folder that holds run files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tracewatchd.model.fixes import Journal
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import Rejection, TraceRecord
from tracewatchd.model.results import BatchResult


class LineStore(Protocol):
    """Postgres, as far as the line is concerned. Every attempt has a deadline of its own.

    Each method raises `TransientError`, `PermanentError` or (commit only) `PoisonError`, and nothing else.
    """

    @property
    def is_reachable(self) -> bool:
        """Whether no outage is known."""
        ...

    async def ledger_rows(self, source: str, paths: Sequence[str]) -> dict[str, LedgerRow]:
        """What the ledger holds of these paths, by path; one query, asked again after an outage."""
        ...

    async def commit(
        self,
        source: str,
        records: Sequence[TraceRecord],
        rejections: Sequence[Rejection] = (),
        *,
        overwrite: bool = True,
        journal: Journal | None = None,
    ) -> BatchResult:
        """Write runs and ledger rows in one transaction; all of it or nothing, and one attempt.

        With a journal, what they replace is kept in the same transaction.
        """
        ...

    async def available(self) -> None:
        """Return when the store answers; at once when no outage is known, else when the outage is over."""
        ...

    async def probe(self) -> bool:
        """Whether the store answers a trivial query right now; a no begins an outage for everyone."""
        ...
