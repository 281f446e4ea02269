"""The first generation of LangSmith's read API: how to ask it for runs, and how to read its answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec import Raw

from tracewatchd.edges.langsmith_http import Request
from tracewatchd.edges.langsmith_pages import Page, Window, page_of
from tracewatchd.edges.pace import Limit

SHORT = Limit("v1 query", 10, 10.0)
"""Queries of at most 7 days, as documented."""
LONG = Limit("v1 long query", 3, 10.0)
"""Queries of more than 7 days."""

_SHORT_WINDOW = timedelta(days=7)
_PATH = "/api/v1/runs/query"
_SELECT = (
    *("id", "name", "run_type", "start_time", "end_time", "status", "error", "extra", "events", "inputs", "outputs"),
    *("parent_run_id", "parent_run_ids", "trace_id", "dotted_order", "session_id", "serialized", "manifest_id"),
    *("reference_example_id", "reference_dataset_id", "total_tokens", "prompt_tokens", "completion_tokens"),
    *("prompt_token_details", "completion_token_details", "total_cost", "prompt_cost", "completion_cost"),
    *("prompt_cost_details", "completion_cost_details", "price_model_id", "first_token_time", "feedback_stats"),
    *("tags", "in_dataset", "app_path", "s3_urls", "trace_tier", "ttl_seconds", "thread_id"),
)


class V1:
    """How this generation is spoken to."""

    page_runs = 100

    def limit(self, window: Window) -> Limit:
        """The limit that a query of this window counts in."""
        return SHORT if window.end - window.start <= _SHORT_WINDOW else LONG

    def query(self, window: Window, cursor: str | None, *, page_runs: int) -> Request:
        """The next page of a window.

        The filter bounds the runs' starts on both sides; ``end_time`` would bound their ends. ``start_time`` is given
        as well, because a query without it counts as a long one.
        """
        start, end = window.start.isoformat(), window.end.isoformat()
        within = f'and(gte(start_time, "{start}"), lt(start_time, "{end}"))'
        more = {} if cursor is None else {"cursor": cursor}
        return self._request(window, {"filter": within, "limit": page_runs, **more})

    def by_ids(self, window: Window, run_ids: Sequence[str]) -> Request:
        """These runs of a window, at most a page of them."""
        return self._request(window, {"id": list(run_ids), "limit": self.page_runs})

    def read(self, answer: bytearray) -> Page:
        """A page of an answer.

        Raises:
            TransientError: it is none.
        """
        return page_of(answer, _Answer, "runs", lambda told: Page(told.runs, told.cursors.next))

    def _request(self, window: Window, asked: dict[str, object]) -> Request:
        body = {"session": [window.project_id], "start_time": window.start.isoformat(), "select": _SELECT, **asked}
        return Request("POST", _PATH, body=body, limits=(self.limit(window),))


class _Cursors(msgspec.Struct):
    next: str | None = None


class _Answer(msgspec.Struct):
    runs: list[Raw]
    cursors: _Cursors = msgspec.field(default_factory=_Cursors)
