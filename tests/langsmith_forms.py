"""How LangSmith's two APIs write a run, and how it writes feedback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from tracewatchd.model.times import time_of_milliseconds, written_time

_NEVER_ANSWERED = {"feedback_records", "child_runs", "attachments", "operation", "results"}
"""What files of runs hold that the API does not answer."""
_TIMES = ("start_time", "end_time", "first_token_time")
_TOKENS = ("total_tokens", "prompt_tokens", "completion_tokens")
_COSTS = ("total_cost", "prompt_cost", "completion_cost")
_DETAILS = ("prompt_token_details", "completion_token_details", "prompt_cost_details", "completion_cost_details")
TENANT_ID = "5b1c9f0e-6c55-4c3c-9f43-9d3d9a5e7f10"

Run = dict[str, Any]


def moment_of(written: object) -> datetime | None:
    """The instant that a run's field names, in any of the forms that files hold."""
    if isinstance(written, int):
        return time_of_milliseconds(written)
    return None if written is None else written_time(str(written))


def start_of(run: Run) -> datetime:
    """When a run started: by its start_time, or its dotted_order where that is missing."""
    part = run["dotted_order"].rpartition(".")[2][:-37]
    return moment_of(run["start_time"]) or datetime.strptime(f"{part}+0000", "%Y%m%dT%H%M%S%f%z")


def v1_form(given: Mapping[str, Any], project_id: str) -> Run:
    """A run as ``/runs/query`` of v1 answers it.

    Times are ISO 8601 with an offset, costs are strings, tokens numbers; ``parent_run_ids`` follow from dotted_order.
    """
    run = {name: value for name, value in given.items() if name not in _NEVER_ANSWERED}
    for name in _TIMES:
        moment = moment_of(run.get(name))
        run[name] = moment and moment.isoformat(timespec="microseconds")
    for name in _TOKENS:
        run[name] = run.get(name) or 0
    for name in _COSTS:
        run[name] = None if run.get(name) is None else str(run[name])
    for name in ("prompt_cost_details", "completion_cost_details"):
        run[name] = run.get(name) and {category: str(cost) for category, cost in run[name].items()}
    ancestors = [part[-36:] for part in run["dotted_order"].split(".")[:-1]]
    return run | {
        "session_id": project_id,
        "app_path": run.get("app_path") or f"/o/{TENANT_ID}/projects/p/{project_id}/r/{run['id']}",
        "parent_run_id": ancestors[-1] if ancestors else None,
        "parent_run_ids": ancestors,
        "feedback_stats": run.get("feedback_stats"),
        "in_dataset": bool(run.get("in_dataset")),
    }


def feedback_form(given: Mapping[str, Any], run: Run, number: int) -> Run:
    """Feedback as ``/feedback`` answers it; what is not given follows from the run and the feedback's number."""
    created = (moment_of(given.get("created_at")) or start_of(run) + timedelta(minutes=1 + number)).isoformat()
    known = None if given.get("id") == run["id"] else given.get("id")
    return {
        "id": known or str(uuid5(NAMESPACE_URL, f"feedback:{run['id']}:{number}")),
        "created_at": created,
        "modified_at": given.get("modified_at") or created,
        "run_id": run["id"],
        "trace_id": run["trace_id"],
        "key": given["key"],
        "score": given.get("score"),
        "value": given.get("value"),
        "comment": given.get("comment"),
        "correction": given.get("correction"),
        "feedback_source": given.get("feedback_source") or {"type": "api", "metadata": {}, "user_id": None},
        "session_id": run["session_id"],
    }


def stats_of(feedback: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``{key: {n, avg, values}}`` over the feedback of one run."""
    stats: dict[str, Any] = {}
    scores: dict[str, list[float]] = {}
    for one in feedback:
        stat = stats.setdefault(one["key"], {"n": 0, "avg": None, "values": {}})
        stat["n"] += 1
        if one["score"] is not None:
            scores.setdefault(one["key"], []).append(float(one["score"]))
            stat["avg"] = sum(scores[one["key"]]) / len(scores[one["key"]])
        if isinstance(one["value"], str):
            stat["values"][one["value"]] = stat["values"].get(one["value"], 0) + 1
    return stats


def _zulu(written: str | None) -> str | None:
    return written and f"{written[:26]}Z"


def _latency_s(run: Run) -> float | None:
    start, end = moment_of(run["start_time"]), moment_of(run["end_time"])
    return (end - start).total_seconds() if start and end else None


def _event(event: Mapping[str, Any]) -> Run:
    moment = moment_of(event.get("time"))
    rest = {name: value for name, value in event.items() if name not in {"name", "time"}}
    when = {} if moment is None else {"time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"}
    return {"name": event.get("name", ""), **when, "kwargs": rest.get("kwargs", rest)}


def _cost(name: str, run: Run) -> float | None:
    return None if run[name] is None else float(run[name])


def _wrapped(name: str, run: Run) -> Run | None:
    if (details := run.get(name)) is None:
        return None
    number = float if "cost" in name else int
    return {"raw": {category: number(value) for category, value in details.items()}}


V2_FIELDS: Mapping[str, Callable[[Run], Any]] = {
    "ID": lambda run: run["id"],
    "NAME": lambda run: run["name"],
    "RUN_TYPE": lambda run: run["run_type"].upper(),
    "STATUS": lambda run: run["status"].upper(),
    "START_TIME": lambda run: _zulu(run["start_time"]),
    "END_TIME": lambda run: _zulu(run["end_time"]),
    "LATENCY_SECONDS": _latency_s,
    "FIRST_TOKEN_TIME": lambda run: _zulu(run["first_token_time"]),
    "ERROR": lambda run: run.get("error"),
    "ERROR_PREVIEW": lambda run: run.get("error") and run["error"][:100],
    "EXTRA": lambda run: run.get("extra"),
    "METADATA": lambda run: (run.get("extra") or {}).get("metadata"),
    "EVENTS": lambda run: [_event(event) for event in run.get("events") or ()],
    "INPUTS": lambda run: run.get("inputs"),
    "INPUTS_PREVIEW": lambda run: msgspec.json.encode(run.get("inputs")).decode()[:100],
    "OUTPUTS": lambda run: run.get("outputs"),
    "OUTPUTS_PREVIEW": lambda run: msgspec.json.encode(run.get("outputs")).decode()[:100],
    "MANIFEST": lambda run: run.get("serialized"),
    "PARENT_RUN_IDS": lambda run: run["parent_run_ids"],
    "PROJECT_ID": lambda run: run["session_id"],
    "TRACE_ID": lambda run: run["trace_id"],
    "THREAD_ID": lambda run: (((run.get("extra") or {}).get("metadata")) or {}).get("thread_id"),
    "DOTTED_ORDER": lambda run: run["dotted_order"],
    "IS_ROOT": lambda run: run["parent_run_id"] is None,
    "REFERENCE_EXAMPLE_ID": lambda run: run.get("reference_example_id"),
    "REFERENCE_DATASET_ID": lambda run: run.get("reference_dataset_id"),
    **{name.upper(): itemgetter(name) for name in _TOKENS},
    **{name.upper(): partial(_cost, name) for name in _COSTS},
    **{name.upper(): partial(_wrapped, name) for name in _DETAILS},
    "PRICE_MODEL_ID": lambda run: run.get("price_model_id"),
    "TAGS": lambda run: run.get("tags") or [],
    "APP_PATH": lambda run: run["app_path"],
    "ATTACHMENTS": lambda _run: None,
    "THREAD_EVALUATION_TIME": lambda _run: None,
    "IS_IN_DATASET": lambda run: run["in_dataset"],
    "LAST_QUEUED_AT": lambda run: run.get("last_queued_at"),
    "SHARE_URL": lambda _run: None,
    "FEEDBACK_STATS": lambda run: run["feedback_stats"],
    "LS_USER_ID": lambda _run: None,
}
"""What v2 makes of a run of v1, by the names that ``selects`` takes."""


def v2_form(run: Run, selects: Iterable[str]) -> Run:
    """A run as v2 answers it: what is selected and there; only times are null, when a run has none yet."""
    chosen = {name.lower(): V2_FIELDS[name](run) for name in selects}
    return {name: value for name, value in chosen.items() if value is not None or name in {"start_time", "end_time"}}
