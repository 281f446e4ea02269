"""Connections: a pool of a few, each use within a deadline, and none kept that may be in a doubtful state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from tracewatchd.store.sqlstate import classifying

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_CLOSE_S = 3.0
_SPARE = 1


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
        # Whoever finds every connection taken waits here, where no time runs out: each use is bounded, and a full
        # house is no outage. Probes do not wait; a connection is spared for them.
        self._turns = asyncio.Semaphore(options.connections - _SPARE)
        self._uses: dict[object, float] = {}

    async def reopen(self) -> None:
        """Make a new pool, asking again where the database is; one connection is made, to see that it can be.

        Raises:
            TransientError, PermanentError: it cannot be reached or used.
        """
        async with self._making:
            self.drop()
            dsn = await self._locate()  # which may start a server, and has limits of its own
            with classifying():
                async with asyncio.timeout(self._options.connect_timeout_s * 2):
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
            min_size=0,  # else the pool would try to reconnect on its own during an outage, and log each failure
            init_size=1,
            max_size=options.connections,
            timeout=options.connect_timeout_s,
            statement_cache_size=0 if options.pgbouncer else 100,
            init=self._prepare,
            reset=_nothing,
            server_settings=self._start_up_parameters(),
        )

    def _start_up_parameters(self) -> dict[str, str]:
        name = {"application_name": "tracewatchd"}
        # pgbouncer refuses what it does not know, so there every transaction sets it.
        return name if self._options.pgbouncer else name | self._session_settings()

    def _session_settings(self) -> dict[str, str]:
        return {
            "jit": "off",
            # Whoever asks has work for the other cores.
            "max_parallel_workers_per_gather": "0",
            # A plan made for thousands of keys at once reads a whole table to find them.
            "plan_cache_mode": "force_generic_plan",
            "lock_timeout": f"{_ms(self._options.lock_timeout_s)}",
            "random_page_cost": "1.1",  # with the default, counts read whole tables instead of their index
            "statement_timeout": f"{_ms(self._options.commit_timeout_s)}",
            "TimeZone": "UTC",
        }

    async def _prepare(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        with ExitStack() as unless_good:
            # The pool would close it in good order, which a server that went silent never lets happen.
            unless_good.callback(connection.terminate)
            await connection.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
            )
            async with self._limited(connection):
                await self._check(connection)
            unless_good.pop_all()

    @asynccontextmanager
    async def use(self, *, content: bool = False) -> AsyncIterator[Connection]:
        """A connection for one piece of work within ``commit_timeout_s``; past that it is terminated.

        Raises:
            TransientError, PermanentError: what the work met.
            PoisonError: what it stored was refused (only where ``content`` is stored).
        """
        async with self._turns:
            use = object()
            self._uses[use] = _clock()
            try:
                async with (
                    self._lent(self._options.commit_timeout_s, content=content) as connection,
                    self._limited(connection),
                ):
                    yield connection
            finally:
                del self._uses[use]

    @property
    def longest_use_s(self) -> float:
        """How long the oldest use has been under way by now; 0 without one. Its deadline should have ended it."""
        return _clock() - min(self._uses.values()) if self._uses else 0.0

    async def probe(self) -> None:
        """See that the database answers, within ``connect_timeout_s``.

        Raises:
            TransientError, PermanentError: it does not.
        """
        async with self._lent(self._options.connect_timeout_s) as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A READ COMMITTED transaction within ``commit_timeout_s``; whatever ends it early rolls it back."""
        async with self.use(content=True) as connection, read_committed(connection):
            yield connection

    @asynccontextmanager
    async def _lent(self, limit_s: float, *, content: bool = False) -> AsyncIterator[Connection]:
        pool = self._pool
        with classifying():
            if pool is None:
                raise ConnectionRefusedError(111, "not connected")
            connection = await pool.acquire(timeout=self._options.connect_timeout_s)
        usable = False
        with classifying(content=content):
            try:
                # Not asyncpg's own timeouts: they wait for the server to confirm a cancellation, and a server behind a
                # black hole never does.
                async with asyncio.timeout(limit_s):
                    yield connection
                usable = True
            except asyncpg.PostgresError:
                usable = _is_idle(connection)
                raise
            finally:
                if not usable:  # whatever happened, nobody knows what state it is in
                    with suppress(asyncpg.InterfaceError):  # the link broke, and the pool took it back
                        connection.terminate()
                await pool.release(connection)

    @asynccontextmanager
    async def _limited(self, connection: Connection) -> AsyncIterator[None]:
        """Under pgbouncer, which gives each transaction to another backend: one transaction with our settings."""
        if not self._options.pgbouncer:
            yield
            return
        async with read_committed(connection):
            settings = self._session_settings().items()
            await connection.execute(";".join(f"SET LOCAL {name} = '{value}'" for name, value in settings))
            yield


@asynccontextmanager
async def read_committed(connection: Connection) -> AsyncIterator[None]:
    """A READ COMMITTED transaction, or the one that is open already.

    asyncpg's own would wait for the answer to ROLLBACK whatever ended it, a cancellation by a deadline included.
    """
    if connection.is_in_transaction():
        yield
        return
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        yield
    except asyncpg.PostgresError:
        # The server has just answered, so it will answer this too; after any other error nothing is sent.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # it was that server's last word
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


def _is_idle(connection: Connection) -> bool:
    try:
        return not (connection.is_closed() or connection.is_in_transaction())
    except asyncpg.InterfaceError:  # the link broke, and the pool took it back
        return False


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


async def _nothing(_: object) -> None:
    """Connections carry no state from one use to the next, so there is nothing to reset between them."""


def _encode_jsonb(text: bytes) -> bytes:
    return b"\x01" + text


def _decode_jsonb(text: bytes) -> bytes:
    return bytes(text[1:])
