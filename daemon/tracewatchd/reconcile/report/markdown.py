"""The form that people paste into tickets and chats: Markdown.

What comes from files stands in code spans, where nothing is markup, link or mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracewatchd.reconcile.report.data import Data, plural
from tracewatchd.reconcile.report.project_days import in_days
from tracewatchd.reconcile.report.words import explained, sentence, verdict_word, warnings_of

_MOST_FINDINGS = 200
_MOST_DAYS = 200
_MARKUP = re.compile(r"([\\`*_\[\]<>~&#@])")


def text(data: Data) -> str:
    """The report as Markdown, the verdict first."""
    parts = (_verdict, _unchecked, _due, _kinds, _days, _worst)
    return "\n".join(line for part in parts for line in part(data))


def _verdict(data: Data) -> Iterator[str]:
    yield f"# {verdict_word(data['verdict'])}"
    yield ""
    yield sentence(data)
    yield ""
    sources = ", ".join(_code(one["source"]) for one in data["sources"])
    when = f"{data['started_at'] or 'never'}, {data['took_s']:.1f} s"
    yield f"{data['depth'] or 'no'} sweep of {sources or 'nothing'}, {when}"
    yield ""
    for told in warnings_of(data):
        yield f"**{told}.**"
        yield ""
    states = ", ".join(f"{count:,} {state}" for state, count in data["states"].items())
    files = plural(data["files"], "run file")
    yield f"{files}{': ' if states else ''}{states}; {data['ignored']:,} other entries ignored"
    yield ""


def _unchecked(data: Data) -> Iterator[str]:
    if data["unchecked"]:
        yield from _headed("Could not be checked")
        yield from (f"- {_escaped(told)}" for told in data["unchecked"])
        yield from (f"- {_code(one['path'])}: {_escaped(one['detail'])}" for one in data["closed"])
        yield ""


def _due(data: Data) -> Iterator[str]:
    if data["due"]:
        rows = [
            (day["day"], _code(day["project"]), in_days(day["days_left"]), _escaped(day["why"])) for day in data["due"]
        ]
        yield from _headed("Deleted upstream soon, and not verified")
        yield from _table(("day", "project", "deleted", "why it is not safe"), rows, _MOST_DAYS)


def _kinds(data: Data) -> Iterator[str]:
    kinds = explained(data)
    if kinds:
        done = "would be repaired" if data["dry_run"] else "repaired"
        rows = [(f"{one.count:,}", one.kind, one.severity, f"{one.fixed:,}", one.meaning, one.remedy) for one in kinds]
        yield from _headed("What was found")
        yield from _table(("count", "kind", "severity", done, "what it means", "what to do"), rows, len(rows))


def _days(data: Data) -> Iterator[str]:
    told = [day for day in data["days"] if day["counts"] or day["verdict"] != "consistent"]
    yield from _headed("Project-days")
    well = len(data["days"]) - len(told)
    yield f"{plural(well, 'project-day')} consistent and without findings."
    yield ""
    if told:
        yield from _table(("project-day", "verdict", "run files", "findings"), [_day(day) for day in told], _MOST_DAYS)


def _day(day: Mapping[str, Any]) -> tuple[str, ...]:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in day["counts"].items())
    return _code(day["directory"]), day["verdict"].replace("_", " "), f"{day['files']:,}", counts or "none"


def _worst(data: Data) -> Iterator[str]:
    listed = data["findings"][:_MOST_FINDINGS]
    left = sum(data["counts"].values()) - len(listed)
    if listed or left:
        yield from _headed("Findings")
        for finding in listed:
            yield from _finding(finding)
        if left:
            yield f"- {left:,} more were counted and are not listed here"
        yield ""


def _finding(finding: Mapping[str, Any]) -> Iterator[str]:
    of = [_code(finding["path"])] if finding["path"] is not None else []
    of += [f"run {_code(finding['run_id'])}"] if finding["run_id"] else []
    held = ", held" if finding["held"] else ""
    detail = f": {_escaped(finding['detail'])}" if finding["detail"] else ""
    yield f"- **{finding['kind']}** ({finding['severity']}{held}) {', '.join(of)}{detail}"
    for place in finding["differences"]:
        file, row = _side(place["in_file"]), _side(place["in_row"])
        yield f"  - {_code(place['pointer'])}: in the file {file}, in the row {row}"


def _side(value: str | None) -> str:
    return "nothing" if value is None else _code(value)


def _headed(title: str) -> Iterator[str]:
    yield f"## {title}"
    yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    for row in rows[:most]:
        cells = (cell.replace("|", r"\|") for cell in row)  # a table takes this escape in code spans too
        yield f"| {' | '.join(cells)} |"
    yield ""
    if len(rows) > most:
        yield f"{len(rows) - most:,} more are not listed; a .json report holds them all."
        yield ""


def _code(value: str) -> str:
    """A code span that shows a value as it is, in a fence that the value does not hold."""
    shown = _on_one_line(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown or not shown.strip() else f"{fence}{shown}{fence}"


def _escaped(sentence: str) -> str:
    return _MARKUP.sub(r"\\\1", _on_one_line(sentence))


def _on_one_line(value: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)
