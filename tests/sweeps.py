"""One source as the daemon would have it, for tests that sweep it: real folder, real line, real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from run_files import put, run_body, run_path
from tracewatchd.ingest.line import Line
from tracewatchd.model.events import Event
from tracewatchd.model.findings import VerificationResult
from tracewatchd.model.fixes import BY_DEFAULT, Journal
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.service.assemble import Assembly, Place
from tracewatchd.settings import load

SOURCE = "here"
AT_ONCE: Mapping[str, object] = {
    "sweep.confirm_s": 0,
    "sweep.grace_s": 0,
    "watch.settle_s": 0,
    "watch.stamp_grain_s": 0,
}
"""Settings for tests that have nothing to wait for."""


@dataclass(frozen=True)
class Source:
    """A root, its line at work, and the events that were told."""

    root: Path
    assembly: Assembly
    place: Place
    line: Line
    told: list[Event]

    async def sweep(self, *, repair: bool = True, selection: Selection = EVERYTHING) -> VerificationResult:
        """Sweep once, quickly."""
        return await self.carry_out(SweepPlan(fixes=BY_DEFAULT if repair else frozenset(), selection=selection))

    async def carry_out(self, plan: SweepPlan, *, journal: Journal | None = None) -> VerificationResult:
        """Sweep once, as planned; with a journal, repairs of all kinds are done and kept in it."""
        if journal is None:
            return await self.assembly.sweep(self.place, self.line, plan)
        line = self.assembly.line(self.place, journal=journal)
        working = asyncio.create_task(line.run())
        try:
            repairs = self.assembly.repairs(self.place, line, repair_id=journal.repair_id, fixes=plan.fixes)
            return await self.assembly.sweep(self.place, line, plan, repairs=repairs)
        finally:
            line.close()
            await working

    def put_runs(self, count: int) -> list[Path]:
        """Write the runs with the first numbers, and say where."""
        return [put(self.root, run_path(number), run_body(number)) for number in range(1, count + 1)]


@asynccontextmanager
async def source(root: Path, dsn: str, settings: Mapping[str, object] | None = None) -> AsyncIterator[Source]:
    """A source for the length of the block."""
    chosen = {
        "watch.roots": [{"path": str(root), "source": SOURCE}],
        "database.url": dsn,
        **AT_ONCE,
        **(settings or {}),
    }
    told: list[Event] = []
    assembly = Assembly(load(None, chosen, {}).settings, told.append, create=False, patience_s=10)
    await assembly.open(migrate=False)
    (place,) = assembly.places
    line = assembly.line(place)
    working = asyncio.create_task(line.run())
    try:
        yield Source(root, assembly, place, line, told)
    finally:
        line.close()
        await working
        await assembly.close()


Opening: TypeAlias = Callable[..., AbstractAsyncContextManager[Source]]
"""Opens the source of a test, which gives the settings that it wants by keyword."""
