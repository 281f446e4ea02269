"""docs/sweeps.md says what the code does: kinds, exit statuses, fixes, sigils, settings."""

from __future__ import annotations

import re
from pathlib import Path

from tracewatchd.cli.sweeping import EXITS
from tracewatchd.model.findings import FACTS, FileState, Kind
from tracewatchd.model.fixes import DESTRUCTIVE, FixKind
from tracewatchd.reconcile.tally import sigil_of
from tracewatchd.settings import SETTINGS

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of each table row below a heading, the head of the table left out."""
    (section,) = re.findall(rf"(?ms)^## {heading}\n(.*?)(?=^## |\Z)", PAGE)
    lines = re.findall(r"(?m)^\| (.*) \|$", section)
    return [line.split(" | ") for line in lines[1:]]


def test_every_kind_with_its_meaning_and_remedy() -> None:
    """The table of kinds is the catalogue, word for word."""
    assert rows("What is found") == [
        [f"`{kind}`", facts.severity, facts.meaning, facts.remedy] for kind, facts in FACTS.items()
    ]


def test_every_exit_status() -> None:
    """The table of exit statuses is that of the commands' help."""
    assert rows("Exit status") == [[str(int(status)), meaning] for status, meaning in sorted(EXITS.items())]


def test_every_fix() -> None:
    """Each fix has a line, and the page names those that ask first."""
    named = [name for cells in rows("Repair and undo") for name in re.findall(r"`([a-z-]+)`", cells[0])]
    assert sorted(named) == sorted(["--fix", *FixKind])[1:]
    (taking,) = re.findall(r"(?m)^(.*) take something out of the database", PAGE)
    assert set(re.findall(r"`([a-z-]+)`", taking)) == DESTRUCTIVE


def test_every_sigil() -> None:
    """What each sigil is said to stand for is what it stands for."""
    for cells in rows("Every path"):
        sigil, meaning = cells[0].strip("`"), cells[1]
        for what in (*FileState, *Kind):
            if re.search(rf"\b{what}\b", meaning):
                assert sigil_of(what) == sigil, what
    assert {cells[0].strip("`") for cells in rows("Every path")} == {sigil_of(what) for what in (*FileState, *Kind)}


def test_every_setting_of_the_schedule() -> None:
    """The page names each setting of sweeps but how many rows are asked for at once."""
    wanted = {key for key in SETTINGS if key.startswith("sweep.")} - {"sweep.page_rows"}
    assert wanted <= set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE))
