"""The SQL that a page of the docs shows, by its heading."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def sql_of(page: str) -> dict[str, list[str]]:
    """Every block of SQL of a page, by the nearest heading before it."""
    found: dict[str, list[str]] = {}
    heading = ""
    for title, block in re.findall(r"(?ms)^#+ ([^\n]+)$|^ *```sql\n(.*?)^ *```", (DOCS / page).read_text()):
        if title:
            heading = title
        else:
            found.setdefault(heading, []).append(block)
    return found


def statements(block: str) -> list[str]:
    """The statements of a block one by one; comments go with the statement after them."""
    return [statement.strip() for statement in re.split(r";\s*$", block, flags=re.MULTILINE) if statement.strip()]
