"""Opened databases for tests of the store, what they told, and versions of runs to put into them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, TypeAlias

import asyncpg

from run_files import run_id, run_path
from tracewatchd.model.decode import decode
from tracewatchd.model.events import Event, Tell
from tracewatchd.model.layout import RunPath
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.stamp import Stamp
from tracewatchd.store.connect import StoreOptions
from tracewatchd.store.database import TraceDatabase

Plain: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SOURCE = "/srv/traces"


def ignored(_: Event) -> None:
    """What is told to nobody."""


def database_at(dsn: str, tell: Tell = ignored, *, patience_s: float | None = 30, **options: Any) -> TraceDatabase:
    """A database that is not open yet."""

    async def locate() -> str:
        return dsn

    return TraceDatabase(locate, StoreOptions(**options), tell, name="the test's", patience_s=patience_s)


@asynccontextmanager
async def plainly(dsn: str, **options: Any) -> AsyncIterator[Plain]:
    """A connection of the driver's own, closed whatever happens."""
    connection = await asyncpg.connect(dsn, **options)
    try:
        yield connection
    finally:
        await connection.close()


async def until(condition: Callable[[], Any], *, patience_s: float = 10) -> None:
    """Return when a condition, awaitable or not, holds; everything else runs meanwhile."""
    async with asyncio.timeout(patience_s):
        while not (await answer if isawaitable(answer := condition()) else answer):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)


async def until_locked_out(dsn: str) -> None:
    """Return when somebody in the database waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with plainly(dsn) as plain:
        await until(lambda: plain.fetchval(query))


@asynccontextmanager
async def opened(
    dsn: str, tell: Tell = ignored, *, migrate: bool = False, **options: Any
) -> AsyncIterator[TraceDatabase]:
    """A database that is open for the length of the block."""
    database = database_at(dsn, tell, **options)
    try:
        await database.open(migrate=migrate)
        yield database
    finally:
        await database.close()


def version(
    number: int, *, day: int | None = None, mtime_ns: int = 1, text: str = "hello", second: int = 0, **run: object
) -> TraceRecord:
    """A file of this run, extracted on that day of December (None: a bare run, that says nothing of it)."""
    body: dict[str, object] = {"id": str(run_id(number)), "text": text, **run}
    if day is not None:
        body = {"metadata": {"extracted_at": f"2026-12-{day:02d}T00:00:00Z"}, "trace": body}
    raw = json.dumps(body).encode()
    path = RunPath.parse(run_path(number, second))
    assert path is not None
    decoded = decode(raw, path, Stamp(len(raw), mtime_ns, 1))
    assert isinstance(decoded, TraceRecord)
    return decoded
