"""The installed command as a subprocess whose log lines can be waited for."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "tracewatchd")
PATIENCE_S = 30.0
_FOREIGN = ("PG", "TRACEWATCHD_", "LANGSMITH_", "LANGCHAIN_", "GOOGLE_")
"""How variables begin that would lead a command to the caller's own services."""


def environment(**settings: str) -> dict[str, str]:
    """An environment of our own: nothing of the caller's database or configuration gets in."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(_FOREIGN) and key not in {"DATABASE_URL", "STATE_DIRECTORY"}
    }
    # Any free port: many daemons run at once.
    return kept | {"TRACEWATCHD_LOG__FORMAT": "json", "TRACEWATCHD_HTTP__PORT": "0"} | settings


def command(*arguments: str, env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and capture what it says."""
    return subprocess.run(
        [COMMAND, *arguments], env=dict(env), capture_output=True, text=True, timeout=120, check=False, **options
    )


def run_for_peak(*arguments: str, env: Mapping[str, str], **options: Any) -> tuple[str, int]:
    """Run a command to its end: what it printed, and the most resident memory that it ever had, in bytes.

    By the kernel's account of the process itself: what `wait4` tells includes what a large parent had when it forked.
    """
    peak_kib = 0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([COMMAND, *arguments], env=dict(env), stdout=out, **options)
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak_kib = max(peak_kib, *map(int, re.findall(r"VmHWM:\s+(\d+)", status) or [0]))
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        assert process.returncode == 0, (arguments, process.returncode)
        out.seek(0)
        return out.read(), peak_kib * 1024


class Running:
    """A daemon that runs, and the events that it wrote so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.other: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.other.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of this name so far."""
        return [line for line in self.events if line["event"] == event]

    def wait_for(self, event: str, *, count: int = 1, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The ``count``-th event of this name, waiting for it."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.named(event)) >= count, patience_s):
                raise AssertionError(f"no {event} after {patience_s} s; the log: {self.tail()}")
        return self.named(event)[count - 1]

    def tail(self) -> str:
        """The end of the log, for a failing test's message."""
        return "\n".join([*map(str, self.events[-15:]), *self.other[-15:]])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the daemon alone."""
        os.kill(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, patience_s: float = PATIENCE_S) -> int:
        """Ask it to stop and wait for it; returns the exit status."""
        if self.process.poll() is None:
            self.send(number)
        status = self.process.wait(patience_s)
        self._reader.join(patience_s)
        return status

    def kill(self) -> None:
        """End it without warning."""
        self.send(signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)

    def rss_bytes(self, *, peak: bool = False) -> int:
        """Its resident memory now, or the most it ever was."""
        key = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process has no memory left")


@contextmanager
def running(*arguments: str, env: Mapping[str, str], **options: Any) -> Iterator[Running]:
    """A daemon for the length of the block; ended at its end, whatever happened."""
    process = subprocess.Popen(
        [COMMAND, *arguments],
        env=dict(env),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        **options,
    )
    daemon = Running(process)
    try:
        yield daemon
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait(PATIENCE_S)
        assert process.stderr is not None
        process.stderr.close()


def eventually(condition: Any, *, patience_s: float = PATIENCE_S, every_s: float = 0.02, why: Any = "") -> Any:
    """The first truthy answer of a condition, asked again until the deadline."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {why() if callable(why) else why}")
        pause.wait(every_s)
    return answer
