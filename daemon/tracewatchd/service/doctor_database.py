"""What the doctor says of the database: the way to it, its server, its tables, and what the role may do there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from tracewatchd.model.diagnosis import Trouble
from tracewatchd.model.errors import TransientError
from tracewatchd.model.events import Tell
from tracewatchd.service.assemble import embedded_directory, store_options
from tracewatchd.service.doctor import in_thread
from tracewatchd.settings import Settings, masked
from tracewatchd.store.connect import StoreOptions
from tracewatchd.store.embedded import EmbeddedServer, has_cluster, try_binaries
from tracewatchd.store.preflight import Pooling, Seen, pooling_of, see, takes_our_settings
from tracewatchd.store.schema import newest
from tracewatchd.store.statements import quoted

DATABASE_LIMIT_S = 100.0
"""Starting an embedded server that recovers from a crash may take a minute."""

_CLOCK_S = 2.0
_FEW_ROWS = 1_000
_RUNS = "runs"
_DISTRIBUTED_BY = "run_id"
_POOLED = {
    "session": "lends each session a backend",
    "transaction": "lends each transaction another backend",
}


class DatabaseCheck:
    """One look at the database of the settings. ``now`` is our clock."""

    def __init__(self, settings: Settings, tell: Tell, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._tell = tell
        self._now = now

    async def look(self) -> list[Trouble]:
        """The troubles of the way, the server, the tables and the role.

        Raises:
            TransientError: the database cannot be reached now.
            ConfigError, PermanentError: it cannot be used at all.
        """
        if not self._settings.database.url and not await in_thread(self._has_cluster):
            await in_thread(self._try_binaries)
            return []
        options = store_options(self._settings)
        try:
            async with self._located() as dsn:
                return await self._troubles(dsn, options)
        except TransientError as error:
            raise TransientError(
                f"the database ({self._where}) cannot be reached: {error}",
                hint=error.hint or "see that it runs; `tracewatchd config show` says where its address comes from",
            ) from error

    @property
    def _where(self) -> str:
        url = self._settings.database.url
        return masked(url.get_secret_value()) if url else f"embedded in {embedded_directory(self._settings)}"

    async def _troubles(self, dsn: str, options: StoreOptions) -> list[Trouble]:
        pooling = await pooling_of(dsn, options)
        if pooling == "statement":
            return [statement_pooling()]
        refused = not await takes_our_settings(dsn, options)
        seen = await see(dsn, options, self._now)
        return [
            *way_troubles(pooling, pgbouncer=options.pgbouncer, refused=refused),
            *server_troubles(seen, self._settings),
            *table_troubles(seen, options.schema),
            *citus_troubles(seen, options.schema, self._settings.ingest.batch_rows),
            *clock_troubles(seen),
        ]

    def _has_cluster(self) -> bool:
        return has_cluster(embedded_directory(self._settings))

    def _try_binaries(self) -> None:
        try_binaries(embedded_directory(self._settings), self._settings.database.binaries)

    @asynccontextmanager
    async def _located(self) -> AsyncIterator[str]:
        database = self._settings.database
        if database.url:
            yield database.url.get_secret_value()
            return
        directory = embedded_directory(self._settings)
        server = EmbeddedServer(directory, binaries=database.binaries, tell=self._tell, create=False)
        try:
            yield await server.dsn()
        finally:
            await server.stop()


def statement_pooling() -> Trouble:
    """A pooler that takes no transactions: nothing works there."""
    return Trouble(
        "pgbouncer",
        "error",
        "database.url leads to a pooler that lends a backend for a single statement: there are no transactions",
        "set pool_mode = transaction in pgbouncer.ini, and database.pgbouncer = true",
    )


def way_troubles(pooling: Pooling, *, pgbouncer: bool, refused: bool) -> Iterator[Trouble]:
    """Whether the setting fits what stands between us and the server."""
    if pooling == "none":
        if pgbouncer:
            yield Trouble(
                "pgbouncer",
                "note",
                "database.pgbouncer is true, but database.url leads straight to the server: each transaction is set up"
                " anew and no statement is kept prepared",
                "set database.pgbouncer = false",
            )
    elif not pgbouncer and (refused or pooling == "transaction"):
        yield Trouble(
            "pgbouncer",
            "error",
            f"database.url leads to a pooler that {_POOLED[pooling]}, but database.pgbouncer is false:"
            + (" it refuses our settings" if refused else " prepared statements and settings get lost"),
            "set database.pgbouncer = true",
        )


def server_troubles(seen: Seen, settings: Settings) -> Iterator[Trouble]:
    """What the server and the database are like."""
    if seen.encoding != "UTF8":
        yield Trouble(
            "server",
            "error",
            f"database {seen.database} has the encoding {seen.encoding}, which does not hold every text",
            "make another one: `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`",
        )
    if seen.in_recovery:
        yield Trouble(
            "server",
            "error",
            f"the server of database {seen.database} is a standby, which takes no writes",
            "let database.url lead to the primary; with several hosts in it, add target_session_attrs=read-write",
        )
    wanted = settings.database.connections
    if seen.role_connections is not None and seen.role_connections < wanted:
        yield Trouble(
            "server",
            "error",
            f"role {seen.role} may have {seen.role_connections} connections, but database.connections is {wanted}",
            f"`ALTER ROLE {quoted(seen.role)} CONNECTION LIMIT {2 * wanted}`, or lower database.connections",
        )
    for name in seen.unsafe:
        yield Trouble(
            "server",
            "warning",
            f"the server runs with {name} = off: a crash of its machine may leave the database in ruins",
            f"`ALTER SYSTEM SET {name} = on`, then `SELECT pg_reload_conf()`",
        )
    if settings.database.url:
        yield from _compression(seen, settings.database.schema_)


def _compression(seen: Seen, schema: str) -> Iterator[Trouble]:
    if not seen.has_lz4:
        yield Trouble(
            "server",
            "note",
            "the server was built without lz4: rows are packed by the slower pglz",
            "use a build of PostgreSQL with lz4, as those of distributions are; everything works without it",
        )
    elif seen.data_is_lz4 is False and not seen.foreign:
        yield Trouble(
            "server",
            "note",
            "the server has lz4, but runs.data is packed by the slower pglz",
            f"`ALTER TABLE {quoted(schema)}.runs ALTER COLUMN data SET COMPRESSION lz4`; it counts for rows to come",
        )


def table_troubles(seen: Seen, schema: str) -> Iterator[Trouble]:
    """Whether the tables are ours and of our version, and whether the role may do with them what we do."""
    if seen.foreign:
        yield Trouble(
            "role",
            "error",
            f"there is a table {schema}.{seen.foreign[0]} that belongs to another program",
            "let tracewatchd have a schema of its own: database.schema",
        )
    elif seen.schema_version > newest():
        yield Trouble(
            "role",
            "error",
            f"the tables have version {seen.schema_version}, this program knows {newest()}",
            "install a newer tracewatchd",
        )
    elif seen.needs_migration:
        yield from _migration(seen, schema)
    else:
        yield from _privileges(seen, schema)


def _migration(seen: Seen, schema: str) -> Iterator[Trouble]:
    role, named = quoted(seen.role), quoted(schema)
    if not seen.schema_exists:
        allowed, grant = seen.may_create_schema, f"GRANT CREATE ON DATABASE {quoted(seen.database)} TO {role}"
    else:
        allowed = seen.may_use_schema and seen.may_create_in_schema
        grant = f"GRANT USAGE, CREATE ON SCHEMA {named} TO {role}"
    if not allowed:
        yield Trouble(
            "role",
            "error",
            f"role {seen.role} may not make our tables in schema {schema} of database {seen.database}",
            f"`{grant}`, or let their owner run `tracewatchd db migrate`",
        )
    elif seen.schema_version and not seen.owns_tables:
        yield Trouble(
            "role",
            "error",
            f"the tables have version {seen.schema_version} and {newest()} is needed, but role {seen.role} does not own"
            " them",
            "let their owner run `tracewatchd db migrate`",
        )


def _privileges(seen: Seen, schema: str) -> Iterator[Trouble]:
    role, named = quoted(seen.role), quoted(schema)
    grants = [] if seen.may_use_schema else [f"GRANT USAGE ON SCHEMA {named} TO {role}"]
    lacking = [] if seen.may_use_schema else [f"USAGE on schema {schema}"]
    for privileges, tables in _by_privileges(seen.lacking).items():
        lacking.append(f"{privileges} on {', '.join(tables)}")
        grants.append(f"GRANT {privileges} ON {', '.join(f'{named}.{table}' for table in tables)} TO {role}")
    if lacking:
        yield Trouble("role", "error", f"role {seen.role} lacks {'; '.join(lacking)}", f"`{'; '.join(grants)}`")


def _by_privileges(lacking: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for table, privileges in lacking.items():
        grouped.setdefault(", ".join(privileges), []).append(table)
    return grouped


def citus_troubles(seen: Seen, schema: str, batch_rows: int) -> Iterator[Trouble]:
    """Whether the tables are distributed as our SQL needs it, where Citus is there at all."""
    if not seen.has_citus:
        return
    named = quoted(schema)
    if (by := seen.distributed.get(_RUNS)) is None:
        yield Trouble(
            "citus",
            "note",
            "the server has Citus, but runs lies on one node",
            f"`SELECT create_distributed_table('{named}.runs', '{_DISTRIBUTED_BY}')`, if it is to be spread",
        )
    elif by != _DISTRIBUTED_BY:
        yield Trouble(
            "citus",
            "error",
            f"runs is distributed by {by}, but {_DISTRIBUTED_BY} alone is in every unique key",
            f"`SELECT alter_distributed_table('{named}.runs', distribution_column := '{_DISTRIBUTED_BY}')`",
        )
    elif batch_rows < _FEW_ROWS:
        yield Trouble(
            "citus",
            "note",
            f"runs is distributed, where batches of {batch_rows} rows are slow",
            "set ingest.batch_rows = 2000",
        )
    for table in sorted(set(seen.distributed) - {_RUNS}):
        yield Trouble(
            "citus",
            "error",
            f"{table} is distributed, but ledger and bookkeeping belong on the coordinator",
            f"`SELECT undistribute_table('{named}.{table}')`",
        )


def clock_troubles(seen: Seen) -> Iterator[Trouble]:
    """Whether both clocks agree, as far as that can be told from here."""
    apart_s = abs(seen.server_ahead_s)
    if apart_s - seen.asking_s / 2 > _CLOCK_S:
        side = "ahead of" if seen.server_ahead_s > 0 else "behind"
        yield Trouble(
            "clock",
            "warning",
            f"the database server's clock is {apart_s:.0f} s {side} ours",
            "let both machines keep time (`timedatectl set-ntp true`)",
        )
