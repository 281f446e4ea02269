"""Bad weather for the Drive stand-in: what goes wrong, at which request, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from drive_answers import RefusedError

GRAIN_BYTES = 262_144
"""Drive stores whole multiples of this when a chunk breaks off."""

Kind = Literal["refuse", "reset", "lose", "stall", "gone", "corrupt", "shorten"]


@dataclass
class Request:
    """A request that arrived. ``status`` is None while it was not answered, or never is."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    """Upper and lower case of the names do not matter."""
    operations: frozenset[str]
    """What it asks for, such as {"upload.chunk", "upload.last"}; the names that `on=` takes."""
    said: bytes = field(default=b"", repr=False)
    """Its body, unless that is a file's content."""
    body_bytes: int = 0
    status: int | None = None


@dataclass
class Fault:
    """One thing that goes wrong, `times` times, at requests for the operation `on` after the first `skip` of them.

    Operations: files.list, files.get, files.download, files.create, files.update, files.delete, files.generateIds,
    files.revisions, drives.list, drives.get, about.get; upload.start (a session is asked for), upload.chunk,
    upload.last (a chunk that is the last one), upload.query (``bytes */total``), upload.cancel, upload.whole (simple
    or multipart); oauth.token, oauth.authorize, oauth.revoke; any.
    """

    kind: Kind
    on: str = "any"
    times: int = 1
    skip: int = 0
    where: Callable[[Request], bool] = field(default=lambda _: True, repr=False)
    """A finer choice than `on`."""
    status: int = 0
    reason: str = ""
    retry_after_s: float | None = None
    after_bytes: int | None = None
    """How much of the request's body (of a download: of the answer's) passes before it happens; None: all of it."""
    keep_bytes: int | None = None
    """How much of a chunk is stored nevertheless; None: what Drive would keep."""
    happened: int = 0

    def strikes(self, request: Request) -> bool:
        """Whether it goes wrong at this request; counts it."""
        if self.happened >= self.times or (self.on != "any" and self.on not in request.operations):
            return False
        if not self.where(request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.happened += 1
        return True

    def refusal(self) -> RefusedError:
        """The error that is answered."""
        return RefusedError(self.reason, "", status=self.status, retry_after_s=self.retry_after_s)


class Faults:
    """The faults that are still to come; the first that fits strikes, one per request."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, *faults: Fault) -> None:
        """From now on these too."""
        self._faults += faults

    def at(self, request: Request) -> Fault | None:
        """What goes wrong with this request."""
        return next((fault for fault in self._faults if fault.strikes(request)), None)

    @property
    def happened(self) -> int:
        """How many went wrong so far."""
        return sum(fault.happened for fault in self._faults)

    @property
    def left(self) -> list[Fault]:
        """Those that have not struck as often as they shall: a test that leaves some has not tested them."""
        return [fault for fault in self._faults if fault.happened < fault.times]


# ---------------------------------------------------------------------------------------------------------------------
# One function per fault; each takes `on`, `times`, `skip` and `where` as well


def rate_limited(*, user: bool = True, retry_after_s: float | None = None, **chosen: Any) -> Fault:
    """403 (user)RateLimitExceeded: too many requests."""
    reason = "userRateLimitExceeded" if user else "rateLimitExceeded"
    return Fault("refuse", status=403, reason=reason, retry_after_s=retry_after_s, **chosen)


def too_many(*, retry_after_s: float | None = None, **chosen: Any) -> Fault:
    """429, which means the same."""
    return Fault("refuse", status=429, reason="rateLimitExceeded", retry_after_s=retry_after_s, **chosen)


def refused(reason: str, **chosen: Any) -> Fault:
    """The error that belongs to a reason: storageQuotaExceeded, insufficientFilePermissions, notFound, ..."""
    return Fault("refuse", reason=reason, **chosen)


def internal_error(**chosen: Any) -> Fault:
    """500, as JSON."""
    return Fault("refuse", status=500, reason="internalError", **chosen)


def unavailable(*, keep_bytes: int = 0, **chosen: Any) -> Fault:
    """503, as plain text; of a chunk `keep_bytes` are stored all the same."""
    return Fault("refuse", status=503, keep_bytes=keep_bytes, **chosen)


def unauthorized(**chosen: Any) -> Fault:
    """401: the access token that the request carries is over."""
    return Fault("refuse", reason="authError", **chosen)


def reset(after_bytes: int | None = None, *, keep_bytes: int | None = None, **chosen: Any) -> Fault:
    """The connection is reset after so many bytes of the body: of a chunk's, or of a download's answer."""
    return Fault("reset", after_bytes=after_bytes, keep_bytes=keep_bytes, **chosen)


def lost_answer(*, on: str = "upload.last", **chosen: Any) -> Fault:
    """Everything is done and stored, and the connection is cut instead of an answer."""
    return Fault("lose", on=on, **chosen)


def stall(after_bytes: int | None = None, **chosen: Any) -> Fault:
    """The server goes silent, and the connection stays; a download, after so many bytes of the answer."""
    return Fault("stall", after_bytes=after_bytes, **chosen)


def session_gone(*, status: int = 404, on: str = "upload.chunk", **chosen: Any) -> Fault:
    """The upload session is over, for ever: 404 or 410."""
    return Fault("gone", on=on, status=status, **chosen)


def corrupted(*, on: str = "upload.chunk", **chosen: Any) -> Fault:
    """What is stored (of a download: what is answered) differs in one bit from what was sent."""
    return Fault("corrupt", on=on, **chosen)


def short_range(keep_bytes: int, *, on: str = "upload.chunk", **chosen: Any) -> Fault:
    """Only so many bytes of the chunk are stored, and the 308 says so."""
    return Fault("shorten", on=on, keep_bytes=keep_bytes, **chosen)
