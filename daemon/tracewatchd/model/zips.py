"""What zipping and restoring a project-day end with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


class ZipOutcome(StrEnum):
    """What became of a day's zip."""

    WRITTEN = "written"
    """It was made, or made anew."""
    UNCHANGED = "unchanged"
    """It was there with this day digest and is whole: nothing was written."""
    NOTHING = "nothing"
    """The day has no files: nothing was written, and a zip that is there stays."""
    PLANNED = "planned"
    """A dry run: it would be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipResult:
    """What zipping a project-day did. ``sha256`` is the zip's own, ``size_bytes`` that of its files unpacked.

    ``damaged`` says what was wrong with the zip that was there; it is kept beside the new one.
    """

    project: str
    date: date
    path: str
    outcome: ZipOutcome
    run_files: int = 0
    runs: int = 0
    attachments: int = 0
    size_bytes: int = 0
    zip_bytes: int | None = None
    sha256: str | None = None
    day_digest: str | None = None
    damaged: str | None = None
    took_s: float = 0


class RestoreKind(StrEnum):
    """How a file of a zip stands to the file of its name in the day."""

    NEW = "new"
    """There is none: the zip's is moved in."""
    NEWER = "newer"
    """There is an older version of the same run: the zip's takes its place."""
    SAME = "same"
    """It holds the same bytes: nothing is done."""
    OLDER = "older"
    """It is a newer version of the same run, and stays."""
    DIFFERENT = "different"
    """Neither can be called the newer one (no run, another run, or the same age): what is there stays."""


MOVED = frozenset({RestoreKind.NEW, RestoreKind.NEWER})
"""Kinds whose file is taken from the zip."""


@dataclass(slots=True, kw_only=True)
class RestoreResult:
    """What restoring a project-day did, in files; ``left`` names those of the zip that were not taken, with the kind.

    A dry run counts the same and moves nothing.
    """

    project: str
    date: date
    zip: str
    day_digest: str
    dry_run: bool = False
    new: int = 0
    newer: int = 0
    same: int = 0
    older: int = 0
    different: int = 0
    left: dict[str, RestoreKind] = field(default_factory=dict)
    took_s: float = 0

    def add(self, name: str, kind: RestoreKind) -> None:
        """Count one file."""
        setattr(self, kind.value, getattr(self, kind.value) + 1)
        if kind in {RestoreKind.OLDER, RestoreKind.DIFFERENT}:
            self.left[name] = kind

    @property
    def files(self) -> int:
        """Files of the zip."""
        return sum(getattr(self, kind.value) for kind in RestoreKind)
