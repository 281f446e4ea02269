"""``traces``: the runs of a day as a list, one trace as a tree, from the database alone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from one_shot import Desk
from postgres import Server, run_now
from run_files import put, run_id
from running import COMMAND, command
from stores import plainly
from terminal import on_terminal

DAY = "2026-11-20"
CHAIN = """
    INSERT INTO runs (run_id, trace_id, parent_run_id, project, run_date, data, file_mtime_ns, file_sha256, rules)
    SELECT md5('big' || n)::uuid, '00000000-0000-4000-8000-0000000aaaaa', md5('big' || n - 1)::uuid, 'big',
        '2026-01-01', '{}', 1, sha256(''), 1
    FROM generate_series(1, 26000) n WHERE n % 26 <> 0
    RETURNING 1
"""
UNKNOWN = "6f1f9c1e-5f0e-4b7e-9c55-0d6f5a8f4c11"


def run(number: int, start: str, *, parent: int | None = None, took_s: float = 1, **fields: Any) -> dict[str, Any]:
    """A run of the trace 1 that begins at a time of the day and takes less than a minute."""
    return {
        "id": str(run_id(number)),
        "trace_id": str(run_id(1)),
        "parent_run_id": parent and str(run_id(parent)),
        "name": f"run {number}",
        "run_type": "chain",
        "status": "success",
        "start_time": f"{DAY}T{start}:00Z",
        "end_time": f"{DAY}T{start}:{took_s:06.3f}Z",
        **fields,
    }


def place(desk: Desk, body: dict[str, Any], *, day: str = DAY, project: str | None = "Support Bot") -> None:
    """The file of a run in the project's folder; without a project it is a bare run, whose project is the folder."""
    metadata = {"extracted_at": "2025-01-01T00:00:00Z", "project_name": project}
    content = {"metadata": metadata, "trace": body} if project else body
    put(desk.root, f"support-bot/{day}/{body['id']}_000000.json", json.dumps(content).encode())


@pytest.fixture(scope="module")
def desk(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A trace across midnight with an error and an orphan, and another project's run; no root is configured."""
    desk = Desk(tmp_path_factory.mktemp("traces"), server.create_database(template))
    place(desk, run(1, "23:50", took_s=59, name="agent"))
    place(desk, run(2, "23:51", parent=1, name="ChatOpenAI", run_type="llm", total_tokens=1_200, total_cost=0.5))
    place(desk, run(3, "23:52", parent=1, took_s=9, name="web search", status="error", error="TimeoutError: no answer"))
    place(desk, run(4, "23:53", parent=50, outputs={"answer": "Grüße aus Köln"}), project=None)
    after: dict[str, Any] = {"start_time": "2026-11-21T00:01:00Z", "end_time": "2026-11-21T00:01:01Z"}
    place(desk, run(5, "00:00", parent=2, **after), day="2026-11-21")
    other = run(9, "12:00", trace_id=str(run_id(9)))
    envelope = {"metadata": {"extracted_at": "2025-01-01T00:00:00Z", "project_name": "Nightly runs"}, "trace": other}
    put(desk.root, f"evals/{DAY}/{other['id']}_120000.json", json.dumps(envelope).encode())
    loaded = desk.run("archive", "to-db", "--all")
    assert loaded.returncode == 0, loaded.stderr
    desk.settings["TRACEWATCHD_WATCH__ROOTS"] = ""
    yield desk
    server.drop_database(desk.database)


def listed(desk: Desk, *words: str) -> list[int]:
    """The numbers of the runs that are listed."""
    numbers = {str(run_id(number)): number for number in range(100)}
    return [numbers[line["run_id"]] for line in desk.json("traces", "list", *words)]


# ---- list


def test_the_newest_run_comes_first(desk: Desk) -> None:
    """The runs of one project and day, bare ones of its folder included; the project goes by folder or by name.

    A folder need not be named after its project: the ledger knows what lies in it.
    """
    of_day = ("--date", DAY)
    assert listed(desk, "--project", "support-bot", *of_day) == [4, 3, 2, 1]
    assert listed(desk, "--project", "Support Bot", *of_day) == [4, 3, 2, 1]
    assert listed(desk, *of_day) == [4, 3, 2, 1, 9]
    assert listed(desk, "--project", "evals", "--date", "2026-11-21") == []


def test_without_a_day_it_is_the_newest_one(desk: Desk) -> None:
    """That of the project, or of all of them; ranges of days are taken whole."""
    assert listed(desk) == [5]
    assert listed(desk, "--project", "support-bot") == [5]
    assert listed(desk, "--project", "evals") == [9]
    assert listed(desk, "--start-date", DAY) == [5, 4, 3, 2, 1, 9]
    assert listed(desk, "--end-date", DAY, "--project", "evals") == [9]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--status", "error"], [3]),
        (["--status", "ERROR"], [3]),
        (["--run-type", "llm"], [2]),
        (["--name", "SEARCH"], [3]),
        (["--name", "%"], []),
        (["--min-latency", "9"], [3, 1]),
        (["--min-latency", "9.001"], [1]),
        (["--text", "grüße AUS"], [4]),
        (["--text", "nowhere"], []),
        (["--name", "run", "--run-type", "llm"], []),
    ],
)
def test_filters(desk: Desk, words: list[str], found: list[int]) -> None:
    """Each leaves only the runs that it means, and several together what all of them leave."""
    assert listed(desk, "--project", "support-bot", "--date", DAY, *words) == found


def test_the_list_for_people(desk: Desk) -> None:
    """A line for each run, with what it took and what went wrong; a cut list says that there is more."""
    told = desk.run("traces", "list", "--date", DAY, "--project", "support-bot").stdout.splitlines()
    assert re.split(r"  +", told[0]) == [
        "started (UTC)", "name", "type", "status", "took", "tokens", "cost", "project", "run", "error"
    ]  # fmt: skip
    assert re.split(r"  +", told[2]) == [
        f"{DAY} 23:52:00", "web search", "chain", "error", "9.0 s", "-", "-", "Support Bot", str(run_id(3)),
        "TimeoutError: no answer",
    ]  # fmt: skip
    assert told[-1] == "4 runs"
    cut = desk.run("traces", "list", "--date", DAY, "--limit", "1").stdout.splitlines()
    assert (len(cut), cut[-1]) == (3, "1 run and more: raise --limit")
    assert desk.run("traces", "list", "--name", "nobody").stdout == "0 runs\n"


def test_a_project_that_is_not_there(desk: Desk) -> None:
    """A slip in its name does not look like a day without runs."""
    wrong = desk.run("traces", "list", "--project", "support-bt")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no run is of the project 'support-bt'; there are: Nightly runs, Support Bot, support-bot" in " ".join(
        wrong.stderr.replace("│", " ").split()
    )


def test_rows_without_a_file(desk: Desk) -> None:
    """Where the ledger knows nothing of a project, its name, or the folder that would be named after it, finds it."""
    rows = (
        "INSERT INTO runs (run_id, trace_id, project, run_date, data, file_mtime_ns, file_sha256, rules) SELECT"
        " '00000000-0000-4000-8000-000000000050', gen_random_uuid(), name, '2026-01-01', '{}', 1, sha256(''), 1"
        " FROM (VALUES ('By Hand!')) AS given (name) RETURNING 1"
    )
    assert desk.rows(rows) == [(1,)]
    assert listed(desk, "--project", "By Hand!") == [80]
    assert listed(desk, "--project", "by-hand") == [80]
    assert desk.run("traces", "list", "--project", "???").returncode == 2
    desk.rows("DELETE FROM runs WHERE project = 'By Hand!' RETURNING 1")


def test_a_database_without_runs(database: str, tmp_path: Path) -> None:
    """Nothing is listed, and nothing is wrong."""
    assert Desk(tmp_path, database).run("traces", "list").stdout == "0 runs\n"


# ---- show


def test_a_trace_is_shown_as_a_tree(desk: Desk) -> None:
    """Whole across midnight and folders, an orphan below a line for its parent; any run's id finds it."""
    shown = desk.run("traces", "show", str(run_id(1))).stdout.splitlines()
    assert shown[0] == f"trace {run_id(1)} of Support Bot, support-bot"
    assert shown[1] == (
        "2026-11-20 23:50:00 to 2026-11-21 00:01:01 UTC (11m 01s), 5 runs, 1 error, 1 missing parent,"
        " 1,200 tokens, $0.5000"
    )
    assert [line[:28].rstrip() for line in shown[4:]] == [
        "agent",
        "├─ ChatOpenAI",
        "│  └─ run 5",
        "└─ web search",
        "      TimeoutError: no answe",
        f"run {run_id(50)}"[:28],
        "└─ run 4",
    ]
    by_run = desk.run("traces", "show", str(run_id(5))).stdout.splitlines()
    assert [line.replace("> ", "") for line in by_run if "> run 5" in line]
    assert by_run[:2] == shown[:2]


def test_the_tree_as_data(desk: Desk) -> None:
    """Lines in the order of the tree, each with its depth and its run; durations in seconds."""
    told = desk.json("traces", "show", str(run_id(3)))
    assert (told["trace_id"], told["runs"], told["errors"], told["missing_parents"]) == (str(run_id(1)), 5, 1, 1)
    assert (told["tokens"], told["cost"], told["left_out"], told["is_cut"]) == (1_200, "0.5", 0, False)
    assert [(line["depth"], line["run"] and line["run"]["duration_s"]) for line in told["lines"]] == [
        (0, 59.0), (1, 1.0), (2, 1.0), (1, 9.0), (0, None), (1, 1.0)
    ]  # fmt: skip
    assert told["lines"][3]["run"]["error"] == "TimeoutError: no answer"


def test_a_cut_tree_says_so(desk: Desk) -> None:
    """The upper levels are shown, the rest is counted."""
    shown = desk.run("traces", "show", str(run_id(1)), "--limit", "2").stdout.splitlines()
    assert len(shown) == 7
    assert shown[-1] == "left out: 3 runs (raise --limit)"


def test_an_id_that_is_not_there(desk: Desk) -> None:
    """Exit 1 and a sentence; what is no id is wrong usage."""
    result = desk.run("traces", "show", UNKNOWN, "--json")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"neither a trace nor a run with the id {UNKNOWN}" in result.stderr
    assert desk.run("traces", "show", "support-bot").returncode == 2


def test_a_terminal_gets_colours_and_bars(desk: Desk) -> None:
    """On a terminal of 120 columns the error is red and each run has a bar; nothing is wider than the terminal."""
    argv = [COMMAND, "traces", "show", str(run_id(1))]
    status, text = on_terminal(argv, desk.env, columns=120)
    assert status == 0
    assert "\x1b[31mTimeoutError: no answer" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert sum("━" in line for line in plain) == 5
    assert max(map(len, plain)) <= 120


def test_a_large_trace_is_bounded(desk: Desk) -> None:
    """Of 25,000 runs in one chain, with missing parents between, no more is printed than the limit."""
    trace = "00000000-0000-4000-8000-0000000aaaaa"
    assert len(desk.rows(CHAIN)) == 25_000
    shown = desk.run("traces", "show", trace)
    assert len(shown.stdout.splitlines()) == 4 + 1_000 + 1
    assert max(map(len, shown.stdout.splitlines())) < 200
    told = desk.json("traces", "show", trace, "--limit", "30000")
    assert (told["runs"], told["left_out"], told["missing_parents"]) == (25_000, 0, 1_000)
    assert desk.rows("DELETE FROM runs WHERE project = 'big' RETURNING 1")


def test_nothing_is_written(desk: Desk) -> None:
    """Both commands only read."""
    before = desk.written()
    assert desk.run("traces", "list").returncode == 0
    assert desk.run("traces", "show", str(run_id(1))).returncode == 0
    assert desk.written() == before


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    """Exit 3: what could not be asked is not "no runs"."""
    desk = Desk(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    for words in (["list"], ["show", UNKNOWN]):
        result = command("traces", *words, env=desk.env, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (3, "")
        assert "cannot be reached" in result.stderr


def test_a_question_that_takes_too_long(database: str, tmp_path: Path) -> None:
    """What is not answered within the limits ends the command with exit 3, not with an empty list."""
    limits = {"TRACEWATCHD_DATABASE__LOCK_TIMEOUT_S": "0.2", "TRACEWATCHD_DATABASE__COMMIT_TIMEOUT_S": "2"}
    desk = Desk(tmp_path, database, limits)

    async def asked() -> list[int]:
        async with plainly(database) as other, other.transaction():
            await other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            words = (["traces", "list"], ["traces", "show", UNKNOWN])
            return [(await asyncio.to_thread(desk.run, *some)).returncode for some in words]

    assert run_now(asked()) == [3, 3]
