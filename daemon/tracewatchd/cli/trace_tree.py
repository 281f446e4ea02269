"""How runs are shown to people: the words of a list's cells, and a trace as a tree beside a line of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from tracewatchd.model.traces import GUIDES, RunLine, TraceTotals, TreeLine

_BAR_CELLS = 28
_BAR_BESIDES = 96
"""Columns of a terminal from which on there is room for bars."""
_NAME_CELLS = 24
"""Columns that names and guides always get, however narrow the terminal."""
_ERROR_CHARACTERS = 200
_MINUTE_S, _HOUR_S = 60, 3600
_LEAST_COST = Decimal("0.0001")
_COLUMNS = (("type", 10), ("status", 8), ("took", 8), ("tokens", 10), ("cost", 9))
_NUMBERS = frozenset({"took", "tokens", "cost"})
_STYLES = {"llm": "magenta", "tool": "yellow", "retriever": "green", "embedding": "green", "chain": "cyan"}


def one_line(text: str | None, characters: int | None = None) -> str:
    """A foreign text on one line: no control character of it reaches the terminal, and it ends where it must."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text or "")
    whole = " ".join(shown.split())
    return whole if characters is None or len(whole) <= characters else f"{whole[: characters - 3]}..."


def took(seconds: float | None) -> str:
    """A duration, to three digits or so."""
    if seconds is None:
        return "-"
    if abs(seconds) < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    return f"{minutes}m {rest:02}s" if seconds < _HOUR_S else f"{minutes // 60:,}h {minutes % 60:02}m"


def tokens(count: int | None) -> str:
    """A number of tokens."""
    return "-" if count is None else f"{count:,}"


def cost(dollars: Decimal | None) -> str:
    """What something cost, in US dollars as LangSmith has it."""
    if dollars is None:
        return "-"
    return f"${dollars:,.4f}" if not 0 < dollars < _LEAST_COST else "<$0.0001"


def moment(time: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def many(count: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def summary(of: TraceTotals) -> str:
    """A trace in one sentence."""
    parts = [many(of.runs, "run")]
    parts += [many(of.errors, "error")] if of.errors else []
    parts += [many(of.missing_parents, "missing parent")] if of.missing_parents else []
    parts += [many(of.tokens, "token")] if of.tokens is not None else []
    parts += [cost(of.cost)] if of.cost is not None else []
    if of.start_time and of.end_time:
        seconds = (of.end_time - of.start_time).total_seconds()
        parts.insert(0, f"{moment(of.start_time)} to {moment(of.end_time)} UTC ({took(seconds)})")
    return ", ".join(parts)


def drawn(lines: Sequence[TreeLine], of: TraceTotals, *, marked: object, width: int | None) -> Iterator[Text]:
    """The tree, a line for each run and another for its error.

    Args:
        lines: what is shown.
        of: the trace as a whole, over whose time the bars are drawn.
        marked: the id of the run that was asked for; None where that was the trace.
        width: columns of the terminal; None where there is none, so that nothing is cut and there are no bars.
    """
    labels = [_label(line, marked) for line in lines]
    names = max([_NAME_CELLS, *(label.cell_len for label in labels)])
    bars = width is not None and width >= _BAR_BESIDES
    if width is not None:
        besides = 1 + sum(cells + 1 for _, cells in _COLUMNS) + (_BAR_CELLS + 2 if bars else 0)
        names = max(_NAME_CELLS, min(names, width - besides))
    heading = ((name, name) for name, _ in _COLUMNS)
    yield _row(Text("run"), heading, names, style="dim").append("  time" if bars else "")
    for line, label, following in zip_longest(lines, labels, lines[1:]):
        cells = _cells(line.run)
        row = _row(label, cells, names)
        yield row.append_text(_bar(line.run, of)) if bars and line.run else row
        if line.run and line.run.error:
            nested = following is not None and following.depth > line.depth
            yield _error(line, line.run.error, nested=nested, width=width)


def _label(line: TreeLine, marked: object) -> Text:
    label = Text(_guides(line.last, line.depth), style="dim")
    if line.run is None:
        return label.append(f"run {line.run_id} is not here", style="italic")
    style = "bold red" if line.run.status == "error" else "bold" if line.depth == 0 else "default"
    if line.run_id == marked:
        label.append("> ", style="bold yellow")
    label.append(one_line(line.run.name) or "(no name)", style=f"not dim {style}")
    if line.hidden:
        label.append(f" (+{line.hidden:,} below)")
    return label


def _guides(last: tuple[bool, ...], depth: int) -> str:
    if not last:
        return ""
    cut = f"({depth}) " if depth > GUIDES else ""
    above = "".join("   " if end else "│  " for end in last[:-1])
    return cut + above + ("└─ " if last[-1] else "├─ ")


def _cells(run: RunLine | None) -> Iterator[tuple[str, str]]:
    if run is None:
        return
    kind, status = one_line(run.run_type, 10), one_line(run.status, 8)
    yield kind or "-", _STYLES.get(kind, "default")
    yield status or "-", {"error": "red", "success": "dim"}.get(status, "yellow")
    yield took(run.duration_s), "default"
    yield tokens(run.total_tokens), "dim" if run.total_tokens is None else "default"
    yield cost(run.total_cost), "dim" if run.total_cost is None else "default"


def _row(label: Text, cells: Iterable[tuple[str, str]], names: int, *, style: str = "") -> Text:
    row = Text(style=style)
    label.truncate(names, overflow="ellipsis", pad=True)
    row.append_text(label).append(" ")
    for (name, width), (text, colour) in zip(_COLUMNS, cells, strict=False):
        gap = " " * max(0, width - cell_len(text))
        row.append(" " + (gap + text if name in _NUMBERS else text + gap), style="" if style else colour)
    return row


def _bar(run: RunLine, of: TraceTotals) -> Text:
    """When the run was under way, within the time of its trace."""
    if run.start_time is None or of.start_time is None or of.end_time is None:
        return Text()
    whole = max(of.end_time - of.start_time, timedelta(microseconds=1))
    first = int((run.start_time - of.start_time) / whole * (_BAR_CELLS - 1))
    end = run.end_time or of.end_time
    cells = max(1, round((end - run.start_time) / whole * _BAR_CELLS))
    style = "red" if run.status == "error" else _STYLES.get(run.run_type or "", "default")
    return Text("  " + " " * first).append("━" * min(cells, _BAR_CELLS - first), style=style)


def _error(line: TreeLine, error: str, *, nested: bool, width: int | None) -> Text:
    guides = "".join("   " if end else "│  " for end in line.last) + ("│  " if nested else "   ")
    text = Text(guides, style="dim").append(one_line(error, _ERROR_CHARACTERS), style="not dim red")
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text
