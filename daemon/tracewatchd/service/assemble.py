"""Where settings are turned into objects: what the daemon and commands have in common."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TypeVar
from uuid import UUID

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_random_exponential,
)

from tracewatchd.edges.filesystem import FileSystem, file_system_of
from tracewatchd.edges.folder import Folder
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.ingest.line import Line, LineLimits, Surroundings
from tracewatchd.ingest.read import ReadRules
from tracewatchd.model.difference import differences
from tracewatchd.model.errors import TransientError, ungrouped
from tracewatchd.model.events import Tell
from tracewatchd.model.findings import VerificationResult
from tracewatchd.model.fixes import FixKind, Journal
from tracewatchd.model.layout import encode_path
from tracewatchd.model.retention import Retention
from tracewatchd.reconcile.plan import Each, SweepPlan
from tracewatchd.reconcile.ports import Repairing
from tracewatchd.reconcile.repair import Provider, Repairs, RepairSetting
from tracewatchd.reconcile.setting import SweepLimits, SweepSetting
from tracewatchd.reconcile.sweep import Sweep
from tracewatchd.service.leases import sweep_lease
from tracewatchd.service.memory import collect_seldom, keep_freed_memory
from tracewatchd.service.pulse import Pulse
from tracewatchd.service.retention import ClockSetting, RetentionClock
from tracewatchd.service.threads import Threads
from tracewatchd.settings import Root, Settings, masked
from tracewatchd.store.connect import StoreOptions
from tracewatchd.store.database import TraceDatabase
from tracewatchd.store.embedded import EmbeddedServer, default_directory, describe

_MACHINE_ID = Path("/etc/machine-id")
_WAIT_S = (0.1, 5.0)
_WALKERS = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """One root as it is configured and as it lies on disk."""

    source: str
    folder: Folder
    file_system: FileSystem


class Assembly:
    """Everything that is made from the settings of one process. ``patience_s`` bounds retries; None is for ever."""

    def __init__(self, settings: Settings, tell: Tell, *, create: bool, patience_s: float | None) -> None:
        keep_freed_memory()
        collect_seldom()
        self.settings = settings
        self.tell = tell
        # The token tells containers apart that share a host name and are process 1 each.
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self.places = tuple(map(place_of, settings.watch.roots))
        self._patience_s = patience_s
        self._server = _embedded(settings, tell, create=create)
        self.database = TraceDatabase(
            self._locate,
            store_options(settings),
            tell,
            name=self.where,
            patience_s=patience_s,
            on_replaced=self._on_replaced,
        )
        self.clock = RetentionClock(clock_setting(settings), self.database, tell)
        self._budget = ByteBudget(settings.ingest.bytes_in_flight)
        # One: several would take the interpreter from each other at every system call, and a load took a sixth longer.
        self._reader = Threads(1, name="read", work="reading files")
        self._walkers = Threads(_WALKERS, name="walk", work="looking through directories")
        self.pulse = Pulse(self.database, (self._reader, self._walkers), limit_s=longest_wait_s(settings))

    @property
    def where(self) -> str:
        """The database as it may be shown: no password."""
        url = self.settings.database.url
        return masked(url.get_secret_value()) if url else f"embedded in {embedded_directory(self.settings)}"

    async def close(self) -> None:
        """Give everything back; bounded."""
        await self.database.close()
        if self._server:
            await self._server.stop()
        for threads in (self._reader, self._walkers):
            threads.close()

    async def offload(self, work: Callable[[], T], /) -> T:
        """Run blocking work in a thread: walking, looking, counting."""
        return await self._walkers.run(work)

    async def _read(self, work: Callable[[], T], /) -> T:
        return await self._reader.run(work)

    async def _locate(self) -> str:
        url = self.settings.database.url
        if url:
            return url.get_secret_value()
        assert self._server  # noqa: S101 - made whenever there is no URL
        return await self._server.dsn()

    def retrying(self, before_sleep: Callable[[RetryCallState], None]) -> AsyncRetrying:
        """The policy for what usually heals: jittered exponential back-off, for ever or for ``patience_s``."""
        multiplier, most_s = _WAIT_S
        return AsyncRetrying(
            wait=wait_random_exponential(multiplier=multiplier, max=most_s),
            stop=stop_never if self._patience_s is None else stop_after_delay(self._patience_s),
            retry=retry_if_exception_type(TransientError),
            before_sleep=before_sleep,
            reraise=True,
        )

    def rules(self) -> ReadRules:
        """How files are read."""
        ingest = self.settings.ingest
        return ReadRules(max_file_bytes=ingest.max_file_bytes, batch_bytes=ingest.batch_bytes, sanitize=ingest.sanitize)

    def line(
        self,
        place: Place,
        *,
        batch_rows: int | None = None,
        overwrite: bool = True,
        journal: Journal | None = None,
    ) -> Line:
        """A line for one source; with a journal, what it replaces can be put back."""
        ingest, watch = self.settings.ingest, self.settings.watch
        grain_s = place.file_system.stamp_grain_s if watch.stamp_grain_s is None else watch.stamp_grain_s
        limits = LineLimits(
            batch_rows=batch_rows or ingest.batch_rows,
            linger_s=ingest.linger_ms / 1000,
            writers=ingest.writers,
            inbox_paths=ingest.inbox_paths,
            settle_s=watch.settle_s,
            settle_limit_s=watch.settle_limit_s,
            stamp_grain_s=grain_s,
        )
        around = Surroundings(
            store=self.database,
            budget=self._budget,
            offload=self._read,
            retrying=self.retrying,
            tell=self.tell,
            now=_now,
        )
        return Line(
            place.source,
            place.folder,
            around,
            limits=limits,
            rules=self.rules(),
            overwrite=overwrite,
            journal=journal,
        )

    @asynccontextmanager
    async def journaled_line(self, place: Place, repair_id: UUID) -> AsyncIterator[Line]:
        """A line at work for the length of the block, which keeps what it replaces; at its end it is worked off.

        Raises:
            TransientError, PermanentError: what ended the line, or the block.
        """
        line = self.line(place, journal=Journal(repair_id=repair_id, default=FixKind.MISSING))
        with self.pulse.of(line), ungrouped():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(line.serve())
                yield line
                line.close()

    def repairs(
        self,
        place: Place,
        line: Line,
        *,
        repair_id: UUID,
        fixes: Collection[FixKind],
        out: Path | None = None,
        providers: Sequence[Provider] = (),
    ) -> Repairs:
        """What puts a source's findings right; the line is one that keeps the same journal."""
        setting = RepairSetting(
            folder=place.folder,
            store=self.database,
            line=line,
            rules=self.rules(),
            budget=self._budget,
            share_bytes=self._budget.limit_bytes // self.settings.ingest.writers,
            retrying=self.retrying,
            offload=self._read,
            tell=self.tell,
        )
        return Repairs(place.source, setting, repair_id=repair_id, fixes=fixes, out=out, providers=providers)

    async def sweep(
        self,
        place: Place,
        line: Line,
        plan: SweepPlan,
        *,
        repairs: Repairing | None = None,
        each: Each | None = None,
    ) -> VerificationResult:
        """One sweep of a source, being its only one.

        Raises:
            NotCheckedError: another sweep was busy for ``database.lock_wait_s``.
            TransientError, PermanentError: the store failed.
        """
        sweep, database = self.settings.sweep, self.settings.database
        setting = SweepSetting(
            folder=place.folder,
            store=self.database,
            line=line,
            limits=SweepLimits(
                page_rows=sweep.page_rows,
                confirm_s=sweep.confirm_s,
                grace_s=sweep.grace_s,
                findings_kept=sweep.findings_told,
                max_file_bytes=self.settings.ingest.max_file_bytes,
            ),
            still_quarantined=self.rules().still_quarantined,
            offload=self.offload,
            read=self._read,
            budget=self._budget,
            now=_now,
            explain=differences,
        )
        async with sweep_lease(
            place.source,
            self.database,
            holder=self.holder,
            ttl_s=database.lease_ttl_s,
            wait_s=database.lock_wait_s,
        ):
            return await Sweep(place.source, setting, plan, repairs=repairs, each=each).run()

    async def open(self, *, migrate: bool) -> None:
        """Reach the store; only without a limit to patience an outage is waited out.

        Raises:
            TransientError, PermanentError: the store cannot be reached or used.
        """
        await self.database.open(migrate=migrate, wait=self._patience_s is None)

    async def claim(self, places: Iterable[Place]) -> None:
        """Make sure that the sources mean these roots on this host: needed by whoever may load.

        Raises:
            PermanentError: a source belongs to another host or root.
            TransientError: the store failed.
        """
        for place in places:
            async for attempt in self.retrying(lambda _: None):
                with attempt:
                    await self.database.register_source(place.source, _host(), encode_path(bytes(place.folder.root)))

    def _on_replaced(self) -> None:
        """Another database is behind the address: what was loaded may be missing from it."""


def longest_wait_s(settings: Settings) -> float:
    """The longest wait that is no hang: a use of the database that needs a connection first, and some grace."""
    database = settings.database
    return settings.service.stuck_s + database.commit_timeout_s + database.connect_timeout_s


def embedded_directory(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the embedded server lives, for whoever uses these settings."""
    return settings.database.embedded_dir or default_directory(environ)


def embedded_address(settings: Settings) -> str:
    """How to reach the embedded database, whoever runs it.

    Raises:
        PermanentError: there is none yet.
    """
    return describe(embedded_directory(settings), settings.database.binaries).dsn


def _embedded(settings: Settings, tell: Tell, *, create: bool) -> EmbeddedServer | None:
    if settings.database.url:
        return None
    directory = embedded_directory(settings)
    return EmbeddedServer(directory, binaries=settings.database.binaries, tell=tell, create=create)


def clock_setting(settings: Settings) -> ClockSetting:
    """What the retention clock looks for."""
    return ClockSetting(
        sources=[root.source for root in settings.watch.roots],
        retentions=[Retention(**dict(project)) for project in settings.retention.projects],
        warn_days=settings.retention.warn_days,
        now=_now,
    )


def store_options(settings: Settings) -> StoreOptions:
    """How the database of these settings is used."""
    database = settings.database
    return StoreOptions(
        schema=database.schema_,
        pgbouncer=database.pgbouncer,
        connections=database.connections,
        connect_timeout_s=database.connect_timeout_s,
        commit_timeout_s=database.commit_timeout_s,
        lock_timeout_s=database.lock_timeout_s,
    )


def place_of(root: Root) -> Place:
    """A configured root as it lies on disk."""
    return Place(root.source, Folder(root.path), file_system_of(root.path))


def _host() -> str:
    """What tells this host from others: names change and repeat, the machine id does not."""
    try:
        return _MACHINE_ID.read_text(encoding="ascii").strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def _now() -> datetime:
    return datetime.now(UTC)
