"""Which project-days a command is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Selection:
    """Project-days by folder and UTC day, both ends included; None leaves that side open."""

    folder: str | None = None
    first: date | None = None
    last: date | None = None

    def covers(self, directory: str) -> bool:
        """Whether a directory ``<project folder>/<YYYY-MM-DD>`` is meant."""
        folder, _, day = directory.partition("/")
        if self.folder is not None and folder != self.folder:
            return False
        # ISO days compare as text like the days they name.
        return (self.first is None or day >= self.first.isoformat()) and (
            self.last is None or day <= self.last.isoformat()
        )


EVERYTHING = Selection()
