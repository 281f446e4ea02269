"""The installed daemon as a subprocess, and what its log says."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("tracewatchd"))
STOP_S = 60.0


def environment(url: str) -> dict[str, str]:
    """What the command gets to know: default settings, this database, JSON lines."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRACEWATCHD_", "PG", "DATABASE_"))}
    return {**kept, "TRACEWATCHD_DATABASE__URL": url, "TRACEWATCHD_LOG__FORMAT": "json"}


@dataclass
class Daemon:
    """A running ``tracewatchd run ROOT`` and the lines that it logs."""

    process: subprocess.Popen[str]
    spawned_s: float
    lines: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    seen: list[dict[str, Any]] = field(default_factory=list)

    def collect(self) -> None:
        """Read the log until its end; runs in a thread."""
        for line in self.process.stderr or ():
            with_arrival = {"event": "unparsed", "text": line}
            if line.startswith("{"):
                with_arrival = json.loads(line)
            self.lines.put({**with_arrival, "arrived_s": time.perf_counter()})
        self.lines.put({"event": "log.ended", "arrived_s": time.perf_counter()})

    def next_line(self, within_s: float) -> dict[str, Any]:
        """The next line of the log; SystemExit with what was logged where none comes or the daemon ended."""
        try:
            line = self.lines.get(timeout=within_s)
        except queue.Empty:
            raise SystemExit(f"no line of the daemon's log within {within_s} s; last: {self.seen[-3:]}") from None
        if line["event"] == "log.ended":
            raise SystemExit(f"the daemon ended: {self.seen[-5:]}")
        self.seen.append(line)
        return line

    def wait_for(self, event: str, within_s: float) -> dict[str, Any]:
        """The next line with this event."""
        while (line := self.next_line(within_s))["event"] != event:
            pass
        return line

    def load(self, files: int, within_s: float = 600) -> list[dict[str, Any]]:
        """The batches that load so many files, from the next line on."""
        batches: list[dict[str, Any]] = []
        while sum(settled(batch["outcomes"]) for batch in batches) < files:
            batches.append(self.wait_for("batch.committed", within_s))
        return batches

    def peak_rss_bytes(self) -> int:
        """The most memory that the process has had resident, by the kernel's own account."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1_024


def settled(outcomes: Mapping[str, int]) -> int:
    """Files of a batch that are rows now; SystemExit where one is anything else, since then nothing was measured."""
    if strange := {outcome: count for outcome, count in outcomes.items() if outcome not in {"loaded", "unchanged"}}:
        raise SystemExit(f"files of the sample were not loaded: {strange}")
    return outcomes.get("loaded", 0)


def moment(line: Mapping[str, Any]) -> float:
    """When the daemon said so, in seconds on its own clock."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


@contextmanager
def daemon(root: Path, url: str) -> Iterator[Daemon]:
    """Start the daemon on the root; it is asked to stop at the end, and killed where it does not."""
    spawned_s = time.perf_counter()
    process = subprocess.Popen(
        [COMMAND, "run", str(root)],
        env=environment(url),
        cwd=root.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Daemon(process, spawned_s)
    threading.Thread(target=running.collect, daemon=True).start()
    try:
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def migrate(url: str) -> None:
    """Make the daemon's tables."""
    subprocess.run([COMMAND, "db", "migrate"], env=environment(url), check=True, cwd="/", stdout=subprocess.DEVNULL)
