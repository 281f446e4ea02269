"""The journal of repairs against real Postgres: kept with what it is about, and undone exactly."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from damage import digest
from lines import impatient
from run_files import run_id, run_path
from stores import SOURCE, Plain, opened, plainly, until_locked_out, version
from tracewatchd.ingest.commit import Writer
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.fixes import Fix, FixKind, Journal
from tracewatchd.model.record import Reason, Rejection, TraceRecord
from tracewatchd.model.results import Outcome
from tracewatchd.model.stamp import Stamp
from tracewatchd.store.database import TraceDatabase

Commit = Callable[..., Awaitable[Any]]


def journal(kind: FixKind = FixKind.STALE, *, forced: bool = False, **kinds: FixKind) -> Journal:
    return Journal(repair_id=uuid4(), default=kind, forced=forced, kinds=kinds)


def refused(record: TraceRecord) -> Rejection:
    return Rejection(
        path=record.path, stamp=record.stamp, reason=Reason.INVALID_JSON, detail="bad", file_sha256=record.file_sha256
    )


async def fixes_in(store: TraceDatabase, **given: Any) -> list[Fix]:
    return [fix async for fix in store.fixes(**given)]


async def roll_all_back(store: TraceDatabase) -> None:
    for fix in await fixes_in(store, state="applied"):
        assert (await store.roll_back(fix.fix_id)).refused is None


ODD_ROWS = {
    "plain": "true",
    "infinite times": "start_time = 'infinity', end_time = '-infinity', created_at = 'infinity'",
    "old time": "start_time = '0044-03-15 12:00 BC', run_date = '0044-03-15 BC'",
    "digits": "total_cost = 1.10, total_tokens = 9223372036854775807",
    "no number": "total_cost = 'NaN'",
    "nulls in lists": "sanitized = ARRAY['/data/a', NULL, '']",
    "empty list": "sanitized = '{}'",
    "null metadata": "metadata = 'null'",
    "odd metadata": 'metadata = \'[1.10, 1e40, {"a": "\\u00e9"}]\'',
    "scale in data": 'data = data || \'{"price": 1.1000, "big": 123456789012345678901234567890.5}\'',
    "columns": "name = '', status = NULL, updated_at = updated_at - interval '1 microsecond'",
}


@pytest.mark.parametrize("odd", ODD_ROWS.values(), ids=ODD_ROWS)
@pytest.mark.parametrize("forced", [False, True], ids=["guarded", "forced"])
async def test_a_rollback_gives_back_every_column(database: str, connection: Plain, odd: str, *, forced: bool) -> None:
    """A digest over all columns of both tables is after repair and rollback what it was, whatever the row held."""
    old = version(1, day=1)
    new = replace(version(1, day=2, text="new"), stamp=old.stamp)
    async with opened(database) as store:
        await store.commit(SOURCE, [old])
        if odd != "true":
            await connection.execute(f"UPDATE runs SET {odd}")  # noqa: S608 - the test's own words
        before = await digest(connection)
        result = await store.commit(SOURCE, [new], journal=journal(forced=forced))
        assert result.outcomes == {new.path: Outcome.LOADED if forced else Outcome.UPDATED}
        assert await digest(connection) != before
        await roll_all_back(store)
        assert await digest(connection) == before


def steps(random: Random) -> list[tuple[str, Any]]:
    """Some writes, as a repair would make them, of a few runs that have two files each."""
    found: list[tuple[str, Any]] = []
    for _ in range(random.randint(1, 8)):
        files = [
            version(number, day=random.randint(1, 9), text=random.choice("abc"), second=random.randint(0, 1))
            for number in random.sample(range(1, 7), random.randint(1, 5))
        ]
        match random.randrange(4):
            case 0:
                found.append(("commit", (files, [], False)))
            case 1:
                found.append(("commit", (files, [], True)))
            case 2:
                found.append(("commit", (files[1:], [refused(files[0])], random.random() < 0.5)))
            case 3:
                found.append(("forget", [file.path for file in files]))
    return found


@pytest.mark.parametrize("seed", range(25))
async def test_any_repairs_are_undone_in_reverse(database: str, connection: Plain, seed: int) -> None:
    """Whatever a row of repairs wrote or removed, rolling all back gives the digest of before the first of them."""
    random = Random(seed)
    async with opened(database) as store:
        await store.commit(SOURCE, [version(number, day=number, second=0) for number in range(1, 5)])
        await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(2))
        await connection.execute("""UPDATE runs SET data = data || '{"text": "hurt"}' WHERE run_id = $1""", run_id(3))
        before = await digest(connection)
        for step, what in steps(random):
            if step == "forget":
                await store.forget(SOURCE, what, journal(FixKind.GONE_ROWS))
            else:
                records, rejections, forced = what
                await store.commit(SOURCE, records, rejections, journal=journal(forced=forced))
        await roll_all_back(store)
        assert await digest(connection) == before
        assert await fixes_in(store, state="applied") == []


async def test_one_fix_for_each_run(database: str) -> None:
    """The files of a run make one entry, called by the worst of their kinds; a file of no known run makes its own."""
    twins = [version(1, day=day, second=day) for day in (1, 2)]
    asked = Journal(repair_id=uuid4(), default=FixKind.MISSING, kinds={twins[0].path: FixKind.ALTERED})
    async with opened(database) as store:
        await store.commit(SOURCE, [*twins, version(2)], [refused(version(3))], journal=asked)
        found = {fix.paths: fix for fix in await fixes_in(store, repair_id=asked.repair_id)}
    assert {paths: (fix.kind, fix.run_id) for paths, fix in found.items()} == {
        (twins[0].path, twins[1].path): (FixKind.ALTERED, run_id(1)),
        (run_path(2),): (FixKind.MISSING, run_id(2)),
        (run_path(3),): (FixKind.MISSING, None),
    }
    assert not any(fix.had_row for fix in found.values())


async def test_what_reading_again_puts_right_is_called_by_what_there_was(database: str, connection: Plain) -> None:
    """Nothing in the ledger is a missing file, a ledger row without its row an orphan, another version a stale one."""
    asked = journal(FixKind.MISSING)
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1), version(2)])
        await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(2))
        await store.commit(SOURCE, [version(1, day=2), version(2), version(3)], journal=asked)
        found = {fix.run_id: fix.kind for fix in await fixes_in(store, repair_id=asked.repair_id)}
    assert found == {run_id(1): FixKind.STALE, run_id(2): FixKind.ORPHAN, run_id(3): FixKind.MISSING}


async def test_a_row_that_stays_is_not_kept(database: str, connection: Plain) -> None:
    """A fix that only touches the ledger holds no row, and its rollback leaves the row to whoever writes it."""
    new, old, newest = version(1, day=5), version(1, day=1, second=1), version(1, day=9, second=2)
    async with opened(database) as store:
        await store.commit(SOURCE, [new])
        await store.commit(SOURCE, [old], journal=journal())
        (fix,) = await fixes_in(store)
        await store.commit(SOURCE, [newest])
        assert (await store.roll_back(fix.fix_id)).refused is None
    assert not fix.had_row
    assert await connection.fetchval("SELECT file_sha256 FROM runs") == newest.file_sha256
    assert await connection.fetchval("SELECT count(*) FROM ledger WHERE path = $1", old.path) == 0


@pytest.mark.parametrize("forced", [False, True])
async def test_a_replay_does_nothing(database: str, connection: Plain, *, forced: bool) -> None:
    """The same commit of the same repair, sent again after a lost answer, writes nothing and acknowledges all."""
    old, new, bad = version(1, day=1), version(1, day=2, text="new"), version(2)
    asked = journal(forced=forced)
    async with opened(database) as store:
        await store.commit(SOURCE, [old])
        first = await store.commit(SOURCE, [new], [refused(bad)], journal=asked)
        before = await digest(connection), await fixes_in(store)
        again = await store.commit(SOURCE, [new], [refused(bad)], journal=asked)
        assert (await digest(connection), await fixes_in(store)) == before
    assert again.outcomes == {new.path: Outcome.UNCHANGED, bad.path: Outcome.QUARANTINED}
    assert first.outcomes.keys() == again.outcomes.keys()
    assert again.retry == ()


async def test_a_replay_of_a_part_does_the_rest(database: str) -> None:
    """What of a batch the same repair has written is left alone, what is new in it is written and kept."""
    files = [version(number) for number in range(1, 5)]
    asked = journal()
    async with opened(database) as store:
        await store.commit(SOURCE, files[:2], journal=asked)
        again = await store.commit(SOURCE, files, journal=asked)
        assert len(await fixes_in(store)) == 4
    assert again.outcomes == {
        file.path: Outcome.UNCHANGED if index < 2 else Outcome.LOADED for index, file in enumerate(files)
    }


async def test_what_was_damaged_again_is_repaired_again(database: str, connection: Plain) -> None:
    """A row that somebody removed within the same repair is written once more, under a fix of its own."""
    file, asked = version(1), journal()
    async with opened(database) as store:
        await store.commit(SOURCE, [file], journal=asked)
        await connection.execute("DELETE FROM runs")
        again = await store.commit(SOURCE, [file], journal=asked)
        assert again.outcomes == {file.path: Outcome.LOADED}
        assert len(await fixes_in(store)) == 2


async def test_force_replaces_a_newer_row_that_no_file_explains(database: str, connection: Plain) -> None:
    """What the guard would keep for ever leaves when a forced repair writes the run's file."""
    file = version(1, day=1)
    async with opened(database) as store:
        await store.commit(SOURCE, [file])
        await connection.execute("UPDATE runs SET extracted_at = '2099-01-01', file_sha256 = sha256('x')")
        assert (await store.commit(SOURCE, [file], journal=journal())).outcomes == {file.path: Outcome.SUPERSEDED}
        forced = await store.commit(SOURCE, [file], journal=journal(forced=True))
    assert forced.outcomes == {file.path: Outcome.LOADED}
    assert await connection.fetchval("SELECT file_sha256 FROM runs") == file.file_sha256


async def test_what_was_written_in_vain_can_still_be_forced(database: str, connection: Plain) -> None:
    """A repair whose line has just written the same file, and was outvoted, does not take force for a replay."""
    file, asked = version(1, day=1), journal()
    async with opened(database) as store:
        await store.commit(SOURCE, [file])
        await connection.execute('UPDATE runs SET data = data || \'{"text": "hurt"}\'')
        assert (await store.commit(SOURCE, [file], journal=asked)).outcomes == {file.path: Outcome.UNCHANGED}
        await store.commit(SOURCE, [file], journal=dataclasses.replace(asked, forced=True))
    assert await connection.fetchval("SELECT data ->> 'text' FROM runs") == "hello"


@pytest.mark.parametrize("second", [0, 1], ids=["the same path", "another path"])
async def test_force_never_loses_what_a_producer_wrote_meanwhile(database: str, connection: Plain, second: int) -> None:
    """A newer version that was loaded since the forced files were read keeps its row."""
    read, newer = version(1, day=1), version(1, day=2, mtime_ns=5, second=second, text="newer")
    async with opened(database) as store:
        await store.commit(SOURCE, [read])
        await store.commit(SOURCE, [newer])
        result = await store.commit(SOURCE, [read], journal=journal(forced=True))
    assert result.outcomes == {read.path: Outcome.SUPERSEDED}
    assert await connection.fetchval("SELECT file_sha256 FROM runs") == newer.file_sha256


@pytest.mark.parametrize("blocker", ["runs", "ledger"])
async def test_a_row_that_comes_meanwhile_is_kept_too(database: str, connection: Plain, blocker: str) -> None:
    """A repair that saw no row does not commit over one that came since: it is tried again, and then keeps it."""
    old, new = version(1, day=1), version(1, day=2, text="new")
    async with opened(database) as store:
        await store.commit(SOURCE, [old])
        rows = await connection.fetch(f"DELETE FROM {blocker} RETURNING *")  # noqa: S608 - the test's own words
        columns = ", ".join(f"${position + 1}" for position in range(len(rows[0])))
        async with plainly(database) as other:
            await other.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)
            transaction = other.transaction()
            await transaction.start()
            values = [str(value) if isinstance(value, bytearray) else value for value in rows[0].values()]
            await other.execute(f"INSERT INTO {blocker} VALUES ({columns})", *values)  # noqa: S608 - the same
            repair = asyncio.create_task(store.commit(SOURCE, [new], journal=journal()))
            await until_locked_out(database)
            await transaction.commit()
        with pytest.raises(TransientError) as failed:
            await repair
        assert failed.value.sqlstate == "40001"
        assert await fixes_in(store) == []
        before = await digest(connection)
        await store.commit(SOURCE, [new], journal=journal())
        await roll_all_back(store)
        assert await digest(connection) == before


async def test_two_repairs_of_one_run_at_once(database: str, connection: Plain) -> None:
    """Both commit, one after the other, and rolling back both, newest first, gives what was before either."""
    old = version(1, day=1)
    new = [version(1, day=day, text=f"new {day}", second=day) for day in range(2, 8)]
    async with opened(database) as store:
        await store.commit(SOURCE, [old])
        before = await digest(connection)
        commits = (store.commit(SOURCE, [file], journal=journal(forced=True)) for file in new)
        await asyncio.gather(*commits)
        assert len(await fixes_in(store)) == len(new)
        await roll_all_back(store)
        assert await digest(connection) == before


async def test_repairs_and_loads_in_any_order_never_deadlock(database: str, connection: Plain) -> None:
    """Loads, guarded and forced repairs, forgetting and rollbacks of the same runs all get through."""
    files = [version(number, day=day, second=day) for number in range(1, 9) for day in (1, 2)]
    random = Random(7)

    async def work(store: TraceDatabase, turn: int) -> None:
        some = random.sample(files, 8)
        match turn % 4:
            case 0:
                await store.commit(SOURCE, some)
            case 1:
                await store.commit(SOURCE, some, journal=journal(forced=turn % 8 == 1))
            case 2:
                await store.forget(SOURCE, [file.path for file in some], journal(FixKind.GONE_ROWS))
            case 3:
                for fix in await fixes_in(store, state="applied"):
                    await store.roll_back(fix.fix_id)

    async def patient(store: TraceDatabase, turn: int) -> None:
        for _ in range(20):
            try:
                return await work(store, turn)
            except TransientError as error:
                assert error.sqlstate == "40001"  # noqa: PT017 - a row came meanwhile, and it is tried again
        raise AssertionError("it never got through")

    async with opened(database) as store:
        await asyncio.gather(*(patient(store, turn) for turn in range(60)))
        deadlocks = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    assert deadlocks == 0


async def test_a_changed_row_is_not_rolled_back(database: str, connection: Plain) -> None:
    """A rollback that would lose what was written since is refused, names the run and when, and changes nothing."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1, day=1)], journal=journal())
        await store.commit(SOURCE, [version(1, day=2, text="later")])
        before = await digest(connection)
        (fix,) = await fixes_in(store)
        answer = await store.roll_back(fix.fix_id)
        assert await digest(connection) == before
        assert (await store.fix(fix.fix_id)) == fix
    changed = await connection.fetchval("SELECT updated_at FROM runs")
    assert answer.refused == f"the row of run {run_id(1)} was changed at {changed:%Y-%m-%d %H:%M:%S} UTC"


CHANGES = {
    "the row is gone": ("DELETE FROM runs", f"the row of run {run_id(1)} is gone"),
    "a leaf": ("""UPDATE runs SET data = data || '{"text": 1}'""", f"the row of run {run_id(1)} was changed at "),
    "a microsecond": (
        "UPDATE runs SET created_at = created_at + interval '1 microsecond'",
        f"the row of run {run_id(1)} was changed at ",
    ),
    "scale": ("UPDATE runs SET total_cost = 1.10", f"the row of run {run_id(1)} was changed at "),
    "null metadata": ("UPDATE runs SET metadata = 'null'", f"the row of run {run_id(1)} was changed at "),
    "the ledger row is gone": ("DELETE FROM ledger", f"the ledger row of {run_path(1)} is gone"),
    "a stamp": ("UPDATE ledger SET ctime_ns = 7", f"the ledger row of {run_path(1)} was written at "),
}


@pytest.mark.parametrize(("change", "sentence"), CHANGES.values(), ids=CHANGES)
async def test_any_change_since_is_seen(database: str, connection: Plain, change: str, sentence: str) -> None:
    """A rollback sees a change of any column of row or ledger row, however small, and says where it is."""
    file = replace(version(1), total_cost=Decimal("1.1"))
    async with opened(database) as store:
        await store.commit(SOURCE, [file], journal=journal())
        await connection.execute(change)
        (fix,) = await fixes_in(store)
        answer = await store.roll_back(fix.fix_id)
    assert answer.refused is not None
    assert answer.refused.startswith(sentence)


async def test_a_row_that_came_since_is_not_removed(database: str) -> None:
    """Undoing the removal of rows does not write over what was loaded since."""
    file = version(1, day=1)
    async with opened(database) as store:
        await store.commit(SOURCE, [file])
        await store.forget(SOURCE, [file.path], journal(FixKind.GONE_ROWS))
        await store.commit(SOURCE, [file])
        (fix,) = await fixes_in(store)
        answer = await store.roll_back(fix.fix_id)
    assert answer.refused is not None
    assert answer.refused.startswith(f"the row of run {run_id(1)} was written at ")


async def test_rolling_back_twice_says_so(database: str, connection: Plain) -> None:
    """The second time, from two places at once too, nothing is done, and that is what the answer says."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1)], journal=journal())
        (fix,) = await fixes_in(store)
        answers = await asyncio.gather(*(store.roll_back(fix.fix_id) for _ in range(4)))
        assert sorted(answer.already for answer in answers) == [False, True, True, True]
        assert all(answer.refused is None and answer.fix.state == "rolled_back" for answer in answers)
    assert await connection.fetchval("SELECT count(*) FROM runs") == 0


async def test_what_was_rolled_back_is_held_until_it_is_released(database: str) -> None:
    """Its run and its path are held, others are not; releasing lets go, and only what is held can be released."""
    paths = [run_path(number) for number in (1, 2)]
    runs = [run_id(number) for number in (1, 2)]
    async with opened(database) as store:
        for number in (1, 2):
            await store.commit(SOURCE, [version(number)], journal=journal())
        _, fix = await fixes_in(store)
        assert (await store.release(fix.fix_id)).state == "applied"
        assert await store.held(SOURCE, runs, paths) == (set(), set())
        await store.roll_back(fix.fix_id)
        assert await store.held(SOURCE, runs, paths) == ({run_id(1)}, {run_path(1)})
        assert await store.held("elsewhere", runs, paths) == ({run_id(1)}, set())
        assert (await store.release(fix.fix_id)).state == "released"
        assert await store.held(SOURCE, runs, paths) == (set(), set())
        assert (await store.roll_back(fix.fix_id)).already


async def test_no_such_fix(database: str) -> None:
    """What is not in the journal is not found, and cannot be rolled back or released."""
    async with opened(database) as store:
        assert await store.fix(uuid4()) is None
        assert await store.fix_images(uuid4()) is None
        for change in (store.roll_back, store.release):
            with pytest.raises(PermanentError):
                await change(uuid4())


async def test_images_can_be_read(database: str) -> None:
    """An entry tells the row before and the ledger rows on both sides as JSON."""
    old, new = version(1, day=1), version(1, day=2, text="new")
    async with opened(database) as store:
        await store.commit(SOURCE, [old])
        await store.commit(SOURCE, [new], journal=journal())
        (fix,) = await fixes_in(store)
        images = await store.fix_images(fix.fix_id)
    assert fix.had_row
    assert images is not None
    assert images.run_before is not None
    assert json.loads(images.run_before)["data"]["text"] == "hello"
    shas = [json.loads(side)[0]["file_sha256"] for side in (images.ledger_before, images.ledger_after)]
    assert shas == [f"\\x{file.file_sha256.hex()}" for file in (old, new)]


async def test_forgetting_keeps_what_another_file_acknowledges(database: str, connection: Plain) -> None:
    """A row leaves with its last file; a quarantined file leaves alone; what the ledger does not know is no matter."""
    lone, first, twin = version(1), version(2), version(2, second=1)
    bad = replace(version(1, second=2, text="bad"))
    async with opened(database) as store:
        await store.commit(SOURCE, [lone, first])
        await store.commit("elsewhere", [twin], [])
        await store.commit(SOURCE, [], [Rejection(
            path=bad.path, stamp=Stamp(1, 1, 1), reason=Reason.EMPTY, detail="empty", run_id=run_id(2)
        )])  # fmt: skip
        paths = [lone.path, first.path, bad.path, run_path(9)]
        assert await store.forget(SOURCE, paths, journal(FixKind.GONE_ROWS)) == 3
        assert await store.forget(SOURCE, paths, journal(FixKind.GONE_ROWS)) == 0
        assert len(await fixes_in(store)) == 3
    assert [row["run_id"] for row in await connection.fetch("SELECT run_id FROM runs")] == [run_id(2)]
    assert [row["path"] for row in await connection.fetch("SELECT path FROM ledger")] == [twin.path]


async def test_forgetting_what_is_lost(database: str, connection: Plain) -> None:
    """A ledger row without a row is forgotten, and comes back by rollback."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1)])
        await connection.execute("DELETE FROM runs")
        before = await digest(connection)
        assert await store.forget(SOURCE, [run_path(1)], journal(FixKind.GONE_ROWS)) == 1
        await roll_all_back(store)
        assert await digest(connection) == before


async def test_poison_in_a_repair_is_kept_too(database: str, connection: Plain) -> None:
    """A batch with a bad record is halved, what is stored or quarantined is in the journal, and all can be undone."""
    good = [version(number, day=2, text="new") for number in range(1, 6)]
    bad = replace(version(6, day=2), data=b'{"text": "\\u0000"}')
    async with opened(database) as store:
        await store.commit(SOURCE, [version(number, day=1) for number in range(1, 7)])
        before = await digest(connection)
        writer = _writer(store, journal())
        written = await writer.write([*good[:3], bad, *good[3:]], [])
        assert written.outcomes[bad.path] is Outcome.QUARANTINED
        assert {path for fix in await fixes_in(store) for path in fix.paths} == {file.path for file in (*good, bad)}
        await roll_all_back(store)
        assert await digest(connection) == before


async def test_force_survives_halving(database: str, connection: Plain) -> None:
    """Of a run's files of which one is poison, the newest good one becomes the row, in whichever order they come."""
    files = [version(1, day=day, second=day, text=str(day)) for day in (1, 2, 3)]
    bad = replace(version(1, day=9, second=9), data=b'{"text": "\\u0000"}')
    for position in range(4):
        async with opened(database) as store:
            await connection.execute("TRUNCATE runs, ledger, fixes")
            await store.commit(SOURCE, [version(1, day=5, second=1)])
            await connection.execute("UPDATE runs SET extracted_at = '2099-01-01', file_sha256 = sha256('x')")
            before = await digest(connection)
            records = [*files[:position], bad, *files[position:]]
            await _writer(store, journal(forced=True)).write(records, [])
            assert await connection.fetchval("SELECT data ->> 'text' FROM runs") == "3"
            await roll_all_back(store)
            assert await digest(connection) == before


async def test_a_run_of_which_nothing_is_stored_keeps_its_row(database: str, connection: Plain) -> None:
    """A forced repair whose only file turns out to be poison quarantines it and leaves the row."""
    bad = replace(version(1, day=9), data=b'{"text": "\\u0000"}')
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1, day=5)])
        await _writer(store, journal(forced=True)).write([bad], [])
    assert await connection.fetchval("SELECT data ->> 'text' FROM runs") == "hello"
    assert await connection.fetchval("SELECT state FROM ledger") == "quarantined"


async def test_nothing_of_a_refused_commit_stays_in_the_journal(database: str) -> None:
    """The entry goes with the transaction."""
    bad = replace(version(1), data=b'{"text": "\\u0000"}')
    async with opened(database) as store:
        with pytest.raises(PoisonError):
            await store.commit(SOURCE, [version(2), bad], journal=journal())
        assert await fixes_in(store) == []


async def test_the_journal_is_read_by_pages(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first and whole, whatever the size of a page; source, repair and state choose."""
    monkeypatch.setattr("tracewatchd.store.database._PAGE_ROWS", 3)
    repairs = [journal(), journal()]
    async with opened(database) as store:
        for number in range(1, 9):
            await store.commit(SOURCE if number < 7 else "elsewhere", [version(number)], journal=repairs[number % 2])
        every = await fixes_in(store)
        await store.roll_back(every[0].fix_id)
        assert [fix.number for fix in every] == sorted((fix.number for fix in every), reverse=True)
        assert len(every) == 8
        assert len(await fixes_in(store, source=SOURCE)) == 6
        assert len(await fixes_in(store, repair_id=repairs[0].repair_id)) == 4
        assert [fix.fix_id for fix in await fixes_in(store, state="rolled_back")] == [every[0].fix_id]


async def test_journal_and_rollback_do_not_depend_on_the_session(database: str, connection: Plain) -> None:
    """A row that was kept in one session's way of writing times and bytes is put back from another's."""
    name = await connection.fetchval("SELECT current_database()")
    before = None
    async with opened(database) as store:
        await store.commit(SOURCE, [version(1, day=1)])
        before = await digest(connection)
        await store.commit(SOURCE, [version(1, day=2)], journal=journal())
    for setting in ("bytea_output = 'escape'", "DateStyle = 'SQL, DMY'", "extra_float_digits = 0"):
        await connection.execute(f"ALTER DATABASE {name} SET {setting}")
    async with opened(database) as store:
        await roll_all_back(store)
    assert await digest(connection) == before


def _writer(store: TraceDatabase, asked: Journal) -> Writer:
    return Writer(SOURCE, store, retrying=impatient, overwrite=True, tell=lambda _: None, journal=asked)
