"""Evaluating alerts by a log: the shell recipe that is shipped, run on lines of a test's choosing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
ALERTS = REPOSITORY / "alerts"
RECIPE = ALERTS / "journal-alerts"
RECORDED = Path(__file__).parent / "data" / "alerts"


def journal_alerts(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the recipe on this text as its standard input."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed (tests/system-packages installs it)")
    return subprocess.run([RECIPE, *options, "-"], input=text, capture_output=True, text=True, timeout=60, check=False)


def moment(line: dict[str, Any]) -> int:
    """The first whole second after a line was written."""
    return ceil(datetime.fromisoformat(line["timestamp"]).timestamp())


def fired(log: Iterable[dict[str, Any]], at: int) -> dict[str, dict[str, Any]]:
    """What fires by these lines at this second, by the alert's name."""
    result = journal_alerts("".join(json.dumps(line) + "\n" for line in log), "--json", "--at", str(at))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == bool(found), result.stderr
    return {one["alert"]: one for one in found}


def recorded(name: str) -> list[dict[str, Any]]:
    """The log of a failure as it was recorded."""
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
