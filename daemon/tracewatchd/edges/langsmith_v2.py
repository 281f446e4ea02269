"""The second generation of LangSmith's read API: how to ask it for runs, and how to read its answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from tracewatchd.edges.langsmith_http import Request
from tracewatchd.edges.langsmith_pages import Page, Window, page_of
from tracewatchd.edges.pace import Limit

QUERY = Limit("v2 query", 300, 10.0)
"""Queries, as documented."""

_PATH = "/api/v2/runs/query"
_SELECTS = (
    *("ID", "NAME", "RUN_TYPE", "STATUS", "START_TIME", "END_TIME", "LATENCY_SECONDS", "FIRST_TOKEN_TIME", "ERROR"),
    *("EXTRA", "METADATA", "EVENTS", "INPUTS", "OUTPUTS", "PARENT_RUN_IDS", "PROJECT_ID", "TRACE_ID", "THREAD_ID"),
    *("DOTTED_ORDER", "IS_ROOT", "REFERENCE_EXAMPLE_ID", "REFERENCE_DATASET_ID", "TOTAL_TOKENS", "PROMPT_TOKENS"),
    *("COMPLETION_TOKENS", "TOTAL_COST", "PROMPT_COST", "COMPLETION_COST", "PROMPT_TOKEN_DETAILS"),
    *("COMPLETION_TOKEN_DETAILS", "PROMPT_COST_DETAILS", "COMPLETION_COST_DETAILS", "PRICE_MODEL_ID", "TAGS"),
    *("APP_PATH", "ATTACHMENTS", "IS_IN_DATASET", "FEEDBACK_STATS"),
)
"""Without it an answer holds ids alone."""


class V2:
    """How this generation is spoken to."""

    page_runs = 1_000

    def limit(self, window: Window) -> Limit:
        """The limit that a query of this window counts in."""
        del window  # every query counts in the same
        return QUERY

    def query(self, window: Window, cursor: str | None, *, page_runs: int) -> Request:
        """The next page of a window; without its beginning only the last 24 hours would be looked at."""
        more = {} if cursor is None else {"cursor": cursor}
        return self._request(window, {"page_size": page_runs, **more})

    def by_ids(self, window: Window, run_ids: Sequence[str]) -> Request:
        """These runs of a window, at most a page of them."""
        return self._request(window, {"ids": list(run_ids), "page_size": self.page_runs})

    def read(self, answer: bytearray) -> Page:
        """A page of an answer.

        Raises:
            TransientError: it is none.
        """
        return page_of(answer, _Answer, "items", lambda told: Page(told.items, told.next_cursor))

    def _request(self, window: Window, asked: dict[str, object]) -> Request:
        body = {
            "project_ids": [window.project_id],
            "min_start_time": window.start.isoformat(),
            "max_start_time": window.end.isoformat(),
            "selects": _SELECTS,
            **asked,
        }
        return Request("POST", _PATH, body=body, limits=(QUERY,))


class _Answer(msgspec.Struct):
    items: list[Raw]
    next_cursor: str | None = None
