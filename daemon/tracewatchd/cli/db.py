"""``tracewatchd db``: the database itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import typer

from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import AsJson, ConfigFile
from tracewatchd.cli.output import Output
from tracewatchd.cli.working import settings_of, work
from tracewatchd.model.exits import CHECKING, LOADING, Exit
from tracewatchd.service.assemble import Assembly, embedded_address
from tracewatchd.store.database import DatabaseStatus

app = group("The database: make it, bring it up to date, look at it, reach it.")


def register(program: typer.Typer) -> None:
    """Add the group."""
    program.add_typer(app, name="db")


_EXITS: Mapping[Exit, str] = {
    Exit.OK: "done",
    Exit.USAGE: LOADING[Exit.USAGE],
    Exit.PERMANENT: LOADING[Exit.PERMANENT],
    Exit.TRANSIENT: LOADING[Exit.TRANSIENT],
    Exit.CONFIG: LOADING[Exit.CONFIG],
    Exit.INTERRUPTED: CHECKING[Exit.INTERRUPTED],
}


@command(app, "init", exits=_EXITS, examples=["tracewatchd db init"])
def init(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Make the embedded database where it is missing, and the tables."""
    status = work(settings_of(config), _status, create=True, migrate=True)
    Output(as_json=as_json).record(status)


@command(app, "migrate", exits=_EXITS, examples=["tracewatchd db migrate"])
def migrate(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Bring the tables of an existing database to the version that this program needs."""
    status = work(settings_of(config), _status, create=False, migrate=True)
    Output(as_json=as_json).record(status)


@command(app, "status", exits=CHECKING, examples=["tracewatchd db status", "tracewatchd db status --json"])
def status(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Say which database this is, its versions, and how much it holds."""
    found = work(settings_of(config), _status, create=False, migrate=False)
    Output(as_json=as_json).record(found)


@command(app, "url", exits=_EXITS, examples=["tracewatchd db url"])
def url(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print how to reach the database, the password included: for `psql "$(tracewatchd db url)"`."""
    settings = settings_of(config)
    known = settings.database.url
    dsn = known.get_secret_value() if known else embedded_address(settings)
    out = Output(as_json=as_json)
    out.line(dsn)
    out.data({"url": dsn, "psql": f"psql {shlex.quote(dsn)}"})


async def _status(assembly: Assembly) -> DatabaseStatus:
    return await assembly.database.status()
