"""The second look at what a sweep doubts, the repair of what it confirms, and the findings that are left."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from uuid import UUID

from tracewatchd.edges.folder import RootIdentity, UnreadableError
from tracewatchd.model.findings import Kind
from tracewatchd.model.fixes import FINDINGS_OF
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.reconcile.compare import WORK
from tracewatchd.reconcile.examine import Examined, Examiner, Judged
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.reconcile.ports import Repairing
from tracewatchd.reconcile.reading import glimpse
from tracewatchd.reconcile.setting import SweepSetting
from tracewatchd.reconcile.tally import Tally

_DOUBTS_OPEN = 10_000


class Doubt(NamedTuple):
    """What the first look made of a path."""

    path: str
    kind: Kind


class _Look(NamedTuple):
    """A fresh look at some paths; None instead of it where the root is not the same any more."""

    examined: Examined
    stamps: Mapping[str, float]
    """When each file last changed, by its ctime."""


class Doubts:
    """What waits for its second look, at least ``confirm_s`` after the first one."""

    def __init__(
        self,
        source: str,
        setting: SweepSetting,
        plan: SweepPlan,
        *,
        examiner: Examiner,
        tally: Tally,
        repairs: Repairing | None,
    ) -> None:
        self._source = source
        self._set = setting
        self._plan = plan
        self._examiner = examiner
        self._tally = tally
        self._repairs = repairs
        self._waiting: deque[tuple[float, Sequence[Doubt]]] = deque()
        self._began_s = setting.now().timestamp()
        self.root: RootIdentity | None = None

    def wants(self, kind: Kind) -> bool:
        """Whether findings of this kind are to be put right."""
        return any(kind in FINDINGS_OF[fix] for fix in self._plan.fixes)

    async def held(self, paths: Collection[str], rows: Iterable[LedgerRow | None]) -> Held:
        """Which of these paths and their runs a rolled back fix holds."""
        runs = {row.run_id for row in rows if row and row.run_id}
        return Held(*await self._set.store.held(self._source, runs, paths)) if paths else Held(set(), set())

    async def add(self, doubts: Sequence[Doubt]) -> None:
        """Doubt these; of very many the first are settled at once."""
        if doubts:
            self._waiting.append((_clock() + self._set.limits.confirm_s, doubts))
            await self.settle(_DOUBTS_OPEN)

    async def settle(self, left_open: int = 0) -> None:
        """Look again, until no more than so many doubts are open."""
        while sum(len(doubts) for _, doubts in self._waiting) > left_open:
            due, doubts = self._waiting.popleft()
            await asyncio.sleep(max(0.0, due - _clock()))
            for start in range(0, len(doubts), self._set.limits.page_rows):
                await self._look_again(dict(doubts[start : start + self._set.limits.page_rows]))

    async def _look_again(self, doubts: Mapping[str, Kind]) -> None:
        """A fresh stat, ledger row and row for each, and its bytes; only what says the same is a finding."""
        look = await self._look(list(doubts))
        if look is None:
            days = {path.rpartition("/")[0] for path in doubts}
            self._tally.not_checked(f"{self._set.folder.root}: another directory, or none, since the sweep began", days)
            return
        for path, cause in look.examined.unreadable.items():
            self._tally.unreadable_file(path, cause)
        confirmed = {
            path: one
            for path, one in look.examined.judged.items()
            if one.kind is doubts[path] and not self._is_young(one.kind, look.stamps.get(path))
        }
        for path, one in look.examined.judged.items():
            if path not in confirmed:
                self._count(path, one)
        await self._conclude(confirmed)

    async def _look(self, paths: Sequence[str]) -> _Look | None:
        looks = await self._set.offload(partial(glimpse, self._set.folder, paths))
        if not await self._set.offload(self._is_same_root):
            return None
        rows = await self._set.store.ledger_rows(self._source, [path for path in paths if path not in looks.unreadable])
        examined = await self._examiner.examine(looks.seen, rows, explaining=True)
        examined.unreadable |= looks.unreadable
        return _Look(examined, {path: seen.stamp.ctime_ns / 1e9 for path, seen in looks.seen.items()})

    def _is_same_root(self) -> bool:
        try:
            return self._set.folder.identity() == self.root
        except UnreadableError:
            return False

    def _is_young(self, kind: Kind | None, changed_s: float | None) -> bool:
        """Whether a difference is work in progress: the file changed after the sweep began, or within ``grace_s``."""
        if kind not in WORK or changed_s is None:
            return False
        now_s = self._set.now().timestamp()
        # abs: a file from a host whose clock runs ahead would stay young until then.
        return abs(now_s - changed_s) < max(self._set.limits.grace_s, now_s - self._began_s)

    def _count(self, path: str, judged: Judged) -> None:
        if judged.state:
            self._tally.count(path, judged.state, judged.kind)

    async def _conclude(self, confirmed: Mapping[str, Judged]) -> None:
        """Put right what is wanted, and tell the rest."""
        held = await self.held(confirmed, [one.row for one in confirmed.values()])
        free = [path for path, one in confirmed.items() if self.wants_now(one) and not held.has(path, one.row)]
        left = dict(confirmed)
        if self._plan.dry_run:
            self._tally.result.fixed.update(kind for path in free if (kind := confirmed[path].kind))
        elif free and self._repairs:
            left |= await self._repaired({path: confirmed[path] for path in free}, self._repairs)
        for path, one in left.items():
            self._count(path, one)
            if one.kind:
                if one.state is None:
                    self._tally.name(path, one.kind)
                self._tally.found(replace(one.finding(path), held=held.has(path, one.row)))
        await self._tell_gone([path for path, one in left.items() if one.kind is Kind.GONE])

    def wants_now(self, judged: Judged) -> bool:
        """Whether a confirmed finding is to be put right here: what the line could not put right, it could not."""
        return judged.kind is not None and self.wants(judged.kind) and (self._plan.dry_run or judged.kind not in WORK)

    async def _repaired(self, wanted: Mapping[str, Judged], repairs: Repairing) -> Mapping[str, Judged]:
        """What these paths are after the repair; those that are nowhere any more say nothing."""
        acted = await repairs.fix([one.finding(path) for path, one in wanted.items()])
        look = await self._look(list(wanted)) if acted else None
        if look is None:
            return wanted
        nowhere = Judged(None, None, None)
        after = {path: look.examined.judged.get(path, nowhere) for path in wanted}
        for path, cause in look.examined.unreadable.items():
            self._tally.unreadable_file(path, cause)
        self._tally.result.fixed.update(
            kind for path, one in wanted.items() if (kind := one.kind) and after[path].kind is not kind
        )
        return after

    async def _tell_gone(self, paths: Sequence[str]) -> None:
        if paths and not self._plan.dry_run:
            await self._set.store.tell_gone(self._source, paths)


class Held(NamedTuple):
    """Runs and paths of which a fix was rolled back."""

    runs: Collection[UUID]
    paths: Collection[str]

    def has(self, path: str, row: LedgerRow | None) -> bool:
        """Whether a path, or the run that its ledger row names, is held."""
        return path in self.paths or (row is not None and row.run_id in self.runs)


def _clock() -> float:
    return asyncio.get_running_loop().time()
