"""LangSmith as the archive needs it: projects, the runs of a window page by page, feedback, attachments.

One adapter over both generations of the read API; ``/info`` says which of them answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import msgspec
from msgspec import Raw

from tracewatchd.edges.langsmith_http import Access, Http, Request, Sink, TooLargeError
from tracewatchd.edges.langsmith_pages import Generation, Page, Window
from tracewatchd.edges.langsmith_v1 import V1
from tracewatchd.edges.langsmith_v2 import V2
from tracewatchd.edges.pace import Pace
from tracewatchd.model.errors import PermanentError, PoisonError, TransientError
from tracewatchd.model.events import Tell
from tracewatchd.model.upstream import UpstreamRun, read_run

FEEDBACK_RUNS = 50
"""Runs whose feedback is asked for at once: their ids stand in the URL."""

_FEEDBACK_PAGE = 100
_FEEDBACK_PAGES = 1_000


T = TypeVar("T")


class ContradictionError(TransientError):
    """LangSmith's pages contradict each other, so that runs would be missed or pages never end."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="Run the same command again; if it stays so, tell LangChain's support.")


class _Flags(msgspec.Struct):
    ch_query_enabled: bool = True
    sdb_query_enabled: bool = False


class _Info(msgspec.Struct):
    instance_flags: _Flags = msgspec.field(default_factory=_Flags)


class _Project(msgspec.Struct):
    id: str
    name: str


class _Feedback(msgspec.Struct):
    run_id: str


class LangSmith:
    """One LangSmith; a context manager, which holds its connections.

    Args:
        access: where it is and who asks.
        pace: the budget of requests, one for the whole process.
        tell: takes events.
    """

    def __init__(self, access: Access, pace: Pace, tell: Tell) -> None:
        self._http = Http(access, pace, tell)
        self._generation: Generation | None = None
        self._page_runs = 0

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    @property
    def requests(self) -> int:
        """Requests that were sent so far, retries included and attachments not."""
        return self._http.requests

    def left(self, window: Window) -> int:
        """Queries of such a window that would pass at once."""
        return self._http.left(self._generation.limit(window)) if self._generation else self._http.left()

    async def project_id(self, name: str) -> str:
        """The id of a project.

        Raises:
            PermanentError: there is no such project, or LangSmith refused.
            TransientError: it did not heal within the patience.
        """
        query = [("limit", "1"), ("offset", "0"), ("name", name), ("include_stats", "false")]
        found = await self._http.ask(Request("GET", "/api/v1/sessions", query), _reading(list[_Project]))
        for project in found:
            if project.name == name:
                return project.id
        raise PermanentError(
            f"LangSmith has no project {name!r} that this key may see",
            hint="Check the project's name, the key and langsmith.workspace_id.",
        )

    async def admit(self) -> None:
        """See that the key is accepted, for as little as there is to ask.

        Raises:
            PermanentError: LangSmith refused.
            TransientError: it did not heal within the patience.
        """
        query = [("limit", "1"), ("offset", "0"), ("include_stats", "false")]
        await self._http.ask(Request("GET", "/api/v1/sessions", query), _reading(list[_Project]))

    async def runs(self, window: Window, run_ids: Sequence[str]) -> Page:
        """These runs of a window as far as they are there, at most 100.

        Raises:
            TransientError, PermanentError: as for `Walk.next`.
        """
        generation = await self._speaking()
        return await self._http.ask(generation.by_ids(window, run_ids), generation.read)

    async def feedback(self, run_ids: Sequence[str]) -> Mapping[str, list[bytes]]:
        """All feedback of at most `FEEDBACK_RUNS` runs, as it came, by run; runs without any have an empty list.

        Raises:
            TransientError, PermanentError: as for `Walk.next`.
        """
        found: dict[str, list[bytes]] = {run_id: [] for run_id in run_ids}
        for page in range(_FEEDBACK_PAGES):
            records = await self._feedback_page(run_ids, page * _FEEDBACK_PAGE)
            for record in records:
                if (run_id := _run_of(record)) in found:
                    found[run_id].append(record)
            if len(records) < _FEEDBACK_PAGE:
                return found
        raise ContradictionError(f"LangSmith lists feedback without an end for {len(run_ids)} runs")

    async def download(self, url: str, begin: Callable[[], Sink], *, most_bytes: int) -> None:
        """Write an attachment; each attempt begins anew.

        Raises:
            TransientError: it did not arrive whole within the patience.
            PermanentError: it is not there (any more), or too large.
        """
        await self._http.download(url, begin, most_bytes=most_bytes)

    async def page(self, window: Window, cursor: str | None) -> Page:
        """A page as it is answered, in halves where a whole one would be too large an answer."""
        generation = await self._speaking()
        while True:
            request = generation.query(window, cursor, page_runs=self._page_runs)
            try:
                return await self._http.ask(request, generation.read)
            except TooLargeError:
                if self._page_runs == 1:
                    raise
                self._page_runs //= 2

    def is_full(self, page: Page) -> bool:
        """Whether a page holds as many runs as were asked for."""
        return len(page.runs) >= self._page_runs

    async def _feedback_page(self, run_ids: Sequence[str], offset: int) -> list[bytes]:
        query = [("run", run_id) for run_id in run_ids]
        query += [("limit", str(_FEEDBACK_PAGE)), ("offset", str(offset))]
        records = await self._http.ask(Request("GET", "/api/v1/feedback", query), _reading(list[Raw]))
        return list(map(bytes, records))

    async def _speaking(self) -> Generation:
        if self._generation is None:
            info = await self._http.ask(Request("GET", "/api/v1/info"), _reading(_Info))
            flags = info.instance_flags
            if not flags.sdb_query_enabled and not flags.ch_query_enabled:
                raise PermanentError("this LangSmith answers no queries of runs", hint="Ask who runs it.")
            self._generation = V2() if flags.sdb_query_enabled else V1()
            self._page_runs = self._generation.page_runs
        return self._generation


class Walk:
    """The pages of a window, one after the other; the same cursor twice and a missing one are errors, no ends.

    Args:
        langsmith: whom to ask.
        window: which runs.
        cursor: where an earlier walk over the same window stopped.
    """

    def __init__(self, langsmith: LangSmith, window: Window, cursor: str | None = None) -> None:
        self._langsmith = langsmith
        self._window = window
        self.cursor = cursor
        self._asked: set[str] = set()
        self.ended = False

    async def next(self) -> Sequence[bytes | Raw]:
        """The runs of the next page.

        Raises:
            TransientError: it did not heal within the patience, or LangSmith contradicts itself.
            PermanentError: LangSmith refused.
        """
        page = await self._langsmith.page(self._window, self.cursor)
        if page.cursor is None:
            if self._langsmith.is_full(page):
                await self._require_end(page)
            self.ended = True
        elif page.cursor == self.cursor or page.cursor in self._asked:
            raise ContradictionError("LangSmith's page names a page as the next that was there before")
        else:
            self._asked.add(page.cursor)
        self.cursor = page.cursor
        return page.runs

    async def _require_end(self, page: Page) -> None:
        """See that no run is older than the last of a full page, which yet names no next one."""
        known = _readable(page)
        if not known:
            return
        last = min(run.start for run in known)
        # The end of a window is not in it: a microsecond later, the last run is.
        rest = await self._langsmith.page(self._window._replace(end=last + last.resolution), None)
        if not {run.run_id for run in _readable(rest)} <= {run.run_id for run in known}:
            raise ContradictionError("LangSmith's page is full and names no next one, but there are more runs")


def _readable(page: Page) -> list[UpstreamRun]:
    readable = []
    for body in page.runs:
        try:
            readable.append(read_run(body))
        except PoisonError:
            continue
    return readable


def _run_of(record: bytes) -> str:
    try:
        return str(UUID(msgspec.json.decode(record, type=_Feedback).run_id))
    except (msgspec.DecodeError, ValueError):
        return ""


def _reading(kind: type[T]) -> Callable[[bytearray], T]:
    def read(answer: bytearray) -> T:
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise TransientError(
                f"LangSmith's answer is cut off, or not what was asked for: {error}",
                hint="Run the same command again later; if it stays so, check langsmith.endpoint.",
            ) from None

    return read
