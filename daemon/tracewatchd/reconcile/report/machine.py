"""The forms that programs read: JSON, JSON lines, CSV."""

from __future__ import annotations

import csv
import io
import json

from tracewatchd.reconcile.report.data import Data

_COLUMNS = ("source", "kind", "severity", "run_id", "path", "detail", "held", "differences")
_BEGINS_A_FORMULA = ("=", "+", "-", "@")
_FIRST_PRINTABLE = " "


def one_object(data: Data) -> str:
    """The whole object, one key a line."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def lines(data: Data) -> str:
    """The object without its findings, then each finding, one a line."""
    summary = {key: value for key, value in data.items() if key != "findings"}
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in (summary, *data["findings"]))


def table(data: Data) -> str:
    """The findings, a row each."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(finding[column]) for column in _COLUMNS] for finding in data["findings"])
    return out.getvalue()


def _cell(value: object) -> str:
    """A value as text that no spreadsheet takes for a formula, whatever a path or a run holds."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    risky = text.startswith(_BEGINS_A_FORMULA) or (text and text[0] < _FIRST_PRINTABLE)
    return f"'{text}" if risky else text
