"""Watching real directories: what gives hints, what ends a watch, and when hints may have been lost."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from nobody import as_nobody
from run_files import put
from soon import soon
from tracewatchd.edges import watch as watch_module
from tracewatchd.edges.watch import Hints, Idle, Notice, WatchEndedError, Watching, watch

DAY = "bot/2026-11-20"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    (place / DAY).mkdir(parents=True)
    return place


class Seen:
    """What a watch said so far, and how it ended."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.end: WatchEndedError | None = None

    @property
    def hints(self) -> list[Hints]:
        return [notice for notice in self.notices if isinstance(notice, Hints)]

    @property
    def paths(self) -> set[str]:
        return {path for hints in self.hints for path in hints.paths}

    @property
    def directories(self) -> set[str]:
        return {path for hints in self.hints for path in hints.new_directories}

    @property
    def stands(self) -> bool:
        return Watching() in self.notices


def _is_hinted(seen: Seen, path: str) -> bool:
    return path in seen.paths


@asynccontextmanager
async def watching(root: Path) -> AsyncIterator[Seen]:
    """A watch that stands, for the length of the block."""
    seen = Seen()

    async def collect() -> None:
        try:
            async for notice in watch(root):
                seen.notices.append(notice)
        except WatchEndedError as error:
            seen.end = error

    collecting = asyncio.create_task(collect())
    try:
        await soon(lambda: seen.stands or seen.end)
        yield seen
    finally:
        collecting.cancel()
        await asyncio.wait([collecting])
        if not collecting.cancelled():
            collecting.result()


async def test_files_that_appear_or_change_are_hinted_and_nothing_else(root: Path) -> None:
    """Written, renamed into place, rewritten or touched: hinted; deleted, temporary, summaries, elsewhere: not."""
    for name in ("old", "touched", "deleted"):
        put(root, f"{DAY}/{name}.json", b"{}")
    async with watching(root) as seen:
        assert isinstance(seen.notices[0], Watching)
        (root / DAY / "written.json").write_bytes(b"{}")
        put(root, f"{DAY}/renamed.json", b"{}")
        (root / DAY / "old.json").write_bytes(b"[]")
        (root / DAY / "deleted.json").unlink()
        (root / DAY / "_summary.json").write_bytes(b"{}")
        (root / DAY / ".hidden.json").write_bytes(b"{}")
        (root / DAY / "notes.txt").write_bytes(b"{}")
        (root / "stray.json").write_bytes(b"{}")
        os.utime(root / DAY / "touched.json")
        expected = {f"{DAY}/{name}.json" for name in ("written", "renamed", "old", "touched")}
        await soon(lambda: seen.paths >= expected)
        put(root, f"{DAY}/last.json", b"{}")
        await soon(lambda: f"{DAY}/last.json" in seen.paths)
        assert seen.paths == expected | {f"{DAY}/last.json"}
        assert not any(hints.suspected_lost for hints in seen.hints)


async def test_new_directories_are_named_and_watched(root: Path) -> None:
    """A project or day that appears is reported for a scan, and what happens in it later is hinted."""
    async with watching(root) as seen:
        (root / "new").mkdir()
        await soon(lambda: "new" in seen.directories)
        (root / "new" / "2026-11-21").mkdir()
        await soon(lambda: "new/2026-11-21" in seen.directories)
        (root / "new" / "not-a-day").mkdir()
        (root / "new" / "2026-11-21" / "2026-11-22").mkdir()
        os.utime(root / DAY)
        put(root, "new/2026-11-21/a.json", b"{}")
        await soon(lambda: "new/2026-11-21/a.json" in seen.paths)
        assert seen.directories == {"new", "new/2026-11-21"}


async def test_a_tree_that_is_moved_in_is_reported_and_watched(root: Path) -> None:
    """A directory that arrives with its files is reported as new: none of its files gave an event."""
    put(root.parent / "elsewhere", f"moved/2026-11-21/{'a'}.json", b"{}")
    async with watching(root) as seen:
        (root.parent / "elsewhere" / "moved").rename(root / "moved")
        await soon(lambda: "moved" in seen.directories)
        put(root, "moved/2026-11-21/b.json", b"{}")
        await soon(lambda: "moved/2026-11-21/b.json" in seen.paths)


async def test_a_directory_that_is_deleted_and_made_again_is_watched_again(root: Path) -> None:
    """A watch sits on the inode: the new directory of the old name is new, and its files are hinted."""
    async with watching(root) as seen:
        for number in range(3):
            shutil.rmtree(root / DAY)
            (root / DAY).mkdir()
            await soon(lambda: DAY in seen.directories)
            path = f"{DAY}/{number}.json"
            put(root, path, b"{}")
            await soon(partial(_is_hinted, seen, path))
            seen.notices[1:] = []


async def test_a_symlinked_root_is_watched_where_it_leads(root: Path) -> None:
    """Hints are relative to the root as it was named, whatever link leads there."""
    link = root.with_name("link")
    link.symlink_to(root)
    async with watching(link) as seen:
        put(root, f"{DAY}/a.json", b"{}")
        put(link, f"{DAY}/b.json", b"{}")
        await soon(lambda: seen.paths >= {f"{DAY}/a.json", f"{DAY}/b.json"})


@pytest.mark.parametrize("named", ["{}/", "{}/../root", "{}/."])
async def test_any_spelling_of_the_root_gives_the_same_paths(root: Path, named: str) -> None:
    """Trailing slashes and detours in the root's name do not show in hints."""
    async with watching(Path(named.format(root))) as seen:
        put(root, f"{DAY}/a.json", b"{}")
        await soon(lambda: f"{DAY}/a.json" in seen.paths)


async def test_names_are_spelled_as_everywhere(root: Path) -> None:
    """A percent sign is encoded in a hint, and a name of 250 bytes or with emoji is hinted."""
    names = ["50%.json", "\U0001f600 'x'.json", "n" * 245 + ".json"]
    async with watching(root) as seen:
        for name in names:
            (root / DAY / name).write_bytes(b"{}")
        expected = {f"{DAY}/{name.replace('%', '%25')}" for name in names}
        await soon(lambda: seen.paths >= expected)


async def test_a_name_that_is_not_utf8_ends_the_watch_and_the_next_one_stands(root: Path) -> None:
    """The end is an error that names its cause; a new watch works although the file is still there."""
    async with watching(root) as seen:
        (root / DAY / os.fsdecode(b"\xff.json")).write_bytes(b"{}")
        await soon(lambda: seen.end)
        assert seen.end
        assert seen.end.hint == ""
        assert str(seen.end)
    async with watching(root) as again:
        put(root, f"{DAY}/a.json", b"{}")
        await soon(lambda: f"{DAY}/a.json" in again.paths)
        assert again.end is None


async def test_a_root_that_is_not_there_ends_the_watch_at_once(root: Path) -> None:
    """No watch stands where there is nothing to watch."""
    async with watching(root / "nowhere") as seen:
        assert seen.end
        assert not seen.stands


async def test_a_quiet_root_says_so_about_once_a_second(root: Path) -> None:
    """Without changes there are idle moments, in which the listener looks at the root itself."""
    async with watching(root) as seen:
        await soon(lambda: Idle() in seen.notices)
        assert seen.hints == []


async def test_leaving_a_watch_gives_its_descriptors_back(root: Path) -> None:
    """Watches can be made and left as often as a root comes and goes."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with watching(root):
        pass
    before = descriptors()
    for _ in range(5):
        async with watching(root):
            pass
    await soon(lambda: descriptors() <= before)


async def test_a_burst_that_may_have_overflowed_the_queue_is_suspected(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a queue of 50 events a hundred files at once may have been too many; a few are not."""
    limit = root.with_name("limit")
    limit.write_text("50\n")
    monkeypatch.setattr(watch_module, "_QUEUE_LIMIT", limit)
    async with watching(root) as seen:
        put(root, f"{DAY}/one.json", b"{}")
        await soon(lambda: seen.paths)
        assert not any(hints.suspected_lost for hints in seen.hints)
        for number in range(100):
            (root / DAY / f"{number}.json").write_bytes(b"{}")
        await soon(lambda: any(hints.suspected_lost for hints in seen.hints))


# ---- directories that are closed to us


def open_again(directory: Path) -> None:
    """Let us enter everything below, so that it can be removed."""
    directory.chmod(0o777)
    for entry in directory.iterdir():
        if entry.is_dir():
            open_again(entry)


@pytest.fixture
def passable() -> Iterator[Path]:
    """A directory that anybody may enter; pytest's own are closed to others."""
    place = Path(tempfile.mkdtemp(prefix="tracewatchd-watch-"))
    place.chmod(0o777)
    yield place
    for directory, _, _ in os.walk(place):
        Path(directory).chmod(0o755)
    open_again(place)
    shutil.rmtree(place)


def test_a_closed_directory_costs_no_other_its_hints(passable: Path) -> None:
    """Days and projects beside a closed one are watched as ever; new ones too."""
    for directory in ("bot/2026-11-20", "bot/2026-11-21", "closed/2026-11-20", "open/2026-11-20"):
        (passable / directory).mkdir(parents=True)
        (passable / directory).chmod(0o777)
    (passable / "open").chmod(0o777)
    (passable / "bot" / "2026-11-21").chmod(0)
    (passable / "closed").chmod(0)

    async def check() -> None:
        async with watching(passable) as seen:
            (passable / "bot/2026-11-20/a.json").write_bytes(b"{}")
            (passable / "open/2026-11-22").mkdir()
            await soon(lambda: "bot/2026-11-20/a.json" in seen.paths)
            await soon(lambda: "open/2026-11-22" in seen.directories)
            (passable / "open/2026-11-22/b.json").write_bytes(b"{}")
            await soon(lambda: "open/2026-11-22/b.json" in seen.paths)
            assert seen.end is None

    as_nobody(lambda: asyncio.run(check()))


def test_a_directory_that_appears_closed_is_survived(passable: Path) -> None:
    """A directory that nobody may watch either leaves the watch as it is or ends it with an error; it can go on."""
    (passable / DAY).mkdir(parents=True)
    (passable / DAY).chmod(0o777)

    async def check() -> None:
        async with watching(passable) as seen:
            (passable / "closed").mkdir(mode=0)
            await soon(lambda: "closed" in seen.directories or seen.end)
        async with watching(passable) as seen:
            (passable / DAY / "a.json").write_bytes(b"{}")
            await soon(lambda: f"{DAY}/a.json" in seen.paths)

    as_nobody(lambda: asyncio.run(check()))


def test_a_closed_root_ends_the_watch(passable: Path) -> None:
    """A root that we may not enter cannot be watched, and the error says so."""
    (passable / "root").mkdir(mode=0)

    async def check() -> None:
        async with watching(passable / "root") as seen:
            assert seen.end
            assert not seen.stands
            assert "ermission denied" in str(seen.end)

    as_nobody(lambda: asyncio.run(check()))


# ---- what errors and bursts mean


@pytest.mark.parametrize(
    ("error", "number", "hint"),
    [
        (OSError('OS file watch limit reached. about ["/x"]'), errno.ENOSPC, "max_user_watches"),
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC, "max_user_watches"),
        (OSError("Too many open files (os error 24)"), errno.EMFILE, "max_user_instances"),
        (RuntimeError("Input/output error (os error 5)"), errno.EIO, ""),
        (RuntimeError("error in underlying watcher: something"), 0, ""),
    ],
)
def test_what_an_operator_can_do_is_said(error: OSError | RuntimeError, number: int, hint: str) -> None:
    """Running out of watches or instances names the sysctl; other errors have no hint."""
    assert watch_module._number(error) == number
    ended = watch_module._ended(error)
    assert hint in ended.hint
    assert bool(ended.hint) is bool(hint)
    assert type(error).__name__ in str(ended)


def test_an_error_in_a_group_is_found_and_a_foreign_one_is_raised() -> None:
    """What watchfiles wraps in groups is told by its first cause; what is no error of watching is not hidden."""
    inner = RuntimeError("why")
    assert watch_module._first(ExceptionGroup("outer", [ExceptionGroup("inner", [inner])])) is inner
    with pytest.raises(ZeroDivisionError):
        watch_module._first(ExceptionGroup("outer", [ZeroDivisionError()]))


def suspected(*bursts: tuple[float, int], limit: int = 100) -> list[bool]:
    suspicion = watch_module._Suspicion(limit)
    return [suspicion.seen(changes, moment) for moment, changes in bursts]


def test_changes_within_a_moment_add_up() -> None:
    """Bursts close to each other count together, those long ago do not; after a suspicion counting begins anew."""
    assert suspected((0.0, 39)) == [False]
    assert suspected((0.0, 40)) == [True]
    assert suspected((0.0, 20), (0.2, 20)) == [False, True]
    assert suspected((0.0, 20), (0.4, 20)) == [False, False]
    assert suspected((0.0, 40), (0.1, 39), (0.2, 1)) == [True, False, True]


@pytest.mark.parametrize(("text", "limit"), [("16384\n", 16_384), ("many", 16_384), (None, 16_384), ("7", 7)])
def test_the_queue_limit_is_the_kernels(
    tmp_path: Path, text: str | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read where the kernel shows it, with the usual value where that cannot be read."""
    place = tmp_path / "limit"
    if text is not None:
        place.write_text(text)
    monkeypatch.setattr(watch_module, "_QUEUE_LIMIT", place)
    assert watch_module._queue_limit() == limit
