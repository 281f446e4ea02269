"""Damage to a loaded source, each kind by its name in docs/damage.md. Nothing here knows how a sweep compares."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from run_files import put

OTHER_DAY = "2026-11-19"
_TEXT = "a text that can be edited"


@dataclass(frozen=True)
class Victim:
    """One run file that was loaded, or that may be written."""

    number: int
    path: str
    run_id: UUID

    def body(self, *, days: int = 0, text: str = _TEXT) -> bytes:
        """The file as its producer wrote it; ``days`` later or, where negative, earlier."""
        metadata = {
            "extracted_at": (datetime(2025, 11, 20, tzinfo=UTC) + timedelta(days=days)).isoformat(),
            "project_name": "bot",
        }
        run = {
            "id": str(self.run_id),
            "name": "agent",
            "status": "success",
            "start_time": f"2026-11-20T06:44:{self.number % 60:02d}.622037",
            "total_tokens": self.number,
            "outputs": {"text": text, "scores": [1, 2.50, {"deep": None}]},
        }
        return json.dumps({"metadata": metadata, "trace": run}).encode()


def victim(number: int) -> Victim:
    """The run with this number."""
    run_id = UUID(int=number, version=4)
    return Victim(number, f"bot/2026-11-20/{run_id}_064400.json", run_id)


@dataclass(frozen=True)
class World:
    """What can be damaged: a root and a database."""

    root: Path
    database: asyncpg.Connection[asyncpg.Record]
    random: Random

    def place(self, path: str) -> Path:
        """Where a path lies."""
        return self.root / path

    async def change(self, table: str, assignment: str, key: object, *more: object) -> None:
        """Change the one row of a victim, behind the back of all guards."""
        column = {"runs": "run_id", "ledger": "path"}[table]
        done = await self.database.execute(f"UPDATE {table} SET {assignment} WHERE {column} = $1", key, *more)  # noqa: S608 - the test's own words
        assert done == "UPDATE 1"

    async def remove(self, table: str, key: object) -> None:
        """Remove the one row of a victim."""
        column = {"runs": "run_id", "ledger": "path"}[table]
        assert await self.database.execute(f"DELETE FROM {table} WHERE {column} = $1", key) == "DELETE 1"  # noqa: S608 - the test's own words


Damaging: TypeAlias = Callable[[World, Victim], Awaitable[None]]


def _edited(world: World, hurt: Victim) -> bytes:
    """The same number of bytes, one letter of the text another one."""
    at = world.random.randrange(len(_TEXT))
    letter = "x" if _TEXT[at] != "x" else "y"
    return hurt.body(text=_TEXT[:at] + letter + _TEXT[at + 1 :])


async def edit(world: World, hurt: Victim) -> None:
    put(world.root, hurt.path, _edited(world, hurt))


async def edit_unseen(world: World, hurt: Victim) -> None:
    place = world.place(hurt.path)
    before = place.stat()
    with place.open("r+b") as file:
        file.write(_edited(world, hurt))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    # No system call sets a ctime, as failing hardware does not: the ledger is told the new one instead.
    await world.change("ledger", "ctime_ns = $2", hurt.path, place.stat().st_ctime_ns)


async def truncate(world: World, hurt: Victim) -> None:
    place = world.place(hurt.path)
    os.truncate(place, place.stat().st_size // 2)


async def delete(world: World, hurt: Victim) -> None:
    world.place(hurt.path).unlink()


async def add(world: World, hurt: Victim) -> None:
    put(world.root, hurt.path, hurt.body())


def moved(hurt: Victim) -> str:
    """Where `move` puts a file."""
    folder, _, name = hurt.path.split("/")
    return f"{folder}/{OTHER_DAY}/{name}"


async def move(world: World, hurt: Victim) -> None:
    target = world.place(moved(hurt))
    target.parent.mkdir(exist_ok=True)
    world.place(hurt.path).rename(target)


async def touch(world: World, hurt: Victim) -> None:
    later = world.place(hurt.path).stat().st_mtime_ns + world.random.randrange(1, 10**12)
    os.utime(world.place(hurt.path), ns=(later, later))


async def replace(world: World, hurt: Victim) -> None:
    put(world.root, hurt.path, hurt.body(days=-world.random.randint(1, 9)))


async def change_data(world: World, hurt: Victim) -> None:
    path = world.random.choice(["{outputs,text}", "{outputs,scores,1}", "{outputs,scores,2,deep}", "{name}"])
    await world.change("runs", f"data = jsonb_set(data, '{path}', '\"changed\"')", hurt.run_id)


async def change_metadata(world: World, hurt: Victim) -> None:
    await world.change("runs", "metadata = jsonb_set(metadata, '{project_name}', '\"changed\"')", hurt.run_id)


_COLUMNS = (
    "name = 'changed'",
    "status = NULL",
    "run_type = 'changed'",
    "project = 'changed'",
    "total_tokens = coalesce(total_tokens, 0) + 1",
    "total_cost = 1.5",
    "start_time = start_time + interval '1 microsecond'",
    "end_time = start_time",
    "run_date = run_date - 1",
    "trace_date = NULL",
    "trace_id = gen_random_uuid()",
    "parent_run_id = gen_random_uuid()",
    "sanitized = ARRAY['/data/name']",
)


async def change_column(world: World, hurt: Victim) -> None:
    await world.change("runs", world.random.choice(_COLUMNS), hurt.run_id)


async def change_extraction(world: World, hurt: Victim) -> None:
    new = world.random.choice(["extracted_at + interval '1 day'", "extracted_at - interval '1 s'", "'-infinity'"])
    await world.change("runs", f"extracted_at = {new}", hurt.run_id)


async def change_mtime(world: World, hurt: Victim) -> None:
    await world.change("runs", "file_mtime_ns = file_mtime_ns - $2", hurt.run_id, world.random.randrange(1, 10**12))


async def change_sha256(world: World, hurt: Victim) -> None:
    await world.change("runs", "file_sha256 = $2", hurt.run_id, world.random.randbytes(32))


async def delete_row(world: World, hurt: Victim) -> None:
    await world.remove("runs", hurt.run_id)


async def delete_file_and_row(world: World, hurt: Victim) -> None:
    await delete(world, hurt)
    await delete_row(world, hurt)


async def forget(world: World, hurt: Victim) -> None:
    await world.remove("ledger", hurt.path)


async def insert_row(world: World, hurt: Victim) -> None:
    await world.database.execute(
        "INSERT INTO runs (run_id, trace_id, project, run_date, data, file_mtime_ns, file_sha256, rules)"
        " VALUES ($1, $1, 'elsewhere', '2026-11-20', '{}', 1, $2, 1)",
        hurt.run_id,
        world.random.randbytes(32),
    )


DAMAGES: Mapping[str, Damaging] = {
    damage.__name__: damage
    for damage in (
        edit, edit_unseen, truncate, delete, add, move, touch, replace, change_data, change_metadata, change_column,
        change_extraction, change_mtime, change_sha256, delete_row, delete_file_and_row, forget, insert_row,
    )
}  # fmt: skip

UNLOADED = frozenset({"add", "insert_row"})
"""Damage that needs a run of which nothing was there before."""


async def digest(database: asyncpg.Connection[asyncpg.Record]) -> Any:
    """One number for everything in ``runs`` and one for everything in ``ledger``."""
    return await database.fetchrow(
        "SELECT (SELECT md5(string_agg(r::text, '|' ORDER BY r.run_id)) FROM runs r),"
        " (SELECT md5(string_agg(l::text, '|' ORDER BY l.source, l.path)) FROM ledger l)"
    )
