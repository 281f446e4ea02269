"""``archive fetch`` against a stand-in of LangSmith that answers over real HTTP, in fair weather and in foul."""

from __future__ import annotations

import errno
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fetches import FASTER, NOW, PROJECT, Fetching
from langsmith_faults import (
    ALWAYS,
    Fault,
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
from langsmith_forms import Run
from langsmith_limits import Tiers
from langsmith_runs import DAY, SDK_ARCHIVE, big_trace, made_runs, started_on
from langsmith_server import serving
from langsmith_upstream import Upstream
from tracewatchd.archive.fetch import days_since, pending_before
from tracewatchd.archive.fetch_hints import Hints, Standing
from tracewatchd.edges.langsmith_http import Access
from tracewatchd.model.decode import decode
from tracewatchd.model.events import FetchFailed, FetchFinished, FetchIncomplete, LangsmithThrottled
from tracewatchd.model.exits import Exit
from tracewatchd.model.layout import RunPath
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.stamp import Stamp

APIS = ["v1", "v2"]
QUERY = {"v1": "/runs/query", "v2": "/v2/runs/query"}
PAGE = {"v1": 100, "v2": 1_000}


def holding(runs: list[Run], project: str = PROJECT) -> Upstream:
    """A workspace with one project."""
    upstream = Upstream()
    upstream.add_runs(project, runs)
    return upstream


@contextmanager
def fetching(
    directory: Path, upstream: Upstream, api: Any = "v1", *faults: Fault, faster: float = FASTER, **setting: Any
) -> Iterator[Fetching]:
    """Fetches from a stand-in that enforces the documented limits, faster than documented."""
    with serving(upstream, api, tiers=Tiers().faster(faster), faults=faults, clock=lambda: NOW) as server:
        yield Fetching(directory, server, faster=faster, **setting)


def by_id(feedback: list[Run]) -> list[Run]:
    """In one order, whatever order it was answered in."""
    return sorted(feedback, key=lambda one: str(one["id"]))


def of_day(runs: list[Run], day: date = DAY) -> list[Run]:
    """Those that started on the day."""
    return [run for run in runs if started_on(run) == day]


# ---------------------------------------------------------------------------------------------------------------------
# Fair weather


@pytest.mark.parametrize("api", APIS)
async def test_every_run_of_the_day_becomes_a_file(tmp_path: Path, api: str) -> None:
    """Roots and children that started on the day, those of traces that cross midnight too, each with its feedback."""
    runs = made_runs(330, seed=3)
    with fetching(tmp_path, holding(runs), api) as fetch:
        result = await fetch.fetch()
        documents = fetch.documents()
        feedback = fetch.server.upstream.feedback
    assert set(documents) == {run["id"] for run in of_day(runs)}
    assert 0 < len(documents) < len(runs)
    for run_id, document in documents.items():
        assert document["metadata"]["project_name"] == PROJECT
        assert document["metadata"]["feedback"] == ("fetched" if run_id in feedback else "empty")
        assert by_id(document["trace"]["feedback_records"]) == by_id(feedback.get(run_id, []))
    assert (result.written, result.runs, result.is_whole) == (len(documents), len(documents), True)
    assert result.feedback_fetched + result.feedback_empty == len(documents)


@pytest.mark.parametrize("api", APIS)
async def test_a_day_begins_and_ends_at_midnight(tmp_path: Path, api: str) -> None:
    """The run of the first microsecond belongs to it, that of the next day's does not, even where one is answered."""
    first, last, late = runs = big_trace(3)
    first["start_time"] = f"{DAY}T00:00:00+00:00"
    last["start_time"] = f"{DAY}T23:59:59.999999+00:00"
    late["start_time"] = f"{DAY + timedelta(days=1)}T00:00:00+00:00"

    def add(answer: Any, _body: Any) -> Any:
        answer["runs" if api == "v1" else "items"].insert(0, late)
        return answer

    with fetching(tmp_path, holding(runs), api, edits(QUERY[api], add)) as fetch:
        await fetch.fetch()
        assert set(fetch.files()) == {first["id"], last["id"]}
        assert [path.name[37:43] for path in sorted(fetch.root.rglob(f"{last['id']}*"))] == ["235959"]
        (asked,) = fetch.server.asked("POST", QUERY[api])
        assert (api == "v2") or f'lt(start_time, "{DAY + timedelta(days=1)}' in asked.body["filter"]


async def test_what_is_written_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file and its name are synchronised before the next page is asked for."""
    synchronised: list[int] = []
    seen: list[int] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synchronised.append(descriptor)
        fsync(descriptor)

    def count(answer: Any, _body: Any) -> Any:
        seen.append(len(synchronised))
        return answer

    monkeypatch.setattr("tracewatchd.edges.writing.os.fsync", note)
    look = edits("/runs/query", count, times=ALWAYS)
    with fetching(tmp_path, holding(big_trace(250)), "v1", look) as fetch:
        await fetch.fetch()
    assert seen == [0, 200, 400]


@pytest.mark.parametrize("api", APIS)
async def test_files_load(tmp_path: Path, api: str) -> None:
    """Each file lies where the layout wants it, its name tells the run's start, and it becomes a record of its day."""
    with fetching(tmp_path, holding(made_runs(90)), api) as fetch:
        await fetch.fetch()
        for path in fetch.root.glob("*/*/*.json"):
            place = RunPath.parse(os.fspath(path.relative_to(fetch.root)))
            assert place is not None
            record = decode(path.read_bytes(), place, Stamp(1, 1, 1))
            assert isinstance(record, TraceRecord)
            assert record.start_time is not None
            assert path.name == f"{record.run_id}_{record.start_time:%H%M%S}.json"
            assert (record.run_date, record.project, record.sanitized) == (DAY, PROJECT, None)
            assert record.status in {"success", "error"}


@pytest.mark.parametrize("first", APIS)
@pytest.mark.parametrize("then", APIS)
async def test_a_second_fetch_writes_nothing(tmp_path: Path, first: str, then: str) -> None:
    """Not a byte, not an mtime changes where nothing changed upstream, whichever API answers the second time."""
    upstream = holding(made_runs(220))
    with fetching(tmp_path, upstream, first) as fetch:
        await fetch.fetch()
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in fetch.root.rglob("*.json")}
    with fetching(tmp_path, upstream, then, now=NOW + timedelta(hours=1)) as fetch:
        result = await fetch.fetch()
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in fetch.root.rglob("*.json")} == before
    assert (result.written, result.replaced, result.unchanged) == (0, 0, len(before))


@pytest.mark.parametrize("api", APIS)
async def test_a_tree_of_another_writer_is_left_alone(tmp_path: Path, api: str) -> None:
    """Files that another program wrote from the SDK's runs are not touched as long as LangSmith says the same.

    It says more only of feedback, whose records in those files lack what LangSmith adds.
    """
    upstream = Upstream()
    project_id = "6e1c7f5e-5a43-4c1b-9a3b-1d2f0a5b7c9d"
    upstream.add_project("support-bot", project_id)
    with tarfile.open(SDK_ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "data").rename(tmp_path / "root")
    paths = sorted((tmp_path / "root" / "support-bot").glob("*/[!_]*.json"))
    before = {path: path.read_bytes() for path in paths}
    runs = [document.get("trace", document) for document in map(json.loads, before.values())]
    upstream.add_runs("support-bot", [run for run in runs if run.get("session_id") == project_id])
    days = sorted({date.fromisoformat(path.parent.name) for path in paths})
    with fetching(tmp_path, upstream, api) as fetch:
        result = await fetch.fetch(*days, project="support-bot")
    changed = [path for path in paths if path.read_bytes() != before[path]]
    assert (result.written, result.replaced) == (0, len(changed))
    assert result.unchanged > 250
    assert {path.name[:36] for path in changed} == set(upstream.feedback)


@pytest.mark.parametrize("api", APIS)
async def test_only_what_changed_is_replaced(tmp_path: Path, api: str) -> None:
    """A run that changed and one whose feedback changed are replaced, under the names that their files have."""
    upstream = holding(runs := of_day(made_runs(150)))
    with fetching(tmp_path, upstream, api) as fetch:
        await fetch.fetch()
        names = sorted(path.name for path in fetch.root.rglob("*.json"))
        with_feedback = next(iter(set(upstream.feedback) & set(fetch.files())))
        changed = next(run for run in runs if run["id"] != with_feedback)
        moved = next(path for path in fetch.root.rglob(f"{changed['id']}_*.json"))
        moved.rename(moved.with_name(f"{changed['id']}_000000.json"))
        upstream.add_runs(PROJECT, [changed | {"outputs": {"output": "another"}, "feedback_records": []}])
        upstream.add_feedback(with_feedback, {"key": "later", "score": 1})
        result = await fetch.fetch()
        documents = fetch.documents()
    assert (result.written, result.replaced, result.unchanged) == (0, 2, len(documents) - 2)
    assert documents[changed["id"]]["trace"]["outputs"] == {"output": "another"}
    assert "later" in {record["key"] for record in documents[with_feedback]["trace"]["feedback_records"]}
    after = sorted(path.name for path in fetch.root.rglob("*.json"))
    assert after == sorted({*names} - {moved.name} | {f"{changed['id']}_000000.json"})


@pytest.mark.parametrize("api", APIS)
async def test_it_asks_no_more_than_it_must(tmp_path: Path, api: str) -> None:
    """Full pages, full chunks of feedback, five requests more at most; and never one that LangSmith refuses."""
    runs = of_day(made_runs(1_300, slim=True))
    with fetching(tmp_path, holding(runs), api) as fetch:
        result = await fetch.fetch()
        asked, too_many = len(fetch.server.requests), fetch.server.too_many
        scored = len(fetch.server.upstream.feedback)
    assert result.requests == asked
    assert asked <= -(-len(runs) // PAGE[api]) - (-scored // 50) + 5
    assert too_many == 0


async def test_it_is_as_fast_as_the_first_generation_allows(tmp_path: Path) -> None:
    """Paging takes at most 1.3 times what the documented limit demands, and no request is refused."""
    with fetching(tmp_path, holding(big_trace(2_450)), "v1", faster=5) as fetch:
        await fetch.fetch()
        queries = fetch.server.asked("POST", "/runs/query")
        too_many = fetch.server.too_many
    tier = Tiers().faster(5).short_query
    floor_s = (len(queries) - 1) // tier.requests * tier.window_s
    assert too_many == 0
    assert floor_s <= queries[-1].at_s - queries[0].at_s <= 1.3 * floor_s


@pytest.mark.parametrize("api", APIS)
async def test_a_full_last_page_is_no_error(tmp_path: Path, api: str) -> None:
    """A day whose runs exactly fill its pages is fetched: that a full page is the last one is made sure of."""
    runs = big_trace(2 * PAGE[api])
    with fetching(tmp_path, holding(runs), api) as fetch:
        assert (await fetch.fetch()).written == len(runs)


async def test_a_day_without_runs(tmp_path: Path) -> None:
    """Nothing is made on disk for it, and it counts as fetched."""
    with fetching(tmp_path, holding([])) as fetch:
        result = await fetch.fetch()
        assert (result.days, result.runs, result.is_whole) == (1, 0, True)
        assert not fetch.root.exists()


async def test_the_page_is_on_disk_before_the_next_is_asked_for(tmp_path: Path) -> None:
    """When a page is asked for, every run of the pages before it has its file."""
    runs = of_day(made_runs(450, slim=True))
    seen: list[int] = []

    def look(answer: Any, _body: Any) -> Any:
        seen.append(len(fetch.files()))
        return answer

    with fetching(tmp_path, holding(runs), "v1", edits("/runs/query", look, times=ALWAYS)) as fetch:
        await fetch.fetch()
    assert seen == [100 * page for page in range(len(seen))]
    assert len(seen) == -(-len(runs) // 100)


@pytest.mark.parametrize("api", APIS)
async def test_25000_runs_in_one_trace(tmp_path: Path, api: str) -> None:
    """The largest trace that LangSmith takes is paged like anything else."""
    count = 25_000 if api == "v2" else 2_500
    with fetching(tmp_path, holding(big_trace(count)), api) as fetch:
        assert (await fetch.fetch()).written == count
        assert len(fetch.server.requests) <= count // PAGE[api] + 5


@pytest.mark.parametrize("api", APIS)
async def test_pages_that_are_too_large_are_halved(tmp_path: Path, api: str) -> None:
    """An answer above the limit is asked for in smaller pages, so that memory is bounded whatever runs hold."""
    runs = of_day(made_runs(120))
    with fetching(tmp_path, holding(runs), api, answer_bytes=400_000) as fetch:
        assert (await fetch.fetch()).written == len(runs)
    with fetching(tmp_path / "other", holding(runs), api, answer_bytes=1_024) as fetch:
        outcome = await fetch.outcome()
        assert outcome.exit is Exit.PERMANENT
        assert "larger than 1024 bytes" in outcome.sentence


async def test_progress_says_how_far_it_is(tmp_path: Path) -> None:
    """From 0 to the whole day, with runs, requests, and what may be asked at once."""
    with fetching(tmp_path, holding(runs := of_day(made_runs(250, slim=True)))) as fetch:
        await fetch.fetch()
    shares = [one.share for one in fetch.shown]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert (fetch.shown[-1].runs, fetch.shown[-1].day) == (len(runs), DAY)
    assert all(0 <= one.left <= 10 for one in fetch.shown)


async def test_names_of_projects(tmp_path: Path) -> None:
    """Quotes, spaces and slashes in a project's name are asked for as they are, and stand in no path."""
    name = "Kunden's Bot / Süd & Co?"
    with fetching(tmp_path, holding(made_runs(20), name)) as fetch:
        await fetch.fetch(project=name)
        assert [path.name for path in fetch.root.iterdir()] == ["kunden-s-bot-süd-co"]
        assert len(fetch.files(project=name)) == 20


async def test_a_folder_holds_one_project(tmp_path: Path) -> None:
    """A second project whose name leads to the same folder is refused, before a file of it is written."""
    upstream = holding(made_runs(20))
    upstream.add_runs("Support/Bot", made_runs(20, seed=2, day=DAY + timedelta(days=1)))
    with fetching(tmp_path, upstream) as fetch:
        await fetch.fetch()
        before = fetch.everything()
        outcome = await fetch.outcome(DAY + timedelta(days=1), project="Support/Bot")
        assert (outcome.exit, fetch.everything() == before) == (Exit.CONFIG, True)
        assert "is of the project 'support bot'" in outcome.sentence


async def test_a_run_that_lies_there_as_anothers_is_not_replaced(tmp_path: Path) -> None:
    """Also where the looked at files name no project, a run's file that names another project stays as it is."""
    runs = sorted(of_day(made_runs(20)), key=lambda run: str(run["id"]))
    with fetching(tmp_path, holding(runs)) as fetch:
        await fetch.fetch()
        for run_id, content in list(fetch.files().items()):
            path = next(fetch.root.rglob(f"{run_id}_*.json"))
            document = json.loads(content)
            document["metadata"]["project_name"] = "other" if run_id == runs[-1]["id"] else PROJECT
            path.write_text(json.dumps(document))
        outcome = await fetch.outcome()
        assert (outcome.exit, "as one of the project 'other'" in outcome.sentence) == (Exit.CONFIG, True)


async def test_what_can_be_read_as_no_run_file_is_replaced(tmp_path: Path) -> None:
    """A run's file that is cut off or no JSON is replaced by the run."""
    with fetching(tmp_path, holding(made_runs(20))) as fetch:
        await fetch.fetch()
        path = next(fetch.root.rglob("*.json"))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert (await fetch.fetch()).written == 1
        assert path.read_bytes() == whole


# ---------------------------------------------------------------------------------------------------------------------
# Foul weather: fault, how the command ends, what it says, what is on disk; afterwards the same command fetches the rest

ALL, SOME, NONE = "all", "some", "none"
BUSY, TWICE = 503, 2


@dataclass(frozen=True)
class Weather:
    """One row of the table."""

    faults: Callable[[str], list[Fault]]
    exit: Exit
    sentence: str = ""
    files: str = NONE
    setting: tuple[tuple[str, Any], ...] = ()


def always(status: int, path: str, **more: Any) -> Callable[[str], list[Fault]]:
    """This status to every such request; ``query`` stands for the query of either API."""
    return lambda api: [fails(status, path.replace("query", QUERY[api]), times=ALWAYS, **more)]


def on_query(make: Callable[..., Fault], **more: Any) -> Callable[[str], list[Fault]]:
    """A fault of the query of either API."""
    return lambda api: [make(QUERY[api], **more)]


IMPATIENT = (("patience_s", 0.0),)
HASTY = (("request_timeout_s", 0.4), ("patience_s", 0.0))
WEATHER: dict[str, Weather] = {
    "401": Weather(always(401, "/sessions"), Exit.PERMANENT, "LangSmith answers 401 to GET /api/v1/sessions"),
    "401 in the middle": Weather(always(401, "query", after=1), Exit.PERMANENT, "answers 401 to POST", SOME),
    "403": Weather(always(403, "query"), Exit.PERMANENT, "LangSmith answers 403 to POST"),
    "404": Weather(always(404, "query"), Exit.PERMANENT, "LangSmith answers 404 to POST"),
    "422": Weather(always(422, "query"), Exit.PERMANENT, "LangSmith answers 422 to POST"),
    "429 with Retry-After": Weather(lambda api: [fails(429, QUERY[api], retry_after="1")], Exit.OK, "", ALL),
    "429 without": Weather(lambda api: [fails(429, QUERY[api], times=2)], Exit.OK, "", ALL),
    "429 and a date": Weather(
        lambda api: [fails(429, QUERY[api], retry_after="Wed, 21 Oct 2015 07:28:00 GMT")], Exit.OK, "", ALL
    ),
    "429 for an hour": Weather(
        lambda api: [fails(429, QUERY[api], retry_after="3600")], Exit.TRANSIENT, "wants 3600 s to pass"
    ),
    "500 once": Weather(on_query(lambda path: fails(500, path)), Exit.OK, "", ALL),
    "503 for long": Weather(always(BUSY, "query", after=1), Exit.TRANSIENT, "answers 503", SOME, IMPATIENT),
    "reset once": Weather(on_query(resets), Exit.OK, "", ALL),
    "reset": Weather(on_query(resets, times=ALWAYS), Exit.TRANSIENT, "the connection was lost", NONE, IMPATIENT),
    "stall": Weather(on_query(stalls, times=ALWAYS, after=1), Exit.TRANSIENT, "no whole answer in time", SOME, HASTY),
    "stall midway": Weather(on_query(stalls, midway=True), Exit.TRANSIENT, "no whole answer in time", NONE, HASTY),
    "short body once": Weather(on_query(breaks_off, after=1), Exit.OK, "", ALL),
    "short body": Weather(on_query(breaks_off, times=ALWAYS), Exit.TRANSIENT, "the answer broke off", NONE, IMPATIENT),
    "cut JSON once": Weather(on_query(cuts_json), Exit.OK, "", ALL),
    "cut JSON": Weather(on_query(cuts_json, times=ALWAYS), Exit.TRANSIENT, "it is cut off at byte", NONE, IMPATIENT),
    "cut projects": Weather(
        lambda _: [cuts_json("/sessions", times=ALWAYS)], Exit.TRANSIENT, "is cut off, or not what was", NONE, IMPATIENT
    ),
    "no page": Weather(
        on_query(edits, edit=lambda _answer, _body: {"runs": 7}, times=ALWAYS),
        Exit.TRANSIENT,
        "no page of runs",
        NONE,
        IMPATIENT,
    ),
    "cursor repeats": Weather(on_query(repeats_cursor), Exit.TRANSIENT, "names a page as the next that", SOME),
    "no cursor": Weather(on_query(drops_cursor), Exit.TRANSIENT, "is full and names no next one", NONE),
    "run on two pages": Weather(on_query(doubles_run), Exit.OK, "", ALL),
    "nobody there": Weather(
        lambda _: [],
        Exit.TRANSIENT,
        "cannot connect to 127.0.0.1",
        NONE,
        (("endpoint", "http://127.0.0.1:9"), *IMPATIENT),
    ),
    "no TLS": Weather(
        lambda _: [], Exit.PERMANENT, "no trusted connection is possible", NONE, (("endpoint", "https"), *IMPATIENT)
    ),
    "500 in HTML": Weather(
        lambda api: [fails(500, QUERY[api], body=b"<html>", retry_after="soon", times=ALWAYS)],
        Exit.TRANSIENT,
        "answers 500 to POST",
        NONE,
        IMPATIENT,
    ),
    "another key": Weather(lambda _: [], Exit.PERMANENT, "answers 401", NONE, (("key", "lsv2_other"),)),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", WEATHER)
async def test_weather(tmp_path: Path, name: str, api: str) -> None:
    """Each fault ends as the table says, and when it is over, the same command brings the day to its end."""
    row = WEATHER[name]
    runs = big_trace(2 * PAGE[api] + 50) if row.files == SOME or "cursor" in name or name == "run on two pages" else []
    runs = runs or big_trace(150)
    with fetching(tmp_path, holding(runs), api, *row.faults(api), **dict(row.setting)) as fetch:
        if fetch.endpoint == "https":
            fetch.endpoint = fetch.server.url.replace("http:", "https:")
        outcome = await fetch.outcome()
        found = len(fetch.files())
        assert (outcome.exit, row.sentence in outcome.sentence) == (row.exit, True), outcome.sentence
        assert {ALL: found == len(runs), SOME: 0 < found < len(runs), NONE: found == 0}[row.files], found
        assert outcome.result is None or outcome.result.runs == len(runs)
        failed = [event for event in fetch.told if isinstance(event, FetchFailed)]
        assert [event.error for event in failed] == ([outcome.sentence] if outcome.exit is not Exit.OK else [])
        assert all(event.hint for event in failed)
        assert fetch.server.key.encode() not in fetch.everything()
        fetch.server.faults.clear()
        rest = await replace(fetch, patience_s=20.0, request_timeout_s=10.0, key="", endpoint="").outcome()
        assert (rest.exit, len(fetch.files())) == (Exit.OK, len(runs))


async def test_a_project_that_is_not_there(tmp_path: Path) -> None:
    """A name that LangSmith does not know is permanent, and the hint says what to look at."""
    with fetching(tmp_path, holding(made_runs(5))) as fetch:
        outcome = await fetch.outcome(project="nobody's")
        assert (outcome.exit, outcome.sentence) == (
            Exit.PERMANENT,
            'LangSmith has no project "nobody\'s" that this key may see',
        )


async def test_a_key_of_an_organization_names_its_workspace(tmp_path: Path) -> None:
    """With a workspace the key is accepted."""
    with serving(holding(made_runs(5)), "v1", tenant="ws", clock=lambda: NOW) as server:
        assert (await Fetching(tmp_path, server).outcome()).exit is Exit.OK


async def test_a_langsmith_that_answers_no_queries(tmp_path: Path) -> None:
    """Where ``/info`` says that neither API answers, that is said."""
    flags = {"instance_flags": {"ch_query_enabled": False, "sdb_query_enabled": False}}
    with fetching(tmp_path, holding(made_runs(5)), "v1", edits("/info", lambda *_: flags)) as fetch:
        outcome = await fetch.outcome()
        assert (outcome.exit, outcome.sentence) == (Exit.PERMANENT, "this LangSmith answers no queries of runs")


async def test_being_refused_for_haste_is_told(tmp_path: Path) -> None:
    """A 429 is an event of its own: somebody else asks with the same key."""
    with fetching(tmp_path, holding(made_runs(5)), "v1", fails(429, "/runs/query", retry_after="1")) as fetch:
        await fetch.fetch()
        told = [event for event in fetch.told if isinstance(event, LangsmithThrottled)]
        assert [(event.request, event.wait_s) for event in told] == [("POST /api/v1/runs/query", 1.0)]


# ---------------------------------------------------------------------------------------------------------------------
# Bad runs


@pytest.mark.parametrize("api", APIS)
async def test_one_bad_run_costs_one_run(tmp_path: Path, api: str) -> None:
    """What cannot become a file is a line of the day's list, with its reason; everything else becomes one."""
    runs = big_trace(160)
    upstream = holding(runs)
    bad = {
        runs[3]["id"]: (b"7", "no JSON object"),
        runs[70]["id"]: (b'{"id":"%s","start_time":null}' % runs[70]["id"].encode(), "its start_time is missing"),
        runs[120]["id"]: (b'{"start_time":"2026-11-20T01:00:00Z","id":"x"}', "its id is no UUID"),
    }
    for run_id, (text, _) in bad.items():
        upstream.spoil(run_id, text)
    upstream.spoil(runs[5]["id"], json.dumps(runs[5] | {"inputs": float("nan")}).encode())
    with fetching(tmp_path, upstream, api) as fetch:
        outcome = await fetch.outcome()
        assert (outcome.exit, len(fetch.files())) == (Exit.FOUND, 157)
        assert outcome.result is not None
        assert outcome.result.errors == 3
        assert {error["error"].split(" or ")[0] for error in fetch.errors()} == {why for _, why in bad.values()}
        assert {error["run_id"] for error in fetch.errors()} >= {runs[70]["id"], "x"}
        assert [event.bad_runs for event in fetch.told if isinstance(event, FetchIncomplete)] == [3]
        assert fetch.files()[runs[5]["id"]].count(b"NaN") == 1
        for run_id in bad:
            upstream.forget([run_id])
        assert (await fetch.outcome()).exit is Exit.OK
        assert fetch.errors() == []


# ---------------------------------------------------------------------------------------------------------------------
# Feedback


async def test_feedback_that_cannot_be_fetched_is_never_no_feedback(tmp_path: Path) -> None:
    """Its runs are files that say so and look incomplete; no more is asked for; the next fetch brings the feedback."""
    runs = of_day(made_runs(330, slim=True, feedback_share=0.5))
    faults = [fails(BUSY, "/feedback", times=ALWAYS, after=1)]
    with fetching(tmp_path, holding(runs), "v1", *faults, patience_s=0.0) as fetch:
        outcome = await fetch.outcome()
        assert outcome.exit is Exit.FOUND
        assert outcome.result is not None
        scored = len(fetch.server.upstream.feedback)
        states = fetch.states()
        assert states == {"fetched": 50, "not_fetched": scored - 50, "empty": len(runs) - scored}
        assert outcome.result.feedback_not_fetched == states["not_fetched"]
        assert fetch.server.count("GET", "/feedback") == 2
        for document in fetch.documents().values():
            complete = document["metadata"]["feedback"] != "not_fetched"
            assert ("enhanced_feedback" in document["metadata"]) is complete
            assert ("feedback_records" in document["trace"]) is complete
        told = [event for event in fetch.told if isinstance(event, FetchIncomplete)]
        assert ["answers 503 to GET /api/v1/feedback" in event.error for event in told] == [True]
        fetch.server.faults.clear()
        again = await fetch.fetch()
        assert (again.replaced, again.is_whole) == (states["not_fetched"], True)
        assert fetch.states() == {"fetched": scored, "empty": len(runs) - scored}


async def test_a_refused_chunk_costs_its_own_runs(tmp_path: Path) -> None:
    """What LangSmith refuses for fifty runs is asked for the others all the same."""
    runs = of_day(made_runs(330, slim=True, feedback_share=0.5))
    with fetching(tmp_path, holding(runs), "v1", fails(422, "/feedback")) as fetch:
        result = await fetch.fetch()
        assert result.feedback_not_fetched == 50
        assert result.feedback_fetched == len(fetch.server.upstream.feedback) - 50


async def test_known_feedback_survives_a_failure(tmp_path: Path) -> None:
    """A file whose feedback is known stays as it is when a later fetch gets none, and keeps it when its run changed."""
    upstream = holding(runs := of_day(made_runs(40, slim=True, feedback_share=1)))
    with fetching(tmp_path, upstream, "v1", patience_s=0.0) as fetch:
        await fetch.fetch()
        before = fetch.documents()
        changed = runs[0]
        upstream.add_runs(PROJECT, [changed | {"name": "other", "feedback_records": []}])
        upstream.add_feedback(changed["id"], {"key": "later", "score": 1})
        fetch.server.inject(fails(BUSY, "/feedback", times=ALWAYS))
        result = await fetch.fetch()
        after = fetch.documents()
    assert (result.replaced, result.unchanged) == (1, len(runs) - 1)
    assert {run_id for run_id in before if before[run_id] != after[run_id]} == {changed["id"]}
    assert after[changed["id"]]["metadata"]["feedback"] == "not_fetched"
    records = after[changed["id"]]["trace"]["feedback_records"]
    assert records == before[changed["id"]]["trace"]["feedback_records"]


async def test_feedback_of_nobody_is_left(tmp_path: Path) -> None:
    """Records that name no run, or one that was not asked for, are nobody's; the others count."""
    upstream = holding(runs := big_trace(2))
    upstream.add_feedback(runs[0]["id"], {"key": "score", "score": 1})
    odd = [7, {"run_id": "x"}, {"run_id": runs[1]["id"], "key": "other"}]
    with fetching(tmp_path, upstream, "v1", edits("/feedback", lambda answer, _: odd + answer)) as fetch:
        assert (await fetch.fetch()).feedback_fetched == 1
        records = fetch.documents()[runs[0]["id"]]["trace"]["feedback_records"]
        assert [record["key"] for record in records] == ["score"]


async def test_a_full_page_of_bad_runs_may_be_the_last(tmp_path: Path) -> None:
    """Where no run of a full last page can be read, there is nothing to look further from."""
    upstream = holding(runs := big_trace(100))
    for run in runs:
        upstream.spoil(run["id"], b"NaN")
    with fetching(tmp_path, upstream) as fetch:
        outcome = await fetch.outcome()
        assert (outcome.exit, outcome.result and outcome.result.errors) == (Exit.FOUND, 1)


async def test_much_feedback_is_paged(tmp_path: Path) -> None:
    """More feedback than one answer holds comes whole."""
    upstream = holding(runs := of_day(made_runs(20, slim=True, feedback_share=0)))
    for number in range(250):
        upstream.add_feedback(runs[number % 2]["id"], {"key": f"k{number}", "score": 1})
    with fetching(tmp_path, upstream) as fetch:
        await fetch.fetch()
        documents = fetch.documents()
    assert [len(documents[run["id"]]["trace"]["feedback_records"]) for run in runs[:3]] == [125, 125, 0]


async def test_feedback_without_an_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of feedback that never end are given up; the runs say that theirs was not fetched."""
    monkeypatch.setattr("tracewatchd.edges.langsmith._FEEDBACK_PAGES", 3)
    upstream = holding(of_day(made_runs(20, slim=True, feedback_share=1)))
    asked = [{"run_id": run["id"], "key": "k"} for run in upstream.runs(PROJECT)] * 5
    endless = edits("/feedback", lambda *_: asked, times=ALWAYS)
    with fetching(tmp_path, upstream, "v1", endless) as fetch:
        assert (await fetch.fetch()).feedback_not_fetched == 20


# ---------------------------------------------------------------------------------------------------------------------
# Attachments


def attached(directory: str = "") -> tuple[Upstream, list[Run]]:
    """Runs of which two have attachments."""
    upstream = holding(runs := of_day(made_runs(20, slim=True)))
    upstream.add_attachment(runs[0]["id"], "a/../b c.png", b"picture")
    upstream.add_attachment(runs[0]["id"], ".hidden", b"")
    upstream.add_attachment(runs[1]["id"], "long" * 100, b"x" * 200_000)
    return upstream, runs


@pytest.mark.parametrize("api", APIS)
async def test_attachments_lie_beside_the_runs(tmp_path: Path, api: str) -> None:
    """Each is downloaded once, below a directory that no sweep takes for runs; no signature is anywhere."""
    upstream, runs = attached()
    with fetching(tmp_path, upstream, api) as fetch:
        result = await fetch.fetch()
        again = await fetch.fetch()
        place = fetch.root / "support-bot" / DAY.isoformat() / "_attachments"
        found = {path.relative_to(place).parts: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        signed = fetch.server.asked("GET")
        assert not [signature for signature in fetch.server.signatures if signature.encode() in fetch.everything()]
    assert found.pop((runs[0]["id"], "a%2F..%2Fb c.png")) == b"picture"
    assert found.pop((runs[0]["id"], "%2Ehidden")) == b""
    ((run_id, name), content) = found.popitem()
    assert (run_id, len(name) <= 200, len(content)) == (runs[1]["id"], True, 200_000)
    assert (result.attachments, again.attachments, again.attachments_kept) == (3, 0, 3)
    assert (again.written, again.replaced) == (0, 0)
    assert all("x-api-key" not in {key.lower() for key in one.headers} for one in signed if "/signed/" in one.path)


async def test_attachments_may_be_left(tmp_path: Path) -> None:
    """They are counted, and nothing is downloaded."""
    upstream, _ = attached()
    with fetching(tmp_path, upstream, attachment_bytes=None) as fetch:
        result = await fetch.fetch()
        assert (result.attachments_left, result.is_whole, fetch.server.count("GET", "/signed/*")) == (3, True, 0)
        assert not list(fetch.root.rglob("_attachments"))


@pytest.mark.parametrize(
    ("fault", "setting", "missing", "sentence"),
    [
        (fails(403, "/signed/*", times=ALWAYS), {}, 3, "LangSmith answers 403 to an attachment"),
        (breaks_off("/signed/*", times=ALWAYS), {"patience_s": 0.0}, 3, "an attachment: the answer broke off"),
        (breaks_off("/signed/*"), {}, 0, ""),
        (stalls("/nothing"), {"attachment_bytes": 1_000}, 1, "an attachment is larger than 1000 bytes"),
    ],
    ids=["expired", "broken off", "broken off once", "too large"],
)
async def test_attachments_that_do_not_arrive(
    tmp_path: Path, fault: Fault, setting: dict[str, Any], missing: int, sentence: str
) -> None:
    """They are counted as missing and told, no part of one is left, and the next fetch tries again."""
    upstream, _ = attached()
    with fetching(tmp_path, upstream, "v1", replace(fault), **setting) as fetch:
        result = await fetch.fetch()
        assert (result.attachments_missing, result.is_whole) == (missing, missing == 0)
        told = [event.error for event in fetch.told if isinstance(event, FetchIncomplete)]
        assert told == ([sentence] if missing else [])
        assert len(list(fetch.root.rglob("_attachments/*/*"))) == 3 - missing
        fetch.server.faults.clear()
        assert (await replace(fetch, attachment_bytes=1 << 20).fetch()).attachments == missing


# ---------------------------------------------------------------------------------------------------------------------
# Going on


@pytest.mark.parametrize("api", APIS)
async def test_an_interrupted_fetch_goes_on(tmp_path: Path, api: str) -> None:
    """After a failure the same command asks for no page again that is on disk, and owes no feedback at the end."""
    runs = of_day(made_runs(4 * PAGE[api] + 20, slim=True, feedback_share=0.2))
    lost = fails(BUSY, QUERY[api], times=ALWAYS, after=2)
    with fetching(tmp_path, holding(runs), api, lost, patience_s=0.0) as fetch:
        assert (await fetch.outcome()).exit is Exit.TRANSIENT
        assert len(fetch.files()) == 2 * PAGE[api]
        asked = fetch.server.count("POST", QUERY[api])
        hint = next(fetch.state.rglob(f"{DAY}.json"))
        assert hint.stat().st_mode & 0o777 == 0o600
        fetch.server.faults.clear()
        result = await fetch.fetch()
        pages = -(-len(runs) // PAGE[api])
        assert fetch.server.count("POST", QUERY[api]) - asked == pages - 2
        assert set(fetch.files()) == {run["id"] for run in runs}
        assert (result.is_whole, fetch.states().get("not_fetched")) == (True, None)
        assert fetch.states()["fetched"] == len(set(fetch.server.upstream.feedback) & set(fetch.files()))
        assert not hint.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"{oops"),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"project_id":"', b'"project_id":"other')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"root":"', b'"root":"/elsewhere')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"files":200', b'"files":201')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"began_at":"2026-11-25', b'"began_at":"2026-11-23')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"cursor":"', b'"cursor":"old')),
    ],
    ids=["gone", "no JSON", "of another project", "of another root", "fewer files", "too old", "an old cursor"],
)
async def test_a_lost_hint_costs_time_only(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    """Without a hint that can be used the day is paged from its beginning, and what lies there is left alone."""
    runs = of_day(made_runs(330, slim=True))
    with fetching(
        tmp_path, holding(runs), "v1", fails(BUSY, "/runs/query", times=ALWAYS, after=2), patience_s=0.0
    ) as fetch:
        await fetch.outcome()
        spoil(next(fetch.state.rglob(f"{DAY}.json")))
        fetch.server.faults.clear()
        result = await fetch.fetch()
        assert (result.runs, result.is_whole, len(fetch.files())) == (len(runs), True, len(runs))
        assert result.written == len(runs) - 200


async def test_a_cursor_that_has_become_wrong_is_dropped(tmp_path: Path) -> None:
    """When the remembered cursor leads in a circle, the day is paged from its beginning."""
    with fetching(tmp_path, holding(runs := big_trace(250))) as fetch:
        project_id = next(iter(fetch.server.upstream.projects.values())).project_id
        fetch.server.inject(fails(BUSY, "/runs/query", times=ALWAYS, after=1))
        await replace(fetch, patience_s=0.0).outcome()
        fetch.server.faults.clear()
        fetch.server.inject(repeats_cursor("/runs/query"))
        assert (await fetch.fetch()).runs == len(runs)
        assert project_id


async def test_a_day_that_is_not_over_has_no_cursor(tmp_path: Path) -> None:
    """Pages go backwards from the newest run, so that going on would miss runs that started meanwhile."""
    now = datetime.combine(DAY, datetime.min.time(), UTC) + timedelta(hours=12)
    lost = fails(BUSY, "/runs/query", times=ALWAYS, after=1)
    with fetching(tmp_path, holding(big_trace(250)), "v1", lost, patience_s=0.0, now=now) as fetch:
        await fetch.outcome()
        assert list(fetch.state.rglob(f"{DAY}.json")) == []


async def test_bad_runs_of_before_an_interruption_stay_listed(tmp_path: Path) -> None:
    """The day's list holds the bad runs of all its pages, however often the fetch was interrupted."""
    runs = big_trace(250)
    upstream = holding(runs)
    upstream.spoil(runs[240]["id"], b"[]")
    upstream.spoil(runs[10]["id"], b"{}")
    with fetching(tmp_path, upstream, "v1", fails(BUSY, "/runs/query", times=ALWAYS, after=1), patience_s=0.0) as fetch:
        await fetch.outcome()
        assert len(fetch.errors()) == 1
        fetch.server.faults.clear()
        assert (await fetch.fetch()).errors == 2
        assert len(fetch.errors()) == 2


async def test_several_days(tmp_path: Path) -> None:
    """A day that fails does not stop the others; it is told, and only when all fail the command fails with it."""
    days = [DAY + timedelta(days=number) for number in range(3)]
    upstream = holding([run for number, day in enumerate(days) for run in made_runs(30, seed=number, day=day)])
    lost = fails(BUSY, "/runs/query", times=ALWAYS, asked=lambda body: body["start_time"].startswith(str(days[1])))
    with fetching(tmp_path, upstream, "v1", lost, patience_s=0.0) as fetch:
        outcome = await fetch.outcome(*days)
        assert (outcome.exit, outcome.sentence.startswith(f"{days[1]}: LangSmith answers 503")) == (Exit.FOUND, True)
        assert [bool(fetch.files(day)) for day in days] == [True, False, True]
        assert outcome.result is not None
        assert outcome.result.days == 2
        assert len([event for event in fetch.told if isinstance(event, FetchFinished)]) == 2


# ---------------------------------------------------------------------------------------------------------------------
# Runs that have not ended


@pytest.mark.parametrize("api", APIS)
async def test_pending_runs_are_fetched_again_until_they_end(tmp_path: Path, api: str) -> None:
    """They are files at once, remembered until they end, and asked for by their ids alone."""
    runs = big_trace(150)
    pending = runs[20:24]
    for run in pending:
        run.update(status="pending", end_time=None, outputs=None)
    upstream = holding(runs)
    with fetching(tmp_path, upstream, api) as fetch:
        assert (await fetch.fetch()).pending == len(pending) > 2
        standing = Hints(fetch.state / "support-bot", fetch.root).standing()
        assert (set(standing.pending), standing.last_day) == ({run["id"] for run in pending}, DAY)
        ended = pending[0] | {"status": "success", "end_time": "2026-11-22T00:00:00Z", "outputs": {"output": "done"}}
        upstream.add_runs(PROJECT, [ended])
        upstream.forget([pending[1]["id"]])
        asked = fetch.server.count("POST", QUERY[api])
        waiting = pending_before(standing, DAY + timedelta(days=2), NOW, 7)
        result = await fetch.fetch(renewed={day: list(ids) for day, ids in waiting.items()})
        assert fetch.server.count("POST", QUERY[api]) == asked + 1
        assert (result.replaced, result.pending) == (1, len(pending) - 2)
        assert fetch.documents()[ended["id"]]["trace"]["outputs"] == {"output": "done"}
        assert set(Hints(fetch.state / "support-bot", fetch.root).standing().pending) == {
            run["id"] for run in pending[2:]
        }


async def test_pending_runs_are_given_up_after_a_while(tmp_path: Path) -> None:
    """A run that has not ended after so many days never will: it is counted, and not asked for again."""
    runs = big_trace(5)
    runs[2].update(status="pending", end_time=None)
    with fetching(tmp_path, holding(runs), pending_days=3) as fetch:
        result = await fetch.fetch()
        assert (result.pending, result.given_up) == (1, 1)
        assert Hints(fetch.state / "support-bot", fetch.root).standing().pending == {}


def test_which_days_since_last_means() -> None:
    """From some days before the last one up to today; nothing where no day is known."""
    assert days_since(None, date(2026, 11, 25), 1) == []
    assert days_since(date(2026, 11, 24), date(2026, 11, 25), 1) == [date(2026, 11, day) for day in (23, 24, 25)]
    assert days_since(date(2026, 12, 24), date(2026, 11, 25), 0) == [date(2026, 11, 25)]


def test_which_pending_runs_are_asked_for_alone() -> None:
    """Those before the days that are fetched wholly, as long as they are young."""
    starts = {f"run-{day}": datetime(2026, 11, day, 12, tzinfo=UTC) for day in (10, 20, 21, 24)}
    waiting = pending_before(Standing(pending=starts), date(2026, 11, 24), NOW, 7)
    assert waiting == {date(2026, 11, 20): ["run-20"], date(2026, 11, 21): ["run-21"]}


# ---------------------------------------------------------------------------------------------------------------------
# Disks


async def test_what_failed_is_asked_for_again_after_an_interruption(tmp_path: Path) -> None:
    """From pages whose feedback failed no later page is gone on from: a resumed fetch brings all of it."""
    runs = big_trace(350)
    upstream = holding(runs)
    for run in runs:
        upstream.add_feedback(run["id"], {"key": "score", "score": 1})
    with fetching(tmp_path, upstream, "v1", patience_s=0.0) as fetch:
        fetch.server.inject(fails(BUSY, "/feedback", times=ALWAYS, after=2))
        fetch.server.inject(fails(BUSY, "/runs/query", times=ALWAYS, after=3))
        assert (await fetch.outcome()).exit is Exit.TRANSIENT
        assert fetch.states() == {"fetched": 100, "not_fetched": 200}
        fetch.server.faults.clear()
        result = await fetch.fetch()
        assert (result.is_whole, fetch.states()) == (True, {"fetched": 350})


async def test_a_file_that_is_removed_meanwhile(tmp_path: Path) -> None:
    """A run's file that somebody removes before its feedback comes costs the fetch nothing; the next one writes it."""
    runs = big_trace(150)
    upstream = holding(runs)
    for run in runs[:120:5]:
        upstream.add_feedback(run["id"], {"key": "score", "score": 1})

    def remove(answer: Any, _body: Any) -> Any:
        for path in fetch.root.rglob("*.json"):
            path.unlink()
        return answer

    with fetching(tmp_path, upstream, "v1", edits("/feedback", remove)) as fetch:
        assert (await fetch.outcome()).exit is Exit.OK
        await fetch.fetch()
        assert set(fetch.files()) == {run["id"] for run in runs}


async def test_a_day_of_bad_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bad run is listed; with what came only so many of them, so that the list stays small."""
    monkeypatch.setattr("tracewatchd.archive.fetch_files._LISTED", 5)
    upstream = holding(runs := big_trace(20))
    for number, run in enumerate(runs):
        upstream.spoil(run["id"], b'{"id":"%d","start_time":null}' % number)
    with fetching(tmp_path, upstream) as fetch:
        assert (await fetch.fetch()).errors == len(runs)
        assert sorted(bool(error["run"]) for error in fetch.errors()) == [False] * 15 + [True] * 5


async def test_an_address_that_is_none(tmp_path: Path) -> None:
    """An attachment whose URL is none is missing, and the URL is not told."""
    upstream = holding(runs := big_trace(2))
    upstream.spoil(runs[0]["id"], json.dumps(runs[0] | {"attachments": {"a": "http://[secret"}}).encode())
    with fetching(tmp_path, upstream) as fetch:
        assert (await fetch.fetch()).attachments_missing == 1
        assert [event.error for event in fetch.told if isinstance(event, FetchIncomplete)] == [
            "an attachment: is no URL"
        ]


async def test_keys_are_not_shown() -> None:
    """The repr of what is known of LangSmith holds no key."""
    access = Access(
        endpoint="https://x",
        api_key="lsv2_secret",
        workspace_id=None,
        request_timeout_s=1,
        patience_s=1,
        answer_bytes=1,
    )
    assert "lsv2_secret" not in repr(access)


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is no file and no part of one, that is said, and with space again the day comes to its end."""
    written = 0

    def write(descriptor: int, content: memoryview) -> int:
        nonlocal written
        written += len(content)
        if written > 60_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os_write(descriptor, content)

    os_write = os.write
    with fetching(tmp_path, holding(runs := big_trace(150))) as fetch:
        with monkeypatch.context() as full:
            full.setattr("tracewatchd.edges.writing.os.write", write)
            outcome = await fetch.outcome()
        assert (outcome.exit, "No space left on device" in outcome.sentence) == (Exit.TRANSIENT, True)
        assert 0 < len(fetch.documents()) < len(runs)
        assert [path.name for path in fetch.directory.rglob(".*")] == []
        assert (await fetch.outcome()).exit is Exit.OK
        assert len(fetch.documents()) == len(runs)


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A file where the day's directory should be is permanent, and said."""
    with fetching(tmp_path, holding(big_trace(5))) as fetch:
        fetch.root.mkdir()
        (fetch.root / "support-bot").write_text("a note")
        outcome = await fetch.outcome()
        assert (outcome.exit, "Not a directory" in outcome.sentence) == (Exit.PERMANENT, True)
