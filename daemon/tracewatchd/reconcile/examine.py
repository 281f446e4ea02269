"""Looking at paths as deeply as a sweep is asked to: stamps, ledger and rows; bytes; and what the bytes become."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from uuid import UUID

from tracewatchd.model.errors import PoisonError
from tracewatchd.model.findings import FACTS, Difference, FileState, Finding, Kind
from tracewatchd.model.layout import RunPath
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import RULES, TraceRecord
from tracewatchd.model.stamp import Seen
from tracewatchd.reconcile.compare import Known, doubtful, is_set_back, is_touched, judge
from tracewatchd.reconcile.explain import differences_of
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.reconcile.reading import Looks, ReadingBatch, batches, glimpse, read
from tracewatchd.reconcile.setting import SweepSetting
from tracewatchd.store.queries import StoredRun

_BATCHES_OPEN = 3
_FROM_THE_PATH = frozenset({"project", "run_date", "trace_date"})
"""Columns that may come from a file's folders where the file itself does not say."""
_EXPLAINED = frozenset({Kind.MISMATCH, Kind.ALTERED, Kind.STALE})


class Judged(NamedTuple):
    """Where one path stands. ``state`` is None where there is no file; ``is_touched`` says that it wants restamping."""

    kind: Kind | None
    state: FileState | None
    row: LedgerRow | None
    is_touched: bool = False
    detail: str = ""
    differences: tuple[Difference, ...] = ()

    def finding(self, path: str) -> Finding:
        """What is to be told of it."""
        assert self.kind  # noqa: S101 - asked only of those that have one
        run_id = str(self.row.run_id) if self.row and self.row.run_id else None
        meaning = FACTS[self.kind].meaning
        detail = f"{meaning}: {self.detail}" if self.detail else meaning
        return Finding(self.kind, path, detail, run_id, differences=self.differences)


@dataclass(slots=True)
class Examined:
    """Some paths, judged; what could not be read, and what is too large to be read."""

    judged: dict[str, Judged] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


class Examiner:
    """Judges paths of one source at the depth of a plan."""

    def __init__(self, source: str, setting: SweepSetting, plan: SweepPlan) -> None:
        self._source = source
        self._set = setting
        self._depth = plan.depth
        # One at a time: readers take the interpreter from each other, and the server has what to do meanwhile.
        self._reading = asyncio.Lock()
        self._open = asyncio.Semaphore(_BATCHES_OPEN)
        self._explained_left = setting.limits.findings_kept if plan.detailed else 0

    async def examine(
        self, seen: Mapping[str, Seen], rows: Mapping[str, LedgerRow], *, explaining: bool = False
    ) -> Examined:
        """Judge every path that was seen or has a ledger row."""
        found = Examined()
        known = await self._known(rows.values(), seen.__contains__)
        sizes = {path: one.stamp.size_bytes for path, one in seen.items() if self._is_to_be_read(one, rows.get(path))}
        for path in seen.keys() | rows.keys():
            if path not in sizes:
                found.judged[path] = self._judged(seen.get(path), rows.get(path), known)
                if self._depth != "quick" and path in seen and not seen[path].sha256 and _is_loaded(rows.get(path)):
                    found.unread.append(path)
        await _all(self._examine_batch(batch, rows, known, found, explaining=explaining) for batch in batches(sizes))
        found.judged = dict(sorted(found.judged.items()))
        return found

    def _is_to_be_read(self, seen: Seen, row: LedgerRow | None) -> bool:
        if self._depth == "quick" or row is None or seen.sha256:
            return False
        return seen.stamp.size_bytes <= self._set.limits.max_file_bytes

    async def _known(self, rows: Iterable[LedgerRow], on_disk: Callable[[str], bool]) -> Known:
        rows = [row for row in rows if row.state == "acknowledged"]
        if not rows:
            return Known({})
        versions = await self._set.store.row_versions({row.run_id for row in rows if row.run_id})
        asked = doubtful(rows, versions, on_disk)
        if not asked:
            return Known(versions)
        acknowledging = await self._set.store.ledger_of_runs(asked)
        own = [row for source, row in acknowledging if source == self._source]
        looks = await self._set.offload(partial(glimpse, self._set.folder, [row.path for row in own]))
        return Known(
            versions,
            acknowledged=_held(row for _, row in acknowledging),
            live=_held(row for row in own if (seen := looks.seen.get(row.path)) and seen.stamp == row.stamp),
        )

    def _judged(self, seen: Seen | None, row: LedgerRow | None, known: Known) -> Judged:
        judged = judge(seen, row, known, self._set.still_quarantined)
        touched = bool(seen and row and is_touched(seen, row))
        if isinstance(judged, Kind):
            return Judged(judged, FileState.PENDING if seen else None, row, touched)
        return Judged(None, judged, row, touched)

    # ---- bytes

    async def _examine_batch(
        self, batch: ReadingBatch, rows: Mapping[str, LedgerRow], known: Known, found: Examined, *, explaining: bool
    ) -> None:
        async with self._open, self._set.budget.charge(batch.share_bytes):
            async with self._reading:
                limit_bytes, deep = self._set.limits.max_file_bytes, self._depth == "deep"
                looks = await self._set.read(partial(read, self._set.folder, batch, limit_bytes, decoded=deep))
            judged = {
                path: self._judged(looks.seen.get(path), rows[path], known)
                for path in batch.paths
                if path not in looks.unreadable and path not in looks.costly
            }
            if deep:
                await self._compare(looks, judged, known)
                if explaining:
                    await self._explain(looks, judged)
        found.judged |= judged
        found.unreadable |= looks.unreadable
        for path, cost_bytes in looks.costly.items():
            await self._examine_batch(ReadingBatch((path,), cost_bytes), rows, known, found, explaining=explaining)

    # ---- what the bytes become

    async def _compare(self, looks: Looks, judged: dict[str, Judged], known: Known) -> None:
        records = {
            path: record
            for path, record in looks.decoded.items()
            if isinstance(record, TraceRecord) and _is_told_by_its_row(judged[path], record)
        }
        loaded = [path for path in records if judged[path].state is FileState.LOADED]
        differing = await self._differing([records[path] for path in loaded])
        columns = {loaded[number]: names for number, names in differing.items()}
        columns = await self._unexcused(_without_touches(columns, judged), records)
        for path, one in judged.items():
            if one.kind is None and one.state in {FileState.LOADED, FileState.SUPERSEDED}:
                judged[path] = _deeply(path, one, records.get(path), columns.get(path, ()), known)

    async def _differing(self, records: Sequence[TraceRecord]) -> Mapping[int, tuple[str, ...]]:
        """By position, the columns in which a row is not what its file says; what cannot be stored differs in all."""
        if not records:
            return {}
        try:
            return await self._set.store.differing(records)
        except PoisonError as error:
            if len(records) == 1:
                return {0: (error.place or "data",)}
        half = len(records) // 2
        later = await self._differing(records[half:])
        return {**await self._differing(records[:half]), **{number + half: names for number, names in later.items()}}

    async def _unexcused(
        self, columns: dict[str, tuple[str, ...]], records: Mapping[str, TraceRecord]
    ) -> dict[str, tuple[str, ...]]:
        """Without files that say nothing of what differs, and of which a copy in another folder became the row."""
        suspects = {path: records[path] for path, names in columns.items() if _FROM_THE_PATH.issuperset(names)}
        if not suspects:
            return columns
        run_ids = {record.run_id for record in suspects.values()}
        stored = {run.run_id: run for run in await self._set.store.runs_by_id(run_ids)}
        copies = [row for _, row in await self._set.store.ledger_of_runs(run_ids)]
        return {
            path: names
            for path, names in columns.items()
            if path not in suspects or not _is_from_a_copy(suspects[path], names, stored, copies)
        }

    async def _explain(self, looks: Looks, judged: dict[str, Judged]) -> None:
        """Say where files and rows differ, of as many as are kept."""
        explain = self._set.explain
        records = {
            path: record
            for path, one in judged.items()
            if one.kind in _EXPLAINED and isinstance(record := looks.decoded.get(path), TraceRecord)
        }
        chosen = sorted(records)[: self._explained_left]
        if not chosen or explain is None:
            return
        self._explained_left -= len(chosen)
        stored = {run.run_id: run for run in await self._set.store.runs_by_id(records[path].run_id for path in chosen)}
        for path in chosen:
            if run := stored.get(records[path].run_id):
                places = await self._set.offload(partial(differences_of, records[path], run, explain))
                judged[path] = judged[path]._replace(differences=places)


def _is_told_by_its_row(judged: Judged, record: TraceRecord) -> bool:
    return judged.kind is None and judged.row is not None and judged.row.run_id == record.run_id


def _without_touches(
    columns: Mapping[str, tuple[str, ...]], judged: Mapping[str, Judged]
) -> dict[str, tuple[str, ...]]:
    """Without the mtime of files that were touched: their rows are behind until the line restamps them."""
    left = {
        path: tuple(name for name in names if name != "file_mtime_ns" or not judged[path].is_touched)
        for path, names in columns.items()
    }
    return {path: names for path, names in left.items() if names}


def _deeply(path: str, one: Judged, record: TraceRecord | None, columns: tuple[str, ...], known: Known) -> Judged:
    """What a loaded or superseded file is called when it is known what it becomes."""
    version = known.versions.get(one.row.run_id) if one.row and one.row.run_id else None
    if record is None or version is None:
        return one._replace(kind=Kind.MISMATCH, state=FileState.PENDING, detail="the file becomes another run, or none")
    if columns:
        return one._replace(kind=Kind.MISMATCH, state=FileState.PENDING, detail=f"they differ in {', '.join(columns)}")
    if one.state is FileState.SUPERSEDED and is_set_back(version, record.version):
        return one._replace(kind=Kind.MISMATCH, state=FileState.PENDING, detail="the row is an older version")
    parsed = RunPath.parse(path)
    if parsed and parsed.day != record.run_date:
        return one._replace(kind=Kind.MISPLACED, detail=f"its run is of {record.run_date}")
    if version.rules < RULES:
        return one._replace(kind=Kind.OUTDATED, detail=f"by rules {version.rules}, now {RULES}")
    return one


def _is_from_a_copy(
    record: TraceRecord, names: Iterable[str], stored: Mapping[UUID, StoredRun], copies: Iterable[LedgerRow]
) -> bool:
    run = stored.get(record.run_id)
    paths = [RunPath.parse(row.path) for row in copies if row.file_sha256 == record.file_sha256]
    return run is not None and any(path and _says(run, names, path) for path in paths)


def _says(run: StoredRun, names: Iterable[str], path: RunPath) -> bool:
    """Whether the row says in these columns what a file at that path would give it."""
    given = {"project": path.project, "run_date": path.day, "trace_date": path.day}
    return all(getattr(run, name) == given[name] for name in names)


def _is_loaded(row: LedgerRow | None) -> bool:
    return row is not None and row.state == "acknowledged"


def _held(rows: Iterable[LedgerRow]) -> set[tuple[UUID, bytes]]:
    return {(row.run_id, row.file_sha256) for row in rows if row.run_id and row.file_sha256}


async def _all(jobs: Iterable[Awaitable[None]]) -> None:
    """Do all of them; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
