"""``tracewatchd run``: the daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import ConfigFile, Roots
from tracewatchd.cli.working import log_of, require_roots, settings_of
from tracewatchd.model.exits import LOADING, Exit
from tracewatchd.service.daemon import DaemonAssembly, Outside
from tracewatchd.service.logs import Log
from tracewatchd.service.systemd import Notifier
from tracewatchd.service.telling import tell_all
from tracewatchd.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "run", exits=LOADING, examples=["tracewatchd run ./data"])(run)


def run(roots: Roots = None, config: ConfigFile = None) -> Exit:
    """Watch directories of run files and keep every file a row in Postgres, until a signal says stop."""
    settings = settings_of(config, roots)
    require_roots(settings)
    log = log_of(settings)
    try:
        return asyncio.run(_live(settings, log, partial(settings_of, config, roots)))
    finally:
        log.close()


async def _live(settings: Settings, log: Log, read: Callable[[], Settings]) -> Exit:
    notifier = Notifier(os.environ)
    # A terminal says by SIGHUP that it is closed, everyone else that the configuration has changed.
    outside = Outside(
        notifier=notifier,
        read=None if os.isatty(0) else read,
        on_reload=lambda now: log.take_over(now.log.level),
    )
    assembly = DaemonAssembly(settings, tell_all([log, notifier]), create=True, outside=outside)
    return await assembly.daemon().run()
