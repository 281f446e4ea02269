"""The page of bad weather says what the tests go through."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_tables() -> None:
    """`make docs` was run after the last change of a table."""
    made = runpy.run_path(str(DOCS / "make_weather.py"))
    assert (DOCS / "weather.md").read_text(encoding="utf-8") == made["page"]()
