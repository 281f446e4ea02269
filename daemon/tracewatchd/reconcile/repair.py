"""Repairs that are more than reading a file again, each kept in the journal.

Run by run: what one run needs is read within the byte budget and written in one transaction, so memory is bounded by
one run's files. Runs that were rolled back and not released are left alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.ingest.commit import Retrying, Writer
from tracewatchd.ingest.inbox import Entry, Receipt
from tracewatchd.ingest.line import Offload
from tracewatchd.ingest.read import ReadBatch, ReadRules, read_batch
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.events import FixApplied, FixFailed, Tell
from tracewatchd.model.findings import Finding, Kind
from tracewatchd.model.fixes import FINDINGS_OF, FORCED, FixKind, Journal
from tracewatchd.model.layout import RunPath
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.record import Rejection
from tracewatchd.reconcile.ports import Offering, RepairStore
from tracewatchd.reconcile.restore import LATER_NS, file_of_row, put_back

_PAGE = 200

Provider: TypeAlias = Callable[[str, LedgerRow], Awaitable[bytes | None]]
"""Who may hold the original bytes of a file that is gone: is given its path and its ledger row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSetting:
    """What repairs work with; ``line`` keeps the same journal. ``share_bytes`` is what one run's files may take."""

    folder: Folder
    store: RepairStore
    line: Offering
    rules: ReadRules
    budget: ByteBudget
    share_bytes: int
    retrying: Retrying
    offload: Offload
    tell: Tell


class Repairs:
    """Puts confirmed findings of one source right, those kinds that are wanted.

    Args:
        source: whose findings they are.
        setting: what it works with.
        repair_id: under which the journal keeps what is replaced.
        fixes: what is wanted; what a sweep offers to the line by itself is no matter here.
        out: where files that are gone are written instead of their root; nothing is loaded from there.
        providers: who is asked for a file's original bytes, in this order, before it is made from its row.
    """

    def __init__(
        self,
        source: str,
        setting: RepairSetting,
        *,
        repair_id: UUID,
        fixes: Collection[FixKind],
        out: Path | None = None,
        providers: Sequence[Provider] = (),
    ) -> None:
        self._source = source
        self._set = setting
        self._repair_id = repair_id
        self._fixes = fixes
        self._out = out
        self._providers = providers

    async def offer(self, paths: Sequence[str], *, reread: bool = False) -> Receipt:
        """Put paths on the line that keeps the journal."""
        return await self._set.line.offer(paths, reread=reread)

    async def fix(self, findings: Sequence[Finding]) -> frozenset[str]:
        """Put right those of these confirmed findings that are wanted; says which paths were acted upon.

        Raises:
            TransientError: the retry policy gave up.
            PermanentError: the store's surroundings are wrong.
        """
        acted: set[str] = set()
        for page in _pages(findings):
            free = await self._without_held(page)
            acted |= await self._force(self._wanted(free, *FORCED))
            acted |= await self._read_again(self._wanted(free, FixKind.OUTDATED))
            wanted_back = self._wanted(free, FixKind.GONE)
            acted |= await self._write_again(wanted_back)
            # Whoever asks for both wants no row removed of which the file could not be written.
            left = [finding for finding in free if finding.path not in wanted_back]
            acted |= await self._forget(self._wanted(left, FixKind.GONE_ROWS))
        return frozenset(acted)

    def _wanted(self, findings: Iterable[Finding], *fixes: FixKind) -> dict[str, Finding]:
        kinds: set[Kind] = set().union(*(FINDINGS_OF[fix] for fix in fixes if fix in self._fixes))
        return {finding.path: finding for finding in findings if finding.path and finding.kind in kinds}

    async def _without_held(self, findings: Sequence[Finding]) -> list[Finding]:
        run_ids = {run_id for finding in findings if (run_id := _run_of(finding))}
        paths = {finding.path for finding in findings if finding.path}
        runs, files = await self._set.store.held(self._source, run_ids, paths)
        return [finding for finding in findings if finding.path not in files and _run_of(finding) not in runs]

    # ---- altered, mismatch

    async def _force(self, findings: Mapping[str, Finding]) -> set[str]:
        """Replace the rows of these findings' runs by what the runs' files say."""
        files = _by_run(findings.values())
        for source, row in await self._set.store.ledger_of_runs([run_id for run_id in files if run_id]):
            if source == self._source and row.run_id:
                files[row.run_id].add(row.path)
        done: set[str] = set()
        for run_id in sorted(files, key=str):
            done |= await self._force_run(run_id, sorted(files[run_id]), findings)
        self._say_applied(findings, done)
        return done

    async def _force_run(self, run_id: UUID | None, paths: Sequence[str], findings: Mapping[str, Finding]) -> set[str]:
        """Write a run's files: the first transaction takes the row away, the guard decides between the files."""
        kinds = {path: FixKind(finding.kind) for path, finding in findings.items()}
        of_run, of_others = self._writer(kinds, forced=True), self._writer(kinds, forced=False)
        written: set[str] = set()
        async with aclosing(self._read(paths)) as batches:
            async for batch in batches:
                records = [record for record in batch.records if record.run_id == run_id]
                written |= (await of_run.write(records, [])).outcomes.keys()
                # A file that was altered into another run's, or into none, is taken as it is, but forces nothing.
                strays = [record for record in batch.records if record.run_id != run_id and record.path in findings]
                refused = [rejection for rejection in _rejections(batch) if rejection.path in findings]
                written |= (await of_others.write(strays, refused)).outcomes.keys()
        return written & findings.keys()

    def _writer(self, kinds: Mapping[str, FixKind], *, forced: bool) -> Writer:
        return Writer(
            self._source,
            self._set.store,
            retrying=self._set.retrying,
            overwrite=True,
            tell=self._set.tell,
            journal=self._journal(FixKind.MISMATCH, kinds, forced=forced),
        )

    def _journal(
        self, default: FixKind, kinds: Mapping[str, FixKind] | None = None, *, forced: bool = False
    ) -> Journal:
        return Journal(repair_id=self._repair_id, default=default, kinds=kinds or {}, forced=forced)

    async def _read(self, paths: Sequence[str]) -> AsyncGenerator[ReadBatch, None]:
        """Read files, as many at once as the budget allows, and hold the budget while they are used."""
        waiting, share_bytes = [Entry(path, reread=True) for path in paths], self._set.share_bytes
        while waiting:
            async with self._set.budget.charge(share_bytes):
                read = partial(read_batch, self._set.folder, waiting, {}, self._set.rules, share_bytes)
                batch = await self._set.offload(read)
                yield batch
            waiting, share_bytes = batch.postponed, self._set.share_bytes
            if batch.too_costly:
                # It runs alone, and those behind it wait for the next turn.
                entry, share_bytes = batch.too_costly
                waiting = [entry, *waiting]

    # ---- outdated

    async def _read_again(self, findings: Mapping[str, Finding]) -> set[str]:
        if findings:
            receipt = await self._set.line.offer(list(findings), reread=True)
            await receipt.wait()
        return set(findings)

    # ---- gone

    async def _write_again(self, findings: Mapping[str, Finding]) -> set[str]:
        """Write files that are gone: from whoever has their bytes, else one for each run from its row."""
        if not findings:
            return set()
        rows = await self._set.store.ledger_rows(self._source, list(findings))
        written: set[str] = set()
        failures = _Failures(self._source, FixKind.GONE)
        for run_id, paths in sorted(_by_run(findings.values()).items(), key=lambda item: str(item[0])):
            gone = [rows[path] for path in sorted(paths) if path in rows and rows[path].state == "acknowledged"]
            with failures.of(paths):
                written |= await self._write_run(run_id, gone)
        failures.tell(self._set.tell)
        if written and self._out is None:
            receipt = await self._set.line.offer(sorted(written), reread=True)
            await receipt.wait()
        self._say_applied(findings, written)
        return written

    async def _write_run(self, run_id: UUID | None, gone: Sequence[LedgerRow]) -> set[str]:
        """Write the files of a run of which none is left."""
        if run_id is None or not gone:
            return set()
        originals = {row.path for row in gone if await self._write_original(row)}
        if originals:
            return originals
        run = await self._set.store.run(run_id)
        if run is None:
            return set()
        row = next((row for row in gone if row.file_sha256 == run.file_sha256), gone[-1])
        path = RunPath.parse(row.path)
        content = path and file_of_row(run, path)
        if content is None:
            raise PermanentError(f"{row.path}: no file becomes what its row is now", hint="see what changed the row")
        return {row.path} if await self._put(row.path, content, run.file_mtime_ns + LATER_NS) else set()

    async def _write_original(self, row: LedgerRow) -> bool:
        for provide in self._providers:
            content = await provide(row.path, row)
            if content is not None and sha256(content).digest() == row.file_sha256:
                return await self._put(row.path, content, row.stamp.mtime_ns)
        return False

    async def _put(self, path: str, content: bytes, mtime_ns: int) -> bool:
        return await self._set.offload(partial(put_back, self._set.folder, self._out, path, content, mtime_ns=mtime_ns))

    # ---- gone-rows

    async def _forget(self, findings: Mapping[str, Finding]) -> set[str]:
        """Forget files that are gone, and let what is left of their runs become the rows."""
        absent = await self._set.offload(partial(_absent, self._set.folder, list(findings)))
        if not absent:
            return set()
        run_ids = {run_id for path in absent if (run_id := _run_of(findings[path]))}
        others = [row for source, row in await self._set.store.ledger_of_runs(run_ids) if source == self._source]
        journal = self._journal(FixKind.GONE_ROWS)
        async for attempt in self._set.retrying(lambda _: None):
            with attempt:
                await self._set.store.available()
                await self._set.store.forget(self._source, absent, journal)
        left = await self._set.store.row_versions(run_ids)
        orphans = [row.path for row in others if row.path not in absent and row.run_id not in left]
        await (await self._set.line.offer(orphans, reread=True)).wait()
        self._say_applied(findings, absent, FixKind.GONE_ROWS)
        return set(absent)

    def _say_applied(self, findings: Mapping[str, Finding], done: Collection[str], fix: FixKind | None = None) -> None:
        """Tell what was done, a line for each kind."""
        counts = Counter(fix or FixKind(findings[path].kind) for path in done)
        for kind, count in sorted(counts.items()):
            self._set.tell(FixApplied(source=self._source, kind=kind, files=count, repair_id=str(self._repair_id)))


class _Failures:
    """What could not be written: the first error is told, the rest counted."""

    def __init__(self, source: str, kind: FixKind) -> None:
        self._source = source
        self._kind = kind
        self._files = 0
        self._first: PermanentError | None = None

    @contextmanager
    def of(self, paths: Collection[str]) -> Iterator[None]:
        """These files' turn."""
        try:
            yield
        except PermanentError as error:
            if error.sqlstate:
                raise  # not this file's: the store's surroundings are wrong
            self._files += len(paths)
            self._first = self._first or error

    def tell(self, tell: Tell) -> None:
        """Say what failed, if anything did."""
        if self._first:
            error = self._first
            tell(FixFailed(source=self._source, kind=self._kind, files=self._files, error=str(error), hint=error.hint))


def _pages(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """Findings in pieces of about the same size; those of one run are together, as one repair puts them all right."""
    page: list[Finding] = []
    ordered = sorted(findings, key=lambda finding: (finding.run_id or "", finding.path or ""))
    for _, of_run in groupby(ordered, key=lambda finding: finding.run_id):
        page += of_run
        if len(page) >= _PAGE:
            yield page
            page = []
    if page:
        yield page


def _run_of(finding: Finding) -> UUID | None:
    return UUID(finding.run_id) if finding.run_id else None


def _by_run(findings: Iterable[Finding]) -> defaultdict[UUID | None, set[str]]:
    paths: defaultdict[UUID | None, set[str]] = defaultdict(set)
    for finding in findings:
        if finding.path:
            paths[_run_of(finding)].add(finding.path)
    return paths


def _rejections(batch: ReadBatch) -> list[Rejection]:
    """What of a batch cannot be stored; a file that looks unfinished has stood still since the sweep's first look."""
    return batch.rejections + [each.rejection for each in batch.unsettled if each.rejection]


def _absent(folder: Folder, paths: Sequence[str]) -> list[str]:
    """Those of these paths at which there is no file."""
    absent = []
    with folder.reader() as reader:
        for path in paths:
            try:
                if RunPath.parse(path) is None or reader.stamp(path) is None:
                    absent.append(path)
            except UnreadableError:
                continue
    return absent
