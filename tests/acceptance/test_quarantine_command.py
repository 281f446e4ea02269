"""``quarantine``: which files cannot be stored, why, and another try."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from one_shot import Desk, body
from run_files import put, run_path

BROKEN = b"this is a note, not a run\n"
NOT_UTF8 = os.fsdecode(b"bot/2026-11-20/caf\xe9.json")
SPELLED = "bot/2026-11-20/caf%E9.json"


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    """A good file and three that cannot be stored, one of them with a name that is not UTF-8."""
    desk = Desk(tmp_path, database)
    desk.put(1)
    desk.put(2, BROKEN)
    desk.put(3, b'{"id": "not-a-uuid"}')
    put(desk.root, NOT_UTF8, b"\xff")
    assert desk.run("archive", "to-db", "--all").returncode == 1
    return desk


def test_the_list(desk: Desk) -> None:
    """Every quarantined file by path, with reason and detail, for people and as JSON."""
    told = desk.json("quarantine", "list")
    assert [(row["path"], row["reason"]) for row in told] == [
        (run_path(2), "invalid_json"),
        (run_path(3), "bad_run_id"),
        (SPELLED, "invalid_utf8"),
    ]
    assert all(row["source"] == str(desk.root) and row["detail"] and row["size_bytes"] for row in told)
    lines = desk.run("quarantine", "list").stdout.splitlines()
    assert lines[0].split() == ["source", "path", "reason", "since", "detail"]
    assert [line.split()[1:3] for line in lines[1:4]] == [[row["path"], row["reason"]] for row in told]
    assert lines[4] == "3 quarantined"


def test_the_list_can_be_narrowed(desk: Desk) -> None:
    """By reason and by source; a slip in either is told with what is allowed instead of an empty list."""
    assert [row["path"] for row in desk.json("quarantine", "list", "--reason", "bad_run_id")] == [run_path(3)]
    assert desk.json("quarantine", "list", "--reason", "empty") == []
    assert len(desk.json("quarantine", "list", "--source", str(desk.root))) == 3
    wrong = desk.run("quarantine", "list", "--reason", "ugly")
    assert wrong.returncode == 2
    assert "'ugly' is no reason; allowed: empty, truncated" in " ".join(wrong.stderr.split())
    unknown = desk.run("quarantine", "list", "--source", "nobody")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no root has the source 'nobody'" in unknown.stderr


def test_a_list_that_is_cut_says_so(desk: Desk) -> None:
    """--limit cuts the list and says that there is more; a list that is just as long is whole."""
    cut = desk.run("quarantine", "list", "--limit", "2").stdout
    assert cut.splitlines()[-1] == "2 quarantined and more: raise --limit"
    assert len(desk.json("quarantine", "list", "--limit", "2")) == 2
    assert desk.run("quarantine", "list", "--limit", "3").stdout.splitlines()[-1] == "3 quarantined"


def test_one_file_is_shown(desk: Desk) -> None:
    """Everything that is known of it; its name may be given as it was printed or as a shell completes it."""
    told = desk.json("quarantine", "show", SPELLED)
    assert (told["path"], told["reason"], told["size_bytes"], told["run_id"]) == (SPELLED, "invalid_utf8", 1, None)
    assert told["file_sha256"] == "a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89"
    assert desk.json("quarantine", "show", NOT_UTF8) == told
    shown = desk.run("quarantine", "show", SPELLED).stdout
    assert f"path           {SPELLED}\n" in shown
    assert "run id         -\n" in shown


def test_a_file_that_is_not_there_to_be_shown(desk: Desk) -> None:
    """A path that is loaded, or unknown, is not quarantined: exit 3 and where to look."""
    result = desk.run("quarantine", "show", run_path(1))
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        f"error: {run_path(1)} is not quarantined\nhint: `tracewatchd quarantine list` shows what is\n"
    )


def test_one_path_in_two_sources(desk: Desk) -> None:
    """A path that is quarantined in several sources is shown when the source is named, and not guessed."""
    put(desk.directory / "other", run_path(2), BROKEN)
    roots = f'["{desk.root}", {{"path": "{desk.directory}/other", "source": "export"}}]'
    assert desk.run("archive", "to-db", "--all", TRACEWATCHD_WATCH__ROOTS=roots).returncode == 1
    result = desk.run("quarantine", "show", run_path(2))
    assert result.returncode == 2
    assert f"is quarantined in several sources: {desk.root}, export" in result.stderr
    assert desk.json("quarantine", "show", run_path(2), "--source", "export")["source"] == "export"


def test_a_mended_file_is_loaded(desk: Desk) -> None:
    """Named, it is read again and becomes a row; the others stay where they are."""
    desk.put(2)
    result = desk.run("quarantine", "retry", run_path(2))
    assert (result.returncode, result.stdout) == (0, "1 files tried again: 1 loaded\n")
    assert [row["path"] for row in desk.json("quarantine", "list")] == [run_path(3), SPELLED]
    assert desk.rows("SELECT count(*) FROM runs") == [(2,)]


def test_a_file_that_is_still_poison(desk: Desk) -> None:
    """The one file that was named exits 65; among others it is a step that failed, exit 1."""
    result = desk.run("quarantine", "retry", run_path(2))
    assert (result.returncode, result.stdout) == (65, "1 files tried again: 1 quarantined\n")
    both = desk.json("quarantine", "retry", run_path(2), NOT_UTF8, status=1)
    assert (both["files"], both["quarantined"], both["unknown"]) == (2, 2, [])
    assert len(desk.json("quarantine", "list")) == 3


def test_all_of_them_and_those_of_a_reason(desk: Desk) -> None:
    """--reason tries those of one reason, --all every one; what can be stored by now is loaded."""
    put(desk.root, NOT_UTF8, body(5))
    desk.put(2)
    assert desk.run("quarantine", "retry", "--reason", "bad_run_id").stdout == "1 files tried again: 1 quarantined\n"
    told = desk.json("quarantine", "retry", "--all", status=1)
    assert (told["files"], told["loaded"], told["quarantined"]) == (3, 2, 1)
    desk.put(3)
    assert desk.json("quarantine", "retry", "--all")["loaded"] == 1
    assert desk.run("quarantine", "retry", "--all").stdout == "0 files tried again: nothing\n"


def test_a_path_that_is_not_quarantined(desk: Desk) -> None:
    """It is not passed over: exit 1 with the path and a hint, while the other that was named is tried."""
    desk.put(2)
    result = desk.run("quarantine", "retry", "no/such.json", run_path(2))
    assert (result.returncode, result.stdout) == (1, "1 files tried again: 1 loaded\n")
    assert result.stderr.splitlines() == [
        "error: no/such.json is not quarantined under a root that is configured",
        "hint: `tracewatchd quarantine list` shows what is",
    ]
    assert desk.json("quarantine", "retry", run_path(1), status=1)["unknown"] == [run_path(1)]


@pytest.mark.parametrize("arguments", [(), ("--all", "--reason", "empty"), ("--all", "bot/x.json")])
def test_what_to_retry_must_be_said_once(desk: Desk, arguments: tuple[str, ...]) -> None:
    """Nothing, or two ways of naming, is wrong usage."""
    result = desk.run("quarantine", "retry", *arguments)
    assert result.returncode == 2
    assert "name files, or say --all, or give a --reason" in " ".join(result.stderr.split())


def test_many_are_tried_page_by_page(desk: Desk) -> None:
    """More files than one page holds are all tried, each once."""
    for number in range(10, 1_210):
        desk.put(number, b"[]")
    desk.run("archive", "to-db", "--all")
    for number in range(10, 1_210):
        desk.put(number)
    told = desk.json("quarantine", "retry", "--reason", "unsupported_shape")
    assert (told["files"], told["loaded"]) == (1_200, 1_200)
