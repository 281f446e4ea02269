"""From the table of alerts to what evaluates it: rules for Loki and Prometheus, a jq program, the runbook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TypeAlias

from alert_table import ALERTS, Alert, Lines, LogCondition, Silent, Told, Where, lines_of

MADE = "Made by `make docs` from alerts/alert_table.py."
_INTERVAL = "1m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What differs from site to site: Loki's stream of our logs, and where the runbook is read."""

    stream: str = '{unit=~"tracewatchd.*"}'
    runbook: str = "docs/runbook.md"

    def entry(self, alert: Alert) -> str:
        """The address of an alert's entry."""
        return f"{self.runbook}#{alert.anchor}"


def span(seconds: int) -> str:
    """A duration as LogQL and PromQL write it, in the largest unit that divides it."""
    for unit, size in (("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


# ---------------------------------------------------------------------------------------------------------------------
# LogQL


def logql(condition: LogCondition, stream: str) -> str:
    """The condition as an expression that has a result while it holds."""
    fields = dict.fromkeys(["event", *(where.field for lines in lines_of(condition) for where in lines.where)])
    if isinstance(condition, Silent):
        return f"absent_over_time({_selected(condition, stream, fields)} [{span(condition.window_s)}])"
    counted = f"count_over_time({_selected(condition, stream, [*fields, *condition.by])} [{span(condition.window_s)}])"
    by = f" by ({', '.join(condition.by)})" if condition.by else ""
    return f"sum{by} ({counted}) >= {condition.at_least}"


def _selected(condition: LogCondition, stream: str, fields: Sequence[str] | dict[str, None]) -> str:
    """Our lines: by a word first, which costs little, then by what they say; lines that are no JSON are left out."""
    events = sorted({lines.event for lines in lines_of(condition)})
    words = f"|= `{events[0]}`" if len(events) == 1 else f"|~ `{'|'.join(events).replace('.', '[.]')}`"
    extracted = ", ".join(f'{field}="{field}"' for field in fields)
    chosen = " or ".join(f"({_logql_of(lines)})" for lines in lines_of(condition))
    return f'{stream} {words} | json {extracted} | __error__="" | {chosen}'


def _logql_of(lines: Lines) -> str:
    return " and ".join([f'event="{lines.event}"', *(_logql_where(where) for where in lines.where)])


def _logql_where(where: Where) -> str:
    if isinstance(where.value, str):
        return f'{where.field}="{where.value}"'
    return f"{where.field} {where.compare} {where.value}"


# ---------------------------------------------------------------------------------------------------------------------
# jq


def jq_of(lines: Lines) -> str:
    """The same lines as a condition of jq, on a line that was read."""
    tests = [f".event == {json.dumps(lines.event)}"]
    tests += [f".{where.field} {where.compare} {json.dumps(where.value)}" for where in lines.where]
    return " and ".join(tests)


def jq_matches() -> str:
    """For a line: the name of each alert that counts it, and by what. Its age is asked last, as that costs most."""
    return ",\n  ".join(_jq_match(alert) for alert in ALERTS)


def _jq_match(alert: Alert) -> str:
    conditions = [jq_of(lines) for lines in lines_of(alert.log)]
    chosen = conditions[0] if len(conditions) == 1 else " or ".join(f"({one})" for one in conditions)
    by = alert.log.by if isinstance(alert.log, Told) else ()
    counted_by = " + ".join(f'" {name}=" + (.{name} | tostring)' for name in by) or '""'
    return (
        f"(select(({chosen}) and within({alert.log.window_s}))"
        f" | {{name: {json.dumps(alert.name)}, by: ({counted_by})}})"
    )


def jq_alerts(places: Places) -> str:
    """What jq has to know of each alert, once its lines are counted."""
    return json.dumps([_jq_alert(alert, places) for alert in ALERTS], indent=1)


def _jq_alert(alert: Alert, places: Places) -> dict[str, str | int | bool]:
    return {
        "name": alert.name,
        "severity": alert.severity,
        "summary": alert.summary,
        "runbook": places.entry(alert),
        "silent": isinstance(alert.log, Silent),
        "at_least": alert.log.at_least if isinstance(alert.log, Told) else 0,
    }


def longest_window_s() -> int:
    """How far back a look at the log has to reach."""
    return max(alert.log.window_s for alert in ALERTS)


# ---------------------------------------------------------------------------------------------------------------------
# Rule files

_Rule: TypeAlias = tuple[str, str, Alert]
"""An expression, how long it must hold, and what for."""


def loki_rules(places: Places) -> str:
    """The file for Loki's ruler."""
    rules = [(logql(alert.log, places.stream), "0s", alert) for alert in ALERTS]
    return _rule_file("For the ruler of Loki.", rules, places)


def prometheus_rules(places: Places) -> str:
    """The file for Prometheus."""
    rules = [(alert.metric.expression, span(alert.metric.for_s), alert) for alert in ALERTS if alert.metric]
    return _rule_file("For Prometheus, as an entry of `rule_files`.", rules, places)


def _rule_file(what: str, rules: Sequence[_Rule], places: Places) -> str:
    lines = [f"# {what} {MADE}", "groups:", "  - name: tracewatchd", f"    interval: {_INTERVAL}", "    rules:"]
    return "\n".join([*lines, *(line for rule in rules for line in _rule(*rule, places))]) + "\n"


def _rule(expression: str, held: str, alert: Alert, places: Places) -> Iterator[str]:
    yield f"      - alert: {alert.name}"
    yield "        expr: >-"
    yield f"          {expression}"
    yield f"        for: {held}"
    yield "        labels:"
    yield f"          severity: {alert.severity}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(alert.summary)}"
    yield f"          description: {json.dumps(alert.means)}"
    yield f"          runbook_url: {json.dumps(places.entry(alert))}"


# ---------------------------------------------------------------------------------------------------------------------
# The runbook

_INTRODUCTION = f"""# Runbook

What to do when an alert fires. {MADE} The rules are in `alerts/`:

| file | what it is for |
|---|---|
| `alerts/loki-rules.yaml` | Loki's ruler; it looks at the streams `{Places().stream}` |
| `alerts/prometheus-rules.yaml` | Prometheus, on what the daemon's `/metrics` says |
| `alerts/journal-alerts` | no monitoring at all: journald and `jq`, in a timer; of a container: `docker logs` into it |
| `alerts/grafana-dashboard.json` | a dashboard to import: metrics from Prometheus, the log from Loki |

Other labels of streams, or an address of this page that a pager can open, are given when the files are made:
`python alerts/make_alerts.py --stream '{{container="tracewatchd"}}' --runbook https://wiki.example.com/tracewatchd`.

`alerts/journal-alerts` prints each alert that fires with the last line that counted, and exits 1; 0 says that none
fires, 3 that the log could not be read. A silence (TracewatchdNoSweep) is an alert, too: give it the log of at least
the last {span(longest_window_s())}. Where several daemons write into one log, silence is seen only when all are silent.
Where mail is enough, a line of cron is a monitoring system; cron mails what a command prints:

```text
*/5 * * * * root /opt/tracewatchd/alerts/journal-alerts
```

Each alert was seen firing: a test provokes every failure of this page with a daemon that runs, and recordings of such
failures are replayed. Conditions on the log are evaluated by `jq` there, those on metrics by promtool; no ruler of Loki
ran, but LogQL's own grammar accepts every expression.
"""


def runbook() -> str:
    """The page with an entry for each alert."""
    rows = [f"| [{alert.name}](#{alert.anchor}) | {alert.severity} | {alert.summary} |" for alert in ALERTS]
    table = "\n".join(["| alert | severity | it says |", "|---|---|---|", *rows])
    return "\n".join([_INTRODUCTION, table + "\n", *(_entry(alert) for alert in ALERTS)])


def _entry(alert: Alert) -> str:
    fires = [f"- log: `{log_in_words(alert.log)}`"]
    if alert.metric:
        held = f", for {span(alert.metric.for_s)}" if alert.metric.for_s else ""
        fires.append(f"- metrics: `{alert.metric.expression}`{held}")
    parts = [
        f"## {alert.name}\n",
        f"{alert.summary} ({alert.severity}).\n",
        f"{_filled(alert.means)}\n",
        "Look at:\n",
        *(_filled(one, "- ") for one in alert.look),
        "\nDo:\n",
        *(_filled(one, "- ") for one in alert.act),
        "\nFires on:\n",
        *fires,
        "",
    ]
    return "\n".join(parts)


def _filled(text: str, mark: str = "") -> str:
    indent = " " * len(mark)
    return fill(mark + text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def log_in_words(condition: LogCondition) -> str:
    """What a person wants to know of a condition on the log."""
    chosen = " or ".join(" and ".join([lines.event, *map(_words, lines.where)]) for lines in lines_of(condition))
    if isinstance(condition, Silent):
        return f"no {chosen} in {span(condition.window_s)}"
    times = f"{condition.at_least} times " if condition.at_least > 1 else ""
    return f"{chosen}, {times}in {span(condition.window_s)}"


def _words(where: Where) -> str:
    return f"{where.field} {where.compare} {where.value}"
