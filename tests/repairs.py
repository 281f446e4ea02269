"""Repairs of one source as a command would have them: real folder, real line with a journal, real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from sweeps import AT_ONCE, SOURCE
from tracewatchd.ingest.line import Line
from tracewatchd.model.events import Event
from tracewatchd.model.findings import Finding, Kind
from tracewatchd.model.fixes import Fix, FixKind, Journal
from tracewatchd.reconcile.repair import Provider, Repairs
from tracewatchd.service.assemble import Assembly
from tracewatchd.settings import load
from tracewatchd.store.database import TraceDatabase


@dataclass(frozen=True)
class Workshop:
    """Repairs, and what they work with."""

    root: Path
    assembly: Assembly
    line: Line
    repairs: Repairs
    told: list[Event]

    @property
    def store(self) -> TraceDatabase:
        """The database."""
        return self.assembly.database

    def another(self, fixes: Collection[FixKind], *providers: Provider) -> Repairs:
        """Repairs with an id of their own."""
        (place,) = self.assembly.places
        return self.assembly.repairs(place, self.line, repair_id=uuid4(), fixes=fixes, providers=providers)

    async def load(self, *paths: str) -> None:
        """Load files as the daemon would: nothing of it is kept."""
        (place,) = self.assembly.places
        line = self.assembly.line(place)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.run())
            await (await line.offer(paths, reread=True)).wait()
            line.close()

    async def fixes(self) -> list[Fix]:
        """The journal, newest first."""
        return [fix async for fix in self.store.fixes()]

    async def roll_all_back(self) -> None:
        """Undo everything that is applied."""
        async for fix in self.store.fixes(state="applied"):
            assert (await self.store.roll_back(fix.fix_id)).refused is None


def finding(kind: Kind, path: str, run_id: UUID | None = None) -> Finding:
    """A finding as a sweep confirms it."""
    return Finding(kind, path, "it is so", str(run_id) if run_id else None)


@asynccontextmanager
async def workshop(
    root: Path,
    dsn: str,
    fixes: Collection[FixKind],
    *,
    repair_id: UUID | None = None,
    out: Path | None = None,
    source: str = SOURCE,
    settings: Mapping[str, object] | None = None,
) -> AsyncIterator[Workshop]:
    """Repairs for the length of the block."""
    chosen = {
        "watch.roots": [{"path": str(root), "source": source}],
        "database.url": dsn,
        **AT_ONCE,
        **(settings or {}),
    }
    told: list[Event] = []
    assembly = Assembly(load(None, chosen, {}).settings, told.append, create=False, patience_s=10)
    await assembly.open(migrate=False)
    (place,) = assembly.places
    repair_id = repair_id or uuid4()
    line = assembly.line(place, journal=Journal(repair_id=repair_id, default=FixKind.GONE))
    working = asyncio.create_task(line.run())
    try:
        repairs = assembly.repairs(place, line, repair_id=repair_id, fixes=fixes, out=out)
        yield Workshop(root, assembly, line, repairs, told)
    finally:
        line.close()
        await working
        await assembly.close()
