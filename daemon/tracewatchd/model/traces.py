"""What people are shown of runs: lines of a list, and the tree of a trace."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

_Number = TypeVar("_Number", int, Decimal)

GUIDES = 16
"""Levels of a tree that are drawn at most before a line; a run may lie thousands deep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """What is shown of one run. Times are aware (UTC); ``error`` is the beginning of what a failed run said."""

    run_id: UUID
    trace_id: UUID
    parent_run_id: UUID | None
    project: str
    run_date: date
    name: str | None
    run_type: str | None
    status: str | None
    start_time: datetime | None
    end_time: datetime | None
    total_tokens: int | None
    total_cost: Decimal | None
    error: str | None

    @property
    def duration_s(self) -> float | None:
        """How long the run took, in seconds; None while it has no end."""
        if self.start_time is None or self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are meant; None leaves a condition out.

    ``name`` is looked for anywhere in a run's name, ``text`` anywhere in its whole JSON, in either case of letters.
    """

    status: str | None = None
    run_type: str | None = None
    name: str | None = None
    min_latency_s: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLine:
    """One line of a tree: a run, or (``run`` is None) a parent that runs name but that is not there itself.

    ``depth`` counts the lines above it in its branch. ``last`` says of the line and of those above it, the nearest
    `GUIDES` of them, whether each is the last below its parent. ``hidden`` counts the runs below it that are left out.
    """

    run_id: UUID
    run: RunLine | None
    depth: int
    last: tuple[bool, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class TraceTotals:
    """What a trace took as a whole.

    Tokens and cost are those of its root, where the root says them (it counts everything below itself), else the sum
    over its calls of language models: adding up every run would count a call again with each of its ancestors.
    """

    runs: int
    errors: int
    missing_parents: int
    start_time: datetime | None
    end_time: datetime | None
    tokens: int | None
    cost: Decimal | None


def totals(trace_id: UUID, runs: Sequence[RunLine]) -> TraceTotals:
    """Sum up the runs of a trace."""
    there = {run.run_id for run in runs}
    by_weight = [
        [run for run in runs if run.run_id == trace_id],
        [run for run in runs if run.run_type == "llm"],
    ]
    return TraceTotals(
        runs=len(runs),
        errors=sum(run.status == "error" for run in runs),
        missing_parents=len({run.parent_run_id for run in runs if run.parent_run_id} - there),
        start_time=min((run.start_time for run in runs if run.start_time), default=None),
        end_time=max((run.end_time for run in runs if run.end_time), default=None),
        tokens=_first_told([run.total_tokens for run in some] for some in by_weight),
        cost=_first_told([run.total_cost for run in some] for some in by_weight),
    )


def _first_told(choices: Iterable[Sequence[_Number | None]]) -> _Number | None:
    """The sum of the first of these in which any value is known."""
    for values in choices:
        known = [value for value in values if value is not None]
        if known:
            return sum(known[1:], known[0])
    return None


def tree(runs: Sequence[RunLine], *, limit: int, focus: UUID | None = None) -> list[TreeLine]:
    """The tree of a trace, a parent before its children, siblings in the order in which they are given.

    Every run is in it once, whatever its parents are: one that is not there gets a line of its own, and a circle of
    parents is cut where it is met first.

    Args:
        runs: the runs of one trace.
        limit: lines at most, taken level by level from the root on, so that the upper levels are whole; then those that
            hang on parents that are not there.
        focus: a run that is shown, with everything above it, even beyond the limit.
    """
    grown = _Grown(runs)
    shown = grown.above(focus) if focus else set()
    for run_id in grown.by_level:
        if len(shown) >= limit:
            break
        shown.add(run_id)
    return list(grown.lines(shown))


class _Grown:
    """Who is whose child, and in which order they are met level by level."""

    def __init__(self, runs: Sequence[RunLine]) -> None:
        self._runs = {run.run_id: run for run in runs}
        self._children: Mapping[UUID, list[UUID]] = defaultdict(list)
        self._parents: dict[UUID, UUID] = {}
        self._tops: list[UUID] = []
        self.by_level: list[UUID] = []
        named: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for run in runs:
            if run.parent_run_id:
                named[run.parent_run_id].append(run.run_id)
        seen: set[UUID] = set()
        for top in self._possible_tops(runs, named):
            self._grow(top, named, seen)
        self._sizes = self._sized()

    def _possible_tops(self, runs: Sequence[RunLine], named: Iterable[UUID]) -> Iterator[UUID]:
        """Roots, then parents that are not there, then every run: those not met by then hang on a circle."""
        yield from [run.run_id for run in runs if run.parent_run_id is None]
        yield from [parent for parent in named if parent not in self._runs]
        yield from self._runs

    def _grow(self, top: UUID, named: Mapping[UUID, Sequence[UUID]], seen: set[UUID]) -> None:
        """Take in everything below a top that was not met before."""
        if top in seen:
            return
        seen.add(top)
        self._tops.append(top)
        waiting = deque([top])
        while waiting:
            parent = waiting.popleft()
            self.by_level.append(parent)
            children = [child for child in named.get(parent, ()) if child not in seen]
            seen.update(children)
            self._children[parent].extend(children)
            self._parents.update(dict.fromkeys(children, parent))
            waiting.extend(children)

    def _sized(self) -> Counter[UUID]:
        """How many runs there are from each line on downwards."""
        sizes: Counter[UUID] = Counter()
        for run_id in reversed(self.by_level):
            sizes[run_id] = (run_id in self._runs) + sum(sizes[child] for child in self._children[run_id])
        return sizes

    def above(self, run_id: UUID) -> set[UUID]:
        """A run and everything above it."""
        line = {run_id} & self._sizes.keys()
        while run_id in self._parents:
            run_id = self._parents[run_id]
            line.add(run_id)
        return line

    def lines(self, shown: set[UUID]) -> Iterator[TreeLine]:
        """The lines that are shown, each before what is below it."""
        waiting = [(top, 0, ()) for top in reversed(self._tops) if top in shown]
        stack: list[tuple[UUID, int, tuple[bool, ...]]] = list(waiting)
        while stack:
            run_id, depth, last = stack.pop()
            children = [child for child in self._children[run_id] if child in shown]
            hidden = sum(self._sizes[child] for child in self._children[run_id] if child not in shown)
            yield TreeLine(run_id=run_id, run=self._runs.get(run_id), depth=depth, last=last, hidden=hidden)
            ends = [(child, child == children[-1] and not hidden) for child in children]
            stack += [(child, depth + 1, (*last, end)[-GUIDES:]) for child, end in reversed(ends)]
