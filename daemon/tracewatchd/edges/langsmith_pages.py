"""What both generations of LangSmith's read API have in common: windows and pages of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Raw

from tracewatchd.edges.langsmith_http import Request
from tracewatchd.edges.pace import Limit
from tracewatchd.model.errors import PoisonError, TransientError
from tracewatchd.model.scan import JsonFaultError, members
from tracewatchd.model.upstream import elements_of, members_of

_NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

T = TypeVar("T")


class Window(NamedTuple):
    """The runs of one project that started at or after ``start`` and before ``end``, by start alone."""

    project_id: str
    start: datetime
    end: datetime


class Page(NamedTuple):
    """Runs as they stand in an answer, newest first, and what leads to the next page; None at the end.

    They are parts of the answer, which is held as long as one of them.
    """

    runs: Sequence[bytes | Raw]
    cursor: str | None


class Generation(Protocol):
    """One generation of the API: how to ask, how to read."""

    @property
    def page_runs(self) -> int:
        """The most runs that one page may hold."""
        ...

    def limit(self, window: Window) -> Limit:
        """The limit that a query of this window counts in."""
        ...

    def query(self, window: Window, cursor: str | None, *, page_runs: int) -> Request:
        """The next page of a window."""
        ...

    def by_ids(self, window: Window, run_ids: Sequence[str]) -> Request:
        """These runs of a window, at most a page of them."""
        ...

    def read(self, answer: bytearray) -> Page:
        """A page of an answer.

        Raises:
            TransientError: it is none.
        """
        ...


def page_of(answer: bytearray, kind: type[T], list_name: str, take: Callable[[T], Page]) -> Page:
    """A page of an answer; one whose JSON only lenient readers accept (NaN, great depth) is a page, too.

    Args:
        answer: what came, with status 200.
        kind: the struct of such an answer.
        list_name: the member that holds the runs.
        take: the page that the struct holds.

    Raises:
        TransientError: it is cut off, no JSON, or holds no runs.
    """
    try:
        return take(msgspec.json.decode(answer, type=kind))
    except _NOT_JSON:
        pass
    try:
        values = members_of(bytes(answer))
        runs = elements_of(values.pop(list_name, b"null"))
        rest = take(msgspec.convert({**{name: _plain(value) for name, value in values.items()}, list_name: []}, kind))
    except (PoisonError, msgspec.ValidationError) as error:
        raise TransientError(
            f"LangSmith's answer is no page of runs: {_fault(answer) or error}",
            hint="Run the same command again later; if it stays so, check langsmith.endpoint.",
        ) from None
    return Page(runs, rest.cursor)


def _plain(value: bytes) -> object:
    try:
        return msgspec.json.decode(value)
    except _NOT_JSON:
        return None


def _fault(answer: bytearray) -> str:
    try:
        members(bytes(answer), ())
    except JsonFaultError as fault:
        return f"it is cut off at byte {fault.offset}" if fault.truncated else f"no JSON at byte {fault.offset}"
    return ""
