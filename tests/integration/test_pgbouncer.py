"""Through pgbouncer in transaction mode, where each transaction may meet another backend."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bouncers import Bouncer, bouncing, installed_pgbouncer
from postgres import Server
from run_files import run_id
from stores import SOURCE, Plain, database_at, opened, version
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.events import Event, StoreMigrated, StoreRecovered, StoreUnavailable
from tracewatchd.store.schema import newest


@pytest.fixture(scope="session")
def program() -> str:
    """The installed pgbouncer."""
    found = installed_pgbouncer()
    if found is None:
        pytest.skip("no pgbouncer is installed (tests/system-packages installs one)")
    return found


@pytest.fixture
def bouncer(program: str, server: Server) -> Iterator[Bouncer]:
    """A pgbouncer in front of the server that the tests share."""
    with bouncing(program, server) as running:
        yield running


async def test_tables_come_about_through_it(bouncer: Bouncer, empty_database: str) -> None:
    """Several that migrate at once through two backends make the tables once."""
    told: list[Event] = []
    stores = [database_at(bouncer.dsn(empty_database), told.append, pgbouncer=True) for _ in range(4)]
    await asyncio.gather(*(store.open(migrate=True) for store in stores))
    assert told == [StoreMigrated(before=0, now=newest())]
    await asyncio.gather(*(store.close() for store in stores))


async def test_many_different_questions_at_once(bouncer: Bouncer, database: str) -> None:
    """Each gets its own answer: no statement meets a backend that knows another one by its name."""
    files = [version(number, second=number) for number in range(40)]
    told: list[Event] = []
    async with opened(bouncer.dsn(database), told.append, pgbouncer=True, connections=8) as store:
        for start in range(0, 40, 10):
            await store.commit(SOURCE, files[start : start + 10])

        async def ask(turn: int) -> None:
            file = files[turn % 40]
            assert (await store.ledger_rows(SOURCE, [file.path])).keys() == {file.path}
            assert (await store.row_versions([file.run_id])).keys() == {file.run_id}
            assert await store.ledger_directories(SOURCE) == ["bot/2026-11-20"]
            assert await store.acquire_lease(f"a{turn}", "me", 60) == "me"
            run = await store.run(file.run_id)
            assert run is not None
            assert run.file_sha256 == file.file_sha256
            assert (await store.commit(SOURCE, [file])).outcomes == {file.path: "unchanged"}
            assert await store.probe()

        await asyncio.gather(*map(ask, range(120)))
        assert len([run async for run in store.runs("bot", files[0].run_date, files[0].run_date)]) == 40
    assert told == []


async def test_locks_and_statements_have_their_limits_there_too(
    bouncer: Bouncer, database: str, connection: Plain
) -> None:
    """What cannot be said at the start of a session is said in each transaction, and stays in it."""
    async with opened(bouncer.dsn(database), pgbouncer=True, lock_timeout_s=0.2) as store:
        await store.commit(SOURCE, [version(1)])
        async with connection.transaction():
            await connection.execute("SELECT FROM runs FOR UPDATE")
            with pytest.raises(TransientError) as met:
                await store.commit(SOURCE, [version(1, day=2)])
        assert met.value.sqlstate == "55P03"
        async with store._sessions.use() as used:
            assert await used.fetchval("SHOW statement_timeout") == "30s"
        async with store._sessions._lent(1) as lent:
            assert await lent.fetchval("SHOW statement_timeout") == "0"


async def test_a_question_that_fails_ends_its_transaction(bouncer: Bouncer, database: str, connection: Plain) -> None:
    """A refused question leaves no backend in a transaction: two backends serve many failures."""
    async with opened(bouncer.dsn(database), pgbouncer=True) as store:
        await connection.execute("ALTER TABLE runs RENAME TO away")
        for _ in range(6):
            with pytest.raises(PermanentError, match="42P01"):
                await store.row_versions([run_id(1)])
        await connection.execute("ALTER TABLE away RENAME TO runs")
        assert await store.row_versions([run_id(1)]) == {}


async def test_a_bouncer_that_goes_away_is_an_outage(bouncer: Bouncer, database: str) -> None:
    """The pooler's end and return are one outage like any other."""
    told: list[Event] = []
    async with opened(bouncer.dsn(database), told.append, pgbouncer=True) as store:
        await store.commit(SOURCE, [version(1)])
        bouncer.stop()
        with pytest.raises(TransientError):
            await store.commit(SOURCE, [version(2)])
        asking = asyncio.create_task(store.row_versions([run_id(1)]))
        bouncer.start()
        assert run_id(1) in await asking
    assert [type(event) for event in told] == [StoreUnavailable, StoreRecovered]


async def test_without_the_setting_the_hint_names_it(bouncer: Bouncer, database: str) -> None:
    """Whoever forgot the setting is told which one it is."""
    with pytest.raises(TransientError, match="startup parameter") as met:
        await database_at(bouncer.dsn(database)).open(migrate=False)
    assert "database.pgbouncer" in met.value.hint


def test_the_bouncer_is_an_ordinary_users(bouncer: Bouncer) -> None:
    """These tests work as root and as an ordinary user."""
    assert Path("/proc", str(bouncer._process.pid)).stat().st_uid != 0
