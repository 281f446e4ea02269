"""What the numbers were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def description(directory: Path, programs: Path) -> str:
    """A table in Markdown: processor, memory, kernel, file system, versions, commit, time."""
    rows = {
        "Processor": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores, shared by client and server",
        "Memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "Kernel": platform.release(),
        "File system": _file_system(directory),
        "PostgreSQL": _said([str(programs / "postgres"), "--version"]),
        "Python": platform.python_version(),
        "Packages": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("asyncpg", "msgspec")),
        "tracewatchd": f"{importlib.metadata.version('tracewatchd')}, commit {_commit()}",
        "Measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _file_system(directory: Path) -> str:
    return _said(["findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS", "--target", str(directory)])


def _commit() -> str:
    return _said(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"])
