"""Writes docs/weather.md from the tables of faults that the tests go through; run by `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "integration")]

import test_fetch  # noqa: E402 - found by the line above
import test_pack  # noqa: E402 - as above
import test_restore  # noqa: E402 - as above
import test_upload  # noqa: E402 - as above

from hostile_zips import HOSTILE  # noqa: E402 - as above
from tracewatchd.model.errors import PermanentError, TransientError  # noqa: E402 - after those of the tests
from tracewatchd.model.exits import Exit  # noqa: E402 - as above

PAGE = HERE / "weather.md"

INTRODUCTION = """# Bad weather

What archive verbs say and leave behind when something goes wrong, made from the tables that the tests go through: each
row is a test with a stand-in that really fails so. The sentence stands in the command's error and in the events
`fetch.failed`, `upload.failed`, `zip.failed` and `restore.failed`. In every case the same command, given once more when
the weather is good, brings the day to its end; nothing is left half written.
"""

_SAYS = ("fault", "the sentence says", "exit")
_LEAVES = (*_SAYS, "there afterwards")
_STATUS = {TransientError: Exit.TRANSIENT, PermanentError: Exit.PERMANENT}
_FILES = {
    test_fetch.ALL: "every run's file",
    test_fetch.SOME: "files of the pages before",
    test_fetch.NONE: "no file of the day",
}
_ON_DRIVE = {
    "nothing": "nothing on Drive",
    "resumable": "an upload that goes on from there",
    "wrong": "the file with wrong bytes, which counts as nothing",
}


def page() -> str:
    """The whole page."""
    return f"{INTRODUCTION}\n{_fetch()}\n{_upload()}\n{_zip()}\n{_restore()}"


def _fetch() -> str:
    rows = [
        (name, row.sentence or "nothing", str(int(row.exit)), _FILES[row.files])
        for name, row in test_fetch.WEATHER.items()
    ]
    return _table("LangSmith, while fetching", _LEAVES, rows)


def _upload() -> str:
    healed = [(name, "nothing", "0", "the zip, once") for name in test_upload.HEALS]
    failed = [
        (name, sentence, str(status), _ON_DRIVE[after])
        for name, (_, _, sentence, _, status, after) in test_upload.FAILS.items()
    ]
    return _table("Drive, while uploading", _LEAVES, healed + failed)


def _zip() -> str:
    rows = [(_words(fault.__name__), _plain(told), str(int(_STATUS[error]))) for fault, error, told in test_pack.FAULTS]
    return _table("Files, while zipping (no zip and no part of one stays)", _SAYS, rows)


def _restore() -> str:
    faults = [
        (_words(fault.__name__), _plain(told), str(int(_STATUS[error]))) for fault, error, told in test_restore.FAULTS
    ]
    zips = [(f"a zip: {name}", _plain(told), str(int(Exit.POISON))) for name, (_, told) in HOSTILE.items()]
    return _table("Zips, while restoring (no file of the day is touched)", _SAYS, faults + zips)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(pattern: str) -> str:
    """A pattern as people read it."""
    return pattern.replace(r"\d+", "N").replace(".*", "...").replace("\\", "").rstrip("$")


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join([f"## {title}", "", *map(_line, lines), ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
