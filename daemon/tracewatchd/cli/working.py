"""How a command gets at the database and the roots: settings in, an assembly for the length of a block."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import typer

from tracewatchd.cli.output import note
from tracewatchd.ingest.line import Line
from tracewatchd.model.errors import ConfigError, TransientError, ungrouped
from tracewatchd.model.events import Level, Tell
from tracewatchd.model.exits import Exit
from tracewatchd.service.archiving import Archiving
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


def require_roots(settings: Settings, source: str | None = None) -> None:
    """See that there are roots to work on, before anything is opened or made.

    Raises:
        ConfigError: no root is configured.
        BadParameter: none of that source is.
    """
    if not settings.watch.roots:
        raise ConfigError(
            "watch.roots: no root is configured",
            hint="name one in the configuration file, or set TRACEWATCHD_WATCH__ROOTS=/path/to/traces",
        )
    known = [root.source for root in settings.watch.roots]
    if source is not None and source not in known:
        raise typer.BadParameter(
            f"no root has the source {source!r}; configured are: {', '.join(known)}", param_hint="--source"
        )


def places_of(assembly: Assembly, source: str | None) -> Sequence[Place]:
    """The configured roots that a command is about."""
    return [place for place in assembly.places if source in {None, place.source}]


def log_of(settings: Settings, *, quiet: bool = False) -> Log:
    """The log on standard error; where it is quiet, only what is at least a warning."""
    level: Level = "warning" if quiet and settings.log.level != "error" else settings.log.level
    log = standard_error_log(format=settings.log.format, level=level)
    log.take_over_libraries()
    return log


class GentleStop:
    """What Ctrl-C means to a loading command.

    The first one closes the lines: what they took in is committed, everything else is left. A second one ends the
    command at once, and so does the first where no line works yet.
    """

    def __init__(self) -> None:
        self.times_asked = 0
        self._lines: list[Line] = []

    def on(self, line: Line) -> Line:
        """Let the line be closed by an interrupt, be it one that has come already."""
        self._lines.append(line)
        if self.times_asked:
            line.close()
        return line

    def ask(self) -> bool:
        """Close the lines; False where that would end nothing."""
        self.times_asked += 1
        if self.times_asked > 1 or not self._lines:
            return False
        for line in self._lines:
            line.close()
        note("interrupted: what is on its way is committed, the rest is left; once more ends this at once")
        return True


def work(
    settings: Settings,
    do: Callable[[Assembly], Awaitable[T]],
    *,
    create: bool,
    migrate: bool,
    verbose: bool = False,
    stop: GentleStop | None = None,
) -> T:
    """Open the database (one probe, which says what failed), do something, and give everything back.

    Raises:
        KeyboardInterrupt: interrupted; with ``stop``, interrupted twice.
        Exit: interrupted once, with ``stop``, before there was anything to finish.
        TracewatchError: what opening or doing met.
    """
    log = log_of(settings, quiet=not verbose)
    try:
        with ungrouped():
            return asyncio.run(_until_interrupted(_work(settings, log, do, create=create, migrate=migrate), stop))
    finally:
        log.close()


async def _work(
    settings: Settings, tell: Tell, do: Callable[[Assembly], Awaitable[T]], *, create: bool, migrate: bool
) -> T:
    async with assembled(settings, tell, create=create) as assembly:
        await _open(assembly, migrate=migrate)
        return await do(assembly)


async def _open(assembly: Assembly, *, migrate: bool) -> None:
    try:
        await assembly.open(migrate=migrate)
    except TransientError as error:
        raise TransientError(
            f"the database ({assembly.where}) cannot be reached: {error}",
            hint=error.hint or "see that it runs; `tracewatchd config show` says where its address comes from",
        ) from error


@asynccontextmanager
async def assembled(settings: Settings, tell: Tell, *, create: bool) -> AsyncIterator[Assembly]:
    """An assembly with bounded patience, closed at the end of the block."""
    assembly = Assembly(settings, tell, create=create, patience_s=PATIENCE_S)
    try:
        yield assembly
    finally:
        await assembly.close()


async def _until_interrupted(work: Awaitable[T], stop: GentleStop | None) -> T:
    """The result of the work. asyncio's own way with Ctrl-C would lose it among the errors of what it cuts off."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    cut_off = False

    def interrupt() -> None:
        nonlocal cut_off
        if stop is None or not stop.ask():
            cut_off = True
            task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await asyncio.wait([task])
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    if not cut_off:
        return task.result()
    if not task.cancelled():
        task.exception()  # what was cut off may have failed by it; nobody is left to be told
    if stop and stop.times_asked == 1:
        note("interrupted before anything was done")
        raise typer.Exit(Exit.FOUND)
    raise KeyboardInterrupt


def apart(settings: Settings, do: Callable[[Archiving], Awaitable[T]], *, verbose: bool = False) -> T:
    """Do something that needs no database. The first Ctrl-C cuts it off cleanly, a second one at once.

    Raises:
        Exit: interrupted once: what is finished is kept, and the same command goes on from there.
        KeyboardInterrupt: interrupted twice.
        TracewatchError: what doing met.
    """
    log = log_of(settings, quiet=not verbose)
    try:
        with ungrouped():
            return asyncio.run(_cut_off_once(do(Archiving(settings, log))))
    finally:
        log.close()


async def _cut_off_once(work: Awaitable[T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    asked = False

    def interrupt() -> None:
        nonlocal asked
        asked = True
        loop.remove_signal_handler(signal.SIGINT)  # the next one is Python's own
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    await asyncio.wait([task])
    loop.remove_signal_handler(signal.SIGINT)
    if asked and task.cancelled():
        note("interrupted: what is finished is kept; the same command goes on from there")
        raise typer.Exit(Exit.FOUND)
    return task.result()


def counted(counts: Mapping[str, int]) -> str:
    """``3 loaded, 1 left``: only what occurred."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "nothing"
