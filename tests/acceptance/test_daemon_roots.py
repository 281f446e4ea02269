"""The installed daemon and its roots: several, missing, replaced, read-only, and shared with nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from daemons import daemon, ended, query, rows_reach, settled, stopped
from run_files import DIRECTORY, put, run_body, run_path
from running import environment, eventually


@pytest.fixture
def env(database: str) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database, TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="3600")


def test_two_roots_of_which_one_is_missing(tmp_path: Path, env: dict[str, str], database: str) -> None:
    """The daemon is ready, the root that is there is watched, and the other is taken up when it appears."""
    there, missing = tmp_path / "there", tmp_path / "missing"
    put(there, run_path(1), run_body(1))
    with daemon(there, missing, env=env) as found:
        ready = found.wait_for("daemon.ready")
        assert ready["roots"] == [str(there), str(missing)]
        told = found.wait_for("root.missing")
        assert (told["source"], told["level"]) == (str(missing), "error")
        rows_reach(database, 1)
        put(tmp_path / "prepared", run_path(2), run_body(2))
        (tmp_path / "prepared").rename(missing)
        assert found.wait_for("root.returned")["source"] == str(missing)
        rows_reach(database, 2)
        put(missing, run_path(3), run_body(3))
        put(there, run_path(4), run_body(4))
        rows_reach(database, 4)
        assert found.stop() == 0
        assert len(found.named("root.missing")) == 1
        assert stopped(found)["left_files"] == 0
    ledger = "SELECT array_agg(source || ' ' || files ORDER BY source) FROM (SELECT source, count(*) AS files"
    assert query(database, f"{ledger} FROM ledger GROUP BY source) AS by_source") == [f"{missing} 2", f"{there} 2"]


def test_a_replaced_root_is_told_and_swept(tmp_path: Path, env: dict[str, str], database: str) -> None:
    """A root that is another directory now (mounted anew, restored) is swept from the start and followed."""
    root = tmp_path / "root"
    put(root, run_path(1), run_body(1))
    put(tmp_path / "restored", run_path(1), run_body(1))
    put(tmp_path / "restored", run_path(2), run_body(2))
    with daemon(root, env=env) as found:
        settled(found)
        root.rename(tmp_path / "away")
        (tmp_path / "restored").rename(root)
        rows_reach(database, 2)
        eventually(lambda: found.named("root.replaced") or found.named("root.returned"), why=found.tail)
        found.wait_for("watch.started", count=2)
        put(root, run_path(3), run_body(3))
        rows_reach(database, 3)
        assert found.stop() == 0
        assert not any("gone" in event["findings"] for event in found.named("sweep.finished"))


def test_a_root_that_vanishes_for_a_while_is_not_all_gone(tmp_path: Path, env: dict[str, str], database: str) -> None:
    """While the root is away sweeps say that they could not check; none of its files is called gone."""
    root = tmp_path / "root"
    for number in range(1, 4):
        put(root, run_path(number), run_body(number))
    often = env | {"TRACEWATCHD_WATCH__SWEEP_INTERVAL_S": "1", "TRACEWATCHD_SWEEP__CONFIRM_S": "0"}
    with daemon(root, env=often) as found:
        settled(found)
        root.rename(tmp_path / "away")
        found.wait_for("root.missing")
        eventually(
            lambda: [event for event in found.named("sweep.finished") if event["verdict"] == "not_checked"],
            why=found.tail,
        )
        (tmp_path / "away").rename(root)
        found.wait_for("root.returned")
        put(root, run_path(4), run_body(4))
        rows_reach(database, 4)
        assert found.stop() == 0
        assert found.named("finding.confirmed") == []
        assert found.named("sweep.finished")[-1]["states"] == {"loaded": 4}


def test_findings_of_the_daemon_are_told_once(tmp_path: Path, env: dict[str, str], database: str) -> None:
    """A removed day is one event for each of its files, however many sweeps find them gone."""
    root = tmp_path / "root"
    put(root, run_path(1), run_body(1))
    put(root, run_path(2), run_body(2))
    put(root, "bot/2026-11-21/a.json", run_body(3))
    often = env | {"TRACEWATCHD_WATCH__SWEEP_INTERVAL_S": "1", "TRACEWATCHD_SWEEP__CONFIRM_S": "0"}
    with daemon(root, env=often) as found:
        settled(found)
        shutil.rmtree(root / DIRECTORY)
        found.wait_for("finding.confirmed", count=2)
        swept = len(found.named("sweep.finished"))
        found.wait_for("sweep.finished", count=swept + 2)
        assert found.stop() == 0
        told = found.named("finding.confirmed")
        assert [(event["kind"], event["path"]) for event in told] == [("gone", run_path(1)), ("gone", run_path(2))]
        assert sum(event["findings"].get("gone", 0) for event in found.named("sweep.finished")) == 2
    assert query(database, "SELECT count(*) FROM runs") == 3


def test_a_name_that_is_not_utf8_costs_one_restart_of_the_watch(
    tmp_path: Path, env: dict[str, str], database: str
) -> None:
    """The file with the odd name is loaded, the daemon goes on, and what comes after it is loaded by hints."""
    root = tmp_path / "root"
    put(root, run_path(1), run_body(1))
    with daemon(root, env=env) as found:
        settled(found)
        odd = put(root, run_path(2), run_body(2))
        odd.rename(odd.with_name("\udcff.json"))
        found.wait_for("watch.restarted")
        found.wait_for("watch.started", count=2)
        put(root, run_path(3), run_body(3))
        rows_reach(database, 3)
        assert found.stop() == 0
        assert stopped(found)["exit_code"] == 0
    assert query(database, "SELECT count(*) FROM ledger WHERE path LIKE '%/\\%FF.json'") == 1


def test_a_root_of_another_name_that_overlaps_a_known_one_is_refused(
    tmp_path: Path, env: dict[str, str], database: str
) -> None:
    """A tree that a source stands for already is not loaded a second time under another name."""
    root = tmp_path / "root"
    put(root, run_path(1), run_body(1))
    with daemon(root, env=env) as found:
        settled(found)
        assert found.stop() == 0
    with daemon(root / "bot", env=env) as found:
        assert ended(found) == 70
        last = stopped(found)
        assert "overlaps" in last["cause"]
        assert last["hint"]


def test_a_source_keeps_its_name_wherever_its_root_is_named(tmp_path: Path, env: dict[str, str], database: str) -> None:
    """Roots with sources of their own are known by these in events and in the ledger."""
    root = tmp_path / "root"
    put(root, run_path(1), run_body(1))
    roots = json.dumps([{"path": str(root), "source": "archive"}])
    with daemon(env=env | {"TRACEWATCHD_WATCH__ROOTS": roots}) as found:
        settled(found)
        rows_reach(database, 1)
        assert found.stop() == 0
        assert {event["source"] for event in found.events if "source" in event} == {"archive"}
    assert query(database, "SELECT source FROM ledger") == "archive"
