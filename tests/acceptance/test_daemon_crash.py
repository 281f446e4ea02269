"""Killed without warning, again and again, while files arrive: nothing is lost and nothing is there twice."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import asyncpg
import pytest

from running import PATIENCE_S, Running, command, environment, eventually, running
from tracewatchd.model.sample import generate

KILLS = 25
KILLS_IN_FLIGHT = 15
FILES = int(os.environ.get("CRASH_FILES", "20000"))


class Arriving(threading.Thread):
    """Writes run files, atomically, until all are there; paced so that they arrive while the daemon is killed."""

    def __init__(self, root: Path, files: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._files = files
        self._go = threading.Semaphore(0)
        self.written = 0

    def allow(self, files: int) -> None:
        """Let some more files arrive."""
        self._go.release(files)

    def run(self) -> None:
        for file in generate(runs=self._files, seed=5):
            self._go.acquire()
            target = self._root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.tmp")
            temporary.write_bytes(file.body)
            temporary.rename(target)
            self.written += 1


def _kill_in_flight(daemon: Running, chance: random.Random) -> bool:
    """Kill at a random moment after something was committed; says whether files were waiting then."""
    daemon.wait_for("batch.committed", patience_s=PATIENCE_S)
    seen = len(daemon.named("batch.committed"))
    eventually(lambda: len(daemon.named("batch.committed")) >= seen + chance.randrange(6), patience_s=5)
    daemon.kill()
    return int(daemon.named("batch.committed")[-1]["waiting_files"]) > 0


def _kill_often(root: Path, env: dict[str, str]) -> int:
    chance = random.Random(6)
    arriving = Arriving(root, FILES)
    arriving.start()
    in_flight = 0
    for _ in range(KILLS):
        with running("run", str(root), env=env) as daemon:
            arriving.allow(FILES // KILLS)
            in_flight += _kill_in_flight(daemon, chance)
    arriving.allow(FILES)
    arriving.join(PATIENCE_S * 4)
    assert arriving.written == FILES
    return in_flight


def _finish(root: Path, env: dict[str, str]) -> dict[str, object]:
    with running("run", str(root), env=env) as daemon:
        eventually(
            lambda: [e for e in daemon.named("sweep.finished") if e["states"] == {"loaded": FILES}],
            patience_s=120,
            why=daemon.tail,
        )
        assert daemon.stop() == 0
        return daemon.named("sweep.finished")[-1]


@pytest.mark.timeout(900)
async def test_kill_9_with_a_database_of_its_own(tmp_path: Path, database: str) -> None:
    """25 kills while 20,000 files arrive: as many rows as runs, every file loaded, none pending."""
    root = tmp_path / "data"
    env = environment(TRACEWATCHD_DATABASE__URL=database, TRACEWATCHD_DATABASE__LEASE_TTL_S="1")
    in_flight = _kill_often(root, env)
    last = _finish(root, env)
    assert last["verdict"] == "consistent"
    assert in_flight >= KILLS_IN_FLIGHT
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM runs") == FILES
        assert await connection.fetchval("SELECT count(*) FROM ledger WHERE state = 'acknowledged'") == FILES
    finally:
        await connection.close()


@pytest.mark.timeout(900)
def test_kill_9_with_the_embedded_server(tmp_path: Path) -> None:
    """The same where the killed daemon owns the server that holds the rows."""
    root = tmp_path / "data"
    env = environment(TRACEWATCHD_DATABASE__EMBEDDED_DIR=str(tmp_path / "state"), TRACEWATCHD_DATABASE__LEASE_TTL_S="1")
    in_flight = _kill_often(root, env)
    last = _finish(root, env)
    assert last["verdict"] == "consistent"
    assert in_flight >= KILLS_IN_FLIGHT
    status = command("reconcile", "--once", "--no-repair", "--json", env=env | {"TRACEWATCHD_WATCH__ROOTS": str(root)})
    assert status.returncode == 0, status.stdout + status.stderr
