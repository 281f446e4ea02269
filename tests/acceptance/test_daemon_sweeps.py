"""The installed daemon sweeps by itself: quick, full and deep; it tells once and repairs what it may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import asyncpg
import pytest

from daemons import daemon, query, rows_reach
from damage import DAMAGES, World, victim
from postgres import run_now
from run_files import put
from running import Running, environment, eventually

LOADED = range(1, 5)
ROLLING = {
    "TRACEWATCHD_WATCH__SWEEP_INTERVAL_S": "1",
    "TRACEWATCHD_WATCH__STAMP_GRAIN_S": "0",
    "TRACEWATCHD_SWEEP__FULL_INTERVAL_S": "0.2",
    "TRACEWATCHD_SWEEP__DEEP_INTERVAL_S": "0.3",
    "TRACEWATCHD_SWEEP__CONFIRM_S": "0",
    "TRACEWATCHD_SWEEP__GRACE_S": "0",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "traces"
    for number in LOADED:
        put(root, victim(number).path, victim(number).body())
    return root


@pytest.fixture
def hurt(root: Path, database: str) -> Callable[[str], None]:
    """Damages the second run."""

    async def work(name: str) -> None:
        connection = await asyncpg.connect(database)
        try:
            await DAMAGES[name](World(root, connection, Random(1)), victim(2))
        finally:
            await connection.close()

    return lambda name: run_now(work(name))


def settings(database: str, **more: str) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database, **ROLLING, **more)


def swept(found: Running, depth: str, count: int) -> None:
    """Wait until so many sweeps of this depth are over, from now on."""

    def over() -> int:
        return sum(event["depth"] == depth for event in found.named("sweep.finished"))

    wanted = over() + count
    eventually(lambda: over() >= wanted, why=found.tail)


def told(found: Running) -> list[tuple[str, str]]:
    """The findings that it told, and how bad they are."""
    return [(event["kind"], event["severity"]) for event in found.named("finding.confirmed")]


def test_every_depth_is_swept_and_healthy_files_are_left_alone(root: Path, database: str) -> None:
    """Each depth ends with one line that says so; the project-day is noted as verified at each depth."""
    with daemon(root, env=settings(database)) as found:
        rows_reach(database, 4)
        written = query(database, "SELECT array_agg(xmin::text ORDER BY run_id) FROM runs")
        for depth in ("quick", "full", "deep"):
            swept(found, depth, 2)
        assert query(database, "SELECT array_agg(xmin::text ORDER BY run_id) FROM runs") == written
        last = [event for event in found.named("sweep.finished") if event["depth"] == "deep"][-1]
        assert (last["verdict"], last["states"], last["days"]) == ("consistent", {"loaded": 4}, 1)
        depths = "SELECT string_agg(depth, ' ' ORDER BY depth) FROM project_days WHERE verdict = 'consistent'"
        assert query(database, depths) == "deep full quick"
        assert told(found) == []
        assert found.stop() == 0


@pytest.mark.parametrize(("damage", "kind"), [("edit_unseen", "altered"), ("change_data", "mismatch")])
def test_what_only_deeper_sweeps_see_is_told_once(
    root: Path, database: str, hurt: Callable[[str], None], damage: str, kind: str
) -> None:
    """However many sweeps of every depth come after it; and nothing is repaired that was not asked for."""
    with daemon(root, env=settings(database)) as found:
        rows_reach(database, 4)
        hurt(damage)
        found.wait_for("finding.confirmed")
        for depth in ("quick", "full", "deep"):
            swept(found, depth, 2)
        assert [one for one, _ in told(found)] == [kind]
        assert found.named("fix.applied") == []
        assert found.stop() == 0


def test_a_setting_adds_to_what_it_repairs(root: Path, database: str, hurt: Callable[[str], None]) -> None:
    """A row that was changed by hand is put right, which one event and the sweep's own line tell."""
    repairs = "missing,stale,mismatch"
    with daemon(root, env=settings(database, TRACEWATCHD_SWEEP__REPAIRS=repairs)) as found:
        rows_reach(database, 4)
        before = query(database, "SELECT data::text FROM runs WHERE total_tokens = 2")
        hurt("change_data")
        applied = found.wait_for("fix.applied")
        assert (applied["kind"], applied["files"]) == ("mismatch", 1)
        assert query(database, "SELECT data::text FROM runs WHERE total_tokens = 2") == before
        eventually(lambda: [one for one in found.named("sweep.finished") if one["fixed"] == {"mismatch": 1}])
        assert told(found) == []
        assert found.stop() == 0


@pytest.mark.parametrize(("repairs", "findings"), [("missing,stale", 1), ("missing,stale,orphan", 0)])
def test_a_row_that_was_removed(
    root: Path, database: str, hurt: Callable[[str], None], repairs: str, findings: int
) -> None:
    """It is told and left, unless the setting says that orphans are loaded again: then the journal knows of it."""
    with daemon(root, env=settings(database, TRACEWATCHD_SWEEP__REPAIRS=repairs)) as found:
        rows_reach(database, 4)
        hurt("delete_row")
        if findings:
            found.wait_for("finding.confirmed")
        else:
            rows_reach(database, 4)
        swept(found, "quick", 2)
        assert told(found) == [("orphan", "critical")] * findings
        assert query(database, "SELECT count(*) FROM runs") == 4 - findings
        assert query(database, "SELECT string_agg(kind, ' ') FROM fixes") == (None if findings else "orphan")
        assert found.stop() == 0


def test_an_emptied_root_is_told_once_and_nothing_in_it_is_gone(root: Path, database: str, tmp_path: Path) -> None:
    """One event says why nothing was checked, however often and deeply it is swept."""
    with daemon(root, env=settings(database)) as found:
        rows_reach(database, 4)
        swept(found, "quick", 1)
        (root / "bot").rename(tmp_path / "away")
        event = found.wait_for("sweep.incomplete")
        assert event["reasons"] == [f"{root}: empty, but the ledger knows files in it"]
        for depth in ("quick", "full", "deep"):
            swept(found, depth, 2)
        assert len(found.named("sweep.incomplete")) == 1
        assert told(found) == []
        (tmp_path / "away").rename(root / "bot")
        eventually(lambda: found.named("sweep.finished")[-1]["verdict"] == "consistent", why=found.tail)
        assert found.stop() == 0
    assert query(database, "SELECT count(*) FROM gone") == 0


def test_a_sweep_can_be_switched_off(root: Path, database: str) -> None:
    """An interval of zero is never; quick sweeps go on."""
    never = {"TRACEWATCHD_SWEEP__FULL_INTERVAL_S": "0", "TRACEWATCHD_SWEEP__DEEP_INTERVAL_S": "0"}
    with daemon(root, env=settings(database) | never) as found:
        swept(found, "quick", 3)
        assert {event["depth"] for event in found.named("sweep.finished")} == {"quick"}
        assert found.stop() == 0
