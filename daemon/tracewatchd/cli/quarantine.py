"""``tracewatchd quarantine``: the files that cannot be stored, why, and another try."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
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
from tracewatchd.cli.output import Output, note
from tracewatchd.cli.working import GentleStop, counted, places_of, require_roots, settings_of, work
from tracewatchd.ingest.line import Line
from tracewatchd.model import record
from tracewatchd.model.errors import NotCheckedError
from tracewatchd.model.exits import CHECKING, LOADING, Exit
from tracewatchd.model.layout import encode_path
from tracewatchd.model.ledger import QuarantineRow
from tracewatchd.model.results import LoadResult, Outcome
from tracewatchd.service.assemble import Assembly, Place

app = group("Files that cannot be stored: which, why, and another try.")


def register(program: typer.Typer) -> None:
    """Add the group."""
    program.add_typer(app, name="quarantine")


_PAGE = 1000
_SEE_LIST = "`tracewatchd quarantine list` shows what is"


@command(app, "list", exits=CHECKING, examples=["tracewatchd quarantine list", "tracewatchd quarantine list --json"])
def list_(
    source: Source = None,
    reason: Reason = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List the quarantined files by source and path. The files themselves lie where they were."""
    settings = settings_of(config)
    find = partial(_find, source=source, reason=_reason(reason), limit=limit + 1)
    rows = work(settings, find, create=False, migrate=False)
    if source is not None and not rows:
        require_roots(settings, source)
    shown = rows[:limit]
    out = Output(as_json=as_json)
    out.table(
        ("source", "path", "reason", "since", "detail"),
        [(row.source, row.path, row.reason, f"{row.first_seen_at:%Y-%m-%d %H:%M}", row.detail) for row in shown],
    )
    out.line(f"{len(shown)} quarantined" + (" and more: raise --limit" if len(rows) > limit else ""))
    out.data(shown)


@command(app, "show", exits=CHECKING, examples=["tracewatchd quarantine show support-bot/2026-11-20/broken.json"])
def show(path: QuarantinedPath, source: Source = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Show everything that is known of one quarantined file."""
    settings = settings_of(config)
    row = work(settings, partial(_one, source=source, path=_spelled(path)), create=False, migrate=False)
    Output(as_json=as_json).record(row)


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
    require_roots(settings, source)
    named = tuple(dict.fromkeys(map(_spelled, paths or ())))
    choice = _Choice(source, _reason(reason), named)
    tried = work(settings, partial(_retry, choice=choice), create=True, migrate=True, verbose=verbose, stop=choice.stop)
    unknown = [path for path in named if path not in tried.found]
    _show_tried(tried.result, unknown, Output(as_json=as_json))
    if len(named) == 1 and tried.result.quarantined:
        return Exit.POISON
    result = tried.result
    failed = result.quarantined or result.unreadable or result.pending or unknown or choice.stop.times_asked
    return Exit.FOUND if failed else Exit.OK


def _show_tried(result: LoadResult, unknown: Sequence[str], out: Output) -> None:
    out.line(f"{result.files} files tried again: {counted({str(o): getattr(result, o) for o in Outcome})}")
    out.data({"files": result.files, **asdict(result), "unknown": unknown})
    for path in unknown:
        note(f"error: {path} is not quarantined under a root that is configured")
    if unknown:
        note(f"hint: {_SEE_LIST}")


def _reason(text: str | None) -> record.Reason | None:
    if text is None:
        return None
    try:
        return record.Reason(text)
    except ValueError:
        allowed = ", ".join(record.Reason)
        raise typer.BadParameter(f"{text!r} is no reason; allowed: {allowed}", param_hint="--reason") from None


def _spelled(path: str) -> str:
    """A path as the ledger spells it: as printed, except that a shell completes names that are not UTF-8 as bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return encode_path(os.fsencode(path))
    return path


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
    rows = [row async for row in assembly.database.quarantined(source=source, path=path)]
    if not rows:
        raise NotCheckedError(f"{path} is not quarantined", hint=_SEE_LIST)
    if len(rows) > 1:
        sources = ", ".join(row.source for row in rows)
        raise typer.BadParameter(f"{path} is quarantined in several sources: {sources}", param_hint="--source")
    return rows[0]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which files are to be tried again; no path means all."""

    source: str | None
    reason: record.Reason | None
    paths: tuple[str, ...]
    stop: GentleStop = field(default_factory=GentleStop)


@dataclass(slots=True)
class _Tried:
    """What a retry did, and which of the named paths it found in quarantine."""

    result: LoadResult = field(default_factory=LoadResult)
    found: set[str] = field(default_factory=set)


async def _retry(assembly: Assembly, *, choice: _Choice) -> _Tried:
    tried = _Tried()
    places = places_of(assembly, choice.source)
    await assembly.claim(places)
    for place in places:
        line = choice.stop.on(assembly.line(place))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.serve())
            async for page in _pages(_chosen(assembly, place, choice)):
                await _offer(line, page, tried.result)
                tried.found.update(page if choice.paths else ())
            line.close()
    return tried


async def _offer(line: Line, page: Sequence[str], result: LoadResult) -> None:
    receipt = await line.offer(page, reread=True)
    for outcome in (await receipt.wait()).values():
        result.add(outcome)


async def _chosen(assembly: Assembly, place: Place, choice: _Choice) -> AsyncIterator[str]:
    for path in choice.paths or (None,):
        async for row in assembly.database.quarantined(source=place.source, reason=choice.reason, path=path):
            yield row.path


async def _pages(paths: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    page: list[str] = []
    async for path in paths:
        page.append(path)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
