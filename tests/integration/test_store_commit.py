"""The one transaction against real Postgres: whichever order, however often, from however many."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from run_files import run_id, run_path
from stores import SOURCE, Plain, opened, plainly, until, until_locked_out, version
from tracewatchd.model.errors import PoisonError, TransientError
from tracewatchd.model.record import Reason, Rejection, TraceRecord
from tracewatchd.model.results import ACKNOWLEDGED, Outcome
from tracewatchd.model.stamp import NO_EXTRACTION, Stamp
from tracewatchd.store.commit import commit_batch, rounds
from tracewatchd.store.connect import Sessions, StoreOptions
from tracewatchd.store.database import TraceDatabase

FILES = [
    version(number, day=day, mtime_ns=mtime_ns, text=text, second=second)
    for number in (1, 2)
    for second, (day, mtime_ns, text) in enumerate(
        [
            (None, 1, "bare"), (None, 3, "bare"), (None, 2, "other"), (None, 3, "other"),
            (1, 9, "one"), (2, 1, "two"), (2, 5, "two"), (2, 5, "more"), (2, 5, "most"), (2, 2, "less"),
        ]
    )
]  # fmt: skip
"""Versions of two runs: with and without extraction, equal bytes of unequal age, ties that only the sha256 decides."""


def rejection(path: str, **given: Any) -> Rejection:
    return Rejection(path=path, stamp=Stamp(0, 1, 1), reason=Reason.EMPTY, detail="it is empty", **given)


async def rows_of(connection: Plain) -> list[tuple[Any, ...]]:
    """What loading decides of every row."""
    rows = await connection.fetch(
        "SELECT run_id, extracted_at, file_mtime_ns, file_sha256, data ->> 'text', rules FROM runs ORDER BY run_id"
    )
    return [tuple(row) for row in rows]


async def ledger_of(connection: Plain) -> dict[str, tuple[Any, ...]]:
    rows = await connection.fetch("SELECT path, state, file_sha256, mtime_ns, run_id, rules FROM ledger")
    return {row["path"]: tuple(row)[1:] for row in rows}


def greatest(files: Iterable[TraceRecord]) -> list[tuple[Any, ...]]:
    """The rows that these files must end in."""
    winners: dict[Any, TraceRecord] = {}
    for file in sorted(files, key=lambda file: file.version):
        winners[file.run_id] = file
    return [
        (
            file.run_id,
            datetime.min if file.extracted_at == NO_EXTRACTION else file.extracted_at,  # noqa: DTZ901 - the driver's
            file.stamp.mtime_ns,
            file.file_sha256,
            {file.file_sha256: text for file, text in zip(FILES, TEXTS, strict=True)}[file.file_sha256],
            file.rules,
        )
        for file in sorted(winners.values(), key=lambda file: file.run_id)
    ]


TEXTS = ["bare", "bare", "other", "other", "one", "two", "two", "more", "most", "less"] * 2

loads = st.lists(
    st.lists(st.sampled_from(range(len(FILES))), min_size=1, max_size=8, unique=True), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads)
def test_any_order_and_any_number_of_times_end_in_the_same_rows(database: str, batches: list[list[int]]) -> None:
    """Whatever batches the versions come in, the greatest of each run is its row and every file is acknowledged."""

    async def check() -> None:
        async with opened(database) as store, plainly(database) as plain:
            await plain.execute("TRUNCATE runs, ledger")
            for batch in batches:
                result = await store.commit(SOURCE, [FILES[index] for index in batch])
                assert set(result.outcomes) == {FILES[index].path for index in batch}
                assert set(result.outcomes.values()) <= ACKNOWLEDGED
                assert result.retry == ()
            offered = {index: FILES[index] for batch in batches for index in batch}.values()
            assert await rows_of(plain) == greatest(offered)
            assert await ledger_of(plain) == {
                file.path: ("acknowledged", file.file_sha256, file.stamp.mtime_ns, file.run_id, file.rules)
                for file in offered
            }

    asyncio.run(check())


async def test_outcomes_say_what_happened(database: str) -> None:
    """New, newer, equal and older files of a run are loaded, updated, unchanged and superseded."""
    old, middle, new = (version(1, day=day, second=day) for day in (1, 2, 3))
    async with opened(database) as store:
        said = [(await store.commit(SOURCE, [file])).outcomes[file.path] for file in (middle, new, new, old)]
    assert said == [Outcome.LOADED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.SUPERSEDED]


async def test_equal_bytes_raise_only_the_mtime(database: str, connection: Plain) -> None:
    """A copy with a later mtime rewrites neither `data` (its TOAST value stays) nor updated_at; an earlier, nothing."""
    text = random.Random(1).randbytes(20_000).hex()
    look = (
        "SELECT pg_column_toast_chunk_id(data) AS chunk, updated_at, created_at, file_mtime_ns AS mtime, xmin::text"
        " FROM runs"
    )
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1, mtime_ns=5, text=text)])
        before = await connection.fetchrow(look)
        assert before is not None
        assert before["chunk"]
        for mtime_ns, expected in ((3, 5), (5, 5), (9, 9), (7, 9)):
            result = await store.commit(SOURCE, [version(1, mtime_ns=mtime_ns, text=text)])
            after = await connection.fetchrow(look)
            assert set(result.outcomes.values()) == {Outcome.UNCHANGED}
            assert after is not None
            assert after["mtime"] == expected
            assert tuple(after)[:3] == tuple(before)[:3]
        updates = await connection.fetchval("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'runs'")
    assert updates <= 1


async def test_created_at_and_first_seen_at_stay(database: str, connection: Plain) -> None:
    """A newer version changes updated_at of row and ledger row, and leaves when they were first made."""
    look = (
        "SELECT r.created_at, l.first_seen_at, r.updated_at AS row_at, l.updated_at AS ledger_at FROM runs r, ledger l"
    )
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1, day=1)])
        before = await connection.fetchrow(look)
        await store.commit(SOURCE, [version(1, day=2)])
        after = await connection.fetchrow(look)
    assert before is not None
    assert after is not None
    assert (after["created_at"], after["first_seen_at"]) == (before["created_at"], before["first_seen_at"])
    assert after["row_at"] > before["row_at"]
    assert after["ledger_at"] > before["ledger_at"]


async def test_twins_of_one_run_in_one_batch(database: str, connection: Plain) -> None:
    """The newest is the row, the others are superseded, equal bytes are unchanged, and all are acknowledged."""
    files = [version(1, day=day, second=second) for second, day in enumerate((2, 9, 4, 9))]
    async with opened(database) as store:
        result = await store.commit(SOURCE, files)
    assert [result.outcomes[file.path] for file in files] == [
        Outcome.SUPERSEDED, Outcome.LOADED, Outcome.SUPERSEDED, Outcome.UNCHANGED,
    ]  # fmt: skip
    assert [row[1] for row in await rows_of(connection)] == [datetime(2026, 12, 9, tzinfo=UTC)]
    assert len(await ledger_of(connection)) == 4


@given(st.lists(st.sampled_from(FILES), unique=True))
def test_a_statement_never_takes_two_files_of_one_run(files: list[TraceRecord]) -> None:
    """Rounds hold every file once, each run at most once per round, and newer files before older ones."""
    found = rounds(files)
    assert sorted(file.path for one in found for file in one) == sorted(file.path for file in files)
    for one in found:
        assert len({file.run_id for file in one}) == len(one)
    for earlier, later in pairwise(found):
        newest = {file.run_id: file.version for file in earlier}
        assert all(file.version <= newest[file.run_id] for file in later)


async def test_newer_rules_derive_a_row_again(database: str, connection: Plain) -> None:
    """Equal bytes with a greater rules number rewrite row and ledger; with a smaller one they do not."""
    first = version(1, day=1, mtime_ns=5)
    again = replace(first, rules=first.rules + 1, name="derived anew", stamp=Stamp(1, 3, 1))
    said = []
    async with opened(database) as store:
        for file in (first, again, first):
            result = await store.commit(SOURCE, [file])
            row = await connection.fetchrow("SELECT name, rules, file_mtime_ns FROM runs")
            assert row is not None
            said.append((result.outcomes[file.path], *row))
    assert said == [
        (Outcome.LOADED, None, first.rules, 5),
        (Outcome.UPDATED, "derived anew", again.rules, 5),
        (Outcome.UNCHANGED, "derived anew", again.rules, 5),
    ]


async def test_newer_rules_let_no_older_version_win(database: str, connection: Plain) -> None:
    """A greater rules number counts for equal bytes only."""
    newest, older = version(1, day=5), replace(version(1, day=1, second=1), rules=30)
    async with opened(database) as store:
        await store.commit(SOURCE, [newest])
        result = await store.commit(SOURCE, [older])
    assert result.outcomes == {older.path: Outcome.SUPERSEDED}
    assert (await rows_of(connection))[0][3] == newest.file_sha256


async def test_insert_only_leaves_what_is_older(database: str, connection: Plain) -> None:
    """Without overwriting, a newer file of a known run is left and not acknowledged; everything else is as usual."""
    known, newer, older = version(1, day=5), version(1, day=9, second=1), version(1, day=1, second=2)
    same, unknown = version(1, day=5, second=3, mtime_ns=7), version(2, second=4)
    async with opened(database) as store:
        await store.commit(SOURCE, [known])
        result = await store.commit(SOURCE, [newer, older, same, unknown], overwrite=False)
    assert result.outcomes == {
        newer.path: Outcome.LEFT,
        older.path: Outcome.SUPERSEDED,
        same.path: Outcome.UNCHANGED,
        unknown.path: Outcome.LOADED,
    }
    assert set(await ledger_of(connection)) == {known.path, older.path, same.path, unknown.path}
    assert [row[3] for row in await rows_of(connection)] == [known.file_sha256, unknown.file_sha256]


async def test_insert_only_takes_the_newest_of_twins(database: str, connection: Plain) -> None:
    """Of two new files of one run the newest is inserted, whatever order they stand in."""
    older, newer = version(1, day=1), version(1, day=2, second=1)
    async with opened(database) as store:
        result = await store.commit(SOURCE, [older, newer], overwrite=False)
    assert result.outcomes == {newer.path: Outcome.LOADED, older.path: Outcome.SUPERSEDED}


@pytest.mark.parametrize("overwrite", [True, False])
async def test_a_refused_row_stays_locked_until_the_commit(database: str, connection: Plain, overwrite: bool) -> None:  # noqa: FBT001 - a parameter
    """What is said of a file because of a row stays true until it commits: nobody can change that row meanwhile."""
    newest, older = version(1, day=5), version(1, day=1, second=1)
    async with opened(database) as store:
        await store.commit(SOURCE, [newest])
        async with store._sessions.transaction() as transaction:
            result = await commit_batch(transaction, "public", SOURCE, [older], (), overwrite=overwrite)
            assert result.outcomes == {older.path: Outcome.SUPERSEDED}
            with pytest.raises(asyncpg.LockNotAvailableError):
                await connection.execute("SELECT FROM runs WHERE run_id = $1 FOR UPDATE NOWAIT", run_id(1))
        await connection.execute("SELECT FROM runs WHERE run_id = $1 FOR UPDATE NOWAIT", run_id(1))


@pytest.mark.parametrize("overwrite", [True, False])
async def test_a_row_that_went_away_after_it_refused_is_tried_again(
    database: str,
    connection: Plain,
    overwrite: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A file whose row is gone when it is read back is neither acknowledged nor lost: it is to be offered again."""
    newest, older, other = version(1, day=5), version(1, day=1, second=1), version(2, second=2)
    async with opened(database) as store:
        await store.commit(SOURCE, [newest])
        await connection.execute(
            """
            CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN DELETE FROM runs WHERE extracted_at = '2026-12-05 00:00Z'; RETURN NULL; END $$;
            CREATE TRIGGER vanish AFTER INSERT ON runs FOR EACH STATEMENT EXECUTE FUNCTION vanish();
            """
        )
        result = await store.commit(SOURCE, [older, other], overwrite=overwrite)
    assert result.retry == (older.path,)
    assert result.outcomes == {other.path: Outcome.LOADED}
    assert set(await ledger_of(connection)) == {newest.path, other.path}


async def test_a_row_that_grew_older_after_it_refused_is_tried_again(database: str, connection: Plain) -> None:
    """Only a row that is newer supersedes: one that is not, when it is read back, acknowledges nothing."""
    newest, older = version(1, day=5), version(1, day=1, second=1)
    async with opened(database) as store:
        await store.commit(SOURCE, [newest])
        await connection.execute(
            """
            CREATE FUNCTION age() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN UPDATE runs SET extracted_at = '-infinity'; RETURN NULL; END $$;
            CREATE TRIGGER age AFTER INSERT ON runs FOR EACH STATEMENT EXECUTE FUNCTION age();
            """
        )
        result = await store.commit(SOURCE, [older])
    assert (result.outcomes, result.retry) == ({}, (older.path,))
    assert set(await ledger_of(connection)) == {newest.path}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("RAISE EXCEPTION 'no' USING ERRCODE = '23514'", PoisonError),
        ("RAISE EXCEPTION 'no' USING ERRCODE = '40001'", TransientError),
        ("PERFORM pg_terminate_backend(pg_backend_pid())", TransientError),
    ],
)
async def test_rows_and_ledger_change_together_or_not_at_all(
    database: str, connection: Plain, fault: str, error: type[Exception]
) -> None:
    """Whatever ends the transaction between the rows and the ledger leaves neither, and the store can be used on."""
    await connection.execute(
        f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {fault}; RETURN NEW; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION fail();
        """
    )
    async with opened(database) as store:
        with pytest.raises(error):
            await store.commit(SOURCE, FILES[:3], [rejection("bot/2026-11-20/x.json")])
        assert (await rows_of(connection), await ledger_of(connection)) == ([], {})
        await connection.execute("DROP TRIGGER fail ON ledger")
        await store.commit(SOURCE, FILES[:3])
        assert len(await ledger_of(connection)) == 3


async def test_a_cancelled_commit_leaves_nothing(database: str, connection: Plain) -> None:
    """A commit that is cancelled while it waits for a lock is rolled back, and its connection is not used again."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(2, day=1)])
        async with connection.transaction():
            await connection.execute("SELECT FROM runs FOR UPDATE")
            task = asyncio.create_task(store.commit(SOURCE, [version(1, second=1), version(2, day=3)]))
            await until_locked_out(database)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until_idle(connection)
        assert [row[0] for row in await rows_of(connection)] == [run_id(2)]
        await store.commit(SOURCE, [version(1, second=1)])
        assert len(await rows_of(connection)) == 2


async def until_idle(plain: Plain) -> None:
    """Return when nobody else in the database is in a transaction."""
    query = """SELECT count(*) = 0 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""
    await until(lambda: plain.fetchval(query))


async def load_shuffled(store: TraceDatabase, files: Sequence[TraceRecord], seed: int, *, overwrite: bool) -> None:
    chance = random.Random(seed)
    order = chance.sample(files, len(files))
    while order:
        batch, order = order[:25], order[25:]
        chance.shuffle(batch)
        result = await store.commit(SOURCE, batch, overwrite=overwrite)
        assert set(result.outcomes.values()) <= {*ACKNOWLEDGED, *([] if overwrite else [Outcome.LEFT])}


@pytest.mark.parametrize("insert_only", [0, 2])
async def test_four_writers_at_once_on_the_same_files(database: str, connection: Plain, insert_only: int) -> None:
    """Two processes with two writers each, in four orders: no deadlock, one row per run, everything acknowledged."""
    files = [
        version(number, day=day, second=second, mtime_ns=mtime_ns)
        for number in range(80)
        for second, (day, mtime_ns) in enumerate(((1, 1), (2, 1), (2, 5)))
    ]
    async with opened(database) as one, opened(database) as other:
        writers = [
            load_shuffled(store, files, seed, overwrite=seed >= insert_only)
            for seed, store in enumerate((one, one, other, other))
        ]
        await asyncio.gather(*writers)
    rows = await rows_of(connection)
    assert [row[0] for row in rows] == [run_id(number) for number in range(80)]
    assert {(row[1], row[2]) for row in rows} == {(datetime(2026, 12, 2, tzinfo=UTC), 5)}
    assert set(await ledger_of(connection)) == {file.path for file in files}
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await connection.fetchval(deadlocks) == 0


async def test_ledger_rows_are_locked_in_one_order(database: str, connection: Plain) -> None:
    """Writers that share paths but no runs meet in the ledger, in whatever order they were given: no deadlock."""
    paths = [f"bot/2026-11-20/{name}.json" for name in ("B", "a", "a-b", "a b", "é", *map(str, range(60)))]

    async def reject_shuffled(store: TraceDatabase, seed: int) -> None:
        for turn in range(10):
            order = random.Random(f"{seed} {turn}").sample(paths, len(paths))
            await store.commit(SOURCE, [], [rejection(path) for path in order])

    async with opened(database) as one, opened(database) as other:
        await asyncio.gather(*(reject_shuffled(store, seed) for seed, store in enumerate((one, one, other, other))))
    assert set(await ledger_of(connection)) == set(paths)


async def test_other_paths_keep_their_ledger_rows(database: str, connection: Plain) -> None:
    """A commit writes the ledger rows of its own files and source only, even of the run that it updates."""
    await_rows = "SELECT source, path, l::text AS whole FROM ledger l ORDER BY source, path"
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1, day=1)], [rejection("bot/2026-11-20/empty.json")])
        await store.commit("/another", [version(1, day=1)])
        before = {(row["source"], row["path"]): row["whole"] for row in await connection.fetch(await_rows)}
        await store.commit(SOURCE, [version(1, day=2, second=5)])
        after = {(row["source"], row["path"]): row["whole"] for row in await connection.fetch(await_rows)}
    assert {key: after[key] for key in before} == before
    assert after.keys() - before.keys() == {(SOURCE, run_path(1, 5))}


async def test_a_rejection_replaces_an_acknowledgement_and_back(database: str, connection: Plain) -> None:
    """The ledger holds of a path what was found last, with everything that the quarantine tells."""
    good = version(1, day=1)
    bad = rejection(good.path, file_sha256=b"x" * 32, run_id=run_id(1), setting="sanitize=reject")
    async with opened(database) as store:
        states = []
        for records, rejections in (([good], []), ([], [bad]), ([good], [])):
            result = await store.commit(SOURCE, records, rejections)
            row = (await store.ledger_rows(SOURCE, [good.path]))[good.path]
            states.append((next(iter(result.outcomes.values())), row.state, row.reason, row.detail, row.setting))
    assert states == [
        (Outcome.LOADED, "acknowledged", None, None, None),
        (Outcome.QUARANTINED, "quarantined", Reason.EMPTY, "it is empty", "sanitize=reject"),
        (Outcome.UNCHANGED, "acknowledged", None, None, None),
    ]


async def test_nothing_to_write_writes_nothing(database: str, connection: Plain) -> None:
    """An empty batch commits, and leaves no trace."""
    async with opened(database) as store:
        result = await store.commit(SOURCE, [])
    assert (result.outcomes, result.retry) == ({}, ())
    assert await ledger_of(connection) == {}


async def test_no_extraction_is_minus_infinity_both_ways(database: str, connection: Plain) -> None:
    """A file that does not say when it was extracted is -infinity in the database, the model's least time outside."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1)])
        assert await connection.fetchval("SELECT extracted_at = '-infinity' FROM runs")
        known = await store.row_versions([run_id(1)])
        run = await store.run(run_id(1))
    assert known[run_id(1)].version.extracted_at == NO_EXTRACTION
    assert run is not None
    assert run.extracted_at == NO_EXTRACTION


async def test_the_last_moment_there_is_goes_both_ways(
    database: str, connection: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times at the end of the calendar come back as they were, aware, wherever the process believes to be."""
    last = datetime.max.replace(tzinfo=UTC)
    file = replace(version(1, day=1), extracted_at=last, end_time=last)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        async with opened(database) as store:
            for _ in range(2):
                await store.commit(SOURCE, [file])
            run = await store.run(run_id(1))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert run is not None
    assert (run.extracted_at, run.end_time) == (last, last)


async def test_an_array_that_the_server_cannot_hold_is_suspected(database: str) -> None:
    """What Postgres refuses with an internal error for its size may be the content: no record stops the daemon."""
    huge = version(1)
    body = b'{"a":[' + b"0," * 17_000_000 + b"0]}"
    async with opened(database) as store:
        with pytest.raises(TransientError) as met:
            await store.commit(SOURCE, [replace(huge, data=body)])
        assert (met.value.sqlstate, met.value.suspect_content) == ("XX000", True)
        assert await store.probe()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a": "\\u0000"}', "22P05"),
        (b'{"a": "\\ud800"}', "22P02"),
        (b'{"a": NaN}', "22P02"),
        (b'{"a": 1e200000}', "22003"),
        (b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "54001"),
        (b'{"a": "\xff"}', "22021"),
        (b"[]", "23514"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_postgres_refuses_is_poison(database: str, connection: Plain, data: bytes, code: str) -> None:
    """Content that jsonb or a CHECK refuses is poison with its SQLSTATE; the rest of the batch is free to go."""
    async with opened(database) as store:
        with pytest.raises(PoisonError) as met:
            await store.commit(SOURCE, [version(2), replace(version(1), data=data)])
        assert met.value.sqlstate == code
        await store.commit(SOURCE, [version(2)])
    assert len(await rows_of(connection)) == 1


async def test_what_the_driver_cannot_send_is_poison(database: str) -> None:
    """A str with a lone surrogate never reaches the server, and is not quoted."""
    async with opened(database) as store:
        with pytest.raises(PoisonError) as met:
            await store.commit(SOURCE, [replace(version(1), name="secret \ud800")])
        assert (met.value.sqlstate, str(met.value)) == (None, "a value cannot be sent")
        await store.commit(SOURCE, [version(1)])


async def test_every_column_arrives(database: str) -> None:
    """Whatever a record holds is what the row gives back."""
    file = replace(
        version(1, day=1),
        project='Ünïcode "project" / 🙂',
        total_tokens=2**63 - 1,
        sanitized=("/data/a", '/data/"quoted", {brace}', "/metadata/ü"),
        status="success",
    )
    alone = replace(version(2, second=1), sanitized=())
    async with opened(database) as store:
        await store.commit(SOURCE, [file, alone, version(3, second=2)])
        run, other, clean = [await store.run(run_id(number)) for number in (1, 2, 3)]
    assert run is not None
    for column in ("run_id", "trace_id", "project", "run_date", "total_tokens", "sanitized", "status", "extracted_at"):
        assert getattr(run, column) == getattr(file, column)
    assert (run.file_sha256, run.file_mtime_ns) == (file.file_sha256, file.stamp.mtime_ns)
    assert other is not None
    assert clean is not None
    assert (other.sanitized, clean.sanitized) == ((), None)


async def insert_and_break(sessions: Sessions) -> None:
    async with sessions.transaction() as transaction:
        await transaction.execute("INSERT INTO kept VALUES (1)")
        raise KeyError


async def test_sessions_are_the_stores_own(database: str) -> None:
    """A transaction that nobody refuses is committed, and one that a bug ends is not."""

    async def locate() -> str:
        return database

    async def check(_: object) -> None:
        """Nothing to check."""

    sessions = Sessions(locate, StoreOptions(connections=2), check=check)
    await sessions.reopen()
    async with sessions.transaction() as transaction:
        await transaction.execute("CREATE TABLE kept (a int)")
    with pytest.raises(KeyError):
        await insert_and_break(sessions)
    async with sessions.use() as used:
        assert await used.fetchval("SELECT count(*) FROM kept") == 0
    await sessions.close()
