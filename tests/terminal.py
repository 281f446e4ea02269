"""A command on a terminal of its own: what it writes there, colours included."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence

from running import PATIENCE_S


def on_terminal(argv: Sequence[str], env: Mapping[str, str], *, columns: int) -> tuple[int, str]:
    """Run a command whose output is a terminal; its exit status, and what it wrote, escape sequences included."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            argv,
            env={**env, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(columns)},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b""))
        return process.wait(PATIENCE_S), said.decode().replace("\r\n", "\n")
    finally:
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that the other side is closed
        return b""
