"""Runs as people are shown them, made for tests of lists and trees."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from run_files import run_id
from tracewatchd.model.traces import RunLine

BEGUN = datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC)


def run_line(number: int, parent: int | None = None, *, after_s: float | None = None, **given: Any) -> RunLine:
    """The run of this number, which takes a second and begins so many seconds (its number) after the first."""
    start = BEGUN + timedelta(seconds=number if after_s is None else after_s)
    columns = {
        "run_id": run_id(number),
        "trace_id": run_id(0),
        "parent_run_id": None if parent is None else run_id(parent),
        "project": "bot",
        "run_date": date(2026, 11, 20),
        "name": f"run {number}",
        "run_type": "chain",
        "status": "success",
        "start_time": start,
        "end_time": start + timedelta(seconds=1),
        "total_tokens": None,
        "total_cost": None,
        "error": None,
    }
    return RunLine(**(columns | given))
