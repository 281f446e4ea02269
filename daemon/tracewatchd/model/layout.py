"""Where run files live under a root: ``<project folder>/<YYYY-MM-DD>/<run_id>_<HHMMSS>.json``.

A path is written the same way everywhere in tracewatchd (line, ledger, reports): relative to the root, with ``%`` and
every byte that is not UTF-8 percent-encoded, so that any file name a kernel allows has exactly one spelling.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import NamedTuple

_DAY = re.compile(rb"\d{4}-\d{2}-\d{2}")
_ENCODED = re.compile(r"%([0-9A-F]{2})")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how surrogateescape spells a byte that is not UTF-8
_SUFFIX = ".json"


def encode_path(raw: bytes) -> str:
    """The one spelling of a file system's bytes: UTF-8 stays, ``%`` and all other bytes become ``%XX``."""
    text = raw.replace(b"%", b"%25").decode("utf-8", "surrogateescape")
    if text.isascii():
        return text
    return _NOT_UTF8.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)


def decode_path(path: str) -> bytes:
    """The file system's bytes behind a path: the inverse of `encode_path`."""
    if "%" not in path:
        return path.encode()
    parts = _ENCODED.split(path)
    return b"".join(bytes.fromhex(part) if i % 2 else part.encode() for i, part in enumerate(parts))


@lru_cache(1_024)
def day_of(folder: bytes) -> date | None:
    """The UTC day that a folder's name stands for, or None where the folder is no day; remembered for its files."""
    if not _DAY.fullmatch(folder):
        return None
    try:
        return date.fromisoformat(folder.decode("ascii"))
    except ValueError:
        return None


def is_run_file_name(name: bytes) -> bool:
    """Whether a regular file of this name in a day's folder is a run file (not a summary, not a temporary file)."""
    return name.endswith(b".json") and not name.startswith((b"_", b"."))


class RunPath(NamedTuple):
    """A run file's path, taken apart."""

    folder: str
    day: date
    name: str

    @classmethod
    def parse(cls, path: str) -> RunPath | None:
        """The parts of a path in its one spelling, or None where no run file can be at that path."""
        match path.split("/"):
            case [folder, day_folder, name] if folder not in {"", ".", ".."} and is_run_file_name(decode_path(name)):
                day = day_of(day_folder.encode())
                return None if day is None else cls(folder, day, name)
            case _:
                return None

    @property
    def text(self) -> str:
        """The whole path in its one spelling."""
        return f"{self.folder}/{self.day.isoformat()}/{self.name}"

    @property
    def project(self) -> str:
        """The folder's name for people: percent-encoding undone where the bytes are UTF-8."""
        return decode_path(self.folder).decode("utf-8", "replace").replace("\0", "\ufffd")

    @property
    def named_run_id(self) -> str:
        """What stands before the last ``_`` of the name: the run id, where the file itself has none."""
        stem = self.name.removesuffix(_SUFFIX)
        return stem.rpartition("_")[0] or stem
