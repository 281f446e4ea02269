"""What can go wrong between a client and LangSmith, made to happen: which request, what, how many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

Kind = Literal["status", "reset", "reset_midway", "stall", "stall_midway", "short_body", "cut_json", "edit"]
Edit = Callable[[Any, Any], Any]
"""From an answer and the body of its request, both parsed, to the answer that is sent instead."""
Asked = Callable[[Any], bool]

ALWAYS = 10**9


@dataclass
class Fault:
    """One fault: it spares the first ``after`` requests that match and befalls the next ``times``."""

    kind: Kind
    path: str
    """A glob over the path without ``/api`` and ``/api/v1``, such as ``/runs/query``, ``/v2/runs/*`` or ``*``."""
    times: int = 1
    after: int = 0
    method: str = "*"
    asked: Asked = lambda _body: True
    """Whether the request's parsed body (None without one) is meant."""
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    edit: Edit = lambda answer, _body: answer

    def befalls(self, method: str, path: str, body: Any) -> bool:
        """Whether this request is one of those; asking counts."""
        if not self.times or not fnmatchcase(path, self.path) or not fnmatchcase(method, self.method):
            return False
        if not self.asked(body):
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


def fails(status: int, path: str, *, retry_after: str | None = None, body: bytes | None = None, **which: Any) -> Fault:
    """Answer with this status, and LangSmith's body for it unless another is given."""
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return Fault("status", path, status=status, headers=headers, body=body, **which)


def resets(path: str, *, midway: bool = False, **which: Any) -> Fault:
    """Reset the connection (RST) instead of answering, or after half of the body."""
    return Fault("reset_midway" if midway else "reset", path, **which)


def stalls(path: str, *, midway: bool = False, **which: Any) -> Fault:
    """Never answer, or fall silent after half of the body; the connection stays open as long as the server does."""
    return Fault("stall_midway" if midway else "stall", path, **which)


def breaks_off(path: str, **which: Any) -> Fault:
    """Send half of the body that Content-Length promises, then close."""
    return Fault("short_body", path, **which)


def cuts_json(path: str, **which: Any) -> Fault:
    """Answer 200 and half of the JSON, with a Content-Length that fits."""
    return Fault("cut_json", path, **which)


def edits(path: str, edit: Edit, **which: Any) -> Fault:
    """Send another answer than the one that was found."""
    return Fault("edit", path, edit=edit, **which)


def repeats_cursor(path: str = "*/query", **which: Any) -> Fault:
    """Answer a page that was asked for by a cursor with that same cursor as the next."""

    def edit(answer: Any, body: Any) -> Any:
        return _with_cursor(answer, body["cursor"])

    return edits(path, edit, asked=lambda body: bool(body and body.get("cursor")), **which)


def drops_cursor(path: str = "*/query", **which: Any) -> Fault:
    """Answer a full page as if it were the last."""
    return edits(path, lambda answer, _body: _with_cursor(answer, None), **which)


def doubles_run(path: str = "*/query", **which: Any) -> Fault:
    """Repeat the last run of a page as the first of the following page."""
    last: list[Any] = []

    def edit(answer: Any, _body: Any) -> Any:
        runs = answer["runs" if "runs" in answer else "items"]
        before, last[:] = list(last), runs[-1:]
        runs[:0] = before
        return answer

    return edits(path, edit, times=which.pop("times", ALWAYS), **which)


def _with_cursor(answer: Any, cursor: str | None) -> Any:
    if "cursors" in answer:
        return answer | {"cursors": answer["cursors"] | {"next": cursor}}
    rest = {name: value for name, value in answer.items() if name not in {"next_cursor", "has_more"}}
    return rest | ({} if cursor is None else {"next_cursor": cursor, "has_more": True})
