"""What the zip of a project-day says of itself: every file with its sha256, and one digest for the whole day.

A name in it is a path relative to the day's directory, in the spelling of `tracewatchd.model.layout`: a run file's, or
one below ``_attachments``. Summaries, hidden files and whatever else lies in the directory are no part of a day.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import cached_property
from hashlib import sha256
from heapq import merge
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

from tracewatchd.model.errors import PoisonError
from tracewatchd.model.layout import decode_path, encode_path, is_run_file_name
from tracewatchd.model.project_day import ProjectDay

MANIFEST_NAME = "MANIFEST.json"
"""The manifest's own name in the zip: the one name that no run file of a zipped day may have."""

ATTACHMENTS = "_attachments"
"""The directory beside the run files whose files belong to the day, at most `MAX_LEVELS` below it, hidden ones not."""

MAX_LEVELS = 8

MAX_FILES = 500_000
"""Files that a day may have; a zip that claims more is not believed."""

FORMAT = 1
"""Number of the manifest's form; a zip of a later one is refused."""

DIGEST_COMMAND = (
    r"find . -type f ! -path '*/.*' \( -path './_attachments/*' -o ! -path './*/*' -name '*.json' ! -name '_*' \)"
    r" -printf '%P\0' | xargs -0r sha256sum -- | sort | sha256sum"
)
"""What prints the day digest, in the day's directory, with ``LC_ALL=C`` and GNU's tools."""

_sha256_of = attrgetter("sha256")
_LONGEST_NAME = 255
_SPECIAL = re.compile(rb"[\\\n\r]")
_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}
_NOT_IN_A_ZIP = re.compile(r"[\x00-\x1f\x7f\\]")
_HINT = "make it anew by `tracewatchd archive zip`, or take another copy of it"

_Sha256: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """One file of a day. ``run_id`` is None for an attachment, and where no run can be read from the file."""

    name: str
    sha256: _Sha256
    size_bytes: _Count
    mtime_ns: _Time
    run_id: UUID | None

    @property
    def is_run_file(self) -> bool:
        """Whether this is a run file, not an attachment."""
        return "/" not in self.name

    @property
    def member(self) -> str:
        """The file's name in the zip: as in the manifest, but what other programs trip over is percent-encoded."""
        return _NOT_IN_A_ZIP.sub(lambda found: f"%{ord(found[0]):02X}", self.name)


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a day holds: run files, runs that they name, attachments, and the bytes of all of them."""

    run_files: _Count
    runs: _Count
    attachments: _Count
    size_bytes: _Count


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """All files of a project-day in byte order of their names. ``day_digest`` is what `DIGEST_COMMAND` prints."""

    format: int
    project: str
    date: date
    day_digest: _Sha256
    counts: Counts
    files: Annotated[list[ManifestFile], msgspec.Meta(max_length=MAX_FILES)]

    @property
    def day(self) -> ProjectDay:
        """Whose manifest it is."""
        return ProjectDay(self.project, self.date)

    @cached_property
    def run_ids(self) -> frozenset[UUID]:
        """Every run that is named by a file."""
        return frozenset(file.run_id for file in self.files if file.run_id)


def manifest_of(day: ProjectDay, files: Iterable[ManifestFile]) -> Manifest:
    """The manifest of a day that holds these files, each name once, in any order."""
    ordered = sorted(files, key=lambda file: file.name)
    return Manifest(
        format=FORMAT,
        project=day.folder,
        date=day.day,
        day_digest=_day_digest(ordered),
        counts=_counts(ordered),
        files=ordered,
    )


def lines(manifest: Manifest) -> Iterator[bytes]:
    """The manifest as JSON in pieces, a line for each file: equal manifests are equal bytes."""
    head = msgspec.json.encode(msgspec.structs.replace(manifest, files=[]))
    yield head.removesuffix(b"]}")
    separator = b"\n"
    for file in manifest.files:
        yield separator + msgspec.json.encode(file)
        separator = b",\n"
    yield b"\n]}\n"


def encode(manifest: Manifest) -> bytes:
    """The manifest as JSON, whole."""
    return b"".join(lines(manifest))


def decode(text: bytes | bytearray) -> Manifest:
    """The manifest that a text holds; whatever can be checked of it without the files has been checked.

    Raises:
        PoisonError: it is no manifest, one of a later form, or one that contradicts itself.
    """
    try:
        form = msgspec.json.decode(text, type=_Form).format
        if form != FORMAT:
            raise PoisonError(
                f"the manifest has the form {form}; this program knows the form {FORMAT}",
                hint="use the version of tracewatchd that wrote it, or a later one",
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonError(f"the manifest cannot be read: {error}", hint=_HINT) from error
    fault = _fault(manifest)
    if fault:
        raise PoisonError(f"the manifest lies: {fault}", hint=_HINT)
    return manifest


def is_name(name: str) -> bool:
    """Whether a file of a day can have this name: a run file, or an attachment; never a place outside of the day."""
    raw = decode_path(name)
    if encode_path(raw) != name or b"\0" in raw:
        return False
    first, *below = raw.split(b"/")
    if len(first) > _LONGEST_NAME:
        return False
    if not below:
        return is_run_file_name(first) and name != MANIFEST_NAME
    return first == ATTACHMENTS.encode() and len(below) <= MAX_LEVELS and all(map(_is_attachment_part, below))


class _Form(msgspec.Struct):
    format: int


def _is_folder(name: str) -> bool:
    raw = decode_path(name)
    return encode_path(raw) == name and raw not in {b"", b".", b".."} and not {b"/"[0], 0} & set(raw)


def _is_attachment_part(part: bytes) -> bool:
    return 0 < len(part) <= _LONGEST_NAME and not part.startswith(b".")


def _fault(manifest: Manifest) -> str | None:
    """What is wrong with a manifest although it has the form of one."""
    if not _is_folder(manifest.project):
        return f"no project's folder is called {manifest.project!r}"
    names = [file.name for file in manifest.files]
    for name in names:
        if not is_name(name):
            return f"no file of a day is called {name!r}"
    for before, after in pairwise(names):
        if before >= after:
            return f"{after!r} stands twice or out of order"
    if manifest.counts != _counts(manifest.files):
        return "its counts are not those of its files"
    if manifest.day_digest != _day_digest(manifest.files):
        return "its day digest is not that of its files"
    return None


def _counts(files: Sequence[ManifestFile]) -> Counts:
    kinds = Counter(file.is_run_file for file in files)
    return Counts(
        run_files=kinds[True],
        runs=len({file.run_id for file in files if file.run_id}),
        attachments=kinds[False],
        size_bytes=sum(file.size_bytes for file in files),
    )


def _day_digest(files: Iterable[ManifestFile]) -> str:
    """Lines are sorted without the line feeds at their ends, as ``sort`` does; never are all of them in memory."""
    plain: list[ManifestFile] = []
    escaped: list[ManifestFile] = []
    for file in files:
        (escaped if _SPECIAL.search(decode_path(file.name)) else plain).append(file)
    hashed = sha256()
    for line in merge(_sorted_lines(plain), _sorted_lines(escaped)):
        hashed.update(line + b"\n")
    return hashed.hexdigest()


def _sorted_lines(files: list[ManifestFile]) -> Iterator[bytes]:
    """The lines of files of which either all or none begin with a backslash."""
    files.sort(key=_sha256_of)
    for _, same in groupby(files, _sha256_of):
        yield from sorted(map(_line, same))


def _line(file: ManifestFile) -> bytes:
    """What ``sha256sum`` prints of a file: a line with special characters in its name begins with a backslash."""
    name = decode_path(file.name)
    escaped = _SPECIAL.sub(lambda found: _ESCAPES[found[0]], name)
    return (b"" if escaped == name else b"\\") + f"{file.sha256}  ".encode() + escaped
