"""Rows that no file explains: page by page of run ids, against the ledger of every source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Protocol
from uuid import UUID

from tracewatchd.model.layout import day_of, decode_path
from tracewatchd.model.ledger import RowVersion

_PAGE = 5_000
_BEFORE_ALL = UUID(int=0)


class ForeignStore(Protocol):
    """Postgres, as far as foreign rows are concerned."""

    async def projects_of_runs(self, run_ids: str) -> set[str]:
        """What the projects of these runs, ids as a directory's summary has them, are called."""
        ...

    async def run_ids_after(
        self, after: UUID, limit: int, projects: Sequence[str] | None = None, day: date | None = None
    ) -> list[UUID]:
        """The next run ids in order: of all, or of some projects and one day."""
        ...

    async def unexplained(self, run_ids: Iterable[UUID]) -> list[UUID]:
        """Those of these runs that no ledger row, of any source, names."""
        ...

    async def row_versions(self, run_ids: Iterable[UUID]) -> dict[UUID, RowVersion]:
        """The versions of those of these runs that have a row."""
        ...


async def all_foreign(store: ForeignStore) -> list[UUID]:
    """Every row that no file explains."""
    return await _foreign(store, None, None)


async def foreign_of_day(store: ForeignStore, directory: str, run_ids: str) -> list[UUID]:
    """Those of a project-day: of the folder's project, and of those that the day's files named (these run ids)."""
    folder, _, name = directory.partition("/")
    day = day_of(name.encode())
    if day is None:
        return []
    projects = await store.projects_of_runs(run_ids) | {decode_path(folder).decode("utf-8", "replace")}
    return await _foreign(store, sorted(projects), day)


async def still_foreign(store: ForeignStore, run_ids: Sequence[UUID]) -> list[UUID]:
    """The second look: those that are still there and still not explained."""
    found: list[UUID] = []
    for start in range(0, len(run_ids), _PAGE):
        there = await store.row_versions(run_ids[start : start + _PAGE])
        found += await store.unexplained(there)
    return sorted(found)


async def _foreign(store: ForeignStore, projects: Sequence[str] | None, day: date | None) -> list[UUID]:
    found: list[UUID] = []
    page = await store.run_ids_after(_BEFORE_ALL, _PAGE, projects, day)
    while page:
        found += await store.unexplained(page)
        page = await store.run_ids_after(page[-1], _PAGE, projects, day)
    return found
