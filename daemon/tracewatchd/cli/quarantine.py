"""``tracewatchd quarantine``: the files that cannot be stored, why, and another try."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import typer

from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import (
    AsJson,
    ConfigFile,
    Everything,
    Limit,
    QuarantinedPath,
    QuarantinedPaths,
    Reason,
    Source,
    Verbose,
)
from tracewatchd.cli.output import Output
from tracewatchd.cli.working import counted, places_of, settings_of, work
from tracewatchd.model import record
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.exits import CHECKING, LOADING, Exit
from tracewatchd.model.ledger import QuarantineRow
from tracewatchd.model.results import LoadResult, Outcome
from tracewatchd.service.assemble import Assembly, Place

app = group("Files that cannot be stored: which, why, and another try.")

_PAGE = 1000


@command(app, "list", exits=CHECKING, examples=["tracewatchd quarantine list", "tracewatchd quarantine list --json"])
def list_(
    source: Source = None,
    reason: Reason = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List the quarantined files, newest verdict last. The files themselves lie where they were."""
    settings = settings_of(config)
    find = partial(_find, source=source, reason=_reason(reason), limit=limit)
    rows = work(settings, find, create=False, migrate=False)
    out = Output(as_json=as_json)
    out.table(
        ("source", "path", "reason", "since", "detail"),
        [(row.source, row.path, row.reason, f"{row.first_seen_at:%Y-%m-%d %H:%M}", row.detail) for row in rows],
    )
    out.line(f"{len(rows)} quarantined" + (f" (the first {limit})" if len(rows) == limit else ""))
    out.data(rows)


@command(app, "show", exits=CHECKING, examples=["tracewatchd quarantine show support-bot/2026-11-20/broken.json"])
def show(path: QuarantinedPath, source: Source = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show everything that is known of one quarantined file."""
    settings = settings_of(config)
    row = work(settings, partial(_one, source=source, path=path), create=False, migrate=False)
    out = Output(as_json=as_json)
    out.table(("", ""), [(name.replace("_", " "), str(value)) for name, value in asdict(row).items()])
    out.data(row)


@command(app, "retry", exits=LOADING, examples=["tracewatchd quarantine retry --all"])
def retry(
    paths: QuarantinedPaths = None,
    everything: Everything = False,
    reason: Reason = None,
    source: Source = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Read quarantined files again and load those that can be stored now."""
    if sum([bool(paths), everything, reason is not None]) != 1:
        raise typer.BadParameter("name files, or say --all, or give a --reason", param_hint="PATH")
    settings = settings_of(config)
    again = partial(_retry, source=source, reason=_reason(reason), paths=paths or ())
    result = work(settings, again, create=True, migrate=True, verbose=verbose)
    out = Output(as_json=as_json)
    out.line(f"{result.files} files tried again: {counted({o: getattr(result, o) for o in Outcome})}")
    out.data(result)
    if paths and len(paths) == 1 and result.quarantined:
        return Exit.POISON
    return Exit.FOUND if result.quarantined or result.unreadable or result.pending else Exit.OK


def _reason(text: str | None) -> record.Reason | None:
    if text is None:
        return None
    try:
        return record.Reason(text)
    except ValueError:
        allowed = ", ".join(record.Reason)
        raise typer.BadParameter(f"{text!r} is no reason; allowed: {allowed}", param_hint="--reason") from None


async def _find(
    assembly: Assembly, *, source: str | None, reason: record.Reason | None, limit: int
) -> list[QuarantineRow]:
    rows: list[QuarantineRow] = []
    async for row in assembly.database.quarantined(source=source, reason=reason):
        rows.append(row)
        if len(rows) == limit:
            break
    return rows


async def _one(assembly: Assembly, *, source: str | None, path: str) -> QuarantineRow:
    async for row in assembly.database.quarantined(source=source, path=path):
        return row
    raise NotCheckedError(f"{path} is not quarantined", hint="`tracewatchd quarantine list` shows what is")


async def _retry(
    assembly: Assembly, *, source: str | None, reason: record.Reason | None, paths: Sequence[str]
) -> LoadResult:
    total = LoadResult()
    for place in places_of(assembly, source):
        known = [row.path async for row in assembly.database.quarantined(source=place.source, reason=reason)]
        chosen = [path for path in known if not paths or path in paths]
        for outcome in await _offer(assembly, place, chosen):
            total.add(outcome)
    return total


async def _offer(assembly: Assembly, place: Place, paths: Sequence[str]) -> list[Outcome]:
    line = assembly.line(place)
    outcomes: list[Outcome] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(line.run())
        for start in range(0, len(paths), _PAGE):
            receipt = await line.offer(paths[start : start + _PAGE], reread=True)
            outcomes += (await receipt.wait()).values()
        line.close()
    return outcomes
