"""Recorded scrapes of provoked failures, replayed through the rules for Prometheus by promtool.

Each scrape stands for a while: the first, of a healthy daemon, for an hour, each next for five minutes, the last for
twenty, after half of which it is asked what fires. Times in the metrics move along. Where the failure lasted seconds,
ages are stretched as those of the log are.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from alert_table import ALERTS
from alerting import ALERTS as DIRECTORY
from alerting import RECORDED
from provoking import PROVOCATIONS

BY_METRICS = frozenset(alert.name for alert in ALERTS if alert.metric)
FIRST_MIN, NEXT_MIN, LAST_MIN = 60, 5, 20
SILENCE_MIN = 75
_SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)


def recorded_scrapes(name: str) -> list[tuple[float, dict[str, float]]]:
    """The scrapes of a failure: when, and each series with its value."""
    parts = re.split(r"(?m)^# at (\S+)\n", (RECORDED / f"{name}.prom").read_text(encoding="utf-8"))[1:]
    return [(float(at), _series(text)) for at, text in zip(parts[::2], parts[1::2], strict=True)]


def _series(text: str) -> dict[str, float]:
    found = {}
    for name, labels, value in _SAMPLE.findall(text):
        given = labels.strip("{}")
        found[f'{name}{{{given + "," if given else ""}instance="i",job="tracewatchd"}}'] = float(value)
    return found


def played(scrapes: list[tuple[float, dict[str, float]]], stretch_s: float) -> list[dict[str, str]]:
    """The series as promtool takes them: a value for each minute, ``_`` where a scrape did not have it."""
    minutes = [FIRST_MIN, *[NEXT_MIN] * (len(scrapes) - 2), LAST_MIN][: len(scrapes)]
    names = dict.fromkeys(name for _, series in scrapes for name in series)
    return [{"series": name, "values": " ".join(_values(name, scrapes, minutes, stretch_s))} for name in names]


def _values(
    name: str, scrapes: list[tuple[float, dict[str, float]]], minutes: list[int], stretch_s: float
) -> Iterator[str]:
    minute = 0
    for (at, series), count in zip(scrapes, minutes, strict=True):
        for _ in range(count):
            yield _value(name, series.get(name), minute * 60 - at, stretch_s)
            minute += 1


def _value(name: str, value: float | None, shift_s: float, stretch_s: float) -> str:
    if value is None:
        return "_"
    if re.match(r"tracewatchd_last_\w+_timestamp_seconds", name):
        value += shift_s
    elif name.startswith("tracewatchd_oldest_pending_seconds") and value > 1:
        value += stretch_s
    return repr(value)


def firing(directory: Path, series: list[dict[str, str]], minute: int, expected: frozenset[str]) -> str:
    """What promtool objects to when exactly these alerts have to fire at this minute; empty where nothing."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (tests/alert-tools fetches it)")
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    wanted = {
        "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": samples,
    }
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [wanted]}
    file = directory / "test.yaml"
    rules = str(DIRECTORY / "prometheus-rules.yaml")
    # JSON is YAML.
    file.write_text(json.dumps({"rule_files": [rules], "evaluation_interval": "1m", "tests": [test]}))
    result = subprocess.run([tool, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    return "" if result.returncode == 0 else result.stdout + result.stderr


SCRAPED = [name for name in PROVOCATIONS if (RECORDED / f"{name}.prom").exists()]


@pytest.mark.parametrize("name", SCRAPED)
def test_recorded_scrapes_fire_the_alerts_of_their_failure_and_no_others(name: str, tmp_path: Path) -> None:
    """What the log of a failure fires, its metrics fire too; the scrapes of a healthy daemon fire nothing."""
    scrapes = recorded_scrapes(name)
    assert len(scrapes) > 1 or name in {"day_due", "day_lost", "changed_after_certificate"}
    series = played(scrapes if len(scrapes) > 1 else scrapes * 2, PROVOCATIONS[name].stretch_s)
    minute = FIRST_MIN + NEXT_MIN * max(0, len(scrapes) - 2) + LAST_MIN // 2
    assert firing(tmp_path, series, minute, PROVOCATIONS[name].alerts & BY_METRICS) == ""


def test_every_alert_by_metrics_is_seen_firing() -> None:
    """The scrapes provoke each of them; silence is provoked by waiting, below."""
    seen = frozenset().union(*(PROVOCATIONS[name].alerts for name in SCRAPED))
    assert BY_METRICS - seen == {"TracewatchdNoSweep"}


def test_silence_fires_by_metrics_too(tmp_path: Path) -> None:
    """When sweeps end but scrapes go on, and when nothing is scraped any more, the dead man speaks."""
    (at, series), *_ = recorded_scrapes("healthy")
    still = [
        {"series": name, "values": f"{_value(name, value, -at, 0)}x{SILENCE_MIN}"} for name, value in series.items()
    ]
    assert firing(tmp_path, still, 50, frozenset()) == ""
    assert firing(tmp_path, still, SILENCE_MIN - 5, frozenset({"TracewatchdNoSweep"})) == ""
    gone = [{"series": 'up{job="tracewatchd"}', "values": f"0x{SILENCE_MIN}"}]
    assert firing(tmp_path, gone, 30, frozenset({"TracewatchdNoSweep"})) == ""


def test_promtool_sees_what_must_not_fire(tmp_path: Path) -> None:
    """The check of what fires fails where an alert is expected that does not, and where one fires unexpectedly."""
    scrapes = recorded_scrapes("poison")
    assert "got" in firing(tmp_path, played(scrapes, 0), FIRST_MIN + 10, frozenset())
    assert "got" in firing(tmp_path, played(scrapes, 0), FIRST_MIN + 10, BY_METRICS)
