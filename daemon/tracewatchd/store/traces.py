"""Reading runs for people: lines of a list and of a tree, without the JSON of those that succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from tracewatchd.model.traces import RunFilter, RunLine
from tracewatchd.store.connect import Connection, read_committed
from tracewatchd.store.statements import statement

IN_ORDER_OF_THE_TABLE = "SET LOCAL enable_indexscan = off"
"""For whole project-days: their rows lie together, but the index has them in the order of their ids, which is none.

Read in the index's order, a day of 17,000 runs took two to three times as long as by a bitmap.
"""
_ASKED = 1_000
"""Run ids that tell which projects a folder's runs belong to."""


async def newest(
    connection: Connection, schema: str, projects: Sequence[str], days: tuple[date, date], chosen: RunFilter, limit: int
) -> list[RunLine]:
    """The newest runs of some projects and days, both ends included."""
    wanted = (chosen.status, chosen.run_type, chosen.name, chosen.min_latency_s, chosen.text)
    async with read_committed(connection):
        await connection.execute(IN_ORDER_OF_THE_TABLE)
        return await _lines(connection, statement("traces_list", schema), list(projects), *days, *wanted, limit)


async def of_trace(connection: Connection, schema: str, trace_id: UUID, limit: int) -> list[RunLine]:
    """The earliest runs of a trace."""
    return await _lines(connection, statement("traces_tree", schema), trace_id, limit)


async def trace_of(connection: Connection, schema: str, run_id: UUID) -> UUID | None:
    """The trace of a run; None where there is no such run."""
    found: UUID | None = await connection.fetchval(statement("traces_of_run", schema), run_id)
    return found


async def projects_in(connection: Connection, schema: str, directory: str) -> set[str]:
    """What the projects of the runs in a folder, or in one of its days, are called."""
    # "0" is the character after "/": the first text after everything in the directory.
    ends = (f"{directory}/", f"{directory}0")
    rows = await connection.fetch(statement("traces_of_folder", schema), *ends, _ASKED)
    run_ids = ",".join(str(row["run_id"]) for row in rows)
    named = await connection.fetch(statement("projects_of_runs", schema), run_ids)
    return {row["project"] for row in named}


async def _lines(connection: Connection, query: str, *arguments: object) -> list[RunLine]:
    return [RunLine(**row) for row in await connection.fetch(query, *arguments)]
