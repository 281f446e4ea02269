"""Sweeps over real directories and a real database: what is work, what is a finding, and what could not be checked."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from run_files import DIRECTORY, put, run_body, run_id, run_path
from sweeps import SOURCE, Opening, Source, source
from tracewatchd.edges.folder import Folder, Outline, Reader, UnreadableError
from tracewatchd.edges.survey import Survey
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.ingest.inbox import Receipt
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.findings import FACTS, FileState, Finding, Kind, VerificationResult
from tracewatchd.model.fixes import BY_DEFAULT
from tracewatchd.model.layout import encode_path
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.results import Outcome
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.reconcile.setting import SweepLimits, SweepSetting
from tracewatchd.reconcile.sweep import Sweep
from tracewatchd.store.database import TraceDatabase

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def make_foreign(connection: Connection, number: int) -> None:
    """Let a row say that it came from bytes that no file ever had."""
    await connection.execute("UPDATE runs SET file_sha256 = $1 WHERE run_id = $2", b"\7" * 32, run_id(number))


def found(result: VerificationResult) -> list[tuple[Kind, str | None]]:
    return [(finding.kind, finding.path) for finding in result.findings]


def assert_consistent(result: VerificationResult, **states: int) -> None:
    assert (result.verdict, found(result), result.unchecked) == ("consistent", [], [])
    assert result.states == states


async def delete_run(connection: Connection, number: int) -> None:
    await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(number))


async def swept(
    here: Source,
    *,
    folder: Folder | None = None,
    store: object = None,
    line: object = None,
    repair: bool = True,
    selection: Selection = EVERYTHING,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> VerificationResult:
    """Sweep with something of the test's own in place of what the assembly gives."""
    setting = SweepSetting(
        folder=folder or here.place.folder,
        store=store or here.assembly.database,  # type: ignore[arg-type] # the test's own, where it has one
        line=line or here.line,  # type: ignore[arg-type] # the test's own, where it has one
        limits=SweepLimits(page_rows=1_000, confirm_s=0, grace_s=0, findings_kept=50, max_file_bytes=1 << 20),
        still_quarantined=here.assembly.rules().still_quarantined,
        offload=here.assembly.offload,
        read=here.assembly.offload,
        budget=ByteBudget(1 << 24),
        now=now,
    )
    plan = SweepPlan(fixes=BY_DEFAULT if repair else frozenset(), selection=selection)
    return await Sweep(SOURCE, setting, plan).run()


# ---- work


async def test_new_and_changed_files_are_work_and_no_findings(opened: Opening) -> None:
    """What the ledger does not know as it is now is loaded by the sweep that sees it, and nothing is reported."""
    async with opened() as here:
        here.put_runs(5)
        first = await here.sweep()
        assert_consistent(first, loaded=5)
        assert first.outcomes == {Outcome.LOADED: 5}
        put(here.root, run_path(2), run_body(2, age_days=0, text="changed"))
        put(here.root, run_path(6), run_body(6))
        second = await here.sweep()
        assert_consistent(second, loaded=6)
        assert second.outcomes == {Outcome.UPDATED: 1, Outcome.LOADED: 1}


async def test_a_sweep_over_an_unchanged_tree_reads_and_writes_nothing(
    opened: Opening, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stamps, ledger and versions are compared; no run file is opened and no row is touched."""
    async with opened() as here:
        here.put_runs(30)
        await here.sweep()
        rows = "SELECT xmin::text, ctid FROM runs UNION ALL SELECT xmin::text, ctid FROM ledger ORDER BY 2, 1"
        before = await connection.fetch(rows)
        read: list[str] = []
        monkeypatch.setattr(Reader, "read", lambda _self, path, _limit: read.append(path))
        assert_consistent(await here.sweep(), loaded=30)
        assert read == []
        assert await connection.fetch(rows) == before


async def test_a_touched_file_is_stamped_anew_and_no_finding(opened: Opening, connection: Connection) -> None:
    """Equal bytes under another stamp are acknowledged silently: the row's data stays as it is."""
    async with opened() as here:
        (path,) = here.put_runs(1)
        await here.sweep()
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000))
        result = await here.sweep()
        assert_consistent(result, loaded=1)
        assert result.outcomes == {Outcome.UNCHANGED: 1}
        assert await connection.fetchval("SELECT mtime_ns FROM ledger") == path.stat().st_mtime_ns


async def test_a_row_that_was_deleted_by_hand_is_loaded_again(opened: Opening, connection: Connection) -> None:
    """An orphan's file is read although its stamp is known, and the sweep that did so finds nothing wrong any more."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        await delete_run(connection, 2)
        result = await here.sweep()
        assert_consistent(result, loaded=3)
        assert result.outcomes == {Outcome.LOADED: 1}
        assert await connection.fetchval("SELECT count(*) FROM runs") == 3


async def test_all_rows_deleted_by_hand_come_back(opened: Opening, connection: Connection) -> None:
    """An emptied table is filled from the files by one sweep, whatever the ledger says."""
    async with opened(sweep__page_rows=3) as here:
        here.put_runs(20)
        await here.sweep()
        await connection.execute("TRUNCATE runs")
        assert_consistent(await here.sweep(), loaded=20)
        assert await connection.fetchval("SELECT count(*) FROM runs") == 20


# ---- without repair


async def test_without_repair_differences_are_findings_and_nothing_is_written(
    opened: Opening, connection: Connection
) -> None:
    """Missing, stale and orphaned files are reported with their severity, counted as pending, and left alone."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        put(here.root, run_path(1), run_body(1, age_days=0, text="changed"))
        await delete_run(connection, 2)
        put(here.root, run_path(4), run_body(4))
        result = await here.sweep(repair=False)
        assert result.verdict == "inconsistent"
        assert found(result) == [
            (Kind.ORPHAN, run_path(2)),
            (Kind.STALE, run_path(1)),
            (Kind.MISSING, run_path(4)),
        ]
        assert result.states == {FileState.LOADED: 1, FileState.PENDING: 3}
        assert not result.outcomes
        assert await connection.fetchval("SELECT count(*) FROM runs") == 2
        assert [one.run_id for one in result.findings] == [str(run_id(2)), str(run_id(1)), None]


async def test_young_differences_are_work_in_progress(opened: Opening) -> None:
    """Without repair a file that changed within grace_s is pending and no finding."""
    async with opened(sweep__grace_s=60) as here:
        here.put_runs(2)
        result = await here.sweep(repair=False)
        assert_consistent(result, pending=2)


async def test_files_younger_than_the_sweep_do_not_count(opened: Opening) -> None:
    """A file that arrives while the sweep is under way is pending and no finding, even without any grace."""

    class ArrivingFolder(Folder):
        def survey(self, directory: str, *, read_up_to: int | None = None) -> Survey:
            put(self.root, run_path(2), run_body(2))
            return super().survey(directory, read_up_to=read_up_to)

    async with opened() as here:
        here.put_runs(1)
        await here.sweep()
        result = await swept(here, folder=ArrivingFolder(here.root), repair=False)
        assert_consistent(result, loaded=1, pending=1)


async def test_a_file_from_the_future_is_not_young_for_ever(opened: Opening) -> None:
    """A stamp ahead of our clock does not hide a difference."""
    async with opened() as here:
        here.put_runs(1)
        result = await swept(here, repair=False, now=lambda: datetime.now(UTC) - timedelta(days=1))
        assert found(result) == [(Kind.MISSING, run_path(1))]


# ---- the second look


async def test_what_mended_itself_before_the_second_look_is_no_finding(opened: Opening) -> None:
    """A file that is back at the second look, or differs in another way, is counted as what it is then."""

    class MendingFolder(Folder):
        def survey(self, directory: str, *, read_up_to: int | None = None) -> Survey:
            survey = super().survey(directory, read_up_to=read_up_to)
            (self.root / "aside").rename(self.root / run_path(1))
            return survey

    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        (here.root / run_path(1)).rename(here.root / "aside")
        # Renaming gave it another ctime: it will be read again.
        assert_consistent(await swept(here, folder=MendingFolder(here.root), repair=False), loaded=1, pending=1)


@dataclass
class ChangingStore:
    """The database, in which something happens just before the second look asks the ledger."""

    database: TraceDatabase
    change: Callable[[], Awaitable[object]]

    def __getattr__(self, name: str) -> object:
        return getattr(self.database, name)

    async def ledger_rows(self, wanted: str, paths: Sequence[str]) -> dict[str, LedgerRow]:
        await self.change()
        return await self.database.ledger_rows(wanted, paths)


async def test_a_row_that_is_right_at_the_second_look_is_no_finding(opened: Opening, connection: Connection) -> None:
    """A row that was foreign at the first look and is the file's at the second leaves nothing to report."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        right = await connection.fetchval("SELECT file_sha256 FROM runs WHERE run_id = $1", run_id(1))
        await make_foreign(connection, 1)
        mend = partial(connection.execute, "UPDATE runs SET file_sha256 = $1 WHERE run_id = $2", right, run_id(1))
        result = await swept(here, store=ChangingStore(here.assembly.database, mend))
        assert_consistent(result, loaded=2)


async def test_two_looks_that_differ_confirm_nothing(opened: Opening, connection: Connection) -> None:
    """What is one difference at the first look and another at the second is pending, and left to the next sweep."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        await make_foreign(connection, 1)
        store = ChangingStore(here.assembly.database, partial(delete_run, connection, 1))
        assert_consistent(await swept(here, store=store), loaded=1, pending=1)


async def test_the_second_look_comes_no_sooner_than_confirm_s(opened: Opening, connection: Connection) -> None:
    """A finding takes at least confirm_s to be confirmed; a sweep that doubts nothing does not wait."""
    async with opened(sweep__confirm_s=0.4) as here:
        here.put_runs(2)
        assert (await here.sweep()).took_s < 0.4
        (here.root / run_path(1)).unlink()
        result = await here.sweep()
        assert found(result) == [(Kind.GONE, run_path(1))]
        assert result.took_s >= 0.4


@dataclass
class ForgetfulLine:
    """A line that does nothing and says the same of every path."""

    outcome: Outcome

    async def offer(self, paths: list[str], *, reread: bool = False) -> Receipt:
        receipt = Receipt(paths)
        for path in paths:
            receipt.settle(path, self.outcome)
        return receipt


async def test_what_the_line_could_not_decide_is_looked_at_again(opened: Opening) -> None:
    """Work that comes back pending is a finding if the second look still says so: undecided is not consistent."""
    async with opened() as here:
        here.put_runs(2)
        result = await swept(here, line=ForgetfulLine(Outcome.PENDING))
        assert found(result) == [(Kind.MISSING, run_path(1)), (Kind.MISSING, run_path(2))]
        assert result.states == {FileState.PENDING: 2}
        assert result.outcomes == {Outcome.PENDING: 2}


async def test_what_the_line_could_not_read_is_an_error(opened: Opening) -> None:
    """A file that is closed to the line is unreadable, which is reported; one that vanished has no state."""
    async with opened() as here:
        here.put_runs(1)
        result = await swept(here, line=ForgetfulLine(Outcome.UNREADABLE))
        assert found(result) == [(Kind.UNREADABLE, run_path(1))]
        assert result.states == {FileState.UNREADABLE: 1}
        assert_consistent(await swept(here, line=ForgetfulLine(Outcome.VANISHED)))


# ---- files that are not there


async def test_a_file_without_row_and_a_row_without_file(opened: Opening, connection: Connection) -> None:
    """No file and no row is lost (critical); no file but a row is gone (a warning), and the row stays."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        (here.root / run_path(1)).unlink()
        (here.root / run_path(2)).unlink()
        await delete_run(connection, 2)
        result = await here.sweep()
        assert found(result) == [(Kind.LOST, run_path(2)), (Kind.GONE, run_path(1))]
        assert result.verdict == "inconsistent"
        assert result.states == {FileState.LOADED: 1}
        assert await connection.fetchval("SELECT count(*) FROM runs WHERE run_id = $1", run_id(1)) == 1


async def test_only_gone_files_leave_the_verdict_consistent(opened: Opening) -> None:
    """Gone is a warning: someone pruned files, and the database still holds their runs."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        (here.root / run_path(1)).unlink()
        result = await here.sweep()
        assert (result.verdict, result.counts) == ("consistent", {Kind.GONE: 1})


async def test_a_moved_file_is_explained_by_its_new_place(opened: Opening) -> None:
    """A rename is information: the run's row is held by the file's new path."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        (here.root / run_path(1)).rename(here.root / run_path(1, second=7))
        await here.sweep()
        result = await here.sweep()
        assert found(result) == [(Kind.MOVED, run_path(1))]
        assert result.verdict == "consistent"
        assert result.states == {FileState.LOADED: 2}


async def test_two_copies_that_both_went_away_do_not_explain_each_other(opened: Opening) -> None:
    """Moved needs a live file: when every copy of a run is deleted, each is gone."""
    async with opened() as here:
        copies = [run_path(1), run_path(1, second=7)]
        for path in copies:
            put(here.root, path, run_body(1))
        put(here.root, run_path(2), run_body(2))
        await here.sweep()
        for path in copies:
            (here.root / path).unlink()
        assert found(await here.sweep()) == [(Kind.GONE, path) for path in copies]


async def test_a_copy_that_changed_since_explains_nothing(opened: Opening) -> None:
    """A file at the other path that is no longer what the ledger says holds other bytes: the first file is gone."""
    async with opened() as here:
        put(here.root, run_path(1), run_body(1))
        put(here.root, run_path(1, second=7), run_body(1))
        await here.sweep()
        (here.root / run_path(1)).unlink()
        put(here.root, run_path(1, second=7), b"")
        result = await here.sweep(repair=False)
        assert found(result) == [(Kind.STALE, run_path(1, second=7)), (Kind.GONE, run_path(1))]


async def test_a_file_of_the_same_path_in_another_source_is_another_file(
    opened: Opening, database: str, tmp_path: Path
) -> None:
    """What another root holds is not looked at by this sweep, so it cannot call a file moved."""
    other = tmp_path / "other"
    put(other, run_path(1), run_body(1))
    there = {"watch.roots": [{"path": str(other), "source": "there"}]}
    async with opened() as here, source(other, database, there) as elsewhere:
        here.put_runs(2)
        await here.sweep()
        assert_consistent(await elsewhere.sweep(), loaded=1)
        (here.root / run_path(1)).unlink()
        assert found(await here.sweep()) == [(Kind.GONE, run_path(1))]


async def test_a_removed_day_is_gone(opened: Opening) -> None:
    """A directory that is not there any more is no loss of access: each of its files is gone."""
    async with opened() as here:
        here.put_runs(120)
        put(here.root, "bot/2026-11-21/a.json", run_body(500))
        await here.sweep()
        shutil.rmtree(here.root / DIRECTORY)
        result = await here.sweep()
        assert result.counts == {Kind.GONE: 120}
        assert result.unchecked == []
        assert result.states == {FileState.LOADED: 1}


@pytest.mark.parametrize(
    ("files", "left", "checked"), [(199, 99, False), (200, 100, True), (100, 1, True), (101, 1, False)]
)
async def test_a_directory_that_lost_most_of_its_files_was_not_checked(
    opened: Opening, files: int, left: int, *, checked: bool
) -> None:
    """Over half and at least 100 files missing at once is a mount or a mistake, and never reported as gone."""
    async with opened(sweep__page_rows=30) as here:
        paths = here.put_runs(files)
        await here.sweep()
        for path in paths[left:]:
            path.unlink()
        result = await here.sweep()
        assert result.counts == ({Kind.GONE: files - left} if checked else {})
        assert result.verdict == ("consistent" if checked else "not_checked")
        assert result.unchecked == (
            [] if checked else [f"{DIRECTORY}: {files - left} of {files} files are missing from it at once"]
        )
        assert result.states == {FileState.LOADED: left}


async def test_files_that_moved_to_another_day_are_checked(opened: Opening) -> None:
    """Files that have moved are not missing, however many they are."""
    async with opened() as here:
        paths = here.put_runs(130)
        await here.sweep()
        day = here.root / "bot" / "2026-11-21"
        day.mkdir()
        for path in paths[1:]:
            path.rename(day / path.name)
        await here.sweep()
        result = await here.sweep()
        assert result.counts == {Kind.MOVED: 129}
        assert result.unchecked == []
        assert result.states == {FileState.LOADED: 130}


async def test_a_missing_root_was_not_checked(opened: Opening) -> None:
    """Nothing is said of any file while the root is not there."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        here.root.rename(here.root.with_name("away"))
        result = await here.sweep()
        assert (result.verdict, found(result), result.files) == ("not_checked", [], 0)
        assert result.unchecked == [f"{here.root}: No such file or directory"]


async def test_an_empty_root_was_not_checked(opened: Opening) -> None:
    """A mount point without its mount looks empty: nothing in it is gone."""
    async with opened() as here:
        assert_consistent(await here.sweep())
        here.put_runs(3)
        await here.sweep()
        here.root.rename(here.root.with_name("away"))
        here.root.mkdir()
        result = await here.sweep()
        assert (result.verdict, found(result)) == ("not_checked", [])
        assert result.unchecked == [f"{here.root}: empty, but the ledger knows files in it"]


class VanishingFolder(Folder):
    """A folder whose root becomes another directory as soon as it has been outlined."""

    def __init__(self, root: Path, *, replaced: bool) -> None:
        super().__init__(root)
        self._replaced = replaced

    def outline(self) -> Outline:
        outline = super().outline()
        self.root.rename(self.root.with_name("away"))
        if self._replaced:
            put(self.root, "other/2026-11-20/a.json", run_body(7))
        return outline


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_root_that_is_exchanged_during_the_sweep_was_not_checked(opened: Opening, *, replaced: bool) -> None:
    """When the root is unmounted under a sweep, none of its files is called gone."""
    async with opened() as here:
        here.put_runs(3)
        put(here.root, "bot/2026-11-21/a.json", run_body(4))
        await here.sweep()
        result = await swept(here, folder=VanishingFolder(here.root, replaced=replaced))
        assert Kind.GONE not in result.counts
        assert result.unchecked
        assert result.verdict != "consistent"


async def test_a_root_that_is_away_at_the_second_look_was_not_checked(opened: Opening) -> None:
    """A file that was missing at the first look is not called gone when the whole root is away at the second."""

    class LeavingFolder(Folder):
        def survey(self, directory: str, *, read_up_to: int | None = None) -> Survey:
            survey = super().survey(directory, read_up_to=read_up_to)
            self.root.rename(self.root.with_name("away"))
            return survey

    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        (here.root / run_path(1)).unlink()
        result = await swept(here, folder=LeavingFolder(here.root))
        assert (result.verdict, found(result)) == ("not_checked", [])
        assert result.unchecked == [f"{here.root}: another directory, or none, since the sweep began"]


# ---- rows that are not the file's


async def test_a_row_with_bytes_that_no_file_holds_is_a_mismatch(opened: Opening, connection: Connection) -> None:
    """A foreign write to a row is reported as critical and not overwritten."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        await make_foreign(connection, 1)
        result = await here.sweep()
        assert found(result) == [(Kind.MISMATCH, run_path(1))]
        assert result.findings[0] == Finding(Kind.MISMATCH, run_path(1), FACTS[Kind.MISMATCH].meaning, str(run_id(1)))
        assert result.states == {FileState.LOADED: 1, FileState.PENDING: 1}
        assert await connection.fetchval("SELECT file_sha256 FROM runs WHERE run_id = $1", run_id(1)) == b"\7" * 32


async def test_an_older_file_of_a_run_is_superseded_and_no_finding(opened: Opening) -> None:
    """Two files of one run are one loaded and one superseded, sweep after sweep."""
    async with opened() as here:
        put(here.root, run_path(1), run_body(1, age_days=9))
        put(here.root, run_path(1, second=7), run_body(1, age_days=1, text="newer"))
        for _ in range(2):
            assert_consistent(await here.sweep(), loaded=1, superseded=1)


async def test_a_run_superseded_from_another_source_is_explained(
    opened: Opening, database: str, tmp_path: Path
) -> None:
    """The newer version may come from another root: any ledger row that knows its bytes explains it."""
    other = tmp_path / "other"
    put(other, run_path(1), run_body(1, age_days=0, text="newer"))
    there = {"watch.roots": [{"path": str(other), "source": "there"}]}
    async with opened() as here, source(other, database, there) as elsewhere:
        here.put_runs(1)
        await here.sweep()
        await elsewhere.sweep()
        assert_consistent(await here.sweep(), superseded=1)


# ---- quarantine


async def test_a_quarantined_file_is_a_standing_warning(opened: Opening) -> None:
    """It is counted at each sweep, read once, and does not make the verdict inconsistent."""
    async with opened() as here:
        put(here.root, run_path(1), b"[]")
        here.put_runs(1)
        put(here.root, run_path(2), b"[]")
        first, second = await here.sweep(), await here.sweep()
        for result in (first, second):
            assert (result.verdict, found(result)) == ("consistent", [(Kind.QUARANTINED, run_path(2))])
            assert result.states == {FileState.LOADED: 1, FileState.QUARANTINED: 1}
        assert first.outcomes == {Outcome.LOADED: 1, Outcome.QUARANTINED: 1}
        assert not second.outcomes


async def test_a_quarantined_file_that_went_away_is_gone(opened: Opening) -> None:
    """What was never loaded and is not there any more is told once, as a warning, and is no loss."""
    async with opened() as here:
        here.put_runs(1)
        bad = put(here.root, run_path(2), b"[]")
        await here.sweep()
        bad.unlink()
        assert found(await here.sweep()) == [(Kind.GONE, run_path(2))]
        assert_consistent(await here.sweep(), loaded=1)


async def test_a_quarantine_whose_cause_is_gone_is_offered_again(opened: Opening) -> None:
    """When the setting that refused a file changes, the next sweep loads it."""
    async with opened(ingest__max_file_bytes=1_000) as here:
        put(here.root, run_path(1), run_body(1, size_bytes=2_000))
        assert (await here.sweep()).states == {FileState.QUARANTINED: 1}
        assert (await here.sweep()).outcomes == {}
    async with opened() as here:
        assert_consistent(await here.sweep(), loaded=1)


async def test_a_mended_file_leaves_quarantine(opened: Opening) -> None:
    """A quarantined file that is written anew is loaded by the next sweep."""
    async with opened() as here:
        put(here.root, run_path(1), b"[]")
        await here.sweep()
        put(here.root, run_path(1), run_body(1))
        assert_consistent(await here.sweep(), loaded=1)


# ---- what cannot be read


class ClosedFolder(Folder):
    """A folder of which some places answer "Permission denied", as they would to anyone but root."""

    def __init__(self, root: Path, *closed: str) -> None:
        super().__init__(root)
        self._closed = closed

    def outline(self) -> Outline:
        found = super().outline()
        for project in self._closed:
            if "/" not in project:
                found.unreadable[project] = "Permission denied"
                found.directories = [one for one in found.directories if not one.startswith(f"{project}/")]
        return found

    def survey(self, directory: str, *, read_up_to: int | None = None) -> Survey:
        if directory in self._closed:
            raise UnreadableError(directory, PermissionError(13, "Permission denied"))
        survey = super().survey(directory, read_up_to=read_up_to)
        for path in self._closed:
            if path in survey.paths():
                at = survey.names.index(path.rpartition("/")[2])
                del survey.names[at], survey.numbers[3 * at : 3 * at + 3], survey.hashes[at : at + 1]
                survey.fingerprint = None
                survey.unreadable[path] = "Permission denied"
        return survey


async def test_an_unreadable_directory_is_reported_and_its_files_are_not_gone(opened: Opening) -> None:
    """A closed day is an error and not checked; the rest of the root is compared as ever."""
    async with opened() as here:
        here.put_runs(3)
        put(here.root, "bot/2026-11-21/a.json", run_body(9))
        await here.sweep()
        result = await swept(here, folder=ClosedFolder(here.root, DIRECTORY))
        assert found(result) == [(Kind.UNREADABLE, DIRECTORY)]
        assert result.findings[0].detail == "Permission denied"
        assert result.unchecked == [f"{DIRECTORY}: Permission denied"]
        assert result.states == {FileState.LOADED: 1}
        assert result.verdict == "inconsistent"
        assert_consistent(await here.sweep(), loaded=4)


async def test_an_unreadable_project_is_reported_once_for_all_its_days(opened: Opening) -> None:
    """A closed project folder hides its days: none of their files is gone."""
    async with opened() as here:
        here.put_runs(3)
        put(here.root, "other/2026-11-21/a.json", run_body(9))
        await here.sweep()
        closed = ClosedFolder(here.root, "bot")
        result = await swept(here, folder=closed)
        assert found(result) == [(Kind.UNREADABLE, "bot")]
        assert result.states == {FileState.LOADED: 1}


async def test_an_unreadable_file_has_a_state_of_its_own(opened: Opening) -> None:
    """A file that cannot even be looked at is unreadable: neither gone nor loaded."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        result = await swept(here, folder=ClosedFolder(here.root, run_path(2)))
        assert found(result) == [(Kind.UNREADABLE, run_path(2))]
        assert result.states == {FileState.LOADED: 2, FileState.UNREADABLE: 1}
        assert result.verdict == "inconsistent"


async def test_a_file_that_is_closed_between_the_looks_is_unreadable(opened: Opening) -> None:
    """The second look may be refused; the file then is unreadable and nothing else."""

    class ClosedReader(Reader):
        def stamp(self, path: str) -> None:
            raise UnreadableError(path, PermissionError(13, "Permission denied"))

    class LaterClosedFolder(Folder):
        def reader(self) -> Reader:
            return ClosedReader(self.root) if self.listed else super().reader()

        listed = False

        def survey(self, directory: str, *, read_up_to: int | None = None) -> Survey:
            survey = super().survey(directory, read_up_to=read_up_to)
            self.listed = True
            return survey

    async with opened() as here:
        here.put_runs(1)
        result = await swept(here, folder=LaterClosedFolder(here.root), repair=False)
        assert found(result) == [(Kind.UNREADABLE, run_path(1))]
        assert result.states == {FileState.UNREADABLE: 1}


# ---- which directories


async def test_a_selection_limits_what_is_compared(opened: Opening) -> None:
    """Only the chosen project-days are loaded, compared and counted."""
    async with opened() as here:
        for number, directory in enumerate(["bot/2026-11-20", "bot/2026-11-21", "other/2026-11-20"], 1):
            put(here.root, f"{directory}/{number}.json", run_body(number))
        day = date(2026, 11, 20)
        assert_consistent(await here.sweep(selection=Selection("bot", day, day)), loaded=1)
        assert_consistent(await here.sweep(selection=Selection(None, day, day)), loaded=2)
        assert_consistent(await here.sweep(selection=Selection("bot")), loaded=2)
        closed = ClosedFolder(here.root, "other")
        assert_consistent(await swept(here, folder=closed, selection=Selection("bot")), loaded=2)


ODD_FOLDERS = [b"a", b"a-b", b"a.b", b"a0", b"B", "\u00e9".encode(), "\U0001f600".encode(), b"a%b", b"a b", b"\xff"]


async def test_pages_and_directories_of_any_order_fit_together(opened: Opening) -> None:
    """Names that byte order, case and encoding sort differently are each compared once, on pages of three rows."""
    names = [
        b"%d-%s.json" % (number, odd) for number in range(2) for odd in (b"a", b"A", b"a-", b"\xff", b"%", b"\xc3\xa9")
    ]
    async with opened(sweep__page_rows=3) as here:
        numbers = iter(range(1, 10_000))
        paths = []
        for folder in ODD_FOLDERS:
            for name in names:
                path = folder + b"/2026-11-20/" + name
                put(here.root, os.fsdecode(path), run_body(next(numbers)))
                paths.append(encode_path(path))
        first = await here.sweep()
        assert_consistent(first, loaded=len(paths))
        assert first.directories == len(ODD_FOLDERS)
        second = await here.sweep()
        assert_consistent(second, loaded=len(paths))
        assert not second.outcomes
        shutil.rmtree(here.root / "a")
        shutil.rmtree(here.root / "B")
        third = await here.sweep()
        gone = sorted(path for path in paths if path.startswith(("a/", "B/")))
        assert found(third) == [(Kind.GONE, path) for path in gone]
        assert third.directories == len(ODD_FOLDERS) - 2


# ---- counting


async def test_states_add_up_to_the_number_of_run_files(opened: Opening, connection: Connection) -> None:
    """Whatever befalls them, each run file is in exactly one state, and everything else is counted as ignored."""
    async with opened() as here:
        here.put_runs(12)
        put(here.root, run_path(1, second=9), run_body(1, age_days=9))
        put(here.root, run_path(13), b"[]")
        put(here.root, f"{DIRECTORY}/_summary.json", b"{}")
        put(here.root, "bot/stray.json", b"{}")
        await here.sweep()
        put(here.root, run_path(2), run_body(2, age_days=0, text="changed"))
        await delete_run(connection, 3)
        (here.root / run_path(4)).unlink()
        await make_foreign(connection, 5)
        put(here.root, run_path(14), run_body(14))
        before, after = await here.sweep(repair=False), await here.sweep()
        for result in (before, after):
            assert (result.files, result.ignored) == (14, 2)
            assert result.counts[Kind.MISMATCH] == result.counts[Kind.QUARANTINED] == 1
        assert [result.counts[Kind.GONE] for result in (before, after)] == [1, 0]  # told once
        assert before.states == Counter(loaded=8, superseded=1, quarantined=1, pending=4)
        assert after.states == Counter(loaded=11, superseded=1, quarantined=1, pending=1)


async def test_findings_beyond_the_limit_are_counted(opened: Opening) -> None:
    """findings_told bounds what is kept one by one; the counts know all."""
    async with opened(sweep__findings_told=4) as here:
        here.put_runs(30)
        result = await here.sweep(repair=False)
        assert found(result) == [(Kind.MISSING, run_path(number)) for number in range(1, 5)]
        assert result.counts == {Kind.MISSING: 30}
    async with opened(sweep__findings_told=0) as here:
        result = await here.sweep(repair=False)
        assert result.findings == []
        assert result.counts == {Kind.MISSING: 30}


async def test_the_worst_findings_are_kept_and_quarantined_files_hide_none(
    opened: Opening, connection: Connection
) -> None:
    """Many standing quarantined files leave room for what is worse, and for other warnings."""
    async with opened(sweep__findings_told=3) as here:
        here.put_runs(4)
        for number in range(900, 920):
            put(here.root, f"aaa/2026-11-20/{number}.json", b"[]")
        await here.sweep()
        (here.root / run_path(1)).unlink()
        (here.root / run_path(2)).unlink()
        await delete_run(connection, 2)
        await make_foreign(connection, 3)
        result = await here.sweep()
        assert found(result) == [(Kind.LOST, run_path(2)), (Kind.MISMATCH, run_path(3)), (Kind.GONE, run_path(1))]
        assert result.counts[Kind.QUARANTINED] == 20


async def test_one_sweep_of_a_source_at_a_time(opened: Opening, connection: Connection) -> None:
    """A source that another process sweeps is not checked after lock_wait_s, and the error says who is busy."""
    async with opened(database__lock_wait_s=0) as here:
        await connection.execute(
            "INSERT INTO leases VALUES ('sweep:here', 'somebody:1', now() + make_interval(mins => 1))"
        )
        with pytest.raises(
            NotCheckedError, match="busy: somebody:1 has been sweeping here for more than 0 s"
        ) as caught:
            await here.sweep()
        assert "lock_wait_s" in caught.value.hint
        await connection.execute("UPDATE leases SET expires_at = now() - make_interval(secs => 1)")
        assert_consistent(await here.sweep())
        assert await connection.fetchval("SELECT count(*) FROM leases") == 0


# ---- whatever happened before

RUNS, VERSIONS = 4, 3
_NUMBERS, _SECONDS = st.integers(1, RUNS), st.integers(0, 1)
CHANGES = st.one_of(
    st.tuples(st.just("write"), _NUMBERS, _SECONDS, st.integers(1, VERSIONS)),
    st.tuples(st.just("spoil"), _NUMBERS, _SECONDS, st.just(0)),
    st.tuples(st.just("delete"), _NUMBERS, _SECONDS, st.just(0)),
    st.tuples(st.just("rename"), _NUMBERS, _SECONDS, st.just(0)),
    st.tuples(st.just("delete row"), _NUMBERS, st.just(0), st.just(0)),
    st.tuples(st.just("sweep"), st.just(0), st.just(0), st.just(0)),
)


async def happen(here: Source, connection: Connection, change: tuple[str, int, int, int]) -> None:
    what, number, second, age_days = change
    path = here.root / run_path(number, second)
    if what == "write":
        put(here.root, run_path(number, second), run_body(number, age_days=age_days))
    elif what == "spoil":
        put(here.root, run_path(number, second), b"[]")
    elif what == "delete":
        path.unlink(missing_ok=True)
    elif what == "rename" and path.exists():
        path.rename(here.root / run_path(number, 1 - second))
    elif what == "delete row":
        await delete_run(connection, number)
    elif what == "sweep":
        await here.sweep()


def newest_on_disk(root: Path) -> dict[UUID, bytes]:
    """The bytes of the greatest version of each run that has a good file."""
    newest: dict[UUID, bytes] = {}
    for number in range(1, RUNS + 1):
        bodies = [path.read_bytes() for path in root.glob(f"*/*/{run_id(number)}_*.json")]
        for age_days in range(VERSIONS, 0, -1):
            if (body := run_body(number, age_days=age_days)) in bodies:
                newest[run_id(number)] = body
    return newest


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(CHANGES, min_size=1, max_size=14))
async def test_after_a_sweep_files_and_rows_agree_whatever_happened(
    opened: Opening, connection: Connection, root: Path, changes: list[tuple[str, int, int, int]]
) -> None:
    """After any changes one sweep leaves no file pending and no row older than a file; a second finds no work."""
    await connection.execute("TRUNCATE runs, ledger")
    shutil.rmtree(root)
    put(root, "keep/2026-11-20/a.json", run_body(99))
    async with opened(sweep__page_rows=2) as here:
        for change in changes:
            await happen(here, connection, change)
        first, second = await here.sweep(), await here.sweep()
    files = len(list(root.glob("*/*/*.json")))
    for result in (first, second):
        assert result.files == files
        assert result.states.keys() <= {FileState.LOADED, FileState.SUPERSEDED, FileState.QUARANTINED}
        assert result.counts.keys() <= {Kind.LOST, Kind.GONE, Kind.MOVED, Kind.QUARANTINED}
        assert not result.unchecked
    assert not second.outcomes
    rows = {row["run_id"]: row for row in await connection.fetch("SELECT run_id, extracted_at, file_sha256 FROM runs")}
    for run, body in newest_on_disk(root).items():
        extracted_at = datetime.fromisoformat(json.loads(body)["metadata"]["extracted_at"])
        assert rows[run]["extracted_at"] >= extracted_at
        if rows[run]["extracted_at"] == extracted_at:
            assert rows[run]["file_sha256"] == sha256(body).digest()
