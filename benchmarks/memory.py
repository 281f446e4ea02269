"""Peak memory of the daemon: few files and many, without and with one of the largest size."""

from __future__ import annotations

import shutil
from pathlib import Path

from cluster import TEMPLATE, Cluster
from tree import write_largest, write_tree
from watching import batches_of, daemon, migrate

from tracewatchd.settings import Settings

DATABASE = "measured"


def measure(cluster: Cluster, directory: Path, counts: tuple[int, ...]) -> str:
    """The section of the results: peak resident memory for each number of files."""
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    largest = Settings().ingest.max_file_bytes
    rows = []
    for files in counts:
        root = directory / f"memory-{files}"
        write_tree(root, files)
        plain = _peak(cluster, root, files)
        write_largest(root, largest)
        with_largest = _peak(cluster, root, files + 1)
        shutil.rmtree(root)
        print(f"{files} files: {plain / 10**6:.0f} MB, with the largest {with_largest / 10**6:.0f} MB", flush=True)
        rows.append(f"| {files:,} | {plain / 10**6:.1f} | {with_largest / 10**6:.1f} |")
    return f"""\
`VmHWM` of the `tracewatchd run` process (the kernel's account of the most resident memory, 1 MB = 10^6 bytes) when
every file is a row; the database is a server of its own. The largest file has `ingest.max_file_bytes` ({largest:,}
bytes) and lies among the others from the start.

| files | peak, MB | peak with the largest file among them, MB |
|---:|---:|---:|
{chr(10).join(rows)}

Bound: 150 MB for either number of files; the largest file may cost five times its size more
({largest * 5 / 10**6:.0f} MB).
"""


def _peak(cluster: Cluster, root: Path, files: int) -> int:
    cluster.create(DATABASE, TEMPLATE)
    with daemon(root, cluster.url(DATABASE)) as watching:
        batches_of(watching, files)
        return watching.rss_bytes(peak=True)
