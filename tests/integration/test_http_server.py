"""The HTTP server itself, asked by real clients: who gets what, and what nobody gets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import ClientSession, CookieJar

from http_serving import TOKEN, Served, serving
from soon import soon, soon_answered
from standings import status, trouble
from tracewatchd.model.daemon_status import DaemonStatus
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.events import HttpRefused, HttpStarted
from tracewatchd.service.http import server as server_module

BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUARDED = ["/", "/status", "/metrics", "/nowhere"]
OPEN = ["/livez", "/readyz"]


@asynccontextmanager
async def client(served: Served) -> AsyncIterator[ClientSession]:
    """Somebody with cookies of their own."""
    async with ClientSession(served.url, cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def raw(served: Served, text: bytes) -> bytes:
    """What comes back to bytes that need not be HTTP, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(*served.address)
    writer.write(text)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


# ---- what is answered


async def test_probes_get_a_word() -> None:
    """Alive and ready, with a reason and 503 where it is not; the database is asked for neither."""
    async with serving() as served, client(served) as session:
        for path, word in (("/livez", "alive\n"), ("/readyz", "ready\n")):
            async with session.get(path) as answer:
                assert (answer.status, await answer.text()) == (200, word)
        served.stuck, served.why = "reading has stood still for 70 s", "waiting for database for 3 s"
        for path, word in (("/livez", f"stuck: {served.stuck}\n"), ("/readyz", f"{served.why}\n")):
            async with session.get(path) as answer:
                assert (answer.status, await answer.text()) == (503, word)
    assert served.answers.asked == []


async def test_status_is_the_document() -> None:
    """What is served can be read back as what was told, with new answers of the database."""
    async with (
        serving(status=status(troubles=(trouble(),))) as served,
        client(served) as session,
        session.get("/status") as answer,
    ):
        assert answer.content_type == "application/json"
        assert msgspec.json.decode(await answer.read(), type=DaemonStatus) == served.status
    assert served.answers.asked == [10]


async def test_metrics_are_in_the_text_format() -> None:
    """With the type that Prometheus expects; the database's answers may be a minute old."""
    async with serving() as served, client(served) as session, session.get("/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.text() == "tracewatchd_stuck 0\n"
    assert served.answers.asked == [60]


async def test_the_page_and_its_parts_are_served() -> None:
    """The page, its style and its script; load is sampled while the server stands, and the answers closed after it."""
    async with serving() as served, client(served) as session:
        for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
            async with session.get(path) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
        assert served.samples >= 1
        assert not served.answers.is_closed
    assert served.answers.is_closed


@pytest.mark.parametrize("path", ["/", "/livez", "/status", "/nowhere", "/page.js"])
async def test_every_answer_forbids_what_it_does_not_need(path: str) -> None:
    """Nothing is cached, framed, guessed or loaded from elsewhere, and the server does not say what it is made of."""
    async with serving() as served, client(served) as session, session.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers.getall("Server") == ["tracewatchd"]


@pytest.mark.parametrize("path", [*GUARDED, *OPEN, "/login"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(method: str, path: str) -> None:
    """On loopback, without a token, no other method than looking is allowed anywhere, and there is no login."""
    async with serving() as served, client(served) as session, session.request(method, path) as answer:
        assert answer.status == (404 if path in {"/nowhere", "/login"} else 405)


# ---- who is answered


@pytest.mark.parametrize("path", [*GUARDED, *OPEN])
async def test_another_name_is_not_answered_on_loopback(path: str) -> None:
    """A site whose name was made to mean 127.0.0.1 gets nothing, probes included."""
    async with (
        serving() as served,
        client(served) as session,
        session.get(path, headers={"Host": "evil.example"}) as answer,
    ):
        assert (answer.status, await answer.text()) == (421, "'evil.example' is no name of this machine\n")


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Cookie": f"tracewatchd={TOKEN}"}]
)
async def test_a_token_is_asked_for(path: str, headers: dict[str, str]) -> None:
    """Without it, or with something else, there is a form for people and 401 for everything else."""
    async with serving(token=TOKEN, host="0.0.0.0") as served, client(served) as session:  # noqa: S104 - what is tested
        async with session.get(path, headers=headers, allow_redirects=False) as answer:
            if path == "/":
                assert (answer.status, answer.headers["Location"]) == (303, "/login")
            else:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert served.answers.asked == []


@pytest.mark.parametrize("path", ["/", "/status", "/metrics"])
async def test_the_token_opens_everything(path: str) -> None:
    """As a header; in the address it does not count."""
    async with serving(token=TOKEN, host="0.0.0.0") as served, client(served) as session:  # noqa: S104 - what is tested
        async with session.get(path, headers=BEARER) as answer:
            assert answer.status == 200
        for name in ("token", "access_token", "authorization"):
            async with session.get(path, params={name: TOKEN}, allow_redirects=False) as answer:
                assert answer.status in {303, 401}


@pytest.mark.parametrize("path", OPEN)
async def test_probes_need_no_token(path: str) -> None:
    """Alive and ready are said to everybody, whatever the machine is called."""
    async with (
        serving(token=TOKEN, host="0.0.0.0") as served,  # noqa: S104 - what is tested
        client(served) as session,
        session.get(path, headers={"Host": "pod.cluster"}) as answer,
    ):
        assert answer.status == 200


async def test_a_login_gives_a_session() -> None:
    """The form gives a cookie that no script and no other site gets, which opens the page until it is given back."""
    async with serving(token=TOKEN) as served, client(served) as session:
        async with session.get("/login") as answer:
            assert "Log in" in await answer.text()
        form = {"token": f" {TOKEN} "}
        async with session.post("/login", data=form, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            cookie = answer.headers["Set-Cookie"]
        assert "tracewatchd=session-0" in cookie
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        async with session.get("/") as answer:
            assert "Log out" in await answer.text()
        async with session.get("/status") as answer:
            assert answer.status == 200
        async with session.post("/logout", allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/login"
        async with session.get("/", headers={"Cookie": "tracewatchd=session-0"}, allow_redirects=False) as answer:
            assert answer.status == 303
    assert served.events == [HttpStarted(url=served.url + "/", needs_token=True)]


@pytest.mark.parametrize("form", [{"token": "wrong"}, {}, {"other": TOKEN}])
async def test_a_wrong_token_is_told(form: dict[str, str]) -> None:
    """The form says so, no cookie is set, and an event names who it was, not what was given."""
    async with (
        serving(token=TOKEN) as served,
        client(served) as session,
        session.post("/login", data=form) as answer,
    ):
        assert answer.status == 403
        assert "That is not the token." in await answer.text()
        assert "Set-Cookie" not in answer.headers
    assert served.events[1:] == [HttpRefused(peer="127.0.0.1")]


async def test_a_form_of_another_site_is_refused() -> None:
    """Nobody can be logged in by a page that is not ours."""
    async with serving(token=TOKEN) as served, client(served) as session:
        headers = {"Origin": "http://evil.example"}
        async with session.post("/login", data={"token": TOKEN}, headers=headers) as answer:
            assert answer.status == 403
    assert served.secrets == []


async def test_guessing_is_slow() -> None:
    """After ten failures even the right token is not tried for a minute; programs are not concerned."""
    async with serving(token=TOKEN) as served, client(served) as session:
        for number in range(10):
            await (await session.post("/login", data={"token": f"guess {number}"})).read()
        async with session.post("/login", data={"token": TOKEN}) as answer:
            assert answer.status == 429
        async with session.get("/status", headers=BEARER) as answer:
            assert answer.status == 200
    assert len(served.events) == 11


# ---- limits


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 5_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    ],
    ids=["tls", "words", "length", "host", "path", "long line", "long field", "many fields"],
)
async def test_what_is_no_request_is_refused(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is sent gets an error or a closed connection, nothing is logged, and the server goes on."""
    async with serving() as served, client(served) as session:
        answer = await raw(served, text)
        assert answer == b"" or answer.split()[1][:1] == b"4"
        async with session.get("/livez") as after:
            assert after.status == 200
    assert caplog.records == []


async def test_a_large_body_is_refused() -> None:
    """A login is short; more than two kilobytes are not read."""
    async with (
        serving(token=TOKEN) as served,
        client(served) as session,
        session.post("/login", data={"token": "x" * 10_000}) as answer,
    ):
        assert answer.status == 413


async def test_whoever_is_too_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come is waited for as long as a request may take; one that says nothing is closed."""
    monkeypatch.setattr(server_module, "_REQUEST_S", 0.3)
    monkeypatch.setattr(server_module, "_IDLE_S", 0.5)
    async with serving(token=TOKEN) as served:
        head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
        form = b"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\ntoken=x"
        assert (await raw(served, head + form)).split()[1] == b"503"
        assert await raw(served, b"") == b""
        assert await raw(served, b"GET / HTTP/1.1\r\nHost:") == b""


async def test_a_slow_database_ends_in_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has a limit, whatever keeps it."""
    monkeypatch.setattr(server_module, "_REQUEST_S", 0.2)
    async with serving() as served, client(served) as session:
        served.answers.takes_s = 30
        async with session.get("/status") as answer:
            assert (answer.status, await answer.text()) == (503, "this took too long\n")


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than the limit is closed at once; when another ends there is room again."""
    monkeypatch.setattr(server_module, "_CONNECTIONS", 4)
    async with serving() as served:
        idle = [await asyncio.open_connection(*served.address) for _ in range(4)]
        request = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert await raw(served, request) == b""
        for _, writer in idle:
            writer.close()
        answer = await soon_answered(lambda: raw(served, request))
        assert answer.startswith(b"HTTP/1.1 200")


async def test_stopping_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that takes for ever and an idle connection do not keep the server from ending."""
    monkeypatch.setattr(server_module, "_CLOSE_S", 0.2)
    async with asyncio.timeout(20):
        async with serving() as served:
            served.answers.takes_s = 1_000
            pending = asyncio.create_task(raw(served, b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            await soon(lambda: served.answers.asked)
            _, writer = await asyncio.open_connection(*served.address)
        assert await pending == b""
        writer.close()


# ---- where it listens


async def test_a_port_in_use_is_a_plain_sentence() -> None:
    """Two cannot listen at one port; what to do is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PermanentError, match=f"http.port: 127.0.0.1 port {port} is in use") as caught:
            async with serving(port=port):
                pass
    assert "http.port of its own" in caught.value.hint


async def test_an_address_of_nobody_is_a_plain_sentence() -> None:
    """An address that this machine does not have cannot be listened at."""
    with pytest.raises(PermanentError, match=r"cannot listen at 192\.0\.2\.1 port 0: "):
        async with serving(host="192.0.2.1"):
            pass


async def test_the_port_can_be_used_again_at_once() -> None:
    """A restart does not wait for connections of before."""
    async with serving() as served, client(served) as session:
        await (await session.get("/livez")).read()
        port = served.address[1]
    async with serving(port=port) as served:
        assert served.address[1] == port


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_ipv6_is_an_address_like_another() -> None:
    """On ::1 it is reached by the name that its event says."""
    async with serving(host="::1", token=TOKEN) as served, client(served) as session:
        assert served.url.startswith("http://[::1]:")
        async with session.get("/livez") as answer:
            assert answer.status == 200
