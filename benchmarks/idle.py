"""What a daemon costs that has nothing to do: processor time over whole intervals of its quick sweep."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cluster import TEMPLATE, Cluster
from tree import write_small_tree
from watching import batches_of, daemon, migrate

from tracewatchd.settings import Settings

INTERVALS = 2
BOUND = 0.007
_DATABASE = "idle"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def measure(cluster: Cluster, directory: Path, files: int) -> str:
    """The section of the results: the share of one processor that an idle daemon takes."""
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    cluster.create(_DATABASE, TEMPLATE)
    root = directory / "idle"
    write_small_tree(root, files)
    interval_s = Settings().watch.sweep_interval_s
    with daemon(root, cluster.url(_DATABASE)) as watching:
        batches_of(watching, files)
        sweeps = len(watching.named("sweep.finished"))
        watching.wait_for("sweep.finished", count=sweeps + 1, patience_s=2 * interval_s)
        began, used_s = time.monotonic(), _processor_s(watching.pid)
        time.sleep(INTERVALS * interval_s)
        took_s, used_s = time.monotonic() - began, _processor_s(watching.pid) - used_s
        swept = [line["depth"] for line in watching.named("sweep.finished")[sweeps + 1 :]]
    share = used_s / took_s
    print(f"{files} files: {used_s:.2f} s of {took_s:.0f} s, {share:.2%}; sweeps: {swept}", flush=True)
    return f"""\
`tracewatchd run` at default settings with {files:,} loaded files and nothing to do, over {INTERVALS} intervals of the
quick sweep ({took_s:.0f} s; sweeps in it: {", ".join(f"{swept.count(depth)} {depth}" for depth in sorted({*swept}))}).
The database is a server of its own and is not counted.

Processor time: **{used_s:.2f} s, {share:.2%} of one core** (bound: {BOUND:.1%}).
"""


def _processor_s(pid: int) -> float:
    """User and system time of a process, by its `/proc/PID/stat` (fields 14 and 15 of proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / _TICKS_PER_S
