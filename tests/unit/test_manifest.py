"""The manifest of a day: what it counts, what it refuses, and that anyone can reproduce its digest."""

from __future__ import annotations

import os
import subprocess
import tempfile
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracewatchd.model.errors import PoisonError
from tracewatchd.model.layout import decode_path, encode_path, is_run_file_name
from tracewatchd.model.manifest import (
    ATTACHMENTS,
    DIGEST_COMMAND,
    MANIFEST_NAME,
    MAX_LEVELS,
    Manifest,
    ManifestFile,
    decode,
    encode,
    is_name,
    manifest_of,
)
from tracewatchd.model.project_day import ProjectDay

DAY = ProjectDay("bot", date(2026, 11, 20))
SUM = sha256(b"{}").hexdigest()

_PARTS = st.binary(min_size=1, max_size=20).filter(lambda raw: not set(raw) & {0, b"/"[0]} and raw[:1] != b".")
_RUN_FILES = _PARTS.map(lambda raw: raw + b".json").filter(is_run_file_name)
_ATTACHMENTS = st.lists(_PARTS, min_size=1, max_size=3).map(lambda parts: b"/".join([ATTACHMENTS.encode(), *parts]))
NAMES = st.one_of(_RUN_FILES, _ATTACHMENTS).map(encode_path)


def file(name: str, *, content: bytes = b"{}", mtime_ns: int = 1, run_id: UUID | None = None) -> ManifestFile:
    return ManifestFile(
        name=name,
        sha256=sha256(content).hexdigest(),
        size_bytes=len(content),
        mtime_ns=mtime_ns,
        run_id=run_id,
    )


FILES = st.lists(
    st.builds(
        file,
        NAMES,
        content=st.binary(max_size=5),
        mtime_ns=st.integers(-(2**63), 2**63 - 1),
        run_id=st.one_of(st.none(), st.uuids()),
    ),
    unique_by=lambda one: one.name,
    max_size=8,
)


@given(FILES, st.randoms())
def test_a_manifest_comes_back_as_it_was_written(files: list[ManifestFile], random: Any) -> None:
    """Any files a day can have, in any order, give one manifest, one text, and that manifest again."""
    manifest = manifest_of(DAY, files)
    random.shuffle(files)
    assert encode(manifest_of(DAY, files)) == encode(manifest)
    assert decode(encode(manifest)) == manifest
    assert manifest.day == DAY
    assert manifest.counts.run_files + manifest.counts.attachments == len(files)
    assert manifest.counts.runs == len(manifest.run_ids)
    assert len(encode(manifest).splitlines()) == len(files) + 2


@given(st.dictionaries(NAMES, st.binary(max_size=3), max_size=6))
@settings(max_examples=60, deadline=None)
@example({"-.json": b"", "-%80.json": b"", f"{ATTACHMENTS}/-": b""})
def test_sha256sum_gives_the_day_digest(contents: dict[str, bytes]) -> None:
    """The documented command, run by a real shell in a real directory, prints the digest, whatever names hold.

    What is no part of the day lies in the directory, too: summaries, hidden files, deeper and foreign ones, symlinks.
    """
    files = [file(name, content=content) for name, content in contents.items()]
    with tempfile.TemporaryDirectory() as place:
        for name, content in contents.items():
            path = Path(place, os.fsdecode(decode_path(name)))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                files = [one for one in files if one.name != name]
        for other in ("_summary.json", ".hidden.json", "note.txt", "deeper/a.json", f"{ATTACHMENTS}/.unfinished"):
            Path(place, other).parent.mkdir(exist_ok=True)
            Path(place, other).touch()
        Path(place, "link-to.json").symlink_to("_summary.json")
        printed = subprocess.run(
            ["sh", "-c", DIGEST_COMMAND],
            cwd=place,
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            check=True,
            text=True,
        )
    assert printed.stderr == ""
    assert printed.stdout.split()[0] == manifest_of(DAY, files).day_digest


def test_the_short_command_gives_it_too(tmp_path: Path) -> None:
    """In a plain day ``sha256sum -- [!_]*.json | sort | sha256sum`` does."""
    for name in ("b.json", "a.json", "_summary.json", ".a.json"):
        (tmp_path / name).write_text(name)
    command = "sha256sum -- [!_]*.json | LC_ALL=C sort | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True, text=True)
    day = manifest_of(DAY, [file(name, content=name.encode()) for name in ("a.json", "b.json")])
    assert printed.stdout == f"{day.day_digest}  -\n"


def test_times_and_run_ids_are_no_part_of_the_digest() -> None:
    """The digest is about names and bytes alone."""
    one = manifest_of(DAY, [file("a.json")])
    other = manifest_of(DAY, [file("a.json", mtime_ns=2, run_id=UUID(int=1))])
    assert one.day_digest == other.day_digest
    assert encode(one) != encode(other)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a.json",
        "/a.json",
        "a/b.json",
        "a.txt",
        "_a.json",
        ".a.json",
        MANIFEST_NAME,
        ATTACHMENTS,
        f"{ATTACHMENTS}/",
        f"{ATTACHMENTS}/../a.json",
        f"{ATTACHMENTS}//a",
        f"{ATTACHMENTS}/.a",
        f"{ATTACHMENTS}/a/.b/c",
        f"/{ATTACHMENTS}/a",
        f"{ATTACHMENTS}/" + "a/" * MAX_LEVELS + "a",
        f"{ATTACHMENTS}/a%2Fb",
        "a%2Fb.json",
        "%41.json",
        "a%2e.json",
        "%.json",
        "a\0.json",
        "x" * 251 + ".json",
        f"{ATTACHMENTS}/" + "x" * 256,
    ],
)
def test_no_name_leads_out_of_the_day(name: str) -> None:
    """Neither is_name nor a manifest takes a name that is no file's of a day, or that has another spelling."""
    assert not is_name(name)
    with pytest.raises(PoisonError, match="no file of a day is called"):
        decode(encode(manifest_of(DAY, [file(name)])))


@pytest.mark.parametrize(
    "name", ["a.json", "x" * 250 + ".json", f"{ATTACHMENTS}/a", "a%25.json", "%FF.json", "\u00e9.json"]
)
def test_names_of_a_day(name: str) -> None:
    """Run files and attachments have names, odd ones in their one spelling."""
    assert is_name(name)


def test_what_other_programs_trip_over_is_spelled_in_the_zip() -> None:
    """Backslashes and control characters are percent-encoded in a member's name, and no other name is the same."""
    names = ["a\\b.json", "a%255Cb.json", "a\nb.json", "\u00e9.json"]
    members = [file(name).member for name in names]
    assert members == ["a%5Cb.json", "a%255Cb.json", "a%0Ab.json", "\u00e9.json"]
    assert [decode_path(member) for member in members] == [decode_path(name) for name in names]


GOOD: dict[str, Any] = msgspec.json.decode(encode(manifest_of(DAY, [file("a.json"), file("b.json")])))


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode(GOOD | fields)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (encode(manifest_of(DAY, [file("a.json")]))[:-5], "cannot be read"),
        (changed(format=2), "has the form 2; this program knows the form 1"),
        (changed(format="1"), "cannot be read"),
        (changed(extra=1), "cannot be read"),
        (changed(date="2026-13-01"), "cannot be read"),
        (changed(day_digest=SUM.upper()), "cannot be read"),
        (changed(day_digest=SUM), "lies: its day digest is not that of its files"),
        (changed(counts=GOOD["counts"] | {"run_files": 3}), "lies: its counts"),
        (changed(counts=GOOD["counts"] | {"size_bytes": -1}), "cannot be read"),
        (changed(files=GOOD["files"][::-1]), "'a.json' stands twice or out of order"),
        (changed(files=GOOD["files"][:1] * 2), "'a.json' stands twice or out of order"),
        (changed(files=[GOOD["files"][0] | {"mtime_ns": 2**63}]), "cannot be read"),
        (changed(project=".."), "no project's folder is called '..'"),
        (changed(project="a/b"), "no project's folder is called"),
        (changed(project=""), "no project's folder is called"),
        (changed(project="%41"), "no project's folder is called"),
    ],
)
def test_a_manifest_that_is_none_or_lies(text: bytes, told: str) -> None:
    """One sentence says what is wrong, one what to do."""
    with pytest.raises(PoisonError, match=told) as raised:
        decode(text)
    assert raised.value.hint


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_poison(text: bytes) -> None:
    """Nothing but a manifest or the error that says that it is none comes out of any bytes."""
    try:
        assert isinstance(decode(text), Manifest)
    except PoisonError:
        return
