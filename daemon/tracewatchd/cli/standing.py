"""``tracewatchd status``: how the daemon stands, by its own word; where it is silent, by what the database knows."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.health import address_of
from tracewatchd.cli.options import AsJson, ConfigFile, KeepWatching, Strict
from tracewatchd.cli.output import Output, console_on, flush
from tracewatchd.edges.daemon_http import DaemonAddress, ask
from tracewatchd.model.daemon_status import DaemonStatus, Health
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.settings import Settings, load

if TYPE_CHECKING:
    from rich.text import Text

_EXITS = {
    **CHECKING,
    Exit.OK: "nothing is wrong; warnings are told",
    Exit.FOUND: "something is wrong, or no daemon runs; --strict counts warnings too",
    Exit.NOT_CHECKED: "neither daemon nor database could be asked, or nothing was checked yet",
}
_EVERY_S = 2.0
_NAMED = 10
_MOST_COUNTS = 10_000
_UNAUTHORIZED = 401


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "status", exits=_EXITS, examples=["tracewatchd status", "tracewatchd status --json"])(status)


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows while no daemon can be asked. ``holders`` are the daemons on duty, by source."""

    holders: Mapping[str, str] = field(default_factory=dict)
    quarantined_files: int = 0
    days: int = 0
    inconsistent_days: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer: of the daemon, else of the database, and then why the daemon was not asked."""

    daemon: DaemonStatus | None = None
    database: Known | None = None
    silent: str = ""


def status(
    as_json: AsJson = False, watch: KeepWatching = False, strict: Strict = False, config: ConfigFile = None
) -> Exit:
    """Say how the daemon stands: whether all is well, what waits, the last sweeps, and what to do next.

    It is asked over HTTP at http.host and http.port. Where it is silent, the database is asked.
    """
    settings = load(config, {}, os.environ).settings
    if not watch:
        standing = _ask(settings)
        _show(standing, Output(as_json=as_json))
        return _exit(standing, strict=strict)
    last = Exit.NOT_CHECKED
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background work begins with it ignored
    with suppress(KeyboardInterrupt):
        for standing in _again_and_again(settings):
            _show_anew(standing, Output(as_json=as_json))
            last = _exit(standing, strict=strict)
    return last


def _again_and_again(settings: Settings) -> Iterator[Standing]:
    while True:
        yield _ask(settings)
        time.sleep(_EVERY_S)


def _ask(settings: Settings) -> Standing:
    try:
        return Standing(daemon=_of_daemon(address_of(settings.http)))
    except NotCheckedError as error:
        return Standing(database=_of_database(settings), silent=str(error))


def _of_daemon(address: DaemonAddress) -> DaemonStatus:
    answer = ask(address, "/status")
    if answer.status == _UNAUTHORIZED:
        raise NotCheckedError(f"the daemon at {address.url} wants its token", hint="set http.token to the same here")
    try:
        return msgspec.json.decode(answer.body, type=DaemonStatus)
    except msgspec.DecodeError as error:
        raise NotCheckedError(
            f"what answers at {address.url} is no tracewatchd of this version (HTTP {answer.status})",
            hint="look what listens there",
        ) from error


def _of_database(settings: Settings) -> Known:
    # Imported here: the daemon usually answers, and this takes a fifth of a second.
    from tracewatchd.cli.working import work  # noqa: PLC0415 - as above
    from tracewatchd.service.assemble import Assembly  # noqa: PLC0415 - as above
    from tracewatchd.service.http.answers import what_stands  # noqa: PLC0415 - as above

    async def look(assembly: Assembly) -> Known:
        database = assembly.database
        leases = await database.leases()
        counts = await database.quarantine_counts(_MOST_COUNTS)
        holders = {name.removeprefix("daemon:"): by for name, by in leases.items() if name.startswith("daemon:")}
        days = {
            f"{source}: {directory}": told
            for source in sorted({*holders, *(place.source for place in assembly.places)})
            for directory, told in what_stands(await database.verified_days(source)).items()
        }
        return Known(
            holders=holders,
            quarantined_files=sum(count.files for count in counts),
            days=len(days),
            inconsistent_days=[name for name, told in days.items() if told.verdict == "inconsistent"],
        )

    return work(settings, look, create=False, migrate=False)


def _exit(standing: Standing, *, strict: bool) -> Exit:
    if standing.daemon:
        return _BY_HEALTH[standing.daemon.health] if standing.daemon.health != "attention" or strict else Exit.OK
    known = standing.database or Known()
    bad = known.inconsistent_days or not known.holders or (strict and known.quarantined_files)
    return Exit.FOUND if bad else Exit.OK


_BY_HEALTH: Mapping[Health, Exit] = {
    "healthy": Exit.OK,
    "attention": Exit.FOUND,
    "unhealthy": Exit.FOUND,
    "unknown": Exit.NOT_CHECKED,
}


def _show(standing: Standing, out: Output) -> None:
    out.texts(_lines(standing))
    out.data(standing)


def _show_anew(standing: Standing, out: Output) -> None:
    """On a terminal in place of what was there, elsewhere behind it."""
    if sys.stdout.isatty() and not out.as_json:
        console_on(sys.stdout).clear()
    _show(standing, out)
    flush()


def _lines(standing: Standing) -> Iterator[Text]:
    from rich.text import Text  # noqa: PLC0415 - takes a tenth of a command's start

    if standing.daemon:
        from tracewatchd.cli.standing_view import lines_of  # noqa: PLC0415 - as above

        yield from lines_of(standing.daemon)
        return
    known = standing.database or Known()
    yield Text(f"{standing.silent}; this is what the database knows")
    for source, holder in known.holders.items():
        yield Text(f"{source}: {holder} is on duty")
    if not known.holders:
        yield Text("no daemon is on duty: files that come now are not loaded")
    yield Text(f"{known.days} project-days were compared, {len(known.inconsistent_days)} of them are inconsistent")
    for name in known.inconsistent_days[:_NAMED]:
        yield Text(f"  {name}")
    yield Text(f"{known.quarantined_files} files are in quarantine")
