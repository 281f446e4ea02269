"""docs/performance.md says of every limit what it does."""

from __future__ import annotations

import re
from pathlib import Path

from tracewatchd.settings import SETTINGS

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "performance.md").read_text()


def test_every_limit_has_a_line() -> None:
    """Each setting that is a number is in a table of the page; a port is no limit."""
    limits = {key for key, setting in SETTINGS.items() if re.match(r"a (whole )?number", setting.allowed)}
    first_cells = re.findall(r"(?m)^\| (`.*?) \|", PAGE)
    told = {key for cell in first_cells for key in re.findall(r"`([a-z_]+\.[a-z_]+)`", cell)}
    assert told == limits - {"http.port"}


def test_figures_are_linked_to_where_they_were_measured() -> None:
    """Each part of the benchmarks that the page speaks of has its section there."""
    sections = set(re.findall(r"benchmarks\.md#([a-z-]+)", PAGE))
    measured = re.findall(r"(?m)^## (.+)$", (REPOSITORY / "docs" / "benchmarks.md").read_text())
    assert sections <= {title.lower() for title in measured}
