"""``tracewatchd health``: a probe's question. It imports little, as it is asked again and again."""

from __future__ import annotations

import os

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import ConfigFile
from tracewatchd.edges.daemon_http import DaemonAddress, ask
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.settings import Http, load

_EXITS = {
    **CHECKING,
    Exit.OK: "the daemon is alive and ready",
    Exit.FOUND: "it is starting, stopping or stuck, or its database is away",
    Exit.NOT_CHECKED: "it does not answer",
}
_WELL = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "health", exits=_EXITS, examples=["tracewatchd health"])(health)


def health(config: ConfigFile = None) -> Exit:
    """Ask the daemon of this machine whether it is alive and ready; for probes."""
    address = address_of(load(config, {}, os.environ).settings.http)
    for path in ("/livez", "/readyz"):
        answer = ask(address, path)
        if answer.status != _WELL:
            typer.echo(f"unhealthy: {answer.word}")
            return Exit.FOUND
    typer.echo("healthy")
    return Exit.OK


def address_of(http: Http) -> DaemonAddress:
    """Where the daemon can be asked.

    Raises:
        NotCheckedError: it answers nowhere, or nobody knows where.
    """
    if not http.enabled:
        raise NotCheckedError("http.enabled is false: the daemon answers nobody", hint="set it to true to ask it")
    if not http.port:
        raise NotCheckedError("http.port is 0: nobody knows the daemon's port", hint="give it a port of its own")
    return DaemonAddress(http.host, http.port, http.token.get_secret_value() if http.token else None)
