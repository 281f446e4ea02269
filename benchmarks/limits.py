"""What the limits of the line do: rows a second and memory of a load, with one setting changed at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cluster import TEMPLATE, Cluster
from tree import write_tree
from watching import migrate

from running import environment, run_for_peak

_DATABASE = "limited"
_CHANGES: tuple[Mapping[str, str], ...] = (
    {},
    {"ingest.batch_rows": "1"},
    {"ingest.batch_rows": "10"},
    {"ingest.batch_rows": "200"},
    {"ingest.batch_rows": "1000"},
    {"ingest.writers": "1"},
    {"ingest.writers": "2"},
    {"ingest.writers": "8", "database.connections": "10"},
    {"ingest.batch_bytes": "262144"},
    {"ingest.bytes_in_flight": "4194304"},
    {"ingest.inbox_paths": "100"},
)
"""Each is measured by itself, against the first."""


@dataclass(frozen=True)
class Load:
    """One load: how long it took, and the most memory that it held."""

    took_s: float
    peak_bytes: int


def measure(cluster: Cluster, directory: Path, files: int, rounds: int) -> str:
    """The section of the results: each setting in turn, as many rounds."""
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    root = directory / "limits"
    _, size = write_tree(root, files)
    loads: dict[str, list[Load]] = {}
    for _ in range(rounds):
        for change in _CHANGES:
            loads.setdefault(_name(change), []).append(_load(cluster, root, change))
    return _report(loads, files, size)


def _name(change: Mapping[str, str]) -> str:
    return ", ".join(f"`{key} = {value}`" for key, value in change.items()) or "defaults"


def _load(cluster: Cluster, root: Path, change: Mapping[str, str]) -> Load:
    cluster.create(_DATABASE, TEMPLATE)
    given = {f"TRACEWATCHD_{key.replace('.', '__').upper()}": value for key, value in change.items()}
    env = environment(
        TRACEWATCHD_DATABASE__URL=cluster.url(_DATABASE), TRACEWATCHD_WATCH__ROOTS=os.fspath(root), **given
    )
    begun = time.perf_counter()
    _, peak = run_for_peak("archive", "to-db", "--all", env=env)
    took = time.perf_counter() - begun
    print(f"{_name(change)}: {took:.2f} s, {peak / 10**6:.0f} MB", flush=True)
    return Load(took, peak)


def _report(loads: Mapping[str, Sequence[Load]], files: int, size: int) -> str:
    rows = [
        f"| {name} | {files / median(load.took_s for load in some):,.0f} |"
        f" {max(load.peak_bytes for load in some) / 10**6:.0f} |"
        for name, some in loads.items()
    ]
    rounds = len(next(iter(loads.values())))
    return f"""\
`tracewatchd archive to-db --all` as a command, start and end of the interpreter included: {files:,} run files
({size / 10**6:,.0f} MB) into empty tables, with one setting changed at a time; the median of {rounds} rounds, in each
of which every setting takes its turn. Memory is the most that the process ever held, in MB (10^6 bytes).

| setting | rows/s | peak, MB |
|---|---:|---:|
{chr(10).join(rows)}
"""
