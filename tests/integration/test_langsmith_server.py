"""The LangSmith stand-in has LangSmith's traps, limits and weather: each of them, and nothing beside it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from langsmith_asking import Answer, ask, v1_pages, v2_pages
from langsmith_faults import (
    ALWAYS,
    breaks_off,
    cuts_json,
    doubles_run,
    drops_cursor,
    edits,
    fails,
    repeats_cursor,
    resets,
    stalls,
)
from langsmith_forms import TENANT_ID
from langsmith_limits import Tier, Tiers
from langsmith_runs import DAY, big_trace, made_runs, started_on
from langsmith_server import KEY, Server, serving
from langsmith_upstream import Upstream

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY_FILTER = 'and(gte(start_time, "2026-11-20T00:00:00Z"), lt(start_time, "2026-11-21T00:00:00Z"))'
V1 = "/runs/query"
V2 = "/api/v2/runs/query"


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    """320 generated runs of one day's traces, one of which crosses midnight."""
    upstream = Upstream()
    upstream.add_runs("support-bot", made_runs(320, slim=True, pending=2))
    return upstream


@pytest.fixture(scope="module")
def project(upstream: Upstream) -> str:
    """The id of its project."""
    return upstream.projects["support-bot"].project_id


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    """A stand-in of both APIs without faults and limits, at noon of the following day."""
    with serving(upstream, "both", clock=lambda: NOW) as running:
        yield running


def ids(pages: list[Any]) -> list[str]:
    return [run["id"] for page in pages for run in page.get("runs", page.get("items"))]


# ---------------------------------------------------------------------------------------------------------------------
# What it holds


def test_made_runs_are_realistic() -> None:
    """Generated runs have ids that their dotted_order says, cross midnight, and are the same for the same seed."""
    runs = made_runs(1_000, seed=5)
    for run in runs:
        parts = run["dotted_order"].split(".")
        assert (parts[-1][-36:], parts[0][-36:]) == (run["id"], run["trace_id"])
        assert run["parent_run_id"] == (parts[-2][-36:] if len(parts) > 1 else None)
        assert parts == sorted(parts)
    assert {started_on(run) for run in runs} == {DAY, DAY + timedelta(days=1)}
    assert sum("feedback_records" in run for run in runs) == 333
    assert runs == made_runs(1_000, seed=5)
    assert {run["id"] for run in runs}.isdisjoint(run["id"] for run in made_runs(1_000, seed=6))
    assert 20_000 < len(json.dumps(runs)) / 1_000 < 32_000
    assert len(json.dumps(made_runs(1_000, seed=5, slim=True))) / 1_000 < 2_500


def test_a_pending_run_comes_again_when_it_ends() -> None:
    """The same id added again replaces the run; its feedback stays, and its stats are computed anew."""
    upstream = Upstream()
    (run,) = made_runs(1, pending=1, feedback_share=0)
    upstream.add_runs("p", [run])
    assert (upstream.run(run["id"])["status"], upstream.run(run["id"])["end_time"]) == ("pending", None)
    upstream.add_feedback(run["id"], {"key": "tone", "value": "warm"})
    upstream.add_runs("p", [run | {"status": "success", "end_time": run["start_time"]}])
    assert upstream.run(run["id"])["status"] == "success"
    assert upstream.run(run["id"])["feedback_stats"] == {"tone": {"n": 1, "avg": None, "values": {"warm": 1}}}
    assert len(upstream.runs("p")) == 1
    upstream.forget([run["id"]])
    assert upstream.runs("p") == []
    assert upstream.feedback == {}


# ---------------------------------------------------------------------------------------------------------------------
# Who may ask, and whom


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "lsv2_pt_other"}])
def test_a_wrong_key_is_refused(server: Server, headers: dict[str, str]) -> None:
    """Without the key v1 answers 401 and ``{"error": ...}``, v2 a problem; ``/info`` needs none."""
    v1 = ask(server, "POST", V1, {}, headers=headers)
    assert (v1.status, v1.json) == (401, {"error": "Unauthorized"})
    v2 = ask(server, "POST", V2, {}, headers=headers)
    assert (v2.status, v2.json["status"], v2.json["title"]) == (401, 401, "Unauthorized")
    assert ask(server, "GET", "/info", headers=headers).status == 200


def test_a_key_of_an_organisation_needs_its_workspace(upstream: Upstream) -> None:
    """With such a key, a request without ``X-Tenant-Id`` is forbidden."""
    with serving(upstream, tenant=TENANT_ID) as server:
        assert ask(server, "GET", "/sessions").status == 403
        assert ask(server, "GET", "/sessions", headers={"x-api-key": KEY, "X-Tenant-Id": TENANT_ID}).status == 200


@pytest.mark.parametrize(
    ("api", "flags", "statuses"),
    [
        ("v1", (True, False), (200, 404)),
        ("v2", (False, True), (404, 200)),
        ("both", (True, True), (200, 200)),
    ],
)
def test_info_says_which_api_serves_runs(
    upstream: Upstream, project: str, api: Any, flags: tuple[bool, bool], statuses: tuple[int, int]
) -> None:
    """The flags, with LangSmith's own defaults where they are missing, name the APIs that do not answer 404."""
    run_id = next(iter(upstream.projects["support-bot"].runs))
    with serving(upstream, api) as server:
        told = ask(server, "GET", "/api/v1/info").json["instance_flags"]
        assert (told.get("ch_query_enabled", True), told.get("sdb_query_enabled", False)) == flags
        v1, v2 = {"session": [project]}, {"project_ids": [project]}
        assert (ask(server, "POST", V1, v1).status, ask(server, "POST", V2, v2).status) == statuses
        read = ask(server, "GET", f"/runs/{run_id}").status
        assert (read, ask(server, "GET", f"/v2/runs/{run_id}", query={"project_id": project}).status) == statuses
        assert ask(server, "GET", "/feedback", query={"run": [run_id]}).status == 200


def test_what_is_not_there(server: Server, project: str) -> None:
    """An unknown path, project or run is 404, in the form of the API that was asked."""
    nobody = "01a2095a-3a98-7100-b85b-e3aa5549c695"
    assert ask(server, "GET", "/nowhere").json == {"detail": "Not Found"}
    assert ask(server, "GET", f"/runs/{nobody}").json == {"detail": "Run not found"}
    assert ask(server, "GET", f"/sessions/{nobody}").json == {"detail": "Project not found"}
    assert ask(server, "POST", V1, {"session": [nobody]}).status == 404
    for answer in (
        ask(server, "POST", V2, {"project_ids": [nobody]}),
        ask(server, "GET", f"/v2/runs/{nobody}", query={"project_id": project}),
        ask(server, "GET", f"/v2/traces/{nobody}/runs", query={"project_id": nobody}),
        ask(server, "POST", "/v2/traces/query", {"project_id": nobody}),
    ):
        assert (answer.status, answer.json["status"]) == (404, 404)
    assert ask(server, "GET", "/sessions", query={"name": "nobody"}).json == []


# ---------------------------------------------------------------------------------------------------------------------
# v1


def test_v1_pages_newest_first(server: Server, upstream: Upstream, project: str) -> None:
    """Cursors lead through all runs, each once, from the newest on; with ``order`` from the oldest."""
    pages = v1_pages(server, session=[project], limit=60)
    assert [len(page["runs"]) for page in pages] == [60, 60, 60, 60, 60, 20]
    assert ids(pages) == [run["id"] for run in upstream.runs("support-bot")]
    starts = [run["start_time"] for page in pages for run in page["runs"]]
    assert starts == sorted(starts, reverse=True)
    assert ids(v1_pages(server, session=[project], order="asc")) == ids(pages)[::-1]
    assert [len(page["runs"]) for page in v1_pages(server, session=[project], limit=80)] == [80] * 4


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_v1_takes_at_most_100(server: Server, project: str, prefix: str) -> None:
    """A limit of 101 is a 400 in LangSmith's words, with and without the prefix."""
    answer = ask(server, "POST", f"{prefix}/runs/query", {"session": [project], "limit": 101})
    assert (answer.status, answer.json) == (400, {"detail": "Limit exceeds maximum allowed value of 100"})


def test_v1_end_time_bounds_ends(server: Server, upstream: Upstream, project: str) -> None:
    """A day asked for by ``start_time`` and ``end_time`` lacks the runs that end after it; a filter on starts has all.

    So the runs that cross midnight fall in no day of the first kind.
    """
    runs = upstream.runs("support-bot")
    days = [DAY, DAY + timedelta(days=1)]
    both = [
        v1_pages(
            server, session=[project], start_time=f"{day}T00:00:00Z", end_time=f"{day + timedelta(days=1)}T00:00:00Z"
        )
        for day in days
    ]
    crossing = {
        run["id"]
        for run in runs
        if run["end_time"] is None or date.fromisoformat(run["end_time"][:10]) != started_on(run)
    }
    assert crossing
    assert {run["id"] for run in runs} - {run for pages in both for run in ids(pages)} == crossing
    by_start = ids(v1_pages(server, session=[project], filter=DAY_FILTER))
    assert by_start == [run["id"] for run in runs if started_on(run) == DAY]
    assert 0 < len(by_start) < len(runs)


def test_v1_chooses_among_runs(server: Server, upstream: Upstream, project: str) -> None:
    """Roots, a trace, ids, a run type, a parent and errors can be asked for."""
    runs = upstream.runs("support-bot")
    root = next(run for run in runs if run["parent_run_id"] is None)
    middle = runs[160]["start_time"]
    questions: list[tuple[dict[str, Any], Any]] = [
        ({"is_root": True}, lambda run: run["parent_run_id"] is None),
        ({"is_root": False}, lambda run: run["parent_run_id"] is not None),
        ({"trace": root["id"]}, lambda run: run["trace_id"] == root["id"]),
        ({"id": [runs[3]["id"], runs[200]["id"]]}, lambda run: run["id"] in {runs[3]["id"], runs[200]["id"]}),
        ({"run_type": "llm"}, lambda run: run["run_type"] == "llm"),
        ({"parent_run": root["id"]}, lambda run: run["parent_run_id"] == root["id"]),
        ({"error": True}, lambda run: run["error"] is not None),
        ({"filter": 'eq(status, "pending")'}, lambda run: run["status"] == "pending"),
        ({"filter": f'gt(start_time, "{middle}")'}, lambda run: run["start_time"] > middle),
    ]
    for question, wanted in questions:
        expected = [run["id"] for run in runs if wanted(run)]
        assert ids(v1_pages(server, session=[project], **question)) == expected != []


def test_v1_answers_attachments_only_when_asked(server: Server, upstream: Upstream, project: str) -> None:
    """``s3_urls`` come when they are selected, and the query without a selection lacks them."""
    run_id = upstream.runs("support-bot")[0]["id"]
    upstream.add_attachment(run_id, "a.txt", b"a")
    question = {"session": [project], "id": [run_id]}
    assert "s3_urls" not in ask(server, "POST", V1, question).json["runs"][0]
    (run,) = ask(server, "POST", V1, question | {"select": ["s3_urls"]}).json["runs"]
    assert set(run["s3_urls"]) == {"attachment.a.txt"}
    assert "inputs" not in run


def test_v1_refuses_questions(server: Server, project: str) -> None:
    """A question about nothing, a cursor or a filter of somebody else's, and a body that is no object are errors."""
    assert ask(server, "POST", V1, {}).status == 400
    assert ask(server, "POST", V1, {"session": [project], "cursor": "b3RoZXI="}).status == 400
    assert ask(server, "POST", V1, {"session": [project], "filter": "eq(colour, red)"}).status == 400
    assert ask(server, "POST", V1, [project]).status == 422
    assert ask(server, "POST", V1, b"{").status == 422
    assert ask(server, "GET", "/runs/query").status == 422


# ---------------------------------------------------------------------------------------------------------------------
# Feedback and projects


def test_feedback_of_at_most_50_runs(server: Server, upstream: Upstream) -> None:
    """Fifty run ids fit into the URL, fifty-one do not; without feedback the answer is an empty list."""
    run_ids = [run["id"] for run in upstream.runs("support-bot")]
    assert ask(server, "GET", "/feedback", query={"run": run_ids[:50]}).status == 200
    assert ask(server, "GET", "/feedback", query={"run": run_ids[:51]}).status == 414
    silent = next(run_id for run_id in run_ids if run_id not in upstream.feedback)
    assert ask(server, "GET", "/feedback", query={"run": silent}).json == []
    assert ask(server, "GET", "/feedback", query={"run": "one"}).status == 422


def test_feedback_pages_by_offset() -> None:
    """Of 250 feedbacks a call answers at most 100, newest first; ``limit=101`` is refused; keys can be asked for."""
    upstream = Upstream()
    (run,) = made_runs(1, feedback_share=0)
    upstream.add_runs("p", [run])
    for number in range(250):
        upstream.add_feedback(run["id"], {"key": f"k{number % 2}", "score": number})
    with serving(upstream) as server:
        pages = [ask(server, "GET", "/feedback", query={"run": run["id"], "offset": at}).json for at in (0, 100, 200)]
        assert [one["score"] for page in pages for one in page] == list(range(250))[::-1]
        assert ask(server, "GET", "/feedback", query={"run": run["id"], "limit": 101}).status == 422
        assert ask(server, "GET", "/feedback", query={"run": run["id"], "offset": "-1"}).status == 422
        keyed = ask(server, "GET", "/feedback", query={"run": run["id"], "key": "k1"}).json
        assert {one["key"] for one in keyed} == {"k1"}


def test_projects_are_found_by_their_exact_name() -> None:
    """``name`` is the whole name, whatever is in it; ``name_contains`` is a part."""
    upstream = Upstream()
    names = ["it's a / b", "it's a", "Größe ✓"]
    made = {name: upstream.add_project(name) for name in names}
    assert upstream.add_project("it's a") == made["it's a"]
    with serving(upstream, "v2") as server:
        for name, project_id in made.items():
            (found,) = ask(server, "GET", "/sessions", query={"name": name, "limit": 1}).json
            assert (found["id"], found["name"]) == (project_id, name)
        assert len(ask(server, "GET", "/sessions", query={"name_contains": "IT'S"}).json) == 2
        assert len(ask(server, "GET", "/sessions", query={"id": list(made.values())[:2]}).json) == 2


# ---------------------------------------------------------------------------------------------------------------------
# v2


def test_v2_answers_ids_alone_unless_more_is_selected(server: Server, project: str) -> None:
    """Without ``selects`` a run is its id, in each of v2's answers."""
    body = {"project_ids": [project], "min_start_time": "2026-11-20T00:00:00Z"}
    page = ask(server, "POST", V2, body).json
    assert [set(run) for run in page["items"]] == [{"id"}] * 100
    run_id = page["items"][0]["id"]
    assert ask(server, "GET", f"/v2/runs/{run_id}", query={"project_id": project}).json == {"id": run_id}
    (trace,) = ask(server, "POST", "/v2/traces/query", {"project_id": project, "page_size": 1}).json["items"]
    assert set(trace) == {"root_run"}
    assert set(trace["root_run"]) == {"id"}


def test_v2_looks_back_24_hours_unless_told(server: Server, upstream: Upstream, project: str) -> None:
    """Without ``min_start_time`` runs from before the last 24 hours are silently missing."""
    expected = [
        run["id"]
        for run in upstream.runs("support-bot")
        if NOW - timedelta(hours=24) <= datetime.fromisoformat(run["start_time"]) <= NOW
    ]
    assert ids(v2_pages(server, project_ids=[project])) == expected
    assert 0 < len(expected) < 320
    everything = v2_pages(server, project_ids=[project], min_start_time="2026-11-01T00:00:00Z")
    assert len(ids(everything)) == 320


def test_v2_pages(server: Server, upstream: Upstream, project: str) -> None:
    """100 runs a page unless asked, at most 1,000; the last page has no cursor and says that there is no more."""
    where = {"project_ids": [project], "min_start_time": "2026-11-20T00:00:00Z"}
    pages = v2_pages(server, **where)
    assert [len(page["items"]) for page in pages] == [100, 100, 100, 20]
    assert [page["has_more"] for page in pages] == [True, True, True, False]
    assert ids(pages) == [run["id"] for run in upstream.runs("support-bot")]
    assert ids(v2_pages(server, **where, page_size=1_000)) == ids(pages)
    assert ids(v2_pages(server, **where, sort_order="ASC", page_size=90)) == ids(pages)[::-1]
    for size in (0, 1_001):
        assert ask(server, "POST", V2, where | {"page_size": size}).status == 400


def test_v2_takes_project_ids_not_names(server: Server, project: str) -> None:
    """A name is a 422, no project and unknown selections are a 400, as are a wrong order and cursor."""
    assert ask(server, "POST", V2, {"project_ids": ["support-bot"]}).status == 422
    where = {"project_ids": [project]}
    for body in ({}, where | {"selects": ["id"]}, where | {"sort_order": "desc"}, where | {"cursor": "x"}):
        assert ask(server, "POST", V2, body).status == 400
    assert ask(server, "POST", "/v2/traces/query", {}).status == 400
    run = f"/v2/runs/{project}"
    assert ask(server, "GET", run).status == 400
    one_bound = {"project_id": project, "min_start_time": "2026-11-20T00:00:00Z"}
    assert ask(server, "GET", f"/v2/traces/{project}/runs", query=one_bound).status == 400


def test_v2_chooses_among_runs(server: Server, upstream: Upstream, project: str) -> None:
    """Bounds of start, roots, a trace, ids, a run type, errors and a filter can be asked for; bounds are inclusive."""
    runs = upstream.runs("support-bot")
    low, high = runs[200]["start_time"], runs[100]["start_time"]
    where = {"project_ids": [project], "min_start_time": "2026-11-20T00:00:00Z"}
    questions: list[tuple[dict[str, Any], Any]] = [
        ({"min_start_time": low, "max_start_time": high}, lambda run: low <= run["start_time"] <= high),
        ({"is_root": True}, lambda run: run["parent_run_id"] is None),
        ({"trace_id": runs[0]["trace_id"]}, lambda run: run["trace_id"] == runs[0]["trace_id"]),
        ({"ids": [runs[5]["id"]]}, lambda run: run["id"] == runs[5]["id"]),
        ({"run_type": "LLM"}, lambda run: run["run_type"] == "llm"),
        ({"has_error": True}, lambda run: run["error"] is not None),
        ({"filter": DAY_FILTER}, lambda run: started_on(run) == DAY),
    ]
    for question, wanted in questions:
        expected = [run["id"] for run in runs if wanted(run)]
        assert ids(v2_pages(server, **where | question)) == expected != []


def test_v2_renames(project: str) -> None:
    """v2 writes what v1 writes under other names and in other forms, and lacks what it lacks."""
    upstream = Upstream()
    run = made_runs(3, seed=3, slim=True, feedback_share=0)[1]
    run |= {"total_cost": "0.0125", "prompt_cost_details": {"cache": "0.5"}, "status": "success", "run_type": "llm"}
    run |= {"in_dataset": True, "serialized": {"lc": 1}, "manifest_id": run["id"]}
    upstream.add_runs("p", [run])
    project_id = upstream.projects["p"].project_id
    selects = ["PROJECT_ID", "IS_IN_DATASET", "PARENT_RUN_IDS", "LATENCY_SECONDS", "PROMPT_COST_DETAILS", "TOTAL_COST"]
    selects += ["STATUS", "RUN_TYPE", "IS_ROOT", "START_TIME", "MANIFEST"]
    with serving(upstream) as server:
        v1 = ask(server, "GET", f"/runs/{run['id']}").json
        v2 = ask(server, "GET", f"/v2/runs/{run['id']}", query={"project_id": project_id, "selects": selects}).json
    assert (v1["session_id"], v1["in_dataset"], v1["total_cost"]) == (project_id, True, "0.0125")
    assert (v1["status"], v1["run_type"], v1["prompt_cost_details"]) == ("success", "llm", {"cache": "0.5"})
    took = datetime.fromisoformat(v1["end_time"]) - datetime.fromisoformat(v1["start_time"])
    assert v2 == {
        "project_id": project_id,
        "is_in_dataset": True,
        "parent_run_ids": v1["parent_run_ids"],
        "latency_seconds": took.total_seconds(),
        "prompt_cost_details": {"raw": {"cache": 0.5}},
        "total_cost": 0.0125,
        "status": "SUCCESS",
        "run_type": "LLM",
        "is_root": False,
        "start_time": v1["start_time"].replace("+00:00", "Z"),
        "manifest": {"lc": 1},
    }
    assert v1["parent_run_id"] == v2["parent_run_ids"][-1]


def test_v2_reads_by_start_time(server: Server, upstream: Upstream, project: str) -> None:
    """A start_time that is not the run's finds nothing, nor does another project."""
    run = upstream.runs("support-bot")[7]
    other = upstream.add_project("other")
    path = f"/v2/runs/{run['id']}"
    assert ask(server, "GET", path, query={"project_id": project, "start_time": run["start_time"]}).status == 200
    assert ask(server, "GET", path, query={"project_id": project, "start_time": "2026-11-20T00:00:00Z"}).status == 404
    assert ask(server, "GET", path, query={"project_id": other}).status == 404


# ---------------------------------------------------------------------------------------------------------------------
# Attachments


def signed_url(server: Server, upstream: Upstream, api: str) -> Any:
    """A fresh URL of the attachment of the newest run."""
    run_id = upstream.runs("p")[0]["id"]
    project = upstream.projects["p"].project_id
    if api == "v1":
        return ask(server, "GET", f"/runs/{run_id}").json["s3_urls"]["attachment.a b.png"]["presigned_url"]
    query = {"project_id": project, "selects": "ATTACHMENTS"}
    return ask(server, "GET", f"/v2/runs/{run_id}", query=query).json["attachments"]["a b.png"]


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_signed_urls_differ_and_expire(api: str) -> None:
    """Each answer signs anew; the URL needs no key, is good for a while, and is refused after it or when altered."""
    upstream = Upstream()
    upstream.add_runs("p", made_runs(1))
    upstream.add_attachment(upstream.runs("p")[0]["id"], "a b.png", b"\x89PNG", "image/png")
    with serving(upstream) as server:
        urls = [signed_url(server, upstream, api) for _ in range(2)]
        assert urls[0] != urls[1]
        answer = ask(server, "GET", urls[0], headers={})
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"\x89PNG", "image/png")
        assert ask(server, "GET", urls[0][:-1] + "~", headers={}).status == 403
        assert {url.rpartition("=")[2] for url in urls} == set(server.signatures)
    with serving(upstream, signed_for_s=0.0) as server:
        assert ask(server, "GET", signed_url(server, upstream, api), headers={}).status == 403


# ---------------------------------------------------------------------------------------------------------------------
# Limits

DAY_QUESTION = {"filter": DAY_FILTER}


@pytest.mark.parametrize(
    ("question", "passing"),
    [
        ({"start_time": "2026-11-20T00:00:00Z"}, 10),
        ({"start_time": "2026-11-14T12:00:00Z"}, 10),
        ({"start_time": "2026-11-14T11:59:59Z"}, 3),
        ({"start_time": "2026-11-01T00:00:00Z", "end_time": "2026-11-02T00:00:00Z"}, 10),
        ({"filter": DAY_FILTER}, 10),
        ({"filter": 'lt(start_time, "2026-11-20T00:00:00Z")'}, 3),
        ({}, 3),
    ],
)
def test_v1_tiers_go_by_the_window(upstream: Upstream, project: str, question: dict[str, str], passing: int) -> None:
    """Ten queries over at most 7 days pass at once, three over more or without a start; the next is a 429."""
    with serving(upstream, "v1", tiers=Tiers(), clock=lambda: NOW) as server:
        statuses = [ask(server, "POST", V1, {"session": [project], **question}).status for _ in range(passing + 1)]
        assert statuses == [200] * passing + [429]
        assert server.too_many == 1


@pytest.mark.parametrize("retry_after", [True, False])
def test_a_429_may_say_when_to_come_again(upstream: Upstream, project: str, *, retry_after: bool) -> None:
    """A 429 has Retry-After in whole seconds, or has not; when the window has slid on, the question passes."""
    tiers = Tiers(short_query=Tier(2, 0.5), retry_after=retry_after)
    with serving(upstream, "v1", tiers=tiers, clock=lambda: NOW) as server:
        question = {"session": [project], **DAY_QUESTION}
        answers = [ask(server, "POST", V1, question) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].headers.get("retry-after") == ("1" if retry_after else None)
        assert answers[2].json == {"detail": "Rate limit exceeded"}
        free_at_s = server.requests[0].at_s + 0.5
        passed = next(request for request in _asked_until_200(server, question) if request.status == 200)
        assert free_at_s <= passed.at_s + 0.02


def _asked_until_200(server: Server, question: dict[str, Any]) -> Iterator[Any]:
    deadline = time.monotonic() + 20
    pause = threading.Event()
    while time.monotonic() < deadline:
        ask(server, "POST", V1, question)
        yield server.requests[-1]
        pause.wait(0.02)


def test_the_other_tiers_over_http(upstream: Upstream, project: str) -> None:
    """Reading runs by id is limited to 30, v2 queries to 300, and everything together by the key's own limit."""
    run_id = upstream.runs("support-bot")[0]["id"]
    with serving(upstream, tiers=Tiers(), clock=lambda: NOW) as server:
        assert [ask(server, "GET", f"/runs/{run_id}").status for _ in range(31)] == [200] * 30 + [429]
        page = {"project_ids": [project], "page_size": 1}
        answers = [ask(server, "POST", V2, page) for _ in range(301)]
        assert [answer.status for answer in answers] == [200] * 300 + [429]
        assert answers[-1].json["status"] == 429
    with serving(upstream, tiers=Tiers(everything=Tier(5, 60.0))) as server:
        assert [ask(server, "GET", "/sessions").status for _ in range(6)] == [200] * 5 + [429]


# ---------------------------------------------------------------------------------------------------------------------
# Weather


def question(project: str, **more: Any) -> dict[str, Any]:
    """A v1 query."""
    return {"session": [project], "limit": 50, **more}


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 502, 503])
def test_a_status_befalls_so_many_requests(upstream: Upstream, project: str, status: int) -> None:
    """The fault spares the requests before it, befalls as many as it says, and no other path."""
    fault = fails(status, "/runs/query", after=1, times=2, retry_after="7")
    with serving(upstream, "v1", faults=[fault]) as server:
        answers = [ask(server, "POST", V1, question(project)) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, status, status, 200]
        assert answers[1].headers["retry-after"] == "7"
        assert {request.status for request in server.requests} == {200, status}
        body = answers[1].json
        assert set(body) == ({"error"} if status == 401 else {"detail"})
        assert isinstance(body.get("detail"), list) == (status == 422)
        assert server.too_many == (2 if status == 429 else 0)
        server.inject(fails(500, "/v2/*", times=ALWAYS), fails(502, "/feedback", method="POST"))
        assert ask(server, "GET", "/feedback").status == 200


def test_a_fault_finds_its_request_by_the_body(upstream: Upstream, project: str) -> None:
    """A fault may be meant for some bodies alone, and may send a body of its own."""
    fault = fails(500, "/runs/query", asked=lambda body: "cursor" in body, body=b"<html>oops</html>")
    with serving(upstream, "v1", faults=[fault]) as server:
        first = ask(server, "POST", V1, question(project))
        second = ask(server, "POST", V1, question(project, cursor=first.json["cursors"]["next"]))
        assert (first.status, second.status, second.body) == (200, 500, b"<html>oops</html>")


@pytest.mark.parametrize(("midway", "status"), [(False, 0), (True, 200)])
def test_a_reset_connection(upstream: Upstream, project: str, *, midway: bool, status: int) -> None:
    """The connection is reset before or in the middle of the answer, it is on record, and the next is answered."""
    with serving(upstream, "v1", faults=[resets("/runs/query", midway=midway)]) as server:
        with pytest.raises((ConnectionError, IncompleteRead)):
            ask(server, "POST", V1, question(project))
        assert [request.status for request in server.requests] == [status]
        assert ask(server, "POST", V1, question(project)).status == 200


@pytest.mark.parametrize("midway", [False, True])
def test_a_stall(upstream: Upstream, project: str, *, midway: bool) -> None:
    """Nothing comes, or nothing more than half; others are answered meanwhile, and the stand-in ends all the same."""
    with serving(upstream, "v1", faults=[stalls("/runs/query", midway=midway)]) as server:
        with pytest.raises(TimeoutError):
            ask(server, "POST", V1, question(project), patience_s=0.3)
        assert ask(server, "POST", V1, question(project)).status == 200


def test_a_body_that_breaks_off(upstream: Upstream, project: str) -> None:
    """The answer is a 200 whose Content-Length is not fulfilled."""
    with serving(upstream, "v1", faults=[breaks_off("/runs/query")]) as server:
        with pytest.raises(IncompleteRead):
            ask(server, "POST", V1, question(project))
        assert server.requests[0].status == 200
        assert ask(server, "POST", V1, question(project)).status == 200


def test_json_that_is_cut(upstream: Upstream, project: str) -> None:
    """The answer is a whole 200 whose JSON ends in the middle."""
    with serving(upstream, faults=[cuts_json("*/query")]) as server:
        answer = ask(server, "POST", V1, question(project))
        assert (answer.status, int(answer.headers["content-length"])) == (200, len(answer.body))
        with pytest.raises(json.JSONDecodeError):
            json.loads(answer.body)


def cursor_of(answer: Answer) -> str | None:
    page = answer.json
    cursor: str | None = page["cursors"]["next"] if "cursors" in page else page.get("next_cursor")
    return cursor


@pytest.mark.parametrize("path", [V1, V2])
def test_cursors_that_repeat_or_are_missing(upstream: Upstream, project: str, path: str) -> None:
    """A page's next cursor is the one that asked for it; a full page has none though runs are left."""
    size = {"page_size": 50, "project_ids": [project], "min_start_time": "2026-11-20T00:00:00Z"}
    body = size if path == V2 else question(project)
    with serving(upstream, faults=[repeats_cursor(), drops_cursor(after=1)]) as server:
        first = ask(server, "POST", path, body)
        second = ask(server, "POST", path, body | {"cursor": cursor_of(first)})
        assert cursor_of(second) == cursor_of(first) is not None
        third = ask(server, "POST", path, body)
        assert cursor_of(third) is None
        assert ids([third.json]) == ids([first.json]) != ids([second.json])
        assert len(ids([third.json])) == 50


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_one_run_on_two_pages(upstream: Upstream, project: str, api: str) -> None:
    """The last run of a page comes again as the first of the next, and no run is missing."""
    with serving(upstream, faults=[doubles_run()]) as server:
        if api == "v1":
            pages = v1_pages(server, session=[project])
        else:
            pages = v2_pages(server, project_ids=[project], min_start_time="2026-11-20T00:00:00Z")
        assert len(ids(pages)) == 323
        assert len(set(ids(pages))) == 320
        assert [ids([page])[0] for page in pages[1:]] == [ids([page])[-1] for page in pages[:-1]]


def test_any_answer_can_be_edited(upstream: Upstream, project: str) -> None:
    """A fault can send any other JSON, such as a page without its runs; errors are not edited."""
    faults = [edits("/runs/query", lambda answer, body: {"cursors": answer["cursors"], "was": body["limit"]}, times=2)]
    with serving(upstream, "v1", faults=faults) as server:
        assert set(ask(server, "POST", V1, question(project)).json) == {"cursors", "was"}
        assert ask(server, "POST", V1, question(project, limit=101)).json.keys() == {"detail"}


# ---------------------------------------------------------------------------------------------------------------------
# Poison


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_run_without_a_start(api: str) -> None:
    """A run whose ``start_time`` is null is listed where its dotted_order says that it started."""
    upstream = Upstream()
    runs = made_runs(9, slim=True)
    runs[4]["start_time"] = None
    upstream.add_runs("p", runs)
    project = upstream.projects["p"].project_id
    with serving(upstream) as server:
        if api == "v1":
            found = v1_pages(server, session=[project], filter=DAY_FILTER)[0]["runs"]
        else:
            window = {"min_start_time": "2026-11-20T00:00:00Z", "max_start_time": "2026-11-22T00:00:00Z"}
            found = v2_pages(server, project_ids=[project], selects=["ID", "START_TIME"], **window)[0]["items"]
    assert {run["id"] for run in found} == {run["id"] for run in runs}
    nulls = [place for place, run in enumerate(found) if run["start_time"] is None]
    orders = sorted((run["dotted_order"].rpartition(".")[2], run["id"]) for run in runs)[::-1]
    assert [found[place]["id"] for place in nulls] == [runs[4]["id"]]
    assert nulls == [[run_id for _, run_id in orders].index(runs[4]["id"])]


@pytest.mark.parametrize("path", [V1, V2])
def test_a_spoiled_run_stands_in_its_page(path: str) -> None:
    """Any text stands where a run's JSON belongs, between runs that are whole: 2^80, NaN, half an object."""
    upstream = Upstream()
    upstream.add_runs("p", made_runs(3, slim=True))
    project = upstream.projects["p"].project_id
    spoiled = upstream.runs("p")[1]["id"]
    body: dict[str, Any] = {"session": [project], "project_ids": [project], "min_start_time": "2026-11-20T00:00:00Z"}
    with serving(upstream) as server:
        for text in (b'{"total_tokens":1208925819614629174706176}', b'{"score":NaN}', b'{"id":"', b"7", b'"\\ud800"'):
            upstream.spoil(spoiled, text)
            answer = ask(server, "POST", path, body)
            assert answer.status == 200
            assert b"," + text + b"," in answer.body
        upstream.add_runs("p", [upstream.run(spoiled)])
        assert b',"\\ud800",' in ask(server, "POST", path, body).body


def test_25_000_runs_of_one_trace() -> None:
    """The largest trace that LangSmith holds is paged through by either API, and v2 answers it in one call."""
    upstream = Upstream()
    upstream.add_runs("p", big_trace(25_000))
    project = upstream.projects["p"].project_id
    trace = upstream.runs("p")[-1]["trace_id"]
    with serving(upstream) as server:
        pages = v2_pages(server, project_ids=[project], min_start_time="2026-11-20T00:00:00Z", page_size=1_000)
        assert len(set(ids(pages))) == 25_000
        assert len(pages) == 25
        whole = ask(server, "GET", f"/v2/traces/{trace}/runs", query={"project_id": project}).json
        assert ids([whole]) == ids(pages)[::-1]
        first = ask(server, "POST", V1, {"session": [project], "trace": trace}).json
        assert ids([first]) == ids(pages)[:100]


# ---------------------------------------------------------------------------------------------------------------------
# The record


def test_requests_are_on_record(upstream: Upstream, project: str) -> None:
    """Each request is kept with what was asked, what was answered and when, and is counted by either spelling."""
    with serving(upstream, "v1") as server:
        ask(server, "POST", "/api/v1/runs/query", question(project))
        ask(server, "GET", "/feedback", query={"run": [project], "limit": 5})
        ask(server, "POST", V1, b"{")
        first, second, third = server.requests
        assert (first.method, first.path, first.plain_path) == ("POST", "/api/v1/runs/query", "/runs/query")
        assert first.body == question(project)
        assert (first.status, third.status, third.body) == (200, 422, None)
        assert first.sent_bytes > 1_000
        assert second.query == {"run": [project], "limit": ["5"]}
        assert first.headers["x-api-key"] == KEY
        assert 0 <= first.at_s <= second.at_s <= third.at_s
        assert (server.count("POST", "/runs/query"), server.count("POST", "/api/v1/runs/query")) == (2, 1)
        assert (server.count(), server.count("GET"), server.count(path="/feedback")) == (3, 1, 1)


def test_a_stand_in_ends(upstream: Upstream) -> None:
    """After the block nothing listens any more and no thread is left."""
    before = threading.active_count()
    with serving(upstream) as server:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    with pytest.raises((ConnectionError, RemoteDisconnected)):
        ask(server, "GET", "/info")
