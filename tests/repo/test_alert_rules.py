"""The alerts about themselves: one table, what is made of it, and that everything it names exists."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from alert_dashboard import PANELS
from alert_rules import Places, jq_of, logql, span
from alert_table import ALERTS, Alert, Lines, Silent, Told, Where
from alerting import ALERTS as DIRECTORY
from alerting import RECORDED, REPOSITORY
from tracewatchd.model.events import catalogue

MAKE = runpy.run_path(str(DIRECTORY / "make_alerts.py"))
RUNBOOK = REPOSITORY / "docs" / "runbook.md"
GRAMMAR = REPOSITORY / "tests" / "logql"
METRIC = re.compile(r"\b(?:tracewatchd|process)_[a-z_]+")


def by_name(alert: Alert) -> str:
    return alert.name


# ---- what is made of the table


@pytest.mark.parametrize("name", sorted(MAKE["made"](Places())))
def test_files_are_what_the_table_makes(name: str) -> None:
    """Each rule file, the recipe and the dashboard are committed as they are made."""
    assert (DIRECTORY / name).read_text(encoding="utf-8") == MAKE["made"](Places())[name], "run `make docs`"


def test_the_runbook_is_what_the_table_makes() -> None:
    """docs/runbook.md is committed as it is made."""
    assert RUNBOOK.read_text(encoding="utf-8") == MAKE["runbook"](), "run `make docs`"


def test_the_recipe_can_be_run() -> None:
    """It is an executable, and a shell finds no fault in it."""
    recipe = DIRECTORY / "journal-alerts"
    assert os.access(recipe, os.X_OK)
    assert "@" + "MADE@" not in recipe.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", recipe], check=True, timeout=30)


def test_other_places_can_be_given(tmp_path: Path) -> None:
    """A site's own stream of logs and address of the runbook stand in every rule that is made for it."""
    given = ("--stream", '{container="t"}', "--runbook", "https://x", "--out", str(tmp_path))
    subprocess.run([sys.executable, str(DIRECTORY / "make_alerts.py"), *given], check=True, timeout=30)
    assert {path.name for path in tmp_path.iterdir()} == set(MAKE["made"](Places()))
    loki = (tmp_path / "loki-rules.yaml").read_text(encoding="utf-8")
    assert loki.count('{container="t"}') == loki.count('"https://x#') == len(ALERTS)
    assert '"runbook": "https://x#' in (tmp_path / "journal-alerts").read_text(encoding="utf-8")


# ---- what the table names


def _fields(lines: Lines) -> dict[str, Any]:
    return {field.name: field for field in msgspec.structs.fields(catalogue()[lines.event])}


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_events_and_fields_are_in_the_catalogue(alert: Alert) -> None:
    """Every event exists; every field that is compared or counted by is one that each such line has, of that type."""
    for lines in alert.log.lines:
        fields = _fields(lines)
        for where in lines.where:
            field = fields[where.field]
            assert field.required
            assert field.type in ({str} if isinstance(where.value, str) else {int, float})
            assert not isinstance(where.value, str) or where.compare == "=="
        if isinstance(alert.log, Told):
            assert all(fields[name].required for name in alert.log.by)


def test_what_the_table_compares_with_can_occur() -> None:
    """Verdicts and depths are those of the model, spelt as in a line."""
    from tracewatchd.model.findings import Depth, Verdict  # noqa: PLC0415 - named by this test alone

    known = {"verdict": set(Verdict.__args__), "depth": set(Depth.__args__)}  # type: ignore[attr-defined] # typing's own
    for alert in ALERTS:
        for where in (where for lines in alert.log.lines for where in lines.where if isinstance(where.value, str)):
            assert where.value in known[where.field]


def test_alerts_and_runbook_entries_are_the_same() -> None:
    """Each alert has an entry that says what it means, where to look and what to do, and no entry is of nothing."""
    entries = re.split(r"(?m)^## ", RUNBOOK.read_text(encoding="utf-8"))[1:]
    assert [entry.splitlines()[0] for entry in entries] == [alert.name for alert in ALERTS]
    for entry in entries:
        assert "\nLook at:\n\n- " in entry
        assert "\nDo:\n\n- " in entry
        assert "\nFires on:\n\n- log: " in entry


def test_names_are_told_apart() -> None:
    """No two alerts have one name or one summary, and each begins with ours."""
    assert len({alert.name for alert in ALERTS}) == len({alert.summary for alert in ALERTS}) == len(ALERTS)
    assert all(alert.name.startswith("Tracewatchd") and alert.name.isalnum() for alert in ALERTS)


@pytest.mark.parametrize("file", ["loki-rules.yaml", "prometheus-rules.yaml", "journal-alerts"])
def test_every_rule_leads_to_its_entry(file: str) -> None:
    """Each rule names the page and the heading of its entry in the runbook."""
    text = (DIRECTORY / file).read_text(encoding="utf-8")
    named = set(re.findall(r"docs/runbook\.md#(\w+)", text))
    wanted = {alert.anchor for alert in ALERTS if alert.metric or file != "prometheus-rules.yaml"}
    assert named == wanted


# ---- metrics


def _metrics() -> Iterator[str]:
    for alert in ALERTS:
        yield from METRIC.findall(alert.metric.expression if alert.metric else "")
    for panel in PANELS:
        for expression, _ in panel.expressions:
            yield from METRIC.findall(expression)


def test_metrics_are_those_that_the_daemon_has() -> None:
    """Each metric of a rule or of the dashboard is one that the daemon's own scrape shows."""
    recorded = RECORDED.glob("*.prom")
    shown = set(re.findall(r"(?m)^# TYPE (\w+) ", "".join(path.read_text(encoding="utf-8") for path in recorded)))
    assert shown
    assert {name.removesuffix("_bucket") for name in _metrics()} - shown == set()


# ---- grammars


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool, or skip where there is none."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (tests/system-packages installs it)")
    return subprocess.run([tool, *words], capture_output=True, text=True, timeout=60, check=False)


def test_promtool_accepts_the_rules() -> None:
    """`promtool check rules` finds as many rules as the table has conditions on metrics."""
    result = promtool("check", "rules", DIRECTORY / "prometheus-rules.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"SUCCESS: {sum(alert.metric is not None for alert in ALERTS)} rules found" in result.stdout


def faults(expressions: dict[str, str]) -> dict[str, list[str]]:
    """Where the grammar of LogQL, by its authors, finds an error in each expression."""
    if shutil.which("node") is None or not (GRAMMAR / "node_modules").exists():
        pytest.skip("the grammar of LogQL is not installed (tests/system-packages installs it)")
    result = subprocess.run(
        ["node", GRAMMAR / "check.mjs"],
        input=json.dumps(expressions),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(result.stdout)
    return found


def _rules(file: str) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DIRECTORY / file).read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.parametrize("file", ["loki-rules.yaml", "prometheus-rules.yaml"])
def test_rule_files_are_yaml_that_says_what_the_table_says(file: str) -> None:
    """Read as YAML each rule has the severity, the summary and the meaning of its alert, and nothing else."""
    alerts = [alert for alert in ALERTS if alert.metric or file == "loki-rules.yaml"]
    for rule, alert in zip(_rules(file), alerts, strict=True):
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert (rule["alert"], rule["labels"]) == (alert.name, {"severity": alert.severity})
        assert rule["annotations"] == {
            "summary": alert.summary,
            "description": alert.means,
            "runbook_url": f"docs/runbook.md#{alert.anchor}",
        }


def _of_rules_and_dashboard() -> dict[str, str]:
    rules = {rule["alert"]: rule["expr"] for rule in _rules("loki-rules.yaml")}
    dashboard = json.loads((DIRECTORY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    log = {panel["title"]: panel["targets"][0]["expr"] for panel in dashboard["panels"] if panel["type"] == "logs"}
    notes = {note["name"]: note["expr"] for note in dashboard["annotations"]["list"]}
    return rules | log | notes


def test_the_grammar_of_logql_accepts_the_rules() -> None:
    """Each expression of the rule file and of the dashboard is LogQL, by the parser of Grafana."""
    expressions = _of_rules_and_dashboard()
    assert expressions.keys() >= {alert.name for alert in ALERTS} | {"Warnings and errors"}
    assert faults(expressions) == {name: [] for name in expressions}


def test_the_grammar_sees_a_slip() -> None:
    """An expression that lacks a part is not accepted."""
    good = logql(ALERTS[0].log, Places().stream)
    slips = {"bracket": good.replace("[90s]", "[90s"), "value": good.replace(">= 300", ">="), "end": good[:-1]}
    assert all(faults(slips).values())


# ---- the dashboard


def test_the_dashboard_can_be_imported() -> None:
    """Numbered panels that do not lie over each other, each with a question to a data source that is asked for."""
    dashboard = json.loads((DIRECTORY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    sources = {f"${{{one['name']}}}" for one in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for number, panel in enumerate(dashboard["panels"], 1):
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert cells.isdisjoint(taken)
        assert max(columns) < 24
        taken |= cells
        assert panel["id"] == number
        assert {target["datasource"]["uid"] for target in panel["targets"]} | {panel["datasource"]["uid"]} <= sources
        assert all(target["expr"] for target in panel["targets"])


def test_promtool_accepts_the_dashboard_s_expressions(tmp_path: Path) -> None:
    """Each expression on metrics is PromQL: as rules that record it, they all pass."""
    expressions = [expression for panel in PANELS for expression, _ in panel.expressions]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "rules.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    result = promtool("check", "rules", "--lint=none", file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"SUCCESS: {len(expressions)} rules found" in result.stdout


# ---- forms


@pytest.mark.parametrize(("seconds", "text"), [(90, "90s"), (300, "5m"), (3_600, "1h"), (90_000, "25h"), (0, "0s")])
def test_durations_are_written_in_their_largest_unit(seconds: int, text: str) -> None:
    """As a person would write them in a rule."""
    assert span(seconds) == text


def test_one_condition_in_both_languages() -> None:
    """The same table gives LogQL and jq: fields, comparisons, alternatives, windows and what is counted apart."""
    lines = (Lines("a.b", (Where("n", ">=", 3), Where("t", "==", "x"))), Lines("c.d"))
    told = Told(lines=lines, window_s=600, at_least=2, by=("source",))
    assert logql(told, "{s}") == (
        'sum by (source) (count_over_time({s} |~ `a[.]b|c[.]d` | json event="event", n="n", t="t", source="source"'
        ' | __error__="" | (event="a.b" and n >= 3 and t="x") or (event="c.d") [10m])) >= 2'
    )
    assert jq_of(lines[0]) == '.event == "a.b" and .n >= 3 and .t == "x"'
    silent = Silent(lines=lines[1:], window_s=3_600)
    assert logql(silent, "{s}") == (
        'absent_over_time({s} |= `c.d` | json event="event" | __error__="" | (event="c.d") [1h])'
    )
