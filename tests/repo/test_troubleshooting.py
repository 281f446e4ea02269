"""docs/troubleshooting.md quotes what the program says: each message stands in the code, letter by letter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracewatchd.model.events import catalogue

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()


def _templates() -> Iterator[str]:
    """Every text of the code, with `...` for what is filled in."""
    for path in sorted((REPOSITORY / "daemon").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _messages() -> list[str]:
    """What the first cells of tables quote: whole sentences, not names of settings, events or options."""
    cells = re.findall(r"(?m)^\| (`.*?) \|", PAGE)
    spans = (span for cell in cells for span in re.findall(r"`([^`]+)`", cell))
    return [span for span in spans if " " in span]


def _known(message: str, templates: list[str]) -> bool:
    """Whether one text of the code says it; `...` in both stands for anything, however often it is filled in."""
    wanted = re.compile(".*".join(map(re.escape, message.split("..."))), re.DOTALL)
    return any(wanted.search(template) for template in templates)


@pytest.fixture(scope="module")
def templates() -> list[str]:
    """What the code can say."""
    return list(_templates())


def test_messages_are_quoted() -> None:
    """There are messages to be looked for, so that the checks below check something."""
    assert len(_messages()) > 25


@pytest.mark.parametrize("message", _messages())
def test_each_message_is_one_of_ours(message: str, templates: list[str]) -> None:
    """Whoever searches the page for what stands in front of him finds it."""
    assert _known(message, templates)


def test_a_message_that_nobody_says_is_seen(templates: list[str]) -> None:
    """A sentence with one other word is not taken for ours."""
    assert _known("the source ... belongs to another host (...)", templates)
    assert not _known("the source ... belongs to another house (...)", templates)


def test_exit_statuses_are_those_of_commands() -> None:
    """The page's table has those that an operator meets, and no others."""
    told = {int(number) for number in re.findall(r"(?m)^\| (\d+) \|", PAGE)}
    assert told == {1, 2, 3, 65, 70, 75, 78}


def test_events_that_alone_fill_a_cell_exist() -> None:
    """An event is an event of the catalogue, not of an older one."""
    named = set(re.findall(r"(?m)^\| `(\w+\.\w+)`", PAGE))
    assert {"daemon.standby", "watch.restarted"} <= named
    assert {name for name in named if name not in catalogue()} == set()
