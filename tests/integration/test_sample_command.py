"""``tracewatchd sample``: what it writes, what it says, and what it leaves alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from running import command, environment
from tracewatchd.model.layout import decode_path
from tracewatchd.model.sample import generate


def _sample(*arguments: str | Path | float) -> Any:
    return command("sample", *map(str, arguments), env=environment())


def _files(root: Path) -> dict[bytes, bytes]:
    """Every file below the root, by its path's bytes: some names are not UTF-8."""
    return {os.fsencode(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_files_are_those_of_the_generator(tmp_path: Path) -> None:
    """Each generated file, the hostile ones included, is there with its bytes, and nothing else is."""
    result = _sample(tmp_path / "data", "--runs", 120, "--seed", 4, "--hostile", 0.5)
    assert (result.returncode, result.stderr) == (0, "")
    made = {decode_path(file.path): file.body for file in generate(120, 4, 0.5)}
    assert _files(tmp_path / "data") == made
    assert len(made) == 120


def test_a_sample_can_be_written_again(tmp_path: Path) -> None:
    """The same options over an existing sample change no byte."""
    _sample(tmp_path, "--runs", 30)
    before = _files(tmp_path)
    assert _sample(tmp_path, "--runs", 30).returncode == 0
    assert _files(tmp_path) == before


def test_what_was_written_is_told(tmp_path: Path) -> None:
    """People read how many files there are and what becomes of them; --json holds the same and each hostile kind."""
    told = _sample(tmp_path / "told", "--runs", 29, "--hostile", 1)
    assert "29 run files (" in told.stdout
    assert "to be expected: 9 loaded, 11 sanitized, 9 quarantined" in told.stdout
    result = json.loads(_sample(tmp_path / "json", "--runs", 29, "--hostile", 1, "--json").stdout)
    assert result["directory"] == str(tmp_path / "json")
    assert result["files"] == 29
    assert result["size_bytes"] == sum(map(len, _files(tmp_path / "json").values()))
    assert result["expected"] == {"loaded": 9, "sanitized": 11, "quarantined": 9}
    assert set(result["hostile"].values()) == {1}


@pytest.mark.parametrize("entry", ["run.json", ".keep", "folder/"])
def test_a_directory_that_holds_anything_is_left_alone(tmp_path: Path, entry: str) -> None:
    """With --if-empty one entry of any kind is enough: nothing is written, and that is no error."""
    if entry.endswith("/"):
        (tmp_path / entry).mkdir()
    else:
        (tmp_path / entry).touch()
    result = _sample(tmp_path, "--if-empty")
    assert result.returncode == 0
    assert "nothing was written" in result.stdout
    assert json.loads(_sample(tmp_path, "--if-empty", "--json").stdout)["files"] == 0
    assert [path.name for path in tmp_path.iterdir()] == [entry.rstrip("/")]


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_missing_directory_is_filled(tmp_path: Path, there: bool) -> None:  # noqa: FBT001 - a case
    """With --if-empty an empty directory is filled, and a missing one is made."""
    root = tmp_path / "data"
    if there:
        root.mkdir()
    assert _sample(root, "--if-empty", "--runs", 5).returncode == 0
    assert len(_files(root)) == 5


def test_a_place_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    """A file where the directory should be: exit 70, and one sentence says what to do."""
    (tmp_path / "data").touch()
    result = _sample(tmp_path / "data", "--runs", 1)
    assert result.returncode == 70
    assert "hint: Make sure that" in result.stderr


@pytest.mark.parametrize("wrong", [("--runs", "0"), ("--hostile", "1.1"), ("--seed", "-1")])
def test_values_out_of_range_are_wrong_usage(tmp_path: Path, wrong: tuple[str, str]) -> None:
    """Exit 2, the range is named, and nothing is written."""
    result = _sample(tmp_path, *wrong)
    assert result.returncode == 2
    assert " from " in result.stderr
    assert list(tmp_path.iterdir()) == []
