"""The zip of a project-day: the same files give the same bytes, and no claim of a zip is believed without a check.

The manifest is the first member, the files follow in byte order of their names. Nothing tells the host, the user or the
time of zipping: a member's time is its file's mtime in UTC, as far as a zip can hold it; the manifest has it whole.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, NoReturn, Self

import msgspec

from tracewatchd.edges.claiming import Claim
from tracewatchd.edges.writing import HEALS, classified, sync_directory
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.manifest import MANIFEST_NAME, MAX_FILES, Manifest, ManifestFile, decode, lines

PIECE_BYTES = 1 << 18
"""Files are read and written in pieces of at most this size."""

HINT = "nothing of it was used; make the zip anew by `tracewatchd archive zip`, or take another copy"

_FIRST, _LAST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)
_NS = 1_000_000_000
_UNIX = 3
_MODE = (stat.S_IFREG | 0o644) << 16

# What zipfile and what is below it raise at bytes that are no zip, or no longer.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)

_ENCRYPTED = 0x1
_UTF_8 = 0x800
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL_HEADER_BYTES = 30
_DIRECTORY_BYTES = 128 * MAX_FILES
_MOST_DEFLATED = 1_040
"""Deflate makes a byte of at most 1,032: what claims more is a bomb."""
_MANIFEST_LINE_BYTES = 512
_JSON_ESCAPE_BYTES = 6


def read_manifest(path: Path) -> Manifest:
    """What a zip says that it holds: checked against the zip's own directory, not against its files' bytes.

    Raises:
        PoisonError: it is no zip of a day, damaged, or contradicts itself.
        TransientError: the disk is failing.
        PermanentError: there is no such file, or it is closed to us.
    """
    with DayZip(path) as opened:
        return opened.manifest


class DayZip:
    """A zip to read, in a ``with`` block. What it claims has been checked before the first byte of a file is used.

    A zip that must have the manifest ``expected`` is compared with it, which saves the memory of a second one.

    Raises:
        PoisonError: it is no zip of a day, damaged, or contradicts itself.
        TransientError: the disk is failing.
        PermanentError: there is no such file, or it is closed to us.
    """

    def __init__(self, path: Path, *, expected: Manifest | None = None) -> None:
        self.path = path
        with _reading(path):
            self._stream = path.open("rb")
        try:
            with _reading(path):
                _require_bounded(self._stream)
                self._zip = zipfile.ZipFile(self._stream)
                self._members = _members(self._zip)
                self.manifest = self._manifest(expected)
                self._require_agreement()
        except (PoisonError, TransientError, PermanentError):
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def pieces(self, file: ManifestFile) -> Iterator[bytes]:
        """A file's bytes; whoever takes them to the end knows that they are those of the manifest.

        Raises:
            PoisonError: they are not.
            TransientError, PermanentError: the zip cannot be read any more.
        """
        hashed, size = sha256(), 0
        with _reading(self.path, file.name), self._opened(file.member) as member:
            while piece := member.read(PIECE_BYTES):
                hashed.update(piece)
                size += len(piece)
                yield piece
            if size != file.size_bytes or hashed.hexdigest() != file.sha256:
                _refuse("its bytes are not those that the manifest names")

    def sha256(self) -> str:
        """The sha256 of the zip itself, as ``sha256sum`` prints it.

        Raises:
            TransientError, PermanentError: it cannot be read any more.
        """
        with _reading(self.path):
            self._stream.seek(0)
            return _digest_of(self._stream)

    def _opened(self, name: str) -> IO[bytes]:
        return self._zip.open(self._members[name].info(name))

    def _manifest(self, expected: Manifest | None) -> Manifest:
        found = self._members.get(MANIFEST_NAME)
        if found is None:
            _refuse("it has no MANIFEST.json: another program made it, or it is not the zip of a day")
        longest = sum(_MANIFEST_LINE_BYTES + _JSON_ESCAPE_BYTES * len(name) for name in self._members)
        if found.file_size > longest:
            _refuse(f"its manifest would have {found.file_size} bytes, too many for {len(self._members)} members")
        with self._opened(MANIFEST_NAME) as member:
            if expected is None:
                return decode(_whole(member))
            if _digest_of(member) != _digest(lines(expected)):
                _refuse("its manifest is not the one that it should have")
            return expected

    def _require_agreement(self) -> None:
        for file in self.manifest.files:
            member = self._members.get(file.member)
            if member is None:
                _refuse(f"{file.name!r} is in the manifest, and not in the zip")
            if member.file_size != file.size_bytes:
                _refuse(f"{file.name!r} has {member.file_size} bytes in the zip and {file.size_bytes} in the manifest")
        if len(self._members) > len(self.manifest.files) + 1:
            more = self._members.keys() - {file.member for file in self.manifest.files} - {MANIFEST_NAME}
            _refuse(f"{min(more)!r} is in the zip, and not in the manifest")


class _Member(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a member: a tenth of what zipfile knows, as a day has tens of thousands."""

    header_offset: int
    compress_size: int
    file_size: int
    crc: int

    def info(self, name: str) -> zipfile.ZipInfo:
        """As zipfile opens it; all members are deflated, and their names are UTF-8."""
        info = zipfile.ZipInfo(name)
        info.header_offset = self.header_offset
        info.flag_bits = _UTF_8
        info.compress_type = zipfile.ZIP_DEFLATED
        info.compress_size = self.compress_size
        info.file_size = self.file_size
        info.CRC = self.crc
        return info


def _members(opened: zipfile.ZipFile) -> dict[str, _Member]:
    """All members by name, taken over from zipfile, which forgets them.

    Raises:
        PoisonError: we could not have written them.
    """
    infos = opened.infolist()
    _require_plain(infos)
    if len(opened.NameToInfo) < len(infos):
        _refuse(f"{_twice(infos)!r} stands in it twice")
    _require_apart(infos, opened.start_dir)
    opened.NameToInfo.clear()
    members = {}
    while infos:
        info = infos.pop()
        members[info.filename] = _Member(info.header_offset, info.compress_size, info.file_size, info.CRC)
    return members


def _whole(member: IO[bytes]) -> bytearray:
    """A member's bytes; `ZipFile.read` would hold them twice."""
    text = bytearray()
    while piece := member.read(PIECE_BYTES):
        text += piece
    return text


class GrowingZip:
    """A zip that is written beside its place and takes it only when it was read back and found whole.

    Used in a ``with`` block, which leaves nothing behind unless `finish` was called. The file beside it is claimed: a
    second process that would write the same zip is refused, and one that was killed leaves it to the next.

    Raises:
        TransientError: the disk is full or failing, or another process writes the same zip.
        PermanentError: it cannot be written there.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._claim = Claim(target.parent / f".{target.name}.part")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._claim.remove()
        self._claim.__exit__(kind, error, trace)

    @property
    def path(self) -> Path:
        """Where it lies until it is finished."""
        return self._claim.path

    def write(self, manifest: Manifest, contents: Callable[[ManifestFile], Iterable[bytes]]) -> None:
        """Write the manifest and every file, whose bytes ``contents`` gives, and wait until they are on the disk.

        Raises:
            TransientError, PermanentError: as for the whole zip; and whatever ``contents`` raises.
        """
        with classified(self._target.parent, f"write {self._target.name}"):
            os.ftruncate(self._claim.descriptor, 0)
            with os.fdopen(os.dup(self._claim.descriptor), "r+b", buffering=PIECE_BYTES) as stream:
                _write(stream, manifest, contents)
                stream.flush()
                os.fsync(stream.fileno())

    def finish(self) -> None:
        """Let it take its place.

        Raises:
            TransientError, PermanentError: as for the whole zip.
        """
        with classified(self._target.parent, f"write {self._target.name}"):
            self._claim.path.replace(self._target)
            sync_directory(self._target.parent)


def _write(stream: BinaryIO, manifest: Manifest, contents: Callable[[ManifestFile], Iterable[bytes]]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        size_bytes = sum(map(len, lines(manifest)))
        _add(archive, _info(MANIFEST_NAME, size_bytes, _last_ns(manifest)), lines(manifest))
        for file in manifest.files:
            _add(archive, _info(file.member, file.size_bytes, file.mtime_ns), contents(file))


def _last_ns(manifest: Manifest) -> int:
    return max((file.mtime_ns for file in manifest.files), default=0)


def _info(name: str, size_bytes: int, mtime_ns: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _moment(mtime_ns))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = _UNIX
    info.external_attr = _MODE
    info.file_size = size_bytes  # decides whether the member's header has room for more than 4 GiB
    return info


def _moment(mtime_ns: int) -> tuple[int, int, int, int, int, int]:
    seconds = min(max(mtime_ns // _NS, int(_FIRST.timestamp())), int(_LAST.timestamp()))
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second


def _add(archive: zipfile.ZipFile, info: zipfile.ZipInfo, contents: Iterable[bytes]) -> None:
    with archive.open(info, "w") as member:
        for piece in contents:
            member.write(piece)


# ---------------------------------------------------------------------------------------------------------------------
# Before a zip is believed


@contextmanager
def _reading(path: Path, name: str | None = None) -> Iterator[None]:
    """Say of whatever goes wrong with a zip which one it is, and whether it heals."""
    place = f"{path}: {name}" if name else str(path)
    try:
        yield
    except PoisonError as error:
        raise PoisonError(f"{place}: {error}", hint=error.hint or HINT) from error
    except _BROKEN as error:
        raise PoisonError(f"{place}: the zip is damaged: {error}", hint=HINT) from error
    except FileNotFoundError as error:
        hint = "make it by `tracewatchd archive zip`, or name where it lies"
        raise PermanentError(f"there is no zip {path}", hint=hint) from error
    except OSError as error:
        reason = f"{place}: cannot be read: {error.strerror}"
        if error.errno in HEALS:
            raise TransientError(reason, hint=f"look at the health of the disk of {path.parent}") from error
        hint = "see that the zip is there and that this user may read it"
        raise PermanentError(reason, hint=hint) from error


def _refuse(reason: str) -> NoReturn:
    raise PoisonError(reason)


def _require_bounded(stream: BinaryIO) -> None:
    """See from the zip's last bytes how large its directory claims to be, before zipfile reads it into memory."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END.size - _LOCATOR.size - _END_64.size))
    tail = stream.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\5\6"):
        _refuse("it does not end as a zip of a day does: it is cut off, or no zip, or has a comment")
    members, directory_bytes = _END.unpack(tail[-_END.size :])[4:6]
    rest = tail[: -_END.size]
    if rest[-_LOCATOR.size :].startswith(b"PK\6\7") and rest.startswith(b"PK\6\6"):
        members, directory_bytes = _END_64.unpack(rest[: _END_64.size])[7:9]
    if members > MAX_FILES + 1 or directory_bytes > _DIRECTORY_BYTES:
        _refuse(
            f"it claims {members} members in a directory of {directory_bytes} bytes; {MAX_FILES} files is the limit"
        )


def _require_plain(infos: list[zipfile.ZipInfo]) -> None:
    """See that every member is one that we could have written."""
    for info in infos:
        name = info.orig_filename
        if name != info.filename:
            _refuse(f"{name!r} is no name of a file")
        if info.flag_bits & _ENCRYPTED:
            _refuse(f"{name!r} is encrypted")
        if info.flag_bits & ~_UTF_8:
            _refuse(f"{name!r} has flags that no member of a zip of a day has: {info.flag_bits:#x}")
        if info.compress_type != zipfile.ZIP_DEFLATED:
            _refuse(f"{name!r} is compressed in a way that no zip of a day is")
        if info.external_attr != _MODE:
            _refuse(f"{name!r} is no regular file")
        if info.file_size > _MOST_DEFLATED * info.compress_size:
            _refuse(f"{name!r} claims {info.file_size} bytes out of {info.compress_size}, which nothing deflates to")


def _twice(infos: Iterable[zipfile.ZipInfo]) -> str:
    (name, _), *_ = Counter(info.filename for info in infos).most_common(1)
    return name


def _require_apart(infos: list[zipfile.ZipInfo], end: int) -> None:
    """See that members follow one another in the directory's order and share no bytes, as those of bombs do."""
    begins = chain((info.header_offset for info in infos), (end,))
    for info, (begin, following) in zip(infos, pairwise(begins), strict=True):
        length = _LOCAL_HEADER_BYTES + len(info.filename.encode()) + info.compress_size
        if begin < 0 or begin + length > following:
            _refuse(f"{info.filename!r} overlaps what comes after it")


def _digest_of(stream: IO[bytes]) -> str:
    return _digest(iter(partial(stream.read, PIECE_BYTES), b""))


def _digest(pieces: Iterable[bytes]) -> str:
    hashed = sha256()
    for piece in pieces:
        hashed.update(piece)
    return hashed.hexdigest()
