"""What fetches remember to save time: how far one got, and which runs had not ended. All of it may be lost."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from tracewatchd.edges.writing import make_directory, write_file
from tracewatchd.model.layout import encode_path

_STANDING = "standing.json"

T = TypeVar("T")


class DayHint(msgspec.Struct, frozen=True):
    """Where an interrupted fetch of a day goes on.

    ``owed`` are the runs whose files say *not fetched* of feedback, ``began_at`` when the first page was asked for,
    ``files`` how many run files the day had: where there are fewer now, going on would not bring the others back.
    """

    root: str
    project_id: str
    files: int
    began_at: datetime
    cursor: str
    owed: tuple[str, ...] = ()


class Fetched(msgspec.Struct, frozen=True):
    """A day that was fetched whole, so many runs, by a fetch that began at ``began_at``, when the day was over."""

    root: str
    began_at: datetime
    runs: int


class Standing(msgspec.Struct, frozen=True):
    """What is known of a project: the last day that was fetched, and the starts of runs that had not ended, by id."""

    root: str = ""
    last_day: date | None = None
    pending: dict[str, datetime] = {}


class Hints:
    """The hints of one project, in a directory of their own; those of another root than this one do not count."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory = directory
        self._root = encode_path(os.fsencode(root))

    @property
    def root(self) -> str:
        """The root as a hint names it."""
        return self._root

    def day(self, day: date) -> DayHint | None:
        """How far the fetch of a day got; None where it is not known."""
        hint = _read(self._of(day), DayHint)
        return hint if hint and hint.root == self._root else None

    def keep(self, day: date, hint: DayHint) -> None:
        """Remember how far the fetch of a day got.

        Raises:
            TransientError, PermanentError: it cannot be written.
        """
        self._write(self._of(day), hint)

    def forget(self, day: date) -> None:
        """A day is fetched to its end."""
        with suppress(OSError):
            self._of(day).unlink(missing_ok=True)

    def was_fetched(self, day: date, files: int) -> bool:
        """Whether the day was fetched whole after it was over, and still has as many run files as it had runs."""
        fetched = _read(self._fetched(day), Fetched)
        return fetched is not None and fetched.root == self._root and files >= fetched.runs

    def keep_fetched(self, day: date, began_at: datetime, runs: int) -> None:
        """Remember that the day was fetched whole.

        Raises:
            TransientError, PermanentError: it cannot be written.
        """
        self._write(self._fetched(day), Fetched(self._root, began_at, runs))

    def standing(self) -> Standing:
        """What is known of the project."""
        standing = _read(self.directory / _STANDING, Standing)
        return standing if standing and standing.root == self._root else Standing(self._root)

    def keep_standing(self, standing: Standing) -> None:
        """Remember it.

        Raises:
            TransientError, PermanentError: it cannot be written.
        """
        self._write(self.directory / _STANDING, standing)

    def _of(self, day: date) -> Path:
        return self.directory / f"{day.isoformat()}.json"

    def _fetched(self, day: date) -> Path:
        return self.directory / f"{day.isoformat()}.fetched"

    def _write(self, path: Path, hint: msgspec.Struct) -> None:
        make_directory(self.directory)
        write_file(path, msgspec.json.encode(hint), private=True)


def _read(path: Path, kind: type[T]) -> T | None:
    """A hint; None where there is none that can be understood, which costs time only."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
