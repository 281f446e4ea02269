"""One sweep over a source: every directory against its ledger rows and their runs.

A directory of which nothing differs is compared as a whole, by fingerprint; any other one page by page, and every file
of it where bytes must be compared with rows. Memory is bounded by one directory's names. What the line can put right
is offered to it; the rest becomes a finding when a second look, at least ``confirm_s`` later, says the same again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from heapq import merge
from itertools import groupby
from uuid import UUID

from tracewatchd.edges.folder import Outline, RootIdentity, UnreadableError
from tracewatchd.ingest.inbox import Receipt
from tracewatchd.model.findings import FACTS, FileState, Finding, Kind, VerificationResult
from tracewatchd.model.ledger import LedgerOutline, LedgerRow
from tracewatchd.model.results import Outcome
from tracewatchd.model.selection import EVERYTHING
from tracewatchd.model.stamp import Seen
from tracewatchd.reconcile.compare import STATE_AFTER, WORK
from tracewatchd.reconcile.doubts import Doubt, Doubts
from tracewatchd.reconcile.examine import Examined, Examiner, Judged
from tracewatchd.reconcile.foreign import all_foreign, foreign_of_day, still_foreign
from tracewatchd.reconcile.glance import Glance, Glancer, leaves_out_told
from tracewatchd.reconcile.plan import Each, SweepPlan
from tracewatchd.reconcile.ports import Offering, Repairing
from tracewatchd.reconcile.roots import SHRUNK_BY_AT_LEAST, RootWatch, below
from tracewatchd.reconcile.setting import SweepSetting
from tracewatchd.reconcile.tally import Tally

_RECEIPTS_OPEN = 8
_DAYS_AT_ONCE = 1_000


class Sweep:
    """One sweep of a source, as planned.

    Args:
        source: what is swept.
        setting: what it works with.
        plan: how deep it looks, at what, and what it may put right.
        repairs: puts right what is more than new and changed files, and keeps what it replaces.
        each: is told every path.
    """

    def __init__(
        self,
        source: str,
        setting: SweepSetting,
        plan: SweepPlan,
        *,
        repairs: Repairing | None = None,
        each: Each | None = None,
    ) -> None:
        self._source = source
        self._set = setting
        self._plan = plan
        self._began_at = setting.now()
        kept = setting.limits.findings_kept
        self._tally = Tally(source, plan, findings_kept=kept, began_at=self._began_at, each=each)
        self._fixing: Offering = repairs or setting.line
        self._examiner = Examiner(source, setting, plan)
        self._doubts = Doubts(source, setting, plan, examiner=self._examiner, tally=self._tally, repairs=repairs)
        self._root = RootWatch(
            source, setting.folder, setting.store, accepted=plan.accept_gone, may_write=not plan.dry_run
        )
        self._glancer = Glancer(source, setting, plan, without_told=leaves_out_told(plan) and each is None)
        self._receipts: deque[tuple[Receipt, list[Doubt]]] = deque()
        self._foreign: list[tuple[str, UUID]] = []
        self._looked_at: list[str] = []
        self._read_bytes = 0
        self._ends_s: float | None = None

    async def run(self) -> VerificationResult:
        """Compare everything once.

        Raises:
            TransientError, PermanentError: the store failed; nothing that was not compared counts as compared.
        """
        started = _clock()
        self._ends_s = None if self._plan.budget_s is None else started + self._plan.budget_s
        try:
            identity = await self._set.offload(self._set.folder.identity)
            outline = await self._set.offload(self._set.folder.outline)
        except UnreadableError as error:
            self._tally.not_checked(f"{error.path}: {error.cause}")
        else:
            await self._sweep(identity, outline)
        return self._tally.finish(_clock() - started)

    async def _sweep(self, identity: RootIdentity, outline: Outline) -> None:
        self._doubts.root = identity
        self._tally.result.ignored = outline.ignored
        remembered = await self._set.store.ledger_outline(self._source)
        distrust = await self._root.distrust(identity, outline, remembered.directories)
        if distrust:
            self._tally.not_checked(distrust)
            return
        await self._compare(outline, remembered)
        await self._finish_receipts(0)
        await self._doubts.settle()
        await self._confirm_foreign()
        await self._remember_days()

    async def _compare(self, outline: Outline, remembered: LedgerOutline) -> None:
        closed = await self._closed_projects(outline, remembered)
        directories = [
            directory
            for directory in _distinct(outline.directories, remembered.directories)
            if self._plan.selection.covers(directory) and directory.partition("/")[0] not in closed
        ]
        glances = self._glancer.ahead(await self._in_turn(directories), go_on=self._has_budget)
        async with aclosing(glances):
            async for glance in glances:
                await self._directory(glance)
        if self._is_everything:
            await self._strays(remembered.strays)
            await self._look_for_foreign()

    @property
    def _is_everything(self) -> bool:
        """Whether the sweep is of the whole source, at once."""
        plan = self._plan
        return plan.selection == EVERYTHING and plan.budget_s is None and plan.budget_bytes is None

    async def _closed_projects(self, outline: Outline, remembered: LedgerOutline) -> set[str]:
        """Project folders of which nothing can be said, told as that."""
        unreadable = {
            project: cause
            for project, cause in outline.unreadable.items()
            if self._plan.selection.folder in {None, project}
        }
        for project, cause in unreadable.items():
            self._tally.closed(project, cause, below(project, remembered.directories))
        emptied = await self._root.emptied(outline, list(filter(self._plan.selection.covers, remembered.directories)))
        for project, sentence in emptied.items():
            self._tally.not_checked(sentence, below(project, remembered.directories))
        return {*unreadable, *emptied}

    async def _in_turn(self, directories: Sequence[str]) -> Sequence[str]:
        """Directories in the order in which they are looked at."""
        if not self._plan.oldest_first:
            return directories
        days = await self._set.store.verified_days(self._source)
        verified = {day.directory: day.verified_at.timestamp() for day in days if day.depth == self._plan.depth}
        return sorted(directories, key=lambda directory: (verified.get(directory, 0.0), directory))

    def _has_budget(self) -> bool:
        if self._ends_s is not None and self._looked_at and _clock() >= self._ends_s:
            return False
        limit_bytes = self._plan.budget_bytes
        return limit_bytes is None or not self._read_bytes or self._read_bytes < limit_bytes

    # ---- one directory

    async def _directory(self, glance: Glance) -> None:
        survey, directory = glance.survey, glance.survey.directory
        self._tally.day(directory)
        self._looked_at.append(directory)
        if glance.closed:
            self._tally.closed(glance.closed.path, glance.closed.cause, [directory])
            return
        self._tally.result.directories += survey.exists
        self._tally.result.ignored += survey.ignored
        self._read_bytes += survey.read_bytes
        if glance.is_same and glance.summary.quarantined <= self._set.limits.page_rows:
            await self._same(glance)
        else:
            await self._compare_files(glance)
        if self._looks_for_foreign and not self._is_everything:
            found = await foreign_of_day(self._set.store, directory, glance.summary.run_ids)
            self._foreign += [(directory, run_id) for run_id in found]

    async def _same(self, glance: Glance) -> None:
        """Everything is loaded but what is in quarantine, which is judged one by one."""
        survey = glance.survey
        rows: dict[str, LedgerRow] = {}
        if glance.summary.quarantined:
            limit = self._set.limits.page_rows
            found = await self._set.store.quarantined_in(self._source, survey.directory, limit)
            rows = {row.path: row for row in found}
        seen = survey.seen() if rows else {}
        rows = {path: row for path, row in rows.items() if path in seen}
        paths = (path for path in survey.paths() if path not in rows)
        self._tally.same(survey.directory, len(survey.names) - len(rows), paths)
        if rows:
            await self._page({path: seen[path] for path in rows}, rows)

    async def _compare_files(self, glance: Glance) -> None:
        survey, directory = glance.survey, glance.survey.directory
        for path, cause in survey.unreadable.items():
            self._tally.count(path, FileState.UNREADABLE)
            self._tally.closed(path, cause, [directory])
        absent: list[Doubt] = []
        known = 0
        async for seen, rows in self._pages(directory, survey.seen()):
            readable = {path: row for path, row in rows.items() if path not in survey.unreadable}
            left, told = await self._page(seen, readable)
            known += len(rows) - told
            absent += left
        if survey.exists and _has_shrunk(len(absent), known) and not self._root.accepts(directory):
            sentence = f"{directory}: {len(absent)} of {known} files are missing from it at once"
            self._tally.not_checked(sentence, [directory])
        else:
            await self._doubts.add(absent)

    async def _pages(
        self, directory: str, files: Mapping[str, Seen]
    ) -> AsyncIterator[tuple[Mapping[str, Seen], Mapping[str, LedgerRow]]]:
        """The directory's files and ledger rows side by side, a page of ledger rows at a time."""
        paths = list(files)
        position, after, limit = 0, "", self._set.limits.page_rows
        while True:
            rows = await self._set.store.ledger_page(self._source, directory, after, limit)
            last = len(rows) < limit
            after = "" if last else rows[-1].path
            end = len(paths) if last else bisect_right(paths, after)
            yield {path: files[path] for path in paths[position:end]}, {row.path: row for row in rows}
            if last:
                return
            position = end

    async def _page(self, seen: Mapping[str, Seen], rows: Mapping[str, LedgerRow]) -> tuple[list[Doubt], int]:
        """Judge some paths: counts states, offers work, doubts the rest.

        Returns files that are nowhere any more, and how many others were told as gone before.
        """
        examined = await self._examiner.examine(seen, rows)
        self._say_unread(examined)
        told = await self._told(seen, rows)
        work: dict[str, Judged] = {}
        doubts: list[Doubt] = []
        absent: list[Doubt] = []
        for path, judged in examined.judged.items():
            if path in told and judged.kind is not Kind.LOST:
                self._tally.name(path, Kind.GONE)
            elif self._is_work(path, judged, seen):
                work[path] = judged
            elif judged.kind:
                (doubts if path in seen or judged.kind is Kind.MOVED else absent).append(Doubt(path, judged.kind))
            elif judged.state:
                self._tally.count(path, judged.state)
        await self._doubts.add(doubts)
        await self._offer(work)
        return absent, len(told)

    async def _told(self, seen: Mapping[str, Seen], rows: Mapping[str, LedgerRow]) -> set[str]:
        """Files that are not there and were told as gone; what has come back is forgotten."""
        told = await self._set.store.told_gone(self._source, rows) if rows else set()
        back = [path for path in told if path in seen]
        if back and not self._plan.dry_run:
            await self._set.store.untell_gone(self._source, back)
        return told - seen.keys() if leaves_out_told(self._plan) else set()

    def _say_unread(self, examined: Examined) -> None:
        for path, cause in examined.unreadable.items():
            self._tally.unreadable_file(path, cause)
        limit = self._set.limits.max_file_bytes
        for path in examined.unread:
            sentence = f"{path}: larger than ingest.max_file_bytes ({limit}), so it was not read"
            self._tally.not_checked(sentence, [path.rpartition("/")[0]])

    # ---- the line

    def _is_work(self, path: str, judged: Judged, seen: Mapping[str, Seen]) -> bool:
        kind = Kind.STALE if judged.is_touched else judged.kind
        return kind in WORK and path in seen and not self._plan.dry_run and self._doubts.wants(kind)

    async def _offer(self, work: Mapping[str, Judged]) -> None:
        held = await self._doubts.held(work, [one.row for one in work.values()])
        free = [Doubt(path, one.kind or Kind.STALE) for path, one in work.items() if not held.has(path, one.row)]
        await self._doubts.add(
            [Doubt(path, one.kind) for path, one in work.items() if one.kind and held.has(path, one.row)]
        )
        for path, one in work.items():
            if not one.kind and one.state and held.has(path, one.row):
                self._tally.count(path, one.state)
        await self._put_on(self._set.line, [doubt for doubt in free if doubt.kind is not Kind.ORPHAN])
        await self._put_on(self._fixing, [doubt for doubt in free if doubt.kind is Kind.ORPHAN])
        await self._finish_receipts(_RECEIPTS_OPEN)

    async def _put_on(self, line: Offering, work: list[Doubt]) -> None:
        if work:
            # Whatever the ledger said a moment ago made these work: the line need not ask it again.
            receipt = await line.offer([path for path, _ in work], reread=True)
            self._receipts.append((receipt, work))

    async def _finish_receipts(self, left_open: int) -> None:
        while len(self._receipts) > left_open:
            receipt, work = self._receipts.popleft()
            outcomes = await receipt.wait()
            self._tally.result.outcomes.update(outcomes[path] for path, _ in work)
            await self._doubts.add([doubt for one in work for doubt in self._after(one, outcomes[one.path])])

    def _after(self, work: Doubt, outcome: Outcome) -> Iterable[Doubt]:
        """What is still to be doubted of a path that the line has dealt with."""
        state = STATE_AFTER.get(outcome)
        if state is FileState.PENDING:
            return [work]
        if outcome not in {Outcome.UNCHANGED, Outcome.ALREADY_LOADED} or work.kind is not Kind.STALE:
            self._tally.result.fixed[work.kind] += state in {FileState.LOADED, FileState.SUPERSEDED}
        if state is FileState.SUPERSEDED:
            # Nothing may explain the newer row any more: this file's ledger row could have been the last that did.
            return [Doubt(work.path, Kind.MISMATCH)]
        if state is FileState.UNREADABLE:
            self._tally.unreadable_file(work.path, FACTS[Kind.UNREADABLE].meaning)
        elif state:
            self._tally.count(work.path, state)
        return []

    # ---- what no directory holds

    async def _strays(self, paths: Sequence[str]) -> None:
        """Ledger rows at paths where no run file can be."""
        limit = self._set.limits.page_rows
        for start in range(0, len(paths), limit):
            rows = await self._set.store.ledger_rows(self._source, paths[start : start + limit])
            absent, _ = await self._page({}, rows)
            await self._doubts.add(absent)

    @property
    def _looks_for_foreign(self) -> bool:
        return self._plan.depth != "quick"

    async def _look_for_foreign(self) -> None:
        if self._looks_for_foreign and self._plan.foreign:
            self._foreign += [("", run_id) for run_id in await all_foreign(self._set.store)]

    async def _confirm_foreign(self) -> None:
        """Look at rows that no file explains once more."""
        if not self._foreign:
            return
        await asyncio.sleep(self._set.limits.confirm_s)
        days = {run_id: directory for directory, run_id in self._foreign}
        for run_id in await still_foreign(self._set.store, list(days)):
            self._tally.name(str(run_id), Kind.FOREIGN)
            meaning = FACTS[Kind.FOREIGN].meaning
            self._tally.found(Finding(Kind.FOREIGN, None, meaning, str(run_id)), days[run_id] or None)

    async def _remember_days(self) -> None:
        """Note what was said of each project-day; one that could not be checked has had its turn, too."""
        days = [self._tally.day(directory) for directory in self._looked_at]
        if not self._plan.dry_run:
            for start in range(0, len(days), _DAYS_AT_ONCE):
                part = days[start : start + _DAYS_AT_ONCE]
                await self._set.store.remember_days(self._source, self._plan.depth, self._began_at, part)


def _has_shrunk(absent: int, known: int) -> bool:
    return absent >= SHRUNK_BY_AT_LEAST and absent * 2 > known


def _distinct(*sorted_directories: Iterable[str]) -> Iterable[str]:
    return (directory for directory, _ in groupby(merge(*sorted_directories)))


def _clock() -> float:
    return asyncio.get_running_loop().time()
