"""Hints that are lost do not lose files."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from running import Running, environment, eventually, running
from tracewatchd.model.sample import SampleFile, generate

HOURLY = {"TRACEWATCHD_WATCH__SWEEP_INTERVAL_S": "3600"}


@pytest.fixture
def env(database: str) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database, **HOURLY)


def _write(root: Path, files: list[SampleFile]) -> None:
    for file in files:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_bytes(file.body)
        temporary.rename(target)


def _loaded(daemon: Running) -> int:
    return sum(event["outcomes"].get("loaded", 0) for event in daemon.named("batch.committed"))


def _ready_for(root: Path, files: list[SampleFile]) -> None:
    """Make the directories in advance, so that what is tested is the burst and nothing else."""
    for directory in {(root / file.path).parent for file in files}:
        directory.mkdir(parents=True, exist_ok=True)


def test_an_overflow_while_the_daemon_stands_still_is_noticed_and_swept(tmp_path: Path, env: dict[str, str]) -> None:
    """8,000 files written while the daemon is stopped are 8,000 rows without waiting for the periodic sweep."""
    files = list(generate(runs=8_000, seed=3))
    _ready_for(tmp_path, files)
    with running("run", str(tmp_path), env=env) as daemon:
        daemon.wait_for("daemon.ready")
        daemon.wait_for("sweep.finished")
        daemon.send(signal.SIGSTOP)
        _write(tmp_path, files)
        daemon.send(signal.SIGCONT)
        eventually(lambda: _loaded(daemon) == 8_000, patience_s=60, why=lambda: _loaded(daemon))
        daemon.wait_for("hints.suspected_lost")
        assert daemon.stop() == 0


def test_a_healthy_burst_raises_no_suspicion(tmp_path: Path, env: dict[str, str]) -> None:
    """2,000 files written while the daemon runs are 2,000 rows by hints alone, and nothing is suspected."""
    files = list(generate(runs=2_000, seed=4))
    _ready_for(tmp_path, files)
    with running("run", str(tmp_path), env=env) as daemon:
        daemon.wait_for("daemon.ready")
        daemon.wait_for("sweep.finished")
        _write(tmp_path, files)
        eventually(lambda: _loaded(daemon) == 2_000, patience_s=60, why=lambda: _loaded(daemon))
        assert len(daemon.named("sweep.finished")) == 1
        assert not daemon.named("hints.suspected_lost")
        assert daemon.stop() == 0
