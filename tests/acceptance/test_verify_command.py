"""``archive verify`` and what it shares with ``reconcile``: each kind found, shown, repaired and undone by command."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from damage import DAMAGES, UNLOADED, World, digest, victim
from one_shot import Desk
from postgres import run_now
from run_files import put

VERIFY = ("archive", "verify", "--project", "bot", "--date", "2026-11-20")
LOADED = range(1, 5)
HURT = victim(2)


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    """Four runs of one project-day that are loaded."""
    desk = Desk(tmp_path, database, {"TRACEWATCHD_WATCH__STAMP_GRAIN_S": "0"})
    for number in LOADED:
        put(desk.root, victim(number).path, victim(number).body())
    assert desk.run("archive", "to-db", "--all").returncode == 0
    return desk


def state(desk: Desk) -> Any:
    """One number for everything in ``runs``, and one for the ledger."""

    async def ask() -> Any:
        connection = await asyncpg.connect(desk.database)
        try:
            return await digest(connection)
        finally:
            await connection.close()

    return run_now(ask())


def hurt(desk: Desk, name: str, number: int = HURT.number) -> None:
    """Do damage to one run."""

    async def work() -> None:
        connection = await asyncpg.connect(desk.database)
        try:
            await DAMAGES[name](World(desk.root, connection, Random(number)), victim(number))
        finally:
            await connection.close()

    run_now(work())


def damaged(desk: Desk, name: str) -> None:
    """Damage that `docs/damage.md` names, or rows that older rules made."""
    if name == "older rules":
        # There are no older rules than the first ones yet.
        desk.rows("ALTER TABLE runs DROP CONSTRAINT runs_rules_are_positive")
        desk.rows("UPDATE runs SET rules = 0 RETURNING 1")
    else:
        hurt(desk, name, 9 if name in UNLOADED else HURT.number)


# ---- what it finds


def test_a_project_day_that_agrees(desk: Desk) -> None:
    """Exit 0, every file counted as loaded, by reading each of them; nothing is written to either table."""
    before = desk.written()
    told = desk.json(*VERIFY)
    assert (told["verdict"], told["depth"], told["states"]) == ("consistent", "full", {"loaded": 4})
    assert [(day["directory"], day["verdict"]) for day in told["days"]] == [("bot/2026-11-20", "consistent")]
    assert desk.json(*VERIFY, "--deep")["depth"] == "deep"
    assert desk.written() == before


def test_other_days_are_left_alone(desk: Desk) -> None:
    """Damage elsewhere is no matter of this project-day."""
    put(desk.root, HURT.path.replace("2026-11-20", "2026-11-21"), victim(8).body())
    assert desk.json(*VERIFY)["files"] == 4


@pytest.mark.parametrize(
    ("damage", "fix", "kind", "status"),
    [
        ("add", "missing", "missing", 1),
        ("edit", "stale", "stale", 1),
        ("delete_row", "orphan", "orphan", 1),
        ("edit_unseen", "altered", "altered", 1),
        ("change_data", "mismatch", "mismatch", 1),
        ("delete", "gone", "gone", 0),
        ("delete", "gone-rows", "gone", 0),
        ("delete_file_and_row", "gone-rows", "lost", 1),
        ("older rules", "outdated", "outdated", 0),
    ],
)
def test_each_kind_is_shown_foreseen_fixed_and_undone(
    desk: Desk, damage: str, fix: str, kind: str, status: int
) -> None:
    """Without --fix it is told, --dry-run counts it, --fix puts it right, and a rollback puts everything back."""
    damaged(desk, damage)
    before, count = state(desk), 4 if kind == "outdated" else 1
    deep = [*VERIFY, "--deep", "--json", "--fix", fix]
    foreseen = desk.run(*deep, "--dry-run")
    told = json.loads(foreseen.stdout)
    assert (foreseen.returncode, told["counts"], told["fixed"]) == (status, {kind: count}, {kind: count})
    assert (told["dry_run"], told["repair_id"]) == (True, None)
    assert state(desk) == before
    told = json.loads(desk.run(*deep, "--yes").stdout)
    assert (told["verdict"], told["counts"], told["fixed"]) == ("consistent", {}, {kind: count})
    assert desk.json(*VERIFY, "--deep")["counts"] == {}
    undone = desk.run("archive", "fixes", "rollback", "--repair-id", told["repair_id"], "--yes")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert state(desk) == before


def test_nothing_is_repaired_unless_it_is_named(desk: Desk) -> None:
    """It looks and exits 1; --fix-missing loads what is missing and nothing else."""
    hurt(desk, "add", 9)
    hurt(desk, "edit")
    before = desk.written()
    assert desk.json(*VERIFY, status=1)["counts"] == {"missing": 1, "stale": 1}
    assert desk.written() == before
    told = desk.json(*VERIFY, "--fix-missing", status=1)
    assert (told["counts"], told["fixed"]) == ({"stale": 1}, {"missing": 1})


def test_what_was_rolled_back_is_held(desk: Desk) -> None:
    """It is reported as held and not repaired again, until it is released."""
    hurt(desk, "change_data")
    told = desk.json(*VERIFY, "--deep", "--fix", "mismatch", "--yes")
    undo = ("archive", "fixes", "rollback", "--repair-id", told["repair_id"], "--yes")
    assert desk.run(*undo).returncode == 0
    told = desk.json(*VERIFY, "--deep", "--fix", "mismatch", "--yes", status=1)
    assert [(one["kind"], one["held"]) for one in told["findings"]] == [("mismatch", True)]
    assert "held" in desk.run(*VERIFY, "--deep").stdout


def test_detailed_says_where_a_run_differs(desk: Desk) -> None:
    """JSON pointers with both values, in the object and for people; the sweep is deep without being told."""
    desk.rows(
        "UPDATE runs SET data = jsonb_set(data, '{outputs,scores,1}', '2.51'), status = 'error'"
        " WHERE total_tokens = 2 RETURNING 1"
    )
    told = desk.json(*VERIFY, "--detailed", status=1)
    (finding,) = told["findings"]
    assert {one["pointer"]: (one["in_file"], one["in_row"]) for one in finding["differences"]} == {
        "/columns/status": ('"success"', '"error"'),
        "/data/outputs/scores/1": ("2.5", "2.51"),
    }
    lines = desk.run(*VERIFY, "--detailed").stdout
    assert "      /data/outputs/scores/1: in the file 2.5, in the row 2.51" in lines


def test_gone_files_are_written_where_they_are_wanted(desk: Desk) -> None:
    """--out takes them instead of a root that may not be written to; the root stays as it is, and they stay gone."""
    hurt(desk, "delete")
    out = desk.directory / "restored"
    told = desk.json(*VERIFY, "--fix", "gone", "--out", str(out))
    assert json.loads((out / HURT.path).read_bytes())["trace"]["id"] == str(HURT.run_id)
    assert not (desk.root / HURT.path).exists()
    assert told["counts"] == {"gone": 1}


# ---- what is refused


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("archive", "verify"), "name one project-day"),
        (("archive", "verify", "--project", "bot"), "--date"),
        (("archive", "verify", "--project", "bott", "--date", "2026-11-20"), "there are: bot"),
        ((*VERIFY, "--fix", "gone", "--fix", "gone-rows", "--yes"), "say one"),
        ((*VERIFY, "--fix", "everything"), "missing"),
        ((*VERIFY, "--fix", "outdated"), "only a deep sweep finds what is outdated; this one is full"),
        ((*VERIFY, "--fix", "altered"), "--yes"),
        ((*VERIFY, "--out", "x"), "there is no --fix gone"),
        ((*VERIFY, "--report", "x.pdf"), ".html"),
        (("reconcile", "--once", "--fix", "stale", "--no-repair"), "contradicts --no-repair"),
        (("reconcile", "--once", "--fix", "altered", "--yes"), "only a full or deep sweep"),
        (("reconcile", "--once", "--fix", "gone-rows"), "--yes"),
        (("reconcile", "--once", "--depth", "deeper"), "deep"),
        (("reconcile", "--once", "--depth", "full", "--detailed"), "only a deep sweep knows"),
        (("reconcile", "--once", "--accept-gone", "/elsewhere"), "neither a root nor"),
        (("reconcile", "--once", "--accept-gone", "../traces2"), "neither a root nor"),
        (("reconcile", "--once", "--accept-gone", "bot/2026-13-20"), "neither a root nor"),
        (("reconcile", "--once", "--accept-gone", ""), "neither a root nor"),
    ],
)
def test_wrong_usage(desk: Desk, command: tuple[str, ...], said: str) -> None:
    """Exit 2 with what is wrong; nothing is swept or written."""
    hurt(desk, "delete_row")
    before = desk.written()
    result = desk.run(*command)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())
    assert desk.written() == before


@pytest.mark.parametrize("option", ["--combined", "--accept-gone"])
def test_paths_of_several_roots(desk: Desk, option: str) -> None:
    """What would be of any of them needs --source."""
    (desk.directory / "other").mkdir()
    settings = {"TRACEWATCHD_WATCH__ROOTS": f"{desk.root}:{desk.directory / 'other'}"}
    result = desk.run("reconcile", "--once", option, "bot", **settings)
    assert result.returncode == 2
    assert "--source" in result.stderr
    named = desk.run("reconcile", "--once", option, "bot", "--source", str(desk.root), **settings)
    assert named.returncode == 0, named.stderr


# ---- exit statuses


@pytest.mark.parametrize(
    ("damage", "options", "settings", "status"),
    [
        ("", (), {}, 0),
        ("delete", (), {}, 0),
        ("delete", ("--strict",), {}, 1),
        ("older rules", ("--deep", "--strict"), {}, 0),
        ("edit", (), {}, 1),
        ("edit", ("--fix", "stale"), {}, 0),
        ("edit", ("--fix", "stale", "--dry-run"), {}, 1),
        ("", ("--nonsense",), {}, 2),
        ("", (), {"TRACEWATCHD_DATABASE__URL": "postgresql://nobody@127.0.0.1:1/none"}, 3),
        ("", (), {"TRACEWATCHD_WATCH__ROOTS": "not-mounted"}, 3),
        ("", ("--report", "no-such-directory/x.html"), {}, 3),
        ("edit", ("--report", "no-such-directory/x.html"), {}, 1),
        ("", (), {"TRACEWATCHD_SWEEP__PAGE_ROWS": "none"}, 78),
    ],
)
def test_exit_statuses(
    desk: Desk, damage: str, options: tuple[str, ...], settings: dict[str, str], status: int
) -> None:
    """State after repair; warnings with --strict; could not check and could not write are told from agreement."""
    if damage:
        damaged(desk, damage)
    assert desk.run(*VERIFY, *options, **settings).returncode == status


def test_a_database_that_is_away_is_not_checked(desk: Desk) -> None:
    """The object, the report and the exit status all say so; nothing says that it agrees."""
    away = "postgresql://nobody@127.0.0.1:1/none"
    result = desk.run(*VERIFY, "--json", "--report", "it.json", TRACEWATCHD_DATABASE__URL=away)
    assert result.returncode == 3
    assert json.loads(result.stdout)["verdict"] == "not_checked"
    assert json.loads((desk.directory / "it.json").read_text())["verdict"] == "not_checked"
    assert "cannot be reached" in result.stderr
    assert "Traceback" not in result.stderr


def test_reports_that_cannot_be_written(desk: Desk) -> None:
    """It is said on standard error; the verdict and the other reports are there all the same."""
    hurt(desk, "edit")
    result = desk.run(*VERIFY, "--report", "no-such-directory/x.csv", "--report", "good.md", "--json")
    assert (result.returncode, json.loads(result.stdout)["verdict"]) == (1, "inconsistent")
    assert "error: no-such-directory: cannot write x.csv" in result.stderr
    assert "nconsistent" in (desk.directory / "good.md").read_text()


def test_nobody_is_asked_where_there_is_no_terminal(desk: Desk) -> None:
    """A destructive fix needs --yes; a dry run of it does not."""
    hurt(desk, "edit_unseen")
    result = desk.run(*VERIFY, "--fix", "altered")
    assert (result.returncode, result.stdout) == (2, "")
    assert "say --yes" in result.stderr
    assert desk.json(*VERIFY, "--fix", "altered", "--dry-run", status=1)["fixed"] == {"altered": 1}
