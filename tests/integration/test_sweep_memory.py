"""What sweeps remember from one to the next: the root, what was told as gone, and when a day was verified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random
from typing import TypeAlias

import asyncpg
import pytest

from run_files import DIRECTORY, put, run_body, run_id, run_path
from sweeps import SOURCE, Opening
from tracewatchd.model.findings import Depth, Kind, VerificationResult
from tracewatchd.model.fixes import BY_DEFAULT
from tracewatchd.model.selection import Selection
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.store.database import TraceDatabase

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEPTHS: tuple[Depth, ...] = ("quick", "full", "deep")


def found(result: VerificationResult) -> list[tuple[Kind, str | None]]:
    return [(finding.kind, finding.path) for finding in result.findings]


def put_days(root: Path, project: str, days: int, *, files: int = 1) -> list[str]:
    """Files of their own on the first days of a month, and the days' directories."""
    directories = [f"{project}/2026-11-{day:02d}" for day in range(1, days + 1)]
    for number, directory in enumerate(directories):
        for file in range(files):
            put(
                root,
                f"{directory}/{project}-{file}.json",
                run_body(Random(f"{project} {number} {file}").getrandbits(30)),
            )
    return directories


# ---- the root


async def test_another_root_in_its_place_was_not_checked(opened: Opening, root: Path) -> None:
    """A root that is not the directory it was, and lacks most days that are known, holds nothing that may be loaded."""
    async with opened() as here:
        await here.assembly.claim([here.place])
        put_days(root, "bot", 5)
        assert (await here.sweep()).verdict == "consistent"
    root.rename(root.with_name("away"))
    put_days(root, "bot", 2)
    put(root, "new/2026-11-01/a.json", run_body(77))
    async with opened() as here:
        for _ in range(2):
            result = await here.sweep()
            assert (result.verdict, found(result), result.files) == ("not_checked", [], 0)
            assert result.unchecked == [
                f"{root}: another directory than before, with 2 of 5 directories that the ledger knows"
            ]
        accepted = await here.carry_out(SweepPlan(fixes=BY_DEFAULT, accept_gone=frozenset({""})))
        assert (accepted.verdict, accepted.counts) == ("consistent", {Kind.GONE: 3})
        assert (await here.sweep()).counts == {}


async def test_a_root_that_was_copied_or_mounted_anew_is_remembered_anew(opened: Opening, root: Path) -> None:
    """Device and inode may change; a root that has at least half of what is known is the same root."""
    async with opened() as here:
        await here.assembly.claim([here.place])
        put_days(root, "bot", 4)
        await here.sweep()
        root.rename(root.with_name("away"))
        shutil.copytree(root.with_name("away"), root)
        shutil.rmtree(root / "bot/2026-11-01")
        shutil.rmtree(root / "bot/2026-11-02")
        assert (await here.sweep()).counts == {Kind.GONE: 2}
        # Remembered: what is missing now is missing from the same root.
        shutil.rmtree(root / "bot/2026-11-03")
        assert (await here.sweep()).counts == {Kind.GONE: 1}


async def test_a_dry_run_does_not_remember_the_root(opened: Opening, root: Path, connection: Connection) -> None:
    """Bookkeeping is writing, too."""
    async with opened() as here:
        await here.assembly.claim([here.place])
        put_days(root, "bot", 1)
        await here.carry_out(SweepPlan(dry_run=True))
        assert await connection.fetchval("SELECT root_inode FROM sources") is None
        await here.sweep()
        assert await connection.fetchval("SELECT root_inode FROM sources") == root.stat().st_ino


async def test_an_emptied_root_is_settled_by_accepting_it(opened: Opening, root: Path) -> None:
    """The whole root may be said to be gone: its files are told once."""
    async with opened() as here:
        put_days(root, "bot", 3)
        await here.sweep()
        shutil.rmtree(root / "bot")
        assert (await here.sweep()).verdict == "not_checked"
        accepted = await here.carry_out(SweepPlan(accept_gone=frozenset({""})))
        assert (accepted.verdict, accepted.counts) == ("consistent", {Kind.GONE: 3})


@pytest.mark.parametrize(("files", "checked"), [(20, False), (19, True)])
async def test_a_project_folder_without_any_day_was_not_checked(
    opened: Opening, root: Path, files: int, *, checked: bool
) -> None:
    """A project's folder may be a mount of its own: when it is there and bare of 100 known files, nothing is gone."""
    async with opened() as here:
        put_days(root, "bot", 5, files=files)
        put_days(root, "other", 1)
        await here.sweep()
        shutil.rmtree(root / "bot")
        (root / "bot").mkdir()
        result = await here.sweep()
        assert result.counts == ({Kind.GONE: 95} if checked else {})
        sentence = "bot: no day is left in it, but the ledger knows at least 100 files there"
        assert result.unchecked == ([] if checked else [sentence])
        assert [day.directory for day in result.days if day.checked] == (
            [f"bot/2026-11-{day:02d}" for day in range(1, 6)] if checked else []
        ) + ["other/2026-11-01"]
        if not checked:
            accepted = await here.carry_out(SweepPlan(accept_gone=frozenset({"bot"})))
            assert (accepted.unchecked, accepted.counts) == ([], {Kind.GONE: 100})


async def test_a_day_that_lost_most_of_its_files_is_settled_by_accepting_it(opened: Opening) -> None:
    """Told as gone once they are accepted, the files do not count against the directory any more."""
    async with opened() as here:
        paths = here.put_runs(150)
        await here.sweep()
        for path in paths[20:]:
            path.unlink()
        assert (await here.sweep()).unchecked == [f"{DIRECTORY}: 130 of 150 files are missing from it at once"]
        elsewhere = await here.carry_out(SweepPlan(accept_gone=frozenset({"bot/2026-11-21", "other"})))
        assert elsewhere.verdict == "not_checked"
        accepted = await here.carry_out(SweepPlan(accept_gone=frozenset({DIRECTORY})))
        assert (accepted.verdict, accepted.counts) == ("consistent", {Kind.GONE: 130})
        after = await here.sweep()
        assert (after.verdict, after.counts, after.unchecked) == ("consistent", {}, [])
        paths[0].unlink()
        assert (await here.sweep()).counts == {Kind.GONE: 1}


# ---- gone


@pytest.mark.parametrize("depth", DEPTHS)
async def test_a_file_is_told_as_gone_once_whoever_sweeps(
    depth: Depth, opened: Opening, connection: Connection
) -> None:
    """What one process told, no other one tells again; a file that came back and goes again is told again."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        (here.root / run_path(1)).unlink()
        for _ in range(2):
            assert (await here.carry_out(SweepPlan(depth=depth, dry_run=True))).counts == {Kind.GONE: 1}
        assert (await here.carry_out(SweepPlan(depth=depth))).counts == {Kind.GONE: 1}
    async with opened() as here:
        assert (await here.carry_out(SweepPlan(depth=depth))).counts == {}
        put(here.root, run_path(1), run_body(1))
        assert (await here.carry_out(SweepPlan(depth=depth, fixes=BY_DEFAULT))).counts == {}
        assert await connection.fetchval("SELECT count(*) FROM gone") == 0
        (here.root / run_path(1)).unlink()
        assert (await here.carry_out(SweepPlan(depth=depth))).counts == {Kind.GONE: 1}


async def test_a_file_that_was_told_as_gone_is_lost_with_its_row(opened: Opening, connection: Connection) -> None:
    """Gone is forgiven, lost is not: when the row goes after the file, that is told, and at every sweep."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        (here.root / run_path(1)).unlink()
        assert (await here.sweep()).counts == {Kind.GONE: 1}
        await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(1))
        for _ in range(2):
            assert found(await here.sweep()) == [(Kind.LOST, run_path(1))]


async def test_ledger_rows_at_impossible_paths_are_told_and_break_nothing(
    opened: Opening, connection: Connection
) -> None:
    """Paths that no run file can have, whoever wrote them, are gone or lost, even where a file lies at that place."""
    strays = ["a", "bot/a.json", "bot/2026-11-20/_b.json", "bot/2026-13-45/c.json", "bot/2026-11-20/x/d.json"]
    strays += ["../2026-11-20/e.json", "bot/2026-11-20/%2E%2E.json", "b\u00f6t/2026-11-20/\u202f.json"]
    async with opened() as here:
        here.put_runs(2)
        put(here.root, "bot/a.json", run_body(9))
        put(here.root, "bot/2026-11-20/_b.json", run_body(9))
        put(here.root.parent, "2026-11-20/e.json", run_body(9))
        await here.sweep()
        for number, path in enumerate(strays):
            await connection.execute(
                "INSERT INTO ledger (source, path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, rules)"
                " VALUES ($1, $2, 1, 1, 1, sha256(''), $3, 'acknowledged', 1)",
                SOURCE,
                path,
                run_id(1 if number == 0 else 100 + number),
            )
        for depth in DEPTHS:
            result = await here.carry_out(SweepPlan(depth=depth, dry_run=True))
            assert sorted(found(result)) == sorted([(Kind.MOVED, "a"), *((Kind.LOST, path) for path in strays[1:])])
            assert result.files == 2


# ---- project-days


async def test_days_that_were_compared_whole_are_remembered_with_their_verdict(
    opened: Opening, root: Path, connection: Connection
) -> None:
    """Every directory has a line per depth: when the sweep began, how many files, what was found."""
    async with opened() as here:
        put_days(root, "bot", 2, files=2)
        await here.sweep()
        (root / "bot/2026-11-02/bot-0.json").write_bytes(b"[]")
        result = await here.carry_out(SweepPlan(depth="full"))
        assert [(day.directory, day.files, day.counts, day.verdict) for day in result.days] == [
            ("bot/2026-11-01", 2, {}, "consistent"),
            ("bot/2026-11-02", 2, {Kind.STALE: 1}, "inconsistent"),
        ]
        rows = await connection.fetch("SELECT * FROM project_days ORDER BY depth DESC, directory")
        assert [(row["depth"], row["directory"], row["files"], row["verdict"], row["counts"]) for row in rows] == [
            ("quick", "bot/2026-11-01", 2, "consistent", "{}"),
            ("quick", "bot/2026-11-02", 2, "consistent", "{}"),
            ("full", "bot/2026-11-01", 2, "consistent", "{}"),
            ("full", "bot/2026-11-02", 2, "inconsistent", '{"stale": 1}'),
        ]
        assert {row["verified_at"] for row in rows if row["depth"] == "full"} == {result.started_at}


async def test_a_day_that_was_not_compared_whole_is_remembered_as_that(opened: Opening, connection: Connection) -> None:
    """What lost most of its files is not verified but not checked; what a selection left out is not remembered."""
    async with opened() as here:
        paths = here.put_runs(120)
        put_days(here.root, "other", 1)
        await here.sweep()
        await connection.execute("DELETE FROM project_days")
        for path in paths[1:]:
            path.unlink()
        result = await here.carry_out(SweepPlan(selection=Selection("bot")))
        assert [(day.directory, day.verdict) for day in result.days] == [(DIRECTORY, "not_checked")]
        rows = await connection.fetch("SELECT directory, verdict FROM project_days")
        assert [tuple(row) for row in rows] == [(DIRECTORY, "not_checked")]


async def test_a_day_that_cannot_be_checked_does_not_hold_up_the_others(opened: Opening) -> None:
    """A rolling sweep goes on to the next days, and comes back to it in its turn."""
    async with opened() as here:
        paths = here.put_runs(120)
        others = put_days(here.root, "other", 2)
        await here.sweep()
        for path in paths[1:]:
            path.unlink()
        rolling = SweepPlan(depth="full", oldest_first=True, budget_bytes=1)
        taken = [day.directory for _ in range(4) for day in (await here.carry_out(rolling)).days]
        assert taken == [DIRECTORY, *others, DIRECTORY]


async def test_a_rolling_sweep_takes_the_least_recently_verified_days_first(opened: Opening, root: Path) -> None:
    """Each tick takes what its budget allows and goes on where the others stopped; never verified days come first."""
    async with opened() as here:
        days = put_days(root, "bot", 4)
        await here.sweep()
        rolling = SweepPlan(depth="full", oldest_first=True, budget_bytes=1)
        taken = []
        for _ in range(4):
            taken += [day.directory for day in (await here.carry_out(rolling)).days]
        assert sorted(set(taken)) == days
        put_days(root, "ape", 1)
        await here.sweep()
        assert (await here.carry_out(rolling)).days[0].directory == "ape/2026-11-01"
        again = [day.directory for _ in range(4) for day in (await here.carry_out(rolling)).days]
        assert again[:4] == taken[:4]


async def test_a_budget_of_time_ends_a_sweep_between_two_days(opened: Opening, root: Path) -> None:
    """At least one day is compared, and none is begun after the time is over."""
    async with opened() as here:
        put_days(root, "bot", 9)
        await here.sweep()
        result = await here.carry_out(SweepPlan(depth="full", oldest_first=True, budget_s=0))
        assert 1 <= len(result.days) < 9
        assert result.verdict == "consistent"


# ---- counted work


@pytest.mark.parametrize(("depth", "most_per_directory"), [("quick", 2), ("full", 2), ("deep", 12)])
async def test_an_unchanged_tree_costs_a_bounded_number_of_questions_per_directory(
    depth: Depth, most_per_directory: int, opened: Opening, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the files ask the server no more often: no depth has a query per file, and quick opens no file."""
    asked: list[int] = []
    read: list[str] = []
    ask, opening = TraceDatabase._ask, os.open

    async def counted(self: TraceDatabase, *args: object, **kwargs: object) -> object:
        asked[-1] += 1
        return await ask(self, *args, **kwargs)  # type: ignore[arg-type] # whatever was asked

    def opened_file(path: str | bytes, *args: object, **kwargs: object) -> int:
        if os.fsdecode(path).endswith(".json"):
            read.append(os.fsdecode(path))
        return opening(path, *args, **kwargs)  # type: ignore[arg-type] # whatever is opened

    async with opened() as here:
        for files in (4, 40):
            put_days(root, f"p{files}", 5, files=files)
            await here.sweep()
        monkeypatch.setattr(TraceDatabase, "_ask", counted)
        monkeypatch.setattr(os, "open", opened_file)
        for files in (4, 40):
            asked.append(0)
            result = await here.carry_out(SweepPlan(depth=depth, selection=Selection(f"p{files}")))
            assert (result.verdict, result.files) == ("consistent", 5 * files)
        fixed_questions = 8
        # Foreign rows are looked for day by day where not everything is swept: four questions a day.
        per_directory = most_per_directory + (0 if depth == "quick" else 4)
        assert max(asked) <= fixed_questions + 5 * per_directory
        assert asked[0] == asked[1]
        assert (read == []) is (depth == "quick")
