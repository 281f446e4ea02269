"""The stand-in's own rules: filter expressions and request limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from langsmith_filter import FilterError, parse
from langsmith_limits import Limiter, Tier, Tiers

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUN: dict[str, Any] = {
    "id": "a",
    "name": 'say "hi"',
    "run_type": "llm",
    "status": "success",
    "start_time": NOON,
    "end_time": None,
    "trace_id": "t",
    "parent_run_id": None,
    "is_root": True,
    "error": None,
    "tags": ["probe"],
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('and(gte(start_time, "2026-11-20T00:00:00Z"), lt(start_time, "2026-11-21T00:00:00Z"))', True),
        ('and(gte(start_time, "2026-11-20T12:00:00.000001Z"), lt(start_time, "2026-11-21T00:00:00Z"))', False),
        ('gte(start_time, "2026-11-20T13:00:00+01:00")', True),
        ('lt(start_time, "2026-11-20T12:00:00Z")', False),
        ('lte(start_time, "2026-11-20T12:00:00")', True),
        ('gt(start_time, "2026-11-20T11:59:59.999999Z")', True),
        ('eq(start_time, "2026-11-20 12:00:00+00:00")', True),
        ('neq(start_time, "2026-11-20T12:00:00Z")', False),
        ('lt(end_time, "2027-01-01T00:00:00Z")', False),
        ('eq(name, "say \\"hi\\"")', True),
        ("eq(is_root, true)", True),
        ("eq(error, null)", True),
        ("neq(error, null)", False),
        ('or(eq(run_type, "tool"), eq(run_type, "llm"))', True),
        ('not(eq(status, "success"))', False),
        ('has(tags, "probe")', True),
        ("and(eq( is_root ,false),eq(is_root,true))", False),
    ],
)
def test_a_filter_wants_what_it_says(text: str, wanted: bool) -> None:  # noqa: FBT001 - half of a table's row
    """Each comparison and each way to join them decides on a run as LangSmith's language does."""
    assert parse(text).matches(RUN) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "start_time",
        'gte(start_time, "2026-11-20T00:00:00Z"',
        'gte(start_time, "2026-11-20T00:00:00Z") and more',
        'gte(start_time "2026-11-20T00:00:00Z")',
        'gte(start_time, "yesterday")',
        "gte(start_time, )",
        'gte(colour, "red")',
        "near(name, x)",
        "eq(name)",
        "and(name, id)",
        "not(eq(name, x), eq(name, y))",
        "eq(name, ~)",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    """Whatever cannot be read is an error, not a filter that wants everything."""
    with pytest.raises(FilterError):
        parse(text)


def test_a_filter_bounds_the_start() -> None:
    """What every wanted run's start must be is known; a choice between two bounds is none."""
    day = 'gte(start_time, "2026-11-20T12:00:00Z")'
    assert list(parse(f'and({day}, eq(run_type, "llm"))').bounds()) == [("gte", NOON)]
    assert list(parse(f"or({day}, {day})").bounds()) == []
    assert list(parse(f"not({day})").bounds()) == []
    assert list(parse('neq(start_time, "2026-11-20T12:00:00Z")').bounds()) == []


# ---------------------------------------------------------------------------------------------------------------------
# Limits

WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("method", "path", "window", "requests", "window_s"),
    [
        ("POST", "/runs/query", timedelta(days=1), 10, 10),
        ("POST", "/runs/query", WEEK, 10, 10),
        ("POST", "/runs/query", WEEK + timedelta(microseconds=1), 3, 10),
        ("POST", "/runs/query", None, 3, 10),
        ("GET", "/runs/01a2095a-3a98-7100-b85b-e3aa5549c695", None, 30, 60),
        ("POST", "/v2/runs/query", None, 300, 10),
        ("GET", "/feedback", None, 2_000, 60),
        ("GET", "/v2/runs/01a2095a-3a98-7100-b85b-e3aa5549c695", None, 2_000, 60),
    ],
)
def test_the_documented_tiers(method: str, path: str, window: timedelta | None, requests: int, window_s: float) -> None:
    """Of each kind of request so many pass at once; the next passes when the first is a window old, not before."""
    limiter = Limiter(Tiers())
    waits = [limiter.wait_s("key", method, path, window, 0.0) for _ in range(requests + 1)]
    assert waits == [0.0] * requests + [window_s]
    assert limiter.wait_s("key", method, path, window, window_s - 0.25) == 0.25
    assert limiter.wait_s("key", method, path, window, window_s) == 0.0


def test_limits_are_counted_by_key_and_kind() -> None:
    """Another key has its own budget, and so has another kind of request; what was refused costs nothing."""
    limiter = Limiter(Tiers(short_query=Tier(1, 10.0), everything=Tier(3, 10.0)))
    day = timedelta(days=1)
    assert limiter.wait_s("one", "POST", "/runs/query", day, 0.0) == 0
    assert [limiter.wait_s("one", "POST", "/runs/query", day, 1.0) for _ in range(9)] == [9.0] * 9
    assert limiter.wait_s("two", "POST", "/runs/query", day, 1.0) == 0
    assert [limiter.wait_s("one", "GET", "/feedback", None, 1.0) for _ in range(3)] == [0, 0, 9.0]


def test_faster_tiers_keep_their_counts() -> None:
    """Tiers for tests that cannot wait differ in nothing but the length of their windows."""
    faster = Tiers(retry_after=False).faster(20)
    assert faster.short_query == Tier(10, 0.5)
    assert faster.read_run == Tier(30, 3.0)
    assert not faster.retry_after
    assert Limiter(faster).retry_after(0.2) == {}
    assert Limiter(Tiers()).retry_after(0.2) == {"Retry-After": "1"}
