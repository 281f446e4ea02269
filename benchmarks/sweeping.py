"""How long sweeps take, as commands: against find and sha256sum over the same files, and against psql's copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cluster import TEMPLATE, Cluster
from throughput import copy_once, export
from tree import write_small_tree, write_tree
from watching import migrate

from running import COMMAND, environment
from tracewatchd.model.findings import Depth

# `export` and `copy_once` work on this database, so the loaded one is kept as another.
MEASURED = "measured"
LOADED = "loaded"
DEPTHS: tuple[Depth, ...] = ("quick", "full", "deep")
BOUNDS = {"quick": 2.5, "full": 1.2, "deep": 0.6}
_QUICK_TIMES = 3
"""A second each, and the most disturbed by whatever else a machine does: so more of them."""
RSS_BOUND = 150 * 10**6


@dataclass(frozen=True)
class Run:
    """One command: how long it took, and the most memory that it held."""

    took_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Pair:
    """A sweep and its peer, one after the other."""

    sweep: Run
    peer_s: float

    @property
    def ratio(self) -> float:
        """How many times longer the sweep took."""
        return self.sweep.took_s / self.peer_s


def measure(cluster: Cluster, directory: Path, files: int, many: int, few: int, pairs: int) -> str:
    """The section of the results: alternating pairs at each depth, and peak memory for few files and for many."""
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    root = directory / "sweeps"
    _, size = write_tree(root, files)
    _load(cluster, root)
    hashing = f"find {root} -type f -print0 | xargs -0 -P2 sha256sum"
    full = [Pair(_sweep(cluster, root, "full", files), _shell(hashing)) for _ in range(pairs)]
    deep = _deep_pairs(cluster, directory, root, files, pairs)
    shutil.rmtree(root)
    small = directory / "many"
    write_small_tree(small, many)
    _load(cluster, small)
    looking = f"find {small} -printf '%p %s %T@\\n'"
    quick = [Pair(_sweep(cluster, small, "quick", many), _shell(looking)) for _ in range(_QUICK_TIMES * pairs)]
    peaks = {many: [_sweep(cluster, small, depth, many).peak_bytes for depth in DEPTHS]}
    shutil.rmtree(small)
    write_tree(root, few)
    _load(cluster, root)
    peaks[few] = [_sweep(cluster, root, depth, few).peak_bytes for depth in DEPTHS]
    shutil.rmtree(root)
    return _report({"quick": quick, "full": full, "deep": deep}, peaks, (files, many), size)


def _load(cluster: Cluster, root: Path) -> None:
    """Load a tree into fresh tables, and let server and disk come to rest."""
    cluster.create(LOADED, TEMPLATE)
    subprocess.run(
        [COMMAND, "archive", "to-db", "--all"], env=_environment(cluster, root), check=True, stdout=subprocess.DEVNULL
    )
    cluster.psql(LOADED, "vacuum analyze", "checkpoint")
    os.sync()


def _environment(cluster: Cluster, root: Path) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=cluster.url(LOADED), TRACEWATCHD_WATCH__ROOTS=os.fspath(root))


def _sweep(cluster: Cluster, root: Path, depth: Depth, files: int) -> Run:
    """Sweep as a command, from the start of the interpreter to its end."""
    argv = [COMMAND, "reconcile", "--once", "--no-repair", "--depth", depth]
    begun = time.perf_counter()
    process = subprocess.Popen(argv, env=_environment(cluster, root), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or f"{files} run files: {files} loaded" not in said:
        raise SystemExit(f"the {depth} sweep ended with {process.returncode}: {said}")
    print(f"{depth}: {took:.2f} s, {usage.ru_maxrss / 1_000:.0f} MB", flush=True)
    return Run(took, usage.ru_maxrss * 1_024)


def _shell(pipeline: str) -> float:
    """Seconds that a pipeline takes whose output nobody reads."""
    begun = time.perf_counter()
    subprocess.run(["bash", "-c", f"{pipeline} > /dev/null"], check=True)
    took = time.perf_counter() - begun
    print(f"  {pipeline}: {took:.2f} s", flush=True)
    return took


def _deep_pairs(cluster: Cluster, directory: Path, root: Path, files: int, pairs: int) -> list[Pair]:
    cluster.create(MEASURED, LOADED)
    parts = export(cluster, directory, 1)
    measured = []
    for _ in range(pairs):
        sweep = _sweep(cluster, root, "deep", files)
        measured.append(Pair(sweep, copy_once(cluster, parts, files)))
        print(f"  copy: {measured[-1].peer_s:.2f} s", flush=True)
    for path, _ in parts:
        path.unlink()
    return measured


def _report(pairs: dict[str, list[Pair]], peaks: dict[int, list[int]], files: tuple[int, int], size: int) -> str:
    some, many = files
    ratios = {depth: median(pair.ratio for pair in measured) for depth, measured in pairs.items()}
    speed = median(1 / pair.ratio for pair in pairs["deep"])
    rows = [
        f"| {depth} | {number} | {pair.sweep.took_s:.2f} | {pair.peer_s:.2f} | {pair.ratio:.2f} |"
        for depth, measured in pairs.items()
        for number, pair in enumerate(measured, start=1)
    ]
    memory = [
        f"| {count:,} | {' | '.join(f'{peak / 10**6:.0f}' for peak in depths)} |" for count, depths in peaks.items()
    ]
    return f"""\
`tracewatchd reconcile --once --no-repair --depth ...` as a command, start and end of the interpreter included, against
a peer over the same files, in alternating pairs; files and tables are in memory, and nothing has changed since the
load.

- *quick*: {many:,} small run files (no file is opened), against `find ROOT -printf '%p %s %T@\\n'`.
- *full*: {some:,} run files ({size / 10**6:,.0f} MB), against `find ROOT -type f -print0 | xargs -0 -P2 sha256sum`.
- *deep*: the same {some:,} files, against one psql that copies the same runs into empty tables by `\\copy`.

| depth | pair | sweep, s | peer, s | sweep / peer |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

**Medians: quick {ratios["quick"]:.2f}** (bound: at most {BOUNDS["quick"]}), **full {ratios["full"]:.2f}** (bound:
at most {BOUNDS["full"]}), **deep {speed:.2f} of the runs a second of the copy** (bound: at least {BOUNDS["deep"]}).

Peak resident memory of the command, in MB (1 MB = 10^6 bytes; bound: {RSS_BOUND // 10**6} MB):

| files | quick | full | deep |
|---:|---:|---:|---:|
{chr(10).join(memory)}
"""
