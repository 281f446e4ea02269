"""The LangSmith stand-in is faithful: the real SDK reads from it what lies in the files that the SDK once wrote."""

from __future__ import annotations

import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import pytest
from langsmith import AsyncClient, Client
from langsmith.utils import LangSmithAuthError, LangSmithError, LangSmithNotFoundError, LangSmithRateLimitError

from langsmith_answers import Api
from langsmith_faults import fails
from langsmith_limits import Tier, Tiers
from langsmith_runs import SDK_ARCHIVE, sdk_upstream
from langsmith_server import KEY, Server, serving
from langsmith_upstream import Upstream
from tracewatchd.model.layout import RunPath
from tracewatchd.model.times import written_time

PROJECTS = {"support-bot": 283, "deep research": 295, "eval.nightly": 220}
BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)
SELECTS: list[Any] = ["ID", "NAME", "RUN_TYPE", "STATUS", "START_TIME", "END_TIME", "INPUTS", "OUTPUTS", "DOTTED_ORDER"]
OLD_CALLS = pytest.mark.filterwarnings("ignore:.*deprecated and will be removed after Jan 31, 2027:DeprecationWarning")
"""v1's own functions say so; they are what v1 is read by."""


@cache
def files() -> dict[str, dict[str, Any]]:
    """The runs of the SDK's archive by id, as their files hold them."""
    runs = {}
    with tarfile.open(SDK_ARCHIVE) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and RunPath.parse(member.name.removeprefix("data/")) is not None:
                document = msgspec.json.decode(content.read())
                run = document.get("trace", document)
                runs[run["id"]] = run
    return runs


@pytest.fixture
def upstream() -> Upstream:
    """What the SDK's archive holds."""
    return sdk_upstream()


@pytest.fixture
def serve(upstream: Upstream) -> Iterator[Callable[..., Server]]:
    """Start a stand-in: ``serve(api, **options)``."""
    with ExitStack() as servers:
        yield lambda api="both", **options: servers.enter_context(serving(upstream, api, **options))


@pytest.fixture
def client_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """Make an SDK client of a server that can connect to that server alone, and that leaves no thread behind."""
    connected: set[Any] = set()
    connect = socket.socket.connect

    def note(self: socket.socket, address: Any) -> None:
        connected.add(address[0])
        connect(self, address)

    for name in [
        name for name in os.environ if name.startswith(("LANGSMITH_", "LANGCHAIN_")) or "proxy" in name.lower()
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket.socket, "connect", note)
    before = set(threading.enumerate())
    with ExitStack() as clients:

        def make(server: Server, base: str = "") -> Client:
            client = Client(api_url=server.url + base, api_key=KEY, auto_batch_tracing=False)
            clients.callback(client.close)
            return client

        yield make
        assert connected == {"127.0.0.1"}
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert {name for name in left if not name.startswith(("langsmith stand-in", "asyncio_"))} == set()


def written(run: Any) -> dict[str, Any]:
    """What a file holds of a run that the SDK read."""
    held = files()[str(run.id)]
    names = ("name", "run_type", "status", "trace_id", "parent_run_id", "dotted_order", "inputs", "outputs", "error")
    times = {name: held[name] and written_time(held[name]) for name in ("start_time", "end_time")}
    return {name: held[name] for name in names} | times | {"tags": held["tags"], "events": len(held["events"])}


def read(run: Any) -> dict[str, Any]:
    """The same of the SDK's model."""
    names = ("name", "run_type", "status", "dotted_order", "inputs", "outputs", "error", "tags")
    ids = {name: getattr(run, name) and str(getattr(run, name)) for name in ("trace_id", "parent_run_id")}
    times = {name: getattr(run, name) and _aware(getattr(run, name)) for name in ("start_time", "end_time")}
    return {name: getattr(run, name) for name in names} | ids | times | {"events": len(run.events or ())}


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# ---------------------------------------------------------------------------------------------------------------------
# v1


@OLD_CALLS
@pytest.mark.parametrize("api", ["v1", "both"])
@pytest.mark.parametrize("base", ["", "/api/v1"])
def test_the_sdk_lists_every_run_of_v1(
    serve: Callable[..., Server], client_of: Callable[..., Client], api: Api, base: str
) -> None:
    """With and without ``/api/v1`` the SDK lists all 798 runs, newest first, each as its file holds it."""
    server = serve(api)
    client = client_of(server, base)
    for project, count in PROJECTS.items():
        runs = list(client.list_runs(project_name=project))
        assert [read(run) for run in runs] == [written(run) for run in runs]
        assert len({run.id for run in runs}) == len(runs) == count
        starts = [run.start_time for run in runs]
        assert starts == sorted(starts, reverse=True)
    assert server.count("POST", "/runs/query") == sum(-(-count // 100) for count in PROJECTS.values())
    assert {request.status for request in server.requests} == {200}


@OLD_CALLS
async def test_the_async_sdk_lists_the_same(serve: Callable[..., Server], client_of: Callable[..., Client]) -> None:
    """The SDK's asynchronous client lists what the synchronous one does."""
    server = serve("v1")
    expected = [run.id for run in client_of(server).list_runs(project_name="support-bot")]
    async with AsyncClient(api_url=server.url, api_key=KEY) as client:
        assert [run.id async for run in client.list_runs(project_name="support-bot")] == expected


@OLD_CALLS
def test_the_sdk_reads_a_run_and_its_attachment(
    upstream: Upstream, serve: Callable[..., Server], client_of: Callable[..., Client]
) -> None:
    """A run that is read by its id is the one that was listed; the SDK downloads its attachment by the signed URL."""
    run_id = next(iter(upstream.projects["support-bot"].runs))
    upstream.add_attachment(run_id, "notes 1.txt", b"\x00 notes", "text/plain")
    client = client_of(serve("v1"))
    run = client.read_run(run_id)
    assert read(run) == written(run)
    assert run.attachments is not None
    assert run.attachments["notes 1.txt"]["reader"].read() == b"\x00 notes"
    assert run.attachments["notes 1.txt"]["mime_type"] == "text/plain"


def test_the_sdk_lists_feedback(
    upstream: Upstream, serve: Callable[..., Server], client_of: Callable[..., Client]
) -> None:
    """Feedback of all runs, asked for by 50 ids at a time, is that of the files; runs without any have none."""
    for run_id in list(upstream.projects["deep research"].runs)[:3]:
        for number in range(70):
            upstream.add_feedback(run_id, {"key": f"key-{number}", "score": number, "comment": "why"})
    server = serve("v1")
    client = client_of(server)
    ids = list(files())
    found = [
        one for first in range(0, len(ids), 50) for one in client.list_feedback(run_ids=list(ids[first : first + 50]))
    ]
    expected = [one for run in files().values() for one in run.get("feedback_records") or ()]
    of_files = [one for one in found if not one.key.startswith("key-")]
    assert sorted((str(one.run_id), one.key, one.score) for one in of_files) == sorted(
        (one["run_id"], one["key"], one["score"]) for one in expected
    )
    assert len(found) == len(expected) + 210
    assert len({one.id for one in found}) == len(found)
    assert server.count("GET", "/feedback") == 16 + 2


@OLD_CALLS
def test_feedback_shows_in_the_stats(
    upstream: Upstream, serve: Callable[..., Server], client_of: Callable[..., Client]
) -> None:
    """What `feedback_stats` of a listed run say follows from the feedback that it has."""
    run_id = next(iter(upstream.projects["eval.nightly"].runs))
    upstream.add_feedback(run_id, {"key": "tone", "value": "warm"})
    upstream.add_feedback(run_id, {"key": "score", "score": 1})
    upstream.add_feedback(run_id, {"key": "score", "score": 0})
    (run,) = client_of(serve("v1")).list_runs(project_name="eval.nightly", run_ids=[run_id])
    assert run.feedback_stats is not None
    assert run.feedback_stats["tone"] == {"n": 1, "avg": None, "values": {"warm": 1}}
    assert run.feedback_stats["score"] == {"n": 2, "avg": 0.5, "values": {}}


def test_the_sdk_finds_projects(
    upstream: Upstream, serve: Callable[..., Server], client_of: Callable[..., Client]
) -> None:
    """Projects are listed beyond a page of 100, found by any name, by id, or not at all."""
    names = ['it\'s / a "name"', *(f"project-{number}" for number in range(140))]
    for name in names:
        upstream.add_project(name)
    server = serve("v2")
    client = client_of(server)
    assert {project.name for project in client.list_projects()} == {*PROJECTS, *names}
    assert server.count("GET", "/sessions") == 2
    project = client.read_project(project_name=names[0])
    assert project.name == names[0]
    assert client.read_project(project_id=str(project.id)).name == names[0]
    with pytest.raises(LangSmithNotFoundError):
        client.read_project(project_name="PROJECT-1")


@OLD_CALLS
@pytest.mark.parametrize(
    ("status", "expected"), [(401, LangSmithAuthError), (404, LangSmithNotFoundError), (422, LangSmithError)]
)
def test_the_sdk_knows_our_errors(
    serve: Callable[..., Server], client_of: Callable[..., Client], status: int, expected: type[Exception]
) -> None:
    """The SDK takes a refusal of ours for what LangSmith means by it."""
    server = serve("v1", faults=[fails(status, "/runs/query")])
    with pytest.raises(expected):
        list(client_of(server).list_runs(project_name="support-bot"))


@OLD_CALLS
def test_the_sdk_is_told_of_too_many_requests(
    serve: Callable[..., Server], client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the tier the SDK raises its rate limit error."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    server = serve("v1", tiers=Tiers(long_query=Tier(1, 600.0)))
    with pytest.raises(LangSmithRateLimitError):
        list(client_of(server).list_runs(project_name="support-bot"))
    assert server.too_many > 0


# ---------------------------------------------------------------------------------------------------------------------
# v2


@pytest.mark.parametrize("api", ["v2", "both"])
async def test_the_sdk_lists_every_run_of_v2(
    serve: Callable[..., Server], client_of: Callable[..., Client], api: Api
) -> None:
    """By v2 the SDK lists the same 798 runs, with ids, times and content as in their files."""
    server = serve(api)
    client = client_of(server)
    for project, count in PROJECTS.items():
        project_id = str(client.read_project(project_name=project).id)
        query = client.runs.query(project_ids=[project_id], min_start_time=BEGINNING, selects=SELECTS)
        runs = [run async for run in query]
        assert len({run.id for run in runs}) == len(runs) == count
        for run in runs:
            assert run.id is not None
            held = files()[run.id]
            assert (run.name, run.inputs, run.outputs) == (held["name"], held["inputs"], held["outputs"])
            assert (run.run_type, run.status) == (held["run_type"].upper(), held["status"].upper())
            assert run.start_time == written_time(held["start_time"])
            assert run.end_time == (held["end_time"] and written_time(held["end_time"]))
            assert run.dotted_order == held["dotted_order"]
    assert server.count("POST", "/v2/runs/query") == sum(-(-count // 100) for count in PROJECTS.values())
    await client._get_langsmith_api().close()


async def test_the_sdk_reads_traces_of_v2(serve: Callable[..., Server], client_of: Callable[..., Client]) -> None:
    """A run by its id, a trace's runs and a project's traces by v2 are those of the files."""
    client = client_of(serve("v2"))
    project_id = str(client.read_project(project_name="support-bot").id)
    query = client.traces.query(project_id=project_id, min_start_time=BEGINNING, selects=["ID", "TOTAL_TOKENS"])
    traces = [trace.root_run.id async for trace in query if trace.root_run]
    assert len(traces) == len(set(traces)) == 21
    for trace_id in traces:
        found = await client.traces.list_runs(str(trace_id), project_id=project_id, selects=["ID", "PARENT_RUN_IDS"])
        expected = {run_id for run_id, run in files().items() if run["trace_id"] == trace_id}
        assert {run.id for run in found.items or ()} == expected
    held = files()[str(traces[0])]
    run = await client.runs.retrieve(held["id"], project_id=project_id, start_time=held["start_time"], selects=SELECTS)
    assert (run.id, run.inputs) == (held["id"], held["inputs"])
    await client._get_langsmith_api().close()


@OLD_CALLS
def test_the_sdk_reads_by_v2_where_v1_is_gone(
    upstream: Upstream, serve: Callable[..., Server], client_of: Callable[..., Client]
) -> None:
    """By ``/info`` the SDK knows that v1 is gone, and what it makes of v2's answer equals what v1 said."""
    run_id, held = next(iter(upstream.projects["support-bot"].runs.items()))
    upstream.add_attachment(run_id, "notes.txt", b"notes")
    by_v1 = client_of(serve("v1")).read_run(run_id)
    server = serve("v2")
    by_v2 = client_of(server).read_run(run_id, project_id=by_v1.session_id, start_time=held.key[0])
    assert [request.plain_path for request in server.requests][:2] == ["/info", f"/v2/runs/{run_id}"]
    assert read(by_v2) == read(by_v1)
    assert by_v2.attachments is not None
    assert by_v2.attachments["notes.txt"]["reader"].read() == b"notes"
    assert (by_v2.session_id, by_v2.extra) == (by_v1.session_id, by_v1.extra)
