"""Undoing repairs: reading the journal, putting back what it holds, and holding what was put back."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import asyncpg

from tracewatchd.model.errors import PermanentError
from tracewatchd.model.fixes import Fix, FixImages, FixKind, FixState, Rollback
from tracewatchd.store.connect import Connection
from tracewatchd.store.fixes import changed_meanwhile
from tracewatchd.store.statements import statement

NEWEST = 2**63 - 1
"""Greater than the number of any fix."""


async def fixes_page(
    connection: Connection,
    schema: str,
    below: int,
    limit: int,
    source: str | None,
    repair_id: UUID | None,
    state: FixState | None,
) -> list[Fix]:
    """The next entries of the journal, newest first."""
    sql = statement("fixes_page", schema)
    return [_fix(row) for row in await connection.fetch(sql, below, source, repair_id, state, limit)]


async def fix_of(connection: Connection, schema: str, fix_id: UUID) -> Fix | None:
    """One entry of the journal."""
    row = await connection.fetchrow(statement("fix", schema), fix_id)
    return _fix(row) if row else None


async def images_of(connection: Connection, schema: str, fix_id: UUID) -> FixImages | None:
    """What an entry of the journal holds."""
    row = await connection.fetchrow(statement("fix_images", schema), fix_id)
    return FixImages(**dict(row)) if row else None


async def roll_back(connection: Connection, schema: str, fix_id: UUID) -> Rollback:
    """Put back what a fix replaced, inside the caller's transaction, unless something changed since."""
    held = await connection.fetchrow(statement("fix_lock", schema), fix_id)
    fix = await _known(connection, schema, fix_id)
    if held is None or fix.state != "applied":
        return Rollback(fix=fix, already=True)
    is_about_row = held["touched_row"]
    if is_about_row and (refused := await _row_changed(connection, schema, fix, held["run_after_sha256"])):
        return Rollback(fix=fix, refused=refused)
    if refused := await _ledger_changed(connection, schema, fix):
        return Rollback(fix=fix, refused=refused)
    if is_about_row:
        await _restore_row(connection, schema, fix, is_json_null=held["metadata_is_json_null"])
    # Locked only now, as every writer locks the ledger after rows, and a row that is put back is a lock, too.
    await connection.execute(statement("fix_lock_ledger", schema), fix.source, list(fix.paths))
    if await _ledger_changed(connection, schema, fix):
        raise changed_meanwhile()
    await _restore_ledger(connection, schema, fix)
    return Rollback(fix=await move(connection, schema, fix_id, "applied", "rolled_back"))


async def move(connection: Connection, schema: str, fix_id: UUID, before: FixState, after: FixState) -> Fix:
    """Change a fix's state from one to another; one that is in neither stays as it is."""
    await connection.execute(statement("fix_move", schema), fix_id, before, after)
    return await _known(connection, schema, fix_id)


async def _known(connection: Connection, schema: str, fix_id: UUID) -> Fix:
    fix = await fix_of(connection, schema, fix_id)
    if fix is None:
        raise PermanentError(f"there is no fix {fix_id}", hint="`tracewatchd archive fixes list` shows what there is")
    return fix


async def held_among(
    connection: Connection, schema: str, source: str, run_ids: Iterable[UUID], paths: Iterable[str]
) -> tuple[set[UUID], set[str]]:
    """Those of these runs and paths of which a fix was rolled back and not released since."""
    runs = await connection.fetch(statement("held_runs", schema), list(run_ids))
    files = await connection.fetch(statement("held_paths", schema), source, list(paths))
    return {row["run_id"] for row in runs}, {row["path"] for row in files}


async def _row_changed(connection: Connection, schema: str, fix: Fix, expected: bytes | None) -> str | None:
    """Lock the row, and say what happened to it since the repair, if anything."""
    await connection.execute(statement("fix_lock_run", schema), fix.run_id)
    row = await connection.fetchrow(statement("fix_digests", schema), [fix.run_id])
    if (row["digest"] if row else None) == expected:
        return None
    if row is None:
        return f"the row of run {fix.run_id} is gone"
    since = "written" if expected is None else "changed"
    return f"the row of run {fix.run_id} was {since} at {row['updated_at']:%Y-%m-%d %H:%M:%S} UTC"


async def _ledger_changed(connection: Connection, schema: str, fix: Fix) -> str | None:
    """What happened to the ledger rows since the repair, if anything."""
    row = await connection.fetchrow(statement("fix_changed_paths", schema), fix.fix_id, fix.source, list(fix.paths))
    if row is None:
        return None
    if row["updated_at"] is None:
        return f"the ledger row of {row['path']} is gone"
    return f"the ledger row of {row['path']} was written at {row['updated_at']:%Y-%m-%d %H:%M:%S} UTC"


async def _restore_row(connection: Connection, schema: str, fix: Fix, *, is_json_null: bool) -> None:
    await connection.execute(statement("remove_runs", schema), [fix.run_id])
    restored = await connection.fetch(statement("fix_restore_run", schema), fix.fix_id)
    if len(restored) != fix.had_row:
        raise changed_meanwhile()
    if is_json_null:
        await connection.execute(statement("fix_restore_json_null", schema), fix.run_id)


async def _restore_ledger(connection: Connection, schema: str, fix: Fix) -> None:
    await connection.execute(statement("remove_ledger", schema), fix.source, list(fix.paths))
    counts = await connection.fetchrow(statement("fix_restore_ledger", schema), fix.fix_id)
    if counts is None or counts["restored"] != counts["kept"]:
        raise changed_meanwhile()


def _fix(row: asyncpg.Record) -> Fix:
    return Fix(**{**dict(row), "kind": FixKind(row["kind"]), "paths": tuple(row["paths"])})
