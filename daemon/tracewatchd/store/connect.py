"""Connections: a pool of a few, each use within a deadline, and none kept that may be in a doubtful state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from tracewatchd.store.sqlstate import classifying

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_CLOSE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How the database is used. Times in seconds."""

    schema: str = "public"
    pgbouncer: bool = False
    connections: int = 6
    connect_timeout_s: float = 10
    commit_timeout_s: float = 30
    lock_timeout_s: float = 10


class Sessions:
    """The pool. ``locate`` says where the database is, each time a pool is made."""

    def __init__(
        self,
        locate: Callable[[], Awaitable[str]],
        options: StoreOptions,
        *,
        check: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[None]],
    ) -> None:
        self._locate = locate
        self._options = options
        self._check = check
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._making = asyncio.Lock()

    async def reopen(self) -> None:
        """Make a new pool, asking again where the database is; one connection is made, to see that it can be.

        Raises:
            TransientError, PermanentError: it cannot be reached or used.
        """
        async with self._making:
            self.drop()
            with classifying():
                async with asyncio.timeout(self._options.connect_timeout_s * 2):
                    dsn = await self._locate()
                    self._pool = await self._make(dsn)

    def drop(self) -> None:
        """Let go of every connection at once; what was in transactions is rolled back by the server."""
        if self._pool:
            self._pool.terminate()
            self._pool = None

    async def close(self) -> None:
        """Close in order, for at most three seconds, then let go."""
        if self._pool:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._pool.close()
            except (TimeoutError, OSError, asyncpg.InterfaceError):
                self._pool.terminate()
            self._pool = None

    async def _make(self, dsn: str) -> asyncpg.Pool[asyncpg.Record]:
        options = self._options
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=options.connections,
            timeout=options.connect_timeout_s,
            statement_cache_size=0 if options.pgbouncer else 100,
            init=self._prepare,
            reset=_nothing,
            server_settings=self._server_settings(),
        )

    def _server_settings(self) -> dict[str, str]:
        settings = {"application_name": "tracewatchd"}
        if self._options.pgbouncer:
            return settings  # it refuses start-up parameters that it does not know
        return settings | {
            "jit": "off",
            "lock_timeout": f"{int(self._options.lock_timeout_s * 1000)}",
            "statement_timeout": f"{int(self._options.commit_timeout_s * 1000)}",
            "TimeZone": "UTC",
        }

    async def _prepare(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
        )
        await self._check(connection)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """A connection for one piece of work within ``commit_timeout_s``; past that it is terminated.

        Raises:
            TransientError, PermanentError, PoisonError: what the work met.
        """
        pool = self._pool
        with classifying():
            if pool is None:
                raise ConnectionRefusedError(111, "not connected")
            connection = await pool.acquire(timeout=self._options.connect_timeout_s)
            usable = False
            try:
                # Not asyncpg's own timeouts: they wait for the server to confirm a cancellation, and a server behind a
                # black hole never does.
                async with asyncio.timeout(self._options.commit_timeout_s):
                    yield connection
                usable = True
            except asyncpg.PostgresError:
                usable = not connection.is_in_transaction()
                raise
            finally:
                if not usable:  # whatever happened, nobody knows what state it is in
                    connection.terminate()
                await pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A READ COMMITTED transaction within ``commit_timeout_s``; whatever ends it early rolls it back."""
        async with self.use() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            if self._options.pgbouncer:
                await connection.execute(f"SET LOCAL lock_timeout = {int(self._options.lock_timeout_s * 1000)}")
            try:
                yield connection
            except asyncpg.PostgresError:
                # The server has just answered, so it will answer this too; after any other error nothing is sent.
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")


async def _nothing(_: object) -> None:
    """Connections carry no state from one use to the next, so there is nothing to reset between them."""


def _encode_jsonb(text: bytes) -> bytes:
    return b"\x01" + text


def _decode_jsonb(text: bytes) -> bytes:
    return bytes(text[1:])
