"""Runs to fill an `Upstream` with: generated ones, the SDK's own, and one trace that is far too large."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from langsmith_forms import Run
from langsmith_upstream import Upstream
from tracewatchd.model.layout import RunPath
from tracewatchd.model.sample import generate

DAY = date(2026, 11, 20)
SDK_ARCHIVE = Path(__file__).parent / "data" / "sdk-runs.tar.gz"
SDK_PROJECTS = {"support-bot": "support-bot", "deepresearch": "deep research", "eval.nightly": "eval.nightly"}
"""The folders of the SDK's archive, and the projects that were written into them."""


def made_runs(
    count: int,
    seed: int = 1,
    day: date = DAY,
    *,
    feedback_share: float = 1 / 3,
    slim: bool = False,
    pending: int = 0,
) -> list[Run]:
    """So many runs whose traces begin on a UTC day, in the form of files, as one production application writes them.

    One trace of ten begins ten seconds before midnight, so that its later runs start on the next day (`started_on`).

    Args:
        count: Runs in all.
        seed: Equal seeds give equal runs; other seeds give other ids.
        day: The day on which the traces begin.
        feedback_share: Share of the runs that have feedback, as ``feedback_records``; `Upstream.add_runs` takes it.
        slim: Without the messages, about 2 kB a run instead of 25.
        pending: So many of the runs, from the last, have not ended.
    """
    return list(each_run(count, seed, day, feedback_share=feedback_share, slim=slim, pending=pending))


def each_run(
    count: int,
    seed: int = 1,
    day: date = DAY,
    *,
    feedback_share: float = 1 / 3,
    slim: bool = False,
    pending: int = 0,
) -> Iterator[Run]:
    """The runs of `made_runs` one by one, for numbers of them that are not to lie in memory twice."""
    rng = Random(seed)
    for number, file in enumerate(generate(count, seed, first_day=day, days=1)):
        run = _made(file.body, slim=slim)
        if int((number + 1) * feedback_share) > int(number * feedback_share):
            run["feedback_records"] = list(_feedback(rng, run))
        if number >= count - pending:
            run.update(end_time=None, status="pending", outputs=None)
        yield run


def started_on(run: Run) -> date:
    """The UTC day on which a run started, by its dotted_order."""
    return date.fromisoformat(run["dotted_order"].rpartition(".")[2][:8])


def _made(body: bytes, *, slim: bool) -> Run:
    run = _slim(body) if slim else _bare(msgspec.json.decode(body))
    run.pop("feedback_records", None)
    written = run["dotted_order"].rpartition(".")[2][:22]
    run["start_time"] = datetime.strptime(f"{written}+0000", "%Y%m%dT%H%M%S%fZ%z").isoformat(" ", "microseconds")
    run["feedback_stats"] = None
    if run["status"] == "pending":
        run.update(status="success", end_time=run["start_time"], outputs={"output": ""})
    return run


def _bare(document: Run) -> Run:
    run: Run = document.get("trace", document)
    return run


def _slim(body: bytes) -> Run:
    """The run of a file without its messages, which are not even read: they are nearly all of it."""
    members = dict[str, msgspec.Raw]
    document = msgspec.json.decode(body, type=members)
    run = msgspec.json.decode(document["trace"], type=members) if "trace" in document else document
    inputs = msgspec.json.decode(run.pop("inputs"), type=members)
    rest = {name: msgspec.json.decode(value) for name, value in run.items()}
    return rest | {"inputs": {"input": msgspec.json.decode(inputs["input"])}}


def _feedback(rng: Random, run: Run) -> Iterator[dict[str, Any]]:
    for key in rng.sample(("user_score", "correctness", "tone"), rng.randint(1, 2)):
        named = {"key": key, "id": str(UUID(int=rng.getrandbits(128), version=4)), "run_id": run["id"]}
        yield named | ({"value": rng.choice(("warm", "cold"))} if key == "tone" else {"score": rng.choice((0, 1))})


def big_trace(count: int, seed: int = 7, day: date = DAY) -> list[Run]:
    """One trace of so many small runs: a root and its children, a millisecond apart."""
    rng = Random(seed)
    begin = datetime.combine(day, time(1), UTC)
    root = _small(rng, begin, None)
    return [root, *(_small(rng, begin + timedelta(milliseconds=number), root) for number in range(1, count))]


def _small(rng: Random, start: datetime, root: Run | None) -> Run:
    run_id = str(UUID(int=rng.getrandbits(128), version=4))
    part = f"{start:%Y%m%dT%H%M%S%f}Z{run_id}"
    return {
        "id": run_id,
        "trace_id": root["id"] if root else run_id,
        "dotted_order": f"{root['dotted_order']}.{part}" if root else part,
        "name": "step" if root else "agent",
        "run_type": "tool" if root else "chain",
        "status": "success",
        "start_time": start.isoformat(),
        "end_time": (start + timedelta(milliseconds=1)).isoformat(),
        "inputs": {},
        "outputs": {},
    }


def sdk_upstream() -> Upstream:
    """An `Upstream` with the 798 runs of the SDK's archive in their three projects, and the feedback in their files."""
    upstream = Upstream()
    with tarfile.open(SDK_ARCHIVE) as archive:
        for member in archive:
            content = archive.extractfile(member)
            path = RunPath.parse(member.name.removeprefix("data/"))
            if content is not None and path is not None:
                document = msgspec.json.decode(content.read())
                upstream.add_runs(SDK_PROJECTS[path.project], [document.get("trace", document)])
    return upstream
