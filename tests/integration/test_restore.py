"""``archive restore`` for one day: what comes back, what stays, and that a bad zip touches nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hostile_zips import HOSTILE
from nobody import as_nobody
from run_files import put, run_body, run_id, run_path
from tracewatchd.archive.steps import StoppedError
from tracewatchd.edges.claiming import Claim
from tracewatchd.edges.folder import Folder
from tracewatchd.edges.staging import Staging
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.events import RestoreFailed, RestoreFinished
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.zips import RestoreKind
from zips import DAY, Shelf, snapshot, write_good

NAME = run_path(1).rpartition("/")[2]
PICTURE = f"_attachments/{run_id(1)}/pic.png"
MTIME_NS = 1_763_600_000_123_456_789


@pytest.fixture
def shelf(tmp_path: Path, root: Path) -> Shelf:
    """A day of three runs and an attachment that has been zipped."""
    shelf = Shelf(root, tmp_path / "zips")
    for number in (1, 2, 3):
        put(root, run_path(number), run_body(number, age_days=10))
    put(shelf.day, PICTURE, b"\x89PNG")
    for number, path in enumerate(shelf.day.rglob("*")):
        os.utime(path, ns=(number, MTIME_NS + number))
    shelf.pack()
    shelf.told.clear()
    return shelf


@pytest.fixture
def emptied(shelf: Shelf) -> dict[str, tuple[bytes | None, int]]:
    """What the root held before it was emptied."""
    before = snapshot(shelf.root)
    shutil.rmtree(shelf.root / DAY.folder)
    return before


def test_an_emptied_root_is_as_it_was(shelf: Shelf, emptied: dict[str, tuple[bytes | None, int]]) -> None:
    """The same files with the same bytes and the same times to the nanosecond, and nothing else."""
    result = shelf.restore()
    assert snapshot(shelf.root) == emptied
    assert (result.new, result.files, result.left) == (4, 4, {})
    (event,) = shelf.told
    assert isinstance(event, RestoreFinished)
    assert (event.day, event.files) == ("2026-11-20", {"new": 4})
    again = shelf.restore()
    assert (again.same, again.files) == (4, 4)
    assert snapshot(shelf.root) == emptied


def test_a_restored_day_is_zipped_to_the_same_bytes(shelf: Shelf, emptied: object) -> None:
    """Zip and restore are each other's inverse."""
    before = shelf.zip.read_bytes()
    shelf.restore()
    shelf.zip.unlink()
    shelf.pack()
    assert shelf.zip.read_bytes() == before


def test_names_that_are_no_text_come_back(tmp_path: Path, root: Path) -> None:
    """Bytes that are no UTF-8, percents, backslashes and line ends."""
    shelf = Shelf(root, tmp_path / "zips")
    for raw in (b"\xff.json", b"a%41.json", b"a\\b.json", b"a\nb.json", b"a:b.json", "\u00e9.json".encode()):
        put(shelf.day, os.fsdecode(raw), raw)
    shelf.pack()
    before = snapshot(root)
    shutil.rmtree(shelf.day)
    assert shelf.restore().new == 6
    assert snapshot(root) == before


# ---------------------------------------------------------------------------------------------------------------------
# What is there already


class Case(NamedTuple):
    """What stands in a file's place, how the zip's file stands to it, and whether it is taken."""

    there: Callable[[Path], object]
    kind: RestoreKind
    is_taken: bool = False


def other(body: bytes, *, mtime_ns: int = MTIME_NS) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        path.write_bytes(body)
        os.utime(path, ns=(mtime_ns, mtime_ns))

    return write


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


BARE = b'{"id": "%s", "name": "agent", "x": %d}'
ID = str(run_id(1)).encode()

CASES = {
    "nothing": Case(Path.unlink, RestoreKind.NEW, is_taken=True),
    "the same, touched since": Case(lambda path: os.utime(path, ns=(5, 5)), RestoreKind.SAME),
    "an older version": Case(other(run_body(1, age_days=11)), RestoreKind.NEWER, is_taken=True),
    "a newer version": Case(other(run_body(1, age_days=9)), RestoreKind.OLDER),
    "extracted then, written later": Case(other(run_body(1, age_days=10, text="x"), mtime_ns=2**62), RestoreKind.OLDER),
    "extracted then, written before": Case(
        other(run_body(1, age_days=10, text="x"), mtime_ns=5), RestoreKind.NEWER, is_taken=True
    ),
    "no run": Case(other(b"this is a note, not a run\n"), RestoreKind.DIFFERENT),
    "a part of it": Case(other(run_body(1, age_days=11)[:-9]), RestoreKind.DIFFERENT),
    "another run": Case(other(run_body(2, age_days=11)), RestoreKind.DIFFERENT),
    "too large to look into": Case(other(run_body(1, age_days=11, size_bytes=2 << 20)), RestoreKind.DIFFERENT),
    "a symlink": Case(replaced(lambda path: path.symlink_to("nowhere")), RestoreKind.DIFFERENT),
    "a symlink to the same": Case(
        lambda path: path.symlink_to(path.rename(path.with_name("elsewhere"))), RestoreKind.DIFFERENT
    ),
    "a directory": Case(replaced(Path.mkdir), RestoreKind.DIFFERENT),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry"])
def test_what_is_there_already(shelf: Shelf, case: str, dry_run: bool) -> None:  # noqa: FBT001 - a case
    """Only what is missing, or older by the order in which rows are replaced, is taken; the rest stays and is told."""
    there, kind, is_taken = CASES[case]
    whole = snapshot(shelf.root)
    there(shelf.day / NAME)
    before = snapshot(shelf.root)
    result = shelf.restore(dry_run=dry_run)
    after = snapshot(shelf.root)
    assert after == (whole if is_taken and not dry_run else before)
    if not dry_run or case not in {
        "a symlink",
        "a symlink to the same",
        "a directory",
    }:  # what is no file is seen when one is put there
        assert getattr(result, kind) == (4 if kind is RestoreKind.SAME else 1)
        assert result.left == ({NAME: kind} if kind in {RestoreKind.OLDER, RestoreKind.DIFFERENT} else {})
    assert result.files == 4


def test_of_the_same_age_none_is_the_newer_one(shelf: Shelf) -> None:
    """Equal times and other bytes, an edit or rot: what is there stays, whichever sha256 is the greater one."""
    mtime_ns = (shelf.day / NAME).stat().st_mtime_ns
    for text in "abcdefgh":
        other(run_body(1, age_days=10, text=text), mtime_ns=mtime_ns)(shelf.day / NAME)
        assert shelf.restore().left == {NAME: RestoreKind.DIFFERENT}


def test_an_attachment_that_differs_stays(shelf: Shelf) -> None:
    """It has no version."""
    (shelf.day / PICTURE).write_bytes(b"mine")
    assert shelf.restore().left == {PICTURE: RestoreKind.DIFFERENT}
    assert (shelf.day / PICTURE).read_bytes() == b"mine"


def test_bare_runs_are_as_old_as_their_files(tmp_path: Path, root: Path) -> None:
    """Without ``extracted_at`` the mtime decides, as in the database."""
    shelf = Shelf(root, tmp_path / "zips")
    put(root, run_path(1), BARE % (ID, 1))
    other(BARE % (ID, 1))(root / run_path(1))
    shelf.pack()
    other(BARE % (ID, 2), mtime_ns=MTIME_NS + 1)(root / run_path(1))
    assert shelf.restore().older == 1
    other(BARE % (ID, 2), mtime_ns=MTIME_NS - 1)(root / run_path(1))
    assert shelf.restore().newer == 1
    assert (root / run_path(1)).read_bytes() == BARE % (ID, 1)


@pytest.mark.parametrize(
    "before", [None, run_body(1, age_days=11), run_body(1, age_days=12)], ids=["none", "older", "oldest"]
)
def test_a_file_that_is_written_meanwhile_stays(shelf: Shelf, before: bytes | None) -> None:
    """What the producer puts there after the plan was made is not replaced, and is told as left."""
    (shelf.day / NAME).unlink()
    if before:
        (shelf.day / NAME).write_bytes(before)
    newest = run_body(1, age_days=1)

    def meanwhile(done: int, known: int) -> None:
        if done == known - 1:
            put(shelf.day, NAME, newest)

    assert shelf.restore(meanwhile).left == {NAME: RestoreKind.DIFFERENT}
    assert (shelf.day / NAME).read_bytes() == newest


def test_a_file_that_goes_away_meanwhile_is_not_replaced(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is there no more nothing can be the older version: it is told as left, and the next restore brings it."""
    (shelf.day / NAME).write_bytes(run_body(1, age_days=11))

    def meanwhile(done: int, known: int) -> None:
        if done == known - 1:
            (shelf.day / NAME).unlink(missing_ok=True)

    assert shelf.restore(meanwhile).left == {NAME: RestoreKind.DIFFERENT}
    assert shelf.restore().new == 1


def test_a_dry_run_writes_nothing(shelf: Shelf, emptied: object) -> None:
    """It reads all of the zip, says what would be done, and makes not even a directory."""
    result = shelf.restore(dry_run=True)
    assert (result.new, result.dry_run) == (4, True)
    assert list(shelf.root.iterdir()) == []
    assert shelf.told == []


# ---------------------------------------------------------------------------------------------------------------------
# Zips that are not to be believed


@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_bad_zip_touches_nothing(shelf: Shelf, tmp_path: Path, case: str, dry_run: bool) -> None:  # noqa: FBT001 - a case
    """One sentence, told as an event, too; below the root and beside it everything is as it was."""
    make, told = HOSTILE[case]
    make(tmp_path / "bad.zip")
    (shelf.day / NAME).unlink()
    before = snapshot(tmp_path)
    with pytest.raises(PoisonError, match=told):
        shelf.restore(path=tmp_path / "bad.zip", dry_run=dry_run)
    assert snapshot(tmp_path) == before
    (event,) = shelf.told
    assert isinstance(event, RestoreFailed)
    assert event.hint


def rot(path: Path) -> None:
    """Change one byte of the last file in a zip."""
    whole = path.read_bytes()
    at = whole.rindex(b".json", 0, whole.index(b"PK\1\2")) + 40
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


def test_nothing_is_moved_before_the_last_file_is_good(shelf: Shelf, emptied: object) -> None:
    """One rotten byte in the last file keeps all others out."""
    rot(shelf.zip)
    with pytest.raises(PoisonError, match=run_path(3).rpartition("/")[2]):
        shelf.restore()
    assert [path for path in shelf.root.rglob("*") if path.is_file()] == []


def test_what_is_not_to_be_moved_is_checked_too(shelf: Shelf) -> None:
    """A zip that has rotted in a file that is there in good health is not called good."""
    rot(shelf.zip)
    (shelf.day / NAME).unlink()
    with pytest.raises(PoisonError, match=run_path(3).rpartition("/")[2]):
        shelf.restore()
    assert not (shelf.day / NAME).exists()


def test_what_came_back_is_on_the_disk(shelf: Shelf, emptied: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file, and the directories with their names."""
    synced: set[int] = set()
    sync = os.fsync

    def remember(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)
    shelf.restore()
    assert {path.stat().st_ino for path in shelf.root.rglob("*")} <= synced


def test_another_days_zip_is_refused(shelf: Shelf) -> None:
    """However it is called: its manifest says whose it is."""
    shelf.zip.rename(shelf.zip.with_name("2026-11-21.zip"))
    before = snapshot(shelf.root)
    with pytest.raises(PermanentError, match=r"is the zip of bot/2026-11-20, not of bot/2026-11-21") as raised:
        shelf.restoring().carry_out(
            ProjectDay("bot", DAY.day.replace(day=21)), shelf.zip.with_name("2026-11-21.zip"), lambda *_: None
        )
    assert raised.value.hint
    assert snapshot(shelf.root) == before


# ---------------------------------------------------------------------------------------------------------------------
# Faults


def full_disk(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tracewatchd.edges.staging.os.write", fill_up)


def little_room(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracewatchd.edges.staging._SPARE_BYTES", 1 << 62)


def no_root(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.root.rmdir()


def no_zip(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.zip.unlink()


def folder_elsewhere(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf.root.parent / "elsewhere").mkdir()
    (shelf.root / DAY.folder).symlink_to(shelf.root.parent / "elsewhere")


def day_elsewhere(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf.root.parent / "elsewhere").mkdir()
    shelf.day.parent.mkdir()
    shelf.day.symlink_to(shelf.root.parent / "elsewhere")


def attachments_elsewhere(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf.root.parent / "elsewhere").mkdir()
    shelf.day.mkdir(parents=True)
    (shelf.day / "_attachments").symlink_to(shelf.root.parent / "elsewhere")


def a_file_in_the_way(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.day.parent.mkdir()
    shelf.day.write_bytes(b"")


def another_at_work(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.day.parent.mkdir()
    monkeypatch.setattr(shelf, "held", Claim(shelf.day.parent / ".restore-2026-11-20.lock"), raising=False)


FAULTS = [
    (full_disk, TransientError, "root/bot: cannot write a staged file: No space left on device"),
    (little_room, TransientError, r"root/bot: \d+ bytes are to be restored, and \d+ are free"),
    (no_root, PermanentError, "root: No such file or directory"),
    (no_zip, PermanentError, "there is no zip .*/zips/bot/2026-11-20.zip"),
    (folder_elsewhere, PermanentError, r"root/bot: cannot make directories: bot is no directory \(symlinks are not"),
    (day_elsewhere, PermanentError, "root/bot: cannot put .* in its place: 2026-11-20 is no directory"),
    (attachments_elsewhere, PermanentError, "root/bot: cannot put .* in its place: _attachments is no directory"),
    (a_file_in_the_way, PermanentError, "root/bot: cannot put .* in its place: 2026-11-20 is no directory"),
    (another_at_work, TransientError, "root/bot: another process is at work there and holds .restore-2026-11-20.lock"),
]


@pytest.mark.parametrize(("fault", "error", "told"), FAULTS, ids=[fault.__name__ for fault, _, _ in FAULTS])
def test_faults(
    shelf: Shelf,
    emptied: object,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Shelf, pytest.MonkeyPatch], None],
    error: type[Exception],
    told: str,
) -> None:
    """Each is one sentence with its place, told as an event, too; no run file is half there, and nothing is staged."""
    fault(shelf, monkeypatch)
    with pytest.raises(error, match=told):
        shelf.restore()
    assert isinstance(shelf.told[-1], RestoreFailed)
    assert [path for path in shelf.root.parent.rglob(".restore-2026-11-20*") if path.suffix != ".lock"] == []
    elsewhere = shelf.root.parent / "elsewhere"
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


def test_a_root_that_cannot_be_written(shelf: Shelf, emptied: object) -> None:
    """Permanent, with what to do."""
    shelf.root.chmod(0o555)
    for path in (shelf.zip, *shelf.zip.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | (0o044 if path == shelf.zip else 0o011))

    def check() -> None:
        with pytest.raises(PermanentError, match="root/bot: cannot make directories: Permission denied") as raised:
            shelf.restore()
        assert "may write" in raised.value.hint

    as_nobody(check)
    shelf.root.chmod(0o755)


@pytest.mark.parametrize("moment", range(16))
def test_it_can_be_stopped_anywhere(shelf: Shelf, emptied: dict[str, tuple[bytes | None, int]], moment: int) -> None:
    """What is there then is whole; nothing is staged any more; the same call goes on."""
    steps = iter(range(10_000))

    def until(_done: int, _known: int) -> None:
        if next(steps) == moment:
            raise StoppedError

    if moment < 12:
        with pytest.raises(StoppedError):
            shelf.restore(until)
    left = {name: found for name, found in snapshot(shelf.root).items() if found[0] is not None}
    assert left.items() <= emptied.items()
    assert bool(left) == (9 <= moment < 12)
    assert list(shelf.root.glob("bot/.*")) == []
    shelf.restore()
    assert snapshot(shelf.root) == emptied


def test_what_a_killed_restore_left_is_removed(shelf: Shelf, emptied: dict[str, tuple[bytes | None, int]]) -> None:
    """Whatever is in its staging; no sweep counts it as a day or as run files meanwhile."""
    put(shelf.root, "bot/.restore-2026-11-20/0", b"{}")
    put(shelf.root, "bot/.restore-2026-11-20/below/a.json", b"{}")
    put(shelf.root, "bot/.restore-2026-11-20.lock", b"")
    outline = Folder(shelf.root).outline()
    assert (outline.directories, outline.ignored) == ([], 3)
    shelf.restore()
    assert snapshot(shelf.root) == emptied


def test_a_staging_is_gone_after_an_error(shelf: Shelf) -> None:
    """Also when what was to be staged could not be read."""

    def broken() -> Iterator[bytes]:
        yield b"a"
        raise PoisonError("rotten")

    with pytest.raises(PoisonError), Staging(shelf.root, DAY) as staging:
        staging.put(0, broken(), mtime_ns=0)
    assert list(shelf.root.glob("bot/.*")) == []


def test_a_good_zip_of_nothing_restores_nothing(shelf: Shelf, tmp_path: Path) -> None:
    """A zip without files is a zip."""
    before = snapshot(shelf.root)
    assert shelf.restore(path=write_good(tmp_path / "none.zip", {})).files == 0
    assert snapshot(shelf.root) == before
