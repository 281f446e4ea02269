"""docs/queries.md: each query runs as it stands there, and finds in the sample what it says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from doc_sql import sql_of
from one_shot import Desk
from postgres import Server
from run_files import put

QUERIES = {heading: query for heading, (query,) in sql_of("queries.md").items()}


@pytest.fixture(scope="module")
def sample(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The sample as `make run` writes it, with bad input besides, loaded and swept."""
    desk = Desk(tmp_path_factory.mktemp("queries"), server.create_database(template))
    assert desk.run("sample", str(desk.root), "--runs", "400", "--seed", "1", "--hostile", "0.1").returncode == 0
    put(desk.root, "support-bot/2026-11-16/broken.json", b"this is a note, not a run\n")
    assert desk.run("archive", "to-db", "--all").returncode == 1
    assert desk.run("reconcile", "--once").returncode in {0, 1}
    yield desk
    server.drop_database(desk.database)


@pytest.mark.parametrize("heading", QUERIES)
def test_each_query_runs_as_it_stands_there(sample: Desk, heading: str) -> None:
    """No query fails, and each finds something in a sample with bad input."""
    assert sample.rows(QUERIES[heading])


def test_the_queries_find_what_the_page_says(sample: Desk) -> None:
    """Totals over all rows say the same as the queries that group them."""
    ((runs,),) = sample.rows("SELECT count(*) FROM runs")
    ((errors,),) = sample.rows("SELECT count(*) FROM runs WHERE status = 'error'")
    ((cost,),) = sample.rows("SELECT sum(total_cost) FROM runs WHERE run_type = 'llm'")
    by_day = sample.rows(QUERIES["Runs per project and day"])
    assert (sum(row[2] for row in by_day), sum(row[4] for row in by_day)) == (runs, errors)
    assert sum(row[2] or 0 for row in sample.rows(QUERIES["Cost per project and day"])) == cost
    assert sum(row[3] for row in sample.rows(QUERIES["Error rate by name"])) == errors
    slowest = [row[5] for row in sample.rows(QUERIES["Slowest runs of a project-day"])]
    known = [took for took in slowest if took is not None]
    assert known == sorted(known, reverse=True)
    assert slowest[: len(known)] == known


def test_a_trace_is_a_tree(sample: Desk) -> None:
    """The root comes first, and nothing is indented by more than one level more than the line before it."""
    lines = [row[0] for row in sample.rows(QUERIES["One trace as a tree"])]
    depths = [(len(line) - len(line.lstrip())) // 4 for line in lines]
    assert depths[0] == 0
    assert len(lines) > 50
    assert all(below <= above + 1 for above, below in pairwise(depths))


def test_missing_parents_are_found(sample: Desk) -> None:
    """Just the runs whose parent has no row: those of quarantined files leave some in the sample."""
    rows = sample.rows("SELECT run_id, parent_run_id FROM runs")
    there = {run_id for run_id, _ in rows}
    orphans = {run_id for run_id, parent in rows if parent and parent not in there}
    assert {row[0] for row in sample.rows(QUERIES["Runs whose parent is missing"])} == orphans
    assert orphans
