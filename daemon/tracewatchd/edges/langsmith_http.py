"""One request to LangSmith: paced, bounded in time and size, tried again while it may heal, and its failure classified.

Neither the key nor a URL's query stands in any error: queries may hold signatures.
"""

from __future__ import annotations

import email.utils
import errno
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar

import aiohttp
import msgspec
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from tracewatchd.edges.pace import Limit, Pace
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.events import LangsmithThrottled, Tell

EVERYTHING = Limit("everything", 2_000, 60.0)
"""What one key may ask in all."""

_ATTEMPTS = 8
_BACK_OFF_S = (0.5, 20.0)
_LONGEST_HOLD_S = 300.0
_TOLD_CHARACTERS = 300
_PIECE_BYTES = 1 << 16
_THROTTLED = 429
_HEALING = frozenset({408, 425, _THROTTLED, *range(500, 600)})
_OK = 200
_HINTS = {
    401: "Check the API key (langsmith.api_key, or LANGSMITH_API_KEY), and that langsmith.endpoint is the region that"
    " it was made in.",
    403: "Give the key's owner access to the workspace; for a key of a whole organization set langsmith.workspace_id.",
    404: "Check langsmith.endpoint, and that the project has not been deleted.",
    422: "Check langsmith.workspace_id and the project; if both are right, this LangSmith speaks another version of"
    " its API.",
}
_OTHER_HINT = "Check that langsmith.endpoint is LangSmith's address."

T = TypeVar("T")


class TooLargeError(PermanentError):
    """An answer is larger than ``langsmith.answer_bytes``."""


class _TooLongError(TransientError):
    """LangSmith wants more patience than there is: it heals, and is not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where LangSmith is, who asks, and how long a request is given.

    ``endpoint`` has neither a path of the API nor a ``/`` at its end. ``patience_s`` bounds all attempts at one
    request together, ``answer_bytes`` the memory for one answer.
    """

    endpoint: str
    api_key: str = field(repr=False)
    workspace_id: str | None
    request_timeout_s: float
    patience_s: float
    answer_bytes: int


class Request(NamedTuple):
    """What is asked. ``limits`` are those of LangSmith that the request counts in, beside `EVERYTHING`."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Mapping[str, object] | None = None
    limits: tuple[Limit, ...] = ()


class Sink(Protocol):
    """Takes a file piece by piece; nobody sees it before it is finished."""

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        ...

    def finish(self, *, durable: bool) -> None:
        """Let everyone see it."""
        ...

    def discard(self) -> None:
        """Leave nothing of it; of a finished file everything stays."""
        ...


class Http:
    """The connections to one LangSmith; a context manager. ``requests`` counts what was sent, retries included."""

    def __init__(self, access: Access, pace: Pace, tell: Tell) -> None:
        self.access = access
        self.requests = 0
        self._pace = pace
        self._tell = tell
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self.access.request_timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    def left(self, *limits: Limit) -> int:
        """Requests that would pass at once."""
        return min(self._pace.left(limit) for limit in (EVERYTHING, *limits))

    async def ask(self, request: Request, read: Callable[[bytearray], T]) -> T:
        """The answer to a request, as ``read`` understands it; what ``read`` raises is retried where it is transient.

        Raises:
            TransientError: it did not heal within the patience.
            TooLargeError: the answer is larger than one may be.
            PermanentError: LangSmith refused.
        """
        async for attempt in self._retrying():
            with attempt:
                return read(await self._once(request))
        raise AssertionError("a policy ends with a result or an error")  # pragma: no cover - tenacity reraises

    async def download(self, url: str, begin: Callable[[], Sink], *, most_bytes: int) -> None:
        """Write the file behind a signed URL. Our key is not shown to its host.

        Raises:
            TransientError: it did not arrive whole within the patience.
            PermanentError: it is not there (any more), or larger than one may be.
        """
        async for attempt in self._retrying():
            with attempt:
                sink = begin()
                try:
                    await self._fill(sink, url, most_bytes)
                    sink.finish(durable=True)
                finally:
                    sink.discard()

    async def _fill(self, sink: Sink, url: str, most_bytes: int) -> None:
        whole = url if "://" in url else f"{self.access.endpoint}{url}"
        size = 0
        async with _classified("an attachment"), self._connections.get(whole) as answer:
            if answer.status != _OK:
                raise _refusal(answer.status, "an attachment", "", "")
            async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                size += len(piece)
                if size > most_bytes:
                    raise PermanentError(
                        f"an attachment is larger than {most_bytes} bytes", hint="Raise langsmith.attachment_bytes."
                    )
                sink.write(piece)

    @property
    def _connections(self) -> aiohttp.ClientSession:
        assert self._session is not None  # noqa: S101 - tells the type checker that the block was entered
        return self._session

    def _retrying(self) -> AsyncRetrying:
        multiplier, most_s = _BACK_OFF_S
        return AsyncRetrying(
            wait=wait_random_exponential(multiplier=multiplier, max=most_s),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(self.access.patience_s),
            retry=retry_if_exception(_is_worth_waiting),
            reraise=True,
        )

    async def _once(self, request: Request) -> bytearray:
        what = f"{request.method} {request.path}"
        async with self._pace.turn(EVERYTHING, *request.limits):
            self.requests += 1
            async with _classified(what), self._sent(request) as answer:
                body = await self._body(answer, what)
                if answer.status != _OK:
                    self._heed(answer, request)
                    raise _refusal(answer.status, what, _said(body), self.access.api_key)
                return body

    def _sent(self, request: Request) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"x-api-key": self.access.api_key}
        if self.access.workspace_id:
            headers["X-Tenant-Id"] = self.access.workspace_id
        return self._connections.request(
            request.method,
            self.access.endpoint + request.path,
            params=list(request.query),
            json=request.body,
            headers=headers,
            allow_redirects=False,
        )

    async def _body(self, answer: aiohttp.ClientResponse, what: str) -> bytearray:
        body = bytearray()
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            body += piece
            if len(body) > self.access.answer_bytes:
                raise TooLargeError(
                    f"the answer to {what} is larger than {self.access.answer_bytes} bytes",
                    hint="Raise langsmith.answer_bytes.",
                )
        return body

    def _heed(self, answer: aiohttp.ClientResponse, request: Request) -> None:
        """Let a request for patience hold up everything that counts in the same limits."""
        after_s = _retry_after_s(answer.headers.get("Retry-After"))
        if answer.status == _THROTTLED:
            self._tell(LangsmithThrottled(request=f"{request.method} {request.path}", wait_s=after_s))
        if after_s > min(_LONGEST_HOLD_S, self.access.patience_s):
            raise _TooLongError(
                f"LangSmith answers {answer.status} and wants {after_s:.0f} s to pass before the next request",
                hint="Run the same command again after that: it goes on where it stopped.",
            )
        own = request.limits[-1] if request.limits else None
        if after_s:
            self._pace.hold(own or EVERYTHING, after_s)
        elif own and answer.status == _THROTTLED:
            self._pace.hold(own, own.window_s)


@asynccontextmanager
async def _classified(what: str) -> AsyncIterator[None]:
    """Say of aiohttp's errors whether they heal; the errors themselves hold whole URLs and are not chained."""
    try:
        yield
    except (aiohttp.InvalidURL, aiohttp.ClientSSLError) as error:
        reason = "is no URL" if isinstance(error, aiohttp.InvalidURL) else "no trusted connection is possible"
        raise PermanentError(f"{what}: {reason}", hint=_OTHER_HINT) from None
    except TimeoutError:  # some of aiohttp's own are, too
        raise TransientError(
            f"{what}: no whole answer in time", hint="Check the network, or raise langsmith.request_timeout_s."
        ) from None
    except aiohttp.ClientError as error:
        raise TransientError(f"{what}: {_reason(error)}", hint="Check the network and LangSmith's status.") from None


def _reason(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {error.host}: {error.strerror or 'no such host'}"
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case OSError() if error.errno in errno.errorcode:
            return f"the connection was lost: {error.strerror}"
        case _:
            return f"the connection was lost ({type(error).__name__})"


def _refusal(status: int, what: str, said: str, api_key: str) -> PermanentError | TransientError:
    if api_key:
        said = said.replace(api_key, "********")
    reason = f"LangSmith answers {status} to {what}" + (f": {said}" if said else "")
    if status in _HEALING:
        return TransientError(reason, hint="LangSmith is busy or in trouble; run the same command again later.")
    return PermanentError(reason, hint=_HINTS.get(status, _OTHER_HINT))


def _is_worth_waiting(error: BaseException) -> bool:
    return isinstance(error, TransientError) and not isinstance(error, _TooLongError)


class _Problem(msgspec.Struct):
    """What either API says of an error."""

    detail: object = None
    error: object = None
    title: object = None


def _said(body: bytearray) -> str:
    """The sentence of an error's body, on one line; empty where it has none."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, RecursionError):
        return ""
    said = problem.detail or problem.error or problem.title or ""
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    return "".join(character if character.isprintable() else " " for character in text)[:_TOLD_CHARACTERS]


def _retry_after_s(header: str | None) -> float:
    """Seconds that a Retry-After asks for: a number, or a date; 0 where it is missing or neither."""
    if not header:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
