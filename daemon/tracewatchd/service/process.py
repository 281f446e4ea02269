"""The daemon's life: wait for the store, stand by, watch over the sources, drain, say why it ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from tracewatchd.ingest.line import Line
from tracewatchd.model.errors import (
    ConfigError,
    NotCheckedError,
    PermanentError,
    TracewatchError,
    TransientError,
    first_known,
)
from tracewatchd.model.events import DaemonReady, DaemonStarted, DaemonStopped, DaemonStopping, SweepFailed, Tell
from tracewatchd.model.exits import Exit
from tracewatchd.service.hints import RootListener
from tracewatchd.service.leases import Duty
from tracewatchd.service.pulse import Pulse
from tracewatchd.service.retention import RetentionClock
from tracewatchd.service.schedule import SweepSchedule

_STATUS: tuple[tuple[type[TracewatchError], Exit], ...] = (
    (ConfigError, Exit.CONFIG),
    (PermanentError, Exit.PERMANENT),
    (TransientError, Exit.TRANSIENT),
    (NotCheckedError, Exit.TRANSIENT),
)

_GIVE_UP_S = 2.0


Companion: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""What runs beside the work from the start of the process to its end, and only ends by being cancelled."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One source while this daemon is on duty for it."""

    line: Line
    listener: RootListener
    schedule: SweepSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSetting:
    """What the daemon's life needs to know. ``prepare`` opens the store, ``close`` gives everything back.

    ``on_hangup`` is what SIGHUP asks for; None is a stop, as when a terminal is closed.
    """

    version: str
    pid: int
    roots: tuple[str, ...]
    database: str
    shutdown_s: Callable[[], float]
    prepare: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    store_answers: Callable[[], bool]
    make_watched: Callable[[], Sequence[Watched]]
    duty: Duty
    clock: RetentionClock
    pulse: Pulse
    tell: Tell
    companions: Sequence[Companion] = ()
    on_hangup: Callable[[], None] | None = None


@dataclass(slots=True)
class _Ending:
    """Why and how the process ends."""

    exit_code: Exit = Exit.OK
    cause: str = ""
    hint: str = ""
    left_files: int = 0


class Daemon:
    """One process, from start to ``daemon.stopped``."""

    def __init__(self, setting: DaemonSetting) -> None:
        self._set = setting
        self._tell = setting.tell
        self._stop = asyncio.Event()
        self._ending = _Ending()

    async def run(self) -> Exit:
        """Live until a signal or a failure; returns the exit status, which ``daemon.stopped`` says too."""
        started = _clock()
        self._tell(DaemonStarted(version=self._set.version, pid=self._set.pid, roots=self._set.roots))
        life = asyncio.create_task(self._live())
        companions = [asyncio.create_task(companion()) for companion in self._set.companions]
        with self._signals(life):
            await self._until_over(life, companions)
            await self._close()
        try:
            self._judge([life, *companions])
        finally:
            self._say_stopped(_clock() - started)
        return self._ending.exit_code

    async def _until_over(self, life: asyncio.Task[None], companions: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the end of life; that of a companion, which can only be a failure, is the end of life too."""
        tasks = [life, *companions]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def _say_stopped(self, uptime_s: float) -> None:
        ending = self._ending
        self._tell(
            DaemonStopped(
                exit_code=ending.exit_code,
                left_files=ending.left_files,
                uptime_s=round(uptime_s, 3),
                cause=ending.cause,
                hint=ending.hint,
            )
        )

    @contextmanager
    def _signals(self, life: asyncio.Task[None]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._asked_to_stop, number.name, life)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, life)
        try:
            yield
        finally:
            for number in (*numbers, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _hung_up(self, life: asyncio.Task[None]) -> None:
        if self._set.on_hangup is None:
            self._asked_to_stop(signal.SIGHUP.name, life)
        elif not self._stop.is_set():
            self._set.on_hangup()

    def _asked_to_stop(self, name: str, life: asyncio.Task[None]) -> None:
        if self._stop.is_set():
            self._ending.exit_code = Exit.INTERRUPTED
            self._ending.cause = f"{name} twice"
            life.cancel()
            return
        self._ending.cause = name
        self._stop.set()
        self._tell(DaemonStopping(cause=name, shutdown_s=self._set.shutdown_s()))

    def _judge(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        error = next(filter(None, (task.exception() for task in tasks if not task.cancelled())), None)
        if error is None:
            return
        known = first_known(error)
        self._ending.exit_code = Exit.PERMANENT
        self._ending.cause = f"{type(known or error).__name__}: {known or error}"
        if known is None:
            raise error
        self._ending.exit_code = next((code for kind, code in _STATUS if isinstance(known, kind)), Exit.PERMANENT)
        self._ending.hint = known.hint

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                await self._set.duty.give_up()
        except (TimeoutError, PermanentError):
            pass  # the lease expires by itself
        await self._set.close()

    async def _live(self) -> None:
        if not await self._unless_stopped(self._set.prepare()):
            return
        while not self._stop.is_set():
            if await self._unless_stopped(self._set.duty.take()):
                watched = self._set.make_watched()
                with self._set.pulse.of(*(each.line for each in watched)):
                    await self._watch_over(watched)

    async def _unless_stopped(self, work: Awaitable[None]) -> bool:
        """Whether the work was done before a stop was asked for; else it is cancelled."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return True
            return False
        finally:
            for each in (task, stop):
                each.cancel()
            await asyncio.wait([task, stop])

    async def _watch_over(self, watched: Sequence[Watched]) -> None:
        """Be on duty until a stop is asked for or the duty is lost, then drain."""
        try:
            async with asyncio.TaskGroup() as group:
                lines = [group.create_task(each.line.run()) for each in watched]
                feeders = [group.create_task(each.listener.run()) for each in watched]
                feeders += [group.create_task(each.schedule.run()) for each in watched]
                feeders.append(group.create_task(self._say_ready(watched)))
                feeders.append(group.create_task(self._set.clock.run()))
                await self._on_duty()
                for feeder in feeders:
                    feeder.cancel()
                await self._drain(watched, lines)
        finally:
            self._ending.left_files = sum(each.line.abandon() for each in watched)

    async def _on_duty(self) -> None:
        stop = asyncio.create_task(self._stop.wait())
        kept = asyncio.create_task(self._set.duty.keep())
        try:
            await asyncio.wait([stop, kept], return_when=asyncio.FIRST_COMPLETED)
            if kept.done():
                kept.result()
        finally:
            for each in (stop, kept):
                each.cancel()

    async def _say_ready(self, watched: Sequence[Watched]) -> None:
        for each in watched:
            await each.listener.standing.wait()
        self._tell(DaemonReady(roots=self._set.roots, database=self._set.database))

    async def _drain(self, watched: Sequence[Watched], lines: Sequence[asyncio.Task[None]]) -> None:
        """One last quick sweep, then everything that is on the lines, within ``shutdown_s`` altogether.

        Where the duty was lost, the sweeps are another daemon's.
        """
        try:
            async with asyncio.timeout(self._set.shutdown_s()):
                if self._stop.is_set() and self._set.store_answers():
                    await asyncio.gather(*(self._last_sweep(each) for each in watched))
                for each in watched:
                    each.line.close()
                await asyncio.wait(lines)
        except TimeoutError:
            for line in lines:
                line.cancel()

    async def _last_sweep(self, watched: Watched) -> None:
        """Sweep once more, in half of the time: the other half belongs to what is on the line already."""
        limit_s = self._set.shutdown_s() / 2
        try:
            async with asyncio.timeout(limit_s):
                await watched.schedule.sweep_once("stop")
        except TimeoutError:
            failure = f"the last sweep was not finished within {limit_s:g} s"
        except (TransientError, NotCheckedError) as error:
            failure = str(error)
        else:
            return
        self._tell(SweepFailed(source=watched.line.source, depth="quick", error=failure))


def _clock() -> float:
    return asyncio.get_running_loop().time()
