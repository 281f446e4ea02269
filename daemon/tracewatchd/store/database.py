"""`TraceDatabase`: everything that tracewatchd asks of Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

import asyncpg

from tracewatchd.model.certificate import Certificate
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.events import StoreMigrated, StoreReplaced, Tell
from tracewatchd.model.findings import DayResult, Depth
from tracewatchd.model.fixes import Fix, FixImages, FixState, Journal, Rollback
from tracewatchd.model.ledger import DirectorySummary, LedgerOutline, LedgerRow, QuarantineRow, RowVersion
from tracewatchd.model.record import Reason, Rejection, TraceRecord
from tracewatchd.model.results import BatchResult
from tracewatchd.model.retention import VerifiedDay
from tracewatchd.model.traces import RunFilter, RunLine
from tracewatchd.store import queries, sweeps, traces, undo
from tracewatchd.store.commit import commit_batch
from tracewatchd.store.connect import Connection, Sessions, StoreOptions, read_committed
from tracewatchd.store.fixes import commit_journaled, forget
from tracewatchd.store.gate import Gate
from tracewatchd.store.queries import DayCount, QuarantineCount, StoredRun
from tracewatchd.store.schema import check_version, migrate, newest, version_of
from tracewatchd.store.statements import quoted, statement

P = ParamSpec("P")
T = TypeVar("T")

_PAGE_ROWS = 200
_FIRST_UUID, _LAST_UUID = UUID(int=0), UUID(int=2**128 - 1)
_LINK_STATES = ("08", "57P01", "57P02", "57P03", "53300", "25006")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatus:
    """What an operator may want to know of the database. Sizes in bytes; no estimate until Postgres has made one."""

    server: str
    database: str
    schema: str
    schema_version: int
    newest_version: int
    identity: UUID
    runs_estimated: int | None
    files_acknowledged: int
    files_quarantined: int
    size_bytes: int


class TraceDatabase:
    """Postgres, with one gate, a few connections, and a deadline for every call.

    Every method raises `TransientError`, `PermanentError`, or (commit) `PoisonError`.

    Args:
        locate: says where the database is; asked at each new attempt, so it may start a server first.
        options: how it is used.
        tell: where events go.
        name: the database as it may be shown (no password).
        patience_s: how long `available` waits; None is for ever.
        on_replaced: called when this turns out to be another database than before.
    """

    def __init__(
        self,
        locate: Callable[[], Awaitable[str]],
        options: StoreOptions,
        tell: Tell,
        *,
        name: str,
        patience_s: float | None = None,
        on_replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._schema = options.schema
        self._tell = tell
        self._patience_s = patience_s
        self._on_replaced = on_replaced
        self._migrate = False
        self._identity: UUID | None = None
        self._sessions = Sessions(locate, options, check=self._check)
        self._gate = Gate(self._sessions.reopen, database=name, tell=tell)

    # ---- reaching it

    async def open(self, *, migrate: bool, wait: bool = False) -> None:
        """Connect once, and say what failed; with ``wait``, a failure that heals is waited out.

        Raises:
            PermanentError: no connection, no tables (without ``migrate``), or tables that we cannot use.
            TransientError: not reachable now (without ``wait``).
        """
        self._migrate = migrate
        try:
            await self._sessions.reopen()
        except TransientError as error:
            if not wait:
                raise
            self._gate.shut(error)
            await self.available()

    async def close(self) -> None:
        """Give every connection back; bounded."""
        await self._gate.close()
        await self._sessions.close()

    @property
    def is_reachable(self) -> bool:
        """Whether no outage is known."""
        return self._gate.is_open

    @property
    def longest_use_s(self) -> float:
        """How long the oldest use of a connection has been under way by now; 0 without one."""
        return self._sessions.longest_use_s

    async def available(self) -> None:
        """Return when no outage is known."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._gate.passed()
        except TimeoutError:
            raise TransientError(
                f"Postgres did not come back within {self._patience_s:g} s", hint="see that it runs, then try again"
            ) from None

    async def probe(self) -> bool:
        """Whether Postgres answers right now; a no begins an outage for everyone."""
        if not self._gate.is_open:
            return False
        try:
            await self._sessions.probe()
        except TransientError as error:
            self._gate.shut(error)
            return False
        return True

    async def _check(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """What every new connection must show: our tables, in our version, in the database that we know."""
        found = await version_of(connection, self._schema)
        if found < newest() and self._migrate:
            before, now = await migrate(connection, schema=self._schema)
            if before != now:
                self._tell(StoreMigrated(before=before, now=now))
            found = now
        check_version(found, self._schema)
        identity = await connection.fetchval(f"SELECT id FROM {quoted(self._schema)}.identity")  # noqa: S608 - quoted
        before_identity, self._identity = self._identity, identity
        if before_identity not in {None, identity}:
            self._tell(StoreReplaced(before=str(before_identity), now=str(identity)))
            self._on_replaced()

    # ---- the line

    async def commit(
        self,
        source: str,
        records: Sequence[TraceRecord],
        rejections: Sequence[Rejection] = (),
        *,
        overwrite: bool = True,
        journal: Journal | None = None,
    ) -> BatchResult:
        """Write runs and ledger rows in one transaction; one attempt. With a journal, what they replace is kept."""
        write = commit_batch if journal is None else partial(commit_journaled, journal=journal)
        try:
            async with self._sessions.transaction() as connection:
                return await write(connection, self._schema, source, records, rejections, overwrite=overwrite)
        except TransientError as error:
            await self._suspect_outage(error)
            raise

    async def _suspect_outage(self, error: TransientError) -> None:
        """A broken link or silence may be an outage: one probe tells, so that nobody else has to run into it."""
        if error.sqlstate is None or error.sqlstate.startswith(_LINK_STATES):
            await self.probe()

    async def ledger_rows(self, source: str, paths: Sequence[str]) -> dict[str, LedgerRow]:
        """What the ledger holds of these paths, by path."""
        return await self._read(queries.ledger_rows, source, paths)

    # ---- sweeps

    async def ledger_directories(self, source: str) -> list[str]:
        """Every ``folder/day`` that the ledger has a path in, in byte order."""
        return (await self.ledger_outline(source)).directories

    async def ledger_outline(self, source: str) -> LedgerOutline:
        """Every ``folder/day`` that the ledger has a path in, and paths that are in none; each in byte order."""
        rows = await self._read(_fetch, "ledger_directories", source)
        return LedgerOutline(
            directories=[row["directory"] for row in rows if row["in_a_day"]],
            strays=[row["path"] for row in rows if not row["in_a_day"]],
        )

    async def directory_summary(
        self, source: str, directory: str, *, with_sha256: bool, without_told: bool
    ) -> DirectorySummary:
        """One directory's ledger rows in one answer."""
        return await self._read(
            sweeps.directory_summary, source, directory, with_sha256=with_sha256, without_told=without_told
        )

    async def runs_agree(self, summary: DirectorySummary) -> bool:
        """Whether each acknowledged file of a directory has a row of its own that came from its bytes."""
        return await self._read(sweeps.runs_agree, summary)

    async def quarantined_in(self, source: str, directory: str, limit: int) -> list[LedgerRow]:
        """The quarantined files of one directory."""
        return await self._read(sweeps.quarantined_in, source, directory, limit)

    async def known_below(self, source: str, folder: str, limit: int) -> int:
        """How many files below a folder are known and not told as gone, counted no further than the limit."""
        return await self._read(sweeps.known_below, source, folder, limit)

    async def told_gone(self, source: str, paths: Iterable[str]) -> set[str]:
        """Those of these files that were told as gone."""
        return {row["path"] for row in await self._read(_fetch, "told_gone", source, list(paths))}

    async def tell_gone(self, source: str, paths: Sequence[str]) -> None:
        """Remember that these files were told as gone."""
        await self._read(_fetch, "tell_gone", source, list(paths))

    async def untell_gone(self, source: str, paths: Sequence[str]) -> None:
        """Forget it of these."""
        await self._read(_fetch, "untell_gone", source, list(paths))

    async def source_root(self, source: str) -> tuple[int, int] | None:
        """Device and inode of a source's root when it was last swept."""
        rows = await self._read(_fetch, "source_root", source)
        return (int(rows[0]["device"]), int(rows[0]["inode"])) if rows else None

    async def remember_root(self, source: str, device: int, inode: int) -> None:
        """Remember which directory a source's root is."""
        await self._read(_fetch, "remember_root", source, str(device), str(inode))

    async def remember_days(self, source: str, depth: Depth, began_at: datetime, days: Sequence[DayResult]) -> None:
        """Note what a sweep said of project-days that it compared whole."""
        await self._read(sweeps.remember_days, source, depth, began_at, days)

    async def projects_of_runs(self, run_ids: str) -> set[str]:
        """What the projects of these runs, ids as a directory's summary has them, are called."""
        return {row["project"] for row in await self._read(_fetch, "projects_of_runs", run_ids)}

    async def run_ids_after(
        self, after: UUID, limit: int, projects: Sequence[str] | None = None, day: date | None = None
    ) -> list[UUID]:
        """The next run ids in order: of all, or of some projects and one day."""
        return await self._read(sweeps.run_ids_after, after, limit, projects, day)

    async def unexplained(self, run_ids: Iterable[UUID]) -> list[UUID]:
        """Those of these runs that no ledger row, of any source, names."""
        return [row["run_id"] for row in await self._read(_fetch, "unexplained", list(run_ids))]

    async def differing(self, records: Sequence[TraceRecord]) -> Mapping[int, tuple[str, ...]]:
        """Which of these files' rows came from the same bytes and hold something else: by position, the columns.

        Raises:
            PoisonError: a record cannot be stored, so that no row can be what it says.
        """
        return await self._read(sweeps.differing, records)

    async def runs_by_id(self, run_ids: Iterable[UUID]) -> list[StoredRun]:
        """These runs, as far as they have rows."""
        return [queries.stored_run(row) for row in await self._read(_fetch, "runs_by_id", list(run_ids))]

    async def verified_days(self, source: str) -> list[VerifiedDay]:
        """What the last sweep of each depth said of each project-day."""
        return [VerifiedDay(**row) for row in await self._read(_fetch, "verified_days", source)]

    async def certify(self, certificate: Certificate) -> None:
        """Add a certificate."""
        await self._read(sweeps.certify, certificate)

    async def certificates(self, source: str) -> dict[str, Certificate]:
        """The last certificate of each project-day, by directory."""
        return await self._read(sweeps.certificates, source)

    async def changed_after(self, source: str, since: Mapping[str, datetime]) -> frozenset[str]:
        """Those of these directories of which the ledger was written after the moment given for each."""
        return await self._read(sweeps.changed_after, source, since)

    async def ledger_page(self, source: str, directory: str, after: str, limit: int) -> list[LedgerRow]:
        """The next rows of a directory in byte order of their paths, those greater than ``after``."""
        return await self._read(queries.ledger_page, source, directory, after, limit)

    async def ledger_of_runs(self, run_ids: Iterable[UUID]) -> list[tuple[str, LedgerRow]]:
        """Every ledger row, of any source, that acknowledges one of these runs."""
        return await self._read(queries.ledger_of_runs, list(run_ids))

    async def row_versions(self, run_ids: Iterable[UUID]) -> dict[UUID, RowVersion]:
        """The versions of those of these runs that have a row."""
        return await self._read(queries.row_versions, list(run_ids))

    async def quarantined(
        self, *, source: str | None = None, reason: Reason | None = None, path: str | None = None
    ) -> AsyncIterator[QuarantineRow]:
        """Quarantined files by source and path, a page at a time."""
        after = ("", "")
        while True:
            page = await self._read(_fetch, "quarantined", *after, source, reason, path, _PAGE_ROWS)
            for row in page:
                yield queries.quarantine_row(row)
            if len(page) < _PAGE_ROWS:
                return
            after = (page[-1]["source"], page[-1]["path"])

    async def quarantined_newest(self, limit: int) -> list[QuarantineRow]:
        """The files that were quarantined last, of any source."""
        return [queries.quarantine_row(row) for row in await self._read(_fetch, "quarantined_newest", limit)]

    async def quarantine_counts(self, limit: int) -> list[QuarantineCount]:
        """How many files are quarantined, by source, project-day and reason."""
        return [QuarantineCount(**dict(row)) for row in await self._read(_fetch, "quarantine_counts", limit)]

    # ---- repairs

    async def forget(self, source: str, paths: Sequence[str], journal: Journal) -> int:
        """Remove what the ledger knows of files, and the rows that no other file acknowledges; one attempt.

        All of it is kept in the journal. Returns how many files there were.
        """
        return await self._change(forget, source, paths, journal)

    async def held(self, source: str, run_ids: Iterable[UUID], paths: Iterable[str]) -> tuple[set[UUID], set[str]]:
        """Those of these runs and paths of which a fix was rolled back and not released since."""
        return await self._read(undo.held_among, source, list(run_ids), list(paths))

    async def fixes(
        self, *, source: str | None = None, repair_id: UUID | None = None, state: FixState | None = None
    ) -> AsyncIterator[Fix]:
        """The journal, newest first, a page at a time."""
        below = undo.NEWEST
        while True:
            page = await self._read(undo.fixes_page, below, _PAGE_ROWS, source, repair_id, state)
            for fix in page:
                yield fix
            if len(page) < _PAGE_ROWS:
                return
            below = page[-1].number

    async def fix(self, fix_id: UUID) -> Fix | None:
        """One entry of the journal."""
        return await self._read(undo.fix_of, fix_id)

    async def fix_images(self, fix_id: UUID) -> FixImages | None:
        """What an entry of the journal keeps."""
        return await self._read(undo.images_of, fix_id)

    async def roll_back(self, fix_id: UUID) -> Rollback:
        """Put back exactly what a fix replaced, unless something changed since; one attempt.

        What was put back is held: sweeps report it and leave it alone until it is released.
        """
        return await self._change(undo.roll_back, fix_id)

    async def release(self, fix_id: UUID) -> Fix:
        """Let repairs have again what a rolled back fix holds; one attempt."""
        return await self._change(undo.move, fix_id, "rolled_back", "released")

    # ---- for people

    async def run(self, run_id: UUID) -> StoredRun | None:
        """One run."""
        rows = await self._read(_fetch, "run", run_id)
        return queries.stored_run(rows[0]) if rows else None

    async def trace(self, trace_id: UUID) -> list[StoredRun]:
        """A whole trace in execution order."""
        return [queries.stored_run(row) for row in await self._read(_fetch, "trace", trace_id)]

    async def runs(self, project: str, first: date, last: date) -> AsyncIterator[StoredRun]:
        """A project's runs of some days, both ends included, by day and run id; a page at a time."""
        after = _just_before(first)
        while True:
            page = await self._read(_fetch, "runs_page", project, *after, last, _PAGE_ROWS)
            for row in page:
                yield queries.stored_run(row)
            if len(page) < _PAGE_ROWS:
                return
            after = (page[-1]["run_date"], page[-1]["run_id"])

    async def newest_runs(
        self, projects: Sequence[str], first: date, last: date, chosen: RunFilter, *, limit: int
    ) -> list[RunLine]:
        """The newest runs of some projects and days, both ends included."""
        return await self._read(traces.newest, projects, (first, last), chosen, limit)

    async def trace_lines(self, trace_id: UUID, *, limit: int) -> list[RunLine]:
        """The earliest runs of a trace, without their JSON."""
        return await self._read(traces.of_trace, trace_id, limit)

    async def trace_of(self, run_id: UUID) -> UUID | None:
        """The trace of a run; None where there is no such run."""
        return await self._read(traces.trace_of, run_id)

    async def projects_in(self, directory: str) -> set[str]:
        """What the projects of the runs in a project's folder, or in ``<project folder>/<day>``, are called."""
        return await self._read(traces.projects_in, directory)

    async def project_days(self) -> list[DayCount]:
        """Counts per project and day."""
        return [DayCount(*row) for row in await self._read(_fetch, "project_days")]

    async def status(self) -> DatabaseStatus:
        """Which database this is, and how much it holds."""
        (row,) = await self._read(_fetch, "status")
        return DatabaseStatus(schema=self._schema, newest_version=newest(), **dict(row))

    # ---- leases and sources

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> str:
        """Take or renew a lease if it is free, expired or ours; returns who holds it now."""
        rows = await self._read(_fetch, "acquire_lease", name, holder, ttl_s)
        return str(rows[0]["holder"]) if rows else ""

    async def release_lease(self, name: str, holder: str) -> None:
        """Give a lease up if it is ours; one attempt, for whoever is about to leave."""
        await self._ask(_fetch, "release_lease", name, holder)

    async def leases(self) -> dict[str, str]:
        """Who holds which lease now, by the lease's name."""
        return {row["name"]: row["holder"] for row in await self._read(_fetch, "leases")}

    async def register_source(self, source: str, host: str, root: str) -> None:
        """Remember that a source lies at this root on this host.

        Raises:
            PermanentError: the name stands for another host or another root already, or the root overlaps another's.
        """
        for row in await self._read(_fetch, "sources_of_host", host):
            if row["source"] != source and _overlap(row["root"], root):
                raise PermanentError(
                    f"the root {root} overlaps {row['root']}, which the source {row['source']} stands for",
                    hint=f"watch it under the name {row['source']}, or watch roots that do not lie in each other",
                )
        ((known_host, known_root),) = await self._read(_fetch, "register_source", source, host, root)
        if known_host != host:
            raise PermanentError(
                f"the source {source} belongs to another host ({known_host})",
                hint="give this root a source of its own in watch.roots",
            )
        if known_root != root:
            raise PermanentError(
                f"the source {source} stands for {known_root}, not {root}",
                hint="give this root a source of its own in watch.roots, or watch the root that the source stands for",
            )

    async def _read(
        self, query: Callable[Concatenate[Connection, str, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The answer to a question that may be asked twice: one that meets an outage is asked again after it.

        An outage may be over before the question has failed, so it is asked once more even then.
        """
        once_more = True
        while True:
            await self.available()
            try:
                return await self._ask(query, *args, **kwargs)
            except TransientError:
                if self._gate.is_open and not once_more:
                    raise
                once_more = once_more and not self._gate.is_open

    async def _change(
        self, change: Callable[Concatenate[Connection, str, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A change in one transaction; nothing of it is content that could be refused."""

        async def committed(connection: Connection, schema: str) -> T:
            async with read_committed(connection):
                return await change(connection, schema, *args, **kwargs)

        return await self._ask(committed)

    async def _ask(
        self, query: Callable[Concatenate[Connection, str, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            async with self._sessions.use() as connection:
                return await query(connection, self._schema, *args, **kwargs)
        except TransientError as error:
            await self._suspect_outage(error)
            raise


def _just_before(day: date) -> tuple[date, UUID]:
    """The greatest (run_date, run_id) before a day; no day is before the first."""
    return (day, _FIRST_UUID) if day == date.min else (day - timedelta(days=1), _LAST_UUID)


def _overlap(root: str, other: str) -> bool:
    first, second = PurePosixPath(root), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


async def _fetch(connection: Connection, schema: str, name: str, *arguments: object) -> list[asyncpg.Record]:
    return await connection.fetch(statement(name, schema), *arguments)
