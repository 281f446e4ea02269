"""``archive fetch`` as it is installed: what it writes, asks, says, survives and exits with."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from langsmith_faults import ALWAYS, fails, stalls
from langsmith_runs import DAY, big_trace, each_run, made_runs, started_on
from langsmith_server import KEY, Server, serving
from langsmith_upstream import Upstream
from one_shot import Desk
from running import COMMAND, PATIENCE_S, eventually, run_for_peak

PROJECT = "Support Bot"
ONE = ("archive", "fetch", "--project", PROJECT, "--date", DAY.isoformat())
QUERY = {"v1": "/runs/query", "v2": "/v2/runs/query"}


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with serving(upstream, "v1") as running:
        yield running


def desk_at(directory: Path, server: Server) -> Desk:
    """A place with a key and no database at all."""
    directory.mkdir(exist_ok=True)
    settings = {
        "TRACEWATCHD_DATABASE__URL": "postgresql:///nobody?host=/nowhere",
        "TRACEWATCHD_ARCHIVE__STATE_DIR": str(directory / "state"),
        "LANGSMITH_ENDPOINT": f"{server.url}/api/v1",
        "LANGSMITH_API_KEY": KEY,
    }
    return Desk(directory, "", settings)


@pytest.fixture
def desk(tmp_path: Path, server: Server) -> Desk:
    return desk_at(tmp_path, server)


def tree(desk: Desk) -> dict[str, Any]:
    """What each run file says, but for the time at which it was fetched."""
    found = {}
    for path in sorted(desk.root.rglob("*.json")):
        document = json.loads(path.read_bytes())
        document["metadata"].pop("extracted_at")
        found[path.relative_to(desk.root).as_posix()] = document
    return found


def started(desk: Desk, *arguments: str) -> subprocess.Popen[str]:
    """The command, on its way."""
    return subprocess.Popen(
        [COMMAND, *arguments], env=desk.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_fetch_twice(desk: Desk, server: Server) -> None:
    """The first one writes the day's runs, the second one nothing; no database is needed, and the key is not told."""
    runs = [run for run in made_runs(230, slim=True) if started_on(run) == DAY]
    server.upstream.add_runs(PROJECT, runs)
    first = desk.run(*ONE)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[0] == f"{len(runs)} runs of 1 day: {len(runs)} written"
    asked = len(server.requests)
    assert asked <= -(-len(runs) // 100) - (-len(server.upstream.feedback) // 50) + 5
    assert f"; {asked} requests in " in first.stdout
    files = sorted((desk.root / "support-bot" / DAY.isoformat()).iterdir())
    assert len(files) == len(runs)
    assert all(re.fullmatch(r"[0-9a-f-]{36}_\d{6}\.json", path.name) for path in files)
    before = {path: path.stat().st_mtime_ns for path in files}
    again = desk.json(*ONE)
    assert (again["written"], again["replaced"], again["unchanged"]) == (0, 0, len(runs))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert KEY not in first.stdout + json.dumps(again)


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("after_pages", [0, 1, 2])
def test_killed_in_the_middle(tmp_path: Path, upstream: Upstream, api: Any, after_pages: int) -> None:
    """After kill -9 the same command brings the very same files, and asks for at most one page again."""
    size = 100 if api == "v1" else 1_000
    runs = [run for run in made_runs(3 * size + 60, slim=True, feedback_share=0.1) if started_on(run) == DAY]
    upstream.add_runs(PROJECT, runs)
    with serving(upstream, api) as server:
        undisturbed = desk_at(tmp_path / "undisturbed", server)
        assert undisturbed.run(*ONE).returncode == 0
        pages = server.count("POST", QUERY[api])
        desk = desk_at(tmp_path / "killed", server)
        server.inject(stalls(QUERY[api], after=after_pages))
        process = started(desk, *ONE)
        eventually(lambda: server.count("POST", QUERY[api]) == pages + after_pages + 1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        assert len(tree(desk)) == after_pages * size
        result = desk.json(*ONE)
        assert result["written"] + after_pages * size == len(runs)
        assert server.count("POST", QUERY[api]) <= 2 * pages + 1
        assert tree(desk) == tree(undisturbed)


def test_interrupted_once(desk: Desk, server: Server) -> None:
    """Ctrl-C keeps what is finished, says how to go on, and exits with 1."""
    server.upstream.add_runs(PROJECT, big_trace(250))
    server.inject(stalls("/runs/query", after=1))
    process = started(desk, *ONE)
    eventually(lambda: server.count("POST", "/runs/query") == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert err == "interrupted: what is finished is kept; the same command goes on from there\n"
    assert len(tree(desk)) == 100
    assert desk.json(*ONE)["written"] == 150


def test_memory_is_bounded_by_a_page(tmp_path: Path, upstream: Upstream) -> None:
    """Whatever a day holds, the peak stays below 150 MB; pages of real runs are 25 MB each. Coverage is left out."""
    upstream.add_runs(PROJECT, each_run(3_300))
    with serving(upstream, "v2") as server:
        env = {name: value for name, value in desk_at(tmp_path, server).env.items() if not name.startswith("COV")}
        out, peak_bytes = run_for_peak(*ONE, "--json", env=env)
        assert max(request.sent_bytes for request in server.requests) > 20_000_000
    assert json.loads(out)["written"] > 2_900
    assert 30_000_000 < peak_bytes < 150_000_000


def test_what_a_log_and_json_say(desk: Desk, server: Server) -> None:
    """The result is one JSON document; events are JSON lines on standard error; neither holds key or signature."""
    server.upstream.add_runs(PROJECT, runs := big_trace(60))
    for run in runs[:50]:
        server.upstream.add_feedback(run["id"], {"key": "score", "score": 1})
    server.upstream.add_attachment(runs[0]["id"], "a.txt", b"text")
    server.upstream.spoil(runs[55]["id"], b"7")
    server.inject(fails(422, "/feedback"))
    ran = desk.run(*ONE, "--json", "--verbose")
    assert ran.returncode == 1
    result = json.loads(ran.stdout)
    assert (result["runs"], result["errors"], result["feedback_not_fetched"]) == (59, 1, 50)
    assert (result["attachments"], result["failed"]) == (1, [])
    events = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [event["event"] for event in events] == ["fetch.finished", "fetch.incomplete"]
    assert (events[1]["bad_runs"], events[1]["without_feedback_runs"]) == (1, 50)
    told = ran.stdout + ran.stderr + "".join(path.read_text() for path in desk.directory.rglob("*") if path.is_file())
    assert KEY not in told
    assert not [signature for signature in server.signatures if signature in told]
    people = desk.run(*ONE)
    assert (people.returncode, json.loads(people.stderr)["event"]) == (1, "fetch.incomplete")
    assert "50 feedback fetched" in people.stdout
    assert "errors: these runs cannot become files" in people.stdout


def test_attachments_are_left_on_request(desk: Desk, server: Server) -> None:
    """With --no-attachments they are counted and not downloaded."""
    server.upstream.add_runs(PROJECT, runs := big_trace(3))
    server.upstream.add_attachment(runs[0]["id"], "a.txt", b"text")
    result = desk.json(*ONE, "--no-attachments")
    assert (result["attachments_left"], result["attachments"]) == (1, 0)
    assert not list(desk.root.rglob("_attachments"))


def test_since_last(desk: Desk, server: Server) -> None:
    """From the day before the last fetched one up to today; of older days only the runs that had not ended."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=age) for age in (5, 2, 1, 0)]
    for number, day in enumerate(days):
        server.upstream.add_runs(PROJECT, big_trace(3, seed=number, day=day))
    waiting = big_trace(2, seed=9, day=days[0])
    for run in waiting:
        run.update(status="pending", end_time=None)
    server.upstream.add_runs(PROJECT, waiting)
    since = ("archive", "fetch", "--project", PROJECT, "--since-last")
    nothing = desk.run(*since)
    assert (nothing.returncode, "nothing of support-bot has been fetched yet" in nothing.stderr) == (78, True)
    first = desk.json("archive", "fetch", "--project", PROJECT, "--date", days[0].isoformat())
    assert (first["pending"], first["written"]) == (2, 5)
    people = desk.run("archive", "fetch", "--project", PROJECT, "--start-date", days[1].isoformat())
    assert people.returncode == 0
    server.upstream.add_runs(PROJECT, [run | {"status": "success", "end_time": run["start_time"]} for run in waiting])
    asked = server.count("POST", "/runs/query")
    last = desk.json(*since)
    assert (last["written"], last["replaced"], last["days"]) == (0, 2, 3)
    assert server.count("POST", "/runs/query") == asked + 3
    (desk.directory / "state" / "fetch" / "support-bot" / "standing.json").unlink()
    assert desk.json(*since)["days"] == 2


def test_names_from_the_configuration(desk: Desk, server: Server) -> None:
    """A project that the configuration gives a folder is fetched into it, by its name or by the folder's."""
    server.upstream.add_runs(PROJECT, big_trace(3))
    kept = [{"project": PROJECT, "folder": "bot", "retention_days": 14, "first_day": "2026-11-01"}]
    desk.settings["TRACEWATCHD_RETENTION__PROJECTS"] = json.dumps(kept)
    assert desk.json(*ONE)["written"] == 3
    assert desk.json("archive", "fetch", "--project", "bot", "--date", DAY.isoformat())["unchanged"] == 3
    assert [path.name for path in desk.root.iterdir()] == ["bot"]


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "sentence"),
    [
        (("--date", "2026-11-20"), {}, 2, "name one project"),
        (("--project", "x"), {}, 2, "name days, or say --since-last"),
        (("--project", "x", "--date", "2026-11-20", "--since-last"), {}, 2, "but not both"),
        (("--project", "x", "--end-date", "2026-11-20"), {}, 2, "name the first day"),
        (("--project", "x", "--start-date", "2999-11-20"), {}, 2, "2999-11-20 has not begun"),
        (("--project", "x", "--date", "2026-11-20"), {"LANGSMITH_API_KEY": ""}, 78, "langsmith.api_key: no key is set"),
        (("--project", "///", "--date", "2026-11-20"), {}, 78, "no folder can be named after"),
        (("--project", "x", "--date", "2026-11-20"), {}, 70, "LangSmith has no project 'x'"),
        (("--project", "x", "--date", "2026-11-20"), {"LANGSMITH_API_KEY": "other"}, 70, "hint: Check the API key"),
        (("--project", "x", "--date", "2026-11-20"), {"TRACEWATCHD_WATCH__ROOTS": "a:b"}, 2, "several roots"),
        (("--project", "x", "--date", "2026-11-20"), {"TRACEWATCHD_WATCH__ROOTS": ""}, 78, "no root is configured"),
    ],
)
def test_how_it_fails(
    desk: Desk, arguments: tuple[str, ...], settings: dict[str, str], status: int, sentence: str
) -> None:
    """Wrong usage, configuration, key or project: the exit status of each, and a sentence that says what to do."""
    desk.settings |= settings
    ran = desk.run("archive", "fetch", *arguments)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert sentence in " ".join(ran.stderr.replace("│", " ").split())


def test_one_of_several_days_fails(desk: Desk, server: Server) -> None:
    """The others are fetched, the failed one is named, and the exit status is 1."""
    days = [DAY + timedelta(days=number) for number in range(3)]
    for number, day in enumerate(days):
        server.upstream.add_runs(PROJECT, big_trace(3, seed=number, day=day))
    server.inject(fails(403, "/runs/query", times=ALWAYS, asked=lambda body: str(days[1]) in body["start_time"]))
    span = ("--start-date", str(days[0]), "--end-date", str(days[2]))
    ran = desk.run("archive", "fetch", "--project", PROJECT, *span)
    assert ran.returncode == 1
    assert f"failed: {days[1]}: LangSmith answers 403 to POST /api/v1/runs/query" in ran.stdout
    assert ran.stdout.startswith("6 runs of 2 days: 6 written")


def test_progress_on_a_terminal(desk: Desk, server: Server) -> None:
    """A terminal sees runs, rate and what may be asked at once; the result stays on standard output."""
    server.upstream.add_runs(PROJECT, big_trace(150))
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as terminal:
        env = desk.env | {"COLUMNS": "150", "TERM": "xterm"}
        process = subprocess.Popen([COMMAND, *ONE, "--json"], env=env, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        shown = bytearray()
        try:
            while piece := terminal.read(1 << 16):
                shown += piece
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert json.loads(out)["written"] == 150
    assert f"fetching {DAY}" in shown.decode()
    assert re.search(r"150 runs, \d+ runs/s, \d+ requests free", shown.decode())
