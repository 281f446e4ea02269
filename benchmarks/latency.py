"""From the rename of a run file to its committed row, one file at a time, on an idle daemon."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from pathlib import Path
from random import Random
from statistics import quantiles

import asyncpg
from cluster import TEMPLATE, Cluster
from tree import SEED, place
from watching import daemon, migrate

from tracewatchd.model.sample import SampleFile, generate

DATABASE = "measured"
LIMIT_S = 30.0
PAUSE_S = (0.05, 0.25)
POLL_S = 0.0005


def measure(cluster: Cluster, directory: Path, files: int) -> str:
    """The section of the results: quantiles of the time from rename to row."""
    root = directory / "latency"
    root.mkdir()
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    cluster.create(DATABASE, TEMPLATE)
    sample = list(islice(generate(files, SEED), files))
    for file in sample:
        place(root, file).parent.mkdir(parents=True, exist_ok=True)
    with daemon(root, cluster.url(DATABASE)) as watching:
        watching.wait_for("daemon.ready")
        watching.wait_for("sweep.finished")
        times_ms = asyncio.run(_times_ms(cluster.url(DATABASE), root, sample))
    cuts = quantiles(times_ms, n=100, method="inclusive")
    p50, p90, p99 = cuts[49], cuts[89], cuts[98]
    print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
    return f"""\
{files} files of the size distribution, each written under a temporary name and renamed, one at a time, with a random
pause of {PAUSE_S[0] * 1_000:.0f} to {PAUSE_S[1] * 1_000:.0f} ms before each; their directories exist and are watched.
A connection of its own asks for the row, {POLL_S * 1_000:.1f} ms after each answer; the time ends when it is there.

| p50 | p90 | p99 | max |
|---:|---:|---:|---:|
| {p50:.1f} ms | {p90:.1f} ms | {p99:.1f} ms | {max(times_ms):.1f} ms |

Bounds: p50 at most 60 ms, p99 at most 200 ms.
"""


async def _times_ms(url: str, root: Path, sample: list[SampleFile]) -> list[float]:
    pauses = Random(SEED)  # noqa: S311 - pauses are no secret
    connection = await asyncpg.connect(url)
    try:
        committed = await connection.prepare("select 1 from runs where run_id = $1")
        times = []
        for file in sample:
            await asyncio.sleep(pauses.uniform(*PAUSE_S))
            times.append(await _time_ms(committed, root, file))
        return times
    finally:
        await connection.close()


async def _time_ms(committed: asyncpg.prepared_stmt.PreparedStatement, root: Path, file: SampleFile) -> float:
    path = place(root, file)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(file.body)
    begun = time.perf_counter()
    temporary.rename(path)
    while await committed.fetchval(file.run_id) is None:
        if time.perf_counter() - begun > LIMIT_S:
            raise SystemExit(f"{path.name} is no row after {LIMIT_S} s")
        await asyncio.sleep(POLL_S)
    return (time.perf_counter() - begun) * 1_000
