"""Which days were fetched to their end after they were over. Losing this costs time only: the day is fetched again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from tracewatchd.edges.writing import make_directory, write_file
from tracewatchd.model.project_day import ProjectDay


class _Fetched(msgspec.Struct, frozen=True):
    began_at: datetime
    runs: int


class FetchedDays:
    """Remembered below a directory, a folder for each project."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def has(self, day: ProjectDay, files: int) -> bool:
        """Whether the day was fetched whole, and its folder still has as many run files at least."""
        try:
            fetched = msgspec.json.decode(self._of(day).read_bytes(), type=_Fetched)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return False
        return files >= fetched.runs

    def remember(self, day: ProjectDay, began_at: datetime, runs: int) -> None:
        """The day was fetched whole, so many runs, by a fetch that began at this time.

        Raises:
            TransientError, PermanentError: it cannot be written.
        """
        make_directory(self._of(day).parent)
        write_file(self._of(day), msgspec.json.encode(_Fetched(began_at, runs)), private=True)

    def _of(self, day: ProjectDay) -> Path:
        return self._directory / day.folder / f"{day.day.isoformat()}.fetched"
