"""Atomic writing: a file is there whole or not at all, and an error says what to do."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.edges.writing import (
    GrowingFile,
    is_empty,
    make_directory,
    remove_leftovers,
    write_file,
    write_new_file,
)
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.layout import is_run_file_name


def _names(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


@given(content=st.binary(max_size=1_000), durable=st.booleans())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes, durable: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    """Any bytes are read back as they were given, and nothing else is left in the directory."""
    target = tmp_path_factory.mktemp("any") / "run.json"
    write_file(target, content, durable=durable)
    assert target.read_bytes() == content
    assert _names(target.parent) == ["run.json"]


def test_a_file_that_is_there_is_replaced_and_never_edited(tmp_path: Path) -> None:
    """The new file takes the name; whoever had the old one open goes on reading it whole."""
    target = tmp_path / "run.json"
    write_file(target, b"old" * 100)
    with target.open("rb") as reader:
        write_file(target, b"new")
        assert reader.read() == b"old" * 100
    assert target.read_bytes() == b"new"


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """A name of 255 bytes leaves no room for a suffix, and needs none."""
    target = tmp_path / ("x" * 250 + ".json")
    write_file(target, b"{}")
    assert target.read_bytes() == b"{}"


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    """A written file has the permissions of any other new file."""
    (tmp_path / "ordinary").touch()
    write_file(tmp_path / "run.json", b"{}")
    assert (tmp_path / "run.json").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle: the target stays as it was, no temporary file stays, the error heals."""
    target = tmp_path / "run.json"
    write_file(target, b"old")
    seen: list[str] = []
    real_write = os.write

    def fill_up(descriptor: int, content: memoryview) -> int:
        if seen:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seen.extend(name for name in _names(tmp_path) if name != "run.json")
        return real_write(descriptor, content[:2])

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(TransientError, match="No space left") as raised:
        write_file(target, b"newer")
    assert "disk" in raised.value.hint
    assert _names(tmp_path) == ["run.json"]
    assert target.read_bytes() == b"old"
    assert [is_run_file_name(os.fsencode(name)) for name in seen] == [False]


def test_a_place_that_cannot_be_written_is_permanent(tmp_path: Path) -> None:
    """A missing directory, or a file where a directory should be, is our surroundings' fault, and the hint names it."""
    (tmp_path / "file").touch()
    for directory in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(PermanentError) as raised:
            write_file(directory / "run.json", b"{}")
        assert str(directory) in raised.value.hint


def test_directories_are_made_with_those_above_them(tmp_path: Path) -> None:
    """Any number of levels, as often as asked; a file in the way is named as what is to be mended."""
    make_directory(tmp_path / "project" / "day")
    make_directory(tmp_path / "project" / "day")
    assert (tmp_path / "project" / "day").is_dir()
    write_file(tmp_path / "file", b"")
    with pytest.raises(PermanentError, match="file/day: cannot make it"):
        make_directory(tmp_path / "file" / "day")


def test_a_directory_is_empty_until_it_holds_anything(tmp_path: Path) -> None:
    """One that is missing counts as empty, one hidden file is enough to fill it, and a file is no directory."""
    assert is_empty(tmp_path / "missing")
    assert is_empty(tmp_path)
    (tmp_path / ".keep").touch()
    assert not is_empty(tmp_path)
    with pytest.raises(PermanentError, match="cannot look into it"):
        is_empty(tmp_path / ".keep")


def test_a_new_file_has_the_age_that_it_was_given(tmp_path: Path) -> None:
    """To the nanosecond, and with nothing left beside it."""
    target = tmp_path / "run.json"
    assert write_new_file(target, b"{}", mtime_ns=1_700_000_000_123_456_789)
    assert target.stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert (target.read_bytes(), _names(tmp_path)) == (b"{}", ["run.json"])


@pytest.mark.parametrize("kind", ["file", "symlink", "directory"])
def test_a_new_file_takes_nobody_s_place(tmp_path: Path, kind: str) -> None:
    """Whatever has the name keeps it, and nothing is left beside it."""
    target = tmp_path / "run.json"
    match kind:
        case "file":
            target.write_bytes(b"mine")
        case "symlink":
            target.symlink_to("nowhere")
        case "directory":
            target.mkdir()
    before = target.lstat()
    assert not write_new_file(target, b"{}", mtime_ns=1)
    assert target.lstat() == before
    assert _names(tmp_path) == ["run.json"]


def put(path: Path, content: bytes) -> None:
    """Write a file piece by piece."""
    growing = GrowingFile(path)
    try:
        for at in range(len(content)):
            growing.write(content[at : at + 1])
        growing.finish()
    finally:
        growing.discard()


WAYS = pytest.mark.parametrize("write", [write_file, put])


@WAYS
@pytest.mark.parametrize("leads_there", [False, True], ids=["itself", "symlink"])
def test_only_a_file_is_replaced(tmp_path: Path, write: Callable[[Path, bytes], None], leads_there: bool) -> None:  # noqa: FBT001 - a case
    """A pipe, as a device, keeps its place, and so does a directory, however it is named."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        target = tmp_path / name
        if leads_there:
            target = tmp_path / f"link-{name}"
            target.symlink_to(name)
        before = (tmp_path / name).stat()
        with pytest.raises(PermanentError, match="something other than a regular file is there"):
            write(target, b"{}")
        assert (tmp_path / name).stat().st_ino == before.st_ino
    assert not [name for name in _names(tmp_path) if name.startswith(".")]


@WAYS
def test_a_symlink_is_followed(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    """The file that it leads to is replaced, or made; the link stays."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/file")
    for content in (b"made", b"replaced"):
        write(link, content)
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert link.is_symlink()
    assert _names(tmp_path / "there") == ["file"]


def test_a_growing_file_is_seen_when_it_is_finished(tmp_path: Path) -> None:
    """Until then what was there stays, and what is given up leaves nothing."""
    target = tmp_path / "paths"
    target.write_bytes(b"older")
    for is_finished in (False, True):
        growing = GrowingFile(target)
        growing.write(b"new")
        assert target.read_bytes() == b"older"
        if is_finished:
            growing.finish()
        growing.discard()
        assert _names(tmp_path) == ["paths"]
    assert target.read_bytes() == b"new"


def test_a_growing_file_that_may_not_grow(tmp_path: Path) -> None:
    """It is told, and the target stays as it was."""
    target = tmp_path / "paths"
    target.write_bytes(b"older")
    growing = GrowingFile(target)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        with pytest.raises(PermanentError, match="File too large"):
            growing.write(b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
        growing.discard()
    assert (target.read_bytes(), _names(tmp_path)) == (b"older", ["paths"])


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    """Old temporary files of ours go; young ones, which somebody may be writing, and files of others stay."""
    names = {
        ".0123456789abcdef.tmp": False,
        ".fedcba9876543210.tmp": True,
        ".note.tmp": True,
        "run.json": True,
        ".0123456789abcdee.tmp": True,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"part")
        if name != ".fedcba9876543210.tmp":
            os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".0123456789abcdee.tmp").unlink()
    (tmp_path / ".0123456789abcdee.tmp").mkdir()
    remove_leftovers(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names
    remove_leftovers(tmp_path / "nowhere")
    with pytest.raises(PermanentError, match="cannot look into it"):
        remove_leftovers(tmp_path / "run.json")
