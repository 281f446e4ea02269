"""Writing a batch: retried while the world heals, halved while its content is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tenacity import AsyncRetrying, RetryCallState

from tracewatchd.ingest.ports import LineStore
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.events import BatchHalved, BatchRetried, Tell
from tracewatchd.model.fixes import Journal
from tracewatchd.model.record import Reason, Rejection, TraceRecord
from tracewatchd.model.refusal import place_of_refusal
from tracewatchd.model.results import BatchResult, Outcome

_LONE_RECORD_STRIKES = 3
_PLACE_SOUGHT_BYTES = 1 << 20  # looking through more would hold up everyone for too long

Retrying = Callable[[Callable[[RetryCallState], None]], AsyncRetrying]
"""Makes the policy for what usually heals; it is given what to call before each wait."""


class KeepsFailingError(PoisonError):
    """A record whose transient error repeats although the store answers."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one transaction is to write."""

    records: tuple[TraceRecord, ...]
    rejections: tuple[Rejection, ...] = ()

    def halves(self) -> tuple[Part, Part]:
        """Two parts of about the same size; rejections cannot be refused, so they go with either."""
        middle = (len(self.records) + 1) // 2
        return Part(self.records[:middle], self.rejections), Part(self.records[middle:])


@dataclass(slots=True)
class Written:
    """What became of a batch, over all its transactions."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    retry: list[str] = field(default_factory=list)
    rejected: list[tuple[Rejection, str | None]] = field(default_factory=list)

    def add(self, result: BatchResult) -> None:
        """Count one committed transaction."""
        self.outcomes.update(result.outcomes)
        self.retry.extend(result.retry)


class Writer:
    """Writes batches of one source; with a journal, each may be undone.

    A forced journal forces once: what a first transaction wrote of a run, a later one, of a half or of more of its
    files, must not remove. So a writer with one writes the files of one run.
    """

    def __init__(
        self,
        source: str,
        store: LineStore,
        *,
        retrying: Retrying,
        overwrite: bool,
        tell: Tell,
        journal: Journal | None = None,
    ) -> None:
        self._source = source
        self._store = store
        self._retrying = retrying
        self._overwrite = overwrite
        self._tell = tell
        self._journal = journal

    async def write(self, records: list[TraceRecord], rejections: list[Rejection]) -> Written:
        """Commit everything that can be stored and quarantine the rest.

        Raises:
            TransientError: the policy gave up.
            PermanentError: the store's surroundings are wrong.
        """
        written = Written(rejected=[(rejection, None) for rejection in rejections])
        parts = [Part(tuple(records), tuple(rejections))] if records or rejections else []
        while parts:
            part = parts.pop()
            try:
                written.add(await self._commit(part))
                if part.records and self._journal and self._journal.forced:
                    self._journal = replace(self._journal, forced=False)
            except PoisonError as error:
                parts.extend(self._isolate(part, error, written))
        return written

    def _isolate(self, part: Part, error: PoisonError, written: Written) -> list[Part]:
        if len(part.records) > 1:
            self._tell(
                BatchHalved(source=self._source, files=len(part.records), error=str(error), sqlstate=error.sqlstate)
            )
            return list(reversed(part.halves()))
        if not part.records:
            raise PermanentError(f"the ledger refuses a quarantine row: {error}", sqlstate=error.sqlstate) from error
        rejection = _rejection(part.records[0], error)
        written.rejected.append((rejection, error.sqlstate))
        return [Part((), (*part.rejections, rejection))]

    async def _commit(self, part: Part) -> BatchResult:
        strikes = 0
        # The policy is a cycle of objects that lives until the next garbage collection: it must not hold the records.
        files = len(part.records) + len(part.rejections)
        async for attempt in self._retrying(lambda state: self._say_retried(files, state)):
            with attempt:
                await self._store.available()
                try:
                    return await self._store.commit(
                        self._source,
                        part.records,
                        part.rejections,
                        overwrite=self._overwrite,
                        journal=self._journal,
                    )
                except TransientError as error:
                    strikes += await self._is_suspect(part, error)
                    if strikes >= (1 if len(part.records) > 1 else _LONE_RECORD_STRIKES):
                        raise KeepsFailingError(str(error), sqlstate=error.sqlstate) from error
                    raise
        raise AssertionError("a policy ends with a result or an error")  # pragma: no cover - tenacity reraises

    async def _is_suspect(self, part: Part, error: TransientError) -> bool:
        """Whether the content may be to blame: it failed that way and the store answers all the same."""
        return error.suspect_content and bool(part.records) and await self._store.probe()

    def _say_retried(self, files: int, state: RetryCallState) -> None:
        if not self._store.is_reachable:
            return  # an outage has lines of its own
        error = state.outcome.exception() if state.outcome else None
        self._tell(
            BatchRetried(
                source=self._source,
                files=files,
                error=str(error),
                sqlstate=error.sqlstate if isinstance(error, TransientError) else None,
                wait_s=round(state.next_action.sleep, 3) if state.next_action else 0.0,
            )
        )


def _place(record: TraceRecord, error: PoisonError) -> str | None:
    """Where the record holds what was refused: a JSON pointer where one is found, else the column, if it is known."""
    is_metadata = error.place == "metadata"
    document = record.metadata if is_metadata else record.data
    if document is None or len(document) > _PLACE_SOUGHT_BYTES:
        return error.place
    return place_of_refusal(error.sqlstate, document, "/metadata" if is_metadata else "/data") or error.place


def _rejection(record: TraceRecord, error: PoisonError) -> Rejection:
    code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    found = _place(record, error)
    place = f" at {found}" if found else ""
    keeps_failing = isinstance(error, KeepsFailingError)
    blame = "storing it fails each time although Postgres answers" if keeps_failing else "Postgres refuses it"
    return Rejection(
        path=record.path,
        stamp=record.stamp,
        reason=Reason.KEEPS_FAILING if keeps_failing else Reason.UNSTORABLE,
        detail=f"{blame}: {error}{code}{place}",
        file_sha256=record.file_sha256,
        run_id=record.run_id,
        rules=record.rules,
    )
