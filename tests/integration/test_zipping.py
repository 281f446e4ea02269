"""Zips of days as files: the same in, the same out, and nothing believed that can be checked."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile_zips import HOSTILE, TWO
from tracewatchd.edges.zipping import DayZip, GrowingZip, read_manifest
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.manifest import MANIFEST_NAME, lines
from zips import contents_of, manifest, write_good

ODD = ["a\\b.json", "a\nb.json", "%25.json", "%FF%00"[:3] + ".json", "\u00e9.json", "_attachments/r/pic.png", ":.json"]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    """In any order, at any time, under any umask: the zip is a function of names, bytes and mtimes."""
    one = write_good(tmp_path / "one.zip", TWO)
    before = os.umask(0o077)
    try:
        other = write_good(tmp_path / "other.zip", dict(reversed(TWO.items())))
    finally:
        os.umask(before)
    assert one.read_bytes() == other.read_bytes()
    with GrowingZip(tmp_path / "older.zip") as growing:
        growing.write(manifest(TWO, mtime_ns=5), lambda file: [TWO[file.name]])
        growing.finish()
    assert (tmp_path / "older.zip").read_bytes() != one.read_bytes()


def test_what_is_zipped_comes_out_again(tmp_path: Path) -> None:
    """Names that are no text, and those that other programs trip over, keep their spelling and their bytes."""
    contents = {name: name.encode() * 9 for name in ODD}
    path = write_good(tmp_path / "odd.zip", contents)
    assert contents_of(path) == contents
    assert read_manifest(path) == manifest(contents)


def test_other_programs_read_it(tmp_path: Path) -> None:
    """The standard library finds the manifest first, the files in byte order, nothing wrong, and the times of files."""
    path = write_good(tmp_path / "day.zip", TWO)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [MANIFEST_NAME, "a.json", "b.json"]
        assert archive.testzip() is None
        assert archive.getinfo("a.json").date_time == (2025, 11, 20, 0, 53, 20)
        assert archive.read(MANIFEST_NAME) == b"".join(lines(manifest(TWO)))


@pytest.mark.parametrize(
    ("mtime_ns", "shown"), [(-(2**63), (1980, 1, 1, 0, 0, 0)), (2**63 - 1, (2107, 12, 31, 23, 59, 58))]
)
def test_times_that_a_zip_cannot_hold(tmp_path: Path, mtime_ns: int, shown: tuple[int, ...]) -> None:
    """They are cut to what it can, and whole in the manifest."""
    claimed = manifest({"a.json": b"{}"}, mtime_ns=mtime_ns)
    with GrowingZip(tmp_path / "day.zip") as growing:
        growing.write(claimed, lambda _: [b"{}"])
        growing.finish()
    with zipfile.ZipFile(tmp_path / "day.zip") as archive:
        assert archive.getinfo("a.json").date_time == shown
    assert read_manifest(tmp_path / "day.zip").files[0].mtime_ns == mtime_ns


def test_more_files_than_old_zips_can_count(tmp_path: Path) -> None:
    """Beyond 65,535 members the zip is a zip64, and is read as any other."""
    contents = {f"{number}.json": b"" for number in range(66_000)}
    path = write_good(tmp_path / "many.zip", contents)
    assert len(read_manifest(path).files) == 66_000
    assert b"PK\6\6" in path.read_bytes()[-200:]


def test_more_bytes_than_old_zips_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of 32 bits, here a low one, files and zip are those of a zip64, and are read as any other."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 64)
    path = write_good(tmp_path / "large.zip", TWO)
    assert path.read_bytes().count(struct.pack("<HH", 1, 16)) >= 1
    assert contents_of(path) == TWO


# ---------------------------------------------------------------------------------------------------------------------
# What is not believed


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_believed(tmp_path: Path, case: str) -> None:
    """Each is refused with the zip's place and one sentence, and not one byte of a file that is wrong is believed."""
    make, told = HOSTILE[case]
    make(tmp_path / "day.zip")
    with pytest.raises(PoisonError, match=f"{tmp_path}/day.zip: .*{told}") as raised:
        contents_of(tmp_path / "day.zip")
    assert raised.value.hint


@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_zip_is_whole_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes of a zip change, it gives the files that were zipped, or says that it is damaged."""
    path = tmp_path / "day.zip"
    whole = bytearray(write_good(path, TWO).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) // 2, len(whole) - 1]))])
    try:
        assert contents_of(path) == TWO
    except PoisonError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("at", range(400))
def test_every_byte_of_its_directory_counts(tmp_path: Path, at: int) -> None:
    """The bytes at the end, where the directory is, may have any value: nothing but poison comes of it."""
    path = write_good(tmp_path / "day.zip", {"a.json": b"{}"})
    whole = bytearray(path.read_bytes())
    for value in (0, 1, 127, 255):
        changed = bytearray(whole)
        changed[-1 - at % len(whole)] = value
        path.write_bytes(changed)
        try:
            assert contents_of(path) == {"a.json": b"{}"}
        except PoisonError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right


def test_a_zip_with_another_manifest_than_expected(tmp_path: Path) -> None:
    """Where the manifest is known, any other is refused, however good it is."""
    path = write_good(tmp_path / "day.zip", TWO)
    with DayZip(path, expected=manifest(TWO)) as opened:
        assert b"".join(opened.pieces(opened.manifest.files[1])) == TWO["b.json"]
    with pytest.raises(PoisonError, match="its manifest is not the one that it should have"):
        DayZip(path, expected=manifest(TWO, mtime_ns=1))


def test_a_zip_that_is_not_there(tmp_path: Path) -> None:
    """Permanent, with what makes it; so is a directory in its place."""
    with pytest.raises(PermanentError, match=f"there is no zip {tmp_path}/day.zip") as raised:
        read_manifest(tmp_path / "day.zip")
    assert "archive zip" in raised.value.hint
    (tmp_path / "day.zip").mkdir()
    with pytest.raises(PermanentError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path / "day.zip")


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An I/O error says nothing about the zip: it heals, and is not called poison."""
    path = write_good(tmp_path / "day.zip", TWO)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with DayZip(path) as opened:
        monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
        with pytest.raises(TransientError, match=r"a\.json: cannot be read: Input/output error"):
            list(opened.pieces(opened.manifest.files[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def test_nothing_is_seen_before_it_is_finished(tmp_path: Path) -> None:
    """The old zip stays until then, and what was not finished leaves nothing."""
    path = write_good(tmp_path / "day.zip", {"a.json": b"old"})
    with GrowingZip(path) as growing:
        growing.write(manifest(TWO), lambda file: [TWO[file.name]])
        assert contents_of(path) == {"a.json": b"old"}
        assert contents_of(growing.path) == TWO
    assert [entry.name for entry in tmp_path.iterdir()] == ["day.zip"]
    assert contents_of(path) == {"a.json": b"old"}


def test_two_do_not_write_one_zip(tmp_path: Path) -> None:
    """The second is refused, a transient fault that names the place, until the first is done."""
    path = tmp_path / "day.zip"
    with GrowingZip(path) as growing:
        with pytest.raises(TransientError, match="another process is at work there") as raised:
            GrowingZip(path)
        assert raised.value.hint
        growing.write(manifest(TWO), lambda file: [TWO[file.name]])
        growing.finish()
    write_good(path, {"a.json": b"new"})
    assert contents_of(path) == {"a.json": b"new"}


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    """A claim ends with its holder, and nothing of what it wrote gets into the next zip."""
    (tmp_path / ".day.zip.part").write_bytes(b"x" * 100_000)
    assert contents_of(write_good(tmp_path / "day.zip", TWO)) == TWO
    assert [entry.name for entry in tmp_path.iterdir()] == ["day.zip"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It heals, the sentence names the place, nothing stays."""

    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile._ZipWriteFile, "write", fill_up)  # type: ignore[attr-defined] # zipfile's own
    with pytest.raises(TransientError, match=f"{tmp_path}: cannot write day.zip: No space left"):
        write_good(tmp_path / "day.zip", TWO)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A missing directory is our surroundings' fault."""
    with pytest.raises(PermanentError, match="No such file"):
        GrowingZip(tmp_path / "missing" / "day.zip")


def test_unzip_agrees(tmp_path: Path) -> None:
    """Python's own command line tests it without complaint."""
    path = write_good(tmp_path / "day.zip", TWO)
    tested = subprocess.run(["python3", "-m", "zipfile", "-t", path], capture_output=True, text=True, check=True)
    assert tested.stdout == "Done testing\n"
