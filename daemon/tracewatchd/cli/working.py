"""How a command gets at the database and the roots: settings in, an assembly for the length of a block."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import typer

from tracewatchd.model.errors import ConfigError, TracewatchError
from tracewatchd.model.events import Level, Tell
from tracewatchd.service.assemble import Assembly, Place
from tracewatchd.service.logs import Log, standard_error_log
from tracewatchd.settings import Settings, load

PATIENCE_S = 60.0
"""How long a one-shot command retries what usually heals."""

T = TypeVar("T")


def settings_of(config: Path | None, roots: Sequence[Path] | None = None) -> Settings:
    """The checked settings, the roots of the command line in place of those configured.

    Raises:
        ConfigError: one line per fault.
    """
    named = [os.fspath(root) for root in roots] if roots else None
    return load(config, {"watch.roots": named}, os.environ).settings


def log_of(settings: Settings, level: Level | None = None) -> Log:
    """The log on standard error, at the configured level or another."""
    log = standard_error_log(format=settings.log.format, level=level or settings.log.level)
    log.take_over_libraries()
    return log


def places_of(assembly: Assembly, source: str | None) -> Sequence[Place]:
    """The configured roots that a command is about.

    Raises:
        ConfigError: there is none, or none of that source.
    """
    if not assembly.places:
        raise ConfigError(
            "watch.roots: no root is configured",
            hint="name one in the configuration file, or set TRACEWATCHD_WATCH__ROOTS=/path/to/traces",
        )
    chosen = [place for place in assembly.places if source in {None, place.source}]
    if not chosen:
        known = ", ".join(place.source for place in assembly.places)
        raise typer.BadParameter(f"no root has the source {source!r}; configured are: {known}")
    return chosen


def work(
    settings: Settings, do: Callable[[Assembly], Awaitable[T]], *, create: bool, migrate: bool, verbose: bool = False
) -> T:
    """Open the database (one probe, which says what failed), do something, and give everything back."""
    log = log_of(settings, None if verbose else "warning")
    try:
        return asyncio.run(_work(settings, log, do, create=create, migrate=migrate))
    except BaseExceptionGroup as group:
        raise _first_of(group) from group
    finally:
        log.close()


async def _work(
    settings: Settings, tell: Tell, do: Callable[[Assembly], Awaitable[T]], *, create: bool, migrate: bool
) -> T:
    async with assembled(settings, tell, create=create) as assembly:
        await assembly.open(migrate=migrate)
        return await do(assembly)


@asynccontextmanager
async def assembled(settings: Settings, tell: Tell, *, create: bool) -> AsyncIterator[Assembly]:
    """An assembly with bounded patience, closed at the end of the block."""
    assembly = Assembly(settings, tell, create=create, patience_s=PATIENCE_S)
    try:
        yield assembly
    finally:
        await assembly.close()


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of our own that a group of tasks ended with, else the group."""
    known: BaseException = group.subgroup(TracewatchError) or group
    while isinstance(known, BaseExceptionGroup) and known is not group:
        known = known.exceptions[0]
    return known


def counted(counts: Mapping[str, int]) -> str:
    """``3 loaded, 1 left``: only what occurred."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "nothing"
