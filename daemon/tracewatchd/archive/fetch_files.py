"""The files of one day's fetch: which are written, which are left alone, which wait for their feedback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple, TypeVar

from msgspec import Raw

from tracewatchd.archive.fetch_feedback import Feedback
from tracewatchd.edges.day_folder import DayFolder
from tracewatchd.edges.writing import remove_leftovers
from tracewatchd.model.errors import ConfigError, PoisonError
from tracewatchd.model.fetching import BadRun, Fate, FetchResult
from tracewatchd.model.upstream import Draft, StoredRun, UpstreamRun, bad_run, read_run

_WRITERS = 8
"""Files that are written at the same time: each waits for the disk, which takes many waits at once as one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OLDER_NS = 2_000_000_000
"""How much older a file is whose feedback is still to come: more than any file system rounds away."""

T = TypeVar("T")
R = TypeVar("R")

_LISTED = 1_000
"""Bad runs of a day that are listed with what came; further ones without."""


class _Placed(NamedTuple):
    """What became of a run's file, and the feedback that is in it; None where that is not known."""

    fate: Fate
    records: bytes | None


class Files:
    """Puts runs into files. Calls block: they belong in a thread.

    Args:
        folder: the day's directory.
        project: the project's name in LangSmith.
        day: the UTC day.
        extracted_at: the time of this fetch.
        feedback: what is known of the runs' feedback.
    """

    def __init__(
        self, folder: DayFolder, project: str, day: date, *, extracted_at: datetime, feedback: Feedback
    ) -> None:
        self._folder = folder
        self._project = project
        self._day = day
        self._extracted_at = extracted_at
        self._feedback = feedback
        self._seen: set[str] = set()
        self._bad: dict[str, BadRun] = {}
        self._bad_changed = True
        self._owed: dict[str, Fate | None] = {}
        self.result = FetchResult(days=1)

    @property
    def count(self) -> int:
        """Run files that the day has."""
        return self._folder.count

    @property
    def owed(self) -> tuple[str, ...]:
        """Runs whose feedback is still to come; their files say so."""
        return tuple(self._owed)

    def begin(self) -> None:
        """See that no file of the folder is of another project, and remove what a killed fetch left half written.

        Raises:
            ConfigError: one is.
            TransientError, PermanentError: the folder cannot be looked at.
        """
        remove_leftovers(self._folder.path)
        if found := self._folder.foreign(self._project):
            raise ConfigError(
                f"{found[0]} is of the project {found[1]!r}: {self._project!r} would share a folder with it",
                hint="Name another folder for one of them in retention.projects, or move its files.",
            )

    def go_on(self, owed: Iterable[str]) -> None:
        """Take up what an interrupted fetch left: its list of bad runs, and the feedback that it was still to get."""
        self._bad = {bad.run_id: bad for bad in self._folder.errors()}
        self._owed.update(dict.fromkeys(owed))

    def accept(self, page: Iterable[bytes | Raw]) -> list[UpstreamRun]:
        """The runs of a page that belong to the day and were not there before; bad ones go to the day's list."""
        runs = []
        for body in page:
            try:
                run = read_run(body)
            except PoisonError as error:
                self._list(bad_run(bytes(body), str(error)))
                continue
            if run.run_id not in self._seen and run.start.astimezone(UTC).date() == self._day:
                self._seen.add(run.run_id)
                runs.append(run)
        return runs

    def place(self, runs: Iterable[UpstreamRun]) -> None:
        """Write these runs, as far as their files do not say the same already, and the list of bad ones.

        Raises:
            ConfigError: a file is of another project.
            TransientError, PermanentError: it cannot be written.
        """
        for run, placed in _together(lambda run: (run, self._place(run)), runs):
            self.result.count(placed.fate)
            self.result.pending += run.pending
            if placed.records is None:
                self._owed[run.run_id] = placed.fate
            else:
                self._count_feedback(placed.records)
        if self._bad_changed:
            self._folder.put_errors(list(self._bad.values()))
            self._bad_changed = False
        self.result.errors = len(self._bad)

    def complete(self) -> None:
        """Put feedback that has come by now into the files that wait for it.

        Raises:
            TransientError, PermanentError: it cannot be written.
        """
        ready = filter(self._feedback.knows, self.owed)
        for run_id, placed in _together(lambda run_id: (run_id, self._complete(run_id)), ready):
            self._count_completed(self._owed.pop(run_id), placed)

    def give_up_feedback(self) -> None:
        """What feedback has not come by now does not come any more."""
        self.result.feedback_not_fetched += len(self._owed)

    def _place(self, run: UpstreamRun) -> _Placed:
        records = self._feedback.take(run.run_id) if run.has_feedback else b"[]"
        old = self._stored(run.run_id)
        return _Placed(self._put(Draft(run.run_id, bytes(run.body), records), run.file_name, old), records)

    def _complete(self, run_id: str) -> _Placed:
        """No records where the file has been removed since."""
        records = self._feedback.take(run_id)
        old = self._stored(run_id)
        if old is None:
            return _Placed("unchanged", None)
        return _Placed(self._put(Draft(run_id, old.run, records), "", old), records)

    def _count_completed(self, before: Fate | None, placed: _Placed) -> None:
        """A run counts once: by what became of its file in the end."""
        if placed.records is None:  # the next fetch writes it anew
            return
        self._count_feedback(placed.records)
        if before is None:
            self.result.count(placed.fate)
        elif (before, placed.fate) == ("unchanged", "replaced"):
            self.result.count("unchanged", -1)
            self.result.count("replaced")

    def _stored(self, run_id: str) -> StoredRun | None:
        old = self._folder.stored(run_id)
        if old and old.project not in {None, self._project}:
            raise ConfigError(
                f"the run {run_id} lies in {self._folder.path} as one of the project {old.project!r}",
                hint=f"Look how it came there; it is not replaced by a run of {self._project!r}.",
            )
        return old

    def _mtime_ns(self, draft: Draft) -> int:
        """A file's age is that of its extraction, so that the same fetch gives the same zip.

        Two files of one extraction differ in their feedback alone: the one that lacks it must be the older version.
        """
        at_ns = (self._extracted_at - _EPOCH) // _MICROSECOND * 1_000
        return at_ns - (_OLDER_NS if draft.records is None else 0)

    def _put(self, draft: Draft, name: str, old: StoredRun | None) -> Fate:
        content = draft.content(old, project=self._project, extracted_at=self._extracted_at)
        if content is None:
            return "unchanged"
        self._folder.put(draft.run_id, name, content, mtime_ns=self._mtime_ns(draft))
        return "written" if old is None else "replaced"

    def _count_feedback(self, records: bytes) -> None:
        if records == b"[]":
            self.result.feedback_empty += 1
        else:
            self.result.feedback_fetched += 1

    def _list(self, bad: BadRun) -> None:
        if len(self._bad) >= _LISTED:
            bad = BadRun(bad.run_id, bad.error, "")
        if self._bad.get(bad.run_id) != bad:
            self._bad[bad.run_id] = bad
            self._bad_changed = True


def _together(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="fetch") as pool:
        return list(pool.map(work, items))
