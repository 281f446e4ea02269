"""The error classes by which policy is decided; the edge that made a call chooses one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TracewatchError(Exception):
    """Something that an operator may have to know.

    ``hint`` is one sentence that says what to do next; it may be empty where there is nothing to do.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(TracewatchError):
    """The configuration cannot be used. Raised before the first task starts; never retried.

    ``faults`` holds one line per fault, each naming its key and what is allowed there.
    """

    def __init__(self, *faults: str, hint: str = "") -> None:
        super().__init__("\n".join(faults), hint=hint)
        self.faults = faults


class TransientError(TracewatchError):
    """The world heals: try again after a while.

    ``suspect_content`` is true where what was sent may itself be the cause (a timeout, memory, a backend that died),
    so that a batch which keeps failing this way while the store answers is halved to find the one record.
    """

    def __init__(
        self, message: str, *, hint: str = "", sqlstate: str | None = None, suspect_content: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate
        self.suspect_content = suspect_content


class PermanentError(TracewatchError):
    """Our surroundings are wrong (role, schema, credentials): stop, and let whoever supervises us try much later."""

    def __init__(self, message: str, *, hint: str = "", sqlstate: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class PoisonError(TracewatchError):
    """Content that cannot be stored: the file is quarantined and the rest goes on."""

    def __init__(self, message: str, *, hint: str = "", sqlstate: str | None = None, place: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate
        self.place = place


class NotCheckedError(TracewatchError):
    """A check could not be made at all (store away, root missing, busy): never to be taken for "consistent"."""


@contextmanager
def ungrouped() -> Iterator[None]:
    """Let the first of our own errors out of the group in which a task group raises it; a group without one stays.

    Raises:
        TracewatchError, ExceptionGroup: what the block raised.
    """
    try:
        yield
    except ExceptionGroup as group:  # a task group raises nothing else; what is none of ours goes on as it came
        known = first_known(group)
        if known is None:
            raise
        raise known from group


def first_known(error: BaseException) -> TracewatchError | None:
    """The first error of our own classes in an exception or a group of them."""
    if isinstance(error, TracewatchError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(first_known, error.exceptions)), None)
    return None
