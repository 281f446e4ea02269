"""``--combined FILE``: every path that a sweep looked at, a line each, as ``rclone check --combined`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tracewatchd.edges.writing import GrowingFile
from tracewatchd.model.errors import PermanentError, TransientError

_LINE_FEED = "\n"


class Combined:
    """Lines of a sigil and a path, written while the sweep goes on; nobody sees the file before it is whole.

    Where it cannot be written, the sweep goes on without it. Used as a context, it leaves nothing behind when it was
    not finished.
    """

    def __init__(self, path: Path) -> None:
        self._failure: TransientError | PermanentError | None = None
        self._file: GrowingFile | None = None
        try:
            self._file = GrowingFile(path)
        except (TransientError, PermanentError) as error:
            self._failure = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.discard()

    def add(self, sigil: str, path: str) -> None:
        """One path. ``%`` in it is ``%25`` already, so that a line feed can be ``%0A``."""
        if self._file and not self._failure:
            try:
                self._file.write(f"{sigil} {path.replace(_LINE_FEED, '%0A')}\n".encode())
            except (TransientError, PermanentError) as error:
                self._failure = error

    def finish(self) -> TransientError | PermanentError | None:
        """Put the whole file in its place, or say why it cannot be written."""
        if self._file and not self._failure:
            try:
                self._file.finish()
            except (TransientError, PermanentError) as error:
                self._failure = error
        return self._failure
