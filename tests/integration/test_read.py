"""What one worker thread does for one batch: which files it opens, and into which field each path goes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lines import MIB, RULES
from run_files import DIRECTORY, put, run_body, run_id, run_path
from tracewatchd.edges.folder import Folder
from tracewatchd.ingest.inbox import Entry
from tracewatchd.ingest.read import ReadBatch, ReadRules, read_batch
from tracewatchd.model.decode import CLEAN_COST, SANITIZE_COST
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import RULES as RULES_NUMBER
from tracewatchd.model.record import Reason
from tracewatchd.model.results import Outcome
from tracewatchd.model.stamp import Stamp

SIZE = 1_000


@dataclass
class Reads:
    """How often each file was opened and how many bytes were read, by name."""

    opens: Counter[str]
    sizes: Counter[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Counts what this process opens and reads from now on, files of runs alone."""
    counted = Reads(Counter(), Counter())
    opening, reading = os.open, os.read
    names: dict[int, str] = {}

    def opened(name: Any, *args: Any, **kwargs: Any) -> int:
        descriptor = opening(name, *args, **kwargs)
        names[descriptor] = os.fsdecode(name)
        counted.opens[os.fsdecode(name)] += 1
        return descriptor

    def read(descriptor: int, size: int) -> bytes:
        content = reading(descriptor, size)
        counted.sizes[names.get(descriptor, "")] += len(content)
        return content

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "read", read)
    return counted


def lay(root: Path, count: int, *, size_bytes: int = SIZE) -> list[Entry]:
    for number in range(count):
        put(root, run_path(number), run_body(number, size_bytes=size_bytes))
    return [Entry(run_path(number)) for number in range(count)]


def batch_of(
    root: Path,
    entries: list[Entry],
    *rows: LedgerRow,
    rules: ReadRules = RULES,
    share_bytes: int = MIB,
) -> ReadBatch:
    return read_batch(Folder(root), entries, {row.path: row for row in rows}, rules, share_bytes)


def known(root: Path, number: int, **changes: Any) -> LedgerRow:
    """The ledger row of a file that was loaded as it is now."""
    place = root / run_path(number)
    row = LedgerRow(
        path=run_path(number),
        stamp=Stamp.of(place.stat()),
        state="acknowledged",
        file_sha256=sha256(place.read_bytes()).digest(),
        run_id=run_id(number),
        reason=None,
        detail=None,
        setting=None,
        rules=RULES_NUMBER,
    )
    return replace(row, **changes)


def quarantined(root: Path, number: int, **changes: Any) -> LedgerRow:
    return known(root, number, **{"state": "quarantined", "reason": Reason.UNSTORABLE, "detail": "refused"} | changes)


def test_each_file_is_opened_once_and_its_bytes_are_read_once(tmp_path: Path, reads: Reads) -> None:
    """Whatever is decided about a file is decided on one read of it."""
    entries = lay(tmp_path, 20)
    reads.opens.clear()
    batch = batch_of(tmp_path, entries)
    assert [record.path for record in batch.records] == [entry.path for entry in entries]
    names = [Path(entry.path).name for entry in entries]
    assert [reads.opens[name] for name in names] == [1] * 20
    assert [reads.sizes[name] for name in names] == [SIZE] * 20
    assert batch.size_bytes == sum(record.size_bytes for record in batch.records)


def test_known_files_are_not_opened(tmp_path: Path, reads: Reads) -> None:
    """Where the ledger has the stamp, looking is enough."""
    entries = lay(tmp_path, 3)
    rows = [known(tmp_path, number) for number in range(3)]
    reads.opens.clear()
    batch = batch_of(tmp_path, entries, *rows)
    assert batch.outcomes == dict.fromkeys((entry.path for entry in entries), Outcome.ALREADY_LOADED)
    assert not [name for name in reads.opens if name.endswith(".json")]


@pytest.mark.parametrize("field", Stamp._fields)
def test_any_difference_of_the_stamp_is_a_reason_to_read(tmp_path: Path, field: str) -> None:
    """Size, mtime and ctime are compared for equality, not for order: an older file is read like a newer one."""
    entries = lay(tmp_path, 1)
    row = known(tmp_path, 0)
    for by in (-1, 1):
        changed = replace(row, stamp=row.stamp._replace(**{field: getattr(row.stamp, field) + by}))
        assert len(batch_of(tmp_path, entries, changed).records) == 1


def test_a_reread_reads_what_is_known(tmp_path: Path) -> None:
    """Who asks for that wants the row written again, equal bytes or not."""
    lay(tmp_path, 1)
    batch = batch_of(tmp_path, [Entry(run_path(0), reread=True, recheck=True)], known(tmp_path, 0))
    assert len(batch.records) == 1


def test_a_recheck_believes_equal_bytes(tmp_path: Path, reads: Reads) -> None:
    """A stamp in doubt costs one read, and a write only where the bytes are others than those of the ledger."""
    lay(tmp_path, 2)
    doubtful = [Entry(run_path(number), recheck=True) for number in range(2)]
    rows = [known(tmp_path, 0), known(tmp_path, 1, file_sha256=b"\0" * 32)]
    reads.opens.clear()
    batch = batch_of(tmp_path, doubtful, *rows)
    assert batch.outcomes == {run_path(0): Outcome.ALREADY_LOADED}
    assert [record.path for record in batch.records] == [run_path(1)]
    assert reads.opens[Path(run_path(0)).name] == 1


def test_a_recheck_of_a_quarantined_file_asks_whether_its_cause_holds(tmp_path: Path) -> None:
    """Equal bytes stay in quarantine under the same rules, and are tried again under others."""
    lay(tmp_path, 1)
    doubtful = [Entry(run_path(0), recheck=True)]
    assert batch_of(tmp_path, doubtful, quarantined(tmp_path, 0)).outcomes == {run_path(0): Outcome.ALREADY_QUARANTINED}
    assert len(batch_of(tmp_path, doubtful, quarantined(tmp_path, 0, rules=0)).records) == 1


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"setting": f"max_file_bytes={RULES.max_file_bytes}"}, True),
        ({"setting": "sanitize=replace"}, True),
        ({"setting": "max_file_bytes=1"}, False),
        ({"setting": "sanitize=reject"}, False),
        ({"rules": RULES_NUMBER - 1}, False),
        ({"rules": RULES_NUMBER + 1}, False),
    ],
)
def test_quarantine_lasts_as_long_as_its_cause(tmp_path: Path, changes: dict[str, Any], holds: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A quarantined file is offered again when the rules or the setting that caused it change, and not before."""
    entries = lay(tmp_path, 1)
    row = quarantined(tmp_path, 0, **changes)
    assert RULES.still_quarantined(row) is holds
    batch = batch_of(tmp_path, entries, row)
    assert (batch.outcomes == {run_path(0): Outcome.ALREADY_QUARANTINED}) is holds
    assert (len(batch.records) == 1) is not holds


def test_sanitising_may_be_refused(tmp_path: Path) -> None:
    """With ``sanitize="reject"`` a run that would have to be changed is quarantined, and names the setting."""
    put(tmp_path, run_path(0), run_body(0).replace(b"hello", rb"a\u0000b"))
    rules = replace(RULES, sanitize="reject")
    (rejection,) = batch_of(tmp_path, [Entry(run_path(0))], rules=rules).rejections
    assert (rejection.reason, rejection.setting) == (Reason.NEEDS_SANITIZING, "sanitize=reject")
    (record,) = batch_of(tmp_path, [Entry(run_path(0))]).records
    assert record.sanitized == ("/data/text",)


def test_reading_stops_at_the_bytes_of_a_batch(tmp_path: Path, reads: Reads) -> None:
    """The batch holds the file that reached the limit; the rest is postponed, unopened, in order."""
    entries = lay(tmp_path, 5)
    reads.opens.clear()
    batch = batch_of(tmp_path, entries, rules=replace(RULES, batch_bytes=2 * SIZE - 1))
    assert len(batch.records) == 2
    assert batch.postponed == entries[2:]
    assert batch.too_costly is None
    assert len([name for name in reads.opens if name.endswith(".json")]) == 2


def test_known_files_behind_a_full_batch_wait_with_it(tmp_path: Path) -> None:
    """Order is kept: what stands behind the file that had no room is in the next batch."""
    entries = lay(tmp_path, 3)
    rules = replace(RULES, batch_bytes=SIZE)
    batch = batch_of(tmp_path, entries, known(tmp_path, 2), rules=rules)
    assert batch.postponed == entries[1:]
    assert not batch.outcomes


def test_the_share_bounds_what_is_read_at_once(tmp_path: Path) -> None:
    """A file that does not fit into what is left of the share waits for the next batch."""
    entries = lay(tmp_path, 5)
    batch = batch_of(tmp_path, entries, share_bytes=3 * SIZE * CLEAN_COST)
    assert (len(batch.records), batch.postponed, batch.too_costly) == (3, entries[3:], None)


def test_a_file_larger_than_the_share_is_handed_back_with_its_cost(tmp_path: Path, reads: Reads) -> None:
    """It is not opened before it has been granted what it costs; its batch mates are postponed."""
    entries = lay(tmp_path, 3)
    reads.opens.clear()
    batch = batch_of(tmp_path, entries, share_bytes=SIZE * CLEAN_COST - 1)
    assert batch.too_costly == (entries[0], SIZE * CLEAN_COST)
    assert batch.postponed == entries[1:]
    assert not [name for name in reads.opens if name.endswith(".json")]
    alone = batch_of(tmp_path, entries[:1], share_bytes=SIZE * CLEAN_COST)
    assert len(alone.records) == 1


def test_a_file_that_must_be_sanitised_costs_more(tmp_path: Path) -> None:
    """It fits as a clean file, turns out to be none, and is handed back with its real cost."""
    body = run_body(0, size_bytes=SIZE).replace(b"hello", rb"a\u0000b")
    put(tmp_path, run_path(0), body)
    entry = Entry(run_path(0))
    batch = batch_of(tmp_path, [entry], share_bytes=len(body) * SANITIZE_COST - 1)
    assert batch.too_costly == (entry, len(body) * SANITIZE_COST)
    assert len(batch_of(tmp_path, [entry], share_bytes=len(body) * SANITIZE_COST).records) == 1


def test_incomplete_files_are_told_apart_from_broken_ones(tmp_path: Path) -> None:
    """Empty and truncated files may still be written; other faults are not mended by more bytes."""
    bodies = [b"", run_body(1)[:50], b"\xff", b"{]", b"[]", b'{"id": "x"}']
    for number, body in enumerate(bodies):
        put(tmp_path, run_path(number), body)
    batch = batch_of(tmp_path, [Entry(run_path(number)) for number in range(6)])
    assert [(each.entry.path, each.rejection and each.rejection.reason) for each in batch.unsettled] == [
        (run_path(0), Reason.EMPTY),
        (run_path(1), Reason.TRUNCATED),
    ]
    assert [rejection.reason for rejection in batch.rejections] == [
        Reason.INVALID_UTF8,
        Reason.INVALID_JSON,
        Reason.UNSUPPORTED_SHAPE,
        Reason.BAD_RUN_ID,
    ]


def test_a_file_that_changes_while_it_is_read_is_unsettled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete JSON or not: what was read may be half of one version and half of the other."""
    entries = lay(tmp_path, 1)
    genuine = os.read

    def meddled(descriptor: int, size: int) -> bytes:
        monkeypatch.undo()
        content = genuine(descriptor, size)
        put(tmp_path, run_path(0), run_body(0, text="newer"))
        return content

    monkeypatch.setattr(os, "read", meddled)
    (unsettled,) = batch_of(tmp_path, entries).unsettled
    assert unsettled.rejection is None
    assert unsettled.entry is entries[0]


def test_a_file_deleted_between_looking_and_opening_has_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deletion between hint and read is an outcome."""
    entries = lay(tmp_path, 2)
    genuine = os.stat

    def meddled(name: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        status = genuine(name, *args, **kwargs)
        if name == Path(run_path(0)).name.encode():
            (tmp_path / run_path(0)).unlink()
        return status

    monkeypatch.setattr(os, "stat", meddled)
    batch = batch_of(tmp_path, entries)
    assert batch.outcomes == {run_path(0): Outcome.VANISHED}
    assert [record.path for record in batch.records] == [run_path(1)]


def test_one_unreadable_file_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch mates are read all the same."""
    entries = lay(tmp_path, 3)
    genuine = os.open

    def guarded(name: Any, *args: Any, **kwargs: Any) -> int:
        if name == Path(run_path(1)).name.encode():
            raise PermissionError(13, "Permission denied")
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)
    batch = batch_of(tmp_path, entries)
    assert batch.unreadable == {run_path(1): "Permission denied"}
    assert [record.path for record in batch.records] == [run_path(0), run_path(2)]


KINDS = {
    "good": run_body(1, size_bytes=300),
    "large": run_body(1, size_bytes=5_000),
    "too large": b" " * 9_000,
    "sanitised": run_body(1).replace(b"hello", rb"a\u0000b"),
    "half": run_body(1)[:60],
    "empty": b"",
    "broken": b"{]",
    "foreign": b"[]",
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from([*KINDS, "gone"]), max_size=8),
    batch_bytes=st.integers(1, 8_000),
    share_bytes=st.integers(0, 40_000),
)
def test_every_path_is_in_exactly_one_field(
    tmp_path: Path, kinds: list[str], batch_bytes: int, share_bytes: int
) -> None:
    """Whatever the files and the limits are, no path is lost and none is dealt with twice; something always goes on."""
    entries = [Entry(f"{DIRECTORY}/{position}.json") for position in range(len(kinds))]
    for entry, kind in zip(entries, kinds, strict=True):
        (tmp_path / entry.path).unlink(missing_ok=True)
        if kind != "gone":
            put(tmp_path, entry.path, KINDS[kind])
    rules = replace(RULES, max_file_bytes=8_000, batch_bytes=batch_bytes)
    batch = batch_of(tmp_path, entries, rules=rules, share_bytes=share_bytes)
    assert sorted(paths_in(batch)) == [entry.path for entry in entries]
    assert len(batch.postponed) < max(1, len(entries))


def paths_in(batch: ReadBatch) -> Iterator[str]:
    yield from (record.path for record in batch.records)
    yield from (rejection.path for rejection in batch.rejections)
    yield from batch.outcomes
    yield from batch.unreadable
    yield from (unsettled.entry.path for unsettled in batch.unsettled)
    yield from (entry.path for entry in batch.postponed)
    if batch.too_costly:
        yield batch.too_costly[0].path
