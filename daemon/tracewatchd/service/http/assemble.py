"""Where the settings become the HTTP server and its listener."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address

from tracewatchd import __version__
from tracewatchd.model.daemon_status import DaemonStatus, DatabaseAnswers
from tracewatchd.model.events import Tell
from tracewatchd.model.retention import Retained
from tracewatchd.service.http.answers import AnswerSetting, AnswerStore, StoreAnswers
from tracewatchd.service.http.guard import Guard, GuardSetting
from tracewatchd.service.http.server import HttpServer, HttpSetting
from tracewatchd.service.http.told import About, status_of, why_not_ready
from tracewatchd.service.metrics import Metrics
from tracewatchd.service.vitals import Vitals
from tracewatchd.settings import Http, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSurroundings:
    """What the server is told of the daemon: ``database`` is its name without a password."""

    store: AnswerStore
    is_reachable: Callable[[], bool]
    retained: Callable[[str], Awaitable[Retained]]
    database: str
    stuck: Callable[[], str | None]
    tell: Tell


class HttpAssembly:
    """The listener that counts, which hears every event from the first; and later the server."""

    def __init__(self, settings: Settings, vitals: Vitals) -> None:
        self._settings = settings
        self._vitals = vitals
        self._answers: StoreAnswers | None = None
        self._stuck: Callable[[], str | None] = lambda: None
        self.metrics = Metrics(
            version=__version__,
            sources=[root.source for root in settings.watch.roots],
            vitals=vitals,
            answers=lambda: self._answers.last if self._answers else DatabaseAnswers(),
            stuck=lambda: self._stuck(),  # noqa: PLW0108 - another one stands there once there is a server
        )

    def server(self, around: HttpSurroundings) -> HttpServer:
        """The server, which answers when it runs."""
        vitals = self._vitals
        self._stuck = around.stuck
        self._answers = answers = StoreAnswers(
            AnswerSetting(
                sources=[root.source for root in self._settings.watch.roots],
                store=around.store,
                retained=around.retained,
                may_ask=lambda: vitals.is_ready and vitals.database_up and around.is_reachable(),
                now=_now,
                clock=time.monotonic,
            )
        )
        about = About(
            version=__version__,
            pid=os.getpid(),
            roots={root.source: str(root.path) for root in self._settings.watch.roots},
            database=around.database,
            now=_now,
        )

        def status(told: DatabaseAnswers) -> DaemonStatus:
            return status_of(about, vitals, told, around.stuck())

        http = self._settings.http
        return HttpServer(
            HttpSetting(
                host=http.host,
                port=http.port,
                guard=_guard(http),
                answers=answers,
                status=status,
                stuck=around.stuck,
                why_not_ready=partial(why_not_ready, vitals),
                exposition=self.metrics.exposition,
                sample=vitals.sample,
                tell=around.tell,
            )
        )


def _guard(http: Http) -> Guard:
    return Guard(
        GuardSetting(
            token=http.token.get_secret_value() if http.token else None,
            loopback=ip_address(http.host).is_loopback,
            clock=time.monotonic,
            secret=secrets.token_urlsafe,
        )
    )


def _now() -> datetime:
    return datetime.now(UTC)
