"""The recipe for journald, run where it belongs: beside a real journal, on what a unit has logged."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerting import RECIPE, recorded
from systemd_machine import Machine, machine, why_not

_WHY_NOT = why_not() or ("" if shutil.which("jq") else "jq is not installed (tests/alert-tools installs it)")


def _logs(booted: Machine, unit: str, name: str) -> None:
    """Let a unit write a recorded log, as if it happened now."""
    log = recorded(name)
    shift = datetime.now(UTC) - datetime.fromisoformat(log[-1]["timestamp"])
    for line in log:
        moved = datetime.fromisoformat(line["timestamp"]) + shift - timedelta(seconds=1)
        line["timestamp"] = moved.isoformat().replace("+00:00", "Z")
    booted.write(f"opt/{name}", "".join(json.dumps(line) + "\n" for line in log))
    booted.write(f"etc/systemd/system/{unit}", f"[Service]\nType=oneshot\nExecStart=sh -c 'cat /opt/{name} >&2'\n")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "start", unit)
    booted.run("journalctl", "--sync")


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("systemd")
@pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
def test_the_journal_of_our_units_is_evaluated(tmp_path: Path) -> None:
    """A healthy unit fires nothing; a poisoned file, told by another of our units, fires; other units do not count."""
    with machine(tmp_path / "machine" / "work", {}) as booted:
        booted.write("opt/journal-alerts", RECIPE.read_text(encoding="utf-8"), mode=0o755)
        _logs(booted, "tracewatchd-first.service", "healthy")
        _logs(booted, "other.service", "deleted_row")
        assert booted.run("/opt/journal-alerts") == ""
        _logs(booted, "tracewatchd-second.service", "poison")
        (alert,) = map(json.loads, booted.run("/opt/journal-alerts", "--json", check=False).splitlines())
        assert (alert["alert"], alert["by"]) == ("TracewatchdQuarantineGrows", " source=/srv/traces")
