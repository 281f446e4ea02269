"""``archive fixes``: what repairs replaced, putting it back, and letting go of it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from damage import digest
from one_shot import Desk, body
from postgres import run_now
from repairs import finding, workshop
from run_files import run_id, run_path
from running import COMMAND, PATIENCE_S, command
from stores import plainly
from tracewatchd.model.findings import Kind
from tracewatchd.model.fixes import FixKind

NOBODY = "00000000-0000-4000-8000-00000000dead"
HURT = "UPDATE runs SET extracted_at = '2099-01-01', data = data || '{\"text\": \"hurt\"}', file_sha256 = sha256('x')"


class Bench(Desk):
    """A desk whose three runs were hurt and repaired."""

    before: Any = None
    repair_id = UUID(int=7)

    def digest(self) -> Any:
        """Everything in runs and ledger."""

        async def ask() -> Any:
            async with plainly(self.database) as plain:
                return await digest(plain)

        return run_now(ask())

    def fixes(self, *options: str) -> list[dict[str, Any]]:
        """The journal as the command lists it."""
        listed: list[dict[str, Any]] = self.json("archive", "fixes", "list", *options)
        return listed


@pytest.fixture
def bench(tmp_path: Path, database: str) -> Bench:
    bench = Bench(tmp_path, database)
    for number in (1, 2, 3):
        bench.put(number, body(number))
    assert bench.run("archive", "to-db", "--all").returncode == 0
    bench.rows(f"{HURT} RETURNING 1")
    bench.before = bench.digest()
    _repair(bench)
    return bench


def _repair(bench: Bench) -> None:
    async def repair() -> None:
        async with workshop(
            bench.root, bench.database, set(FixKind), repair_id=bench.repair_id, source=str(bench.root)
        ) as shop:
            found = [finding(Kind.MISMATCH, run_path(number), run_id(number)) for number in (1, 2, 3)]
            assert len(await shop.repairs.fix(found)) == 3

    run_now(repair())


def test_the_list(bench: Bench) -> None:
    """Every fix, the newest first, for people and as JSON; source, repair, state and a limit narrow it."""
    told = bench.fixes()
    assert [fix["number"] for fix in told] == sorted((fix["number"] for fix in told), reverse=True)
    assert {fix["run_id"] for fix in told} == {str(run_id(number)) for number in (1, 2, 3)}
    assert all(fix["kind"] == "mismatch" and fix["state"] == "applied" and fix["had_row"] for fix in told)
    lines = bench.run("archive", "fixes", "list").stdout.splitlines()
    assert lines[0].split() == ["fix", "applied", "kind", "state", "run", "files"]
    assert [line.split()[0] for line in lines[1:4]] == [fix["fix_id"] for fix in told]
    assert lines[4] == "3 fixes"
    assert len(bench.fixes("--source", str(bench.root), "--repair-id", str(bench.repair_id), "--state", "applied")) == 3
    assert bench.fixes("--state", "released") == bench.fixes("--repair-id", NOBODY) == []
    limited = bench.run("archive", "fixes", "list", "--limit", "2").stdout.splitlines()
    assert limited[-1] == "2 fixes and more: raise --limit"


@pytest.mark.parametrize(
    "option",
    [("--state", "undone"), ("--source", "nobody"), ("--repair-id", "x")],
    ids=lambda option: option[0],
)
def test_a_slip_in_an_option_is_told(bench: Bench, option: tuple[str, str]) -> None:
    """Usage, instead of an empty list."""
    assert bench.run("archive", "fixes", "list", *option).returncode == 2


def test_one_fix(bench: Bench) -> None:
    """Show tells the row and ledger rows before, and the ledger rows after; long values are shortened for people."""
    bench.rows("UPDATE fixes SET run_before = run_before || jsonb_build_object('name', repeat('n', 900)) RETURNING 1")
    fix = bench.fixes()[0]
    told = bench.json("archive", "fixes", "show", fix["fix_id"])
    assert told["fix_id"] == fix["fix_id"]
    assert told["run_before"]["data"]["text"] == "hurt"
    assert told["run_before"]["name"] == "n" * 900
    assert [row["path"] for row in told["ledger_before"]] == fix["paths"]
    assert [row["path"] for row in told["ledger_after"]] == fix["paths"]
    shown = bench.run("archive", "fixes", "show", fix["fix_id"]).stdout
    assert fix["paths"][0] in shown
    assert "(900 characters)" in shown
    assert "n" * 300 not in shown


def test_what_is_not_in_the_journal(bench: Bench) -> None:
    """Unknown ids are named, with where to look, and change nothing; the known ones beside them are done."""
    missing = bench.run("archive", "fixes", "show", NOBODY)
    assert (missing.returncode, NOBODY in missing.stderr) == (3, True)
    fix = bench.fixes()[0]
    told = bench.json("archive", "fixes", "rollback", fix["fix_id"], NOBODY, "--yes", status=1)
    assert told["unknown"] == [NOBODY]
    assert [answer["outcome"] for answer in told["fixes"]] == ["rolled back"]
    for words in (["rollback", "--yes"], ["release"]):
        answer = bench.run("archive", "fixes", *words, "--repair-id", NOBODY)
        assert answer.returncode == 1
        assert f"{NOBODY} is not in the journal" in answer.stderr


def test_a_repair_is_rolled_back(bench: Bench) -> None:
    """Everything is as it was, a second time does nothing and says so, and released it can be repaired again."""
    chosen = "--repair-id", str(bench.repair_id)
    told = bench.json("archive", "fixes", "rollback", *chosen, "--yes")
    assert told["counts"] == {"rolled back": 3}
    assert bench.digest() == bench.before
    assert {fix["state"] for fix in bench.fixes()} == {"rolled_back"}
    again = bench.run("archive", "fixes", "rollback", *chosen, "--yes")
    assert (again.returncode, again.stdout) == (0, "3 already rolled back\n")
    released = bench.run("archive", "fixes", "release", *chosen)
    assert (released.returncode, released.stdout) == (0, "3 released\n")
    assert bench.run("archive", "fixes", "release", *chosen).stdout == "3 already released\n"


def test_later_fixes_are_rolled_back_first(bench: Bench) -> None:
    """Fixes of one run can be named in any order: the newest goes first, as only it is the last word about its run."""
    bench.repair_id = uuid4()
    _repair(bench)
    named = [fix["fix_id"] for fix in reversed(bench.fixes())]
    told = bench.json("archive", "fixes", "rollback", *named, "--yes")
    assert told["counts"] == {"rolled back": 6}
    assert bench.digest() == bench.before


def test_what_changed_since_is_refused(bench: Bench) -> None:
    """Exit 1, the sentence says which run and when, the others are rolled back."""
    bench.rows(f"UPDATE runs SET name = 'later' WHERE run_id = '{run_id(2)}' RETURNING 1")  # noqa: S608 - the test's own words
    result = bench.run("archive", "fixes", "rollback", "--repair-id", str(bench.repair_id), "--yes")
    assert result.returncode == 1
    counts, refused = result.stdout.splitlines()
    assert sorted(counts.split(", ")) == ["1 refused", "2 rolled back"]
    assert f"the row of run {run_id(2)} was changed at " in refused
    told = bench.json("archive", "fixes", "release", "--repair-id", str(bench.repair_id), status=1)
    assert told["counts"] == {"released": 2, "refused": 1}


@pytest.mark.parametrize("named", [[], [NOBODY, "--repair-id", NOBODY]], ids=["nothing", "both"])
@pytest.mark.parametrize("verb", ["rollback", "release"])
def test_fixes_or_a_repair_must_be_named(bench: Bench, verb: str, named: list[str]) -> None:
    """Neither nor both is wrong usage."""
    assert bench.run("archive", "fixes", verb, *named).returncode == 2


def test_without_a_terminal_yes_must_be_said(bench: Bench) -> None:
    """Nothing is put back that nobody could be asked about."""
    result = command(
        "archive", "fixes", "rollback", "--repair-id", str(bench.repair_id),
        env=bench.env, cwd=bench.directory, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert {fix["state"] for fix in bench.fixes()} == {"applied"}


@pytest.mark.parametrize(("answer", "status", "state"), [(b"y\n", 0, "rolled_back"), (b"n\n", 1, "applied")])
def test_on_a_terminal_it_asks(bench: Bench, answer: bytes, status: int, state: str) -> None:
    """A yes puts back, a no does nothing and says so."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [COMMAND, "archive", "fixes", "rollback", "--repair-id", str(bench.repair_id)],
            env=bench.env, cwd=bench.directory, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.write(ours, answer)
        _, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == status
    assert f"repair {bench.repair_id}" in errors.decode()
    assert ("nothing was done" in errors.decode()) is (status == 1)
    assert {fix["state"] for fix in bench.fixes()} == {state}
