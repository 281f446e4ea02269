"""The HTTP server: which address answers what, and the limits of everybody who asks.

Nothing here changes anything but a login. Probes get a word without a token and never wait for the database.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias

import msgspec
from aiohttp import web
from aiohttp.http import HttpProcessingError

from tracewatchd.model.daemon_status import DaemonStatus, DatabaseAnswers
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.events import HttpRefused, HttpStarted, Tell
from tracewatchd.service.http import page
from tracewatchd.service.http.answers import StoreAnswers
from tracewatchd.service.http.guard import COOKIE, SESSION_S, Guard, is_same_site
from tracewatchd.service.metrics import CONTENT_TYPE

_CONNECTIONS = 64
_IDLE_S = 15.0
_REQUEST_S = 15.0
_LINE_BYTES = 4_096
_FIELD_BYTES = 4_096
_FIELDS = 64
_BODY_BYTES = 2_048
_CLOSE_S = 2.0
_SAMPLE_S = 5.0
_METRICS_FRESH_S = 60.0

_OPEN = frozenset({"/livez", "/readyz", "/login", "/page.css", "/page.js"})
"""What is answered without a token: words, and what the login form is made of."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser would not say where a form comes from
    "X-Content-Type-Options": "nosniff",
    "Server": "tracewatchd",
}

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSetting:
    """What is answered from. ``sample`` is called every five seconds while the server stands."""

    host: str
    port: int
    guard: Guard
    answers: StoreAnswers
    status: Callable[[DatabaseAnswers], DaemonStatus]
    stuck: Callable[[], str | None]
    why_not_ready: Callable[[], str]
    exposition: Callable[[], bytes]
    sample: Callable[[], None]
    tell: Tell


class HttpServer:
    """Answers for as long as `run` runs."""

    def __init__(self, setting: HttpSetting) -> None:
        self._set = setting

    async def run(self) -> None:
        """Listen and answer until cancelled; then end, within a limit, what is under way.

        Raises:
            PermanentError: the address cannot be listened at.
        """
        listening = _listening(self._set.host, self._set.port)
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            logger=_logger(),
            keepalive_timeout=_IDLE_S,
            max_line_size=_LINE_BYTES,
            max_field_size=_FIELD_BYTES,
            max_headers=_FIELDS,
            lingering_time=_CLOSE_S,
            shutdown_timeout=_CLOSE_S,
        )
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - made by setup()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_bounded(runner.server), sock=listening, backlog=_CONNECTIONS)
        self._set.tell(HttpStarted(url=_url(listening), needs_token=self._set.guard.asks_for_token))
        try:
            await self._sample()
        finally:
            server.close()
            await self._set.answers.close()
            await runner.cleanup()

    async def _sample(self) -> None:
        while True:
            self._set.sample()
            await asyncio.sleep(_SAMPLE_S)

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[_answered_soon, self._guarded])
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/status", self._status),
                web.get("/", self._page),
                web.get("/page.css", _style),
                web.get("/page.js", _script),
            ]
        )
        if self._set.guard.asks_for_token:
            app.add_routes(
                [web.get("/login", _login_form), web.post("/login", self._log_in), web.post("/logout", self._log_out)]
            )
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        guard = self._set.guard
        if not guard.knows_host(request.host):
            return _word(f"{request.host!r} is no name of this machine", status=421)
        if request.path in _OPEN or guard.admits(
            request.headers.get("Authorization", ""), request.cookies.get(COOKIE, "")
        ):
            return await handler(request)
        if request.path == "/":
            raise web.HTTPSeeOther("/login")
        return _word("a token is needed: Authorization: Bearer ...", status=401, **{"WWW-Authenticate": "Bearer"})

    async def _livez(self, _: web.Request) -> web.Response:
        stuck = self._set.stuck()
        return _word(f"stuck: {stuck}", status=503) if stuck else _word("alive")

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self._set.why_not_ready()
        return _word(why, status=503) if why else _word("ready")

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._set.answers.get(fresh_s=_METRICS_FRESH_S)
        return web.Response(body=self._set.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        told = self._set.status(await self._set.answers.get())
        return web.Response(body=msgspec.json.encode(told), content_type="application/json")

    async def _page(self, request: web.Request) -> web.Response:
        told = self._set.status(await self._set.answers.get())
        logged_in = self._set.guard.asks_for_token and COOKIE in request.cookies
        return _html(page.page(told, logged_in=logged_in))

    async def _log_in(self, request: web.Request) -> web.Response:
        guard = self._set.guard
        if not is_same_site(request.headers.get("Origin", ""), request.host):
            return _word("this form was sent by another site", status=403)
        if guard.is_tired:
            return _html(page.login("Too many attempts failed. Try again in a minute."), status=429)
        given = (await request.post()).get("token")
        secret = guard.log_in(given.strip()) if isinstance(given, str) else None
        if secret is None:
            self._set.tell(HttpRefused(peer=request.remote or ""))
            return _html(page.login("That is not the token."), status=403)
        response = web.HTTPSeeOther("/")
        response.set_cookie(
            COOKIE, secret, max_age=int(SESSION_S), httponly=True, samesite="Strict", secure=request.secure
        )
        raise response

    async def _log_out(self, request: web.Request) -> web.Response:
        self._set.guard.log_out(request.cookies.get(COOKIE, ""))
        response = web.HTTPSeeOther("/login")
        response.del_cookie(COOKIE)
        raise response


async def _style(_: web.Request) -> web.Response:
    return web.Response(text=page.style(), content_type="text/css")


async def _script(_: web.Request) -> web.Response:
    return web.Response(text=page.script(), content_type="text/javascript")


async def _login_form(_: web.Request) -> web.Response:
    return _html(page.login(""))


@web.middleware
async def _answered_soon(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """An answer takes as long as it may: whoever sends a body byte by byte gets none."""
    try:
        async with asyncio.timeout(_REQUEST_S):
            return await handler(request)
    except TimeoutError:
        return _word("this took too long", status=503)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _word(text: str, *, status: int = 200, **headers: str) -> web.Response:
    return web.Response(text=text + "\n", status=status, headers=headers)


def _html(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="text/html", status=status)


def _listening(host: str, port: int) -> socket.socket:
    address = ip_address(host)
    listening = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)  # noqa: PLR2004 - of IP
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)  # noqa: FBT003 - as it is defined
        listening.bind((host, port))
        listening.listen(_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from error
    return listening


def _cannot_listen(host: str, port: int, error: OSError) -> PermanentError:
    if error.errno == errno.EADDRINUSE:
        return PermanentError(
            f"http.port: {host} port {port} is in use by another process",
            hint="Perhaps another tracewatchd: give this one an http.port of its own (0: any free one), or"
            " http.enabled = false.",
        )
    return PermanentError(
        f"http.host: cannot listen at {host} port {port}: {error.strerror}",
        hint="Choose an address of this machine and a port above 1023.",
    )


def _bounded(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Connections as the server makes them, up to a limit; one more is closed at once."""

    def connect() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < _CONNECTIONS else _Closed()

    return connect


class _Closed(asyncio.Protocol):
    """A connection that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _logger() -> logging.Logger:
    """What the server logs becomes our events: failures of its own do, what others send it does not."""
    logger = logging.getLogger("tracewatchd.http")
    logger.addFilter(_is_our_failure)  # the same one is added once
    return logger


def _is_our_failure(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
