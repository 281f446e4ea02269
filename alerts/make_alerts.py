"""Writes the rules, the shell recipe, the dashboard and the runbook from the table of alerts; run by `make docs`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from alert_dashboard import dashboard
from alert_rules import MADE, Places, jq_alerts, jq_matches, loki_rules, longest_window_s, prometheus_rules, runbook

HERE = Path(__file__).parent
RUNBOOK = HERE.parent / "docs" / "runbook.md"


def made(places: Places) -> Mapping[str, str]:
    """The files of this directory that are made, by name."""
    return {
        "loki-rules.yaml": loki_rules(places),
        "prometheus-rules.yaml": prometheus_rules(places),
        "journal-alerts": journal_alerts(places),
        "grafana-dashboard.json": dashboard(places),
    }


def journal_alerts(places: Places) -> str:
    """The script, from its template."""
    filled = (HERE / "journal-alerts.in").read_text(encoding="utf-8")
    values = {
        "@MADE@": MADE,
        "@SINCE_S@": str(longest_window_s()),
        "@MATCHES@": jq_matches(),
        "@ALERTS@": jq_alerts(places),
    }
    for mark, value in values.items():
        filled = filled.replace(mark, value)
    return filled


def main() -> None:
    """Write everything where it belongs, or the rules alone into another directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", default=Places().stream, help="the selector of our logs in Loki")
    parser.add_argument("--runbook", default=Places().runbook, help="the address of the runbook")
    parser.add_argument("--out", type=Path, default=HERE, help="directory to write to")
    given = parser.parse_args()
    for name, content in made(Places(stream=given.stream, runbook=given.runbook)).items():
        (given.out / name).write_text(content, encoding="utf-8")
    (given.out / "journal-alerts").chmod(0o755)
    if given.out == HERE:
        RUNBOOK.write_text(runbook(), encoding="utf-8")


if __name__ == "__main__":
    main()
