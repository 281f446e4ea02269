"""A file that one process at a time works with, and that the next one takes over when a process was killed."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tracewatchd.edges.writing import classified
from tracewatchd.model.errors import TransientError

_ATTEMPTS = 10


class Claim:
    """The claim on a path, held until the end of a ``with`` block; ``descriptor`` is the file, made where it is not.

    The kernel gives a claim back when its holder ends, however it ends: nothing has to be judged by its age.

    Raises:
        TransientError: another process holds the claim, or the disk is full or failing.
        PermanentError: the file cannot be made there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with classified(path.parent, f"write {path.name}"):
            self.descriptor = _claimed(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def remove(self) -> None:
        """Leave no file; only as the last step, for another process may then claim the path."""
        with suppress(OSError):
            if _is_at(self.path, self.descriptor):
                self.path.unlink()


def _claimed(path: Path) -> int:
    for _ in range(_ATTEMPTS):
        with ExitStack() as undo:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            undo.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                break
            if _is_at(path, descriptor):  # its last holder may have moved it away since it was opened
                undo.pop_all()
                return descriptor
    raise TransientError(
        f"{path.parent}: another process is at work there and holds {path.name}", hint="try again when it has ended"
    )


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
