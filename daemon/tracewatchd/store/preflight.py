"""What a database is before anything is written: its server, its tables, our role, and what stands between.

Connections of its own, beside the pool: what the pool would be refused or run into is what is looked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

import asyncpg

from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.store.connect import Sessions, StoreOptions, read_committed
from tracewatchd.store.schema import OLDEST_SERVER, newest, version_of
from tracewatchd.store.sqlstate import classifying
from tracewatchd.store.statements import statement

Plain: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pooling: TypeAlias = Literal["none", "session", "transaction", "statement"]
"""Who answers: the server itself, or a pooler that lends a backend for so long."""

_REFUSED_PARAMETER = "08P01"
_BUSY_S = 2.0
_ASKED_TIMES = 20  # some poolers take their backends in turn
_CLOSE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A database as a role sees it.

    ``role_connections`` is how many the role may have, None without a limit; ``unsafe`` are settings of the server that
    risk what was committed; ``data_is_lz4`` is None without our table. ``schema_version`` is 0 without our tables;
    ``foreign`` are tables of other programs under names of ours. ``lacking`` maps tables to the privileges that the
    role needs and has not. ``distributed`` maps tables to the column by which Citus distributes them.
    ``server_ahead_s`` is how far the server's clock is ahead of ours, give or take half of ``asking_s``.
    """

    role: str
    database: str
    encoding: str
    in_recovery: bool
    role_connections: int | None
    unsafe: list[str]
    has_lz4: bool
    data_is_lz4: bool | None
    schema_exists: bool
    may_use_schema: bool
    may_create_in_schema: bool
    may_create_schema: bool
    owns_tables: bool
    has_citus: bool
    server_ahead_s: float
    asking_s: float
    schema_version: int
    foreign: tuple[str, ...] = ()
    lacking: dict[str, list[str]] = field(default_factory=dict)
    distributed: dict[str, str] = field(default_factory=dict)

    @property
    def needs_migration(self) -> bool:
        """Whether the tables have to be made or changed."""
        return self.schema_version < newest()


async def see(dsn: str, options: StoreOptions, now: Callable[[], datetime]) -> Seen:
    """Look at a database without changing anything.

    Raises:
        TransientError: it cannot be reached now.
        PermanentError: it does not let us in, or its server is too old.
    """
    async with _plain(dsn, options) as connection:
        major = connection.get_server_version().major
        if major < OLDEST_SERVER:
            raise PermanentError(f"PostgreSQL {major} is too old", hint=f"use {OLDEST_SERVER} or newer")
        async with read_committed(connection):
            return await _seen(connection, options.schema, now)


async def _seen(connection: Plain, schema: str, now: Callable[[], datetime]) -> Seen:
    began = now()
    server_now = await connection.fetchval("SELECT clock_timestamp()")
    asking = now() - began
    (row,) = await connection.fetch(statement("preflight", schema), schema)
    found = dict(row)
    tables, may_read_version = set(found.pop("tables")), found.pop("may_read_version")
    is_ours = {"schema_version", "identity"} <= tables
    version = newest() if is_ours else 0
    if may_read_version and found["may_use_schema"]:
        version = await version_of(connection, schema)
    return Seen(
        **found,
        server_ahead_s=(server_now - began - asking / 2).total_seconds(),
        asking_s=asking.total_seconds(),
        schema_version=version,
        foreign=() if is_ours else tuple(sorted({"runs", "schema_version"} & tables)),
        lacking=await _lacking(connection, schema) if is_ours else {},
        distributed=await _distributed(connection, schema) if found["has_citus"] else {},
    )


async def _lacking(connection: Plain, schema: str) -> dict[str, list[str]]:
    rows = await connection.fetch(statement("preflight_privileges", schema), schema)
    return {row["name"]: row["lacking"] for row in rows}


async def _distributed(connection: Plain, schema: str) -> dict[str, str]:
    rows = await connection.fetch(statement("preflight_citus", schema), schema)
    return {row["name"]: row["by"] for row in rows}


async def pooling_of(dsn: str, options: StoreOptions) -> Pooling:
    """What answers at an address.

    A server says the number of the backend when it lets us in, and again when it is asked; a pooler makes up the first.
    Whether it lends a backend for a whole session shows when another session wants one between two transactions.

    Raises:
        TransientError: it cannot be reached now.
        PermanentError: it does not let us in.
    """
    if await _ends_by_transaction(dsn, options) and await _ends_by_transaction(dsn, options):
        return "statement"
    async with _plain(dsn, options) as one:
        first = await _backend(one)
        if first == one.get_server_pid():
            return "none"
        async with _plain(dsn, options) as other:
            try:
                async with asyncio.timeout(_BUSY_S):
                    return "transaction" if await _is_shared(one, other, first) else "session"
            except TimeoutError:
                return "session"  # the only backend there is stays ours


async def _is_shared(one: Plain, other: Plain, backend: int) -> bool:
    """Whether a backend that answered one connection answers another as well, or the first one not any more."""
    for _ in range(_ASKED_TIMES):
        if await _backend(other) == backend or await _backend(one) != backend:
            return True
    return False


async def _backend(connection: Plain) -> int:
    async with read_committed(connection):
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def _ends_by_transaction(dsn: str, options: StoreOptions) -> bool:
    """Whether a connection that answers a statement is ended when it begins a transaction."""
    async with _plain(dsn, options) as connection:
        await connection.execute("SELECT 1")
        try:
            await connection.execute("BEGIN")
        except asyncpg.PostgresConnectionError:
            return True
    return False


async def takes_our_settings(dsn: str, options: StoreOptions) -> bool:
    """Whether a connection can be had as the pool asks for it: a pooler refuses settings that it does not know.

    Raises:
        TransientError, PermanentError: it cannot be had for another reason.
    """

    async def locate() -> str:
        return dsn

    sessions = Sessions(locate, options, check=_nothing)
    try:
        await sessions.reopen()
    except TransientError as error:
        if error.sqlstate != _REFUSED_PARAMETER:
            raise
        return False
    finally:
        await sessions.close()
    return True


async def _nothing(_: object) -> None:
    """No look at the tables, which may not be there yet."""


@asynccontextmanager
async def _plain(dsn: str, options: StoreOptions) -> AsyncIterator[Plain]:
    """A connection that asks for nothing that a pooler might refuse."""
    with classifying():
        connection = await asyncpg.connect(
            dsn,
            timeout=options.connect_timeout_s,
            command_timeout=options.connect_timeout_s,
            statement_cache_size=0,
        )
        try:
            yield connection
        finally:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_CLOSE_S)
