"""What the database answers, and that no answer costs a scan of all runs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from postgres import Server, run_now
from run_files import run_id
from stores import SOURCE, Plain, opened, plainly, version
from tracewatchd.model.ledger import RowVersion
from tracewatchd.model.record import Reason, Rejection, TraceRecord
from tracewatchd.model.stamp import Stamp
from tracewatchd.store import database as database_module
from tracewatchd.store.connect import Connection
from tracewatchd.store.queries import DayCount
from tracewatchd.store.schema import newest
from tracewatchd.store.statements import statement as sql_of

DAY = date(2026, 11, 20)


def rejection(path: str, reason: Reason = Reason.EMPTY, **given: Any) -> Rejection:
    return Rejection(path=path, stamp=Stamp(7, 1, 1), reason=reason, detail="so it is", **given)


def acknowledged(*paths: str) -> list[TraceRecord]:
    """A run for each path."""
    return [replace(version(number), path=path) for number, path in enumerate(paths)]


# ---- runs


async def test_one_run(database: str) -> None:
    """A run comes back as it was stored, its JSON as text; one that is not there is None."""
    file = replace(
        version(1, day=2, start_time="2026-11-20T06:44:12.622037", name="agent", status="success"),
        total_cost=Decimal("0.0000123"),
        end_time=datetime(2026, 11, 20, 8, tzinfo=UTC),
    )
    async with opened(database) as store:
        await store.commit(SOURCE, [file])
        run = await store.run(run_id(1))
        assert await store.run(run_id(2)) is None
    assert run is not None
    assert json.loads(run.data)["text"] == "hello"
    assert run.metadata is not None
    assert json.loads(run.metadata) == {"extracted_at": "2026-12-02T00:00:00Z"}
    for column in ("run_id", "name", "status", "start_time", "end_time", "total_cost", "extracted_at", "run_date"):
        assert getattr(run, column) == getattr(file, column), column
    assert run.start_time is not None
    assert run.start_time.tzinfo is not None


async def test_a_trace_comes_in_execution_order(database: str) -> None:
    """By dotted_order in byte order, then what has none by time; other traces stay out."""
    trace = run_id(100)
    orders = ["20261120T060000000000Zb.2", "20261120T060000000000ZA", "20261120T060000000000Zb", None, None]
    times = ["06:00", "07:00", "08:00", "09:00", "05:00"]
    files = [
        replace(version(number, second=number, start_time=f"2026-11-20T{at}:00Z", dotted_order=order), trace_id=trace)
        for number, (order, at) in enumerate(zip(orders, times, strict=True))
    ]
    async with opened(database) as store:
        await store.commit(SOURCE, [*files, version(50, second=50)])
        found = await store.trace(trace)
        assert await store.trace(run_id(101)) == []
    assert [run.run_id for run in found] == [run_id(number) for number in (1, 2, 0, 4, 3)]


async def test_runs_of_a_project_and_days_come_as_a_stream(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, by day and run id, both ends included, nothing twice and nothing of others."""
    monkeypatch.setattr(database_module, "_PAGE_ROWS", 7)
    days = [date(2026, 11, 19), DAY, date(2026, 11, 21), date(2026, 11, 22), date(2026, 11, 23)]
    files = [
        replace(version(number, second=number), run_date=days[number % 5], project=["bot", "other"][number % 3 == 0])
        for number in range(200)
    ]
    async with opened(database) as store:
        await store.commit(SOURCE, files)
        found = [run async for run in store.runs("bot", DAY, days[3])]
        assert [run async for run in store.runs("none", DAY, days[3])] == []
        assert [run async for run in store.runs("bot", days[3], DAY)] == []
    expected = sorted(
        (file.run_date, file.run_id) for file in files if file.project == "bot" and DAY <= file.run_date <= days[3]
    )
    assert [(run.run_date, run.run_id) for run in found] == expected
    assert len(expected) > 7 * 3


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14])
async def test_pages_end_where_they_should(database: str, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Full last pages, single rows and nothing at all are each told once."""
    monkeypatch.setattr(database_module, "_PAGE_ROWS", 7)
    async with opened(database) as store:
        await store.commit(SOURCE, [version(number, second=number) for number in range(count)])
        assert [run.run_id async for run in store.runs("bot", DAY, DAY)] == [run_id(number) for number in range(count)]


@pytest.mark.parametrize("day", [date.min, date(1, 1, 2), DAY, date(9999, 12, 30)])
async def test_the_least_run_id_and_the_first_days_are_not_left_out(database: str, day: date) -> None:
    """A run whose id is all zeros, and the least and greatest days, belong to a project's runs like any other.

    The driver writes the very first day as -infinity, so that it is within every range but no range by itself.
    """
    ids = [UUID(int=0) if day != date.min else UUID(int=1), UUID(int=2**128 - 1)]
    files = [replace(version(number, second=number), run_id=one, run_date=day) for number, one in enumerate(ids)]
    async with opened(database) as store:
        await store.commit(SOURCE, files)
        assert [run.run_id async for run in store.runs("bot", day, max(day, date(1, 1, 2)))] == ids


async def test_project_days_are_counted(database: str) -> None:
    """Runs per project and day, in their order."""
    files = [
        replace(version(number, second=number), project=project, run_date=day)
        for number, (project, day) in enumerate([("b", DAY), ("a", DAY), ("b", DAY), ("b", date(2026, 11, 19))])
    ]
    async with opened(database) as store:
        assert await store.project_days() == []
        await store.commit(SOURCE, files)
        found = await store.project_days()
    assert found == [DayCount("a", DAY, 1), DayCount("b", date(2026, 11, 19), 1), DayCount("b", DAY, 2)]


async def test_versions_of_those_that_have_a_row(database: str) -> None:
    """Only what decides is asked for, and what has no row is missing from the answer."""
    file = version(1, day=3, mtime_ns=42)
    async with opened(database) as store:
        await store.commit(SOURCE, [file])
        found = await store.row_versions([run_id(1), run_id(2)])
        assert await store.row_versions([]) == {}
    assert found == {run_id(1): RowVersion(run_id=run_id(1), version=file.version, rules=file.rules)}


# ---- ledger

ODD = [
    "a-b/2026-11-20/x.json", "a/2026-11-19/z.json", "a/2026-11-20/%FF.json", "a/2026-11-20/B.json",
    "a/2026-11-20/a b.json", "a/2026-11-20/a.json", "a/2026-11-20/\u00e9.json", "a/2026-11-20/\U0001f642.json",
    "a/2026-11-20/\uffee.json", "a/2026-11-20/new\nline.json", "a0/2026-11-20/x.json", "B/2026-11-20/x.json",
    "\u00e4/2026-11-20/x.json", "%2Fodd/2026-11-20/x.json", "a.b/2026-11-20/x.json", "a.*/2026-11-20/x.json",
]  # fmt: skip


async def test_directories_come_once_each_in_byte_order(database: str) -> None:
    """Every directory that has a path, whatever its name, as the walk of the file system orders them."""
    async with opened(database) as store:
        assert await store.ledger_directories(SOURCE) == []
        await store.commit(SOURCE, acknowledged(*ODD), [rejection("q/2026-11-20/bad.json")])
        await store.commit("/another", acknowledged("c/2026-11-20/x.json"))
        found = await store.ledger_directories(SOURCE)
    expected = {path.rpartition("/")[0] for path in ODD} | {"q/2026-11-20"}
    assert found == sorted(expected, key=str.encode)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_a_directory_come_in_byte_order(database: str, limit: int) -> None:
    """A directory's rows, and only its, a page at a time in the order of bytes; other sources have their own."""
    async with opened(database) as store:
        await store.commit(SOURCE, acknowledged(*ODD))
        await store.commit("/another", acknowledged("a/2026-11-20/theirs.json"))
        found: list[str] = []
        while True:
            page = await store.ledger_page(SOURCE, "a/2026-11-20", found[-1] if found else "", limit)
            found += [row.path for row in page]
            if len(page) < limit:
                break
    assert found == sorted((path for path in ODD if path.startswith("a/2026-11-20/")), key=str.encode)


async def test_ledger_rows_of_some_paths(database: str) -> None:
    """What is known of the paths that are asked for, whole, of this source alone."""
    (file,) = acknowledged("a/2026-11-20/x.json")
    bad = rejection("a/2026-11-20/bad.json", setting="sanitize=reject", rules=7)
    async with opened(database) as store:
        await store.commit(SOURCE, [file], [bad])
        found = await store.ledger_rows(SOURCE, [file.path, bad.path, "a/2026-11-20/none.json"])
        assert await store.ledger_rows("/another", [file.path]) == {}
    assert found.keys() == {file.path, bad.path}
    row, other = found[file.path], found[bad.path]
    assert (row.state, row.stamp, row.file_sha256, row.run_id, row.reason, row.rules) == (
        "acknowledged", file.stamp, file.file_sha256, file.run_id, None, file.rules,
    )  # fmt: skip
    assert (other.state, other.stamp, other.file_sha256, other.reason, other.detail, other.setting, other.rules) == (
        "quarantined", bad.stamp, None, Reason.EMPTY, "so it is", "sanitize=reject", 7,
    )  # fmt: skip


async def test_ledger_rows_of_runs(database: str) -> None:
    """Every acknowledged file of a run in whatever source; quarantined ones do not vouch for a row."""
    old, new = version(1, day=1), version(1, day=2, second=1)
    async with opened(database) as store:
        await store.commit(SOURCE, [old], [rejection("a/2026-11-20/bad.json", run_id=run_id(1))])
        await store.commit("/another", [new, version(2, second=2)])
        found = await store.ledger_of_runs(one for one in [run_id(1), run_id(3)])
    assert sorted((source, row.path) for source, row in found) == [("/another", new.path), (SOURCE, old.path)]


async def test_quarantined_files_by_page(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By source and path, narrowed by source, reason or path, through as many pages as it takes."""
    monkeypatch.setattr(database_module, "_PAGE_ROWS", 4)
    many = [f"a/2026-11-20/{number:02d}.json" for number in range(10)]
    async with opened(database) as store:
        await store.commit(SOURCE, acknowledged("a/2026-11-20/good.json"), [rejection(path) for path in many])
        await store.commit(
            "/another", [], [rejection("z/2026-11-20/x.json", Reason.TRUNCATED, file_sha256=b"\xab" * 32)]
        )
        everything = [row async for row in store.quarantined()]
        assert [row.path async for row in store.quarantined(source=SOURCE)] == many
        assert [row.source async for row in store.quarantined(reason=Reason.TRUNCATED)] == ["/another"]
        assert [row.path async for row in store.quarantined(path=many[3])] == [many[3]]
        assert [row async for row in store.quarantined(source="/another", path=many[3])] == []
    assert [(row.source, row.path) for row in everything] == [
        ("/another", "z/2026-11-20/x.json"),
        *((SOURCE, path) for path in many),
    ]
    first = everything[0]
    assert (first.file_sha256, first.size_bytes, first.detail) == ("ab" * 32, 7, "so it is")
    assert first.first_seen_at.tzinfo is not None


async def test_status_says_what_there_is(database: str, connection: Plain) -> None:
    """Server, versions, identity, files by state, an estimate of rows and a size."""
    async with opened(database) as store:
        await store.commit(SOURCE, [version(number, second=number) for number in range(5)], [rejection("a/b/c.json")])
        assert (await store.status()).runs_estimated is None
        await connection.execute("ANALYZE runs")
        status = await store.status()
    assert status.server.startswith("PostgreSQL ")
    assert status.database in database
    assert (status.schema, status.schema_version, status.newest_version) == ("public", newest(), newest())
    assert status.identity == await connection.fetchval("SELECT id FROM identity")
    assert (status.runs_estimated, status.files_acknowledged, status.files_quarantined) == (5, 5, 1)
    assert status.size_bytes > 8_192


# ---- plans

PATHS = [f"bot/2026-11-20/{number:05d}.json" for number in range(100)]
IDS = [UUID(int=number) for number in range(100)]
SHA = b"x" * 32
NOW = datetime(2026, 11, 20, tzinfo=UTC)
RUNS = (
    json.dumps(
        [
            {
                "run_id": str(run_id), "trace_id": str(run_id), "project": "bot", "run_date": str(DAY),
                "extracted_at": "-infinity", "file_mtime_ns": 1, "file_sha256": "\\x" + SHA.hex(), "rules": 1,
            }
            for run_id in IDS
        ]
    ).encode(),
    [b"{}"] * 100,
)  # fmt: skip
FILES = json.dumps(
    [
        {
            "path": path, "size_bytes": 1, "mtime_ns": 1, "ctime_ns": 1, "file_sha256": "\\x" + SHA.hex(),
            "run_id": str(run_id), "state": "acknowledged", "rules": 1,
        }
        for path, run_id in zip(PATHS, IDS, strict=True)
    ]
).encode()  # fmt: skip
ARGUMENTS: dict[str, Sequence[Any]] = {
    "upsert": RUNS,
    "insert": RUNS,
    "touch": (IDS, [2] * 100, [SHA] * 100),
    "versions": (IDS,),
    "run": (IDS[0],),
    "trace": (IDS[0],),
    "runs_page": ("p7", DAY, IDS[0], date(2026, 11, 25), 200),
    "project_days": (),
    "preflight": ("public",),
    "preflight_privileges": ("public",),
    "changed_after": (SOURCE, ["p7/2026-11-20", "p7/2026-11-21"], [datetime(2026, 11, 25, tzinfo=UTC)] * 2),
    "traces_list": (["p7"], DAY, DAY, "error", "llm", "a", 1.5, "b", 1_000),
    "traces_tree": (IDS[0], 1_000),
    "traces_of_run": (IDS[0],),
    "traces_of_folder": ("p7/2026-11-20/", "p7/2026-11-200", 1_000),
    "status": (),
    "remember": (SOURCE, FILES),
    "ledger_rows": (SOURCE, PATHS),
    "ledger_directories": (SOURCE,),
    "ledger_page": (SOURCE, "p7/2026-11-20/", "p7/2026-11-200", 1_000),
    "ledger_of_runs": (IDS,),
    "quarantined": ("", "", None, None, None, 200),
    "quarantined_newest": (100,),
    "quarantine_counts": (1_000,),
    "leases": (),
    "acquire_lease": ("daemon:a", "one", 20.0),
    "release_lease": ("daemon:a", "one"),
    "register_source": (SOURCE, "here", "/srv/traces"),
    "sources_of_host": ("here",),
    "directory_summary": (SOURCE, "p7/2026-11-20/", "p7/2026-11-200", True, True),
    "runs_sum": (",".join(map(str, IDS)),),
    "ledger_quarantined": (SOURCE, "q/2026-11-20/", "q/2026-11-200", 1_000),
    "ledger_count": (SOURCE, "p7/", "p70", 100),
    "told_gone": (SOURCE, PATHS),
    "tell_gone": (SOURCE, PATHS),
    "untell_gone": (SOURCE, PATHS),
    "source_root": (SOURCE,),
    "remember_root": (SOURCE, "1", "2"),
    "remember_days": (SOURCE, "quick", NOW, b'[{"directory": "a", "verdict": "consistent", "files": 1, "counts": {}}]'),
    "verified_days": (SOURCE,),
    "certify": (SOURCE, "p7/2026-11-20", NOW, ["files", "db"], 1, 1, "00" * 32),
    "certificates": (SOURCE,),
    "run_ids_page": (IDS[0], 200),
    "run_ids_of_day": (IDS[0], 200, ["p7"], DAY),
    "projects_of_runs": (",".join(map(str, IDS)),),
    "unexplained": (IDS,),
    "runs_by_id": (IDS,),
    "differing": RUNS,
    "fix": (IDS[0],),
    "fix_begin": (b'[{"fix_id": "00000000-0000-0000-0000-000000000001", "kind": "gone", "paths": []}]', IDS[0], SOURCE),
    "fix_begin_with_row": (IDS[0], IDS[0], SOURCE, "stale", IDS[0], PATHS),
    "fix_changed_paths": (IDS[0], SOURCE, PATHS),
    "fix_digests": (IDS,),
    "fix_drop_empty": (IDS,),
    "fix_finish": (IDS, [True] * 100, [SHA] * 100),
    "fix_foreign_paths": (SOURCE, PATHS),
    "fix_images": (IDS[0],),
    "fix_ledger_before": (IDS,),
    "fix_lock": (IDS[0],),
    "fix_lock_ledger": (SOURCE, PATHS),
    "fix_lock_run": (IDS[0],),
    "fix_move": (IDS[0], "applied", "rolled_back"),
    "fix_restore_json_null": (IDS[0],),
    "fix_restore_ledger": (IDS[0],),
    "fix_restore_run": (IDS[0],),
    "fixes_page": (10**6, None, None, None, 200),
    "held_paths": (SOURCE, PATHS),
    "held_runs": (IDS,),
    "remove_ledger": (SOURCE, PATHS),
    "remove_runs": (IDS,),
}  # fmt: skip
BOUNDS = {
    "runs_page": {"project", "run_date", "run_id"},
    "ledger_page": {"source", "path"},
    "ledger_directories": {"source", "path"},
    "directory_summary": {"source", "path"},
}
READS_CITUS = {"preflight_citus"}
"""What reads a view that only Citus has can be planned only there."""
COUNTS_EVERY_ROW = {"status"}
"""What counts the ledger has to see all of it."""


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[str]:
    """A database with many runs and ledger rows, analysed and vacuumed."""
    dsn = server.create_database(template)
    run_now(_fill(dsn))
    yield dsn
    server.drop_database(dsn)


async def _fill(dsn: str) -> None:
    # What vacuum calls visible must have been flushed.
    async with plainly(dsn, server_settings={"synchronous_commit": "on"}) as plain:
        await plain.execute(
            """
            INSERT INTO runs (run_id, trace_id, project, run_date, data, file_mtime_ns, file_sha256, rules)
            SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(n / 10), 32, '0')::uuid, 'p' || n % 50,
                date '2026-11-01' + n % 40, '{}', n, decode(repeat('78', 32), 'hex'), 1
            FROM generate_series(0, 29999) n;
            INSERT INTO ledger (source, path, size_bytes, mtime_ns, ctime_ns, file_sha256, run_id, state, rules)
            SELECT '/srv/traces', format('p%s/2026-11-%s/%s.json', n % 50, lpad((1 + n % 30)::text, 2, '0'), n),
                1, 1, 1,
                decode(repeat('78', 32), 'hex'), lpad(to_hex(n), 32, '0')::uuid, 'acknowledged', 1
            FROM generate_series(0, 29999) n;
            INSERT INTO ledger (source, path, size_bytes, mtime_ns, ctime_ns, state, reason, detail, rules)
            SELECT '/srv/traces', 'q/2026-11-20/' || n, 1, 1, 1, 'quarantined', 'empty', 'it is empty', 1
            FROM generate_series(0, 299) n;
            """
        )
        await plain.execute("VACUUM ANALYZE runs")
        await plain.execute("VACUUM ANALYZE ledger")


@pytest.fixture
async def planner(filled: str) -> AsyncIterator[Connection]:
    """A connection as the store makes them, with all that it sets."""
    async with opened(filled) as store, store._sessions.use() as connection:
        yield connection


async def plan_of(plain: Connection, name: str, mode: str) -> list[dict[str, Any]]:
    """Every node of a statement's plan, with the parameter types that the statement itself declares or implies."""
    sql, arguments = sql_of(name, "public"), ARGUMENTS[name]
    await plain.execute(f"SET plan_cache_mode = {mode}")
    types = [kind.name for kind in (await plain.prepare(sql)).get_parameters()]
    literals = [await literal(plain, argument, kind) for argument, kind in zip(arguments, types, strict=True)]
    declared, given = (f"({', '.join(words)})" if words else "" for words in (types, literals))
    await plain.execute(f"BEGIN; PREPARE asked {declared} AS {sql}")
    # Only what was run shows all of its parts.
    (row,) = await plain.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked{given}")
    await plain.execute("DEALLOCATE asked; ROLLBACK")
    return list(nodes(json.loads(row[0])[0]["Plan"]))


async def literal(plain: Connection, value: Any, kind: str) -> str:
    """A value as SQL text."""
    return str(await plain.fetchval(f"SELECT quote_nullable($1::{kind}::text) || '::{kind}'", value))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def test_every_statement_is_planned_here() -> None:
    """A new statement comes with arguments for these tests."""
    shipped = {entry.name.removesuffix(".sql") for entry in (files("tracewatchd.store") / "sql").iterdir()}
    assert {name for name in shipped if not re.match(r"\d", name)} == ARGUMENTS.keys() | READS_CITUS


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", ARGUMENTS)
async def test_no_statement_scans_all_runs(planner: Connection, name: str, mode: str) -> None:
    """Planned for its values or for any, no shipped statement reads runs, or looks for files, without an index."""
    plan = await plan_of(planner, name, mode)
    scanned = [node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"]
    assert "runs" not in scanned
    assert name in COUNTS_EVERY_ROW or "ledger" not in scanned


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("touch", "runs_pkey"),
        ("versions", "runs_pkey"),
        ("run", "runs_pkey"),
        ("trace", "runs_trace_id"),
        ("runs_page", "runs_project_run_date"),
        ("project_days", "runs_project_run_date"),
        ("traces_list", "runs_project_run_date"),
        ("traces_tree", "runs_trace_id"),
        ("traces_of_run", "runs_pkey"),
        ("traces_of_folder", "ledger_pkey"),
        ("ledger_rows", "ledger_pkey"),
        ("ledger_directories", "ledger_pkey"),
        ("ledger_page", "ledger_pkey"),
        ("ledger_of_runs", "ledger_run_id"),
        ("quarantined", "ledger_quarantined"),
    ],
)
async def test_each_statement_uses_its_index(planner: Connection, name: str, mode: str, index: str) -> None:
    """The index that was made for a statement is the one that it uses."""
    plan = await plan_of(planner, name, mode)
    assert {node["Index Name"] for node in plan if "Index Name" in node} == {index}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_counting_project_days_reads_the_index_alone(planner: Connection, mode: str) -> None:
    """Counts per project and day come from the index without a look at the rows and without a sort."""
    plan = await plan_of(planner, "project_days", mode)
    kinds = {node["Node Type"] for node in plan}
    assert "Index Only Scan" in kinds
    assert "Sort" not in kinds


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", BOUNDS)
async def test_pages_are_read_in_order(planner: Connection, name: str, mode: str) -> None:
    """A page costs a page: what bounds it bounds the index scan, and nothing is sorted to find it."""
    plan = await plan_of(planner, name, mode)
    assert "Sort" not in {node["Node Type"] for node in plan}
    conditions = " ".join(node.get("Index Cond", "") for node in plan)
    assert BOUNDS[name] <= set(re.findall(r"\w+", conditions))


async def test_directories_cost_one_look_each(filled: str, planner: Connection) -> None:
    """Skipping along the index reads a row per directory, however many files they hold."""
    async with opened(filled) as store:
        directories = await store.ledger_directories(SOURCE)
    plan = await plan_of(planner, "ledger_directories", "force_generic_plan")
    looks = sum(node["Actual Loops"] for node in plan if "Index Name" in node)
    assert len(directories) == 151
    assert looks <= len(directories) + 1


async def test_the_driver_agrees_with_the_types(filled: str) -> None:
    """Every statement can be prepared by the driver as it is shipped."""
    async with plainly(filled) as plain:
        for name, arguments in ARGUMENTS.items():
            prepared = await plain.prepare(sql_of(name, "public"))
            assert len(prepared.get_parameters()) == len(arguments), name
