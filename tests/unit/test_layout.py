from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.model.layout import RunPath, day_of, decode_path, encode_path, is_run_file_name

RUN_ID = "01a2095a-3a98-7100-b85b-e3aa5549c695"


@given(st.binary(max_size=60))
def test_every_file_name_has_one_spelling_that_leads_back(raw: bytes) -> None:
    """Encoding any bytes and decoding them gives the bytes; the spelling is UTF-8 and encodes no NUL as itself."""
    spelled = encode_path(raw)
    assert decode_path(spelled) == raw
    assert decode_path(spelled.encode().decode()) == raw


@given(st.text(max_size=40))
def test_text_without_percent_is_its_own_spelling(text: str) -> None:
    """What is UTF-8 stays readable; only the percent sign and foreign bytes are encoded."""
    raw = text.encode("utf-8", "surrogatepass")
    assert (encode_path(raw) == text) == ("%" not in text and not any("\ud800" <= c <= "\udfff" for c in text))


def test_a_run_path_is_taken_apart_and_put_together() -> None:
    """Folder, day and name come out, the text goes in again, and the id stands before the last underscore."""
    path = RunPath.parse(f"deep research/2026-11-23/{RUN_ID}_130037.json")
    assert path is not None
    assert (path.folder, path.day, path.named_run_id) == ("deep research", date(2026, 11, 23), RUN_ID)
    assert path.text == f"deep research/2026-11-23/{RUN_ID}_130037.json"


def test_a_folder_is_named_for_people() -> None:
    """The project is the folder's bytes as UTF-8, with U+FFFD where they are none; an id needs no suffix."""
    path = RunPath.parse("50%25 caf%E9 \N{ROCKET}/2026-11-23/x.json")
    assert path is not None
    assert path.project == "50% caf\ufffd \N{ROCKET}"
    assert path.named_run_id == "x"


@pytest.mark.parametrize(
    "path",
    [
        "p/2026-11-23/_summary.json",
        "p/2026-11-23/.x.json",
        "p/2026-11-23/x.txt",
        "p/2026-11-31/x.json",
        "p/20261123/x.json",
        "p/x.json",
        "/2026-11-23/x.json",
        "p/2026-11-23/deep/x.json",
        "",
    ],
)
def test_what_lies_elsewhere_is_no_run_file(path: str) -> None:
    """Only a run file's name directly in a day's folder of a project is a run file's path."""
    assert RunPath.parse(path) is None


def test_days_and_names_are_judged_by_bytes() -> None:
    """A day is a date of the calendar in ten ASCII characters; summaries and temporary files are no run files."""
    assert day_of(b"2026-02-29") is None
    assert day_of("\N{FULLWIDTH DIGIT TWO}026-11-23".encode()) is None
    assert is_run_file_name(b"\xff.json")
    assert not is_run_file_name(b"_\xff.json")
