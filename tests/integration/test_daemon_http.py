"""Asking a daemon of this machine over HTTP, and what may answer in its place."""

from __future__ import annotations

import asyncio
import socket
from threading import Thread

import pytest

from http_serving import TOKEN, serving
from tracewatchd.edges import daemon_http
from tracewatchd.edges.daemon_http import DaemonAddress, ask
from tracewatchd.model.errors import NotCheckedError


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9477/"),
        ("0.0.0.0", "http://127.0.0.1:9477/"),  # noqa: S104 - what is tested
        ("::1", "http://[::1]:9477/"),
        ("::", "http://[::1]:9477/"),
        ("10.1.2.3", "http://10.1.2.3:9477/"),
    ],
)
def test_every_address_of_this_machine_is_called_by_its_loopback(host: str, url: str) -> None:
    """What listens everywhere listens there, too; the token is no part of what is shown."""
    address = DaemonAddress(host, 9477, TOKEN)
    assert address.url == url


async def test_the_answer_is_whatever_it_is() -> None:
    """Status and body come back, also those of a refusal; the token opens what needs it."""
    async with serving(token=TOKEN) as served:
        host, port = served.address
        served.why = "waiting  for\n database"
        ready = await asyncio.to_thread(ask, DaemonAddress(host, port), "/readyz")
        assert (ready.status, ready.word) == (503, "waiting for database")
        assert (await asyncio.to_thread(ask, DaemonAddress(host, port), "/status")).status == 401
        assert (await asyncio.to_thread(ask, DaemonAddress(host, port, TOKEN), "/status")).status == 200


def test_nobody_there_is_a_plain_sentence() -> None:
    """A closed port says where nobody was and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NotCheckedError, match=f"no daemon answers at http://127.0.0.1:{port}/: ") as caught:
        ask(DaemonAddress("127.0.0.1", port), "/livez")
    assert "http.port" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"220 mail.example ESMTP\r\n", "speaks no HTTP"),
        (b"", "answers at"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "speaks no HTTP"),
        (None, "timed out"),
    ],
    ids=["mail", "nothing", "half", "silence"],
)
def test_something_else_there_is_a_plain_sentence(
    said: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What speaks no HTTP, hangs up, stops half way or says nothing is no daemon; each has an end."""
    monkeypatch.setattr(daemon_http, "_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = DaemonAddress("127.0.0.1", other.getsockname()[1])

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65_536)
                if said is None:
                    connection.recv(65_536)
                else:
                    connection.sendall(said)

        answering = Thread(target=answer)
        answering.start()
        with pytest.raises(NotCheckedError, match=why):
            ask(address, "/status")
        answering.join(30)
