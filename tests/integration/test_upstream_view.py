"""Looks at what LangSmith still has of a project-day that was fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from fetches import FASTER, NOW, PROJECT, Fetching
from langsmith_faults import ALWAYS, fails
from langsmith_limits import Tiers
from langsmith_runs import DAY, made_runs, started_on
from langsmith_server import serving
from langsmith_upstream import Upstream
from tracewatchd.archive.pack import Packing
from tracewatchd.archive.upstream_view import SHORTEST_RETENTION, UpstreamLook
from tracewatchd.model.certificate import Location, View
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.project_day import ProjectDay, folder_of
from zips import onward


@dataclass(frozen=True)
class Looking:
    """A day that was fetched, and the upstream that may change since."""

    fetching: Fetching

    @property
    def upstream(self) -> Upstream:
        """What LangSmith holds."""
        return self.fetching.server.upstream

    @property
    def ids(self) -> list[str]:
        """The day's runs in LangSmith."""
        return [run["id"] for run in self.upstream.runs(PROJECT) if started_on(run) == DAY]

    async def look(self, *, age: timedelta = timedelta(days=1)) -> View:
        """One look at it when the day is so old."""
        root = self.fetching.root
        packing = Packing(
            source="s", root=root, zip_dir=root.parent / "zips", max_file_bytes=1 << 22, tell=lambda _: None
        )
        files = packing.manifest(ProjectDay(folder_of(PROJECT), DAY), onward)
        async with self.fetching.langsmith() as langsmith:
            return await UpstreamLook(langsmith=langsmith, project=PROJECT, root=root, today=DAY + age)(files)


@pytest.fixture(params=["v1", "v2"])
async def looking(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Looking]:
    upstream = Upstream()
    upstream.add_runs(PROJECT, made_runs(160))
    with serving(upstream, request.param, tiers=Tiers().faster(FASTER), clock=lambda: NOW) as server:
        fetching = Fetching(tmp_path, server)
        await fetching.fetch()
        yield Looking(fetching)


async def test_what_was_fetched_agrees(looking: Looking) -> None:
    """All runs of the day, whichever API tells them."""
    assert await looking.look() == View(location=Location.LANGSMITH, state="agrees", runs=len(looking.ids))


async def test_runs_that_changed_or_came_since_are_differences(looking: Looking) -> None:
    """Another output of a run, a run without a file, and one that cannot become a file."""
    changed, spoiled, *_ = looking.ids
    looking.upstream.add_runs(PROJECT, [{**looking.upstream.run(changed), "outputs": {"answer": "another"}}])
    looking.upstream.spoil(spoiled, b'{"id": 1}')
    missing = looking.ids[-1]
    for path in looking.fetching.root.rglob(f"{missing}_*.json"):
        path.unlink()
    view = await looking.look()
    assert view.state == "differs"
    assert set(view.differences) == {
        f"{changed}: the file is of another state of the run",
        f"{missing}: no file",
        "a run that cannot become a file: its id is no UUID",
        f"{spoiled}: no longer in LangSmith",
    }


async def test_feedback_that_was_not_fetched_is_a_difference(looking: Looking) -> None:
    """A file that says so is no whole copy of a run with feedback."""
    one = next(run_id for run_id, state in _states(looking).items() if state == "fetched")
    (path,) = looking.fetching.root.rglob(f"{one}_*.json")
    path.write_bytes(path.read_bytes().replace(b'"feedback":"fetched"', b'"feedback":"not_fetched"'))
    assert list((await looking.look()).differences) == [f"{one}: its feedback was not fetched"]


def _states(looking: Looking) -> dict[str, str]:
    documents = looking.fetching.documents()
    return {run_id: document["metadata"]["feedback"] for run_id, document in documents.items()}


async def test_what_langsmith_deletes_when_it_is_old_is_no_disagreement(looking: Looking) -> None:
    """Some runs or all of them: no longer checkable from the shortest retention on, and a difference before."""
    some = looking.ids[:3]
    looking.upstream.forget(some)
    young, old = (
        await looking.look(age=SHORTEST_RETENTION - timedelta(days=1)),
        await looking.look(age=SHORTEST_RETENTION),
    )
    assert set(young.differences) == {f"{run_id}: no longer in LangSmith" for run_id in some}
    assert (old.state, old.detail) == ("no_longer_checkable", "LangSmith has 3 of the day's runs no more")
    count = len(looking.ids) + len(some)
    looking.upstream.forget(looking.ids)
    gone = await looking.look(age=SHORTEST_RETENTION)
    assert (gone.state, gone.runs) == ("no_longer_checkable", 0)
    assert gone.detail == f"LangSmith has {count} of the day's runs no more"


async def test_runs_that_have_not_ended_block(looking: Looking) -> None:
    """They are told as pending when nothing differs."""
    one = looking.ids[0]
    looking.upstream.add_runs(PROJECT, [{**looking.upstream.run(one), "end_time": None, "status": "pending"}])
    await looking.fetching.fetch()
    view = await looking.look()
    assert (view.state, view.detail) == ("pending", "1 runs have not ended")


async def test_a_refusal_is_an_error(looking: Looking) -> None:
    """It is for the caller to say that the place was not checked."""
    looking.fetching.server.inject(fails(403, "*/query", times=ALWAYS))
    with pytest.raises(PermanentError):
        await looking.look()
