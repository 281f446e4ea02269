"""What a `Writer` does with batches that the store refuses, in part or for a while."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from math import ceil, log2
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lines import SOURCE, impatient
from memory_store import MemoryStore
from run_files import record, run_id, run_path
from tracewatchd.ingest.commit import Writer, Written
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.events import BatchHalved, BatchRetried, Event
from tracewatchd.model.fixes import FixKind, Journal
from tracewatchd.model.record import Reason, Rejection, TraceRecord
from tracewatchd.model.results import Outcome
from tracewatchd.model.stamp import Stamp

MANY = [record(number) for number in range(500)]


def writer_of(
    store: MemoryStore, told: list[Event] | None = None, *, overwrite: bool = True, journal: Journal | None = None
) -> Writer:
    listener = [] if told is None else told
    return Writer(SOURCE, store, retrying=impatient, overwrite=overwrite, tell=listener.append, journal=journal)


def rejection_of(number: int) -> Rejection:
    return Rejection(path=run_path(number), stamp=Stamp(0, 1, 1), reason=Reason.EMPTY, detail="empty")


async def written_by(store: MemoryStore, records: list[TraceRecord], told: list[Event] | None = None) -> Written:
    return await writer_of(store, told).write(records, [])


def quarantined(written: Written) -> set[str]:
    return {path for path, outcome in written.outcomes.items() if outcome is Outcome.QUARANTINED}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_one_poison_costs_one_record_and_few_attempts(case: tuple[int, int]) -> None:
    """Whatever the batch's size and the bad record's place, the rest is in after 2*ceil(log2 n)+2 attempts at most."""
    size, bad = case

    async def check() -> None:
        store = MemoryStore(poison={run_path(bad)})
        written = await written_by(store, MANY[:size])
        assert quarantined(written) == {run_path(bad)}
        assert set(store.rows) == {run_id(number) for number in range(size)} - {run_id(bad)}
        assert len(store.attempts) <= 2 * ceil(log2(size)) + 2

    asyncio.run(check())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 120), st.sets(st.integers(0, 119), max_size=12))
def test_several_poisons_are_each_isolated(size: int, bad: set[int]) -> None:
    """Every refused record is quarantined, every other one is a row, and each path has an outcome."""

    async def check() -> None:
        store = MemoryStore(poison={run_path(number) for number in bad})
        written = await written_by(store, MANY[:size])
        expected = {run_path(number) for number in bad if number < size}
        assert quarantined(written) == expected
        assert len(store.rows) == size - len(expected)
        assert len(written.outcomes) == size

    asyncio.run(check())


async def test_a_quarantine_row_says_what_postgres_said() -> None:
    """SQLSTATE, place and reason of a refusal are in the ledger, and the halving is told."""
    store = MemoryStore(poison={run_path(1)})
    told: list[Event] = []
    written = await written_by(store, MANY[:2], told)
    row = store.ledger[SOURCE, run_path(1)]
    assert (row.reason, row.file_sha256, row.run_id) == (Reason.UNSTORABLE, MANY[1].file_sha256, run_id(1))
    assert row.detail == "Postgres refuses it: unsupported Unicode escape sequence (SQLSTATE 22P05) at data"
    assert [sqlstate for _, sqlstate in written.rejected] == ["22P05"]
    assert told == [
        BatchHalved(source=SOURCE, files=2, error="unsupported Unicode escape sequence", sqlstate="22P05"),
    ]


async def test_the_good_old_twin_of_a_poisoned_newer_file_is_loaded() -> None:
    """A file is never superseded by a batch mate that turns out to be poison."""
    older, newer = record(1, second=1, age_days=9), record(1, second=2, age_days=1, text="bad")
    store = MemoryStore(poison={newer.path})
    written = await written_by(store, [newer, older])
    assert written.outcomes == {older.path: Outcome.LOADED, newer.path: Outcome.QUARANTINED}
    assert store.rows[run_id(1)] == older


async def test_rejections_commit_with_the_batch() -> None:
    """What the decoder rejected goes with the records in one transaction."""
    store = MemoryStore()
    written = await writer_of(store).write(MANY[:3], [rejection_of(7)])
    assert len(store.attempts) == 1
    assert store.state(SOURCE, run_path(7)) == Reason.EMPTY
    assert written.rejected == [(rejection_of(7), None)]


async def test_rejections_survive_a_poisoned_batch() -> None:
    """Halving loses no rejection, even where the record beside it is the bad one."""
    store = MemoryStore(poison={run_path(0)})
    written = await writer_of(store).write(MANY[:1], [rejection_of(7)])
    assert quarantined(written) == {run_path(0), run_path(7)}


async def test_nothing_to_write_is_written_without_records() -> None:
    """A batch of rejections alone needs no upsert."""
    store = MemoryStore()
    await writer_of(store).write([], [rejection_of(7)])
    assert store.attempts == []
    assert store.state(SOURCE, run_path(7)) == Reason.EMPTY


async def test_inserting_only_leaves_older_rows_alone() -> None:
    """Without overwriting, a newer file of a known run is left and not acknowledged."""
    store = MemoryStore()
    await written_by(store, [record(1, age_days=9)])
    newer = record(1, second=2, age_days=1, text="newer")
    written = await writer_of(store, overwrite=False).write([newer], [])
    assert written.outcomes == {newer.path: Outcome.LEFT}
    assert store.state(SOURCE, newer.path) is None


def suspect(bad: str) -> Callable[[Sequence[TraceRecord]], Exception | None]:
    """A store whose backend dies of one record, every time."""

    def fault(records: Sequence[TraceRecord]) -> Exception | None:
        if any(one.path == bad for one in records):
            return TransientError("the query took too long", sqlstate="57014", suspect_content=True)
        return None

    return fault


async def test_a_record_that_keeps_failing_while_the_store_answers_is_isolated() -> None:
    """One record whose timeout repeats stops nobody: it is quarantined with its SQLSTATE and the rest is loaded."""
    store = MemoryStore(fault=suspect(run_path(33)))
    written = await written_by(store, MANY[:64])
    assert quarantined(written) == {run_path(33)}
    assert len(store.rows) == 63
    row = store.ledger[SOURCE, run_path(33)]
    assert row.reason is Reason.KEEPS_FAILING
    assert row.detail == (
        "storing it fails each time although Postgres answers: the query took too long (SQLSTATE 57014)"
    )
    assert sum(attempt == (run_path(33),) for attempt in store.attempts) == 3


async def test_one_strike_condemns_no_lone_record() -> None:
    """A record that fails twice and then goes in is loaded."""
    left = 2

    def fault(_: Sequence[TraceRecord]) -> Exception | None:
        nonlocal left
        left -= 1
        return TransientError("the backend died", suspect_content=True) if left >= 0 else None

    written = await written_by(MemoryStore(fault=fault), MANY[:1])
    assert written.outcomes == {run_path(0): Outcome.LOADED}


async def test_deadlocks_are_retried_and_never_quarantined() -> None:
    """What is transient and not about content is tried again, whole, with one event for each time."""
    left = 8

    def fault(_: Sequence[TraceRecord]) -> Exception | None:
        nonlocal left
        left -= 1
        return TransientError("deadlock detected", sqlstate="40P01") if left >= 0 else None

    store, told = MemoryStore(fault=fault), list[Event]()
    written = await written_by(store, MANY[:4], told)
    assert set(written.outcomes.values()) == {Outcome.LOADED}
    assert store.attempts == [tuple(run_path(number) for number in range(4))] * 9
    assert told == [BatchRetried(source=SOURCE, files=4, error="deadlock detected", wait_s=0.0, sqlstate="40P01")] * 8


async def test_an_outage_is_no_strike() -> None:
    """A suspect failure while the store does not answer says nothing about the content."""

    class Away(MemoryStore):
        async def probe(self) -> bool:
            self.probes += 1
            return False

    store = Away(fault=lambda _: TransientError("no answer", suspect_content=True))
    with pytest.raises(TransientError, match="no answer"):
        await written_by(store, MANY[:2])
    assert store.probes == 10
    assert {len(attempt) for attempt in store.attempts} == {2}


async def test_an_outage_is_waited_for() -> None:
    """While the store is away nothing is attempted; when it is back the batch goes in whole."""
    store = MemoryStore()
    store.up.clear()
    writing = asyncio.create_task(written_by(store, MANY[:3]))
    await store.turned_away.wait()
    assert store.attempts == []
    store.up.set()
    written = await writing
    assert set(written.outcomes.values()) == {Outcome.LOADED}
    assert len(store.attempts) == 1


async def test_wrong_surroundings_pass_through() -> None:
    """A permanent error ends writing at once, with its hint."""
    store = MemoryStore(fault=lambda _: PermanentError("permission denied for table runs", hint="grant it"))
    with pytest.raises(PermanentError, match="permission denied") as caught:
        await written_by(store, MANY[:3])
    assert caught.value.hint == "grant it"
    assert len(store.attempts) == 1


async def test_a_ledger_that_refuses_a_quarantine_row_is_no_poison() -> None:
    """Nothing is left to halve then: the schema is wrong, and saying so beats halving for ever."""
    store = MemoryStore(fault=lambda _: PoisonError("violates check", sqlstate="23514"))
    with pytest.raises(PermanentError, match="the ledger refuses a quarantine row: violates check") as caught:
        await writer_of(store).write([], [rejection_of(1)])
    assert caught.value.sqlstate == "23514"


async def test_what_must_be_offered_again_is_handed_back() -> None:
    """Paths whose row was gone when it was read back have no outcome yet."""
    written = await written_by(MemoryStore(unreturned={run_path(1)}), MANY[:3])
    assert written.retry == [run_path(1)]
    assert run_path(1) not in written.outcomes


async def test_a_written_batch_is_let_go_at_once() -> None:
    """Nothing holds a record after its batch is written, not even until the next garbage collection."""
    one = record(1)
    before = sys.getrefcount(one)
    gc.disable()
    try:
        store = MemoryStore()
        await writer_of(store).write([one], [])
        store.rows.clear()
        assert sys.getrefcount(one) == before
    finally:
        gc.enable()


async def test_every_transaction_has_the_journal() -> None:
    """Halves and quarantine rows are written under the journal that the writer was given."""
    journal = Journal(repair_id=UUID(int=1), default=FixKind.STALE)
    store = MemoryStore(poison={run_path(2)})
    await writer_of(store, journal=journal).write(MANY[:4], [])
    assert len(store.journals) > 2
    assert set(map(id, store.journals)) == {id(journal)}


async def test_a_forced_journal_forces_until_something_is_written() -> None:
    """What a first transaction wrote, a later one of the same writer does not take away; a failed one wrote nothing."""
    journal = Journal(repair_id=UUID(int=1), default=FixKind.MISMATCH, forced=True)
    store = MemoryStore(poison={run_path(0)})
    writer = writer_of(store, journal=journal)
    await writer.write(MANY[:2], [])
    await writer.write(MANY[2:3], [])
    forced = [given.forced for given in store.journals if given]
    # Both files, the first alone, its quarantine; then the second, which is stored.
    assert forced == [True, True, True, True, False]
