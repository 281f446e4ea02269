"""The tables: how they come about, what they refuse, and that their SQL stays within what Citus runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest

from postgres import Server, statement
from run_files import run_id
from stores import SOURCE, Plain, database_at, opened, plainly, version
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.events import Event, StoreMigrated
from tracewatchd.store.schema import check_version, migrate, newest, version_of
from tracewatchd.store.statements import migrations, quoted
from tracewatchd.store.statements import statement as sql_of

SQL = {entry.name.removesuffix(".sql"): entry.read_text() for entry in (files("tracewatchd.store") / "sql").iterdir()}
MIGRATIONS = {name for name in SQL if re.match(r"\d{3}_", name)}
STATEMENTS = sorted(SQL.keys() - MIGRATIONS)
BARE = {name: re.sub(r"--.*", "", text).lower() for name, text in SQL.items()}
"""The SQL without comments, in lower case."""
OF_RUNS = [name for name in STATEMENTS if re.search(r"\{schema\}\.runs\b(?!'::)", BARE[name])]
"""Statements that read or write rows of runs."""


# ---- coming about


async def test_many_migrate_at_once(empty_database: str) -> None:
    """Of many that start together one makes the tables and says so; all of them can use them."""
    told: list[Event] = []
    stores = [database_at(empty_database, told.append) for _ in range(8)]
    await asyncio.gather(*(store.open(migrate=True) for store in stores))
    assert told == [StoreMigrated(before=0, now=newest())]
    await asyncio.gather(*(store.commit(SOURCE, [version(number)]) for number, store in enumerate(stores)))
    assert len(await stores[0].row_versions(map(run_id, range(8)))) == 8
    await asyncio.gather(*(store.close() for store in stores))


async def test_many_migrate_at_once_whatever_the_roles_isolation(empty_database: str) -> None:
    """A role whose transactions are serializable by default sees what the one before it migrated."""
    async with AsyncExitStack() as stack:
        strict = {"default_transaction_isolation": "serializable"}
        plain = [await stack.enter_async_context(plainly(empty_database, server_settings=strict)) for _ in range(4)]
        answers = await asyncio.gather(*map(migrate, plain))
    assert sorted(answers) == [(0, newest()), *[(newest(), newest())] * 3]


def name_of(dsn: str) -> str:
    return dsn.partition("@/")[2].partition("?")[0]


async def test_a_second_migration_changes_nothing(database: str, connection: Plain) -> None:
    """Tables of the newest version are left alone, and nothing is told."""
    look = "SELECT version, applied_at FROM schema_version"
    before = await connection.fetch(look)
    told: list[Event] = []
    async with opened(database, told.append, migrate=True):
        pass
    assert await migrate(connection) == (newest(), newest())
    assert (await connection.fetch(look), told) == (before, [])


async def test_migrations_are_applied_from_where_the_tables_are(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is newer than the tables runs, in the order of its numbers, all or nothing."""
    now = newest()
    later = [*migrations("public"), (now + 1, "CREATE TABLE more (a int)"), (now + 2, "INSERT INTO more VALUES (3)")]
    async with plainly(empty_database) as plain:
        await migrate(plain)
        monkeypatch.setattr("tracewatchd.store.schema.migrations", lambda _: (*later, (now + 3, "SELECT 1/0")))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(plain)
        assert await version_of(plain) == now
        monkeypatch.setattr("tracewatchd.store.schema.migrations", lambda _: tuple(later))
        assert await migrate(plain) == (now, now + 2)
        assert await plain.fetchval("SELECT array_agg(a) FROM more") == [3]


def test_migrations_are_numbered_without_gaps() -> None:
    """Numbers begin with 1 and no migration is missing or doubled."""
    assert [number for number, _ in migrations("public")] == list(range(1, len(MIGRATIONS) + 1))


# ---- refused


async def test_newer_tables_are_refused(database: str, connection: Plain) -> None:
    """Tables that a newer program made are not touched, migrating or not, and the hint says what to install."""
    await connection.execute("INSERT INTO schema_version VALUES ($1)", newest() + 1)
    for migrating in (True, False):
        with pytest.raises(PermanentError, match=f"this program knows {newest()}") as met:
            async with opened(database, migrate=migrating):
                pass
        assert met.value.hint == "install a newer tracewatchd"
    assert await version_of(connection) == newest() + 1


async def test_missing_tables_are_refused_without_migrating(empty_database: str) -> None:
    """A checking command never makes tables; it says which command does."""
    with pytest.raises(PermanentError, match="no tables of ours in schema public") as met:
        async with opened(empty_database):
            pass
    assert "db migrate" in met.value.hint
    assert await statement(empty_database, "SELECT FROM pg_tables WHERE schemaname = 'public'") == []


def test_older_tables_are_refused_without_migrating() -> None:
    """Tables of an older program are good enough to migrate, and for nothing else."""
    check_version(newest() - 1, "public", or_older=True)
    with pytest.raises(PermanentError, match="is needed") as met:
        check_version(newest() - 1, "public")
    assert met.value.sqlstate == "42P01"


@pytest.mark.parametrize("table", ["runs (id int)", "schema_version (version text)", "schema_version (version int)"])
async def test_a_foreign_table_is_refused_with_a_hint(empty_database: str, table: str) -> None:
    """A table of another program by a name that is ours is left alone, and the hint names the setting."""
    await statement(empty_database, f"CREATE TABLE {table}")
    with pytest.raises(PermanentError, match="belongs to another program") as met:
        async with opened(empty_database, migrate=True):
            pass
    assert "database.schema" in met.value.hint
    with pytest.raises(PermanentError, match="no tables of ours"):
        async with opened(empty_database):
            pass
    async with opened(empty_database, migrate=True, schema="ours") as store:
        await store.commit(SOURCE, [version(1)])


async def test_any_other_name_that_is_taken_has_a_hint(empty_database: str) -> None:
    """A foreign ledger or files is refused by Postgres; nothing of ours stays, and the hint names the setting."""
    await statement(empty_database, "CREATE TABLE files (a int)")
    with pytest.raises(PermanentError, match="already exists") as met:
        async with opened(empty_database, migrate=True):
            pass
    assert "database.schema" in met.value.hint
    assert len(await statement(empty_database, "SELECT FROM pg_tables WHERE schemaname = 'public'")) == 1


async def test_a_server_that_is_too_old_is_named() -> None:
    """What cannot work is refused before anything is asked."""
    old = SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=13))
    with pytest.raises(PermanentError, match="PostgreSQL 13 is too old") as met:
        await migrate(cast("Any", old))
    assert met.value.hint == "14 or newer is needed"


# ---- a schema of its own


@pytest.mark.parametrize("schema", ["traces", 'Odd "name"'])
async def test_a_schema_of_its_own(empty_database: str, schema: str) -> None:
    """Everything lives in the schema that is named, nothing in public, and two schemas know nothing of each other."""
    async with (
        opened(empty_database, migrate=True, schema=schema) as store,
        opened(empty_database, migrate=True, schema="other") as other,
    ):
        await store.commit(SOURCE, [version(1)])
        assert await store.row_versions([run_id(1)])
        assert not await other.row_versions([run_id(1)])
        assert (await store.status()).schema == schema
        assert (await store.status()).identity != (await other.status()).identity
    found = await statement(empty_database, "SELECT DISTINCT schemaname FROM pg_stat_user_tables")
    assert {row[0] for row in found} == {schema, "other"}


async def test_a_role_without_the_right_to_create_schemas(empty_database: str, server: Server) -> None:
    """Where the schema exists and is the role's, nothing more is asked of the database."""
    role = f"lowly_{name_of(empty_database)}"
    await statement(empty_database, f"CREATE ROLE {role} LOGIN", f"CREATE SCHEMA ours AUTHORIZATION {role}")
    dsn = server.dsn(name_of(empty_database)).replace("://tracewatchd@", f"://{role}@")
    try:
        async with opened(dsn, migrate=True, schema="ours") as store:
            await store.commit(SOURCE, [version(1)])
        with pytest.raises(PermanentError, match="permission denied") as met:
            async with opened(dsn, migrate=True, schema="another"):
                pass
        assert met.value.sqlstate == "42501"
        assert "grant" in met.value.hint
    finally:
        await statement(empty_database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


# ---- compression


@pytest.mark.parametrize("which", ["wheel", "debian_postgres"])
async def test_lz4_where_the_server_has_it(
    which: str, request: pytest.FixtureRequest, server_of: Callable[..., Server]
) -> None:
    """`data` is compressed with lz4 by a server that was built with it, and the tables come about without it too."""
    binaries: Path = request.getfixturevalue(which)
    async with plainly(server_of(binaries).create_database()) as plain:
        await migrate(plain)
        has_it = await plain.fetchval(
            "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
        )
        compression = await plain.fetchval(
            "SELECT attcompression = 'l' FROM pg_attribute WHERE attrelid = 'runs'::regclass AND attname = 'data'"
        )
    assert has_it is compression is (which == "debian_postgres")


# ---- constraints

_DAY = "INSERT INTO project_days VALUES"
_CERTIFICATE = "INSERT INTO certificates (source, directory, certified_at, locations, runs, files, day_digest) VALUES"
_DIGEST = "sha256('')"
_FIX = (
    "INSERT INTO fixes (fix_id, repair_id, source, kind, paths, ledger_before, ledger_after, state, run_after_sha256)"
    " VALUES (gen_random_uuid(), gen_random_uuid(), 's', 'stale', '{}', '[]', '[]'"
)
VIOLATIONS = {
    "runs_sha256_is_32_bytes": "UPDATE runs SET file_sha256 = '\\x00'",
    "runs_rules_are_positive": "UPDATE runs SET rules = 0",
    "runs_data_is_an_object": "UPDATE runs SET data = '[]'",
    "ledger_state_is_known": "UPDATE ledger SET state = 'pending'",
    "ledger_sha256_is_32_bytes": "UPDATE ledger SET file_sha256 = '\\x00'",
    "ledger_acknowledged_names_its_row": "UPDATE ledger SET run_id = NULL",
    "ledger_quarantined_says_why": "UPDATE ledger SET state = 'quarantined', reason = 'empty'",
    "ledger_size_is_not_negative": "UPDATE ledger SET size_bytes = -1",
    "project_days_depth_is_known": f"{_DAY} ('s', 'd', 'shallow', now(), 'consistent', 0, '{{}}')",
    "project_days_verdict_is_known": f"{_DAY} ('s', 'd', 'full', now(), 'fine', 0, '{{}}')",
    "project_days_files_is_not_negative": f"{_DAY} ('s', 'd', 'full', now(), 'consistent', -1, '{{}}')",
    "fixes_state_is_known": f"{_FIX}, 'forgotten', NULL)",
    "fixes_sha256_is_32_bytes": f"{_FIX}, 'applied', '\\x00')",
    "certificates_digest_is_32_bytes": f"{_CERTIFICATE} ('s', 'd', now(), '{{files,db}}', 1, 1, '\\x00')",
    "certificates_counts_are_not_negative": f"{_CERTIFICATE} ('s', 'd', now(), '{{files,db}}', -1, 1, {_DIGEST})",
    "certificates_name_two_locations": f"{_CERTIFICATE} ('s', 'd', now(), '{{db}}', 1, 1, {_DIGEST})",
    "identity_is_one": "INSERT INTO identity (only_one) VALUES (false)",
}


@pytest.mark.parametrize("constraint", VIOLATIONS)
async def test_every_check_is_violated_once(database: str, connection: Plain, constraint: str) -> None:
    """Each CHECK refuses what it is there for."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1)])
    with pytest.raises(asyncpg.CheckViolationError) as met:
        await connection.execute(VIOLATIONS[constraint])
    assert met.value.constraint_name == constraint


async def test_every_check_has_a_violation(connection: Plain) -> None:
    """No CHECK comes into the tables without a test that violates it."""
    found = await connection.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )
    assert {row["conname"] for row in found} == VIOLATIONS.keys()


@pytest.mark.parametrize("column", ["extracted_at", "file_mtime_ns", "file_sha256", "rules"])
async def test_no_column_that_decides_may_be_null(database: str, connection: Plain, column: str) -> None:
    """A NULL in a version would beat every guard for ever."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1)])
    with pytest.raises(asyncpg.NotNullViolationError):
        await connection.execute(f"UPDATE runs SET {column} = NULL")  # noqa: S608 - a parameter of this test


async def test_there_is_one_identity(connection: Plain) -> None:
    """A database cannot be two."""
    assert isinstance(await connection.fetchval("SELECT id FROM identity"), UUID)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("INSERT INTO identity DEFAULT VALUES")


async def test_the_view_for_people_derives_states(database: str, connection: Plain) -> None:
    """Loaded, superseded, orphan and quarantined follow from comparing versions, and are stored nowhere."""
    old, new, lone = version(1, day=1), version(1, day=2, second=1), version(2, second=2)
    async with opened(database) as store:
        await store.commit(SOURCE, [old, new, lone])
    await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(2))
    await connection.execute(
        "INSERT INTO ledger (source, path, size_bytes, mtime_ns, ctime_ns, state, reason, detail, rules)"
        " VALUES ('s', 'p', 0, 0, 0, 'quarantined', 'empty', 'it is empty', 1)"
    )
    states = {row["path"]: row["state"] for row in await connection.fetch("SELECT path, state FROM files")}
    assert states == {old.path: "superseded", new.path: "loaded", lone.path: "orphan", "p": "quarantined"}


# ---- within what Citus runs


@pytest.mark.parametrize("word", ["trigger", "merge", "skip locked", "listen", "notify", "rollup", "references"])
def test_no_sql_uses_what_citus_lacks(word: str) -> None:
    """What a distributed table cannot have or do stands in no file."""
    assert [name for name, text in BARE.items() if re.search(rf"\b{word}\b", text)] == []


def test_no_statement_joins_the_two_tables() -> None:
    """Rows and ledger are never read or written by one statement: the ledger lives on one node, the rows on many."""
    assert [name for name in OF_RUNS if "{schema}.ledger" in BARE[name]] == []
    assert {"upsert", "insert", "touch", "versions"} <= set(OF_RUNS)


@pytest.mark.parametrize("name", [name for name in OF_RUNS if "do update" in BARE[name]])
def test_what_decides_a_conflict_is_columns_and_immutable_expressions(name: str) -> None:
    """In DO UPDATE SET ... WHERE of runs stands no call but `greatest`, and run_id is not set."""
    decision = BARE[name].partition("do update set")[2].partition("returning")[0]
    calls = set(re.findall(r"\b([a-z_]+)\s*\(", decision)) - {"and", "or", "where"}
    assert calls <= {"greatest"}
    assert not re.search(r"\b(current_\w+|localtime\w*|select)\b", decision)
    assert not re.search(r"\brun_id\s*=", decision)


def test_a_conflict_is_decided_somewhere() -> None:
    """The test above looks at the statements that it is about."""
    assert [name for name in OF_RUNS if "do update" in BARE[name]] == ["insert", "upsert"]


def test_counts_come_from_returning() -> None:
    """Writers of rows say what they wrote by RETURNING, since a command tag counts source rows there."""
    assert all("returning" in BARE[name] for name in OF_RUNS if "insert into" in BARE[name])


async def test_every_unique_key_of_runs_holds_the_distribution_column(connection: Plain) -> None:
    """A unique key without run_id could not be distributed by it."""
    keys = await connection.fetch(
        """SELECT i.indexrelid::regclass::text AS name, 'run_id' = ANY (SELECT attname::text FROM pg_attribute a
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) AS holds
           FROM pg_index i WHERE indrelid = 'runs'::regclass AND indisunique"""
    )
    assert [tuple(key) for key in keys] == [("runs_pkey", True)]


def test_statements_name_their_schema() -> None:
    """No statement leaves to the search path which tables it means, whatever the schema is called."""
    assert quoted('a"b') == '"a""b"'
    for name in STATEMENTS:
        text = sql_of(name, "s")
        assert not re.search(r"\{[a-z_]", text)
        tables = re.findall(r"\b(?:from|join|into|update)\s+([\w\".]+)", re.sub(r"--.*", "", text).lower())
        ours = {"runs", "ledger", "sources", "leases", "identity", "schema_version", "project_days", "gone", "fixes"}
        assert not ours & set(tables)
