"""A directory's run files as one text, which a database that knows the same files can make for itself.

One line per file, in byte order: ``path TAB size TAB mtime TAB ctime TAB sha256``, times in nanoseconds, with nothing
after the last tab where the file was not read. Nothing is done file by file that need not be: a tree of which nothing
has changed is compared by one fingerprint per directory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from tracewatchd.model.layout import encode_path
from tracewatchd.model.stamp import Seen, Stamp

_CHUNK_BYTES = 1 << 20
_NAMES_ARE_UTF8 = sys.getfilesystemencoding().lower().replace("-", "") == "utf8"


@dataclass(slots=True)
class Survey:
    """One directory as a walk found it: a line per run file, and what else there is."""

    directory: str
    exists: bool = False
    lines: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    read_bytes: int = 0
    fingerprint: bytes | None = None
    """sha256 of the text; None where a file could not be looked at, or a name would make the text ambiguous."""

    def seal(self) -> None:
        """Sort and fingerprint what has been found."""
        self.lines.sort()
        text = self._text()
        is_clear = text.count("\n") == max(0, len(self.lines) - 1) and text.count("\t") == 4 * len(self.lines)
        if is_clear and not self.unreadable:
            self.fingerprint = sha256(text.encode()).digest()

    def _text(self) -> str:
        text = "\n".join(self.lines)
        if "%" in text or not _NAMES_ARE_UTF8 or not _is_encodable(text):
            self.lines = sorted(map(_spelled, self.lines))
            text = "\n".join(self.lines)
        return text

    def paths(self) -> Iterator[str]:
        """Every run file's path."""
        return (_parts(line)[0] for line in self.lines)

    def seen(self) -> dict[str, Seen]:
        """What was seen of each file, by path, in byte order of the paths."""
        # Paths hold no surrogates, so the order of their text is the order of their bytes, as in the ledger.
        return dict(sorted(map(_seen, self.lines)))


def digest(descriptor: int, expected_bytes: int) -> str:
    """The sha256 of what an open file holds, in hexadecimal; a large file is never held whole."""
    block = os.read(descriptor, min(expected_bytes, _CHUNK_BYTES) + 1)
    hashed = sha256(block)
    if len(block) != expected_bytes:
        while block := os.read(descriptor, _CHUNK_BYTES):
            hashed.update(block)
    return hashed.hexdigest()


def _seen(line: str) -> tuple[str, Seen]:
    path, size, mtime, ctime, hashed = _parts(line)
    return path, Seen(Stamp(int(size), int(mtime), int(ctime)), bytes.fromhex(hashed) if hashed else None)


def _parts(line: str) -> list[str]:
    return line.rsplit("\t", 4)


def _spelled(line: str) -> str:
    """The line with its file's name spelled as paths are; its directory is already."""
    path, *rest = _parts(line)
    directory, _, name = path.rpartition("/")
    return "\t".join([f"{directory}/{encode_path(os.fsencode(name))}", *rest])


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
