"""``archive zip`` for one day: what is in its zip, when it is written, and what stops it."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nobody import as_nobody
from run_files import put, run_body, run_id, run_path
from tracewatchd.archive.steps import StoppedError
from tracewatchd.cli.zipping import _find
from tracewatchd.edges.claiming import Claim
from tracewatchd.edges.zipping import read_manifest
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.events import ZipDamaged, ZipFailed, ZipFinished
from tracewatchd.model.manifest import MANIFEST_NAME
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.model.zips import ZipOutcome
from tracewatchd.service.assemble import place_of
from tracewatchd.settings import Root
from zips import DAY, Shelf, contents_of, snapshot

PICTURE = "_attachments/" + str(run_id(1)) + "/pic.png"


@pytest.fixture
def shelf(tmp_path: Path, root: Path) -> Shelf:
    """A day of three runs, an attachment, a note that is no run, and what is no part of a day."""
    shelf = Shelf(root, tmp_path / "zips")
    for number in (1, 2, 3):
        path = put(root, run_path(number), run_body(number))
        os.utime(path, ns=(number, 1_763_600_000_123_456_000 + number))
    put(shelf.day, "note.json", b"this is a note, not a run\n")
    put(shelf.day, PICTURE, b"\x89PNG")
    put(shelf.day, "_summary.json", b"{}")
    put(shelf.day, "_attachments/.unfinished", b"")
    put(shelf.day, "deeper/a.json", b"{}")
    (shelf.day / "link.json").symlink_to("note.json")
    return shelf


def files_of(shelf: Shelf) -> dict[str, bytes]:
    """What belongs into the zip."""
    names = [*(run_path(number).rpartition("/")[2] for number in (1, 2, 3)), "note.json", PICTURE]
    return {name: (shelf.day / name).read_bytes() for name in names}


def test_the_zip_holds_the_day(shelf: Shelf) -> None:
    """Every run file, also one that is no run, and every attachment; the manifest names runs and nanoseconds."""
    result = shelf.pack()
    assert contents_of(shelf.zip) == files_of(shelf)
    manifest = read_manifest(shelf.zip)
    assert manifest.run_ids == {run_id(1), run_id(2), run_id(3)}
    assert {file.name: file.mtime_ns for file in manifest.files} == {
        name: (shelf.day / name).stat().st_mtime_ns for name in files_of(shelf)
    }
    assert (result.outcome, result.run_files, result.runs, result.attachments) == (ZipOutcome.WRITTEN, 4, 3, 1)
    assert result.size_bytes == sum(map(len, files_of(shelf).values()))
    assert (result.zip_bytes, result.day_digest) == (shelf.zip.stat().st_size, manifest.day_digest)
    (event,) = shelf.told
    assert isinstance(event, ZipFinished)
    assert (event.source, event.day, event.files) == ("here", "2026-11-20", 5)
    assert list(shelf.zip.parent.iterdir()) == [shelf.zip]


def test_the_sha256_of_the_result_is_that_of_the_zip(shelf: Shelf) -> None:
    """As ``sha256sum`` prints it, when the zip is written and when it is there."""
    told = [shelf.pack().sha256, shelf.pack().sha256]
    assert told == [sha256(shelf.zip.read_bytes()).hexdigest()] * 2


def test_a_second_time_nothing_is_written(shelf: Shelf) -> None:
    """The zip is read back and stays the very file that it is; other times of the same files change nothing."""
    first = shelf.pack()
    before = shelf.zip.stat()
    for path in shelf.day.glob("*.json"):
        os.utime(path, ns=(7, 7), follow_symlinks=False)
    second = shelf.pack()
    assert shelf.zip.stat() == before
    assert (second.outcome, second.sha256, second.day_digest) == (ZipOutcome.UNCHANGED, first.sha256, first.day_digest)
    assert [event.outcome for event in shelf.told if isinstance(event, ZipFinished)] == ["written", "unchanged"]


def test_a_day_that_grew_or_changed_is_zipped_anew(shelf: Shelf) -> None:
    """A later version, and another name of a run that the zip has, lose nothing."""
    shelf.pack()
    put(shelf.root, run_path(1), run_body(1, text="later"))
    shutil.move(shelf.root / run_path(2), shelf.root / run_path(2, second=5))
    put(shelf.root, run_path(4), run_body(4))
    assert shelf.pack().outcome is ZipOutcome.WRITTEN
    held = contents_of(shelf.zip)
    assert held[run_path(1).rpartition("/")[2]] == run_body(1, text="later")
    assert {name for name in held if name.endswith("json")} == {
        path.name for path in shelf.day.glob("[!_]*.json") if not path.is_symlink()
    }


@pytest.mark.parametrize("gone", [run_path(2).rpartition("/")[2], "note.json", PICTURE])
def test_a_day_that_was_cleared_does_not_clear_its_zip(shelf: Shelf, gone: str) -> None:
    """What would be lost is refused with what would bring it back, and the zip stays."""
    shelf.pack()
    before = shelf.zip.read_bytes()
    (shelf.day / gone).unlink()
    with pytest.raises(PermanentError, match=r"holds 1 runs or files that the day has no more, as ") as raised:
        shelf.pack()
    assert "archive restore" in raised.value.hint
    assert shelf.zip.read_bytes() == before
    assert isinstance(shelf.told[-1], ZipFailed)


def test_a_day_without_files_keeps_its_zip(shelf: Shelf) -> None:
    """Nothing is to be zipped, which is no mistake, and a zip of former files stays."""
    shelf.pack()
    shutil.rmtree(shelf.day)
    assert shelf.pack().outcome is ZipOutcome.NOTHING
    assert shelf.zip.exists()
    shelf.zip.unlink()
    assert shelf.pack().outcome is ZipOutcome.NOTHING
    assert not shelf.zip.exists()


def test_a_dry_run_writes_nothing(shelf: Shelf) -> None:
    """It tells what would be zipped, makes no directory, and tells no event."""
    result = shelf.pack(dry_run=True)
    assert (result.outcome, result.run_files, result.zip_bytes) == (ZipOutcome.PLANNED, 4, None)
    assert not shelf.zip_dir.exists()
    assert shelf.told == []


def test_the_manifest_of_files_alone(shelf: Shelf) -> None:
    """What the zip would say can be had without it, also of a day without files."""
    manifest = shelf.packing().manifest(DAY, lambda *_: None)
    shelf.pack()
    assert read_manifest(shelf.zip) == manifest
    shutil.rmtree(shelf.day)
    assert shelf.packing().manifest(DAY, lambda *_: None).files == []


# ---------------------------------------------------------------------------------------------------------------------
# A day that does not stand still

CHANGES: dict[str, Callable[[Shelf], Any]] = {
    "a file more": lambda shelf: put(shelf.root, run_path(9), run_body(9)),
    "a file less": lambda shelf: (shelf.root / run_path(3)).unlink(missing_ok=True),
    "other bytes": lambda shelf: put(shelf.root, run_path(3), run_body(3, text="other")),
    "other bytes of the same size and time": lambda shelf: rewritten(shelf.root / run_path(3)),
    "a symlink in a file's place": lambda shelf: linked(shelf.root / run_path(3)),
    "an attachment more": lambda shelf: put(shelf.day, f"{PICTURE}2", b"\x89PNG"),
    "the attachments away": lambda shelf: shutil.rmtree(shelf.day / "_attachments", ignore_errors=True),
}


def rewritten(path: Path) -> None:
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"hello", b"HELLO"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("note.json")


@pytest.mark.parametrize("moment", [10, 11, 15, 21, 22, 25, 28, 33, 34, 40, 45])
@pytest.mark.parametrize("change", CHANGES)
def test_a_day_that_changes_meanwhile(shelf: Shelf, change: str, moment: int) -> None:
    """Whenever a file changes while the day is read, written or read back: a sentence, the old zip, nothing else."""
    shelf.pack()
    put(shelf.root, run_path(4), run_body(4))
    before = snapshot(shelf.zip_dir)
    steps = iter(range(10_000))

    def meanwhile(_done: int, _known: int) -> None:
        if next(steps) == moment:  # ten for the zip that is there, then twelve each to read, to write, to read back
            CHANGES[change](shelf)

    with pytest.raises(TransientError, match="bot/2026-11-20 changed while it was read; no zip was written") as raised:
        shelf.pack(meanwhile)
    assert raised.value.hint
    assert snapshot(shelf.zip_dir) == before
    assert next(steps) > moment


@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry"])
def test_a_day_that_changes_is_not_called_unchanged(shelf: Shelf, dry_run: bool) -> None:  # noqa: FBT001 - a case
    """Also where what was read of it is just what its zip holds."""
    shelf.pack()
    steps = iter(range(10_000))

    def meanwhile(_done: int, _known: int) -> None:
        if next(steps) == 12:
            put(shelf.root, run_path(4), run_body(4))

    with pytest.raises(TransientError, match="changed while it was read"):
        shelf.pack(meanwhile, dry_run=dry_run)


@pytest.mark.parametrize("moment", range(0, 46, 3))
def test_it_can_be_stopped_anywhere(shelf: Shelf, moment: int) -> None:
    """Stopping leaves what was there, and nothing else; afterwards all goes on."""
    shelf.pack()
    put(shelf.root, run_path(4), run_body(4))
    before = snapshot(shelf.zip_dir)
    steps = iter(range(10_000))

    def until(_done: int, _known: int) -> None:
        if next(steps) == moment:
            raise StoppedError

    with pytest.raises(StoppedError):
        shelf.pack(until)
    assert snapshot(shelf.zip_dir) == before
    assert shelf.pack().run_files == 5


def test_steps_add_up(shelf: Shelf) -> None:
    """Progress rises to what it said was to be done."""
    told: list[tuple[int, int]] = []
    shelf.pack(lambda done, known: told.append((done, known)))
    assert told == sorted(told)
    assert told[-1] == (15, 15)


# ---------------------------------------------------------------------------------------------------------------------
# Faults


def full_disk(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile._ZipWriteFile, "write", fill_up)  # type: ignore[attr-defined] # zipfile's own


def failing_disk(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("tracewatchd.edges.day_files.os.read", fail)


def manifest_in_the_day(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf.day, MANIFEST_NAME, b"{}")


def attachments_too_deep(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf.day, "_attachments/" + "a/" * 8 + "a", b"")


def too_many_files(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracewatchd.archive.pack.MAX_FILES", 4)


def no_directory(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.zip_dir.write_bytes(b"")


FAULTS = [
    (full_disk, TransientError, "zips/bot: cannot write 2026-11-20.zip: No space left on device"),
    (failing_disk, TransientError, "bot/2026-11-20/.* cannot be read: Input/output error"),
    (manifest_in_the_day, PermanentError, "bot/2026-11-20/MANIFEST.json: no zip of a day holds a file of this name"),
    (attachments_too_deep, PermanentError, "_attachments/a/a/.* lies more than 8 directories deep"),
    (too_many_files, PermanentError, "bot/2026-11-20 has 5 files; a zip of a day holds 4"),
    (no_directory, PermanentError, "zips/bot: cannot make it: Not a directory"),
]


@pytest.mark.parametrize(("fault", "error", "told"), FAULTS, ids=[fault.__name__ for fault, _, _ in FAULTS])
def test_faults(
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Shelf, pytest.MonkeyPatch], None],
    error: type[Exception],
    told: str,
) -> None:
    """Each is one sentence that names the file or place, told as an event, too; no zip and no part of one stays."""
    fault(shelf, monkeypatch)
    with pytest.raises(error, match=told):
        shelf.pack()
    (event,) = shelf.told
    assert isinstance(event, ZipFailed)
    assert [path for path in shelf.zip_dir.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "closed", [run_path(2), f"{DAY.directory}/_attachments", f"{DAY.directory}/{PICTURE}", DAY.directory]
)
def test_what_cannot_be_read_is_named(shelf: Shelf, closed: str) -> None:
    """A file or directory that is closed to us stops the zip by its name: a zip without it would look whole."""
    mode = (shelf.root / closed).stat().st_mode
    (shelf.root / closed).chmod(0)
    for path in (shelf.root, *shelf.root.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o011)

    def check() -> None:
        with pytest.raises(PermanentError, match=f"{closed} cannot be read: Permission denied") as raised:
            shelf.pack()
        assert raised.value.hint

    as_nobody(check)
    (shelf.root / closed).chmod(mode)


def test_a_day_that_can_be_listed_alone(shelf: Shelf) -> None:
    """Where names can be read and nothing of the files, the first file is named."""
    shelf.day.chmod(0o444)
    for path in (shelf.root, *shelf.root.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o011)

    def check() -> None:
        with pytest.raises(PermanentError, match=r"bot/2026-11-20/.*\.json cannot be read: Permission denied"):
            shelf.pack()

    as_nobody(check)
    shelf.day.chmod(0o755)


@pytest.mark.parametrize("selection", [EVERYTHING, Selection("closed")])
def test_a_project_that_cannot_be_looked_into(shelf: Shelf, selection: Selection) -> None:
    """It counts as a failure of its own, whether it was named or all were, and the others are found."""
    put(shelf.root, "closed/2026-11-20/a.json", run_body(1))
    (shelf.root / "closed").chmod(0)
    for path in (shelf.root, *shelf.root.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)
    place = place_of(Root.model_validate(shelf.root))

    def check() -> None:
        found = _find([place], selection)
        assert list(found.days) == ([DAY] if selection is EVERYTHING else [])
        assert [(one.project, one.error) for one in found.unreadable] == [
            ("closed", "it cannot be read: Permission denied")
        ]

    as_nobody(check)
    (shelf.root / "closed").chmod(0o755)


def test_two_do_not_zip_one_day(shelf: Shelf) -> None:
    """The second says so and leaves the first alone."""
    shelf.zip.parent.mkdir(parents=True)
    with Claim(shelf.zip.parent / ".2026-11-20.zip.part"), pytest.raises(TransientError, match="another process"):
        shelf.pack()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda whole: whole[:-9], "does not end as a zip of a day does"),
        (lambda whole: whole.replace(b"MANIFEST", b"CONTENTS"), "it has no MANIFEST.json"),
        (lambda whole: whole[: len(whole) // 3] + bytes(40) + whole[len(whole) // 3 + 40 :], "damaged"),
    ],
)
def test_a_damaged_zip_is_said_and_replaced(shelf: Shelf, damage: Callable[[bytes], bytes], told: str) -> None:
    """A good one takes its place; the damaged one is kept beside it, for it may hold what is nowhere else."""
    shelf.pack()
    good = shelf.zip.read_bytes()
    shelf.zip.write_bytes(damage(good))
    result = shelf.pack()
    assert result.outcome is ZipOutcome.WRITTEN
    assert told in str(result.damaged)
    assert shelf.zip.read_bytes() == good
    assert shelf.zip.with_name("2026-11-20.zip.damaged").read_bytes() == damage(good)
    assert [event.kept_as for event in shelf.told if isinstance(event, ZipDamaged)] == [f"{shelf.zip}.damaged"]


def test_a_large_file_is_not_looked_into(shelf: Shelf) -> None:
    """Beyond the line's limit a file has no run's id in the manifest; it is zipped all the same."""
    shelf.max_file_bytes = 1_000
    put(shelf.root, run_path(4), run_body(4, size_bytes=3_000_000))
    shelf.pack()
    assert [file.size_bytes for file in read_manifest(shelf.zip).files if file.run_id is None] == [3_000_000, 4, 26]


def test_nothing_behind_a_symlink_is_zipped(shelf: Shelf, tmp_path: Path) -> None:
    """Neither attachments nor a day that is a symlink: no sweep finds them either."""
    put(tmp_path, "elsewhere/secret", b"")
    (shelf.day / "_attachments" / "link").symlink_to(tmp_path / "elsewhere")
    shelf.pack()
    assert contents_of(shelf.zip) == files_of(shelf)
    shutil.rmtree(shelf.day / "_attachments")
    (shelf.day / "_attachments").symlink_to(tmp_path / "elsewhere")
    shelf.zip.unlink()
    assert shelf.pack().attachments == 0
    shutil.move(shelf.day, tmp_path / "moved")
    shelf.day.symlink_to(tmp_path / "moved")
    assert shelf.pack().outcome is ZipOutcome.NOTHING


def test_names_that_are_no_text(shelf: Shelf) -> None:
    """They are spelled as everywhere, and the run's id comes from the file, not from its name."""
    odd = os.fsdecode(b"\xff%\\\n.json")
    put(shelf.day, odd, run_body(7))
    shelf.pack()
    assert contents_of(shelf.zip)["%FF%25\\\n.json"] == run_body(7)
    (found,) = [file for file in read_manifest(shelf.zip).files if "FF" in file.name]
    assert (found.run_id, found.member) == (run_id(7), "%FF%25%5C%0A.json")
    assert isinstance(found.run_id, UUID)
