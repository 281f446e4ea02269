"""Postgres goes away: files wait, memory stays flat, and one line tells the beginning, one the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from postgres import Server
from running import Running, environment, eventually, running
from tracewatchd.model.sample import generate

FILES = 6_000
OUTAGE_S = float(os.environ.get("OUTAGE_S", "60"))
MIB = 1024 * 1024


@pytest.fixture
def own_server(server_of: Callable[..., Server], wheel: Path) -> Server:
    """A server that the test may kill."""
    return server_of(wheel)


def _write(root: Path, files: int) -> None:
    for file in generate(runs=files, seed=8):
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.body)


async def _count(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM runs"))
    finally:
        await connection.close()


def _all_loaded(daemon: Running, files: int) -> bool:
    return any(e["states"] == {"loaded": files} for e in daemon.named("sweep.finished"))


def _said_once(daemon: Running, outage_s: float) -> None:
    assert len(daemon.named("store.unavailable")) == 1
    assert len(daemon.named("store.awaited")) <= outage_s / 30 + 1
    assert len(daemon.named("store.recovered")) == 1
    assert daemon.named("store.recovered")[0]["after_s"] >= outage_s * 0.9
    names = [event["event"] for event in daemon.events]
    between = names[names.index("store.unavailable") + 1 : names.index("store.recovered")]
    # The first connection to an empty database makes the tables before it counts as recovered; at a start, HTTP is told
    # of beside all that.
    allowed = {"store.awaited", "store.migrated", "http.started"}
    assert set(between) <= allowed, "an outage has its own lines and no others"


@pytest.mark.timeout(300)
async def test_an_outage_in_the_middle_of_a_load_costs_time_only(tmp_path: Path, own_server: Server) -> None:
    """Kill -9 on Postgres during a load and a minute without it: flat memory, one pair of lines, everything in."""
    root = tmp_path / "data"
    _write(root, FILES)
    env = environment(TRACEWATCHD_DATABASE__URL=own_server.dsn(), TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="5")
    with running("run", str(root), env=env) as daemon:
        daemon.wait_for("batch.committed", count=20)
        own_server.stop(signal.SIGKILL)
        daemon.wait_for("store.unavailable")
        before = daemon.rss_bytes()
        threading.Event().wait(OUTAGE_S)
        grown = daemon.rss_bytes() - before
        own_server.start()
        daemon.wait_for("store.recovered")
        eventually(lambda: _all_loaded(daemon, FILES), patience_s=90, why=daemon.tail)
        assert daemon.stop() == 0
    assert grown <= 10 * MIB
    _said_once(daemon, OUTAGE_S)
    assert await _count(own_server.dsn()) == FILES


@pytest.mark.timeout(300)
async def test_postgres_away_at_the_start_is_waited_for(tmp_path: Path, own_server: Server) -> None:
    """A daemon that starts before its database says so once, waits, and loads everything when it is there."""
    root = tmp_path / "data"
    _write(root, 500)
    own_server.stop(signal.SIGKILL)
    env = environment(TRACEWATCHD_DATABASE__URL=own_server.dsn(), TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="5")
    with running("run", str(root), env=env) as daemon:
        daemon.wait_for("store.unavailable")
        before = daemon.rss_bytes()
        threading.Event().wait(OUTAGE_S)
        grown = daemon.rss_bytes() - before
        own_server.start()
        eventually(lambda: _all_loaded(daemon, 500), patience_s=60, why=daemon.tail)
        assert daemon.stop() == 0
    assert grown <= 10 * MIB
    _said_once(daemon, OUTAGE_S)
    assert await _count(own_server.dsn()) == 500


def test_a_stop_during_an_outage_ends_in_time(tmp_path: Path, own_server: Server) -> None:
    """SIGTERM while Postgres is away: exit status 0 within the limit, and daemon.stopped counts what is left."""
    root = tmp_path / "data"
    _write(root, 300)
    env = environment(TRACEWATCHD_DATABASE__URL=own_server.dsn(), TRACEWATCHD_SERVICE__SHUTDOWN_S="2")
    with running("run", str(root), env=env) as daemon:
        daemon.wait_for("daemon.ready")
        own_server.stop(signal.SIGKILL)
        daemon.wait_for("store.unavailable", patience_s=60)
        assert daemon.stop(patience_s=15) == 0
        assert daemon.named("daemon.stopped")
