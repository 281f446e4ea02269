"""Each failure that an alert is for, provoked for real: the daemon's log fires that alert and no other.

With ``RECORD_ALERTS=1`` each log is kept in tests/data/alerts, where tests/integration/test_alert_replay.py reads it;
``PROVOKED_OUTAGE_S=310`` makes the outages as long as the alert waits, instead of stretching shorter ones.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from alerting import RECORDED, fired, moment
from postgres import Server
from provoking import OUTAGE_S, PROVOCATIONS, Stage, stretched


@pytest.fixture
def stage(tmp_path: Path, server_of: Callable[..., Server], wheel: Path) -> Stage:
    return Stage(tmp_path, server_of(wheel, synchronous_commit="on"))  # so that a killed server forgets nothing


def _record(name: str, stage: Stage) -> None:
    """Keep a log and scrapes, without the names of this machine."""

    def plain(text: str) -> str:
        for own, other in (
            (str(stage.root), "/srv/traces"),
            (str(stage.server.directory), "/run/postgresql"),
            (str(stage.directory), "/srv"),
            (f'"{socket.gethostname()}:', '"example:'),
        ):
            text = text.replace(own, other)
        return text

    log = "".join(json.dumps(line) + "\n" for line in stage.log)
    (RECORDED / f"{name}.jsonl").write_text(plain(log), encoding="utf-8")
    scrapes = "".join(f"# at {at}\n{text}" for at, text in stage.scrapes)
    if scrapes:
        (RECORDED / f"{name}.prom").write_text(plain(scrapes), encoding="utf-8")


@pytest.mark.timeout(180 + OUTAGE_S)
@pytest.mark.parametrize("name", PROVOCATIONS)
def test_a_failure_fires_its_alert_and_no_other(name: str, stage: Stage) -> None:
    """What the log says of a real failure fires exactly the alerts of that failure; a healthy run fires none."""
    provocation = PROVOCATIONS[name]
    provocation.work(stage)
    if os.environ.get("RECORD_ALERTS"):
        _record(name, stage)
    if provocation.stretch_s:
        assert fired(stage.log, moment(stage.log[-1])) == {}, "the real failure was too short"
    log = stretched(stage.log, provocation.stretch_s)
    assert set(fired(log, moment(log[-1]))) == provocation.alerts
