"""The daemon's HTTP server by itself, on any free port, answering what a test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from soon import soon
from standings import status
from tracewatchd.model.daemon_status import DaemonStatus, DatabaseAnswers
from tracewatchd.model.events import Event, HttpStarted
from tracewatchd.service.http.guard import Guard, GuardSetting
from tracewatchd.service.http.server import HttpServer, HttpSetting

TOKEN = "correct-horse-battery"


class SaidAnswers:
    """In the place of the database's answers: counts how often it is asked, and takes its time where it is told to."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.is_closed = False
        self.takes_s = 0.0

    async def get(self, *, fresh_s: float = 10) -> DatabaseAnswers:
        self.asked.append(fresh_s)
        await asyncio.sleep(self.takes_s)
        return DatabaseAnswers()

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Served:
    """A server at work. What it answers may be changed at any time."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    secrets: list[str] = field(default_factory=list)
    status: DaemonStatus = field(default_factory=status)
    stuck: str | None = None
    why: str = ""
    samples: int = 0
    events: list[Event] = field(default_factory=list)
    answers: SaidAnswers = field(default_factory=SaidAnswers)

    def server(self) -> HttpServer:
        guard = GuardSetting(
            token=self.token, loopback=self.host.startswith("127."), clock=time.monotonic, secret=self._secret
        )
        return HttpServer(
            HttpSetting(
                host=self.host,
                port=self.port,
                guard=Guard(guard),
                answers=self.answers,  # type: ignore[arg-type]  # stands in for it
                status=lambda _: self.status,
                stuck=lambda: self.stuck,
                why_not_ready=lambda: self.why,
                exposition=lambda: b"tracewatchd_stuck 0\n",
                sample=self._sample,
                tell=self.events.append,
            )
        )

    def _secret(self) -> str:
        self.secrets.append(f"session-{len(self.secrets)}")
        return self.secrets[-1]

    def _sample(self) -> None:
        self.samples += 1

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        (started,) = [event for event in self.events if isinstance(event, HttpStarted)]
        return started.url.rstrip("/").replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - not an address to bind to

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


@asynccontextmanager
async def serving(**given: Any) -> AsyncIterator[Served]:
    """A server that has told that it started, stopped at the end of the block."""
    served = Served(**given)
    task = asyncio.create_task(served.server().run())
    try:
        await soon(lambda: task.done() or served.events)
        if task.done():
            task.result()
        yield served
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
