"""What the installed systemd unit says about the daemon: its user, its limits, what it hides."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tracewatchd.model.errors import NotCheckedError

UNIT = "tracewatchd.service"
_RUNS = Path("/run/systemd/system")
_PROPERTIES = (
    "LoadState", "User", "DynamicUser", "TimeoutStopUSec", "WatchdogUSec", "LimitNOFILESoft", "ProtectHome",
)  # fmt: skip
_LIMIT_S = 10.0
_INFINITE = "infinity"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w|month|y)\b")
_SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0, "month": 2_629_800.0,
    "y": 31_557_600.0,
}  # fmt: skip


class Unit(NamedTuple):
    """The loaded unit. Times are infinite, and ``open_files`` is None, where there is no limit.

    Of the watchdog systemd knows only while the unit runs. ``user`` is empty for root, and for a user that exists only
    while the unit runs.
    """

    user: str
    stop_s: float
    watchdog_s: float
    open_files: int | None
    protect_home: str


def loaded_unit(environ: Mapping[str, str] = os.environ, *, runs: Path = _RUNS) -> Unit | None:
    """What systemd makes of the unit and its drop-ins; None where no systemd runs or no such unit is installed.

    Raises:
        NotCheckedError: systemd does not answer.
    """
    program = shutil.which("systemctl", path=environ.get("PATH"))
    if program is None or not runs.is_dir():
        return None
    command = [program, "show", UNIT, f"--property={','.join(_PROPERTIES)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True)  # noqa: S603 - our own words
    except (OSError, subprocess.SubprocessError) as error:
        raise NotCheckedError(
            f"systemd does not say what {UNIT} is: {type(error).__name__}", hint=f"see `systemctl show {UNIT}`"
        ) from error
    return _unit(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))


def _unit(said: Mapping[str, str]) -> Unit | None:
    if said.get("LoadState") != "loaded":
        return None
    files = said.get("LimitNOFILESoft", _INFINITE)
    return Unit(
        user="" if said.get("DynamicUser") == "yes" else said.get("User", ""),
        stop_s=_seconds(said.get("TimeoutStopUSec", _INFINITE)),
        watchdog_s=_seconds(said.get("WatchdogUSec", _INFINITE)),
        open_files=int(files) if files.isdecimal() else None,
        protect_home=said.get("ProtectHome", "no"),
    )


def _seconds(span: str) -> float:
    """A time span as systemd prints it (``1min 30s``)."""
    parts = _SPAN.findall(span)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else float("inf")
