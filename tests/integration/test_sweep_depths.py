"""What each depth finds beyond the one above it, and what it leaves alone."""

from __future__ import annotations

import json
import os
from datetime import date
from random import Random
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from damage import DAMAGES, UNLOADED, Victim, World, moved, victim
from run_files import put, run_body, run_id, run_path
from sweeps import Opening, Source
from tracewatchd.model.findings import Depth, Difference, FileState, Kind, VerificationResult
from tracewatchd.model.fixes import BY_DEFAULT, FixKind, Journal
from tracewatchd.model.record import RULES
from tracewatchd.model.results import Outcome
from tracewatchd.model.selection import Selection
from tracewatchd.reconcile.plan import SweepPlan

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEPTHS: tuple[Depth, ...] = ("quick", "full", "deep")
SAME = {"edit": Kind.STALE, "truncate": Kind.STALE, "delete": Kind.GONE, "add": Kind.MISSING, "replace": Kind.STALE}
AT_EACH_DEPTH: dict[str, tuple[list[Kind], list[Kind], list[Kind]]] = {
    **{name: ([kind], [kind], [kind]) for name, kind in SAME.items()},
    "edit_unseen": ([], [Kind.ALTERED], [Kind.ALTERED]),
    "move": ([Kind.MISSING, Kind.GONE],) * 3,
    "touch": ([Kind.STALE], [], []),
    **{
        name: ([], [], [Kind.MISMATCH])
        for name in ("change_data", "change_metadata", "change_column", "change_extraction", "change_mtime")
    },
    "change_sha256": ([Kind.MISMATCH],) * 3,
    "delete_row": ([Kind.ORPHAN],) * 3,
    "delete_file_and_row": ([Kind.LOST],) * 3,
    "forget": ([Kind.MISSING], [Kind.MISSING, Kind.FOREIGN], [Kind.MISSING, Kind.FOREIGN]),
    "insert_row": ([], [Kind.FOREIGN], [Kind.FOREIGN]),
}


def told(result: VerificationResult) -> list[tuple[Kind, str]]:
    return sorted((one.kind, one.path or str(one.run_id)) for one in result.findings)


async def at_each_depth(here: Source, **plan: object) -> dict[Depth, list[tuple[Kind, str]]]:
    """What sweeps that may write nothing tell."""
    return {
        depth: told(await here.carry_out(SweepPlan(depth=depth, dry_run=True, **plan)))  # type: ignore[arg-type] # the test's own
        for depth in DEPTHS
    }


# ---- kinds


@pytest.mark.parametrize("name", sorted(DAMAGES))
async def test_each_damage_is_told_at_the_depths_that_can_see_it(
    name: str, opened: Opening, connection: Connection
) -> None:
    """One damaged run among sound ones is told as docs/damage.md says at each depth, and nothing else is."""
    async with opened() as here:
        for number in range(1, 6):
            put(here.root, victim(number).path, victim(number).body())
        await here.sweep()
        hurt = victim(1_000 if name in UNLOADED else 3)
        await DAMAGES[name](World(here.root, connection, Random(name)), hurt)
        assert await at_each_depth(here) == {
            depth: sorted((kind, _subject(kind, name, hurt)) for kind in kinds)
            for depth, kinds in zip(DEPTHS, AT_EACH_DEPTH[name], strict=True)
        }


def _subject(kind: Kind, name: str, hurt: Victim) -> str:
    if kind is Kind.FOREIGN:
        return str(hurt.run_id)
    return moved(hurt) if (name, kind) == ("move", Kind.MISSING) else hurt.path


async def test_a_deep_sweep_says_which_columns_differ(opened: Opening, connection: Connection) -> None:
    """The finding of a changed row names every column in which it is not what its file says."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        change = "UPDATE runs SET name = 'x', data = data || '{\"a\": 1}' WHERE run_id = $1"
        await connection.execute(change, run_id(2))
        (finding,) = (await here.carry_out(SweepPlan(depth="deep"))).findings
        assert (finding.kind, finding.path, finding.run_id) == (Kind.MISMATCH, run_path(2), str(run_id(2)))
        assert finding.detail.endswith("they differ in name, data")


async def test_a_detailed_sweep_says_where_each_finding_differs(opened: Opening, connection: Connection) -> None:
    """Columns and JSON pointers with both values, of the findings that are kept; without it nothing is fetched."""
    async with opened(sweep__findings_told=2) as here:
        here.put_runs(5)
        await here.sweep()
        change = "UPDATE runs SET name = 'x', file_mtime_ns = 1, data = data || '{\"text\": 1}' WHERE run_id = $1"
        for number in (2, 3, 4):
            await connection.execute(change, run_id(number))
        plain = await here.carry_out(SweepPlan(depth="deep"))
        assert [one.differences for one in plain.findings] == [(), ()]
        detailed = await here.carry_out(SweepPlan(depth="deep", detailed=True))
        mtime_ns = (here.root / run_path(2)).stat().st_mtime_ns
        assert detailed.findings[0].differences == (
            Difference("/columns/name", '"agent"', '"x"'),
            Difference("/columns/file_mtime_ns", str(mtime_ns), "1"),
            Difference("/data/text", '"hello"', "1"),
        )
        assert [bool(one.differences) for one in detailed.findings] == [True, True]
        assert detailed.counts == {Kind.MISMATCH: 3}


async def test_numbers_and_keys_that_jsonb_calls_equal_are_equal(opened: Opening) -> None:
    """What Postgres stores is compared as Postgres compares: order of keys, spelling of numbers, last of twin keys."""
    async with opened() as here:
        text = '{"id": "%s", "start_time": "2026-11-20", "b": 1.50, "a": 1E2, "c": -0, "c": 3, "n": "\\u0000"}'
        put(here.root, run_path(1), (text % run_id(1)).encode())
        await here.sweep()
        assert (await at_each_depth(here))["deep"] == []


async def test_a_run_in_another_days_folder_is_misplaced(opened: Opening) -> None:
    """A deep sweep tells a loaded file whose run is of another day than its folder; it stays loaded."""
    async with opened() as here:
        path = "bot/2026-11-23/a.json"
        put(here.root, path, run_body(1))
        await here.sweep()
        assert await at_each_depth(here) == {"quick": [], "full": [], "deep": [(Kind.MISPLACED, path)]}
        result = await here.carry_out(SweepPlan(depth="deep"))
        assert (result.verdict, result.states) == ("consistent", {FileState.LOADED: 1})
        assert result.findings[0].detail.endswith("its run is of 2026-11-20")


async def test_a_row_of_older_rules_is_outdated_and_no_mismatch(opened: Opening, connection: Connection) -> None:
    """Whatever older rules derived is information, however it differs; rows of our rules are compared."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        await connection.execute("ALTER TABLE runs DROP CONSTRAINT runs_rules_are_positive")
        await connection.execute("UPDATE runs SET rules = $1, name = 'x' WHERE run_id = $2", RULES - 1, run_id(1))
        assert await at_each_depth(here) == {"quick": [], "full": [], "deep": [(Kind.OUTDATED, run_path(1))]}


async def test_a_row_that_was_set_back_to_an_older_version_is_a_mismatch(
    opened: Opening, connection: Connection
) -> None:
    """Only a deep sweep knows that the newer of two files should have won over the version that the row holds."""
    async with opened() as here:
        put(here.root, run_path(1), run_body(1, age_days=9))
        await here.sweep()
        (before,) = await connection.fetch("SELECT * FROM runs")
        put(here.root, run_path(1, second=7), run_body(1, age_days=1, text="newer"))
        await here.sweep()
        await connection.execute(
            "UPDATE runs SET data = $1, metadata = $2, extracted_at = $3, file_mtime_ns = $4, file_sha256 = $5",
            *(before[name] for name in ("data", "metadata", "extracted_at", "file_mtime_ns", "file_sha256")),
        )
        found = await at_each_depth(here)
        assert found == {"quick": [], "full": [], "deep": [(Kind.MISMATCH, run_path(1, second=7))]}


async def test_copies_of_a_bare_run_in_two_projects_explain_each_other(opened: Opening, connection: Connection) -> None:
    """A file that does not say its project was loaded from one folder; its copy in the other folder is no mismatch."""
    async with opened() as here:
        body = json.dumps({"id": str(run_id(1)), "start_time": "2026-11-20T06:00:00"}).encode()
        for project in ("ape", "bee", "cat"):
            put(here.root, f"{project}/2026-11-20/a.json", body)
        await here.sweep()
        assert (await at_each_depth(here))["deep"] == []
        await connection.execute("UPDATE runs SET project = 'dog'")
        assert [kind for kind, _ in (await at_each_depth(here))["deep"]] == [Kind.MISMATCH] * 3


async def test_a_file_that_became_too_large_to_be_read_is_not_called_consistent(opened: Opening) -> None:
    """What max_file_bytes does not let us read was not checked, at the depths that read."""
    async with opened() as here:
        put(here.root, run_path(1), run_body(1, size_bytes=3_000))
        await here.sweep()
    async with opened(ingest__max_file_bytes=1_000) as here:
        results = [await here.carry_out(SweepPlan(depth=depth)) for depth in DEPTHS]
        assert [result.verdict for result in results] == ["consistent", "not_checked", "not_checked"]
        assert results[1].unchecked == [f"{run_path(1)}: larger than ingest.max_file_bytes (1000), so it was not read"]
        assert not results[2].days[0].checked


async def test_a_quarantined_file_is_told_at_every_depth(opened: Opening) -> None:
    """Files that cannot be stored, too large ones among them, are standing warnings and nothing worse."""
    async with opened(ingest__max_file_bytes=2_000) as here:
        here.put_runs(2)
        put(here.root, run_path(3), b"[]")
        put(here.root, run_path(4), run_body(4, size_bytes=3_000))
        await here.sweep()
        expected = [(Kind.QUARANTINED, run_path(3)), (Kind.QUARANTINED, run_path(4))]
        assert await at_each_depth(here) == dict.fromkeys(DEPTHS, expected)
        result = await here.carry_out(SweepPlan(depth="deep"))
        assert result.states == {FileState.LOADED: 2, FileState.QUARANTINED: 2}


# ---- rows without files


async def test_foreign_rows_of_one_project_day(opened: Opening, connection: Connection) -> None:
    """Of a selected day those rows are foreign that carry its date and its folder's or its files' project."""
    async with opened() as here:
        put(here.root, run_path(1), victim(1).body())
        await here.sweep()
        insert = (
            "INSERT INTO runs (run_id, trace_id, project, run_date, data, file_mtime_ns, file_sha256, rules)"
            " VALUES ($1, $1, $2, $3, '{}', 1, sha256(''), 1)"
        )
        for number, project, date_day in [(7, "bot", 20), (8, "bot", 21), (9, "elsewhere", 20)]:
            await connection.execute(insert, run_id(number), project, date(2026, 11, date_day))
        day = date(2026, 11, 20)
        one_day = await at_each_depth(here, selection=Selection("bot", day, day))
        of_day = [(Kind.FOREIGN, str(run_id(7)))]
        assert one_day == {"quick": [], "full": of_day, "deep": of_day}
        everything = await at_each_depth(here)
        assert everything["full"] == [(Kind.FOREIGN, str(run_id(number))) for number in (7, 8, 9)]


async def test_a_row_that_a_quarantined_file_names_is_not_foreign(opened: Opening, connection: Connection) -> None:
    """A ledger row of any state says where a row comes from."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        await connection.execute(
            "UPDATE ledger SET state = 'quarantined', reason = 'unstorable', detail = 'x' WHERE run_id = $1", run_id(1)
        )
        assert (await at_each_depth(here))["full"] == [(Kind.QUARANTINED, run_path(1))]


# ---- repair


async def test_a_touched_file_is_restamped_by_a_sweep_that_may_repair(opened: Opening, connection: Connection) -> None:
    """Reading shows that only the stamp differs: the line restamps it, and neither finding nor fix is told."""
    async with opened() as here:
        (path,) = here.put_runs(1)
        await here.sweep()
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000))
        for depth in ("full", "deep"):
            before = await here.carry_out(SweepPlan(depth=depth))
            assert (before.findings, before.outcomes) == ([], {})
        after = await here.carry_out(SweepPlan(depth="full", fixes=BY_DEFAULT))
        assert (after.findings, after.outcomes, after.fixed.total()) == ([], {Outcome.UNCHANGED: 1}, 0)
        assert await connection.fetchval("SELECT mtime_ns FROM ledger") == path.stat().st_mtime_ns


async def test_a_dry_run_counts_what_it_would_put_right_and_writes_nothing(
    opened: Opening, connection: Connection
) -> None:
    """Findings stand, fixed counts them, and no table changes, bookkeeping included."""

    async def tables() -> list[list[asyncpg.Record]]:
        names = ("runs", "ledger", "gone", "project_days", "fixes")
        return [
            await connection.fetch(f"SELECT xmin::text, * FROM {name} ORDER BY 2, 3")  # noqa: S608 - the test's own words
            for name in names
        ]

    async with opened() as here:
        here.put_runs(4)
        await here.sweep()
        (here.root / run_path(1)).unlink()
        await connection.execute("UPDATE runs SET name = 'x' WHERE run_id = $1", run_id(2))
        put(here.root, run_path(5), run_body(5))
        before = await tables()
        wanted = frozenset({FixKind.MISSING, FixKind.MISMATCH, FixKind.GONE_ROWS})
        result = await here.carry_out(SweepPlan(depth="deep", fixes=wanted, dry_run=True))
        expected = {Kind.MISSING: 1, Kind.MISMATCH: 1, Kind.GONE: 1}
        assert (result.counts, result.fixed, result.verdict) == (expected, expected, "inconsistent")
        assert await tables() == before


async def test_what_was_put_right_is_no_finding_and_is_counted(opened: Opening) -> None:
    """A sweep tells the state after its repair: everything right, and what it took."""
    async with opened() as here:
        paths = here.put_runs(4)
        await here.sweep()
        paths[0].unlink()
        put(here.root, run_path(5), run_body(5))
        journal = Journal(repair_id=uuid4(), default=FixKind.MISSING)
        plan = SweepPlan(depth="deep", fixes=frozenset({FixKind.MISSING, FixKind.GONE}))
        result = await here.carry_out(plan, journal=journal)
        assert (result.findings, result.fixed) == ([], {Kind.MISSING: 1, Kind.GONE: 1})
        assert result.states == {FileState.LOADED: 5}


async def test_what_was_rolled_back_is_told_as_held_and_left_alone(opened: Opening, connection: Connection) -> None:
    """A sweep neither offers nor repairs a run whose fix was undone, until it is released."""
    async with opened() as here:
        here.put_runs(2)
        await here.sweep()
        await connection.execute("UPDATE runs SET name = 'x' WHERE run_id = $1", run_id(1))
        await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(2))
        journal = Journal(repair_id=uuid4(), default=FixKind.MISSING)
        plan = SweepPlan(depth="deep", fixes=BY_DEFAULT | {FixKind.MISMATCH})
        assert (await here.carry_out(plan, journal=journal)).counts == {}
        fixes = [fix async for fix in here.assembly.database.fixes(repair_id=journal.repair_id)]
        for fix in fixes:
            assert (await here.assembly.database.roll_back(fix.fix_id)).refused is None
        held = await here.carry_out(plan, journal=Journal(repair_id=uuid4(), default=FixKind.MISSING))
        assert [(one.kind, one.path, one.held) for one in held.findings] == [
            (Kind.MISMATCH, run_path(1), True),
            (Kind.ORPHAN, run_path(2), True),
        ]
        for fix in fixes:
            await here.assembly.database.release(fix.fix_id)
        assert (await here.carry_out(plan, journal=Journal(repair_id=uuid4(), default=FixKind.MISSING))).counts == {}


# ---- files that change meanwhile


@pytest.mark.parametrize("depth", DEPTHS)
async def test_a_file_that_changes_while_it_is_compared_is_no_finding(depth: Depth, opened: Opening) -> None:
    """What is written between two looks is work in progress, whatever it looked like for a moment."""
    async with opened() as here:
        here.put_runs(3)
        await here.sweep()
        survey = here.place.folder.survey

        def changing(directory: str, *, read_up_to: int | None = None) -> object:
            found = survey(directory, read_up_to=read_up_to)
            put(here.root, run_path(2), run_body(2, age_days=0, text="changed"))
            return found

        here.place.folder.survey = changing  # type: ignore[method-assign, assignment] # the moment that is meant
        result = await here.carry_out(SweepPlan(depth=depth))
        assert (result.verdict, result.findings) == ("consistent", [])
        assert result.files == 3


# ---- every path


async def named(here: Source) -> list[tuple[str, str]]:
    """Every path that a full sweep names, with its sigil."""
    found: list[tuple[str, str]] = []
    plan = SweepPlan(depth="full")
    await here.assembly.sweep(here.place, here.line, plan, each=lambda sigil, path: found.append((sigil, path)))
    return sorted(found)


async def test_every_path_is_named_once_with_what_it_is(opened: Opening, connection: Connection) -> None:
    """The sigils: the same, only a file, only in the database, different; foreign rows by their run."""
    async with opened() as here:
        here.put_runs(5)
        await here.sweep()
        (here.root / run_path(2)).unlink()
        await connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(3))
        put(here.root, run_path(6), run_body(6))
        await connection.execute("DELETE FROM ledger WHERE run_id = $1", run_id(5))
        for _ in range(2):  # what was told as gone is named as well
            assert await named(here) == sorted(
                [
                    *[("=", run_path(1)), ("-", run_path(2)), ("*", run_path(3)), ("=", run_path(4))],
                    *[("+", run_path(5)), ("-", str(run_id(5))), ("+", run_path(6))],
                ]
            )
