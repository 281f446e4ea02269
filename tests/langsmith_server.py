"""A stand-in for LangSmith: a real HTTP server on the loopback interface that answers from an `Upstream`.

Both read APIs, their limits, their traps and their weather; in a thread of its own, so that tests, the SDK and
subprocesses may use it alike.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import msgspec
from aiohttp import web

from langsmith_answers import Answers, Api, Question, RefusedError, refusal, title_of, v1_window
from langsmith_faults import Fault
from langsmith_limits import Limiter, Tiers
from langsmith_upstream import Upstream

KEY = "lsv2_pt_stand_in_0123456789"
SIGNED_FOR_S = 3_600.0
_PATIENCE_S = 20.0
_HALF = {"short_body", "stall_midway", "reset_midway"}
"""Faults that let half of an answer through."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 seconds: closing sends RST."""


@dataclass
class Request:
    """One request as it came, and what became of it."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: Any
    at_s: float
    """Since the server began."""
    headers: Mapping[str, str]
    status: int = 0
    """0 where nothing was answered."""
    sent_bytes: int = 0

    @property
    def plain_path(self) -> str:
        """The path without ``/api`` and ``/api/v1``."""
        for prefix in ("/api/v1/", "/api/"):
            if self.path.startswith(prefix):
                return "/" + self.path.removeprefix(prefix)
        return self.path

    @property
    def api(self) -> Literal["v1", "v2"]:
        """The API that was asked."""
        return "v2" if self.plain_path.startswith("/v2/") else "v1"


@dataclass
class Server:
    """A running stand-in, and what it was asked."""

    upstream: Upstream
    api: Api = "both"
    limiter: Limiter | None = None
    key: str = KEY
    tenant: str | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    faults: list[Fault] = field(default_factory=list)
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    signatures: dict[str, float] = field(default_factory=dict)
    """Every signature that was given away, and until when (`time.monotonic`) it is good."""
    signed_for_s: float = SIGNED_FOR_S

    def __post_init__(self) -> None:
        self._began_s = time.monotonic()
        self._closing = asyncio.Event()
        self._answers = Answers(self.upstream, self.api, self._sign)

    @property
    def too_many(self) -> int:
        """The 429s that were sent, those of faults among them."""
        return sum(request.status == 429 for request in self.requests)

    def count(self, method: str = "*", path: str = "*") -> int:
        """Requests of a method to a path (without ``/api`` and ``/api/v1``) so far."""
        return len(self.asked(method, path))

    def asked(self, method: str = "*", path: str = "*") -> list[Request]:
        """The requests that `count` counts."""
        return [
            request
            for request in list(self.requests)
            if method in {"*", request.method} and path in {"*", request.path, request.plain_path}
        ]

    def inject(self, *faults: Fault) -> None:
        """Let more go wrong from now on."""
        self.faults.extend(faults)

    # -----------------------------------------------------------------------------------------------------------------
    # Answering

    async def handle(self, came: web.Request) -> web.StreamResponse:
        """Answer one request, or let a fault befall it."""
        request = await self._note(came)
        fault = next((one for one in self.faults if one.befalls(came.method, request.plain_path, request.body)), None)
        if fault is not None and fault.kind in {"reset", "stall"}:
            return await self._leave(came, fault)
        response = self._faulty(request, fault) if fault else self._response(request)
        request.status = response.status
        request.sent_bytes = len(_bytes_of(response))
        if fault is not None and fault.kind in _HALF:
            return await self._half(came, response, fault)
        return response

    async def _note(self, came: web.Request) -> Request:
        raw = await came.read()
        try:
            body = msgspec.json.decode(raw) if raw else None
        except msgspec.DecodeError:
            body = None
        query = {name: came.query.getall(name) for name in came.query}
        at_s = time.monotonic() - self._began_s
        request = Request(came.method, came.path, query, body, at_s, dict(came.headers))
        self.requests.append(request)
        return request

    def _response(self, request: Request) -> web.Response:
        if request.plain_path.startswith("/signed/"):
            return self._attachment(request)
        try:
            self._admit(request)
            self._limit(request)
            question = Question(request.method, request.plain_path, request.query, request.body, self.clock())
            return web.Response(body=self._answers.answer(question), content_type="application/json")
        except RefusedError as error:
            return _refused(request, error.status, error.detail)
        except _TooManyError as error:
            return _refused(request, 429, "Rate limit exceeded", error.headers)

    def _admit(self, request: Request) -> None:
        if request.plain_path == "/info":
            return
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("x-api-key") != self.key:
            raise RefusedError(401, "Unauthorized")
        if self.tenant is not None and headers.get("x-tenant-id") != self.tenant:
            raise RefusedError(403, "Forbidden")
        if request.method == "POST" and not isinstance(request.body, dict):
            raise RefusedError(422 if request.api == "v1" else 400, _NO_OBJECT)

    def _limit(self, request: Request) -> None:
        if self.limiter is None:
            return
        path, window = request.plain_path, None
        if path == "/runs/query":
            window = v1_window(request.body, self.clock())
        wait_s = self.limiter.wait_s(self.key, request.method, path, window, time.monotonic())
        if wait_s:
            raise _TooManyError(self.limiter.retry_after(wait_s))

    def _sign(self, run_id: str, name: str) -> str:
        signature = uuid4().hex + uuid4().hex
        self.signatures[signature] = time.monotonic() + self.signed_for_s
        where = f"{self.url}/signed/{run_id}/{quote(name, safe='')}"
        return f"{where}?X-Amz-Expires={self.signed_for_s:.0f}&X-Amz-Signature={signature}&signature={signature}"

    def _attachment(self, request: Request) -> web.Response:
        _, _, run_id, name = request.plain_path.split("/", 3)
        held = self.upstream.attachments.get(run_id, {}).get(name)
        good_until = self.signatures.get(request.query.get("signature", [""])[0], 0.0)
        if held is None or good_until < time.monotonic():
            return web.Response(status=403, body=b"<Error><Code>AccessDenied</Code></Error>", content_type="text/xml")
        return web.Response(body=held.data, content_type=held.mime_type)

    # -----------------------------------------------------------------------------------------------------------------
    # Faults

    def _faulty(self, request: Request, fault: Fault) -> web.Response:
        if fault.kind == "status":
            detail = title_of(fault.status)
            response = _refused(request, fault.status, _detail_of(request, fault.status, detail), dict(fault.headers))
            if fault.body is not None:
                response.body = fault.body
            return response
        response = self._response(request)
        if response.status != 200:
            return response
        if fault.kind == "cut_json":
            response.body = _bytes_of(response)[: len(_bytes_of(response)) // 2]
        if fault.kind == "edit":
            answer = msgspec.json.decode(_bytes_of(response))
            response.body = msgspec.json.encode(fault.edit(answer, request.body))
        return response

    async def _leave(self, came: web.Request, fault: Fault) -> web.StreamResponse:
        """Reset the connection at once, or when the server ends."""
        if fault.kind == "stall":
            await self._closing.wait()
        _reset(came)
        return web.Response()

    async def _half(self, came: web.Request, whole: web.Response, fault: Fault) -> web.StreamResponse:
        body = _bytes_of(whole)
        half = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
        half.content_length = len(body)
        half.force_close()
        await half.prepare(came)
        await half.write(body[: len(body) // 2])
        if fault.kind == "stall_midway":
            await self._closing.wait()
        if fault.kind == "reset_midway":
            _reset(came)
        elif came.transport is not None:
            came.transport.close()
        return half

    # -----------------------------------------------------------------------------------------------------------------
    # Running

    async def run(self, started: Future[asyncio.AbstractEventLoop], stop: asyncio.Event) -> None:
        """Serve until told to stop."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set_result(asyncio.get_running_loop())
        await stop.wait()
        self._closing.set()
        await runner.cleanup()


class _TooManyError(Exception):
    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self.headers = headers


_NO_OBJECT = [
    {"type": "model_attributes_type", "loc": ["body"], "msg": "Input should be a valid object", "input": None}
]


def _reset(came: web.Request) -> None:
    if came.transport is not None:
        came.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        came.transport.abort()


def _refused(request: Request, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = "application/problem+json" if request.api == "v2" else "application/json"
    body = refusal(request.api, status, detail)
    return web.Response(status=status, body=body, content_type=kind, headers=headers)


def _detail_of(request: Request, status: int, title: str) -> Any:
    return _NO_OBJECT if status == 422 and request.api == "v1" else title


def _bytes_of(response: web.Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


@contextmanager
def serving(
    upstream: Upstream,
    api: Api = "both",
    *,
    tiers: Tiers | None = None,
    key: str = KEY,
    tenant: str | None = None,
    faults: Iterable[Fault] = (),
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    signed_for_s: float = SIGNED_FOR_S,
) -> Iterator[Server]:
    """A stand-in for the length of the block.

    Args:
        upstream: What it holds; may grow meanwhile.
        api: Which of the two APIs serve runs.
        tiers: The limits that it enforces; None enforces none.
        key: The only good ``x-api-key``.
        tenant: The ``X-Tenant-Id`` without which a key of an organisation is refused; None asks for none.
        faults: What goes wrong, and when.
        clock: What LangSmith takes for now: the windows of v2 and of v1's limits end there.
        signed_for_s: How long a signed URL is good.
    """
    limiter = None if tiers is None else Limiter(tiers)
    server = Server(upstream, api, limiter, key, tenant, clock, list(faults), signed_for_s=signed_for_s)
    started: Future[asyncio.AbstractEventLoop] = Future()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(server.run(started, stop)), name="langsmith stand-in")
    thread.start()
    loop = started.result(_PATIENCE_S)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_PATIENCE_S)
        assert not thread.is_alive(), "the stand-in does not end"
