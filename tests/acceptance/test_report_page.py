"""The page that a command writes of a damaged set, in a real browser."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import browser as chromium
from damaged_sample import report_of_damage
from one_shot import Desk


@pytest.mark.skipif(
    chromium.PROGRAM is None, reason="no Chromium is installed (tests/system-packages installs one where it may)"
)
def test_the_page_of_a_damaged_set_and_a_filter(tmp_path: Path, database: str) -> None:
    """Verdict, every finding and the differences of the damaged rows are shown; a filter leaves what it names."""
    page_of = report_of_damage(Desk(tmp_path, database))
    with chromium.browser() as page:
        page.look()
        page.open(page_of)
        assert page.value("document.querySelector('h1').innerText.trim()") == "Inconsistent"
        shown = "[...document.querySelectorAll('.finding')].filter(one => one.checkVisibility())"
        assert Counter(page.value(f"{shown}.map(one => one.dataset.kind)")) == {
            "gone": 6,
            "stale": 3,
            "missing": 2,
            "orphan": 2,
            "mismatch": 5,
            "foreign": 1,
        }
        page.value(
            "(() => { const it = document.getElementById('by-kind'); it.value = 'mismatch';"
            " it.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        assert page.value(f"{shown}.map(one => one.dataset.kind)") == ["mismatch"] * 5
        words = page.value(f"{shown}.map(one => one.innerText).join('\\n')")
        assert words.count("/data/name") == 3
        assert words.count('"Another name"') == 3
        assert words.count("/columns/total_tokens") == 2
        assert page.messages == []
        assert {address.partition(":")[0] for address in page.requests} == {"file"}
