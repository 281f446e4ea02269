"""Measure what the daemon promises: throughput, memory, latency. Results go to docs/benchmarks.md.

Nothing here is a test: numbers depend on the machine, so the results say which one it was.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import archiving
import idle
import latency
import limits
import lookups
import machine
import memory
import sweeping
import throughput
from cluster import Cluster, cluster, newest_programs

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_HEADING = re.compile(r"^## (.+)\n", re.MULTILINE)
_INTRODUCTION = """\
# Benchmarks

Written by `make bench` (`benchmarks/bench.py`): a PostgreSQL of the benchmark's own, in a temporary directory, with
default durable settings; run files as `tracewatchd sample` makes them. Each section says how, where and when it was
measured.

"""


def main() -> None:
    """Run the parts that were asked for and put their sections into the results."""
    options = _options()
    parts: dict[str, Callable[[Cluster, Path], str]] = {
        "Throughput": partial(throughput.measure, files=options.files, pairs=options.pairs),
        "Memory": partial(memory.measure, counts=(2_000, 50_000)),
        "Latency": partial(latency.measure, files=300),
        "Idle": partial(idle.measure, files=100_000),
        "Archive": partial(archiving.measure, runs=2_000, many=56_000, pairs=options.pairs),
        "Sweeps": partial(sweeping.measure, files=50_000, many=200_000, few=8_000, pairs=options.pairs),
        "Lookups": partial(lookups.measure, sets=((1_000_000, 2_000), (100_000, 25_000)), times=500),
        "Limits": partial(limits.measure, files=4_000, rounds=3),
    }
    for name, measure in parts.items():
        if options.only in {None, name.lower()}:
            _put_section(name, _measured(measure, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=8_000, help="run files of the throughput measurement (8,000)")
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs of that measurement, and of sweeps (5)")
    parser.add_argument(
        "--only",
        choices=["throughput", "memory", "latency", "sweeps", "archive", "idle", "lookups", "limits"],
        help="measure this alone",
    )
    parser.add_argument("--directory", type=Path, help="where files and the server's data lie for the time being")
    parser.add_argument("--programs", type=Path, default=None, help="directory of postgres, initdb and psql")
    options = parser.parse_args()
    options.programs = options.programs or newest_programs()
    return options


def _measured(measure: Callable[[Cluster, Path], str], options: argparse.Namespace) -> str:
    """One part, on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="tracewatchd-bench-", dir=options.directory) as name:
        directory = Path(name).resolve()
        directory.chmod(0o755)  # the server may be another user
        command = shlex.join(["python", "benchmarks/bench.py", *sys.argv[1:]])
        with cluster(options.programs, directory) as server:
            result = measure(server, directory)
        return f"{result}\n{machine.description(directory, options.programs)}\n\nCommand: `{command}`\n\n"


def _put_section(name: str, text: str) -> None:
    """Write the section in place of the one of its name, in the order in which they were first measured."""
    written = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    _, *pieces = _HEADING.split(written)
    sections = dict(zip(pieces[::2], pieces[1::2], strict=True))
    sections[name] = f"\n{text}"
    body = "".join(f"## {heading}\n{content}" for heading, content in sections.items())
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(_INTRODUCTION + body.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
