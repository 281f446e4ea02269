"""Connections that hang, break, are full or lead elsewhere, and what everyone who asks is told."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from postgres import Server, statement
from run_files import run_id
from stores import SOURCE, Plain, database_at, opened, plainly, until, until_locked_out, version
from tcp_proxy import TcpProxy, tcp_proxy
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.events import Event, StoreRecovered, StoreReplaced, StoreUnavailable
from tracewatchd.store.connect import Sessions, StoreOptions
from tracewatchd.store.database import TraceDatabase
from tracewatchd.store.schema import migrate, newest

OUR_CONNECTIONS = "FROM pg_stat_activity WHERE application_name = 'tracewatchd' AND datname = current_database()"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block takes no longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@asynccontextmanager
async def proxied(dsn: str, server: Server) -> AsyncIterator[tuple[str, TcpProxy]]:
    """Another way to a database, over TCP, that can be made to fail."""
    async with tcp_proxy(server.directory / ".s.PGSQL.5432") as proxy:
        name = dsn.partition("@/")[2].partition("?")[0]
        yield f"postgresql://tracewatchd@127.0.0.1:{proxy.port}/{name}?sslmode=disable", proxy


@asynccontextmanager
async def locked_rows(dsn: str) -> AsyncIterator[None]:
    """Somebody else holds every row for the length of the block."""
    async with plainly(dsn) as other, other.transaction():
        await other.execute("SELECT FROM runs FOR UPDATE")
        yield


async def restart(server: Server, number: signal.Signals = signal.SIGINT) -> None:
    server.stop(number)
    server.start()


# ---- deadlines


async def test_a_commit_past_its_deadline_ends_with_its_connection(database: str, connection: Plain) -> None:
    """A commit that waits longer than commit_timeout_s is given up, nothing of it stays, and the next one works."""
    async with opened(database, commit_timeout_s=0.4, connections=2) as store:
        await store.commit(SOURCE, [version(1)])
        async with locked_rows(database):
            for _ in range(3):
                with within(2), pytest.raises(TransientError) as met:
                    await store.commit(SOURCE, [version(1, day=2), version(2, second=1)])
                assert met.value.suspect_content
                assert store.is_reachable
        result = await store.commit(SOURCE, [version(1, day=2)])
    assert len(result.outcomes) == 1
    assert await connection.fetchval("SELECT count(*) FROM runs") == 1


async def test_a_record_that_sleeps_in_the_server_is_stopped_there_too(database: str, connection: Plain) -> None:
    """What takes too long is ended by the server as well: no backend goes on after we have turned away."""
    await connection.execute(
        """
        CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
        CREATE TRIGGER sleep BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION sleep();
        """
    )
    busy = "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    async with opened(database, commit_timeout_s=0.5) as store:
        with within(3), pytest.raises(TransientError):
            await store.commit(SOURCE, [version(1)])
        await until(lambda: connection.fetchval(busy))
        assert store.is_reachable


async def test_a_wait_for_a_lock_has_a_limit_of_its_own(database: str) -> None:
    """Past lock_timeout_s the server says 55P03, which heals, is no outage and no fault of the content."""
    async with opened(database, lock_timeout_s=0.2) as store:
        await store.commit(SOURCE, [version(1)])
        with within(3), pytest.raises(TransientError) as met:
            async with locked_rows(database):
                await store.commit(SOURCE, [version(1, day=2)])
        assert (met.value.sqlstate, met.value.suspect_content) == ("55P03", False)
        assert store.is_reachable


async def test_a_black_hole_is_an_outage_with_an_end(database: str, server: Server) -> None:
    """Silence in the middle of a commit ends it in time, is told once, and is over when something answers."""
    told: list[Event] = []
    async with (
        proxied(database, server) as (dsn, proxy),
        opened(dsn, told.append, commit_timeout_s=0.4, connect_timeout_s=0.4) as store,
    ):
        await store.commit(SOURCE, [version(1)])
        proxy.swallow()
        with within(4), pytest.raises(TransientError):
            await store.commit(SOURCE, [version(2)])
        assert not store.is_reachable
        reading = asyncio.create_task(store.row_versions([run_id(1)]))
        attempts = proxy.accepted + 3
        await until(lambda: proxy.accepted >= attempts)
        assert not reading.done()
        proxy.passes_again()
        with within(10):
            assert run_id(1) in await reading
        await store.commit(SOURCE, [version(2)])
    assert [type(event) for event in told] == [StoreUnavailable, StoreRecovered]


async def test_silence_while_the_tables_are_checked_has_an_end(database: str, server: Server) -> None:
    """A server that lets us in and then says nothing holds up neither opening nor a commit that needs a connection."""
    async with locked_version(database), proxied(database, server) as (dsn, proxy):
        opening = asyncio.create_task(database_at(dsn, connect_timeout_s=0.5).open(migrate=False))
        await until_locked_out(database)
        proxy.swallow()
        with within(5), pytest.raises(TransientError):
            await opening


async def test_silence_while_a_migration_runs_has_an_end(empty_database: str, server: Server) -> None:
    """A deadline that strikes inside the migration's transaction does not wait for the answer to a ROLLBACK."""
    way = proxied(empty_database, server)
    async with plainly(empty_database) as other, way as (dsn, proxy), other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock($1)", 0x7472_6163_6577)
        opening = asyncio.create_task(database_at(dsn, connect_timeout_s=0.5).open(migrate=True))
        await until_locked_out(empty_database)
        proxy.swallow()
        with within(5), pytest.raises(TransientError):
            await opening


@asynccontextmanager
async def locked_version(dsn: str) -> AsyncIterator[None]:
    """Somebody else changes the table of versions for the length of the block."""
    async with plainly(dsn) as other, other.transaction():
        await other.execute("LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE")
        yield


async def test_closing_has_an_end(database: str, server: Server) -> None:
    """Whatever hangs when we leave, leaving takes a few seconds at most, and ends what hung."""
    async with proxied(database, server) as (dsn, proxy):
        store = database_at(dsn)
        await store.open(migrate=False)
        async with plainly(database) as other, other.transaction():
            await other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            hanging = asyncio.create_task(store.row_versions([run_id(1)]))
            await until_locked_out(database)
            proxy.swallow()
            with within(5):
                await store.close()
                with pytest.raises(TransientError):
                    await hanging


async def test_nothing_begins_after_the_end(database: str) -> None:
    """A question after closing fails, tells no outage and opens nothing again."""
    told: list[Event] = []
    async with opened(database, told.append) as store:
        pass
    with pytest.raises(TransientError):
        await store.row_versions([run_id(1)])
    assert told == []
    assert len(asyncio.all_tasks()) == 1


# ---- a full house


async def test_waiting_for_a_connection_is_no_outage(database: str) -> None:
    """More work than connections waits its turn for longer than a connect may take, and nothing is told."""
    told: list[Event] = []
    async with opened(database, told.append, connections=3, connect_timeout_s=0.2, commit_timeout_s=10) as store:
        await store.commit(SOURCE, [version(1)])
        async with locked_rows(database):
            held = [asyncio.create_task(store.commit(SOURCE, [version(1, day=day)])) for day in range(1, 7)]
            await until_locked_out(database)
            await asyncio.sleep(0.5)  # longer than connecting may take
            assert await store.probe()
            assert not any(task.done() for task in held)
        assert len(await asyncio.gather(*held)) == 6
    assert told == []


async def test_no_more_connections_than_allowed(database: str, connection: Plain) -> None:
    """The pool keeps to its limit under load."""
    count = f"SELECT count(*) {OUR_CONNECTIONS}"
    async with opened(database, connections=3) as store:
        await asyncio.gather(*(store.commit(SOURCE, [version(number)]) for number in range(30)))
        assert await connection.fetchval(count) <= 3


# ---- broken links


async def test_a_connection_that_is_ended_keeps_its_words(database: str) -> None:
    """A backend that an administrator ends is told in the server's words, although its link broke with it."""
    async with opened(database) as store:
        with pytest.raises(TransientError, match="administrator command") as met:
            async with store._sessions.transaction() as transaction:
                await transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        assert met.value.sqlstate == "08003"
        await store.commit(SOURCE, [version(1)])


async def test_cancellation_is_not_lost_with_the_link(database: str) -> None:
    """Whoever is cancelled on a connection that broke meanwhile stays cancelled."""
    async with opened(database) as store:
        began = asyncio.Event()

        async def work() -> None:
            async with store._sessions.transaction():
                began.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await began.wait()
        store._sessions.drop()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_lost_connection_is_no_outage_for_a_question(database: str, connection: Plain) -> None:
    """A question whose backend is ended is asked once more, and nobody is told of anything."""
    told: list[Event] = []
    async with opened(database, told.append) as store:
        await store.commit(SOURCE, [version(1)])
        async with plainly(database) as other, other.transaction():
            await other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            asking = asyncio.create_task(store.row_versions(number for number in [run_id(1)]))
            await until_locked_out(database)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tracewatchd'"
            )
            await until_locked_out(database)
        assert run_id(1) in await asking
    assert told == []


async def test_a_question_that_keeps_failing_is_told(database: str) -> None:
    """While Postgres answers otherwise, a question that fails twice is not asked for ever."""
    async with opened(database, lock_timeout_s=0.1) as store, plainly(database) as other, other.transaction():
        await other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        with within(3), pytest.raises(TransientError, match="lock timeout"):
            await store.row_versions([run_id(1)])


async def test_a_cut_connection_loses_nothing(database: str, server: Server, connection: Plain) -> None:
    """A link that breaks in the middle of a commit leaves all or nothing, and doing it again does no harm."""
    async with proxied(database, server) as (dsn, proxy), opened(dsn) as store:
        await store.commit(SOURCE, [version(9)])
        async with locked_rows(database):
            task = asyncio.create_task(store.commit(SOURCE, [version(1), version(9, day=1, second=1)]))
            await until_locked_out(database)
            proxy.cut()
            with pytest.raises(TransientError):
                await task
        await store.available()
        assert await connection.fetchval("SELECT count(*) FROM runs") == 1
        await store.commit(SOURCE, [version(1), version(9, day=1, second=1)])
        assert await connection.fetchval("SELECT count(*) FROM runs") == 2


# ---- outages


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_a_restart_is_one_outage(
    server_of: Callable[..., Server], wheel: Path, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that goes and comes back is told once each way; a question waits; the driver logs nothing of its own."""
    server = server_of(wheel, fsync="on", synchronous_commit="on")
    told: list[Event] = []
    async with opened(server.create_database(), told.append, migrate=True) as store:
        told.clear()
        await store.commit(SOURCE, [version(1)])
        server.stop(number)
        with pytest.raises(TransientError):
            await store.commit(SOURCE, [version(2)])
        asking = asyncio.create_task(store.row_versions([run_id(1)]))
        await asyncio.sleep(0.5)  # long enough for a pool that reconnects on its own to show it
        assert not asking.done()
        assert not store.is_reachable
        assert not await store.probe()
        server.start()
        assert run_id(1) in await asking
        await store.commit(SOURCE, [version(2)])
    assert [type(event) for event in told] == [StoreUnavailable, StoreRecovered]
    assert caplog.records == []


async def test_opening_waits_out_an_outage_only_where_it_is_told_to(
    server_of: Callable[..., Server], wheel: Path
) -> None:
    """A one-shot command says at once that Postgres is away; the daemon waits for it; both get the same words."""
    server = server_of(wheel)
    dsn = server.create_database()
    server.stop()
    told: list[Event] = []
    store = database_at(dsn, told.append, patience_s=None)
    with pytest.raises(TransientError, match=r"No such file|refused"):
        await store.open(migrate=True)
    assert told == []
    opening = asyncio.create_task(store.open(migrate=True, wait=True))
    await until(lambda: told)
    server.start()
    await opening
    await store.commit(SOURCE, [version(1)])
    await store.close()
    assert [type(event) for event in told][::2] == [StoreUnavailable, StoreRecovered]


async def test_patience_has_an_end(server_of: Callable[..., Server], wheel: Path) -> None:
    """A one-shot command gives up on an outage after its patience, with a hint."""
    server = server_of(wheel)
    async with opened(server.create_database(), migrate=True, patience_s=0.3) as store:
        server.stop()
        with within(5), pytest.raises(TransientError, match=r"did not come back within 0.3 s") as met:
            await store.row_versions([run_id(1)])
        assert met.value.hint


async def test_what_waiting_cannot_mend_ends_the_waiting(server_of: Callable[..., Server], wheel: Path) -> None:
    """A server that comes back and lets us in no more ends the outage with a permanent error."""
    server = server_of(wheel)
    dsn = server.create_database()
    async with opened(dsn, migrate=True) as store:
        server.stop()
        asking = asyncio.create_task(store.row_versions([run_id(1)]))
        await until(lambda: not store.is_reachable)
        (server.data / "pg_hba.conf").write_text("local all all reject\n")
        server.start()
        with pytest.raises(PermanentError) as met:
            await asking
    assert met.value.sqlstate == "28000"


async def test_a_setting_that_the_server_refuses_is_no_poison(database: str) -> None:
    """A bad parameter in the URL is told as what it is, not as bad content."""
    with pytest.raises(PermanentError, match="work_mem"):
        await database_at(f"{database}&work_mem=banana").open(migrate=False)


async def test_a_database_that_is_missing_has_a_hint(server: Server) -> None:
    """The name of a database that does not exist is permanent, and the hint names the setting."""
    with pytest.raises(PermanentError, match="nowhere") as met:
        await database_at(server.dsn("nowhere")).open(migrate=False)
    assert "database.url" in met.value.hint


# ---- another database


async def test_another_database_is_noticed(server_of: Callable[..., Server], wheel: Path) -> None:
    """When the tables behind a running daemon are others than before, it says so once and catches up."""
    server = server_of(wheel)
    dsn = server.create_database()
    told: list[Event] = []
    noticed: list[None] = []

    async def locate() -> str:
        return dsn

    store = TraceDatabase(
        locate, StoreOptions(), told.append, name="db", on_replaced=lambda: noticed.append(None), patience_s=30
    )
    await store.open(migrate=True)
    before = (await store.status()).identity
    await store.commit(SOURCE, [version(1)])
    await restart(server)
    await store.row_versions([run_id(1)])
    assert not noticed
    name = dsn.partition("@/")[2].partition("?")[0]
    await statement(server.dsn("postgres"), f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    assert await store.row_versions([run_id(1)]) == {}
    await asyncio.gather(*(store.commit(SOURCE, [version(number)]) for number in range(20)))
    after = (await store.status()).identity
    await store.close()
    replaced = [event for event in told if isinstance(event, StoreReplaced)]
    assert replaced == [StoreReplaced(before=str(before), now=str(after))]
    assert len(noticed) == 1


# ---- sources


async def test_sources_remember_where_they_lie(database: str) -> None:
    """A source that is registered again from the same place is welcome; another host or root is refused with a hint."""
    async with opened(database) as store:
        for _ in range(2):
            await store.register_source("traces", "here", "/srv/traces")
        with pytest.raises(PermanentError, match="another host \\(here\\)") as met:
            await store.register_source("traces", "there", "/srv/traces")
        assert "watch.roots" in met.value.hint
        with pytest.raises(PermanentError, match="stands for /srv/traces, not /srv/others") as met:
            await store.register_source("traces", "here", "/srv/others")
        assert "watch.roots" in met.value.hint
        await store.register_source("elsewhere", "there", "/srv/traces")


@pytest.mark.parametrize("root", ["/srv/traces", "/srv/traces/inner", "/srv", "/"])
async def test_overlapping_roots_of_a_host_are_refused(database: str, root: str) -> None:
    """A root that lies in another's, or around it, is refused by name; one that only begins with it is not."""
    async with opened(database) as store:
        await store.register_source("traces", "here", "/srv/traces")
        with pytest.raises(PermanentError, match="overlaps /srv/traces, which the source traces") as met:
            await store.register_source("mine", "here", root)
        assert "traces" in met.value.hint
        await store.register_source("mine", "here", "/srv/traces-2")
        await store.register_source("theirs", "there", root)


# ---- leases


async def test_a_lease_has_one_holder(database: str, connection: Plain) -> None:
    """Free, own and expired leases are taken, others' are not, and only its holder gives one up."""
    async with opened(database) as store:
        assert await store.acquire_lease("daemon:a", "one", 60) == "one"
        assert await store.acquire_lease("daemon:a", "two", 60) == "one"
        assert await store.acquire_lease("daemon:b", "two", 60) == "two"
        await store.release_lease("daemon:a", "two")
        assert await store.acquire_lease("daemon:a", "two", 60) == "one"
        assert await store.acquire_lease("daemon:a", "one", 60) == "one"
        await store.release_lease("daemon:a", "one")
        assert await store.acquire_lease("daemon:a", "two", 60) == "two"
        await connection.execute("UPDATE leases SET expires_at = now() - interval '1 s'")
        assert await store.acquire_lease("daemon:a", "one", 60) == "one"


async def test_a_lease_that_many_want_goes_to_one(database: str) -> None:
    """Of many that ask at once all learn of the same holder, or that nobody knows yet."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database)) for _ in range(4)]
        asked = [
            store.acquire_lease("daemon:a", f"{number}-{turn}", 60)
            for turn in range(5)
            for number, store in enumerate(stores)
        ]
        holders = set(await asyncio.gather(*asked)) - {""}
    assert len(holders) == 1


# ---- sessions


async def test_a_check_that_fails_leaves_no_connection(database: str, connection: Plain) -> None:
    """A connection that must not be used is not left open."""

    async def locate() -> str:
        return database

    async def check(_: object) -> None:
        raise PermanentError("not this one")

    sessions = Sessions(locate, StoreOptions(connections=2), check=check)
    with pytest.raises(PermanentError, match="not this one"):
        await sessions.reopen()
    with pytest.raises(TransientError):
        async with sessions.use():
            raise AssertionError
    none_left = f"SELECT count(*) = 0 {OUR_CONNECTIONS}"
    await until(lambda: connection.fetchval(none_left))
    await sessions.close()


async def test_tables_that_change_under_a_statement_are_seen_again(database: str, connection: Plain) -> None:
    """A migration by another program makes prepared statements stale: that heals, the connection's cache is renewed."""
    async with opened(database, connections=2) as store:
        await store.run(run_id(1))
        await connection.execute("ALTER TABLE runs ALTER COLUMN rules TYPE integer")
        assert await store.run(run_id(1)) is None
    assert await migrate(connection) == (newest(), newest())
