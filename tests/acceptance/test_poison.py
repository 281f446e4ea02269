"""One bad run costs one run: real poison, on real Postgres, through the installed command."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import ceil, log2
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bad_input import document, file_of
from postgres import Server
from run_files import put, run_id
from running import Running, command, environment, eventually, running

RUNS = 500
BAD = 333
UPSERT = 'INSERT INTO "public".runs AS r'
TO_DB = ("archive", "to-db", "--all", "--overwrite", "--json")


@pytest.fixture
def env(database: str, root: Path) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database, TRACEWATCHD_WATCH__ROOTS=str(root))


def lay(root: Path, runs: int, bad: dict[int, bytes]) -> None:
    for number in range(runs):
        put(root, file_of(number), bad.get(number) or document(number))


async def fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def quarantine(dsn: str) -> list[dict[str, Any]]:
    query = "SELECT path, reason, detail, setting FROM ledger WHERE state = 'quarantined' ORDER BY path"
    return [dict(row) for row in await fetch(dsn, query)]


async def run_count(dsn: str) -> int:
    return int((await fetch(dsn, "SELECT count(*) FROM runs"))[0][0])


def events(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("run", "sqlstate", "place"),
    [
        pytest.param({"inputs": '{"secret": "hunter2", "n": 1e200000}'}, "22003", "/data/inputs/n", id="number"),
        pytest.param({"inputs": "[" * 20_000 + "]" * 20_000}, "54001", "/data/inputs/0/0/0/0/0/0/0/...", id="depth"),
    ],
)
async def test_one_poisoned_run_among_500(
    root: Path, server_of: Callable[..., Server], wheel: Path, run: dict[str, str], sqlstate: str, place: str
) -> None:
    """499 rows, one quarantined with SQLSTATE, reason and place, and few attempts although all 500 are one batch."""
    logging = server_of(wheel, log_statement="all")
    env = environment(TRACEWATCHD_DATABASE__URL=logging.dsn(), TRACEWATCHD_WATCH__ROOTS=str(root))
    lay(root, RUNS, {BAD: document(BAD, run=run)})
    done = command(*TO_DB, "--batch-size", str(RUNS), env=env)
    assert done.returncode == 1, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["loaded"], counts["quarantined"]) == (RUNS - 1, 1)
    assert await run_count(logging.dsn()) == RUNS - 1
    (row,) = await quarantine(logging.dsn())
    assert (row["path"], row["reason"]) == (file_of(BAD), "unstorable")
    assert row["detail"].startswith("Postgres refuses it: ")
    assert row["detail"].endswith(f" (SQLSTATE {sqlstate}) at {place}")
    assert "hunter2" not in row["detail"] + done.stderr
    # A refused statement is in the server's log as the statement of an error, a good one as executed.
    attempts = logging.log.read_text().count(UPSERT)
    assert 1 < attempts <= 2 * ceil(log2(RUNS)) + 2
    (told,) = [event for event in events(done.stderr) if event["event"] == "file.quarantined"]
    assert (told["path"], told["sqlstate"]) == (file_of(BAD), sqlstate)
    again = command(*TO_DB, env=env)
    assert again.returncode == 0, "standing quarantine is told as a count"
    assert json.loads(again.stdout)["already_quarantined"] == 1
    assert logging.log.read_text().count(UPSERT) == attempts


async def test_many_poisoned_runs_cost_as_many(root: Path, env: dict[str, str], database: str) -> None:
    """Poison in every batch and side by side: each bad run is quarantined, and no good one with it."""
    bad = {0, 1, 49, 50, 73, 148, 149}
    lay(root, 150, {number: document(number, run={"inputs": '{"n": 1e200000}'}) for number in bad})
    with running("run", str(root), env=env) as daemon:
        states = daemon.wait_for("sweep.finished")["states"]
        assert daemon.stop() == 0
    assert states == {"loaded": 150 - len(bad), "quarantined": len(bad)}
    assert [row["path"] for row in await quarantine(database)] == sorted(map(file_of, bad))


SLOW = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.run_id = '{run_id}' THEN PERFORM pg_sleep({sleep_s}); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION dawdle();
"""


async def test_a_record_that_times_out_each_time_stops_nobody(
    root: Path, env: dict[str, str], database: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    """It is quarantined as ``keeps_failing``, the rest is loaded, and its cause being gone a retry loads it."""
    await connection.execute(SLOW.format(run_id=run_id(17), sleep_s=30))
    lay(root, 20, {})
    hasty = env | {"TRACEWATCHD_DATABASE__COMMIT_TIMEOUT_S": "0.5", "TRACEWATCHD_INGEST__WRITERS": "1"}
    with running("run", str(root), env=hasty) as daemon:
        states = daemon.wait_for("sweep.finished")["states"]
        put(root, file_of(50), document(50))
        eventually(lambda: sum(e["outcomes"].get("loaded", 0) for e in daemon.named("batch.committed")) == 20)
        assert daemon.stop() == 0
    assert states == {"loaded": 19, "quarantined": 1}
    assert not daemon.named("store.unavailable"), "a slow record is no outage"
    (row,) = await quarantine(database)
    assert (row["path"], row["reason"]) == (file_of(17), "keeps_failing")
    assert row["detail"].startswith("storing it fails each time although Postgres answers: ")
    await connection.execute("DROP TRIGGER dawdle ON runs")
    retried = command("quarantine", "retry", "--all", "--json", env=env)
    assert retried.returncode == 0, retried.stderr
    assert json.loads(retried.stdout)["loaded"] == 1
    assert await quarantine(database) == []


def swept(root: Path, env: dict[str, str], states: dict[str, int]) -> Running:
    """A daemon that swept once, found these states, and ended."""
    with running("run", str(root), env=env) as daemon:
        assert daemon.wait_for("sweep.finished")["states"] == states
        assert daemon.stop() == 0
        return daemon


async def test_the_setting_that_caused_a_quarantine_ends_it(root: Path, env: dict[str, str], database: str) -> None:
    """``sanitize = "reject"`` quarantines what would be changed; set back, the next sweep loads it, changed."""
    lay(root, 5, {3: document(3, run={"inputs": r'{"t": "a\u0000b"}'})})
    rejecting = env | {"TRACEWATCHD_INGEST__SANITIZE": "reject"}
    kept = {"loaded": 4, "quarantined": 1}
    assert len(swept(root, rejecting, kept).named("file.quarantined")) == 1
    assert not swept(root, rejecting, kept).named("file.quarantined"), "standing quarantine is told once"
    (row,) = await quarantine(database)
    assert row == {
        "path": file_of(3),
        "reason": "needs_sanitizing",
        "detail": "the database cannot hold what stands at /data/inputs/t",
        "setting": "sanitize=reject",
    }
    (changed,) = swept(root, env, {"loaded": 5}).named("file.sanitized")
    assert changed["path"] == file_of(3)
    assert await run_count(database) == 5
