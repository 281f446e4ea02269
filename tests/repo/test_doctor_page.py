"""The doctor's page says what the tests provoke."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from doctor_cases import CASES

DOCS = Path(__file__).parents[2] / "docs"
PROVOKING = Path(__file__).parents[1] / "acceptance" / "test_doctor.py"


def test_the_page_is_made_from_the_cases() -> None:
    """`make docs` was run after the last change of a case."""
    made = runpy.run_path(str(DOCS / "make_doctor.py"))
    assert (DOCS / "doctor.md").read_text(encoding="utf-8") == made["page"]()


def test_every_case_is_provoked() -> None:
    """Each row of the page is one that a test sees the doctor say."""
    assert sorted(re.findall(r'names\("([^"]+)"', PROVOKING.read_text())) == sorted(CASES)
