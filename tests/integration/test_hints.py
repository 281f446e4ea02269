"""The listener of a root with line and sweeps at work: whatever becomes of hints and root, files become rows."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import asyncpg
import pytest

from run_files import DIRECTORY, put, run_body, run_path
from soon import soon, soon_answered
from tracewatchd.edges.filesystem import FileSystem
from tracewatchd.edges.folder import Folder, RootIdentity
from tracewatchd.model.events import (
    Event,
    HintsSuspectedLost,
    RootMissing,
    RootReplaced,
    RootReturned,
    SweepFinished,
    WatchRestarted,
    WatchStarted,
)
from tracewatchd.service import hints as hints_module
from tracewatchd.service.daemon import DaemonAssembly
from tracewatchd.service.hints import RootListener
from tracewatchd.settings import load

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
E = TypeVar("E", bound=Event)
SILENT = FileSystem("nfs4", sends_events=False, stamp_grain_s=0.0)


@dataclass
class Listening:
    """A listener with its line and its sweeps, and what they told."""

    root: Path
    connection: Connection
    listener: RootListener
    told: list[Event]

    def of(self, kind: type[E]) -> list[E]:
        """What was told of this kind."""
        return [event for event in self.told if isinstance(event, kind)]

    def told_times(self, kind: type[Event], times: int) -> bool:
        """Whether that was told so often."""
        return len(self.of(kind)) >= times

    @property
    def causes(self) -> list[str]:
        """Why the finished sweeps were made."""
        return [event.cause for event in self.of(SweepFinished)]

    async def rows(self, count: int) -> None:
        """Wait for this number of runs in the database."""
        await soon_answered(partial(self.connection.fetchval, "SELECT count(*) = $1 FROM runs", count))

    async def swept(self, times: int = 1) -> None:
        """Wait until so many sweeps are over."""
        await soon(lambda: len(self.causes) >= times)


class Opening(Protocol):
    """Opens a listener; settings by keyword with ``__`` for the dot."""

    def __call__(
        self, file_system: FileSystem | None = None, **chosen: object
    ) -> AbstractAsyncContextManager[Listening]: ...


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    (place / DIRECTORY).mkdir(parents=True)
    return place


@pytest.fixture
def listening(root: Path, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Opening:
    monkeypatch.setattr(hints_module, "_ROOT_LOOK_S", 0.05)
    return partial(_listening, root, database, connection)


@asynccontextmanager
async def _listening(
    root: Path, database: str, connection: Connection, file_system: FileSystem | None = None, **chosen: object
) -> AsyncIterator[Listening]:
    given = {key.replace("__", "."): value for key, value in chosen.items()}
    fixed = {"watch.roots": [{"path": str(root), "source": "s"}], "database.url": database, "sweep.confirm_s": 0}
    told: list[Event] = []
    assembly = DaemonAssembly(load(None, {**fixed, **given}, {}).settings, told.append, create=False, patience_s=10)
    await assembly.open(migrate=False)
    (place,) = assembly.places
    watched = assembly._watched(replace(place, file_system=file_system or place.file_system))
    parts = [asyncio.create_task(part.run()) for part in (watched.line, watched.listener, watched.schedule)]
    try:
        yield Listening(root, connection, watched.listener, told)
        assert not any(part.done() for part in parts)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.wait(parts)
        watched.line.abandon()
        await assembly.close()


async def test_a_root_is_watched_swept_once_and_then_followed_by_hints(listening: Opening, root: Path) -> None:
    """What was there is found by the first sweep, what comes later by hints: no further sweep is made."""
    put(root, run_path(1), run_body(1))
    async with listening() as daemon:
        await daemon.rows(1)
        await daemon.swept()
        assert daemon.listener.standing.is_set()
        put(root, run_path(2), run_body(2))
        put(root, "new/2026-11-21/a.json", run_body(3))
        await daemon.rows(3)
        assert daemon.causes == ["watch started"]
        (started,) = daemon.of(WatchStarted)
        assert (started.mode, started.root, started.poll_s) == ("events", str(root), None)
        assert not daemon.of(HintsSuspectedLost)


async def test_a_new_directory_is_scanned_for_what_gave_no_event(
    listening: Opening, root: Path, tmp_path: Path
) -> None:
    """Trees that are moved in with their files, projects and days alike, are loaded without a sweep."""
    put(tmp_path / "away", "project/2026-11-20/a.json", run_body(1))
    put(tmp_path / "away", "project/2026-11-21/b.json", run_body(2))
    put(tmp_path / "away", "other/2026-11-22/c.json", run_body(3))
    async with listening() as daemon:
        await daemon.swept()
        (tmp_path / "away" / "project").rename(root / "project")
        (tmp_path / "away" / "other" / "2026-11-22").rename(root / "bot" / "2026-11-22")
        await daemon.rows(3)
        assert daemon.causes == ["watch started"]


async def test_a_directory_that_is_made_again_is_followed(listening: Opening, root: Path) -> None:
    """A day that is deleted and made again under the same name goes on giving hints."""
    async with listening() as daemon:
        await daemon.swept()
        for number in range(1, 4):
            shutil.rmtree(root / DIRECTORY)
            put(root, run_path(number), run_body(number))
            await daemon.rows(number)
        assert daemon.causes == ["watch started"]


async def test_more_new_directories_than_are_scanned_want_a_sweep(
    listening: Opening, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of directories is not scanned one by one: a sweep is wanted, and that is told."""
    monkeypatch.setattr(hints_module, "_SCANS_AT_ONCE", 3)
    async with listening() as daemon:
        await daemon.swept()
        for number in range(1, 21):
            put(root, f"p{number}/2026-11-20/a.json", run_body(number))
        await daemon.rows(20)
        await soon(lambda: daemon.of(HintsSuspectedLost))
        assert "new directories" in daemon.of(HintsSuspectedLost)[0].cause
        await soon(lambda: "hints suspected lost" in daemon.causes)


async def test_a_directory_that_is_gone_before_its_scan_disturbs_nobody(
    listening: Opening, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan of what is not there any more, or of a root that went away, ends quietly."""
    monkeypatch.setattr(hints_module, "_SCANS_AFTER_S", (0.0, 0.3))
    async with listening() as daemon:
        await daemon.swept()
        (root / "brief").mkdir()
        await soon(lambda: daemon.listener._scans)
        root.rename(root.with_name("away"))
        await soon(lambda: daemon.of(RootMissing))
        await soon(lambda: not daemon.listener._scans)


# ---- hints that are lost


async def test_hints_that_find_no_room_are_told_and_swept(listening: Opening, root: Path) -> None:
    """When the inbox is full hints are dropped, which is told with their number; a sweep finds the files."""
    async with listening(ingest__inbox_paths=1, ingest__writers=1, ingest__linger_ms=100) as daemon:
        await daemon.swept()
        for number in range(1, 13):
            put(root, run_path(number), run_body(number))
        await daemon.rows(12)
        suspicions = daemon.of(HintsSuspectedLost)
        assert suspicions
        assert "the inbox was full" in suspicions[0].cause
        await soon(lambda: "hints suspected lost" in daemon.causes)


async def test_a_burst_that_the_kernel_may_have_dropped_is_told_and_swept(
    listening: Opening, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More changes at once than the queue surely holds want a sweep."""
    (tmp_path / "limit").write_text("50")
    monkeypatch.setattr("tracewatchd.edges.watch._QUEUE_LIMIT", tmp_path / "limit")
    async with listening() as daemon:
        await daemon.swept()
        for number in range(1, 101):
            put(root, run_path(number), run_body(number))
        await daemon.rows(100)
        await soon(lambda: "hints suspected lost" in daemon.causes)
        assert "kernel's queue" in daemon.of(HintsSuspectedLost)[0].cause


async def test_a_name_that_ends_the_watch_costs_a_sweep_and_no_file(listening: Opening, root: Path) -> None:
    """After a name that is not UTF-8 the watch is started again and a sweep covers the time between."""
    odd = Path(os.fsdecode(os.fsencode(root / DIRECTORY) + b"/\xff.json"))
    async with listening() as daemon:
        await daemon.swept()
        odd.write_bytes(run_body(1))
        put(root, run_path(2), run_body(2))
        await daemon.rows(2)
        (restarted,) = daemon.of(WatchRestarted)
        assert restarted.cause
        await soon(lambda: len(daemon.of(WatchStarted)) == 2)
        await daemon.swept(2)
        put(root, run_path(3), run_body(3))
        await daemon.rows(3)
        assert len(daemon.of(WatchRestarted)) == 1


async def test_where_no_events_come_sweeps_find_the_files(listening: Opening, root: Path) -> None:
    """On a silent file system the listener polls, and says so with the time between two looks."""
    async with listening(SILENT, watch__poll_interval_s=0.1) as daemon:
        await daemon.swept()
        put(root, run_path(1), run_body(1))
        await daemon.rows(1)
        (started,) = daemon.of(WatchStarted)
        assert (started.mode, started.file_system, started.poll_s) == ("polling", "nfs4", 0.1)
        assert daemon.listener.standing.is_set()
        await soon(lambda: "poll" in daemon.causes)


# ---- roots that come and go

MODES = [None, SILENT]


@pytest.mark.parametrize("file_system", MODES)
async def test_a_root_that_is_missing_at_first_is_waited_for(
    listening: Opening, root: Path, file_system: FileSystem | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its absence is told once and does not hold up readiness; when it appears it is watched and swept."""
    looks: list[Folder] = []
    identity = Folder.identity

    def look(folder: Folder) -> RootIdentity:
        looks.append(folder)
        return identity(folder)

    monkeypatch.setattr(Folder, "identity", look)
    root.rename(root.with_name("away"))
    async with listening(file_system, watch__poll_interval_s=0.1) as daemon:
        await daemon.listener.standing.wait()
        await soon(lambda: len(looks) > 3)
        (missing,) = daemon.of(RootMissing)
        assert (missing.root, missing.error) == (str(root), "No such file or directory")
        assert daemon.causes == []
        put(root.with_name("away"), run_path(1), run_body(1))
        root.with_name("away").rename(root)
        await daemon.rows(1)
        assert len(daemon.of(RootMissing)) == len(daemon.of(RootReturned)) == 1
        assert daemon.of(RootReturned)[0].missing_s >= 0
        put(root, run_path(2), run_body(2))
        await daemon.rows(2)


@pytest.mark.parametrize("file_system", MODES)
async def test_a_root_that_vanishes_and_returns_is_taken_up_again(
    listening: Opening, root: Path, file_system: FileSystem | None
) -> None:
    """Nothing in it is gone meanwhile, and what was written in its absence is found when it is back."""
    put(root, run_path(1), run_body(1))
    async with listening(file_system, watch__poll_interval_s=0.1) as daemon:
        await daemon.rows(1)
        for number in (2, 3):
            root.rename(root.with_name("away"))
            await soon(partial(daemon.told_times, RootMissing, number - 1))
            put(root.with_name("away"), run_path(number), run_body(number))
            root.with_name("away").rename(root)
            await daemon.rows(number)
        assert len(daemon.of(RootReturned)) == 2
        assert not any("gone" in event.findings for event in daemon.of(SweepFinished))


@pytest.mark.parametrize("file_system", MODES)
async def test_a_root_that_is_replaced_is_told_and_swept(
    listening: Opening, root: Path, file_system: FileSystem | None
) -> None:
    """Another directory under the root's name is noticed by its inode, watched, and swept from the start."""
    put(root, run_path(1), run_body(1))
    async with listening(file_system, watch__poll_interval_s=0.1) as daemon:
        await daemon.rows(1)
        await daemon.swept()
        prepared = root.with_name("prepared")
        put(prepared, run_path(1), run_body(1))
        put(prepared, run_path(2), run_body(2))
        root.rename(root.with_name("away"))
        prepared.rename(root)
        await daemon.rows(2)
        await soon(lambda: daemon.told_times(RootReplaced, 1) or daemon.told_times(RootReturned, 1))
        put(root, run_path(3), run_body(3))
        await daemon.rows(3)


async def test_a_root_that_is_replaced_while_the_old_one_is_still_written_to(listening: Opening, root: Path) -> None:
    """A writer that goes on in the moved directory does not keep the replacement from being noticed."""
    async with listening() as daemon:
        await daemon.swept()
        away, prepared = root.with_name("away"), root.with_name("prepared")
        prepared.mkdir()
        writing = asyncio.create_task(_write_for_ever(away / DIRECTORY / "busy.json"))
        root.rename(away)
        prepared.rename(root)
        try:
            await soon(lambda: daemon.told_times(RootReplaced, 1) or daemon.told_times(RootReturned, 1))
            await soon(lambda: len(daemon.of(WatchStarted)) == 2)
        finally:
            writing.cancel()


async def _write_for_ever(path: Path) -> None:
    while True:
        if path.parent.exists():
            path.write_bytes(b"{}")
        await asyncio.sleep(0.01)


async def test_a_link_that_is_turned_to_another_directory_is_a_replaced_root(
    database: str, connection: Connection, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root that is a symlink may be switched to new data; it is followed."""
    monkeypatch.setattr(hints_module, "_ROOT_LOOK_S", 0.05)
    link, other = root.with_name("link"), root.with_name("other")
    link.symlink_to(root)
    put(other, run_path(1), run_body(1))
    async with _listening(link, database, connection) as daemon:
        await daemon.swept()
        root.with_name("new").symlink_to(other)
        root.with_name("new").rename(link)
        await daemon.rows(1)
        await soon(lambda: daemon.of(RootReplaced))
        put(other, run_path(2), run_body(2))
        await daemon.rows(2)
