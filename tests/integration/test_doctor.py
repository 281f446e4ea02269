"""The doctor's looks at real directories, processes and servers, and the round that makes them."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bouncers import bouncing, installed_pgbouncer
from langsmith_faults import ALWAYS, fails
from langsmith_server import serving
from langsmith_upstream import Upstream
from nobody import as_nobody
from postgres import Server, statement
from run_files import put, run_body, run_path
from running import eventually
from stores import ignored
from tracewatchd.edges.disk import room_for
from tracewatchd.edges.filesystem import FileSystem
from tracewatchd.edges.inotify_limits import Granted, inotify_limits, inotify_use
from tracewatchd.edges.permissions import Closed, closed_level, is_open_to_all, our_user
from tracewatchd.edges.systemd_unit import Unit, loaded_unit
from tracewatchd.edges.tree import MOST_CLOSED, look_at_tree
from tracewatchd.model.diagnosis import Diagnosis, Trouble
from tracewatchd.model.errors import ConfigError, NotCheckedError, PermanentError, TransientError
from tracewatchd.model.events import EmbeddedStarted, EmbeddedStopped, Event
from tracewatchd.service import doctor_machine
from tracewatchd.service.assemble import Place, place_of
from tracewatchd.service.checkup import check_up
from tracewatchd.service.doctor import Check, diagnose, in_thread
from tracewatchd.service.doctor_database import DatabaseCheck
from tracewatchd.service.doctor_machine import Kept, kept_troubles
from tracewatchd.service.doctor_roots import Roots, closed_troubles, future_troubles, layout_troubles
from tracewatchd.settings import SECRETS_VARIABLE, load
from tracewatchd.store import preflight
from tracewatchd.store.connect import StoreOptions
from tracewatchd.store.embedded import EmbeddedServer
from tracewatchd.store.preflight import Pooling, Seen, pooling_of, see, takes_our_settings
from tracewatchd.store.schema import newest

OPTIONS = StoreOptions(connect_timeout_s=10)


def now() -> datetime:
    return datetime.now(UTC)


# ---------------------------------------------------------------------------------------------------------------------
# The round


async def _found(*troubles: Trouble) -> list[Trouble]:
    return list(troubles)


def _raising(error: Exception) -> Callable[[], Any]:
    async def look() -> list[Trouble]:
        raise error

    return look


async def test_no_check_hides_another() -> None:
    """What fails for ever is a trouble, what may heal or hangs was not checked; the others are told all the same."""
    fine = Trouble("fine", "note", "a sentence", "a remedy")

    async def hang() -> list[Trouble]:
        await asyncio.Event().wait()
        return []

    diagnosis = await diagnose(
        [
            Check("hangs", hang, 0.05),
            Check("away", _raising(TransientError("nobody answers", hint="wait"))),
            Check("unseen", _raising(NotCheckedError("cannot be seen", hint="look elsewhere"))),
            Check("wrong", _raising(PermanentError("refused", hint="ask for it"))),
            Check("unset", _raising(ConfigError("not set", hint="set it"))),
            Check("shut", _raising(PermissionError(13, "Permission denied", "/root/x"))),
            Check("fine", lambda: _found(fine)),
        ]
    )
    assert diagnosis.checks == ["hangs", "away", "unseen", "wrong", "unset", "shut", "fine"]
    assert diagnosis.troubles == [
        Trouble("wrong", "error", "refused", "ask for it"),
        Trouble("unset", "error", "not set", "set it"),
        fine,
    ]
    assert [(missed.check, missed.sentence) for missed in diagnosis.unchecked] == [
        ("hangs", "the check of hangs had no answer within 0.05 s"),
        ("away", "nobody answers"),
        ("unseen", "cannot be seen"),
        ("shut", "the check of shut was cut short: [Errno 13] Permission denied: '/root/x'"),
    ]


async def test_a_call_that_never_returns_holds_nobody_up() -> None:
    """A thread that hangs is left behind, and what it says too late is not asked for any more."""
    let_go, gone = threading.Event(), threading.Event()

    def hang() -> list[Trouble]:
        let_go.wait(20)
        gone.set()
        return []

    began = time.monotonic()
    diagnosis = await diagnose([Check("hangs", lambda: in_thread(hang), 0.05)])
    assert [missed.check for missed in diagnosis.unchecked] == ["hangs"]
    assert time.monotonic() - began < 10
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "look"] == [True]
    let_go.set()
    assert await asyncio.to_thread(gone.wait, 20)
    with pytest.raises(NotCheckedError):
        await in_thread(lambda: (_ for _ in ()).throw(NotCheckedError("late")))


# ---------------------------------------------------------------------------------------------------------------------
# Roots


def place_at(root: Path) -> Place:
    return place_of(load(None, {"watch.roots": [str(root)]}, {}).settings.watch.roots[0])


def test_a_walk_counts_what_watching_takes_and_what_is_never_loaded(root: Path) -> None:
    """Directories, projects, run files and the largest burst are counted; strays by their reason, once each."""
    for number in range(1, 6):
        os.utime(put(root, run_path(number), run_body(number)), (1_000, 1_000 + number // 4))
    put(root, "bot/2026-11-21/_summary.json", b"{}")
    put(root, "bot/2026-11-21/.half.json", b"{}")
    put(root, "bot/2026-11-21/notes.txt", b"")
    strays = {
        "lies above the folders of days": ["stray.json", "bot/stray.json"],
        "lies below the folders of days": ["bot/2026-11-20/deep/stray.json"],
        "lies in a folder whose name is no day": ["bot/latest/stray.json"],
    }
    for path in (path for paths in strays.values() for path in paths):
        put(root, path, b"{}")
    (root / "bot/2026-11-21/link.json").symlink_to(root / "stray.json")
    os.mkfifo(root / "bot/2026-11-21/fifo.json")
    look = look_at_tree(root, limit_s=60)
    assert (look.directories, look.projects, look.run_files) == (6, 1, 5)
    assert (look.burst.files, look.burst.directory) == (3, str(root / "bot/2026-11-20"))
    single = {"is a symlink, and none is followed": 1, "is no regular file": 1}
    assert look.outside == {reason: len(paths) for reason, paths in strays.items()} | single
    assert (look.closed, look.future) == ([], 0)
    said = [trouble.sentence for trouble in layout_troubles(place_at(root), look)]
    assert len(said) == 5
    assert f"2 .json files under root {root} are never loaded: each lies above the folders of days, as " in said[2]


def test_stamps_from_the_future(root: Path) -> None:
    """A file that is stamped a minute and more ahead of our clock is told, with the first as an example."""
    path = put(root, run_path(1), run_body(1))
    os.utime(path, (2_000, 2_000))
    assert look_at_tree(root, limit_s=60, now_s=lambda: 1_945).future == 0
    look = look_at_tree(root, limit_s=60, now_s=lambda: 1_900)
    assert (look.future, look.future_example) == (1, path)
    (trouble,) = future_troubles(place_at(root), look)
    assert trouble.sentence.endswith(f"are stamped later than now: 1, as {path}")


def test_a_walk_has_a_limit(root: Path) -> None:
    """A file system that is too slow was not checked; a root that went away is not taken for an empty one."""
    with pytest.raises(NotCheckedError, match="could not be walked within -1 s"):
        look_at_tree(root, limit_s=-1)


def _let_everybody_through(place: Path) -> None:
    """Pytest's own directories are closed to others."""
    for level in (place, *place.parents):
        if level.stat().st_uid == os.geteuid() and level != Path("/"):
            level.chmod(level.stat().st_mode | 0o011)


def test_each_closed_level_is_told_once(root: Path) -> None:
    """What a user without power over permissions cannot enter, list or read is named, once each."""

    def locked(path: str, mode: int) -> Path:
        (root / path).chmod(mode)
        return root / path

    root.chmod(0o755)
    _let_everybody_through(root)
    for project in ("no-list", "no-enter", "open"):
        put(root, f"{project}/2026-11-20/a.json", b"{}")
        put(root, f"{project}/2026-11-20/b.json", b"{}")
    link = root.parent / "link"
    link.symlink_to("root/no-enter/2026-11-20/a.json")
    locked("no-list/2026-11-20", 0o711)
    locked("no-enter/2026-11-20", 0o744)
    locked("open/2026-11-20/a.json", 0o600)

    def check() -> None:
        look = look_at_tree(root, limit_s=60)
        troubles = list(closed_troubles(place_at(root), look.closed))
        told = {trouble.sentence.partition(": ")[2].partition(" (")[0] for trouble in troubles}
        user = our_user()
        assert told == {
            f"user {user} may not read {root}/open/2026-11-20/a.json",
            f"user {user} may not enter {root}/no-enter/2026-11-20",
            f"user {user} may not read {root}/no-list/2026-11-20",
        }, told
        assert len(troubles) == 3
        assert closed_level(root, "rx") is None
        assert closed_level(root / "no-enter/2026-11-20/a.json", "r") == Closed(
            root / "no-enter/2026-11-20", "x", "root:root", "0744"
        )
        assert closed_level(link, "rx") == Closed(root / "no-enter/2026-11-20", "x", "root:root", "0744")
        with pytest.raises(NotCheckedError, match="cannot be looked at: Permission denied"):
            is_open_to_all(root / "no-enter/2026-11-20/a.json")
        missing = closed_level(root / "nothing/below", "rx")
        assert missing is not None
        assert (missing.is_missing, missing.path) == (True, root / "nothing")

    as_nobody(check)


def test_what_is_closed_without_a_reason_and_what_is_too_much(root: Path) -> None:
    """Where modes allow what was refused a security module is suspected; of very many closed places some are told."""
    files = [put(root, run_path(number), run_body(number)) for number in range(1, MOST_CLOSED + 3)]
    (trouble,) = closed_troubles(place_at(root), files[:1])
    assert trouble.sentence == f"{files[0]} cannot be read although its mode allows it"
    assert list(closed_troubles(place_at(root), [root / "gone"])) == []
    for file in files:
        file.chmod(0)
    root.chmod(0o755)
    _let_everybody_through(root)

    def check() -> None:
        look = look_at_tree(root, limit_s=60)
        troubles = list(closed_troubles(place_at(root), look.closed))
        assert len(troubles) == MOST_CLOSED + 1
        assert troubles[-1].sentence.startswith(f"more than these {MOST_CLOSED} are closed")

    as_nobody(check)


@contextmanager
def hanging(directory: Path, point: Path) -> Iterator[None]:
    """A file system at ``point`` that shows a directory and answers nothing any more."""
    point.mkdir()
    words = ["rclone", "mount", f":local:{directory}", str(point), "--config", "/dev/null", "--attr-timeout", "0"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: os.path.ismount(point))
        server.send_signal(signal.SIGSTOP)
        yield
    finally:
        server.send_signal(signal.SIGCONT)
        subprocess.run(["fusermount3", "-u", "-z", str(point)], check=False)
        server.terminate()
        server.wait(20)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("rclone") or not shutil.which("fusermount3"),
    reason="mounting needs root, rclone and fuse3",
)
async def test_a_root_that_hangs_holds_nobody_up(root: Path, tmp_path: Path) -> None:
    """Its check alone says that there was no answer; the other root is looked at, and its watches are counted."""
    put(root, "stray.json", b"{}")
    point = tmp_path / "point"
    chosen = load(None, {"watch.roots": [str(root), str(point)]}, {}).settings.watch
    with hanging(root, point):
        diagnosis = await diagnose(Roots(chosen.roots, chosen, walk_s=0.5).checks())
    assert [missed.check for missed in diagnosis.unchecked] == [f"root {point}"]
    assert [trouble.check for trouble in diagnosis.troubles] == ["layout"]


# ---------------------------------------------------------------------------------------------------------------------
# The machine


def test_the_limits_of_this_kernel() -> None:
    """Where a user namespace grants less than the machine, that is what holds."""
    limits = inotify_limits()
    assert limits.queue.number == int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    assert limits.watches.number <= int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    assert limits.watches.name in {"fs.inotify.max_user_watches", "user.max_inotify_watches"}


def test_the_lower_limit_holds(tmp_path: Path) -> None:
    """Each limit is the lower one of two, under its own name; without the files nothing was checked."""
    for name, number in {
        "fs.inotify.max_user_watches": 10,
        "user.max_inotify_watches": 7,
        "fs.inotify.max_user_instances": 5,
        "user.max_inotify_instances": 9,
        "fs.inotify.max_queued_events": 100,
    }.items():
        put(tmp_path, "sys/" + name.replace(".", "/"), f"{number}\n".encode())
    assert inotify_limits(tmp_path) == (
        Granted(7, "user.max_inotify_watches"),
        Granted(5, "fs.inotify.max_user_instances"),
        Granted(100, "fs.inotify.max_queued_events"),
    )
    (tmp_path / "sys/fs/inotify/max_queued_events").unlink()
    with pytest.raises(NotCheckedError, match="max_queued_events"):
        inotify_limits(tmp_path)


_WATCHER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0)
for name in sys.argv[2:]:
    assert libc.inotify_add_watch(fd, name.encode(), 2) > 0
print("watching", flush=True)
sys.stdin.read()
"""


def _watching(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["python3", "-c", _WATCHER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "watching\n"
    return process


def test_what_other_programs_watch_is_counted(tmp_path: Path) -> None:
    """Another program's watches are taken from what is left; those of a daemon of ours are what we count ourselves."""
    names = [str(tmp_path / name) for name in "abc"]
    for name in names:
        Path(name).mkdir()
    process = _watching("other", *names)
    try:
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / str(process.pid)).symlink_to(f"/proc/{process.pid}")
        (proc / "1234567890").mkdir()  # a process that is gone before one can look
        assert inotify_use(proc) == (3, 1)
        everything = inotify_use()
        assert (everything.watches >= 3, everything.instances >= 1) == (True, True)
    finally:
        process.communicate()


def test_a_daemon_of_ours_is_not_counted_twice(tmp_path: Path) -> None:
    """Whoever runs as ``tracewatchd run`` watches the very roots that are asked about."""
    proc = tmp_path / "proc"
    for number, line in {"7": b"/opt/bin/tracewatchd\0run\0", "8": b"/usr/bin/other\0run\0"}.items():
        put(proc, f"{number}/cmdline", line)
        put(proc, f"{number}/fdinfo/3", b"inotify wd:1 ino:2\n" * int(number))
        (proc / number / "fd").mkdir()
        (proc / number / "fd/3").symlink_to("anon_inode:inotify")
        (proc / number / "fd/4").symlink_to("/dev/null")
    assert inotify_use(proc) == (8, 1)


def test_room_under_what_is_not_made_yet(tmp_path: Path) -> None:
    """The room is that of the directory in which it would be made."""
    room = room_for(tmp_path / "not" / "yet")
    assert room.path == tmp_path
    assert room.free_bytes > 0
    assert 0 <= room.files_share <= 1


def test_files_for_everybody(tmp_path: Path) -> None:
    """Only the right of everybody else counts; what is not there is open to nobody."""
    file = tmp_path / "secret"
    assert not is_open_to_all(file)
    file.write_text("x")
    for mode, is_open in ((0o600, False), (0o640, False), (0o644, True)):
        file.chmod(mode)
        assert is_open_to_all(file) is is_open


def _systemctl(directory: Path, script: str) -> Mapping[str, str]:
    program = directory / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def test_what_systemd_says_of_the_unit(tmp_path: Path) -> None:
    """Spans and limits are read as systemd prints them; without it or the unit there is nothing."""
    said = "LoadState=loaded\\nUser=traces\\nDynamicUser=no\\nTimeoutStopUSec=1min 30s\\nWatchdogUSec=5min\\n"
    there = _systemctl(tmp_path, f"printf '{said}LimitNOFILESoft=1024\\nProtectHome=yes\\n'")
    assert loaded_unit(there, runs=tmp_path) == Unit("traces", 90.0, 300.0, 1_024, "yes")
    assert loaded_unit(there, runs=tmp_path / "nowhere") is None
    assert loaded_unit({"PATH": "/nowhere"}, runs=tmp_path) is None
    unlimited = "LoadState=loaded\\nUser=x\\nDynamicUser=yes\\nTimeoutStopUSec=infinity\\nLimitNOFILESoft=infinity\\n"
    assert loaded_unit(_systemctl(tmp_path, f"printf '{unlimited}'"), runs=tmp_path) == Unit(
        "", float("inf"), float("inf"), None, "no"
    )
    assert loaded_unit(_systemctl(tmp_path, "echo LoadState=not-found"), runs=tmp_path) is None
    with pytest.raises(NotCheckedError, match="CalledProcessError"):
        loaded_unit(_systemctl(tmp_path, "exit 1"), runs=tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# The database


async def seen_by(dsn: str, **options: Any) -> Seen:
    return await see(dsn, StoreOptions(**options), now)


async def test_our_own_tables(database: str) -> None:
    """Their owner lacks nothing and nothing is to be made."""
    seen = await seen_by(database)
    assert (seen.needs_migration, seen.owns_tables, seen.lacking, seen.foreign) == (False, True, {}, ())
    assert (seen.encoding, seen.in_recovery, seen.has_citus) == ("UTF8", False, False)
    assert abs(seen.server_ahead_s) < 2 + seen.asking_s


async def test_an_empty_database(empty_database: str) -> None:
    """Without tables they are to be made, in a schema that may be missing as well."""
    assert (await seen_by(empty_database)).schema_version == 0
    seen = await seen_by(empty_database, schema="elsewhere")
    assert (seen.schema_exists, seen.may_create_schema, seen.needs_migration) == (False, True, True)


async def test_a_table_of_another_program(empty_database: str) -> None:
    """A foreign table under a name of ours is seen before anything is made."""
    await statement(empty_database, "CREATE TABLE runs (id int)")
    assert (await seen_by(empty_database)).foreign == ("runs",)


async def test_a_role_that_may_not_even_look(server: Server, database: str) -> None:
    """Without any right on the schema the rights are told all the same, and nothing is read."""
    await statement(database, "CREATE ROLE blind LOGIN CONNECTION LIMIT 3", "REVOKE ALL ON SCHEMA public FROM public")
    try:
        seen = await seen_by(database.replace("://tracewatchd@", "://blind@"))
        assert (seen.may_use_schema, seen.role_connections, seen.schema_version) == (False, 3, newest())
        assert seen.lacking["runs"] == ["SELECT", "INSERT", "UPDATE", "DELETE"]
        assert len(seen.lacking) == 10
    finally:
        await statement(database, "DROP ROLE blind")


async def test_the_doubt_about_a_clock(database: str) -> None:
    """A clock that is an hour behind the server's is seen as that, give or take the time of asking."""
    seen = await see(database, OPTIONS, lambda: now() - timedelta(hours=1))
    assert abs(seen.server_ahead_s - 3_600) <= seen.asking_s / 2 + 0.5


async def test_citus_by_its_view(database: str) -> None:
    """What Citus says of our tables is read from its view; a stand-in of the view has its columns."""
    await statement(
        database,
        "CREATE VIEW citus_tables AS SELECT c.oid::regclass AS table_name,"
        " CASE WHEN relname = 'leases' THEN 'local' ELSE 'distributed' END AS citus_table_type,"
        " 'project' AS distribution_column FROM pg_class c WHERE relname IN ('runs', 'leases')",
    )
    seen = await seen_by(database)
    assert (seen.has_citus, seen.distributed) == (True, {"runs": "project"})


async def test_a_server_that_is_too_old(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version is told before anything is asked that it may not know."""
    monkeypatch.setattr(preflight, "OLDEST_SERVER", 99)
    with pytest.raises(PermanentError, match="is too old"):
        await seen_by(database)


async def test_a_standby(server_of: Callable[..., Server], wheel: Path) -> None:
    """A server that only follows another takes no writes, and says so."""
    server = server_of(wheel)
    server.stop()
    (server.data / "standby.signal").touch()
    if os.geteuid() == 0 and server.binaries.identity.user is not None:
        os.chown(server.data / "standby.signal", *server.binaries.identity.user)
    server.start()
    assert (await seen_by(server.dsn())).in_recovery


async def test_a_server_that_is_away(tmp_path: Path) -> None:
    """Nobody answers: that heals, and so it was not checked."""
    dsn = f"postgresql:///nobody?host={tmp_path}"
    for look in (see(dsn, OPTIONS, now), pooling_of(dsn, OPTIONS), takes_our_settings(dsn, OPTIONS)):
        with pytest.raises(TransientError):
            await look


@pytest.fixture
def through(server: Server) -> Callable[..., Any]:
    """A bouncer with these options."""
    program = installed_pgbouncer()
    if program is None:
        pytest.skip("no pgbouncer is installed (tests/system-packages installs one)")
    return lambda **options: bouncing(program, server, **options)


_IGNORING = (
    "ignore_startup_parameters = jit,max_parallel_workers_per_gather,plan_cache_mode,lock_timeout,random_page_cost,"
    "statement_timeout"
)


@pytest.mark.parametrize(
    ("options", "pooling", "taken"),
    [
        ({"mode": "transaction"}, "transaction", False),
        ({"mode": "transaction", "backends": 1}, "transaction", False),
        ({"mode": "transaction", "more": _IGNORING}, "transaction", True),
        ({"mode": "transaction", "backends": 4, "more": "server_round_robin = 1"}, "transaction", False),
        ({"mode": "session"}, "session", False),
        ({"mode": "session", "backends": 1}, "session", False),
        ({"mode": "session", "more": _IGNORING}, "session", True),
        ({"mode": "statement"}, "statement", False),
    ],
    ids=str,
)
async def test_how_backends_are_lent(
    options: dict[str, Any],
    pooling: Pooling,
    taken: bool,  # noqa: FBT001 - a table's column
    through: Callable[..., Any],
    database: str,
) -> None:
    """Whatever a pooler is set to is seen from outside, by asking the backends who they are."""
    with through(**options) as bouncer:
        dsn = bouncer.dsn(database)
        assert await pooling_of(dsn, OPTIONS) == pooling
        assert await takes_our_settings(dsn, OPTIONS) is taken


async def test_no_pooler(database: str) -> None:
    """Straight at the server nothing stands between, and all our settings are taken."""
    assert await pooling_of(database, OPTIONS) == "none"
    assert await takes_our_settings(database, OPTIONS)


async def test_statements_alone(through: Callable[..., Any], database: str, root: Path) -> None:
    """Through a pooler without transactions there is one trouble and no look at the tables."""
    with through(mode="statement") as bouncer:
        chosen = load(None, {"database.url": bouncer.dsn(database), "watch.roots": [str(root)]}, {}).settings
        (trouble,) = await DatabaseCheck(chosen, ignored, now).look()
    assert "set pool_mode = transaction" in trouble.remedy


# ---------------------------------------------------------------------------------------------------------------------
# Everything together


async def checked(root: Path, database: str | None, **given: object) -> Diagnosis:
    """The whole round with these settings (``__`` for the dot); without a database the embedded one is used."""
    overrides = {key.replace("__", "."): value for key, value in given.items()}
    loaded = load(None, {"watch.roots": [str(root)], "database.url": database, **overrides}, _environment(root))
    return await check_up(loaded, loaded.settings.watch.roots, ignored)


def _environment(root: Path) -> dict[str, str]:
    return {SECRETS_VARIABLE: str(root / "none")}


def sentences(diagnosis: Diagnosis, check: str) -> list[str]:
    """What one check complains of."""
    return [trouble.sentence for trouble in diagnosis.troubles if trouble.check == check]


async def test_an_embedded_server_that_was_never_started(root: Path, tmp_path: Path) -> None:
    """Nothing is made or started for the look; programs that cannot run are told."""
    home = tmp_path / "home"
    diagnosis = await checked(root, None, database__embedded_dir=str(home))
    assert (sentences(diagnosis, "database"), diagnosis.unchecked, home.exists()) == ([], [], False)
    assert f"disk {home}" in diagnosis.checks
    diagnosis = await checked(root, None, database__embedded_dir=str(home), database__binaries=str(tmp_path))
    (sentence,) = sentences(diagnosis, "database")
    assert "cannot be run" in sentence


async def test_an_embedded_server_that_is_there(root: Path, tmp_path: Path) -> None:
    """It is started for the look where it does not run, and stopped again."""
    home = tmp_path / "home"
    server = EmbeddedServer(home, binaries=None, tell=ignored, create=True)
    await server.dsn()
    await server.stop()
    told: list[Event] = []
    chosen = load(None, {"watch.roots": [str(root)], "database.embedded_dir": str(home)}, {}).settings
    assert await DatabaseCheck(chosen, told.append, now).look() == []
    assert [type(event) for event in told] == [EmbeddedStarted, EmbeddedStopped]


async def test_a_root_that_is_a_file(tmp_path: Path, database: str) -> None:
    """What is no directory cannot be a root, and the watches of the others are counted without it."""
    file = tmp_path / "file"
    file.write_text("")
    diagnosis = await checked(file, database)
    assert sentences(diagnosis, "permissions") == [f"root {file} is no directory"]
    assert not sentences(diagnosis, "watches")


def test_a_place_to_write_into_that_is_closed(tmp_path: Path) -> None:
    """A directory that takes no files of this user's is told with its mode, its owner and its setting."""
    zips = tmp_path / "zips"
    zips.mkdir(mode=0o755)
    (zips / "closed").mkdir(mode=0o700)
    _let_everybody_through(tmp_path)

    def check() -> None:
        here = Kept("the zips", zips, "archive.zip_dir")
        for kept in (here, here._replace(path=zips / "not" / "yet")):
            (trouble,) = [one for one in kept_troubles(kept) if one.check == "permissions"]
            user = our_user()
            assert trouble.sentence == (
                f"the zips in {kept.path}: user {user} may not write into {zips} (mode 0755, owner root:root)"
            )
            assert trouble.remedy == f"`chown {user} {zips}`, or let archive.zip_dir name another directory"

        closed = here._replace(path=zips / "closed" / "deeper")
        (trouble,) = kept_troubles(closed)
        assert f"may not write into {zips}/closed (mode 0700, owner root:root)" in trouble.sentence
        assert kept_troubles(here._replace(path=tmp_path / "nothing", is_named=False)) == []

    if os.geteuid() == 0:
        as_nobody(check)
    else:
        pytest.skip("everything here belongs to us")


def test_a_place_to_write_into_that_is_a_file(tmp_path: Path) -> None:
    """Nothing can be written below a file."""
    (tmp_path / "file").write_text("")
    (trouble,) = [
        one
        for one in kept_troubles(Kept("the zips", tmp_path / "file" / "zips", "archive.zip_dir"))
        if one.check == "permissions"
    ]
    assert trouble.sentence.endswith(f": {tmp_path}/file is no directory")


def test_a_database_on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded database is told to leave a file system that does not sync; zips may lie on one."""
    nfs = FileSystem("nfs4", sends_events=False, stamp_grain_s=2.0)
    monkeypatch.setattr(doctor_machine, "file_system_of", lambda _: nfs)
    kept = Kept("the embedded database", tmp_path, "database.embedded_dir", is_database=True)
    (trouble,) = [one for one in kept_troubles(kept) if one.check == "file system"]
    assert "lies on nfs4, which does not sync as a database needs it" in trouble.sentence
    assert [one for one in kept_troubles(kept._replace(is_database=False)) if one.check == "file system"] == []


async def test_few_descriptors(root: Path, database: str) -> None:
    """A limit of open files below what the daemon may want is an error with the number to set."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        diagnosis = await checked(root, database)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sentences(diagnosis, "limits") == ["this process may open 200 files, but the daemon may want 278"]


async def test_a_project_that_langsmith_does_not_have(root: Path, database: str) -> None:
    """A project whose retention is watched under a name that LangSmith does not know is an error."""
    upstream = Upstream()
    upstream.add_project("Support Bot")
    projects = [
        {"project": name, "retention_days": 14, "first_day": "2026-11-20"} for name in ("Support Bot", "Suport")
    ]
    with serving(upstream) as langsmith:
        given = {
            "langsmith__endpoint": langsmith.url,
            "langsmith__api_key": langsmith.key,
            "retention__projects": projects,
        }
        diagnosis = await checked(root, database, **given)
        assert sentences(diagnosis, "langsmith") == ["LangSmith has no project 'Suport' that this key may see"]
        langsmith.inject(fails(503, "/sessions", times=ALWAYS))
        asked = langsmith.count()
        busy = await checked(root, database, **given)
        assert langsmith.count() == asked + 1
    assert [missed.check for missed in busy.unchecked] == ["langsmith"]


async def test_no_credentials_for_a_folder(root: Path, database: str) -> None:
    """A folder on Drive without any credentials is an error; without either there is nothing to say."""
    diagnosis = await checked(root, database, drive__folder="abcdefghijklmnopqrstuvwxyz", archive__state_dir=str(root))
    assert sentences(diagnosis, "drive") == ["drive.credentials_file: there are no credentials for Google Drive"]
    assert sentences(await checked(root, database, archive__state_dir=str(root)), "drive") == []
