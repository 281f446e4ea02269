"""What a full sweep takes: again against the first time, with the database against without, and memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from cluster import TEMPLATE, Cluster
from watching import migrate

from archive_world import DAYS, PROJECT, World, world
from running import run_for_peak

AGAIN_BOUND = 0.5
DB_BOUND = 1.3
RSS_BOUND = 150 * 10**6
_DATABASE = "archived"


@dataclass(frozen=True)
class Sweep:
    """One command: how long it took, and the most memory that it held."""

    took_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Round:
    """A first sweep, the same one once more, and a first one of the same runs without the database."""

    first: Sweep
    again: Sweep
    without_db: Sweep


def measure(cluster: Cluster, directory: Path, runs: int, many: int, pairs: int) -> str:
    """The section of the results."""
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    rounds = [_round(cluster, directory, runs) for _ in range(pairs)]
    largest, held = _largest(cluster, directory, many)
    return _report(rounds, largest, runs, held)


def _round(cluster: Cluster, directory: Path, runs: int) -> Round:
    with _fresh(cluster, directory, runs) as here:
        first, again = _sweep(here, DAYS), _sweep(here, DAYS)
    with _fresh(cluster, directory, runs) as here:
        without_db = _sweep(here, DAYS, "--skip-db")
    return Round(first, again, without_db)


def _largest(cluster: Cluster, directory: Path, many: int) -> tuple[Sweep, int]:
    with _fresh(cluster, directory, many, DAYS[:1]) as here:
        return _sweep(here, DAYS[:1]), len(here.expected(DAYS[0]))


class _fresh:  # noqa: N801 - reads like the function it stands for
    """A world in a directory and a database of its own, both gone after the block."""

    def __init__(self, cluster: Cluster, directory: Path, runs: int, days: Sequence[date] = DAYS) -> None:
        cluster.create(_DATABASE, TEMPLATE)
        self._place = tempfile.TemporaryDirectory(dir=directory)
        self._world = world(Path(self._place.name), cluster.url(_DATABASE), runs, days=days)

    def __enter__(self) -> World:
        made = self._world.__enter__()
        os.sync()
        return made

    def __exit__(self, *told: object) -> None:
        self._world.__exit__(None, None, None)
        self._place.cleanup()


def _sweep(here: World, days: Sequence[date], *words: str) -> Sweep:
    argv = ["archive", "full-sweep", "--project", PROJECT, "--start-date", str(days[0])]
    begun = time.perf_counter()
    _, peak = run_for_peak(*argv, "--end-date", str(days[-1]), *words, env=here.desk.env)
    took = time.perf_counter() - begun
    print(f"full sweep{' '.join(('', *words))}: {took:.2f} s, {peak / 10**6:.0f} MB", flush=True)
    return Sweep(took, peak)


def _report(rounds: Sequence[Round], largest: Sweep, runs: int, held: int) -> str:
    rows = [
        f"| {number} | {one.first.took_s:.2f} | {one.again.took_s:.2f} | {one.again.took_s / one.first.took_s:.2f} |"
        f" {one.without_db.took_s:.2f} | {one.first.took_s / one.without_db.took_s:.2f} |"
        for number, one in enumerate(rounds, start=1)
    ]
    again = median(one.again.took_s / one.first.took_s for one in rounds)
    with_db = median(one.first.took_s / one.without_db.took_s for one in rounds)
    return f"""\
`tracewatchd archive full-sweep` as a command, of three project-days with {runs:,} runs in all, a third of them with
feedback, from a stand-in of LangSmith (v2) to a stand-in of Drive and into a migrated, empty database, on one machine.
*Again* is the same command once more, when nothing is left to do; *without* is a first one of the same runs with
`--skip-db`.

| round | first, s | again, s | again / first | without database, s | with / without |
|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

**Medians: again {again:.2f} of the first time** (bound: at most {AGAIN_BOUND}), **with the database
{with_db:.2f} of without** (bound: at most {DB_BOUND}).

Peak resident memory of a full sweep of one day with {held:,} runs: **{largest.peak_bytes / 10**6:.1f} MB** in
{largest.took_s:.0f} s (1 MB = 10^6 bytes; bound: {RSS_BOUND / 10**6:.0f} MB).
"""
