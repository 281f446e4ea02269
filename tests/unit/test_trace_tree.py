"""A trace as a tree: every run once, whatever its parents are, within a limit; and how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_files import run_id
from run_lines import BEGUN, run_line
from tracewatchd.cli.trace_tree import cost, drawn, moment, one_line, summary, tokens, took
from tracewatchd.cli.traces import _left_out
from tracewatchd.model.traces import GUIDES, RunLine, TreeLine, totals, tree


def outline(lines: Sequence[TreeLine]) -> list[tuple[int, int, bool]]:
    """Of each line: the run's number, its depth, and whether the run is there."""
    numbers = {run_id(number): number for number in range(200)}
    return [(numbers[line.run_id], line.depth, line.run is not None) for line in lines]


def shown(runs: Sequence[RunLine], *, marked: object = None, width: int | None = None, limit: int = 1_000) -> list[str]:
    """The lines as text, without the heading."""
    of = totals(run_id(0), runs)
    return [text.plain.rstrip() for text in drawn(tree(runs, limit=limit), of, marked=marked, width=width)][1:]


# ---- the tree


def test_parents_come_before_their_children_in_the_order_given() -> None:
    """Depth first; siblings stay in their order."""
    runs = [run_line(0), run_line(1, 0), run_line(2, 0), run_line(3, 1), run_line(4, 2), run_line(5, 1)]
    assert outline(tree(runs, limit=100)) == [
        (0, 0, True), (1, 1, True), (3, 2, True), (5, 2, True), (2, 1, True), (4, 2, True)
    ]  # fmt: skip


def test_a_parent_that_is_not_there_has_a_line() -> None:
    """Its children stand below that line, after the trees that have a root, and it is counted as missing."""
    runs = [run_line(0), run_line(1, 50), run_line(2, 50), run_line(3, 1)]
    lines = tree(runs, limit=100)
    assert outline(lines) == [(0, 0, True), (50, 0, False), (1, 1, True), (3, 2, True), (2, 1, True)]
    assert totals(run_id(0), runs).missing_parents == 1


def test_a_circle_is_cut() -> None:
    """Runs that are each other's ancestors, or their own, are shown once each."""
    runs = [run_line(0), run_line(1, 2), run_line(2, 1), run_line(3, 3), run_line(4, 2)]
    assert outline(tree(runs, limit=100)) == [
        (0, 0, True), (1, 0, True), (2, 1, True), (4, 2, True), (3, 0, True)
    ]  # fmt: skip


@given(st.lists(st.none() | st.integers(0, 30), max_size=25), st.integers(1, 40), st.none() | st.integers(0, 24))
def test_every_run_is_there_once_whatever_the_parents(parents: list[int | None], limit: int, focus: int | None) -> None:
    """Shown runs and hidden ones add up to all, no line comes twice, each but a top has its parent above it."""
    runs = [run_line(number, parent) for number, parent in enumerate(parents)]
    lines = tree(runs, limit=limit, focus=None if focus is None else run_id(focus))
    whole = tree(runs, limit=1_000)
    assert sorted(number for number, _, there in outline(whole) if there) == list(range(len(runs)))
    ids = [line.run_id for line in lines]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= {line.run_id for line in whole}
    for line, following in pairwise(lines):
        assert following.depth <= line.depth + 1
    if focus is not None and focus < len(runs):
        assert run_id(focus) in ids
    elif limit >= len(whole):
        assert lines == whole
    else:
        assert len(lines) == limit


def test_what_is_left_out_lies_deepest() -> None:
    """Within the limit the upper levels are whole; a line says how many runs below it are not shown."""
    runs = [run_line(0), run_line(1, 0), run_line(2, 0), run_line(3, 1), run_line(4, 3), run_line(5, 2)]
    lines = tree(runs, limit=3)
    assert outline(lines) == [(0, 0, True), (1, 1, True), (2, 1, True)]
    assert [line.hidden for line in lines] == [0, 2, 1]


def test_the_run_that_was_asked_for_is_shown_beyond_the_limit() -> None:
    """With everything above it, so that it is seen where it belongs."""
    runs = [run_line(0), *(run_line(number, number - 1) for number in range(1, 50))]
    assert [number for number, _, _ in outline(tree(runs, limit=2, focus=run_id(5)))] == [0, 1, 2, 3, 4, 5]


def test_a_long_chain_costs_no_more_than_its_lines() -> None:
    """A trace of 25,000 runs, each below the last: no recursion, and guides of a bounded length."""
    runs = [run_line(0), *(run_line(number, number - 1) for number in range(1, 25_000))]
    lines = tree(runs, limit=1_000_000)
    assert len(lines) == 25_000
    assert max(len(line.last) for line in lines) == GUIDES
    assert lines[-1].depth == 24_999
    drawing = list(drawn(lines, totals(run_id(0), runs), marked=None, width=None))
    assert "(24999) " in drawing[-1].plain
    assert max(text.cell_len for text in drawing) < 150


# ---- the whole


def test_the_root_says_what_a_trace_cost() -> None:
    """Its tokens and cost hold everything below; only where it has none are the calls of models added up."""
    call: dict[str, Any] = {"run_type": "llm", "total_tokens": 5, "total_cost": Decimal("0.5")}
    runs = [
        run_line(0, total_tokens=30),
        run_line(1, 0, total_tokens=20),
        run_line(2, 1, **call),
        run_line(3, 1, **call),
    ]
    of = totals(run_id(0), runs)
    assert (of.tokens, of.cost) == (30, Decimal("1.0"))
    assert totals(run_id(0), runs[1:]).tokens == 10
    assert totals(run_id(0), [run_line(1)]).tokens is None


def test_a_trace_lasts_from_its_first_start_to_its_last_end() -> None:
    """Across midnight, too; runs without times are counted all the same."""
    of = totals(run_id(0), [run_line(0), run_line(1, 0, after_s=30), run_line(2, 0, start_time=None, end_time=None)])
    assert (of.start_time, of.end_time) == (BEGUN, BEGUN + timedelta(seconds=31))
    assert summary(of) == "2026-11-20 23:59:50 to 2026-11-21 00:00:21 UTC (31.0 s), 3 runs"


def test_a_summary_tells_what_is_wrong() -> None:
    """Errors and missing parents where there are any, tokens and cost where they are known, times where they are."""
    lone = run_line(7, 50, status="error", start_time=None, run_type="llm", total_tokens=1_234, total_cost=Decimal(2))
    assert summary(totals(run_id(0), [lone])) == "1 run, 1 error, 1 missing parent, 1,234 tokens, $2.0000"


def test_what_is_not_shown_is_told() -> None:
    """Runs beyond the limit, and those of a trace that is too large to be read whole."""
    assert _left_out(0, is_cut=False) == []
    assert _left_out(1, is_cut=True) == [
        "left out: 1 run (raise --limit)",
        "the trace has more than 100,000 runs; these are of its earliest",
    ]


# ---- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"), (0.0, "0 ms"), (0.0421, "42 ms"), (-0.5, "-500 ms"), (12.34, "12.3 s"), (59.94, "59.9 s"),
        (60, "1m 00s"), (3_599.2, "59m 59s"), (3_600, "1h 00m"), (90_061, "25h 01m"), (-90, "-90.0 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    """Milliseconds, seconds, minutes and hours, whichever is read best; clocks that ran backwards are not hidden."""
    assert took(seconds) == said


def test_tokens_cost_and_times() -> None:
    """What is unknown is a dash; a cost that is not nothing never looks like nothing."""
    assert [tokens(None), tokens(1_234_567)] == ["-", "1,234,567"]
    assert [cost(None), cost(Decimal(0)), cost(Decimal("0.00001")), cost(Decimal("1234.5"))] == [
        "-", "$0.0000", "<$0.0001", "$1,234.5000"
    ]  # fmt: skip
    assert [moment(None), moment(BEGUN)] == ["-", "2026-11-20 23:59:50"]


@given(st.none() | st.text())
def test_no_control_character_reaches_a_terminal(text: str | None) -> None:
    """Names and errors are foreign text: what could move a cursor or colour a screen is left out."""
    assert one_line(text).isprintable()
    assert len(one_line(text, 10)) <= 10


def test_a_text_is_cut_where_it_must_be() -> None:
    """Line ends and escapes become spaces, runs of them one; a cut shows."""
    assert one_line("a\x1b[2Jb\n\n c") == "a [2Jb c"
    assert one_line("hello world", 8) == "hello..."


# ---- the drawing


def test_a_tree_is_drawn() -> None:
    """Guides, names, and beside each run its type, status, duration, tokens and cost; an error below its run."""
    runs = [
        run_line(0, name="agent"),
        run_line(1, 0, name="ask", run_type="llm", total_tokens=1_500, total_cost=Decimal("0.25")),
        run_line(2, 0, name="look\x1b[31m up", status="error", error="TimeoutError:\nno answer"),
        run_line(3, 2, name=None, run_type=None, status=None, end_time=None),
        run_line(4, 90),
    ]
    assert shown(runs, marked=run_id(1)) == [
        "agent                                                 chain      success     1.0 s          -         -",
        "├─ > ask                                              llm        success     1.0 s      1,500   $0.2500",
        "└─ look [31m up                                       chain      error       1.0 s          -         -",
        "   │  TimeoutError: no answer",
        "   └─ (no name)                                       -          -               -          -         -",
        f"run {run_id(90)} is not here",
        "└─ run 4                                              chain      success     1.0 s          -         -",
    ]


def test_what_is_hidden_is_counted_beside_its_parent() -> None:
    """So that a cut tree does not look like a whole one."""
    runs = [run_line(0), *(run_line(number, 0) for number in range(1, 6))]
    assert shown(runs, limit=2)[0].startswith("run 0 (+4 below)")


def test_a_wide_terminal_has_bars() -> None:
    """Where in the trace's time each run was: without an end until that of the trace, without a start nowhere."""
    runs = [
        run_line(0, after_s=0, end_time=BEGUN + timedelta(seconds=10)),
        run_line(1, 0, after_s=5, end_time=None),
        run_line(2, 0, after_s=9.9, status="error", end_time=BEGUN + timedelta(seconds=10)),
        run_line(3, 0, start_time=None),
    ]
    bars = [line[75:] for line in shown(runs, width=120)]
    assert [line.count("━") for line in bars] == [28, 14, 1, 0]
    assert [line.find("━") for line in bars][:2] == [bars[0].find("━"), bars[0].find("━") + 13]
    assert "━" not in "".join(shown(runs, width=90))
    nowhen = [run_line(0, start_time=None, end_time=None)]
    assert "━" not in "".join(shown(nowhen, width=120))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long names and errors are cut with an ellipsis; below 75 columns names keep 24 and the terminal wraps."""
    runs = [run_line(0, name="n" * 200, error="e" * 500, status="error"), run_line(1, 0, name="ü漢字" * 60)]
    of = totals(run_id(0), runs)
    lines = list(drawn(tree(runs, limit=10), of, marked=None, width=width))
    assert max(text.cell_len for text in lines) <= max(width, 24 + 51)
    assert "…" in lines[1].plain
