"""Rows a second: the daemon on a directory of run files against psql's copy of a ready-made CSV."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cluster import TEMPLATE, Cluster
from tree import write_tree
from watching import batches_of, daemon, migrate, moment

from tracewatchd.settings import Settings

DATABASE = "measured"
_NUMBERED = "select *, row_number() over () as number from runs"


@dataclass(frozen=True)
class Pair:
    """One run of each, in seconds for the same rows."""

    daemon_s: float
    daemon_with_start_s: float
    copy_s: float


def measure(cluster: Cluster, directory: Path, files: int, pairs: int) -> str:
    """The section of the results: alternating pairs, and the median of their ratios."""
    root = directory / "throughput"
    _, size = write_tree(root, files)
    writers = Settings().ingest.writers
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    load_once(cluster, root, files)
    parts = export(cluster, directory, writers)
    measured = []
    for number in range(1, pairs + 1):
        ours, ours_with_start = load_once(cluster, root, files)
        pair = Pair(ours, ours_with_start, copy_once(cluster, parts, files))
        measured.append(pair)
        print(f"pair {number}: daemon {files / ours:,.0f} rows/s, copy {files / pair.copy_s:,.0f} rows/s", flush=True)
    return _report(measured, files, size, writers)


def load_once(cluster: Cluster, root: Path, files: int) -> tuple[float, float]:
    """Seconds in which the daemon loads the tree into fresh tables: by its log, and from its start as a process."""
    cluster.create(DATABASE, TEMPLATE)
    spawned = time.time()
    with daemon(root, cluster.url(DATABASE)) as watching:
        ready = moment(watching.wait_for("daemon.ready"))
        batches = batches_of(watching, files)
    begun = min(moment(batch) - batch["read_s"] - batch["commit_s"] for batch in batches)
    ended = max(map(moment, batches))
    return ended - min(ready, begun), ended - spawned


def export(cluster: Cluster, directory: Path, parts: int) -> list[tuple[Path, str]]:
    """The rows that the daemon wrote as CSV files of equal numbers of rows, each with its list of columns."""
    columns = cluster.psql(
        DATABASE,
        "select string_agg(quote_ident(attname), ',' order by attnum) from pg_attribute"
        " where attrelid = 'runs'::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
    ).strip()
    made = []
    for part in range(parts):
        path = directory / f"part-{part}.csv"
        query = f"select {columns} from ({_NUMBERED}) as numbered where number % {parts} = {part}"  # noqa: S608 - catalogue's names
        cluster.psql(DATABASE, f"\\copy ({query}) to '{path}' csv")
        made.append((path, columns))
    return made


def copy_once(cluster: Cluster, parts: list[tuple[Path, str]], files: int) -> float:
    """Seconds in which one psql process per part copies them into fresh tables, start and end included."""
    cluster.create(DATABASE, TEMPLATE)
    begun = time.perf_counter()
    copying = [
        subprocess.Popen(cluster.psql_argv(DATABASE, f"\\copy runs ({columns}) from '{path}' csv"))
        for path, columns in parts
    ]
    statuses = [process.wait() for process in copying]
    took = time.perf_counter() - begun
    rows = int(cluster.psql(DATABASE, "select count(*) from runs"))
    if any(statuses) or rows != files:
        raise SystemExit(f"copy failed: {statuses}, {rows} of {files} rows")
    return took


def _report(measured: list[Pair], files: int, size: int, writers: int) -> str:
    ratio = median(pair.copy_s / pair.daemon_s for pair in measured)
    ratio_with_start = median(pair.copy_s / pair.daemon_with_start_s for pair in measured)
    rows = [
        f"| {number} | {files / pair.daemon_s:,.0f} | {files / pair.daemon_with_start_s:,.0f} |"
        f" {files / pair.copy_s:,.0f} | {pair.copy_s / pair.daemon_s:.2f} |"
        for number, pair in enumerate(measured, start=1)
    ]
    return f"""\
{files:,} run files ({size / 10**6:,.0f} MB, mean {size / files / 1_000:.1f} kB), {writers} writers, {writers} psql
processes, {len(measured)} alternating pairs on one server with default durable settings. Both sides start from the
same migrated, empty tables after a checkpoint; files and CSV are in the page cache.

- *daemon*: `tracewatchd run` at default settings, from `daemon.ready` (or the begin of the first batch, where that is
  earlier) to the last `batch.committed`, by the timestamps of its log: finding, reading, hashing and decoding every
  file, and committing `runs` together with the ledger. *With start* counts from the moment before the process is
  started, so that the interpreter, the checks of the database and the watches are in it.
- *copy*: `\\copy runs from ... csv` of the rows that the daemon had written before, dealt to the processes in equal
  parts, from the start of the first psql to the end of the last.

| pair | daemon, rows/s | daemon with start, rows/s | copy, rows/s | daemon / copy |
|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

**Median of the ratios: {ratio:.2f}** (bound: at least 0.90); with start: {ratio_with_start:.2f}.
"""
