"""What the doctor makes of what was seen: pure rules, one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tracewatchd.edges.disk import Room
from tracewatchd.edges.filesystem import FileSystem
from tracewatchd.edges.folder import Folder
from tracewatchd.edges.inotify_limits import Granted, InotifyLimits, InotifyUse
from tracewatchd.edges.systemd_unit import Unit
from tracewatchd.edges.tree import Burst, TreeLook
from tracewatchd.model.diagnosis import Diagnosis, Health, Severity, Trouble, Unchecked
from tracewatchd.service.assemble import Place
from tracewatchd.service.doctor_database import (
    citus_troubles,
    clock_troubles,
    server_troubles,
    statement_pooling,
    table_troubles,
    way_troubles,
)
from tracewatchd.service.doctor_machine import Kept, files_needed, room_troubles, unit_troubles
from tracewatchd.service.doctor_roots import file_system_troubles, queue_troubles, watch_troubles
from tracewatchd.settings import Settings, Watch, load
from tracewatchd.store.preflight import Pooling, Seen
from tracewatchd.store.schema import newest

ROOT = Path("/srv/traces")
SOUND = Seen(
    role="traces",
    database="archive",
    encoding="UTF8",
    in_recovery=False,
    role_connections=None,
    unsafe=[],
    has_lz4=True,
    data_is_lz4=True,
    schema_exists=True,
    may_use_schema=True,
    may_create_in_schema=False,
    may_create_schema=False,
    owns_tables=False,
    has_citus=False,
    server_ahead_s=0.01,
    asking_s=0.02,
    schema_version=newest(),
)
PLENTY = InotifyLimits(
    Granted(100_000, "fs.inotify.max_user_watches"),
    Granted(128, "fs.inotify.max_user_instances"),
    Granted(16_384, "fs.inotify.max_queued_events"),
)
NOBODY_ELSE = InotifyUse(0, 0)


def settings(**given: object) -> Settings:
    """Settings by key with ``__`` for the dot, a root and a database among them."""
    chosen = {"watch__roots": [str(ROOT)], "database__url": "postgresql:///archive", **given}
    return load(None, {key.replace("__", "."): value for key, value in chosen.items()}, {}).settings


def said(troubles: Any) -> list[tuple[str, Severity]]:
    """Which checks complain, and how badly."""
    return [(trouble.check, trouble.severity) for trouble in troubles]


@pytest.mark.parametrize(
    ("severities", "unchecked", "strict", "health"),
    [
        ([], 0, False, "healthy"),
        (["note"], 0, True, "healthy"),
        (["warning"], 0, False, "healthy"),
        (["warning"], 0, True, "unhealthy"),
        (["warning"], 1, False, "not_checked"),
        (["error"], 1, False, "unhealthy"),
        ([], 1, True, "not_checked"),
    ],
)
def test_health(severities: list[Severity], unchecked: int, strict: bool, health: Health) -> None:  # noqa: FBT001 - a table's column
    """An error says more than what was not checked, and that is never taken for healthy."""
    diagnosis = Diagnosis(
        troubles=[Trouble("a", severity, "s", "r") for severity in severities],
        unchecked=[Unchecked("b", "s", "r")] * unchecked,
    )
    assert diagnosis.health(strict=strict) == health


def test_the_worst_comes_first() -> None:
    """Errors stand before warnings before notes, those of a kind in the order in which they were found."""
    severities: list[Severity] = ["note", "error", "warning", "error"]
    troubles = [Trouble(str(number), severity, "s", "r") for number, severity in enumerate(severities)]
    assert [one.check for one in Diagnosis(troubles=troubles).worst_first()] == ["1", "3", "2", "0"]


# ---------------------------------------------------------------------------------------------------------------------
# Roots


@pytest.mark.parametrize(
    ("found", "watch", "expected"),
    [
        (FileSystem("ext4", sends_events=True, stamp_grain_s=0.0), Watch(), []),
        (FileSystem("ext4", sends_events=True, stamp_grain_s=2.0), Watch(), []),
        (FileSystem("ext4", sends_events=True, stamp_grain_s=2.0), Watch(stamp_grain_s=2), []),
        (
            FileSystem("ext4", sends_events=True, stamp_grain_s=2.0),
            Watch(stamp_grain_s=0.5),
            [("timestamps", "warning")],
        ),
        (FileSystem("nfs4", sends_events=False, stamp_grain_s=2.0), Watch(), [("file system", "warning")]),
        (FileSystem("overlay", sends_events=True, stamp_grain_s=2.0), Watch(), [("file system", "warning")]),
        (FileSystem("exfat", sends_events=True, stamp_grain_s=2.0), Watch(), [("timestamps", "note")]),
    ],
)
def test_file_systems(found: FileSystem, watch: Watch, expected: list[tuple[str, Severity]]) -> None:
    """Silence where events come and stamps are trusted no more than they deserve; else the kind is named."""
    troubles = list(file_system_troubles(Place("traces", Folder(ROOT), found), watch))
    assert said(troubles) == expected
    assert all(found.kind in trouble.sentence and trouble.source == "traces" for trouble in troubles)


@pytest.mark.parametrize(
    ("directories", "projects", "taken", "expected"),
    [
        (1_000, 10, 0, []),
        (99_000, 5, 0, []),
        (99_000, 20, 0, [("watches", "warning")]),
        (99_000, 5, 900, [("watches", "warning")]),
        (99_000, 5, 1_001, [("watches", "error")]),
        (100_001, 5, 0, [("watches", "error")]),
    ],
)
def test_watches(directories: int, projects: int, taken: int, expected: list[tuple[str, Severity]]) -> None:
    """What is needed now, in three months, and what others take is held against what the kernel grants."""
    trees = [TreeLook(directories=directories, projects=projects), TreeLook()]
    assert said(watch_troubles(trees, PLENTY, InotifyUse(taken, 3))) == expected


def test_the_remedy_is_twice_what_will_be_needed() -> None:
    """The number to set is a power of two with room to grow, under the name of the limit that holds."""
    limits = PLENTY._replace(watches=Granted(50, "user.max_inotify_watches"))
    (trouble,) = watch_troubles([TreeLook(directories=100, projects=2)], limits, NOBODY_ELSE)
    assert trouble.remedy.startswith("`sysctl -w user.max_inotify_watches=1024`, and for good ")


def test_watchers() -> None:
    """Each root takes one inotify instance of those that are left."""
    trees = [TreeLook(), TreeLook(), TreeLook()]
    assert said(watch_troubles(trees, PLENTY, InotifyUse(0, 125))) == []
    assert said(watch_troubles(trees, PLENTY, InotifyUse(0, 126))) == [("watches", "error")]


@pytest.mark.parametrize(
    ("files", "queue", "expected"),
    [(2_730, 16_384, ""), (2_731, 16_384, "2731 files"), (10, 16_383, "only 16383"), (2_000, 12_000, "only 12000")],
)
def test_the_queue(files: int, queue: int, expected: str) -> None:
    """A burst of more than the queue holds, six events a file, is told by its directory; a short queue in any case."""
    trees = [TreeLook(burst=Burst(files, "/srv/traces/bot/2026-11-20")), TreeLook()]
    troubles = list(queue_troubles(trees, Granted(queue, "fs.inotify.max_queued_events")))
    assert len(troubles) == bool(expected)
    assert all(expected in trouble.sentence for trouble in troubles)


# ---------------------------------------------------------------------------------------------------------------------
# The database


@pytest.mark.parametrize(
    ("pooling", "pgbouncer", "refused", "expected"),
    [
        ("none", False, False, []),
        ("none", True, False, [("pgbouncer", "note")]),
        ("transaction", True, False, []),
        ("transaction", False, True, [("pgbouncer", "error")]),
        ("transaction", False, False, [("pgbouncer", "error")]),
        ("session", False, True, [("pgbouncer", "error")]),
        ("session", False, False, []),
        ("session", True, False, []),
    ],
)
def test_the_way(pooling: Pooling, pgbouncer: bool, refused: bool, expected: list[tuple[str, Severity]]) -> None:  # noqa: FBT001 - a table's columns
    """The setting has to fit what stands between, and costs something where nothing does."""
    assert said(way_troubles(pooling, pgbouncer=pgbouncer, refused=refused)) == expected


def test_statements_alone_are_not_enough() -> None:
    """Where there are no transactions nothing can work."""
    assert statement_pooling().severity == "error"


@pytest.mark.parametrize(
    ("change", "expected", "remedy"),
    [
        ({}, [], ""),
        ({"encoding": "SQL_ASCII"}, [("server", "error")], "ENCODING 'UTF8'"),
        ({"in_recovery": True}, [("server", "error")], "target_session_attrs=read-write"),
        ({"role_connections": 5}, [("server", "error")], 'ALTER ROLE "traces" CONNECTION LIMIT 12'),
        ({"role_connections": 6}, [], ""),
        ({"unsafe": ["fsync"]}, [("server", "warning")], "ALTER SYSTEM SET fsync = on"),
        ({"has_lz4": False, "data_is_lz4": False}, [("server", "note")], "with lz4"),
        (
            {"data_is_lz4": False},
            [("server", "note")],
            'ALTER TABLE "public".runs ALTER COLUMN data SET COMPRESSION lz4',
        ),
        ({"data_is_lz4": False, "foreign": ("runs",)}, [], ""),
        ({"data_is_lz4": None}, [], ""),
    ],
)
def test_the_server(change: dict[str, Any], expected: list[tuple[str, Severity]], remedy: str) -> None:
    """Each thing that a server can lack is told by itself."""
    troubles = list(server_troubles(replace(SOUND, **change), settings()))
    assert said(troubles) == expected
    assert all(remedy in trouble.remedy for trouble in troubles)


def test_nobody_is_told_of_the_embedded_server_s_packing() -> None:
    """There is nothing to choose there."""
    seen = replace(SOUND, has_lz4=False, data_is_lz4=False)
    assert said(server_troubles(seen, settings(database__url=None))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"foreign": ("runs",), "schema_version": 0}, "belongs to another program"),
        ({"schema_version": newest() + 1}, "this program knows"),
        ({"schema_version": 0, "may_create_in_schema": True}, ""),
        ({"schema_version": 0}, "GRANT USAGE, CREATE ON SCHEMA"),
        ({"schema_version": 0, "may_use_schema": False, "may_create_in_schema": True}, "GRANT USAGE, CREATE ON SCHEMA"),
        ({"schema_version": 0, "schema_exists": False}, 'GRANT CREATE ON DATABASE "archive" TO "traces"'),
        ({"schema_version": 0, "schema_exists": False, "may_create_schema": True}, ""),
        ({"schema_version": 1, "may_create_in_schema": True}, "does not own them"),
        ({"schema_version": 1, "may_create_in_schema": True, "owns_tables": True}, ""),
        ({"may_use_schema": False}, 'GRANT USAGE ON SCHEMA "public" TO "traces"'),
        (
            {"lacking": {"runs": ["INSERT"], "gone": ["INSERT"]}},
            'GRANT INSERT ON "public".runs, "public".gone TO "traces"',
        ),
    ],
)
def test_the_tables(change: dict[str, Any], words: str) -> None:
    """What hinders work on the tables, or making them, is an error; the rights that nobody needs are not asked for."""
    troubles = list(table_troubles(replace(SOUND, **change), "public"))
    assert said(troubles) == [("role", "error")] * bool(words)
    assert all(words in f"{trouble.sentence} {trouble.remedy}" for trouble in troubles)


@pytest.mark.parametrize(
    ("distributed", "rows", "expected"),
    [
        ({"runs": "run_id"}, 2_000, []),
        ({"runs": "run_id"}, 50, [("citus", "note")]),
        ({}, 50, [("citus", "note")]),
        ({"runs": "project"}, 2_000, [("citus", "error")]),
        ({"runs": "run_id", "ledger": "source"}, 2_000, [("citus", "error")]),
    ],
)
def test_citus(distributed: dict[str, str], rows: int, expected: list[tuple[str, Severity]]) -> None:
    """Runs by run_id, everything else on the coordinator, and large batches."""
    seen = replace(SOUND, has_citus=True, distributed=distributed)
    assert said(citus_troubles(seen, "public", rows)) == expected
    assert said(citus_troubles(replace(seen, has_citus=False), "public", rows)) == []


@pytest.mark.parametrize(
    ("ahead_s", "asking_s", "words"),
    [(1.9, 0.1, ""), (-1.9, 0.1, ""), (3.0, 0.1, "3 s ahead of"), (-7_200.0, 1.0, "7200 s behind"), (5.0, 8.0, "")],
)
def test_clocks(ahead_s: float, asking_s: float, words: str) -> None:
    """A difference counts as far as it exceeds the doubt of asking."""
    troubles = list(clock_troubles(replace(SOUND, server_ahead_s=ahead_s, asking_s=asking_s)))
    assert len(troubles) == bool(words)
    assert all(words in trouble.sentence for trouble in troubles)


# ---------------------------------------------------------------------------------------------------------------------
# The machine

MIB = 1 << 20


@pytest.mark.parametrize(
    ("free_bytes", "files_share", "expected"),
    [
        (4_096 * MIB, 1.0, []),
        (1_023 * MIB, 1.0, [("disk", "warning")]),
        (255 * MIB, 1.0, [("disk", "error")]),
        (4_096 * MIB, 0.01, [("disk", "warning")]),
    ],
)
def test_room(free_bytes: int, files_share: float, expected: list[tuple[str, Severity]]) -> None:
    """A disk can run out of bytes and of inodes."""
    room = Room(ROOT, free_bytes, files_share)
    assert said(room_troubles(Kept("the zips", ROOT, "archive.zip_dir"), room)) == expected


@pytest.mark.parametrize(
    ("unit", "root", "expected", "remedy"),
    [
        (Unit("", 90, 300, None, "read-only"), "/srv/traces", [], ""),
        (Unit("", float("inf"), 300, 1_024, "yes"), "/srv/traces", [], ""),
        (Unit("", 25, 300, None, "no"), "/srv/traces", [("systemd", "warning")], "TimeoutStopSec=50"),
        (Unit("", 90, 299, None, "no"), "/srv/traces", [("systemd", "warning")], "WatchdogSec=300"),
        (Unit("", 90, 300, 64, "no"), "/srv/traces", [("systemd", "error")], "LimitNOFILE=556"),
        (Unit("", 90, 300, None, "yes"), "/home/ann/traces", [("systemd", "error")], "ProtectHome=read-only"),
        (Unit("", 90, 300, None, "tmpfs"), "/root/traces", [("systemd", "error")], "ProtectHome=read-only"),
        (Unit("", 90, 300, None, "read-only"), "/home/ann/traces", [], ""),
        (Unit("no-such-user", 90, 300, None, "no"), "/srv/traces", [("systemd", "note")], "--uid=no-such-user"),
    ],
)
def test_the_unit(unit: Unit, root: str, expected: list[tuple[str, Severity]], remedy: str) -> None:
    """What the unit forbids is held against what the settings need."""
    troubles = list(unit_troubles(unit, settings(watch__roots=[root])))
    assert said(troubles) == expected
    assert all(remedy in trouble.remedy for trouble in troubles)


def test_files_needed_grow_with_the_settings() -> None:
    """Each connection and each root takes descriptors."""
    more = settings(watch__roots=["/a", "/b"], database__connections=10)
    assert files_needed(more) > files_needed(settings())
