"""The journal of repairs: each writes what it replaces into ``fixes`` in its own transaction.

Order of locks, as everywhere: rows of ``runs`` by run id, then ledger rows by path. An entry is begun with the row's
before-image, made on the server, when the row is locked, and finished last. Its id follows from what is written, so
that a replay after a lost answer finds it and does nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from uuid import UUID, uuid4, uuid5

import msgspec

from tracewatchd.model.errors import TransientError
from tracewatchd.model.fixes import FixKind, Journal
from tracewatchd.model.ledger import LedgerRow, RowVersion
from tracewatchd.model.record import Rejection, TraceRecord
from tracewatchd.model.results import BatchResult, Outcome
from tracewatchd.store.commit import acknowledge, judge, write_runs
from tracewatchd.store.connect import Connection
from tracewatchd.store.queries import ledger_of_runs, ledger_rows, row_versions
from tracewatchd.store.statements import statement

_KINDS = list(FixKind)


def changed_meanwhile() -> TransientError:
    """A row came or went between two statements of a transaction that must not miss it: do it all again."""
    return TransientError("somebody else wrote the same row meanwhile", sqlstate="40001")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What one fix is about: everything that is written of one run, or of one file whose run is not known."""

    fix_id: UUID
    kind: FixKind
    run_id: UUID | None
    about_row: bool
    paths: tuple[str, ...]
    records: tuple[TraceRecord, ...] = ()
    rejections: tuple[Rejection, ...] = ()


@dataclass(slots=True)
class _Done:
    """What a commit has done so far: the entries that it began, and what the rows were before."""

    begun: list[_Entry] = field(default_factory=list)
    before: dict[UUID, bytes] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    retry: list[str] = field(default_factory=list)


async def commit_journaled(
    connection: Connection,
    schema: str,
    source: str,
    records: Sequence[TraceRecord],
    rejections: Sequence[Rejection],
    *,
    overwrite: bool,
    journal: Journal,
) -> BatchResult:
    """What `commit_batch` does, with before- and after-images of every row and ledger row that it writes."""
    work = _Work(connection, schema, source, journal)
    entries = _entries(source, records, rejections, journal)
    there = (await row_versions(connection, schema, {record.run_id for record in records})).keys()
    done = _Done()
    # Rows that are there are locked before they are written and others by being written, so that a batch with both is
    # written in pieces: else its locks would not be in order of run id.
    for has_row, piece in groupby(entries, key=lambda entry: entry.about_row and entry.run_id in there):
        await work.write(list(piece), done, has_row=has_row, overwrite=overwrite)
    known = await work.lock_ledger(done.begun)
    records = [record for entry in done.begun for record in entry.records]
    rejections = [rejection for entry in done.begun for rejection in entry.rejections]
    written = BatchResult(done.outcomes, tuple(done.retry))
    result = await acknowledge(connection, schema, source, records, rejections, written)
    await work.require_own(done.begun, known)
    await work.finish(done.begun, done.before)
    return result


async def forget(connection: Connection, schema: str, source: str, paths: Sequence[str], journal: Journal) -> int:
    """Remove the ledger rows of these paths, and the rows whose bytes no other file acknowledges; says how many paths.

    A quarantined file's run is left alone: its row is another file's.
    """
    work = _Work(connection, schema, source, journal)
    first = await ledger_rows(connection, schema, source, paths)
    before = await work.lock_runs(run_id for row in first.values() if (run_id := _acknowledged(row)))
    # What was written of a path between the two looks is the path's again, and stays.
    again = await ledger_rows(connection, schema, source, paths)
    ledger = {path: row for path, row in again.items() if first.get(path) == row}
    begun, _ = await work.begin(_forgotten(ledger.values(), journal), before)
    await work.remove_runs(await work.unacknowledged(before, ledger))
    await work.lock_ledger(begun)
    gone = await connection.fetch(statement("remove_ledger", schema), source, list(ledger))
    await work.finish(begun, before)
    return len(gone)


class _Work:
    """The statements of one transaction that keeps a journal."""

    def __init__(self, connection: Connection, schema: str, source: str, journal: Journal) -> None:
        self._connection = connection
        self._schema = schema
        self._source = source
        self._journal = journal

    async def write(self, piece: Sequence[_Entry], done: _Done, *, has_row: bool, overwrite: bool) -> None:
        """Begin entries, all of which are about a row that is there, or none, and write their runs."""
        run_ids = {entry.run_id for entry in piece if entry.run_id and has_row}
        before = await self.lock_runs(run_ids)
        if before.keys() != run_ids:
            raise changed_meanwhile()
        begun, said = await self.begin(piece, before)
        records = [record for entry in begun for record in entry.records]
        if self._journal.forced:
            await self.remove_runs(await self.unexplained(records, before))
        written = await write_runs(self._connection, self._schema, records, overwrite=overwrite)
        _require_inserted(records, before, written.outcomes)
        done.begun += begun
        done.before |= before
        done.outcomes |= {**said, **written.outcomes}
        done.retry += written.retry

    async def lock_runs(self, run_ids: Iterable[UUID]) -> dict[UUID, bytes]:
        """Lock those of these runs that have a row, and say what their rows are."""
        sql = statement("fix_lock_run", self._schema)
        locked = [run_id for run_id in sorted(set(run_ids)) if await self._connection.fetch(sql, run_id)]
        return await digests(self._connection, self._schema, locked)

    async def begin(
        self, entries: Sequence[_Entry], before: Mapping[UUID, bytes]
    ) -> tuple[list[_Entry], dict[str, Outcome]]:
        """Begin entries; says which, and the outcomes of files that the same repair has written and that stand."""
        begun = await self._insert(entries, before)
        again = [entry for entry in entries if entry.fix_id not in begun]
        said = await self._standing(again) if again else {}
        anew = [replace(entry, fix_id=uuid4()) for entry in again if not said.keys() >= set(entry.paths)]
        await self._insert(anew, before)
        done = {path for entry in again for path in entry.paths} - {path for entry in anew for path in entry.paths}
        entries = [entry for entry in entries if entry.fix_id in begun] + anew
        return entries, {path: outcome for path, outcome in said.items() if path in done}

    async def _insert(self, entries: Sequence[_Entry], before: Mapping[UUID, bytes]) -> set[UUID]:
        bare = [
            {"fix_id": entry.fix_id, "kind": entry.kind, "run_id": entry.run_id, "paths": entry.paths}
            for entry in entries
            if entry.run_id not in before
        ]
        sql = statement("fix_begin", self._schema)
        about = self._journal.repair_id, self._source
        begun = await self._connection.fetch(sql, msgspec.json.encode(bare), *about) if bare else []
        sql = statement("fix_begin_with_row", self._schema)
        for entry in entries:
            if entry.run_id in before:
                begun += await self._connection.fetch(
                    sql,
                    entry.fix_id,
                    *about,
                    entry.kind,
                    entry.run_id,
                    list(entry.paths),
                )
        return {row["fix_id"] for row in begun}

    async def _standing(self, entries: Sequence[_Entry]) -> dict[str, Outcome]:
        """The files of entries that were made before of which rows and ledger still say what was written then."""
        records = [record for entry in entries for record in entry.records]
        stored = await row_versions(self._connection, self._schema, {record.run_id for record in records})
        paths = [path for entry in entries for path in entry.paths]
        ledger = await ledger_rows(self._connection, self._schema, self._source, paths)
        judged = judge(records, stored, overwrite=True)
        standing = {
            record.path: judged[record.path]
            for record in records
            if record.path in judged and _tells(ledger.get(record.path), record)
        }
        refused = [rejection for entry in entries for rejection in entry.rejections]
        return standing | {
            rejection.path: Outcome.QUARANTINED
            for rejection in refused
            if _tells(ledger.get(rejection.path), rejection)
        }

    async def unexplained(self, records: Sequence[TraceRecord], before: Mapping[UUID, bytes]) -> list[UUID]:
        """Of the runs that have a row, those whose row no file but these accounts for: it may be replaced by force.

        What a producer wrote since these files were read is explained, and the ordinary guard decides about it.
        """
        by_run: defaultdict[UUID, list[TraceRecord]] = defaultdict(list)
        for record in records:
            by_run[record.run_id].append(record)
        run_ids = [run_id for run_id in by_run if run_id in before]
        stored = await row_versions(self._connection, self._schema, run_ids)
        ledger = await ledger_of_runs(self._connection, self._schema, run_ids)
        return [run_id for run_id in run_ids if not self._explains(ledger, stored[run_id], by_run[run_id])]

    def _explains(
        self, ledger: Iterable[tuple[str, LedgerRow]], stored: RowVersion, records: Sequence[TraceRecord]
    ) -> bool:
        if stored.version.sha256 in {record.file_sha256 for record in records}:
            return False
        ours = {(self._source, record.path, record.stamp) for record in records}
        return any(
            row.run_id == stored.run_id
            and row.file_sha256 == stored.version.sha256
            and (source, row.path, row.stamp) not in ours
            for source, row in ledger
        )

    async def unacknowledged(self, before: Mapping[UUID, bytes], forgotten: Mapping[str, LedgerRow]) -> list[UUID]:
        """Of these runs, those that lose their row with these files: no other file acknowledges its bytes."""
        losing = {run_id for row in forgotten.values() if (run_id := _acknowledged(row))} & before.keys()
        stored = await row_versions(self._connection, self._schema, losing)
        kept = {
            row.run_id
            for source, row in await ledger_of_runs(self._connection, self._schema, losing)
            if row.run_id in stored and row.file_sha256 == stored[row.run_id].version.sha256
            if source != self._source or row.path not in forgotten
        }
        return [run_id for run_id in losing if run_id not in kept]

    async def remove_runs(self, run_ids: Sequence[UUID]) -> None:
        """Remove rows that are locked already."""
        if run_ids:
            await self._connection.execute(statement("remove_runs", self._schema), run_ids)

    async def lock_ledger(self, entries: Sequence[_Entry]) -> set[str]:
        """Lock the ledger rows of the entries and keep them; says which paths have one."""
        paths = [path for entry in entries for path in entry.paths]
        known = await self._connection.fetch(statement("fix_lock_ledger", self._schema), self._source, paths)
        ids = [entry.fix_id for entry in entries]
        await self._connection.execute(statement("fix_ledger_before", self._schema), ids)
        return {row["path"] for row in known}

    async def require_own(self, entries: Sequence[_Entry], known: set[str]) -> None:
        """See that ledger rows that were not there before were inserted by us."""
        new = [path for entry in entries for path in entry.paths if path not in known]
        if await self._connection.fetch(statement("fix_foreign_paths", self._schema), self._source, new):
            raise changed_meanwhile()

    async def finish(self, entries: Sequence[_Entry], before: Mapping[UUID, bytes]) -> None:
        """Keep the after-images; entries by which nothing changed are dropped."""
        runs = {entry.run_id for entry in entries if entry.run_id}
        after = await digests(self._connection, self._schema, runs)
        ids = [entry.fix_id for entry in entries]
        is_row = [entry.run_id if entry.about_row else None for entry in entries]
        now = [after.get(run_id) if run_id else None for run_id in is_row]
        was = [before.get(run_id) if run_id else None for run_id in is_row]
        touched = [first != last for first, last in zip(was, now, strict=True)]
        await self._connection.execute(statement("fix_finish", self._schema), ids, touched, now)
        await self._connection.execute(statement("fix_drop_empty", self._schema), ids)


async def digests(connection: Connection, schema: str, run_ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """What the rows of these runs are, as a digest over all columns."""
    rows = await connection.fetch(statement("fix_digests", schema), list(run_ids))
    return {row["run_id"]: row["digest"] for row in rows}


def _entries(
    source: str, records: Iterable[TraceRecord], rejections: Iterable[Rejection], journal: Journal
) -> list[_Entry]:
    """What is written, by run, in the order in which it is written."""
    files: defaultdict[UUID | str, list[TraceRecord | Rejection]] = defaultdict(list)
    written: list[TraceRecord | Rejection] = [*records, *rejections]
    for file in written:
        files[file.run_id or file.path].append(file)
    return [_entry(source, key, files[key], journal) for key in sorted(files, key=str)]


def _entry(source: str, key: UUID | str, files: Sequence[TraceRecord | Rejection], journal: Journal) -> _Entry:
    files = sorted(files, key=lambda file: file.path)
    paths = tuple(file.path for file in files)
    records = tuple(file for file in files if isinstance(file, TraceRecord))
    # The line may have written the same file, in vain, in the same repair: to force it is another fix.
    how = "forced" if journal.forced else "guarded"
    return _Entry(
        fix_id=uuid5(journal.repair_id, "\n".join([source, str(key), how, *map(_as_written, files)])),
        kind=_kind(paths, journal),
        run_id=key if isinstance(key, UUID) else None,
        about_row=bool(records),
        paths=paths,
        records=records,
        rejections=tuple(file for file in files if isinstance(file, Rejection)),
    )


def _as_written(file: TraceRecord | Rejection) -> str:
    sha256 = file.file_sha256.hex() if file.file_sha256 else ""
    reason = file.reason if isinstance(file, Rejection) else "stored"
    return f"{file.path} {sha256} {file.stamp.mtime_ns} {file.stamp.ctime_ns} {reason}"


def _forgotten(rows: Iterable[LedgerRow], journal: Journal) -> list[_Entry]:
    """One entry for the files of a run, one for each quarantined file."""
    paths: defaultdict[tuple[str, UUID | None], list[str]] = defaultdict(list)
    for row in rows:
        run_id = _acknowledged(row)
        paths[str(run_id or row.path), run_id].append(row.path)
    return [
        _Entry(
            fix_id=uuid4(),
            kind=_kind(found, journal),
            run_id=run_id,
            about_row=run_id is not None,
            paths=tuple(sorted(found)),
        )
        for (_, run_id), found in sorted(paths.items(), key=lambda item: item[0][0])
    ]


def _kind(paths: Iterable[str], journal: Journal) -> FixKind:
    """What a fix of these files is called: by the worst of them."""
    return max((journal.kinds.get(path, journal.default) for path in paths), key=_KINDS.index)


def _acknowledged(row: LedgerRow) -> UUID | None:
    """The run whose row a ledger row stands for."""
    return row.run_id if row.state == "acknowledged" else None


def _tells(row: LedgerRow | None, file: TraceRecord | Rejection) -> bool:
    """Whether the ledger says of a file what writing it makes it say."""
    if row is None or row.stamp != file.stamp or row.file_sha256 != file.file_sha256:
        return False
    return row.reason == (file.reason if isinstance(file, Rejection) else None)


def _require_inserted(
    records: Iterable[TraceRecord], before: Mapping[UUID, bytes], outcomes: Mapping[str, Outcome]
) -> None:
    """See that rows that were not there before were inserted by us: else there was one that no entry holds."""
    new = {record.run_id for record in records} - before.keys()
    inserted = {record.run_id for record in records if outcomes.get(record.path) is Outcome.LOADED}
    if new - inserted:
        raise changed_meanwhile()
