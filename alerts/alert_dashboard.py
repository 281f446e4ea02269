"""The Grafana dashboard: what the metrics say, drawn, and the log below it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alert_rules import Places

_WIDTH = 24
_PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
_LOKI = {"type": "loki", "uid": "${loki}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. ``unit`` is Grafana's name; ``kind`` its type of panel; each expression has its legend."""

    title: str
    expressions: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    bad_above: float | None = None


PANELS = (
    Panel("Database", (("min(tracewatchd_database_up)", "up"),), "bool_yes_no", "stat", 4),
    Panel("Oldest file waiting", (("max(tracewatchd_oldest_pending_seconds)", ""),), "s", "stat", 4, 120),
    Panel("Backlog", (("sum(tracewatchd_backlog_files)", ""),), "short", "stat", 4),
    Panel("Quarantine", (("sum(tracewatchd_quarantine_files)", ""),), "short", "stat", 4, 1),
    Panel(
        "Findings of severity error or critical",
        (('sum(tracewatchd_findings{severity=~"error|critical"}) or vector(0)', ""),),
        "short",
        "stat",
        4,
        1,
    ),
    Panel(
        "Since the last whole quick sweep",
        (('time() - max by (source) (tracewatchd_last_sweep_timestamp_seconds{depth="quick"})', "{{source}}"),),
        "s",
        "stat",
        4,
        3_600,
    ),
    Panel("Files by outcome", (("sum by (outcome) (rate(tracewatchd_files_total[5m]))", "{{outcome}}"),), "ops"),
    Panel("Rows written", (("sum by (source) (rate(tracewatchd_rows_total[5m]))", "{{source}}"),), "ops"),
    Panel("Bytes read", (("sum by (source) (rate(tracewatchd_bytes_total[5m]))", "{{source}}"),), "Bps"),
    Panel("Oldest file waiting", (("tracewatchd_oldest_pending_seconds", "{{source}}"),), "s", bad_above=120),
    Panel("Backlog", (("tracewatchd_backlog_files", "{{source}}"),)),
    Panel(
        "Commit, 50 % and 99 %",
        tuple(
            (f"histogram_quantile({part}, sum by (le) (rate(tracewatchd_commit_seconds_bucket[5m])))", name)
            for part, name in (("0.5", "50 %"), ("0.99", "99 %"))
        ),
        "s",
    ),
    Panel(
        "Rows of a batch, 50 %",
        (("histogram_quantile(0.5, sum by (le) (rate(tracewatchd_batch_rows_bucket[5m])))", "50 %"),),
    ),
    Panel("Ledger", (("sum by (state) (tracewatchd_ledger_files)", "{{state}}"),)),
    Panel("Findings", (("sum by (kind) (tracewatchd_findings)", "{{kind}}"),)),
    Panel(
        "Sweeps an hour",
        (("sum by (depth, result) (increase(tracewatchd_sweeps_total[1h]))", "{{depth}} {{result}}"),),
    ),
    Panel(
        "Since the last sweep that was whole",
        (("time() - tracewatchd_last_sweep_timestamp_seconds", "{{source}} {{depth}}"),),
        "s",
    ),
    Panel(
        "Hints suspected lost an hour",
        (("sum by (source) (increase(tracewatchd_hints_suspected_lost_total[1h]))", "{{source}}"),),
    ),
    Panel(
        "Seconds without the database, of each hour",
        (("increase(tracewatchd_database_outage_seconds_total[1h])", "{{instance}}"),),
        "s",
    ),
    Panel(
        "Days left of days that are not proved, or not certified",
        (
            ("min by (project, date) (tracewatchd_day_due_days)", "{{project}} {{date}}"),
            ("min by (project, date) (tracewatchd_certificate_due_days)", "{{project}} {{date}} (certificate)"),
        ),
        "d",
    ),
    Panel("Version", (("tracewatchd_build_info", "{{version}}"),), "short", "stat"),
)


def dashboard(places: Places) -> str:
    """The dashboard as Grafana imports it: one data source of each kind is asked for."""
    panels = [*_laid_out(PANELS)]
    panels.append(_log(places, below=max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in panels)))
    whole = {
        "title": "tracewatchd",
        "uid": "tracewatchd",
        "schemaVersion": 39,
        "editable": True,
        "tags": ["tracewatchd"],
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source("prometheus"), _source("loki")]},
        "annotations": {"list": [_annotation(places)]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }
    return json.dumps(whole, indent=2) + "\n"


def _source(kind: str) -> dict[str, Any]:
    return {"name": kind, "label": kind.capitalize(), "type": "datasource", "query": kind}


def _annotation(places: Places) -> dict[str, Any]:
    """Starts, outages and their ends, as lines in every picture."""
    told = "daemon.started|daemon.stopped|store.unavailable|store.recovered"
    expression = f'{places.stream} |~ `{told.replace(".", "[.]")}` | json event="event" | event=~"{told}"'
    return {"name": "Starts and outages", "enable": True, "datasource": _LOKI, "expr": expression}


def _laid_out(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Rows from left to right; a row is as high as its kind."""
    laid, x, y, height = [], 0, 0, 0
    for panel in panels:
        if x + panel.width > _WIDTH:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        laid.append(_drawn(panel, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    return laid


def _drawn(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_above is not None:
        steps.append({"color": "red", "value": panel.bad_above})
    return {
        "title": panel.title,
        "type": panel.kind,
        "datasource": _PROMETHEUS,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _PROMETHEUS, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(panel.expressions)
        ],
    }


def _log(places: Places, *, below: int) -> dict[str, Any]:
    expression = f'{places.stream} | json level="level" | level=~"warning|error|critical"'
    return {
        "title": "Warnings and errors",
        "type": "logs",
        "datasource": _LOKI,
        "gridPos": {"x": 0, "y": below, "w": _WIDTH, "h": 10},
        "options": {"showTime": True, "wrapLogMessage": True},
        "targets": [{"refId": "A", "datasource": _LOKI, "expr": expression}],
    }
