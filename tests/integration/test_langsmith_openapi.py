"""The LangSmith stand-in is faithful: each answer is what LangSmith's own OpenAPI document describes."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY, Schema

from langsmith_answers import V1_DEFAULT, V1_FIELDS
from langsmith_asking import ask, v1_pages, v2_pages
from langsmith_faults import fails
from langsmith_forms import V2_FIELDS
from langsmith_runs import made_runs, sdk_upstream
from langsmith_server import Server, serving

BESIDE_CHECKOUT = Path(__file__).parents[3] / "shared" / "openapi" / "langsmith.openapi.json.gz"
DOCUMENT = Path(os.environ.get("LANGSMITH_OPENAPI", BESIDE_CHECKOUT))
LATER_THAN_DOCUMENT = {"LAST_QUEUED_AT", "LS_USER_ID"}
"""Selectable fields that the SDK knows and the document does not."""
ALL_V2 = sorted(set(V2_FIELDS) - LATER_THAN_DOCUMENT)
pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"there is no OpenAPI document at {DOCUMENT}")

FORMATS = FormatChecker(())


@FORMATS.checks("uuid", ValueError)
def is_uuid(value: object) -> bool:
    """Whether a text is a UUID as it is usually written."""
    return not isinstance(value, str) or str(UUID(value)) == value


@FORMATS.checks("date-time", ValueError)
def is_time(value: object) -> bool:
    """Whether a text is a time with an offset."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """LangSmith's description of its API; a field that "is null" in words may be null."""
    read: dict[str, Any] = json.loads(gzip.decompress(DOCUMENT.read_bytes()))
    for schema in read["components"]["schemas"].values():
        for name, described in schema.get("properties", {}).items():
            if "JSON null" in described.get("description", "") or "or `null`" in described.get("description", ""):
                schema["properties"][name] = {"anyOf": [described, {"type": "null"}]}
    return read


@pytest.fixture(scope="module")
def registry(document: dict[str, Any]) -> Registry[Schema]:
    """The document, for references into it."""
    made: Registry[Schema] = EMPTY_REGISTRY.with_resource("urn:langsmith", DRAFT202012.create_resource(document))
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A stand-in of the SDK's runs and generated ones, some of them pending or with attachments or details."""
    upstream = sdk_upstream()
    runs = made_runs(400, seed=2, pending=20)
    runs[0] |= {
        "prompt_token_details": {"cache_read": 3},
        "completion_token_details": {"reasoning": 4},
        "prompt_cost_details": {"cache_read": "0.0001"},
        "completion_cost_details": {"reasoning": 0.25},
        "first_token_time": runs[0]["start_time"],
        "prompt_cost": 0.5,
    }
    upstream.add_runs("made", runs)
    upstream.add_attachment(runs[0]["id"], "a.png", b"png", "image/png")
    with serving(upstream, "both") as serving_now:
        yield serving_now


@pytest.fixture
def complaints(registry: Registry[Schema], document: dict[str, Any]) -> Any:
    """What is wrong with a value, by the name of its schema or by method, path and status of its answer."""

    def check(value: Any, where: str) -> str | None:
        schema = {"$ref": f"urn:langsmith#{where}"}
        worst = best_match(Draft202012Validator(schema, registry=registry, format_checker=FORMATS).iter_errors(value))
        return worst and f"{worst.json_path}: {worst.message[:300]}"

    return check


def answer_of(path: str, method: str = "get", status: int = 200) -> str:
    """Where the document describes an answer."""
    escaped = path.replace("~", "~0").replace("/", "~1")
    return f"/paths/{escaped}/{method}/responses/{status}/content/application~1json/schema"


def project_of(server: Server, name: str) -> str:
    return server.upstream.projects[name].project_id


def test_selectable_fields_are_the_documented_ones(document: dict[str, Any]) -> None:
    """v1 and v2 take the field names of the document, and v1 answers the documented ones where none is chosen."""
    schemas = document["components"]["schemas"]
    assert set(schemas["RunSelect"]["enum"]) == V1_FIELDS
    assert set(schemas["BodyParamsForRunsQuerySchema"]["properties"]["select"]["default"]) == V1_DEFAULT
    assert set(schemas["query.RunSelectField"]["enum"]) == set(ALL_V2)


@pytest.mark.parametrize("path", ["/info", "/sessions", "/feedback"])
def test_lists_and_info(server: Server, complaints: Any, path: str) -> None:
    """What both APIs share is as described."""
    answer = ask(server, "GET", f"/api/v1{path}")
    assert answer.status == 200
    assert answer.json
    assert complaints(answer.json, answer_of(f"/api/v1{path}")) is None


@pytest.mark.parametrize("select", [None, sorted(V1_FIELDS), ["id"]])
@pytest.mark.parametrize("project", ["made", "support-bot", "deep research", "eval.nightly"])
def test_pages_of_v1(server: Server, complaints: Any, project: str, select: list[str] | None) -> None:
    """Every page of a v1 query is as described, whatever is selected; so is the question."""
    body = {"session": [project_of(server, project)]} | ({} if select is None else {"select": select})
    assert complaints(body, "/components/schemas/BodyParamsForRunsQuerySchema") is None
    pages = v1_pages(server, **body)
    assert len(pages) >= 3
    assert [complaints(page, answer_of("/api/v1/runs/query", "post")) for page in pages] == [None] * len(pages)


@pytest.mark.parametrize("selects", [None, ALL_V2])
@pytest.mark.parametrize("project", ["made", "support-bot", "deep research", "eval.nightly"])
def test_pages_of_v2(
    server: Server, complaints: Any, document: dict[str, Any], project: str, selects: list[str] | None
) -> None:
    """Every page of a v2 query is as described, whatever is selected, and holds no field that is not described."""
    body = {"project_ids": [project_of(server, project)], "min_start_time": "2026-11-01T00:00:00Z"}
    body |= {"selects": selects} if selects else {}
    assert complaints(body, "/components/schemas/query.QueryRunsRequestBody") is None
    pages = v2_pages(server, **body)
    assert len(pages) >= 3
    assert [complaints(page, answer_of("/v2/runs/query", "post")) for page in pages] == [None] * len(pages)
    fields = {name for page in pages for run in page["items"] for name in run}
    assert fields <= set(document["components"]["schemas"]["query.RunResponse"]["properties"])


def test_single_runs_and_traces(server: Server, complaints: Any) -> None:
    """A run by its id in either API, a trace's runs and a project's root runs are as described."""
    project = project_of(server, "made")
    traces = Counter(run["trace_id"] for run in server.upstream.runs("made"))
    root = server.upstream.run(traces.most_common(1)[0][0])
    where: dict[str, Any] = {"project_id": project, "selects": ALL_V2}
    window = {"min_start_time": "2026-11-01T00:00:00Z", "max_start_time": "2026-12-01T00:00:00Z"}
    v1 = ask(server, "GET", f"/api/v1/runs/{root['id']}").json
    assert complaints(v1, answer_of("/api/v1/runs/{run_id}")) is None
    v2 = ask(server, "GET", f"/v2/runs/{root['id']}", query=where | {"start_time": root["start_time"]}).json
    assert complaints(v2, answer_of("/v2/runs/{run_id}")) is None
    trace = ask(server, "GET", f"/v2/traces/{root['trace_id']}/runs", query=where | window).json
    assert len(trace["items"]) > 70
    assert complaints(trace, answer_of("/v2/traces/{trace_id}/runs")) is None
    roots = ask(server, "POST", "/api/v2/traces/query", where | window).json
    run = "/components/schemas/query.RunResponse"
    assert [complaints(one["root_run"], run) for one in roots["items"]] == [None] * len(roots["items"]) != []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 503])
def test_errors_of_v2(server: Server, complaints: Any, status: int) -> None:
    """An error of v2 is a problem as RFC 7807 has it, with its own content type."""
    server.inject(fails(status, "/v2/runs/query"))
    answer = ask(server, "POST", "/v2/runs/query", {})
    assert answer.status == answer.json["status"] == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert complaints(answer.json, answer_of("/v2/runs/query", "post", status)) is None


def test_invalid_questions_of_v1(server: Server, complaints: Any) -> None:
    """What v1 cannot make sense of is a 422 whose detail is the described list."""
    questions: list[dict[str, object]] = [
        {"session": ["support-bot"]},
        {"session": [project_of(server, "made")], "limit": 0},
        {"session": [project_of(server, "made")], "start_time": "yesterday"},
        {"session": [project_of(server, "made")], "select": ["colour"]},
    ]
    for question in questions:
        answer = ask(server, "POST", "/runs/query", question)
        assert answer.status == 422
        assert complaints(answer.json, answer_of("/api/v1/runs/query", "post", 422)) is None


def test_the_check_sees_what_is_wrong(server: Server, complaints: Any) -> None:
    """An answer with one wrong value does not pass."""
    page = ask(server, "POST", "/runs/query", {"session": [project_of(server, "made")]}).json
    page["runs"][3]["total_cost"] = 0.5
    assert "0.5" in str(complaints(page, answer_of("/api/v1/runs/query", "post")))
    del page["runs"][3]["total_cost"]
    page["runs"][4]["start_time"] = "2026-11-20T00:00:00"
    assert "2026-11-20T00:00:00" in str(complaints(page, answer_of("/api/v1/runs/query", "post")))
