"""The two small facts about a file that decide everything: its stamp and its version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

NO_EXTRACTION = datetime.min.replace(tzinfo=UTC)
"""What ``extracted_at`` is where a file carries none: before everything, ``-infinity`` in the database."""

_LAST_NS = (1 << 63) - 1


class Stamp(NamedTuple):
    """Which state of a file was read: equal stamps mean that nothing needs reading again.

    Every number fits into 64 bits with a sign, as the ledger keeps it: a time after the year 2262 counts as its end.
    """

    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp in what ``stat`` answered."""
        return cls(status.st_size, min(status.st_mtime_ns, _LAST_NS), min(status.st_ctime_ns, _LAST_NS))


class Seen(NamedTuple):
    """What one look at a file saw; ``sha256`` is None where its bytes were not read."""

    stamp: Stamp
    sha256: bytes | None = None


class Version(NamedTuple):
    """Which of two files of one run is newer: compared as a tuple, the greatest wins (promise 4)."""

    extracted_at: datetime
    mtime_ns: int
    sha256: bytes
