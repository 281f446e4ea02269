"""What LangSmith holds, in memory: projects, runs, feedback, attachments."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from langsmith_forms import TENANT_ID, Run, feedback_form, moment_of, start_of, stats_of, v1_form

Key = tuple[datetime, str]
"""The order of runs: start (of a run without start_time, that in its dotted_order), then id."""


@dataclass(frozen=True)
class Attachment:
    """A file that was sent with a run."""

    data: bytes
    mime_type: str


@dataclass(frozen=True)
class Held:
    """One run as it is held: its v1 form as JSON, and the fields that are searched by."""

    key: Key
    fields: Run
    encoded: bytes
    spoiled: bytes | None = None
    """Sent in the place of this run's JSON, whatever it is."""

    @property
    def run(self) -> Run:
        """The run in its v1 form, read anew."""
        run: Run = msgspec.json.decode(self.encoded)
        return run


@dataclass
class Project:
    """A tracing project ("session") and its runs."""

    name: str
    project_id: str
    runs: dict[str, Held] = field(default_factory=dict)
    _ordered: list[Held] = field(default_factory=list)
    _is_ordered: bool = True

    def put(self, held: Held) -> None:
        """Take in a run; a run of the same id is replaced."""
        self.runs[held.key[1]] = held
        self._is_ordered = False

    def drop(self, run_id: str) -> None:
        """Forget a run."""
        del self.runs[run_id]
        self._is_ordered = False

    def ordered(self) -> list[Held]:
        """All runs, oldest first."""
        if not self._is_ordered:
            self._ordered = sorted(self.runs.values(), key=_key)
            self._is_ordered = True
        return self._ordered

    def first_start(self) -> datetime:
        """When the earliest run started."""
        return self.ordered()[0].key[0] if self.runs else datetime(2026, 1, 1, tzinfo=UTC)


class Page(NamedTuple):
    """Some runs, and the key after which the next page begins; None at the end."""

    runs: list[Held]
    last: Key | None


class Upstream:
    """The content of one LangSmith workspace; may be changed while a server answers from it."""

    def __init__(self, tenant_id: str = TENANT_ID) -> None:
        self.tenant_id = tenant_id
        self.projects: dict[str, Project] = {}
        self.feedback: dict[str, list[Run]] = {}
        self.attachments: dict[str, dict[str, Attachment]] = {}
        self.lock = threading.RLock()

    def add_project(self, name: str, project_id: str | None = None) -> str:
        """Make a project, unless there is one of this name; returns its id."""
        made = project_id or str(uuid5(NAMESPACE_URL, f"project:{name}"))
        return self.projects.setdefault(name, Project(name, made)).project_id

    def add_runs(self, project: str, runs: Iterable[Mapping[str, Any]]) -> None:
        """Take in runs in the v1 form or as files hold them; their ``feedback_records`` become feedback.

        A run whose id is known replaces it, as a pending run that ends does. What the API never answers (see
        `v1_form`) is left out, and ``session_id`` becomes this project's.
        """
        project_id = self.add_project(project)
        with self.lock:
            for given in runs:
                self._put(self.projects[project], v1_form(given, project_id))
                for feedback in given.get("feedback_records") or ():
                    self.add_feedback(str(given["id"]), feedback)

    def add_feedback(self, run_id: str, feedback: Mapping[str, Any]) -> None:
        """Give a run feedback, by at least ``{"key": ...}``; its feedback_stats are computed from all it has."""
        with self.lock:
            project, held = self._find(run_id)
            given = self.feedback.setdefault(run_id, [])
            given.append(feedback_form(feedback, held.run, len(given)))
            self._put(project, held.run)

    def add_attachment(self, run_id: str, name: str, data: bytes, mime_type: str = "text/plain") -> None:
        """Attach a file to a run."""
        with self.lock:
            self._find(run_id)
            self.attachments.setdefault(run_id, {})[name] = Attachment(data, mime_type)

    def spoil(self, run_id: str, text: bytes) -> None:
        """From now on send this text where the JSON of the run belongs, in lists too."""
        with self.lock:
            project, held = self._find(run_id)
            project.put(Held(held.key, held.fields, held.encoded, text))

    def forget(self, run_ids: Iterable[str]) -> None:
        """Delete runs and their feedback, as retention does."""
        with self.lock:
            for run_id in list(run_ids):
                project, _ = self._find(run_id)
                project.drop(run_id)
                self.feedback.pop(run_id, None)
                self.attachments.pop(run_id, None)

    def find(self, run_id: str) -> tuple[Project, Held] | None:
        """The run of this id, and its project."""
        for project in self.projects.values():
            if run_id in project.runs:
                return project, project.runs[run_id]
        return None

    def run(self, run_id: str) -> Run:
        """The run of this id in its v1 form."""
        return self._find(run_id)[1].run

    def runs(self, project: str) -> list[Run]:
        """All runs of a project in their v1 form, newest first."""
        with self.lock:
            return [held.run for held in reversed(self.projects[project].ordered())]

    def page(
        self,
        projects: Iterable[Project],
        bounds: Iterable[tuple[str, datetime]],
        wanted: Callable[[Held], bool],
        *,
        limit: int,
        after: Key | None = None,
        newest_first: bool = True,
    ) -> Page:
        """The first runs behind a key that lie within bounds (pairs such as ``("gte", moment)``) and are wanted."""
        with self.lock:
            ordered = _ordered_runs(projects)
            low, high = _span(ordered, bounds)
            if after is not None and newest_first:
                high = min(high, bisect_left(ordered, after, key=_key))
            elif after is not None:
                low = max(low, bisect_right(ordered, after, key=_key))
            places = range(high - 1, low - 1, -1) if newest_first else range(low, high)
            found = list(_first(map(ordered.__getitem__, places), wanted, limit + 1))
        return Page(found[:limit], found[limit - 1].key if len(found) > limit else None)

    def _find(self, run_id: str) -> tuple[Project, Held]:
        found = self.find(run_id)
        assert found is not None, f"there is no run {run_id}"
        return found

    def _put(self, project: Project, run: Run) -> None:
        known = project.runs.get(run["id"])
        stats = stats_of(self.feedback.get(run["id"], ())) or run["feedback_stats"]
        project.put(_held(run | {"feedback_stats": stats}, known.spoiled if known else None))


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _key(held: Held) -> Key:
    return held.key


def _ordered_runs(projects: Iterable[Project]) -> list[Held]:
    lists = [project.ordered() for project in projects]
    return lists[0] if len(lists) == 1 else sorted((held for one in lists for held in one), key=_key)


def _span(ordered: list[Held], bounds: Iterable[tuple[str, datetime]]) -> tuple[int, int]:
    """Where runs begin and end whose start keeps every bound."""
    low, high = 0, len(ordered)
    for name, moment in bounds:
        if name in {"gte", "eq"}:
            low = max(low, bisect_left(ordered, moment, key=_start))
        if name == "gt":
            low = max(low, bisect_right(ordered, moment, key=_start))
        if name in {"lte", "eq"}:
            high = min(high, bisect_right(ordered, moment, key=_start))
        if name == "lt":
            high = min(high, bisect_left(ordered, moment, key=_start))
    return low, high


def _start(held: Held) -> datetime:
    return held.key[0]


def _first(runs: Iterable[Held], wanted: Callable[[Held], bool], count: int) -> Iterable[Held]:
    for held in runs:
        if wanted(held):
            yield held
            count -= 1
            if not count:
                return


def _held(run: Run, spoiled: bytes | None) -> Held:
    names = ("id", "name", "run_type", "status", "trace_id", "parent_run_id", "error", "tags")
    fields = {name: run.get(name) for name in names}
    start = start_of(run)
    fields |= {"start_time": start, "end_time": moment_of(run["end_time"]), "is_root": run["parent_run_id"] is None}
    return Held((start, run["id"]), fields, msgspec.json.encode(run), spoiled)
