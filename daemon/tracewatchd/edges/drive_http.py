"""Requests to Google: one attempt within a limit, what its failures mean, and how long they are tried again.

Nothing that this module says holds a URL, a header or a body that was sent: session addresses and tokens are secrets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay, wait_random_exponential

from tracewatchd.model.errors import PermanentError, TransientError

T = TypeVar("T")

_ANSWER_BYTES = 8 << 20  # a page of 1,000 files takes less than 1 MiB
_PIECE_BYTES = 64 << 10
RATE_REASONS = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "backendError", "rate_limit_exceeded", "temporarily_unavailable"}
)
"""Google's words, Drive's and the token endpoint's, for what heals although its status says otherwise."""
_BUSY = frozenset({408, 425, 429})
_SERVER_FAULT = 500
_WORD = re.compile(r"[A-Za-z_]{1,64}")


class BusyError(TransientError):
    """Google did not do it this time. ``wait_s`` is how long it asks us to wait, 0 where it does not say."""

    def __init__(self, message: str, *, hint: str = "", wait_s: float = 0) -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s


class RefusedError(PermanentError):
    """Google will not do it. ``status`` is the HTTP status, ``reason`` Google's own word for the cause."""

    def __init__(self, message: str, *, status: int, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


class Answer(NamedTuple):
    """An answer of any status, its whole body read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def decoded(self, kind: type[T]) -> T:
        """The body as one of our words.

        Raises:
            PermanentError: it is something else, which Google does not send.
        """
        try:
            return msgspec.json.decode(self.body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise PermanentError(
                f"the answer (status {self.status}) is not what Google Drive says",
                hint="See whether a proxy stands between, and what drive.endpoint is set to.",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what usually heals is tried again: ``patience_s`` from the first failure since something last worked.

    Waits are random, at most ``first_s`` at first, twice that after each failure up to ``most_s``, and never less than
    Google asks for.
    """

    patience_s: float = 300.0
    first_s: float = 1.0
    most_s: float = 32.0
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)

    async def over(self, once: Callable[[], Awaitable[T]]) -> T:
        """The result of something that is tried until it works.

        Raises:
            TransientError: the last failure, when patience has run out.
            PermanentError: what trying again will not change.
        """

        async def attempt() -> T:  # the policy awaits only what is declared so, and a lambda is not
            return await once()

        return await AsyncRetrying(
            wait=self._wait,
            stop=stop_before_delay(self.patience_s),
            retry=retry_if_exception_type(TransientError),
            sleep=self.sleep,
            reraise=True,
        )(attempt)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.wait_s if isinstance(error, BusyError) else 0.0
        own_s = wait_random_exponential(multiplier=self.first_s, max=self.most_s)(state)
        return asked_s + own_s


def opened_session() -> aiohttp.ClientSession:
    """A pool of connections, by the machine's proxies where it has some; requests bring their own limits of time."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), trust_env=True, raise_for_status=False)


class Http:
    """Requests on one pool of connections. Every one ends within ``timeout_s``, its answer included."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s

    async def once(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit_bytes: int = _ANSWER_BYTES,
    ) -> Answer:
        """One attempt; the answer may have any status.

        Raises:
            BusyError: there was no whole answer in time.
            PermanentError: the answer is longer than anything that was asked for, or the certificate is not Google's.
        """
        host = _origin(url)[1]
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(method, url, headers or {}, body, limit_bytes)
        except TimeoutError:
            raise BusyError(f"{host} did not answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise PermanentError(
                f"the certificate of {host} cannot be trusted: {error.certificate_error}",
                hint="See whether a proxy stands between, and whether this machine knows its certificate authority.",
            ) from None
        except (aiohttp.InvalidURL, ValueError):
            raise PermanentError(
                f"an address at {host or 'no host'} cannot be used", hint="See what drive.endpoint is set to."
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # Not chained: the library's texts hold addresses.
            raise BusyError(f"no answer from {host}: {_cause(error)}", hint="See whether it can be reached.") from None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit_bytes: int
    ) -> Answer:
        data = _once(body) if body else body
        length = {} if body is None else {"Content-Length": str(len(body))}
        async with self._session.request(
            method, url, headers={**headers, **length}, data=data, allow_redirects=False
        ) as response:
            read = bytearray()
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                read += piece
                if len(read) > limit_bytes:
                    raise PermanentError(f"an answer of more than {limit_bytes} bytes was not asked for")
            return Answer(response.status, response.headers, bytes(read))


async def _once(body: bytes) -> AsyncIterator[bytes]:
    """A body that can be sent once: aiohttp would send any other PUT again by itself, whatever became of the first."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


def _cause(error: Exception) -> str:
    """What went wrong with a connection, without any address of the library's own text."""
    cause = getattr(error, "strerror", None)
    return cause or type(error).__name__


def accepted(answer: Answer, doing: str, *statuses: int) -> Answer:
    """The answer, if it has one of these statuses.

    Raises:
        BusyError: it says that the same request may work later.
        RefusedError: it says that it will not.
    """
    if answer.status in statuses:
        return answer
    reason = reason_of(answer)
    said = f"Google Drive did not {doing}: {reason or 'no reason given'} (status {answer.status})"
    if answer.status in _BUSY or answer.status >= _SERVER_FAULT or reason in RATE_REASONS:
        raise BusyError(said, hint=_BUSY_HINTS.get(reason, _BUSY_HINT), wait_s=_asked_wait_s(answer))
    raise RefusedError(said, status=answer.status, reason=reason, hint=_hint(answer.status, reason))


def _hint(status: int, reason: str) -> str:
    return _HINTS.get(reason) or _HINTS.get(str(status)) or "See what this account may do with the archive's folder."


_BUSY_HINT = "Try again later: the same command goes on from there."
_BUSY_HINTS = dict.fromkeys(
    ("rateLimitExceeded", "userRateLimitExceeded"),
    "Try again later, tomorrow if this does not end: Drive takes 750 GB a day from each user.",
)
_HINTS: Mapping[str, str] = {
    "storageQuotaExceeded": "Free space on this Drive, or upload to a shared drive; a service account has no storage of"
    " its own: use a shared drive, or `tracewatchd archive drive login`.",
    "insufficientFilePermissions": "Let this account edit the folder (drive.folder): share it with it as an editor or"
    " a content manager.",
    "insufficientParentPermissions": "Let this account edit the folder (drive.folder): share it with it as an editor or"
    " a content manager.",
    "teamDriveFileLimitExceeded": "Remove files from the shared drive, or use another one: it holds as many as it may.",
    "numChildrenInNonRootLimitExceeded": "Use another folder (drive.folder): this one holds as many files as it may.",
    "appNotAuthorizedToFile": "Log in again with `tracewatchd archive drive login`: this login may not see the file.",
    "insufficientPermissions": "Log in again with `tracewatchd archive drive login`: this login does not cover Drive.",
    "accessNotConfigured": "Enable the Google Drive API in the Google Cloud project of these credentials.",
    "401": "Log in again with `tracewatchd archive drive login`, or give the service account another key.",
    "404": "See that drive.folder is right and that the folder is shared with this account.",
}
"""By Google's word for the cause, else by the status: what an operator can do."""


class _OneError(msgspec.Struct):
    reason: str = ""


class _Errors(msgspec.Struct):
    errors: list[_OneError] = []
    status: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Errors | str = ""


def reason_of(answer: Answer) -> str:
    """Google's word for the cause of an error, of Drive's form or of the token endpoint's; empty where it is none."""
    try:
        error = msgspec.json.decode(answer.body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    word = error if isinstance(error, str) else next((one.reason for one in error.errors), error.status)
    return word if _WORD.fullmatch(word) else ""


def _asked_wait_s(answer: Answer) -> float:
    """Seconds of ``Retry-After``; a date, which Google does not send, counts as nothing said."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def same_origin(url: str, endpoint: str) -> bool:
    """Whether an address that we were given leads to where requests go anyway, so that a token may go with it."""
    return _origin(url) == _origin(endpoint)


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc


def is_trustworthy(url: str) -> bool:
    """Whether secrets may be sent to an address: it is encrypted or never leaves this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in {"127.0.0.1", "::1"}))
