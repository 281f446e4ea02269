"""The tables: bringing them up to date, and checking that they are what this program needs."""

from __future__ import annotations

from tracewatchd.model.errors import PermanentError
from tracewatchd.store.connect import Connection, read_committed
from tracewatchd.store.statements import migrations, quoted

_LOCK = 0x7472_6163_6577
"""Advisory lock of everyone who migrates: the bytes of "tracew"."""
OLDEST_SERVER = 14
"""The oldest major version of PostgreSQL that our SQL runs on."""


def newest(schema: str = "public") -> int:
    """The version that this program needs."""
    return migrations(schema)[-1][0]


async def version_of(connection: Connection, schema: str = "public") -> int:
    """The version of the tables in a schema, 0 where there are none of ours."""
    # Others call a table schema_version too; identity stands beside it only where it is ours.
    if not {"schema_version", "identity"} <= await _tables(connection, schema):
        return 0
    version = f"SELECT coalesce(max(version), 0) FROM {quoted(schema)}.schema_version"  # noqa: S608 - quoted
    return int(await connection.fetchval(version))


async def _tables(connection: Connection, schema: str) -> set[str]:
    # Not to_regclass: it may answer from before the wait for a lock in which others made the table.
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)", schema
    )
    return {row["relname"] for row in rows}


async def migrate(connection: Connection, *, schema: str = "public") -> tuple[int, int]:
    """Bring the tables to the newest version; returns the version before and now. Safe to run from many at once.

    Raises:
        PermanentError: the server is too old, the tables are newer than this program, or a table called ``runs``
            in the schema is not ours.
    """
    server = connection.get_server_version()
    if server.major < OLDEST_SERVER:
        raise PermanentError(f"PostgreSQL {server.major} is too old", hint="14 or newer is needed")
    async with read_committed(connection):  # READ COMMITTED: what the last holder of the lock did must be seen
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        before = await version_of(connection, schema)
        check_version(before, schema, or_older=True)
        if before == 0:
            await _begin(connection, schema)
        for number, sql in migrations(schema):
            if number > before:
                await connection.execute(sql)
                await connection.execute(
                    f"INSERT INTO {quoted(schema)}.schema_version (version) VALUES ($1)",  # noqa: S608 - quoted
                    number,
                )
        return before, newest(schema)


async def _begin(connection: Connection, schema: str) -> None:
    if taken := sorted({"runs", "schema_version"} & await _tables(connection, schema)):
        raise PermanentError(
            f"there is a table {schema}.{taken[0]} that belongs to another program",
            hint="let tracewatchd have a schema of its own: database.schema",
        )
    # IF NOT EXISTS would ask for the right to create schemas even where there is nothing to create.
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema):
        await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
    await connection.execute(
        f"CREATE TABLE {quoted(schema)}.schema_version ("
        "version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )


def check_version(found: int, schema: str, *, or_older: bool = False) -> None:
    """Whether this program can work with tables of that version.

    Raises:
        PermanentError: it cannot.
    """
    needed = newest(schema)
    if found > needed:
        raise PermanentError(
            f"the tables have version {found}, this program knows {needed}", hint="install a newer tracewatchd"
        )
    if found < needed and not or_older:
        what = f"the tables have version {found}" if found else f"there are no tables of ours in schema {schema}"
        raise PermanentError(
            f"{what}; version {needed} is needed", hint="run `tracewatchd db migrate`", sqlstate="42P01"
        )
