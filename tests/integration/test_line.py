"""The line on real folders: what becomes of offered paths, in which order of events, and what is told about it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lines import MIB, SOURCE, Bench, at_work, outcomes, until
from memory_store import MemoryStore
from run_files import DIRECTORY, put, run_body, run_id, run_path
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.model.decode import CLEAN_COST, SANITIZE_COST
from tracewatchd.model.errors import PermanentError, PoisonError
from tracewatchd.model.events import (
    BatchCommitted,
    BatchRetried,
    FileFromFuture,
    FileQuarantined,
    FileReadable,
    FileSanitized,
    FileUnreadable,
)
from tracewatchd.model.record import Reason
from tracewatchd.model.results import Outcome

HALF = len(run_body(1)) // 2


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@dataclass
class Holding(MemoryStore):
    """A store whose commits wait until the test lets them go on."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        await self.go_on.wait()
        return await super().commit(*args, **kwargs)


def put_runs(bench: Bench, count: int, **body: Any) -> list[str]:
    """So many run files, and their paths."""
    for number in range(count):
        put(bench.root, run_path(number), run_body(number, **body))
    return [run_path(number) for number in range(count)]


def text_of(store: MemoryStore, number: int) -> str:
    data = store.rows[run_id(number)].data.decode()
    return data.partition('"text": "')[2].partition('"')[0]


# ---- paths become rows


async def test_offered_files_become_rows_and_their_receipt_says_so(bench: Bench) -> None:
    """Each offered path has its outcome, its row and its ledger entry; one event sums the batch up."""
    paths = put_runs(bench, 3)
    async with at_work(bench.line()) as line:
        assert await outcomes(line, paths) == dict.fromkeys(paths, Outcome.LOADED)
        assert await outcomes(line, paths) == dict.fromkeys(paths, Outcome.ALREADY_LOADED)
    assert set(bench.store.rows) == {run_id(number) for number in range(3)}
    assert bench.states() == dict.fromkeys(paths, "acknowledged")
    (committed,) = bench.named(BatchCommitted)
    assert (committed.source, committed.files, committed.outcomes) == (SOURCE, 3, {"loaded": 3})
    assert committed.size_bytes == sum(row.size_bytes for row in bench.store.rows.values())
    assert committed.waiting_files == 0
    assert line.progress == 6  # each of two batches was taken, read and written
    assert line.moved == 6


async def test_a_batch_says_how_long_its_oldest_file_waited(bench: Bench) -> None:
    """The wait counts from the first offer of the path that was offered first, whatever held the line up."""
    bench.store = store = Holding()
    (early, late) = put_runs(bench, 2)
    async with at_work(bench.line()) as line:
        offered_s = time.monotonic()
        line.hint(early)
        await store.reached.wait()
        line.hint(late)
        line.hint(early)
        await until(lambda: line.oldest_s and line.oldest_s > 0.05)
        store.go_on.set()
        await until(lambda: len(store.rows) == 2)
        longest_s = time.monotonic() - offered_s
    assert 0.05 < bench.named(BatchCommitted)[0].waited_s <= longest_s


async def test_the_age_of_what_waits(bench: Bench) -> None:
    """It is that of the path that was offered first, also while that is still being written; none where none waits."""
    (path,) = put_runs(bench, 1)
    bench.limits = replace(bench.limits, settle_s=60)
    line = bench.line()
    ages = [line.oldest_s]
    assert line.hint(path)
    ages.append(line.oldest_s)
    put(bench.root, path, run_body(0)[:-9])
    async with at_work(line) as working:
        await until(lambda: working.unfinished == 0 and working.backlog == 1)
        ages.append(working.oldest_s)
        assert working.hint(path)
        put(bench.root, path, run_body(0))
        await until(lambda: working.moved == 1)
        await until(lambda: working.oldest_s is None)
    none, first_s, later_s = ages
    assert none is None
    assert first_s is not None
    assert later_s is not None
    assert later_s > first_s


async def test_a_hint_is_enough(bench: Bench) -> None:
    """A path that nobody waits for is loaded like any other."""
    (path,) = put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        assert line.hint(path)
        assert line.backlog == 1
        await until(lambda: bench.store.rows)
    assert bench.states() == {path: "acknowledged"}


async def test_what_was_taken_in_before_closing_is_committed(bench: Bench) -> None:
    """Closing ends the work only when everything offered before is done; what comes later is pending."""
    paths = put_runs(bench, 120)
    line = bench.line()
    receipt = await line.offer(paths)
    line.close()
    assert await (await line.offer(["late"])).wait() == {"late": Outcome.PENDING}
    assert not line.hint("late")
    await line.run()
    assert receipt.counts() == {Outcome.LOADED: 120}
    assert line.backlog == 0
    assert line.abandon() == 0


async def test_a_known_file_is_read_again_only_when_that_is_asked_for(bench: Bench) -> None:
    """``reread`` reads and writes a file whose stamp is known: the way back for a row that was removed."""
    (path,) = put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        await outcomes(line, [path])
        bench.store.rows.clear()
        assert await outcomes(line, [path]) == {path: Outcome.ALREADY_LOADED}
        assert not bench.store.rows
        assert await outcomes(line, [path], reread=True) == {path: Outcome.LOADED}
    assert bench.store.rows


async def test_a_batch_without_anything_to_write_begins_no_transaction(bench: Bench) -> None:
    """Known and vanished files are answered from the ledger and the disk alone."""
    (path,) = put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        await outcomes(line, [path])
        bench.store.fault = lambda _: PermanentError("nobody may write now")
        known = await outcomes(line, [path, run_path(9)])
    assert known == {path: Outcome.ALREADY_LOADED, run_path(9): Outcome.VANISHED}
    assert len(bench.named(BatchCommitted)) == 1


async def test_paths_where_no_run_file_is_have_vanished(bench: Bench) -> None:
    """Deleted files, paths outside the layout and things that are no regular files are outcomes, not errors."""
    directory = run_path(1)
    (bench.root / directory).mkdir(parents=True)
    paths = [run_path(2), "shallow.json", "bot/no-day/a.json", f"{DIRECTORY}/_summary.json", directory]
    async with at_work(bench.line()) as line:
        assert await outcomes(line, paths) == dict.fromkeys(paths, Outcome.VANISHED)
    assert not bench.store.ledger
    assert not bench.told


# ---- hints and room


async def test_a_hint_for_a_file_in_flight_is_kept(bench: Bench) -> None:
    """A file that is rewritten between its reading and its commit is read again after its batch."""
    bench.store = store = Holding()
    (path,) = put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        line.hint(path)
        await store.reached.wait()
        put(bench.root, path, run_body(0, age_days=0, text="newer"))
        assert line.hint(path)
        # Another worker deals with what comes after it, and leaves the path in flight alone.
        assert await outcomes(line, [run_path(9)]) == {run_path(9): Outcome.VANISHED}
        assert store.asked == [(path,), (run_path(9),)]
        store.go_on.set()
        await until(lambda: len(store.attempts) == 2)
    assert text_of(store, 0) == "newer"
    assert [event.outcomes for event in bench.named(BatchCommitted)] == [{"loaded": 1}, {"updated": 1}]


async def test_offers_wait_for_room_and_hints_do_not(bench: Bench) -> None:
    """A full inbox drops hints and holds offers back, until somebody works."""
    bench.limit(inbox_paths=2)
    paths = put_runs(bench, 5)
    line = bench.line()
    offering = asyncio.create_task(line.offer(paths))
    await until(lambda: line.backlog == 2)
    assert not line.hint(run_path(8))
    assert not offering.done()
    async with at_work(line):
        receipt = await offering
        assert set((await receipt.wait()).values()) == {Outcome.LOADED}
    assert len(bench.store.rows) == 5


async def test_abandoning_tells_whoever_waits(bench: Bench) -> None:
    """What waits, what is in flight and what is half written is told to be pending, and counted."""
    bench.store = store = Holding()
    bench.limit(batch_rows=1, writers=1, settle_s=30.0)
    paths = put_runs(bench, 3)
    half = put(bench.root, run_path(7), run_body(7)[:HALF]).relative_to(bench.root).as_posix()
    line = bench.line()
    receipt = await line.offer([half, *paths])
    async with asyncio.TaskGroup() as group:
        working = group.create_task(line.run())
        await store.reached.wait()
        assert line.backlog == 4
        assert line.abandon() == 4
        working.cancel()
    assert await receipt.wait() == dict.fromkeys([half, *paths], Outcome.PENDING)
    assert not store.rows
    assert line.backlog == 0


# ---- sizes


async def test_batches_close_on_bytes(bench: Bench) -> None:
    """A batch takes no further file once it holds ``batch_bytes``; the rest is in later batches, in order."""
    size = 10_000
    bench.limit(writers=1)
    bench.rules = replace(bench.rules, batch_bytes=3 * size)
    paths = put_runs(bench, 10, size_bytes=size)
    async with at_work(bench.line()) as line:
        assert set((await outcomes(line, paths)).values()) == {Outcome.LOADED}
    assert [len(attempt) for attempt in bench.store.attempts] == [3, 3, 3, 1]
    assert [path for attempt in bench.store.attempts for path in attempt] == paths


class Gauged(ByteBudget):
    """A budget that remembers each charge and the most that was in use."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.charges: list[int] = []
        self.most_bytes = 0

    @asynccontextmanager
    async def charge(self, size_bytes: int) -> Any:
        self.charges.append(size_bytes)
        async with super().charge(size_bytes):
            self.most_bytes = max(self.most_bytes, self.used_bytes)
            yield


async def test_bytes_in_flight_are_charged_before_reading(bench: Bench) -> None:
    """However many workers there are, what they hold together stays within the budget, and all of it is given back."""
    size = 50_000
    bench.limit(writers=4, batch_rows=5)
    bench.budget = budget = Gauged(2 * MIB)
    paths = put_runs(bench, 60, size_bytes=size)
    async with at_work(bench.line()) as line:
        assert set((await outcomes(line, paths)).values()) == {Outcome.LOADED}
    assert budget.most_bytes <= budget.limit_bytes
    assert budget.used_bytes == 0
    share = budget.limit_bytes // 4
    assert set(budget.charges) == {share}
    assert max(len(attempt) for attempt in bench.store.attempts) == share // (size * CLEAN_COST)


@pytest.mark.parametrize(("text", "factor"), [("plain", CLEAN_COST), (r"a\u0000b", SANITIZE_COST)])
async def test_a_file_larger_than_its_share_runs_alone(bench: Bench, text: str, factor: int) -> None:
    """It waits until it may have what it costs, sanitised ones several times their size, and holds up nobody."""
    bench.limit(writers=2)
    bench.budget = budget = Gauged(MIB)
    body = run_body(1).replace(b'"hello"', f'"{text}"'.encode()).ljust(MIB // 2 // factor + 100)
    paths = put_runs(bench, 5)
    put(bench.root, run_path(1), body)
    async with at_work(bench.line()) as line:
        assert set((await outcomes(line, paths)).values()) == {Outcome.LOADED}
    assert (run_path(1),) in bench.store.attempts
    assert len(body) * factor in budget.charges
    assert budget.most_bytes <= budget.limit_bytes


async def test_a_file_larger_than_the_whole_budget_is_loaded_too(bench: Bench) -> None:
    """The budget bounds memory; only ``max_file_bytes`` bounds files."""
    bench.budget = Gauged(100_000)
    put(bench.root, run_path(1), run_body(1, size_bytes=400_000))
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.LOADED}


async def test_a_file_above_the_limit_is_quarantined_unread(bench: Bench) -> None:
    """Its row says both sizes and names the setting; another limit takes it up."""
    put(bench.root, run_path(1), run_body(1, size_bytes=2_000))
    bench.rules = replace(bench.rules, max_file_bytes=1_999)
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.QUARANTINED}
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.ALREADY_QUARANTINED}
    row = bench.store.ledger[SOURCE, run_path(1)]
    assert (row.reason, row.file_sha256, row.setting) == (Reason.TOO_LARGE, None, "max_file_bytes=1999")
    assert row.detail == "2000 bytes; ingest.max_file_bytes allows 1999"
    (told,) = bench.named(FileQuarantined)
    assert (told.path, told.reason, told.size_bytes) == (run_path(1), "too_large", 2_000)
    bench.rules = replace(bench.rules, max_file_bytes=2_000)
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.LOADED}


# ---- files that are still being written


async def test_a_half_written_file_is_loaded_when_it_is_whole(bench: Bench) -> None:
    """Whoever offered it waits; nobody else does, and nothing is quarantined on the way."""
    bench.limit(settle_s=30.0)
    place = put(bench.root, run_path(0), run_body(0)[:HALF])
    put(bench.root, run_path(1), run_body(1))
    async with at_work(bench.line()) as line:
        receipt = await line.offer([run_path(0), run_path(1)])
        await until(lambda: receipt.outcomes)
        assert receipt.outcomes == {run_path(1): Outcome.LOADED}
        assert line.backlog == 1
        place.write_bytes(run_body(0))
        assert await receipt.wait() == dict.fromkeys([run_path(0), run_path(1)], Outcome.LOADED)
    assert not bench.named(FileQuarantined)


@pytest.mark.parametrize(("body", "reason"), [(b"", Reason.EMPTY), (run_body(1)[:HALF], Reason.TRUNCATED)])
async def test_a_file_that_stands_still_is_believed(bench: Bench, body: bytes, reason: Reason) -> None:
    """After ``settle_s`` without a change it is what it looks like; a change after that is taken up."""
    place = put(bench.root, run_path(1), body)
    async with at_work(bench.line()) as line:
        began = asyncio.get_running_loop().time()
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.QUARANTINED}
        assert asyncio.get_running_loop().time() - began >= bench.limits.settle_s
        assert bench.store.state(SOURCE, run_path(1)) == reason
        place.write_bytes(run_body(1))
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.LOADED}
    assert [event.reason for event in bench.named(FileQuarantined)] == [reason]


async def test_a_file_that_never_stands_still_is_given_up(bench: Bench) -> None:
    """After ``settle_limit_s`` it is pending, for a later sweep, and not in quarantine."""
    bench.limit(settle_s=30.0, settle_limit_s=0.4)
    place = put(bench.root, run_path(1), b"{")
    async with at_work(bench.line()) as line:
        receipt = await line.offer([run_path(1)])
        async with asyncio.TaskGroup() as group:
            growing = group.create_task(_grow(place))
            assert await receipt.wait() == {run_path(1): Outcome.PENDING}
            growing.cancel()
    assert not bench.store.ledger
    assert line.backlog == 0


async def test_nobody_waits_for_a_file_that_keeps_changing(bench: Bench) -> None:
    """After ``settle_s`` of changes, each with its hint, whoever offered it hears "pending"; complete, it is loaded."""
    bench.limit(settle_s=0.3, settle_limit_s=60.0)
    place = put(bench.root, run_path(1), run_body(1)[:-1])
    async with at_work(bench.line()) as line:
        offered = asyncio.create_task(outcomes(line, [run_path(1)]))
        while not offered.done():
            with place.open("ab") as file:
                file.write(b" ")
            line.hint(run_path(1))
            await asyncio.sleep(0.02)
        assert offered.result() == {run_path(1): Outcome.PENDING}
        place.write_bytes(run_body(1))
        line.hint(run_path(1))
        await until(lambda: run_id(1) in bench.store.rows)


async def _grow(place: Path) -> None:
    while True:
        with place.open("ab") as file:
            file.write(b" ")
        await asyncio.sleep(0.01)


async def test_a_file_replaced_while_it_is_read_is_read_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read was whole, but is no longer what is there: the file of now is loaded."""
    put(tmp_path, run_path(1), run_body(1, text="older"))
    genuine = os.read

    def meddled(descriptor: int, size: int) -> bytes:
        monkeypatch.undo()
        read = genuine(descriptor, size)
        put(tmp_path, run_path(1), run_body(1, text="newer"))
        return read

    monkeypatch.setattr(os, "read", meddled)
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.LOADED}
    assert text_of(bench.store, 1) == "newer"
    assert len(bench.store.attempts) == 1


async def test_an_unstable_read_of_what_then_stands_still_is_pending(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every read is disturbed but no change is ever seen, there is no reason to quarantine for."""
    put(tmp_path, run_path(1), run_body(1))
    genuine = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: genuine(descriptor, min(size, 10)) if size > 400 else b"")
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.PENDING}
    assert not bench.store.ledger


async def test_hints_for_a_file_that_is_waited_for_share_its_fate(bench: Bench) -> None:
    """A path that is waited for and offered again has one entry on the line, and both offers hear of it."""
    bench.limit(settle_s=30.0)
    place = put(bench.root, run_path(0), run_body(0)[:HALF])
    async with at_work(bench.line()) as line:
        first = await line.offer([run_path(0)])
        await until(lambda: len(bench.store.asked) >= 1 and line.backlog == 1)
        second = await line.offer([run_path(0)])
        await until(lambda: len(bench.store.asked) >= 2)
        place.write_bytes(run_body(0))
        assert {*(await first.wait()).values(), *(await second.wait()).values()} <= {
            Outcome.LOADED,
            Outcome.ALREADY_LOADED,
        }
    assert len(bench.store.attempts) == 1


async def test_a_line_that_ends_leaves_half_written_files(bench: Bench) -> None:
    """A stop does not wait for them: they are counted as left, and the next start finds them."""
    bench.limit(settle_s=30.0)
    put(bench.root, run_path(0), run_body(0)[:HALF])
    line = bench.line()
    receipt = await line.offer([run_path(0)])
    line.close()
    async with asyncio.timeout(5):
        await line.run()
    assert line.abandon() == 1
    assert await receipt.wait() == {run_path(0): Outcome.PENDING}


# ---- stamps that may hide a rewrite


def hide_rewrite(bench: Bench, number: int, body: bytes) -> None:
    """Rewrite a file so that its ledger row has its stamp, as a file system with coarse time does."""
    place = put(bench.root, run_path(number), body)
    status = place.stat()
    key = SOURCE, run_path(number)
    row = bench.store.ledger[key]
    stamp = row.stamp._replace(size_bytes=status.st_size, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)
    bench.store.ledger[key] = replace(row, stamp=stamp)


async def test_a_rewrite_that_kept_the_stamp_is_found_after_the_grain(bench: Bench) -> None:
    """A file read within ``stamp_grain_s`` of its mtime is read once more after that time."""
    bench.limit(stamp_grain_s=0.4)
    put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        await outcomes(line, [run_path(0)])
        hide_rewrite(bench, 0, run_body(0, age_days=0, text="newer"))
        assert await outcomes(line, [run_path(0)]) == {run_path(0): Outcome.ALREADY_LOADED}
        await until(lambda: text_of(bench.store, 0) == "newer")


async def test_a_rewrite_of_a_quarantined_file_that_kept_the_stamp_is_found(bench: Bench) -> None:
    """Quarantine is no reason to believe a stamp."""
    bench.limit(stamp_grain_s=0.4)
    put(bench.root, run_path(0), b'{"no": "run"}')
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(0)]) == {run_path(0): Outcome.QUARANTINED}
        hide_rewrite(bench, 0, run_body(0))
        await until(lambda: bench.store.rows)
    assert bench.states() == {run_path(0): "acknowledged"}


async def test_a_second_look_at_an_unchanged_file_writes_and_says_nothing(bench: Bench) -> None:
    """Equal bytes are known by their sha256: they are not sent to the store again, nor quarantined again."""
    bench.limit(stamp_grain_s=0.1)
    put_runs(bench, 1)
    put(bench.root, run_path(1), b'{"no": "run"}')
    line = bench.line()
    receipt = await line.offer([run_path(0), run_path(1)])
    line.close()
    await line.run()
    assert receipt.counts() == {Outcome.LOADED: 1, Outcome.QUARANTINED: 1}
    assert len(bench.store.asked) >= 2
    assert len(bench.store.attempts) == 1
    assert len(bench.named(FileQuarantined)) == len(bench.named(BatchCommitted)) == 1
    assert line.abandon() == 0


async def test_a_line_looks_once_more_before_it_ends(bench: Bench) -> None:
    """A command ends after the second look, so that no stamp in the ledger hides a rewrite from the next one."""
    bench.limit(stamp_grain_s=0.5)
    put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        await outcomes(line, [run_path(0)])
        hide_rewrite(bench, 0, run_body(0, age_days=0, text="newer"))
    assert text_of(bench.store, 0) == "newer"


async def test_freshness_is_judged_when_the_file_is_read(bench: Bench) -> None:
    """An outage between reading and commit, longer than the grain, does not make a fresh stamp trustworthy."""
    bench.store = store = Holding()
    bench.limit(stamp_grain_s=0.5)
    put_runs(bench, 1)
    clock = [datetime.now(UTC)]
    bench.now = lambda: clock[0]
    async with at_work(bench.line()) as line:
        receipt = await line.offer([run_path(0)])
        await store.reached.wait()
        clock[0] += timedelta(hours=1)
        store.go_on.set()
        await receipt.wait()
        hide_rewrite(bench, 0, run_body(0, age_days=0, text="newer"))
        await until(lambda: text_of(store, 0) == "newer")


async def test_only_so_many_second_looks_wait(bench: Bench) -> None:
    """A burst of fresh files costs no more memory than the inbox may; sweeps look at the rest."""
    bench.limit(stamp_grain_s=0.2, inbox_paths=2)
    paths = put_runs(bench, 5)
    async with at_work(bench.line()) as line:
        assert await outcomes(line, paths) == dict.fromkeys(paths, Outcome.LOADED)
        assert line.backlog == 2


@pytest.mark.parametrize("away_s", [-3_600, 3_600])
async def test_old_and_future_files_are_read_once(bench: Bench, away_s: int) -> None:
    """Only what is fresh is looked at twice: an mtime far ahead would otherwise cause a look for ever."""
    bench.limit(stamp_grain_s=0.05)
    put_runs(bench, 1)
    moment = datetime.now(UTC).timestamp() + away_s
    os.utime(bench.root / run_path(0), (moment, moment))
    async with at_work(bench.line()) as line:
        await outcomes(line, [run_path(0)])
        assert line.backlog == 0
    assert len(bench.store.asked) == 1


# ---- what cannot be read, and what is odd


async def test_unreadable_is_told_once_and_its_end_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every offer tries again; the operator hears of the beginning and of the end."""
    paths = put_runs(bench, 2)
    closed = {Path(paths[0]).name.encode()}
    genuine = os.open

    def guarded(name: Any, *args: Any, **kwargs: Any) -> int:
        if name in closed:
            raise PermissionError(13, "Permission denied")
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)
    async with at_work(bench.line()) as line:
        for expected in (Outcome.LOADED, Outcome.ALREADY_LOADED):
            assert await outcomes(line, paths) == {paths[0]: Outcome.UNREADABLE, paths[1]: expected}
        closed.clear()
        assert await outcomes(line, paths) == {paths[0]: Outcome.LOADED, paths[1]: Outcome.ALREADY_LOADED}
        assert bench.named(FileReadable) == [FileReadable(source=SOURCE, path=paths[0])]
    assert bench.named(FileUnreadable) == [FileUnreadable(source=SOURCE, path=paths[0], error="Permission denied")]
    assert bench.states() == dict.fromkeys(paths, "acknowledged")


async def test_an_unreadable_file_that_vanishes_does_not_become_readable(bench: Bench) -> None:
    """Its end is silent, and the next unreadable file at that path is told anew."""
    name = "x" * 300
    too_long = f"{DIRECTORY}/{name}.json"
    put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [too_long]) == {too_long: Outcome.UNREADABLE}
        (bench.root / DIRECTORY / run_path(0).rpartition("/")[2]).unlink()
        (bench.root / DIRECTORY).rmdir()
        assert await outcomes(line, [too_long]) == {too_long: Outcome.VANISHED}
        put_runs(bench, 1)
        assert await outcomes(line, [too_long]) == {too_long: Outcome.UNREADABLE}
    assert not bench.named(FileReadable)
    assert [event.error for event in bench.named(FileUnreadable)] == ["File name too long"] * 2


async def test_a_file_from_the_future_is_flagged_and_kept(bench: Bench) -> None:
    """More than a day ahead of our clock is told; less is not; neither is replaced."""
    extracted = datetime(2025, 11, 29, tzinfo=UTC)
    bench.now = lambda: extracted - timedelta(days=1, seconds=1)
    put_runs(bench, 1)
    put(bench.root, run_path(1), run_body(1, age_days=2))
    async with at_work(bench.line()) as line:
        await outcomes(line, [run_path(0), run_path(1)])
    assert bench.store.rows[run_id(0)].extracted_at == extracted
    assert bench.named(FileFromFuture) == [
        FileFromFuture(source=SOURCE, path=run_path(0), extracted_at="2025-11-29T00:00:00+00:00")
    ]


async def test_sanitising_is_told_with_the_number_of_places(bench: Bench) -> None:
    """A run that was changed to be stored says so once."""
    put(bench.root, run_path(1), run_body(1, text="TEXT").replace(b"TEXT", rb"a\u0000b\u0000", 1))
    async with at_work(bench.line()) as line:
        await outcomes(line, [run_path(1)])
    assert bench.named(FileSanitized) == [
        FileSanitized(source=SOURCE, path=run_path(1), run_id=str(run_id(1)), places=1)
    ]


async def test_what_the_store_hands_back_is_written_again(bench: Bench) -> None:
    """A path whose row was gone at the read-back has no outcome before it has one."""
    paths = put_runs(bench, 3)
    bench.store.unreturned = {paths[1]}
    async with at_work(bench.line()) as line:
        assert await outcomes(line, paths) == dict.fromkeys(paths, Outcome.LOADED)
    assert bench.store.attempts == [tuple(paths), (paths[1],)]


async def test_without_overwriting_an_older_row_stays(bench: Bench) -> None:
    """A newer file of a known run is left, is not in the ledger, and is left again the next time."""
    put(bench.root, run_path(1, 1), run_body(1, age_days=9))
    put(bench.root, run_path(1, 2), run_body(1, age_days=1, text="newer"))
    async with at_work(bench.line(overwrite=False)) as line:
        assert await outcomes(line, [run_path(1, 1)]) == {run_path(1, 1): Outcome.LOADED}
        for _ in range(2):
            assert await outcomes(line, [run_path(1, 2)]) == {run_path(1, 2): Outcome.LEFT}
    assert bench.states() == {run_path(1, 1): "acknowledged"}


async def test_poison_beside_good_files_is_told_with_its_sqlstate(bench: Bench) -> None:
    """One refused record costs one file; the event carries what the store said."""
    paths = put_runs(bench, 8)
    bench.store.poison = {paths[5]}
    async with at_work(bench.line()) as line:
        result = await outcomes(line, paths)
    assert result == dict.fromkeys(paths, Outcome.LOADED) | {paths[5]: Outcome.QUARANTINED}
    (told,) = bench.named(FileQuarantined)
    assert (told.path, told.reason, told.sqlstate) == (paths[5], "unstorable", "22P05")


@pytest.mark.parametrize(
    ("size_bytes", "column", "place"),
    [(0, "data", "/data/n"), (0, None, "/data/n"), (0, "metadata", "metadata"), (2 * MIB, "data", "data")],
)
async def test_a_refusal_names_its_place(bench: Bench, size_bytes: int, column: str | None, place: str) -> None:
    """The place is a pointer where one is found, else the column; documents that take long are not looked through."""
    body = run_body(1).replace(b'"text": "hello"', b'"n": 1e200000, "text": "' + b"x" * size_bytes + b'"')
    put(bench.root, run_path(1), body)
    bench.rules = replace(bench.rules, max_file_bytes=4 * MIB)
    bench.store.fault = lambda records: PoisonError("overflow", sqlstate="22003", place=column) if records else None
    async with at_work(bench.line()) as line:
        assert await outcomes(line, [run_path(1)]) == {run_path(1): Outcome.QUARANTINED}
    (told,) = bench.named(FileQuarantined)
    assert told.detail == f"Postgres refuses it: overflow (SQLSTATE 22003) at {place}"


# ---- failures


async def test_wrong_surroundings_end_the_line(bench: Bench) -> None:
    """A permanent error comes out of `run`, and whoever waits for a receipt is told when the line is given up."""
    bench.store.fault = lambda _: PermanentError("permission denied for table runs")
    paths = put_runs(bench, 2)
    line = bench.line()
    receipt = await line.offer(paths)
    with pytest.raises(ExceptionGroup) as caught:
        await line.run()
    assert caught.group_contains(PermanentError, match="permission denied")
    assert line.abandon() == 2
    assert await receipt.wait() == dict.fromkeys(paths, Outcome.PENDING)


async def test_an_outage_leaves_the_files_where_they_are(bench: Bench) -> None:
    """While the store is away nothing is read and nothing is lost; afterwards everything goes in."""
    paths = put_runs(bench, 3)
    bench.store.up.clear()
    async with at_work(bench.line()) as line:
        receipt = await line.offer(paths)
        await bench.store.turned_away.wait()
        assert line.backlog == 3
        assert not receipt.outcomes
        bench.store.up.set()
        assert await receipt.wait() == dict.fromkeys(paths, Outcome.LOADED)


async def test_an_outage_between_reading_and_commit_has_no_lines_of_its_own(bench: Bench) -> None:
    """What was read is committed when the store is back; who tells the outage is the store, not each batch."""
    bench.store = store = Holding()
    (path,) = put_runs(bench, 1)
    async with at_work(bench.line()) as line:
        receipt = await line.offer([path])
        await store.reached.wait()
        store.up.clear()
        store.go_on.set()
        await store.turned_away.wait()
        assert not receipt.outcomes
        store.up.set()
        assert await receipt.wait() == {path: Outcome.LOADED}
    assert not bench.named(BatchRetried)


async def test_workers_share_what_waits(bench: Bench) -> None:
    """Several batches are on their way at once, and no path is in two of them."""
    bench.store = store = Holding()
    bench.limit(writers=3, batch_rows=2)
    paths = put_runs(bench, 6)
    held: list[Sequence[str]] = []
    genuine = store.commit

    async def noticing(source: str, records: Any, *args: Any, **kwargs: Any) -> Any:
        held.append([record.path for record in records])
        return await genuine(source, records, *args, **kwargs)

    store.commit = noticing  # type: ignore[method-assign]  # to see three commits wait at once
    async with at_work(bench.line()) as line:
        receipt = await line.offer(paths)
        await until(lambda: len(held) == 3)
        assert sorted(path for batch in held for path in batch) == sorted(paths)
        store.go_on.set()
        await receipt.wait()
    assert len(store.rows) == 6
