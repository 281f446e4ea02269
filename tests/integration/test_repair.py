"""Repairs against real files and real Postgres: what a finding needs, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from damage import digest
from repairs import Workshop, finding, workshop
from run_files import put, run_body, run_id, run_path
from stores import Plain
from sweeps import SOURCE
from tracewatchd.model.decode import decode
from tracewatchd.model.events import FixApplied, FixFailed
from tracewatchd.model.findings import Kind
from tracewatchd.model.fixes import FixKind
from tracewatchd.model.layout import RunPath
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.stamp import NO_EXTRACTION, Stamp
from tracewatchd.reconcile.restore import file_of_row
from tracewatchd.store.queries import StoredRun

EVERY = frozenset(FixKind)
ALTER = (
    "UPDATE runs SET extracted_at = '2099-01-01', data = data || '{\"text\": \"edited\"}', file_sha256 = sha256('x')"
)


def texts(rows: list[Any]) -> dict[UUID, str]:
    return {row["run_id"]: json.loads(row["data"])["text"] for row in rows}


async def rows_of(connection: Plain) -> dict[UUID, str]:
    """The text of every row."""
    return texts(await connection.fetch("SELECT run_id, data FROM runs"))


async def loaded(shop: Workshop, count: int = 3) -> list[str]:
    """Files of some runs, in the root and in the database."""
    paths = [run_path(number) for number in range(1, count + 1)]
    for number, path in enumerate(paths, 1):
        put(shop.root, path, run_body(number))
    await shop.load(*paths)
    return paths


def alter(place: Path, content: bytes) -> None:
    """Change a file and keep its size and mtime."""
    before = place.stat()
    assert len(content) == before.st_size
    place.write_bytes(content)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


async def restamp(connection: Plain, place: Path, path: str) -> None:
    """Let the ledger know a file's ctime, which no test can set."""
    await connection.execute("UPDATE ledger SET ctime_ns = $1 WHERE path = $2", place.stat().st_ctime_ns, path)


async def test_a_mismatch_becomes_what_its_file_says(tmp_path: Path, database: str, connection: Plain) -> None:
    """Only the run of the finding is replaced, one fix is kept, one event tells, and rollback gives all back."""
    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop)
        await connection.execute(f"{ALTER} WHERE run_id = $1", run_id(2))
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.MISMATCH, paths[1], run_id(2))]) == {paths[1]}
        assert await rows_of(connection) == {run_id(number): "hello" for number in (1, 2, 3)}
        (fix,) = await shop.fixes()
        assert (fix.kind, fix.run_id, fix.paths, fix.had_row) == (FixKind.MISMATCH, run_id(2), (paths[1],), True)
        (told,) = (event for event in shop.told if isinstance(event, FixApplied))
        assert (told.kind, told.files, told.repair_id) == ("mismatch", 1, str(fix.repair_id))
        await shop.roll_all_back()
    assert await digest(connection) == before


async def test_an_altered_file_is_taken_as_it_is_now(tmp_path: Path, database: str, connection: Plain) -> None:
    """Row and ledger follow the file, although its version is that of the row."""
    async with workshop(tmp_path, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        place = shop.root / path
        alter(place, run_body(1, text="hallo"))
        await restamp(connection, place, path)
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.ALTERED, path, run_id(1))]) == {path}
        assert await rows_of(connection) == {run_id(1): "hallo"}
        (fix,) = await shop.fixes()
        assert fix.kind is FixKind.ALTERED
        await shop.roll_all_back()
    assert await digest(connection) == before


@pytest.mark.parametrize("age_days", [1, 9], ids=["newest", "oldest"])
async def test_all_files_of_the_run_are_written(
    tmp_path: Path, database: str, connection: Plain, age_days: int
) -> None:
    """Whichever of a run's files the finding is about, the newest of them becomes the row."""
    newest, oldest = run_path(1), run_path(1, 1)
    async with workshop(tmp_path, database, EVERY) as shop:
        put(tmp_path, newest, run_body(1, age_days=1, text="newest"))
        put(tmp_path, oldest, run_body(1, age_days=9, text="oldest"))
        await shop.load(newest, oldest)
        await connection.execute(ALTER)
        path = newest if age_days == 1 else oldest
        assert await shop.repairs.fix([finding(Kind.MISMATCH, path, run_id(1))]) == {path}
    assert await rows_of(connection) == {run_id(1): "newest"}
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 2


async def test_a_file_altered_into_another_run_forces_nothing(tmp_path: Path, database: str, connection: Plain) -> None:
    """It is loaded as that run where it is newer; the run that it was keeps its row."""
    async with workshop(tmp_path, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        alter(tmp_path / path, run_body(2))
        assert await shop.repairs.fix([finding(Kind.ALTERED, path, run_id(1))]) == {path}
    assert set(await rows_of(connection)) == {run_id(1), run_id(2)}
    assert await connection.fetchval("SELECT run_id FROM ledger") == run_id(2)


@pytest.mark.parametrize("junk", [b"{", b"note", b""], ids=["truncated", "no JSON", "empty"])
async def test_a_file_altered_into_nothing_is_quarantined(
    tmp_path: Path, database: str, connection: Plain, junk: bytes
) -> None:
    """A run none of whose files can be stored keeps its row, and the quarantine is kept in the journal."""
    async with workshop(tmp_path, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        before = await digest(connection)
        (tmp_path / path).write_bytes(junk)
        assert await shop.repairs.fix([finding(Kind.ALTERED, path, run_id(1))]) == {path}
        assert await connection.fetchval("SELECT state FROM ledger") == "quarantined"
        assert await rows_of(connection) == {run_id(1): "hello"}
        await shop.roll_all_back()
    assert await digest(connection) == before


async def test_a_run_whose_files_are_not_there_is_not_touched(tmp_path: Path, database: str, connection: Plain) -> None:
    """Without a file to take its place, a row is not replaced."""
    async with workshop(tmp_path, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        (tmp_path / path).unlink()
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.MISMATCH, path, run_id(1))]) == frozenset()
        assert await shop.fixes() == []
    assert await digest(connection) == before


async def test_files_larger_than_the_budget_are_written_one_by_one(
    tmp_path: Path, database: str, connection: Plain
) -> None:
    """A run with more files than fit into memory at once ends as its newest file, and can be put back."""
    paths = [run_path(1, second) for second in range(6)]
    small = {"ingest.bytes_in_flight": 1 << 20, "ingest.max_file_bytes": 1 << 20, "ingest.writers": 2}
    async with workshop(tmp_path, database, EVERY, settings=small) as shop:
        for day, path in enumerate(paths, 1):
            put(tmp_path, path, run_body(1, age_days=day, text=str(day), size_bytes=300_000))
        await shop.load(*paths)
        await connection.execute(ALTER)
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.MISMATCH, paths[3], run_id(1))]) == {paths[3]}
        assert await rows_of(connection) == {run_id(1): "1"}
        assert len(await shop.fixes()) > 1
        await shop.roll_all_back()
    assert await digest(connection) == before


async def test_what_is_not_wanted_is_left(tmp_path: Path, database: str, connection: Plain) -> None:
    """Findings of kinds that nobody asked to repair change nothing."""
    async with workshop(tmp_path, database, {FixKind.GONE}) as shop:
        (path,) = await loaded(shop, 1)
        await connection.execute(ALTER)
        before = await digest(connection)
        every = [finding(kind, path, run_id(1)) for kind in Kind if kind is not Kind.GONE]
        assert await shop.repairs.fix(every) == frozenset()
    assert await digest(connection) == before


async def test_what_is_held_is_left(tmp_path: Path, database: str, connection: Plain) -> None:
    """A run that was rolled back is repaired again only when it was released."""
    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop, 2)
        await connection.execute(ALTER)
        found = [finding(Kind.MISMATCH, path, run_id(number)) for number, path in enumerate(paths, 1)]
        await shop.repairs.fix(found[:1])
        (fix,) = await shop.fixes()
        await shop.store.roll_back(fix.fix_id)
        assert await shop.repairs.fix(found) == {paths[1]}
        await shop.store.release(fix.fix_id)
    async with workshop(tmp_path, database, EVERY) as shop:
        assert await shop.repairs.fix(found) == set(paths)


async def test_an_outdated_row_is_derived_again(tmp_path: Path, database: str, connection: Plain) -> None:
    """The file is read again and its row has the rules of now; what it was is kept."""
    async with workshop(tmp_path, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        # Older rules than the first do not exist, so the row is one of theirs only as far as the guard can see.
        await connection.execute("ALTER TABLE runs DROP CONSTRAINT runs_rules_are_positive")
        await connection.execute("UPDATE runs SET rules = 0, name = 'as it was'")
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.OUTDATED, path, run_id(1))]) == {path}
        assert await connection.fetchval("SELECT rules || name FROM runs") == "1agent"
        await shop.roll_all_back()
    assert await digest(connection) == before


async def test_a_file_that_is_gone_is_written_from_its_row(tmp_path: Path, database: str, connection: Plain) -> None:
    """It lies where it was, a nanosecond younger, holds what the row holds, and the row is its."""
    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop, 2)
        before = await digest(connection)
        row = await shop.store.run(run_id(1))
        (tmp_path / paths[0]).unlink()
        assert await shop.repairs.fix([finding(Kind.GONE, paths[0], run_id(1))]) == {paths[0]}
        after = await shop.store.run(run_id(1))
        assert row is not None
        assert after is not None
        place = tmp_path / paths[0]
        assert json.loads(place.read_bytes()) == json.loads(run_body(1))
        assert place.stat().st_mtime_ns == row.file_mtime_ns + 1 == after.file_mtime_ns
        assert (after.data, after.metadata, after.extracted_at) == (row.data, row.metadata, row.extracted_at)
        (fix,) = await shop.fixes()
        assert fix.kind is FixKind.GONE
        await shop.roll_all_back()
        assert await digest(connection) == before


async def test_a_directory_that_is_gone_is_made_again(tmp_path: Path, database: str, connection: Plain) -> None:
    """A whole day comes back, its folder with it, and nothing else appears in it."""
    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop)
        for path in paths:
            (tmp_path / path).unlink()
        (tmp_path / paths[0]).parent.rmdir()
        gone = [finding(Kind.GONE, path, run_id(number)) for number, path in enumerate(paths, 1)]
        assert await shop.repairs.fix(gone) == set(paths)
    names = sorted(entry.name for entry in (tmp_path / paths[0]).parent.iterdir())
    assert names == sorted(Path(path).name for path in paths)


async def test_a_file_that_is_there_is_never_written_over(tmp_path: Path, database: str, connection: Plain) -> None:
    """Who came back meanwhile stays as it is."""
    async with workshop(tmp_path, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        (tmp_path / path).write_bytes(b"mine")
        assert await shop.repairs.fix([finding(Kind.GONE, path, run_id(1))]) == frozenset()
    assert (tmp_path / path).read_bytes() == b"mine"
    assert [entry.name for entry in (tmp_path / path).parent.iterdir()] == [Path(path).name]


async def test_one_file_of_a_run_comes_back(tmp_path: Path, database: str) -> None:
    """Where all files of a run are gone, the one that the row was is written, and no other."""
    paths = [run_path(1, second) for second in range(3)]
    async with workshop(tmp_path, database, EVERY) as shop:
        for path, day in zip(paths, (5, 1, 9), strict=True):
            put(tmp_path, path, run_body(1, age_days=day, text=str(day)))
        await shop.load(*paths)
        for path in paths:
            (tmp_path / path).unlink()
        gone = [finding(Kind.GONE, path, run_id(1)) for path in paths]
        assert await shop.repairs.fix(gone) == {paths[1]}
    assert [path for path in paths if (tmp_path / path).exists()] == [paths[1]]


async def test_files_can_be_written_elsewhere(tmp_path: Path, database: str, connection: Plain) -> None:
    """With a directory for them nothing is written below the root, and the database stays as it is."""
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    async with workshop(root, database, EVERY, out=out) as shop:
        (path,) = await loaded(shop, 1)
        (root / path).unlink()
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.GONE, path, run_id(1))]) == {path}
    assert json.loads((out / path).read_bytes()) == json.loads(run_body(1))
    assert not (root / path).exists()
    assert await digest(connection) == before


@pytest.mark.parametrize("obstacle", ["no root", "a symlink", "a file"])
async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, database: str, obstacle: str) -> None:
    """The rest is written, one event says how many were not, why, and what to do; no root is made."""
    root = tmp_path / "root"
    root.mkdir()
    async with workshop(root, database, EVERY) as shop:
        (path,) = await loaded(shop, 1)
        day = (root / path).parent
        (root / path).unlink()
        match obstacle:
            case "no root":
                root.rename(tmp_path / "away")
            case "a symlink":
                day.rename(tmp_path / "elsewhere")
                day.symlink_to(tmp_path / "elsewhere")
            case "a file":
                day.rmdir()
                day.write_bytes(b"")
        assert await shop.repairs.fix([finding(Kind.GONE, path, run_id(1))]) == frozenset()
        (told,) = (event for event in shop.told if isinstance(event, FixFailed))
    assert told.files == 1
    assert told.hint
    assert root.exists() is (obstacle != "no root")


async def test_a_quarantined_file_has_no_row_to_come_back_from(tmp_path: Path, database: str) -> None:
    """Its run's row is another file's, so nothing is written; forgetting it is what is left."""
    async with workshop(tmp_path, database, {FixKind.GONE}) as shop:
        put(tmp_path, run_path(1), b"note")
        await shop.load(run_path(1))
        (tmp_path / run_path(1)).unlink()
        assert await shop.repairs.fix([finding(Kind.GONE, run_path(1))]) == frozenset()
    async with workshop(tmp_path, database, {FixKind.GONE_ROWS}) as shop:
        assert await shop.repairs.fix([finding(Kind.GONE, run_path(1))]) == {run_path(1)}
        assert await shop.store.ledger_rows(SOURCE, [run_path(1)]) == {}


async def test_whoever_has_the_original_is_asked_first(tmp_path: Path, database: str, connection: Plain) -> None:
    """Bytes with the file's own sha256 come back as they were, with their age; other bytes are not believed."""
    asked: list[str] = []

    async def wrong(path: str, _: LedgerRow) -> bytes | None:
        asked.append(path)
        return b"something else"

    async def right(_: str, row: LedgerRow) -> bytes | None:
        return run_body(1) if row.run_id == run_id(1) else None

    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop, 2)
        ages = {path: (tmp_path / path).stat().st_mtime_ns for path in paths}
        for path in paths:
            (tmp_path / path).unlink()
        repairs = shop.another(EVERY, wrong, right)
        gone = [finding(Kind.GONE, path, run_id(number)) for number, path in enumerate(paths, 1)]
        assert await repairs.fix(gone) == set(paths)
    assert asked == paths
    assert (tmp_path / paths[0]).read_bytes() == run_body(1)
    assert [(tmp_path / path).stat().st_mtime_ns - ages[path] for path in paths] == [0, 1]


async def test_rows_of_files_that_are_gone_can_be_removed(tmp_path: Path, database: str, connection: Plain) -> None:
    """Rows and ledger rows go, those of other files stay, a lost file is forgotten, and rollback brings all back."""
    async with workshop(tmp_path, database, {FixKind.GONE_ROWS}) as shop:
        paths = await loaded(shop)
        await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(2))
        for path in paths[:2]:
            (tmp_path / path).unlink()
        before = await digest(connection)
        found = [finding(Kind.GONE, paths[0], run_id(1)), finding(Kind.LOST, paths[1], run_id(2))]
        assert await shop.repairs.fix(found) == set(paths[:2])
        assert set(await rows_of(connection)) == {run_id(3)}
        assert [row["path"] for row in await connection.fetch("SELECT path FROM ledger")] == [paths[2]]
        (told,) = (event for event in shop.told if isinstance(event, FixApplied))
        assert (told.kind, told.files) == ("gone-rows", 2)
        await shop.roll_all_back()
    assert await digest(connection) == before


async def test_a_file_that_came_back_is_not_forgotten(tmp_path: Path, database: str, connection: Plain) -> None:
    """What is there when its rows are about to be removed keeps them."""
    async with workshop(tmp_path, database, {FixKind.GONE_ROWS}) as shop:
        (path,) = await loaded(shop, 1)
        assert await shop.repairs.fix([finding(Kind.GONE, path, run_id(1))]) == frozenset()
    assert set(await rows_of(connection)) == {run_id(1)}


async def test_what_is_left_of_a_run_becomes_its_row(tmp_path: Path, database: str, connection: Plain) -> None:
    """When the newest file is forgotten with its row, an older one that is still there is loaded."""
    older, newer = run_path(1), run_path(1, 1)
    async with workshop(tmp_path, database, {FixKind.GONE_ROWS}) as shop:
        put(tmp_path, older, run_body(1, age_days=9, text="older"))
        put(tmp_path, newer, run_body(1, age_days=1, text="newer"))
        await shop.load(older, newer)
        (tmp_path / newer).unlink()
        before = await digest(connection)
        assert await shop.repairs.fix([finding(Kind.GONE, newer, run_id(1))]) == {newer}
        assert await rows_of(connection) == {run_id(1): "older"}
        await shop.roll_all_back()
    assert await digest(connection) == before


async def test_many_findings_are_taken_by_pages(
    tmp_path: Path, database: str, connection: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many findings there are, each is repaired once, and the files of one run at one time."""
    monkeypatch.setattr("tracewatchd.reconcile.repair._PAGE", 3)
    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop, 10)
        await connection.execute(ALTER)
        found = [finding(Kind.MISMATCH, path, run_id(number)) for number, path in enumerate(paths, 1)]
        assert await shop.repairs.fix(found) == set(paths)
        assert len(await shop.fixes()) == 10
    assert set((await rows_of(connection)).values()) == {"hello"}


async def test_a_producer_may_write_meanwhile(tmp_path: Path, database: str, connection: Plain) -> None:
    """While runs are repaired by force again and again, newer versions are loaded: the newest of each is what stays."""
    async with workshop(tmp_path, database, EVERY) as shop:
        paths = await loaded(shop, 4)

        async def produce() -> None:
            for age in range(20, 0, -1):
                for number, path in enumerate(paths, 1):
                    put(tmp_path, path, run_body(number, age_days=age, text=str(age)))
                await shop.load(*paths)

        async def repair() -> None:
            for _ in range(20):
                repairs = shop.another(EVERY)
                await repairs.fix([finding(Kind.MISMATCH, path, run_id(n)) for n, path in enumerate(paths, 1)])

        await asyncio.gather(produce(), repair())
        await shop.load(*paths)
    assert set((await rows_of(connection)).values()) == {"1"}


async def test_two_repairs_at_once_end_as_one(tmp_path: Path, database: str, connection: Plain) -> None:
    """Both get through, the rows are what the files say, and both can be undone."""
    async with workshop(tmp_path, database, EVERY) as shop, workshop(tmp_path, database, EVERY) as other:
        paths = await loaded(shop, 8)
        await connection.execute(ALTER)
        before = await digest(connection)
        found = [finding(Kind.MISMATCH, path, run_id(number)) for number, path in enumerate(paths, 1)]
        first, second = await asyncio.gather(shop.repairs.fix(found), other.repairs.fix(found))
        assert first == second == set(paths)
        assert set((await rows_of(connection)).values()) == {"hello"}
        await shop.roll_all_back()
    assert await digest(connection) == before


def stored(body: bytes, path: str, **changed: Any) -> StoredRun:
    """The row that a file becomes, as Postgres gives it."""
    parsed = RunPath.parse(path)
    assert parsed is not None
    record = decode(body, parsed, Stamp(len(body), 5, 5))
    assert isinstance(record, TraceRecord)
    fields = {name: getattr(record, name) for name in StoredRun.__dataclass_fields__ if hasattr(record, name)}
    return replace(StoredRun(**fields, file_mtime_ns=5), **changed)


RUN = {"id": str(run_id(1)), "name": "agent", "text": "\u00e9", "price": 1.10}
WHEN = {"extracted_at": "2025-11-29T00:00:00.000001+00:00"}
SHAPES = {
    "envelope": msgspec.json.encode({"metadata": {**WHEN, "project_name": "Bot"}, "trace": RUN}),
    "metadata says nothing": b'{"metadata": { }, "trace": {"id": "%s"}}' % str(run_id(1)).encode(),
    "bare": msgspec.json.encode(RUN),
    "the file's name has the id": b'{"metadata": {"a": 1}, "trace": {"name": "agent"}}',
}
ANOTHER_TIME = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("extracted_at", [None, ANOTHER_TIME, NO_EXTRACTION], ids=["its own", "another", "none"])
def test_the_file_of_a_row_becomes_that_row(body: bytes, extracted_at: datetime | None) -> None:
    """Whatever the shape it came in, and whatever its row's extracted_at is, the new file has that run and time."""
    path = RunPath.parse(run_path(1))
    assert path is not None
    row = stored(body, run_path(1))
    if extracted_at is not None:
        row = replace(row, extracted_at=extracted_at)
    content = file_of_row(row, path)
    assert content is not None
    again = stored(content, run_path(1))
    assert (again.run_id, again.extracted_at) == (row.run_id, row.extracted_at)
    assert json.loads(again.data) == json.loads(row.data)
    if extracted_at is None:
        assert again.metadata == row.metadata


def test_no_file_becomes_a_row_of_nonsense() -> None:
    """A row that was edited to name another run than its key cannot come from a file."""
    path = RunPath.parse(run_path(1))
    assert path is not None
    row = stored(run_body(1), run_path(1))
    assert file_of_row(replace(row, run_id=run_id(2)), path) is None
