"""Recorded logs of provoked failures, replayed through the rules: which alerts fire, since when, and until when.

The conditions are evaluated in their jq form, by the recipe that is shipped; no ruler of Loki or Prometheus runs here.
tests/acceptance/test_alerts_fire.py provokes the same failures anew, and recorded these logs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alert_rules import jq_of
from alert_table import ALERTS, HOUR_S, OUTAGE_S, Alert, Told
from alerting import RECIPE, RECORDED, fired, journal_alerts, moment, recorded
from provoking import PROVOCATIONS, stretched
from tracewatchd.model.events import CATALOGUE_VERSION, catalogue

LOGS = {name: recorded(name) for name in PROVOCATIONS} | {
    "locked_table": stretched(recorded("locked_table"), PROVOCATIONS["locked_table"].stretch_s)
}
"""The outages were recorded as long as they have to be; the lock was held for seconds, and its wait is stretched."""
BY_NAME = {alert.name: alert for alert in ALERTS}
EVERY_LINE = {"timestamp", "level", "event", "v"}


def _matching(alert: Alert, log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that an alert counts, found by jq."""
    condition = " or ".join(f"({jq_of(lines)})" for lines in alert.log.lines)
    text = "".join(json.dumps(line) + "\n" for line in log)
    command = ["jq", "-c", f"select({condition})"]
    found = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=30).stdout
    return [json.loads(line) for line in found.splitlines()]


def test_every_provoked_failure_was_recorded() -> None:
    """For each provocation there is a log, and no log is of anything else."""
    assert {path.stem for path in RECORDED.glob("*.jsonl")} == set(PROVOCATIONS)


def test_every_alert_is_provoked() -> None:
    """Each alert fires by at least one failure; silence is provoked by waiting, below."""
    provoked = frozenset().union(*(provocation.alerts for provocation in PROVOCATIONS.values()))
    assert provoked | {"TracewatchdNoSweep"} == set(BY_NAME)


@pytest.mark.parametrize("name", LOGS)
def test_recorded_lines_are_what_the_daemon_would_say_today(name: str) -> None:
    """Each line is an event of the catalogue with exactly its fields."""
    for line in LOGS[name]:
        fields = {key: value for key, value in line.items() if key not in EVERY_LINE}
        event = msgspec.convert(fields, catalogue()[line["event"]])
        assert set(fields) <= {field.name for field in msgspec.structs.fields(event)}
        assert (line["v"], line["level"]) == (CATALOGUE_VERSION, event.level)


@pytest.mark.parametrize("name", LOGS)
def test_a_recorded_failure_fires_its_alerts_and_no_others(name: str) -> None:
    """At the end of the log exactly the alerts of that failure fire; at the end of a healthy run none does."""
    log = LOGS[name]
    assert set(fired(log, moment(log[-1]))) == PROVOCATIONS[name].alerts


@pytest.mark.parametrize("name", LOGS)
def test_an_alert_ends_when_its_window_has_passed(name: str) -> None:
    """It fires up to its window after the last line that it counts, and not after it."""
    log = LOGS[name]
    for alert in (BY_NAME[name] for name in PROVOCATIONS[name].alerts):
        assert isinstance(alert.log, Told)
        last = moment(_matching(alert, log)[-alert.log.at_least])
        assert alert.name in fired(log, last + alert.log.window_s - 2)
        assert alert.name not in fired(log, last + alert.log.window_s + 2)


def test_silence_fires_after_an_hour_and_not_before() -> None:
    """A healthy run that simply ends is silence: the dead man speaks an hour after the last quick sweep."""
    log = LOGS["healthy"]
    last = moment([line for line in log if line["event"] == "sweep.finished" and line["depth"] == "quick"][-1])
    assert fired(log, last + HOUR_S - 2) == {}
    (alert,) = fired(log, last + HOUR_S + 2).values()
    assert (alert["alert"], alert["last"]) == ("TracewatchdNoSweep", None)
    assert set(fired([], last)) == {"TracewatchdNoSweep"}


def test_an_outage_fires_after_five_minutes_and_not_before() -> None:
    """Up to the line that tells of five minutes nothing fires; the end of the outage ends the alert within 90 s."""
    log = LOGS["outage"]
    long = next(number for number, line in enumerate(log) if line.get("outage_s", 0) >= OUTAGE_S)
    assert fired(log[:long], moment(log[long])) == {}
    assert set(fired(log[: long + 1], moment(log[long]))) == {"TracewatchdStoreUnavailable"}
    over = LOGS["catching_up"]
    recovered = moment(next(line for line in over if line["event"] == "store.recovered"))
    assert "TracewatchdStoreUnavailable" in fired(over, recovered)
    assert set(fired(over, recovered + 91)) == {"TracewatchdLag"}


def test_sources_are_counted_apart() -> None:
    """Three losses of hints here and three there are six, but not six of one source."""
    lost = [line for line in LOGS["bursts"] if line["event"] == "hints.suspected_lost"][:6]
    assert len(lost) == 6
    at = moment(lost[-1])
    assert "TracewatchdHintsLost" in fired(lost, at)
    apart = [line | {"source": f"/srv/{number % 2}"} for number, line in enumerate(lost)]
    assert "TracewatchdHintsLost" not in fired(apart, at)


# ---------------------------------------------------------------------------------------------------------------------
# The recipe itself


def test_lines_of_others_and_lines_to_come_do_not_count() -> None:
    """What is no JSON, no event, without a time, from after the moment asked for, or cut off is passed over."""
    log = LOGS["poison"]
    (line,) = [line for line in log if line["event"] == "file.quarantined"]
    at = moment(line) - 10
    odd = ["systemd[1]: Started", "{", '"x"', "[1]", "null", '{"event": "file.quarantined"}', json.dumps(line)]
    odd.append(json.dumps(line | {"timestamp": "yesterday"}))
    odd.append(json.dumps(line | {"timestamp": 7}))
    odd.append(json.dumps(line | {"event": 7}))
    result = journal_alerts("\n".join(odd), "--json", "--at", str(at))
    assert [json.loads(one)["alert"] for one in result.stdout.splitlines()] == ["TracewatchdNoSweep"]
    assert result.stderr == ""


def test_the_recipe_says_what_fires_why_and_what_to_do() -> None:
    """For people: severity, name, source and summary, the last line that counted, and where the runbook is."""
    log = LOGS["poison"]
    text = "".join(json.dumps(line) + "\n" for line in log)
    result = journal_alerts(text, "--at", str(moment(log[-1])))
    assert result.returncode == 1
    first, last_line, what_to_do = result.stdout.splitlines()
    assert first.startswith("warning TracewatchdQuarantineGrows source=/srv/traces: Run files that cannot be stored")
    assert json.loads(last_line.removeprefix("  last line: "))["event"] == "file.quarantined"
    assert what_to_do == "  what to do: docs/runbook.md#tracewatchdquarantinegrows"


def test_nothing_fires_quietly() -> None:
    """On a healthy log it prints nothing and exits 0."""
    log = LOGS["healthy"]
    result = journal_alerts("".join(json.dumps(line) + "\n" for line in log), "--at", str(moment(log[-1])))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "status"), [(["--at"], 2), (["--at", "noon"], 2), (["--fast"], 2), (["--help"], 0), (["/nowhere"], 3)]
)
def test_a_wrong_call_is_no_alert(words: list[str], status: int) -> None:
    """Wrong usage and an unreadable log have exit statuses of their own, and say so."""
    result = subprocess.run([RECIPE, *words], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == status
    assert "journal-alerts" in result.stdout + result.stderr


def test_the_journal_is_asked_for_the_longest_window(tmp_path: Path) -> None:
    """Without a file journalctl is asked for our units, as plain lines, as far back as any alert looks."""
    log = LOGS["poison"]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in log))
    journalctl = tmp_path / "journalctl"
    journalctl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\ncat {tmp_path}/log\n')
    journalctl.chmod(0o755)
    at = moment(log[-1])
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [str(RECIPE), "--json", "--at", str(at), "--unit", "mine"]
    result = subprocess.run(command, env=path, capture_output=True, text=True, timeout=30, check=False)
    assert [json.loads(line)["alert"] for line in result.stdout.splitlines()] == ["TracewatchdQuarantineGrows"]
    since = at - max(alert.log.window_s for alert in ALERTS)
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["--quiet", "--output=cat", "--unit=mine", f"--since=@{since}"]
    journalctl.write_text("#!/bin/sh\necho no journal >&2\nexit 1\n")
    failed = subprocess.run(command, env=path, capture_output=True, text=True, timeout=30, check=False)
    assert (failed.returncode, failed.stdout) == (3, "")


def test_the_table_of_alerts(capsys: pytest.CaptureFixture[str]) -> None:
    """For each condition: the failure, the line that counted last, and whether it fired; printed for people."""
    rows = []
    for name, log in LOGS.items():
        firing = fired(log, moment(log[-1]))
        for alert in sorted(PROVOCATIONS[name].alerts) or ["(none may fire)"]:
            last = firing[alert]["last"] if alert in firing else {}
            said = {key: value for key, value in last.items() if key not in {"v", "level", "timestamp", "states"}}
            rows.append((alert, PROVOCATIONS[name].what, json.dumps(said)[:120], "yes" if alert in firing else "no"))
    silent = fired(LOGS["healthy"], moment(LOGS["healthy"][-1]) + HOUR_S + 2)
    rows.append((", ".join(silent), "nothing more is said, for an hour", "(silence)", "yes"))
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(" | ".join(row) + "\n" for row in rows))
    assert {row[0] for row in rows if row[3] == "yes"} == set(BY_NAME)
