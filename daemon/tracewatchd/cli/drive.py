"""``tracewatchd archive drive``: access to Google Drive in a person's name."""

from __future__ import annotations

import sys
import threading
import webbrowser
from functools import partial
from pathlib import Path

from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import ConfigFile, NoBrowser
from tracewatchd.cli.output import Output
from tracewatchd.cli.working import apart, settings_of
from tracewatchd.model.exits import Exit
from tracewatchd.service.archiving import Archiving

app = group("Access to Google Drive.")

EXITS = {
    Exit.OK: "access was given and is kept",
    Exit.FOUND: "interrupted; nothing was kept",
    Exit.USAGE: "wrong usage",
    Exit.PERMANENT: "access was not given, or it cannot be kept",
    Exit.TRANSIENT: "nobody answered in time, or Google did not",
    Exit.CONFIG: "no OAuth client is configured, or the configuration cannot be used",
    Exit.INTERRUPTED: "interrupted twice",
}

_WITHIN_S = 600.0
"""How long the browser's answer is waited for."""


@command(app, "login", exits=EXITS, examples=["tracewatchd archive drive login"])
def login(no_browser: NoBrowser = False, config: ConfigFile = None) -> Exit:
    """Ask in the browser for access to your Google Drive, and keep it for uploads.

    It needs an OAuth client for desktop applications (drive.credentials_file). What is kept is for your eyes alone and
    never printed.
    """
    settings = settings_of(config)
    kept = apart(settings, partial(_log_in, browse=not no_browser))
    Output().line(f"access to Google Drive is kept in {kept}")
    return Exit.OK


async def _log_in(archiving: Archiving, *, browse: bool) -> Path:
    return await archiving.log_in_to_drive(partial(_show, browse=browse), within_s=_WITHIN_S)


def _show(address: str, *, browse: bool) -> None:
    Output().line(f"open this address in a browser of this machine and allow access:\n{address}")
    sys.stdout.flush()  # whoever reads a pipe has to see it before anything can happen
    if browse:
        # In a thread: some browsers return only when they are closed, and the answer comes to this process.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
