"""The folder against real directories: what is listed, looked at and read, and what never is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nobody import as_nobody
from run_files import DIRECTORY, put
from tracewatchd.edges import folder as folder_module
from tracewatchd.edges.folder import Folder, Reader, RootIdentity, UnreadableError
from tracewatchd.model.layout import encode_path
from tracewatchd.model.stamp import Stamp

NOBODY = 65534
FILE = f"{DIRECTORY}/a.json"


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def read(folder: Folder, path: str, limit_bytes: int = 1_000) -> folder_module.Body | None:
    with folder.reader() as reader:
        return reader.read(path, limit_bytes)


def look(folder: Folder, path: str) -> Stamp | None:
    with folder.reader() as reader:
        return reader.stamp(path)


@contextmanager
def closed(place: Path) -> Iterator[None]:
    """Nobody may enter or read this, for the length of the block."""
    mode = stat.S_IMODE(place.stat().st_mode)
    place.chmod(0)
    try:
        yield
    finally:
        place.chmod(mode)


@pytest.fixture
def passable(tmp_path: Path) -> Path:
    """A root that another user can reach."""
    for place in (tmp_path, *tmp_path.parents[:-1]):
        if place.owner() == tmp_path.owner() and place.name.startswith(("pytest-", "popen-", tmp_path.name)):
            place.chmod(0o755)
    return tmp_path


def test_run_files_are_listed_and_the_rest_is_ignored(tmp_path: Path, folder: Folder) -> None:
    """Regular ``*.json`` files at the layout's depth are run files; everything else under the root is counted."""
    day = put(tmp_path, FILE, b"{}").parent
    for name in ("_summary.json", ".a.json.tmp", ".hidden.json", "notes.txt", "a.JSON"):
        (day / name).write_bytes(b"{}")
    (day / "x.json").mkdir()
    (day / "x.json" / "deeper.json").write_bytes(b"{}")
    (day / "deep").mkdir()
    (day / "deep" / "b.json").write_bytes(b"{}")
    os.mkfifo(day / "fifo.json")
    (day / "link.json").symlink_to(day / "a.json")
    (day / "broken.json").symlink_to(day / "nothing")
    survey = folder.survey(DIRECTORY)
    assert survey.exists
    assert survey.stamps() == {FILE: Stamp.of((day / "a.json").stat())}
    assert survey.unreadable == {}
    # five names, a directory like a file and the file in it, a file too deep, a fifo, two symlinks
    assert survey.ignored == 5 + 2 + 1 + 1 + 2


def test_the_outline_names_days_and_counts_the_rest(tmp_path: Path, folder: Folder) -> None:
    """Only directories named after a day, below directories, are project-days; no symlink is followed to one."""
    put(tmp_path, "bot/2026-11-20/a.json", b"{}")
    put(tmp_path, "bot/2026-11-19/a.json", b"{}")
    put(tmp_path, "bot/2026-13-01/not-a-day.json", b"{}")
    put(tmp_path, "bot/20261120/not-a-day.json", b"{}")
    put(tmp_path, "bot/shallow.json", b"{}")
    put(tmp_path, "shallower.json", b"{}")
    (tmp_path / "linked").symlink_to(tmp_path / "bot")
    (tmp_path / "bot" / "2026-11-18").symlink_to(tmp_path / "bot" / "2026-11-20")
    (tmp_path / "empty").mkdir()
    outline = folder.outline()
    assert outline.directories == ["bot/2026-11-19", "bot/2026-11-20"]
    assert outline.unreadable == {}
    assert outline.ignored == 6


def test_nothing_is_reached_through_a_symlink(tmp_path: Path, folder: Folder) -> None:
    """A link in the place of a project, a day or a file is as good as nothing, whoever asks for it."""
    outside = put(tmp_path / "outside", FILE, b"{}")
    root = Folder(tmp_path / "root")
    put(root.root, "real/2026-11-20/b.json", b"{}")
    (root.root / "bot").symlink_to(outside.parent.parent)
    (root.root / "real" / "2026-11-21").symlink_to(outside.parent)
    (root.root / "real" / "2026-11-20" / "a.json").symlink_to(outside)
    for path in (FILE, "real/2026-11-21/a.json", "real/2026-11-20/a.json"):
        assert look(root, path) is None
        assert read(root, path) is None
    assert not root.survey(DIRECTORY).exists
    assert not root.survey("real/2026-11-21").exists
    assert root.days("bot") == []


def test_a_root_may_be_a_symlink(tmp_path: Path) -> None:
    """The operator named the root: it is followed, and has the identity of what it points to."""
    put(tmp_path / "real", FILE, b"{}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    linked = Folder(tmp_path / "link")
    assert linked.outline().directories == [DIRECTORY]
    assert list(linked.survey(DIRECTORY).paths()) == [FILE]
    status = (tmp_path / "real").stat()
    assert linked.identity() == RootIdentity(status.st_dev, status.st_ino)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_directory_is_unreadable(tmp_path: Path, name: str) -> None:
    """A missing root is not an empty one: whoever asks is told that nothing could be seen."""
    (tmp_path / "file").write_bytes(b"")
    root = Folder(tmp_path / name)
    for ask in (root.identity, root.outline, lambda: root.days("bot"), lambda: root.survey(DIRECTORY)):
        with pytest.raises(UnreadableError, match=name):
            ask()
    with root.reader() as reader, pytest.raises(UnreadableError):
        reader.stamp(FILE)


def test_a_root_made_anew_has_another_identity(tmp_path: Path) -> None:
    """Deleting and making a root changes what it is; filling it does not."""
    root = Folder(tmp_path / "root")
    root.root.mkdir()
    before = root.identity()
    put(root.root, FILE, b"{}")
    assert root.identity() == before
    root.root.rename(tmp_path / "old")
    root.root.mkdir()
    assert root.identity() != before


NAMES = [
    b"plain.json",
    b'sp ace\'s "quote".json',
    b"100%25.json",
    "\U0001f600 emoji.json".encode(),
    b"latin\xe91.json",
    b"line\nbreak.json",
    b"n" * 245 + b".json",
]
PROJECTS = [b"two words", b'O\'Neil "x"', b"50%", "\U0001f680".encode(), b"caf\xe9", b"a-b", b"a", b"B"]


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_is_read_back(tmp_path: Path, folder: Folder, name: bytes) -> None:
    """Each name that a kernel allows has one spelling, by which the file is listed, looked at and read."""
    day = tmp_path / DIRECTORY
    day.mkdir(parents=True)
    (day / os.fsdecode(name)).write_bytes(b"body")
    (path,) = folder.survey(DIRECTORY).paths()
    assert path == f"{DIRECTORY}/{encode_path(name)}"
    path.encode()
    body = read(folder, path)
    assert body is not None
    assert (body.content, body.stable, body.stamp) == (b"body", True, look(folder, path))


def test_any_project_name_is_walked_in_byte_order(tmp_path: Path, folder: Folder) -> None:
    """Directories and files come in the byte order of their spelling, the order of the ledger's pages."""
    for project in PROJECTS:
        for name in NAMES:
            place = tmp_path / os.fsdecode(project) / "2026-11-20"
            place.mkdir(parents=True, exist_ok=True)
            (place / os.fsdecode(name)).write_bytes(b"{}")
    outline = folder.outline()
    assert len(outline.directories) == len(PROJECTS)
    assert outline.directories == sorted(outline.directories, key=str.encode)
    for directory in outline.directories:
        paths = list(folder.survey(directory).paths())
        assert len(paths) == len(NAMES)
        assert paths == sorted(paths, key=str.encode)
        assert folder.days(directory.split("/")[0]) == [directory]


def test_ten_thousand_files_in_one_directory(tmp_path: Path, folder: Folder) -> None:
    """A large day is listed whole, in order."""
    day = tmp_path / DIRECTORY
    day.mkdir(parents=True)
    for number in range(10_000):
        os.close(os.open(day / f"{number * 7919 % 10_000:05d}.json", os.O_CREAT | os.O_WRONLY))
    paths = list(folder.survey(DIRECTORY).paths())
    assert paths == [f"{DIRECTORY}/{number:05d}.json" for number in range(10_000)]


def test_what_is_not_there_is_nothing(tmp_path: Path, folder: Folder) -> None:
    """Missing projects, days and files, and directories or files in each other's place, are outcomes, not errors."""
    put(tmp_path, FILE, b"{}")
    put(tmp_path, "file", b"{}")
    (tmp_path / DIRECTORY / "d.json").mkdir()
    for path in ("no/2026-11-20/a.json", "bot/2026-11-21/a.json", f"{DIRECTORY}/b.json", "file/2026-11-20/a.json"):
        assert look(folder, path) is None
        assert read(folder, path) is None
    assert look(folder, f"{DIRECTORY}/d.json") is None
    assert read(folder, f"{DIRECTORY}/d.json") is None
    assert not folder.survey("no/2026-11-20").exists
    assert folder.days("no") == []


def test_a_fifo_in_a_files_place_is_not_waited_for(tmp_path: Path, folder: Folder) -> None:
    """Opening it returns at once although nobody writes, and it is no run file."""
    (tmp_path / DIRECTORY).mkdir(parents=True)
    os.mkfifo(tmp_path / FILE)
    assert look(folder, FILE) is None
    assert read(folder, FILE) is None


def test_a_closed_file_is_unreadable_and_its_neighbours_are_not(passable: Path) -> None:
    """A file that may not be read keeps its stamp, and reading it says why it fails."""
    with closed(put(passable, FILE, b"{}")):
        put(passable, f"{DIRECTORY}/b.json", b"good")

        def check() -> None:
            folder = Folder(passable)
            assert list(folder.survey(DIRECTORY).paths()) == [FILE, f"{DIRECTORY}/b.json"]
            with folder.reader() as reader:
                with pytest.raises(UnreadableError, match="Permission denied"):
                    reader.read(FILE, 9)
                body = reader.read(f"{DIRECTORY}/b.json", 9)
                assert body is not None
                assert body.content == b"good"

        as_nobody(check)


def test_a_closed_day_is_unreadable_and_costs_no_descriptors(passable: Path) -> None:
    """Its listing and every look into it say so, and however often it is tried nothing stays open."""
    with closed(put(passable, FILE, b"{}").parent):

        def check() -> None:
            folder = Folder(passable)
            assert folder.outline().directories == [DIRECTORY]
            with pytest.raises(UnreadableError, match=f"{DIRECTORY}: Permission denied"):
                folder.survey(DIRECTORY)
            with folder.reader() as reader:
                before = open_descriptors()
                for _ in range(5):
                    with pytest.raises(UnreadableError, match=DIRECTORY):
                        reader.read(FILE, 9)
                assert open_descriptors() == before

        as_nobody(check)


def test_a_day_that_can_be_listed_but_not_entered_names_its_files(passable: Path) -> None:
    """Names without stamps are unreadable files, not missing ones."""
    day = put(passable, FILE, b"{}").parent
    day.chmod(0o444)

    def check() -> None:
        survey = Folder(passable).survey(DIRECTORY)
        assert survey.stamps() == {}
        assert survey.unreadable == {FILE: "Permission denied"}
        with Folder(passable).reader() as reader, pytest.raises(UnreadableError, match=r"a\.json"):
            reader.stamp(FILE)

    as_nobody(check)
    day.chmod(0o755)


def test_a_closed_project_hides_no_other(passable: Path) -> None:
    """The outline names it as unreadable and goes on; asked for it alone, its days cannot be told."""
    put(passable, "other/2026-11-20/b.json", b"{}")
    with closed(put(passable, FILE, b"{}").parent.parent):

        def check() -> None:
            folder = Folder(passable)
            outline = folder.outline()
            assert outline.directories == ["other/2026-11-20"]
            assert outline.unreadable == {"bot": "Permission denied"}
            with pytest.raises(UnreadableError, match="bot: Permission denied"):
                folder.days("bot")

        as_nobody(check)


def test_a_closed_root_is_unreadable(passable: Path) -> None:
    """It has an identity to nobody who may not open it."""
    put(passable, f"root/{FILE}", b"{}")
    with closed(passable / "root"):

        def check() -> None:
            for ask in (Folder(passable / "root").identity, Folder(passable / "root").outline):
                with pytest.raises(UnreadableError, match="root: Permission denied"):
                    ask()

        as_nobody(check)


def test_a_closed_directory_outside_the_layout_disturbs_nobody(passable: Path) -> None:
    """Counting what is ignored is a courtesy: where it cannot look, it counts what it knows."""
    day = put(passable, FILE, b"{}").parent
    (day / "secret.json").mkdir()
    with closed(day / "secret.json"):

        def check() -> None:
            survey = Folder(passable).survey(DIRECTORY)
            assert list(survey.paths()) == [FILE]
            assert survey.ignored == 1

        as_nobody(check)


def test_counting_has_a_bottom(tmp_path: Path, folder: Folder) -> None:
    """A bottomless directory outside the layout is counted down to a depth, with few descriptors."""
    put(tmp_path, FILE, b"{}")
    here = os.open(tmp_path / DIRECTORY, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("f", os.O_CREAT, dir_fd=here))
    os.close(here)
    assert folder.survey(DIRECTORY).ignored == 1


class Meddling:
    """Runs something between the opening of a file and the first byte that is read of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[], object]) -> None:
        self._meddle: Callable[[], object] | None = meddle
        self._read = os.read
        monkeypatch.setattr(os, "read", self._meddled_read)

    def _meddled_read(self, descriptor: int, size: int) -> bytes:
        if meddle := self._meddle:
            self._meddle = None
            meddle()
        return self._read(descriptor, size)


def test_a_file_replaced_while_being_read(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file is read, and having lost its name shows in its stamp: it is not stable."""
    put(tmp_path, FILE, b"old")
    Meddling(monkeypatch, lambda: put(tmp_path, FILE, b"newer"))
    body = read(folder, FILE)
    assert body is not None
    assert (body.content, body.stable) == (b"old", False)
    again = read(folder, FILE)
    assert again is not None
    assert (again.content, again.stable) == (b"newer", True)


def test_a_file_that_grows_while_being_read(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read than was expected and one byte, and it is not stable."""
    place = put(tmp_path, FILE, b"half")
    Meddling(monkeypatch, lambda: place.write_bytes(b"half and the whole rest"))
    body = read(folder, FILE)
    assert body is not None
    assert (len(body.content), body.stable) == (5, False)


def test_a_file_that_shrinks_while_being_read(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is read, and it is not stable."""
    place = put(tmp_path, FILE, b"long enough")
    Meddling(monkeypatch, lambda: os.truncate(place, 4))
    body = read(folder, FILE)
    assert body is not None
    assert (body.content, body.stable) == (b"long", False)


def test_a_file_deleted_while_being_read(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes come whole, it is not stable, and the next look finds nothing."""
    place = put(tmp_path, FILE, b"body")
    Meddling(monkeypatch, place.unlink)
    body = read(folder, FILE)
    assert body is not None
    assert (body.content, body.stable) == (b"body", False)
    assert read(folder, FILE) is None


def test_a_read_in_pieces_is_whole(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel may give less than was asked for; reading goes on until the end."""
    put(tmp_path, FILE, b"in pieces")
    genuine = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: genuine(descriptor, min(size, 2)))
    body = read(folder, FILE)
    assert body is not None
    assert (body.content, body.stable) == (b"in pieces", True)


def test_a_larger_file_than_allowed_is_not_read_whole(tmp_path: Path, folder: Folder) -> None:
    """Reading ends one byte past the limit, and such a body is never taken for the file."""
    put(tmp_path, FILE, b"0123456789")
    body = read(folder, FILE, 4)
    assert body is not None
    assert (body.content, body.stable) == (b"01234", False)


def test_a_disk_that_fails_is_unreadable(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of reading and of looking are told as such, with the path."""
    put(tmp_path, FILE, b"body")

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(UnreadableError, match=f"{FILE}: Input/output error"):
        read(folder, FILE)
    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(UnreadableError, match=f"{DIRECTORY}: Input/output error"):
        folder.survey(DIRECTORY)


def test_names_that_vanish_while_a_directory_is_listed(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, or a project, that is gone when its turn comes is left out."""
    put(tmp_path, FILE, b"{}")
    put(tmp_path, f"{DIRECTORY}/b.json", b"{}")
    genuine = os.stat

    def vanishing(path: Any, **options: Any) -> os.stat_result:
        if path == "a.json":
            raise FileNotFoundError(path)
        return genuine(path, **options)

    monkeypatch.setattr(os, "stat", vanishing)
    assert list(folder.survey(DIRECTORY).paths()) == [f"{DIRECTORY}/b.json"]
    monkeypatch.setattr(folder_module, "_is_directory", lambda _: True)
    put(tmp_path, "file", b"{}")
    assert folder.outline().unreadable == {}


def test_a_batch_opens_each_file_once(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """One open for each file that is read, three for each directory, and none for a look."""
    paths = [f"{DIRECTORY}/{number}.json" for number in range(20)]
    for path in paths:
        put(tmp_path, path, b"{}")
    opened: list[object] = []
    genuine = os.open

    def counting(path: Any, *rest: Any, **options: Any) -> int:
        opened.append(path)
        return genuine(path, *rest, **options)

    monkeypatch.setattr(os, "open", counting)
    with folder.reader() as reader:
        for path in paths:
            assert reader.stamp(path)
        assert len(opened) == 3
        for path in paths:
            assert reader.read(path, 9)
        assert len(opened) == 3 + 20
    assert isinstance(reader, Reader)


def test_many_directories_hold_one_descriptor_each(tmp_path: Path, folder: Folder) -> None:
    """A batch of files from many days does not use up the process's descriptors."""
    paths = [f"p{number}/2026-11-20/a.json" for number in range(50)]
    for path in paths:
        put(tmp_path, path, b"{}")
    with folder.reader() as reader:
        before = open_descriptors()
        assert all(reader.stamp(path) for path in paths)
        assert open_descriptors() == before + 50
