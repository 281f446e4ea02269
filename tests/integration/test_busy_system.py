"""A healthy system at work: files come, are replaced and removed at full speed, and no sweep calls that damage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Self
from uuid import uuid4

import pytest

from damage import victim
from run_files import put
from running import environment, running
from sweeps import SOURCE, source
from tracewatchd.model.findings import ERRORS, Depth
from tracewatchd.model.fixes import BY_DEFAULT, FixKind, Journal
from tracewatchd.reconcile.plan import SweepPlan

_SWEEPS = 200
_RUNS = 400


class Producer:
    """Writes new runs, newer versions of runs, and removes run files, without a pause, until it is stopped."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._random = Random(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._version = 0
        self.done = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._version += 1
            chosen = victim(self._random.randint(1, _RUNS))
            if self._random.random() < 0.2:
                (self._root / chosen.path).unlink(missing_ok=True)
            else:
                put(self._root, chosen.path, chosen.body(days=self._version // 10_000, text=f"{self._version}"))
            self.done += 1


@contextmanager
def _daemon(root: Path, dsn: str) -> Iterator[None]:
    """The installed daemon on the same files, which sweeps at its start alone."""
    watched = f'[{{"path": "{root}", "source": "{SOURCE}"}}]'
    env = environment(
        TRACEWATCHD_DATABASE__URL=dsn, TRACEWATCHD_WATCH__ROOTS=watched, TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="86400"
    )
    with running("run", env=env, cwd="/") as daemon:
        daemon.wait_for("sweep.finished")
        yield
        assert daemon.stop() == 0, daemon.tail()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("depth", ["quick", "full", "deep"])
async def test_no_sweep_of_a_healthy_system_finds_an_error(depth: Depth, tmp_path: Path, database: str) -> None:
    """200 sweeps beside a daemon and a producer at full speed find nothing of severity error or above."""
    plan = SweepPlan(depth=depth, fixes=BY_DEFAULT)
    settings = {"sweep.confirm_s": 0.05, "sweep.grace_s": 1, "database.lock_wait_s": 60}
    with _daemon(tmp_path, database), Producer(tmp_path) as producer:
        async with source(tmp_path, database, settings) as here:
            for number in range(_SWEEPS):
                journal = Journal(repair_id=uuid4(), default=FixKind.MISSING)
                result = await here.carry_out(plan, journal=journal)
                assert not result.found(ERRORS), (number, result.findings)
                assert not result.unchecked, (number, result.unchecked)
    assert producer.done > _SWEEPS, "the producer was at work"
