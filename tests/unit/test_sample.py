"""Samples: shaped like real traces, repeatable, and right about what must become of each file."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracewatchd.model.decode import decode
from tracewatchd.model.hostile import HOSTILE
from tracewatchd.model.layout import RunPath, decode_path
from tracewatchd.model.record import Rejection
from tracewatchd.model.sample import FIRST_DAY, SampleFile, generate
from tracewatchd.model.stamp import Stamp

REFUSED_BY_THE_STORE = {"deep_20000"}
"""Kinds that decode: Postgres alone knows that it cannot hold them."""


@pytest.fixture(scope="module")
def sample() -> list[SampleFile]:
    return list(generate(5_000, seed=1))


@pytest.fixture(scope="module")
def documents(sample: list[SampleFile]) -> list[dict[str, Any]]:
    return [json.loads(file.body) for file in sample]


@pytest.fixture(scope="module")
def runs(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document.get("trace", document) for document in documents]


def _depth(value: object) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def test_sizes_follow_the_measured_distribution(sample: list[SampleFile]) -> None:
    """Each quantile of the file sizes lies within 10 % of the measured one, the mean within 5 %."""
    sizes = sorted(len(file.body) for file in sample)
    measured = {0.05: 2_200, 0.25: 3_000, 0.5: 14_800, 0.75: 31_900, 0.9: 67_000, 0.99: 124_000}
    for share, size in measured.items():
        assert sizes[int(share * len(sizes))] == pytest.approx(size, rel=0.1), share
    assert sizes[-1] <= 158_100
    assert statistics.mean(sizes) == pytest.approx(25_500, rel=0.05)


def test_text_and_nesting_are_as_in_real_runs(sample: list[SampleFile], documents: list[dict[str, Any]]) -> None:
    """Two thirds of the files hold non-ASCII text; half of them nest at most 6 levels deep, none more than 11."""
    assert sum(not file.body.isascii() for file in sample) / len(sample) == pytest.approx(0.67, abs=0.03)
    depths = [_depth(document) for document in documents[:1_000]]
    assert statistics.median(depths) == 6
    assert max(depths) == 11


def test_every_run_is_there_once_at_its_place(sample: list[SampleFile], runs: list[dict[str, Any]]) -> None:
    """Ids are unique, each path is a run file's path named by its run, in the folder of the day on which it starts."""
    assert len({run["id"] for run in runs}) == len(sample) == len({file.path for file in sample})
    for file, run in zip(sample, runs, strict=True):
        path = RunPath.parse(file.path)
        assert path is not None
        assert path.named_run_id == run["id"] == file.run_id
        start = datetime.strptime(run["dotted_order"][-58:-37], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        assert path.day == start.date()


def test_some_traces_cross_midnight(sample: list[SampleFile], runs: list[dict[str, Any]]) -> None:
    """One trace in ten has runs in two days' folders."""
    folders = {(run["trace_id"], file.path[:-48]) for file, run in zip(sample, runs, strict=True)}
    days = Counter(trace for trace, _ in folders)
    assert sum(count == 2 for count in days.values()) / len(days) == pytest.approx(0.1, abs=0.05)
    assert max(days.values()) == 2


def test_runs_form_trees(runs: list[dict[str, Any]]) -> None:
    """Id, parent, trace and dotted order tell one tree per trace, of 74 to 81 runs; parents come first."""
    known: dict[str, dict[str, Any]] = {}
    for run in runs:
        ids = [part[22:] for part in run["dotted_order"].split(".")]
        assert ids[-1] == run["id"]
        assert ids[0] == run["trace_id"]
        parent = run["parent_run_id"]
        assert (parent is None) == (run["id"] == run["trace_id"])
        assert parent == (ids[-2] if len(ids) > 1 else None)
        assert parent is None or known[parent]["dotted_order"] == run["dotted_order"].rpartition(".")[0]
        known[run["id"]] = run
    *whole, last = Counter(run["trace_id"] for run in runs).values()
    assert set(whole) <= set(range(74, 82))
    assert last <= 81


def test_what_real_traces_vary_in_varies(
    sample: list[SampleFile], documents: list[dict[str, Any]], runs: list[dict[str, Any]]
) -> None:
    """All shapes, projects, days, run types, statuses, forms of time, cost types and feedback are in a sample."""
    shapes = Counter((d.get("metadata") or {}).get("enhanced_feedback", "trace" in d) for d in documents)
    assert set(shapes) == {True, False}
    assert sum("trace" not in document for document in documents) > 300
    assert {file.path.split("/")[0] for file in sample} == {"support-bot", "deep-research", "eval.nightly"}
    assert {d["metadata"]["project_name"] for d in documents if "metadata" in d} >= {"Deep Research"}
    assert len({file.path.split("/")[1] for file in sample}) >= 7
    assert {run["run_type"] for run in runs} == {"tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"}
    assert {run["status"] for run in runs} == {"success", "error", "pending"}
    assert {type(run["total_cost"]) for run in runs} == {str, float, type(None)}
    assert {(len(str(run["start_time"])), "T" in str(run["start_time"])) for run in runs} >= {
        (32, False), (26, False), (26, True), (27, True), (25, False), (13, False)
    }  # fmt: skip
    assert any(run.get("feedback_records") for run in runs)


def test_days_follow_the_given_first_day() -> None:
    """Traces begin on the given days and no other; a run that starts after midnight lies in the next day's folder."""
    first = date(2025, 2, 27)
    days = {file.path.split("/")[1] for file in generate(1_000, seed=3, first_day=first, days=3)}
    begun = {str(first + timedelta(days=day)) for day in range(3)}
    assert begun <= days <= {*begun, str(first + timedelta(days=3))}
    assert next(generate(1, seed=3)).path.split("/")[1] == str(FIRST_DAY)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**64), hostile=st.sampled_from([0.0, 0.1, 1.0]))
def test_equal_seeds_give_equal_files(seed: int, hostile: float) -> None:
    """The same arguments give the same files, byte for byte; another seed gives others."""
    files = list(generate(50, seed, hostile))
    assert list(generate(50, seed, hostile)) == files
    assert {file.run_id for file in generate(50, seed + 1)}.isdisjoint({file.run_id for file in files})


def test_a_longer_sample_begins_with_the_shorter_one() -> None:
    """The number of runs only says where a sample ends."""
    assert list(generate(200, seed=5))[:90] == list(generate(90, seed=5))


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.05, 10), (0.5, 100), (1.0, 200)])
def test_the_share_of_hostile_files_is_exact(share: float, count: int) -> None:
    """So many files are bad input as were asked for, the others are as they are in a clean sample."""
    clean, spoiled = list(generate(200, seed=7)), list(generate(200, seed=7, hostile=share))
    assert sum(file.kind != "clean" for file in spoiled) == count
    assert all(a == b for a, b in zip(clean, spoiled, strict=True) if b.kind == "clean")


def test_each_kind_takes_its_turn() -> None:
    """As many hostile files as there are kinds hold each kind once, under names that differ."""
    files = list(generate(29, seed=9, hostile=1.0))
    assert [file.kind for file in files] == [kind.kind for kind in HOSTILE]
    assert len({file.path for file in files}) == 29
    assert all(RunPath.parse(file.path) for file in files)
    names = {file.kind: decode_path(file.path).rpartition(b"/")[2] for file in files}
    assert len(names["name_of_250_bytes"]) == 250
    assert names["name_not_utf8"].endswith(b"\xff.json")


def _state(file: SampleFile) -> Literal["loaded", "sanitized", "quarantined"]:
    path = RunPath.parse(file.path)
    assert path is not None
    result = decode(file.body, path, Stamp(len(file.body), 1, 1))
    if isinstance(result, Rejection):
        return "quarantined"
    assert str(result.run_id) == file.run_id
    return "sanitized" if result.sanitized else "loaded"


def test_decoding_agrees_with_what_a_sample_expects() -> None:
    """Each file, clean or hostile, decodes to the state that the sample says it must end in."""
    files = [file for file in generate(600, seed=11, hostile=0.5) if file.kind not in REFUSED_BY_THE_STORE]
    wrong = [(file.kind, file.expected, state) for file in files if (state := _state(file)) != file.expected]
    assert wrong == []
