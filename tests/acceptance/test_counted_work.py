"""Counted work, not time: statements, opens, bytes, memory, and two writers on the same files at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bad_input import document, file_of
from postgres import Server
from run_files import put
from running import COMMAND, PATIENCE_S, command, environment, running

FILES = 500
BATCH_ROWS = 50
UPSERT = 'INSERT INTO "public".runs AS r'
ACKNOWLEDGEMENT = 'INSERT INTO "public".ledger AS l'
PEAK_BYTES = 150 * 1024 * 1024

COUNTING = """
import collections, json, os, sys

opens, sizes, names = collections.Counter(), collections.Counter(), {}
opening, reading = os.open, os.read

def counted_open(path, *args, **kwargs):
    descriptor = opening(path, *args, **kwargs)
    names[descriptor] = os.fsdecode(path)
    opens[names[descriptor]] += 1
    return descriptor

def counted_read(descriptor, size):
    content = reading(descriptor, size)
    sizes[names.get(descriptor, "")] += len(content)
    return content

os.open, os.read = counted_open, counted_read
report = sys.argv.pop(1)
sys.argv[0] = "tracewatchd"
from tracewatchd.cli.main import main
try:
    main()
finally:
    with open(report, "w") as file:
        json.dump({"opens": opens, "sizes": sizes}, file)
"""


@dataclass(frozen=True)
class Counted:
    """What one command opened and read by the names of files, run files alone."""

    opens: dict[str, int]
    sizes: dict[str, int]
    result: dict[str, Any]


@pytest.fixture
def env(database: str, root: Path) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database, TRACEWATCHD_WATCH__ROOTS=str(root))


def lay(root: Path, files: int) -> list[Path]:
    return [put(root, file_of(number), document(number, run={"i": str(number)})) for number in range(files)]


def counted(tmp_path: Path, env: dict[str, str], *arguments: str) -> Counted:
    """Run a command in an interpreter that counts what it opens and reads."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(report), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(report.read_text())
    opens = {name: count for name, count in said["opens"].items() if name.endswith(".json")}
    sizes = {name: size for name, size in said["sizes"].items() if name.endswith(".json")}
    return Counted(opens, sizes, json.loads(done.stdout))


async def run_count(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM runs"))
    finally:
        await connection.close()


def test_five_hundred_files_are_ten_statements(root: Path, server_of: Callable[..., Server], wheel: Path) -> None:
    """One upsert and one acknowledgement for each batch of 50, and no transaction at all where all is known."""
    logging = server_of(wheel, log_statement="all")
    env = environment(TRACEWATCHD_DATABASE__URL=logging.dsn(), TRACEWATCHD_WATCH__ROOTS=str(root))
    lay(root, FILES)
    to_db = ("archive", "to-db", "--all", "--overwrite", "--batch-size", str(BATCH_ROWS))
    assert command(*to_db, env=env).returncode == 0
    log = logging.log.read_text()
    assert log.count(UPSERT) == log.count(ACKNOWLEDGEMENT) == FILES // BATCH_ROWS
    transactions = log.count("COMMIT")
    assert command(*to_db, env=env).returncode == 0
    log = logging.log.read_text()
    assert log.count(UPSERT) == FILES // BATCH_ROWS
    assert log.count("COMMIT") <= transactions + 1, "what is known is looked up, and nothing is committed for it"


def test_each_file_is_opened_once_and_an_unchanged_tree_is_never_read(
    root: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    """A load opens each file once and reads its bytes once; quick sweeps, loads and dry runs after it read nothing."""
    files = lay(root, 300)
    first = counted(tmp_path, env, "archive", "to-db", "--all", "--json")
    assert first.result["loaded"] == len(files)
    assert first.opens == {file.name: 1 for file in files}
    assert first.sizes == {file.name: file.stat().st_size for file in files}
    for arguments in (
        ("reconcile", "--once"),
        ("archive", "to-db", "--all"),
        ("archive", "to-db", "--all", "--dry-run"),
    ):
        again = counted(tmp_path, env, *arguments, "--json")
        assert again.result["files"] == len(files)
        assert again.opens == again.sizes == {}
    changed = files[7]
    put(root, changed.relative_to(root).as_posix(), document(7, run={"i": '"changed"'}))
    swept = counted(tmp_path, env, "reconcile", "--once", "--json")
    assert swept.opens == {changed.name: 1}


@pytest.mark.timeout(180)
def test_the_memory_of_a_load_is_bounded(tmp_path: Path, root: Path, env: dict[str, str]) -> None:
    """Five thousand files of the real size distribution, 120 MB together, need at most 150 MiB at the peak."""
    assert command("sample", str(root), "--runs", "5000", "--seed", "3", env=env).returncode == 0
    laid = sum(file.stat().st_size for file in root.rglob("*.json"))
    assert laid > 100 * 1024 * 1024
    with running("run", str(root), env=env) as daemon:
        assert daemon.wait_for("sweep.finished", patience_s=90)["states"] == {"loaded": 5_000}
        peak_bytes = daemon.rss_bytes(peak=True)
        assert daemon.stop() == 0
    assert peak_bytes <= PEAK_BYTES, f"{peak_bytes / 2**20:.0f} MiB"


WRITING = """
    SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'runs'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def started(env: dict[str, str], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "archive", "to-db", "--all", "--json", *options],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("overwrite", [["--overwrite"], []], ids=["upsert", "insert"])
async def test_two_writers_on_the_same_files_load_each_run_once(
    root: Path, env: dict[str, str], database: str, connection: asyncpg.Connection[asyncpg.Record], overwrite: list[str]
) -> None:
    """Two commands send the same 1,000 runs at the same moment: each is inserted by one of them, and both succeed."""
    files = 1_000
    lay(root, files)
    writers = 4
    async with connection.transaction():
        await connection.execute("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE")
        both = [started(env, *overwrite) for _ in range(2)]
        await _until(connection, 2 * writers)
    results = []
    for process in both:
        said, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints
        results.append(json.loads(said))
    assert sum(result["loaded"] for result in results) == files
    assert all(result["loaded"] + result["unchanged"] + result["already_loaded"] == files for result in results)
    assert sum(result["unchanged"] for result in results) >= writers, "they met"
    assert await run_count(database) == files
    assert await connection.fetchval("SELECT count(*) FROM files WHERE state = 'loaded'") == files


async def _until(connection: asyncpg.Connection[asyncpg.Record], writing: int) -> None:
    """Wait until so many transactions wait for the table."""
    async with asyncio.timeout(PATIENCE_S):
        while await connection.fetchval(WRITING) < writing:  # noqa: ASYNC110 - Postgres has no event for it
            await asyncio.sleep(0.02)
