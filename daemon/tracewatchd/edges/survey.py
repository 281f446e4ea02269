"""A directory's run files in few bytes, which a database that knows the same files can make for itself.

Their paths in byte order, then size, mtime and ctime of each, times in nanoseconds, then what was read of each. Nothing
is done file by file that need not be: a tree of which nothing has changed is compared by one fingerprint per directory.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, repeat

from tracewatchd.model.layout import encode_path
from tracewatchd.model.stamp import Seen, Stamp

_CHUNK_BYTES = 1 << 20
_NAMES_ARE_UTF8 = sys.getfilesystemencoding().lower().replace("-", "") == "utf8"
_NUMBERS = 3
_UNREAD = bytes(sha256().digest_size)


@dataclass(slots=True)
class Survey:
    """One directory as a walk found it: its run files, and what else there is."""

    directory: str
    exists: bool = False
    names: list[str] = field(default_factory=list)
    """As the file system has them until `seal`, then as paths are spelled, in byte order."""
    numbers: array[int] = field(default_factory=lambda: array("q"))
    """Size, mtime and ctime of each file in turn."""
    hashes: list[bytes | None] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    read_bytes: int = 0
    fingerprint: bytes | None = None
    """sha256 of paths, numbers and hashes; None where a file could not be looked at."""

    def stamp_last(self, stamp: Stamp) -> None:
        """Take the last file's stamp in place of what was added of it."""
        self.numbers[_NUMBERS * (len(self.names) - 1) :] = array("q", stamp)

    def seal(self) -> None:
        """Spell, order and fingerprint what has been found."""
        if not _is_spelled("".join(self.names)):
            self._spell()
        if not self.unreadable:
            self.fingerprint = self._fingerprint()

    def paths(self) -> Iterator[str]:
        """Every run file's path."""
        return (f"{self.directory}/{name}" for name in self.names)

    def stamps(self) -> dict[str, Stamp]:
        """Every run file's stamp, by path, in byte order of the paths."""
        return dict(zip(self.paths(), self._stamps(), strict=True))

    def seen(self) -> dict[str, Seen]:
        """What was seen of each file, by path, in byte order of the paths."""
        hashes = self.hashes or repeat(None, len(self.names))
        return dict(zip(self.paths(), map(Seen, self._stamps(), hashes), strict=True))

    def _stamps(self) -> Iterator[Stamp]:
        numbers = iter(self.numbers)
        return map(Stamp, numbers, numbers, numbers)

    def _spell(self) -> None:
        names = [encode_path(os.fsencode(name)) for name in self.names]
        # Spelled names hold no surrogates, so the order of their text is the order of their bytes, as in the ledger.
        order = sorted(range(len(names)), key=names.__getitem__)
        stamps = list(self._stamps())
        self.numbers = array("q", chain.from_iterable(stamps[at] for at in order))
        self.hashes = [self.hashes[at] for at in order] if self.hashes else []
        self.names = [names[at] for at in order]

    def _fingerprint(self) -> bytes:
        hashed = sha256("/".join(self.paths()).encode())
        hashed.update(_big_endian(self.numbers))
        for known in self.hashes:
            hashed.update(known or _UNREAD)
        return hashed.digest()


def digest(descriptor: int, expected_bytes: int) -> bytes:
    """The sha256 of what an open file holds; a large file is never held whole."""
    block = os.read(descriptor, min(expected_bytes, _CHUNK_BYTES) + 1)
    hashed = sha256(block)
    if len(block) != expected_bytes:
        while block := os.read(descriptor, _CHUNK_BYTES):
            hashed.update(block)
    return hashed.digest()


def _is_spelled(text: str) -> bool:
    """Whether names are already as paths spell them."""
    if "%" in text or not _NAMES_ARE_UTF8:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
