"""Where a file and its run's row differ, place by place."""

from __future__ import annotations

from typing import Any

import msgspec

from tracewatchd.model.findings import Difference
from tracewatchd.model.record import TraceRecord
from tracewatchd.reconcile.setting import Explain
from tracewatchd.store.queries import StoredRun

_PLACES = 50
_SHOWN = 80
_COLUMNS = (
    "trace_id", "parent_run_id", "project", "run_date", "trace_date", "name", "run_type", "status", "start_time",
    "end_time", "total_tokens", "total_cost", "extracted_at", "sanitized",
)  # fmt: skip


def differences_of(record: TraceRecord, run: StoredRun, explain: Explain) -> tuple[Difference, ...]:
    """The first places where a row is not what its file says, columns before the documents."""
    found = [
        Difference(f"/columns/{name}", _shown(getattr(record, name)), _shown(getattr(run, name)))
        for name in _COLUMNS
        if getattr(record, name) != getattr(run, name)
    ]
    # A row's mtime is the greatest of its files.
    if run.file_mtime_ns < record.stamp.mtime_ns:
        mtimes = _shown(record.stamp.mtime_ns), _shown(run.file_mtime_ns)
        found.append(Difference("/columns/file_mtime_ns", *mtimes))
    found += explain(record.data, run.data, "/data", _PLACES)
    found += explain(record.metadata or b"null", run.metadata or b"null", "/metadata", _PLACES)
    return tuple(found[:_PLACES])


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a column holds
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}\u2026"
