from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from json_texts import PAIRS, TEXTS
from tracewatchd.model.difference import MAX_BYTES, MAX_SHOWN_CHARS, differences
from tracewatchd.model.findings import Difference
from tracewatchd.model.sanitize import MAX_POINTER_CHARS
from tracewatchd.model.scan import JsonFaultError


def read(text: bytes) -> Any:
    """The text as Python objects in which only what jsonb calls equal is equal."""
    return _told_apart(json.loads(text, parse_int=Decimal, parse_float=Decimal))


def _told_apart(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _told_apart(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_told_apart(item) for item in value]
    return ("word", str(value)) if isinstance(value, bool | None) else value


def at(document: Any, pointer: str) -> Any:
    """What a pointer leads to; None where it leads nowhere."""
    for part in pointer.removeprefix("/data").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(key) if isinstance(document, list) else key]
        except (KeyError, IndexError):
            return None
    return document


@settings(deadline=None, max_examples=400)
@given(PAIRS)
def test_every_difference_is_found_and_nothing_else(pair: tuple[bytes, bytes]) -> None:
    """Nothing differs exactly when both mean the same, and each pointer leads to values that do not."""
    file, row = pair
    found = differences(file, row, "/data", 1_000)
    assert bool(found) == (read(file) != read(row))
    assert len({one.pointer for one in found}) == len(found)
    for one in found:
        left, right = at(read(file), one.pointer), at(read(row), one.pointer)
        assert left != right
        assert (one.in_file is None, one.in_row is None) == (left is None, right is None)


@given(TEXTS)
def test_a_text_does_not_differ_from_itself_spelled_anew(text: bytes) -> None:
    """Other spaces, escapes and orders of members are no difference, in either direction."""
    document = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    anew = json.dumps(document, default=lambda number: json.loads(str(number)), sort_keys=True, indent=1).encode()
    if read(anew) == read(text):  # a float may have lost what a Decimal kept
        assert differences(text, anew, "", 9) == differences(anew, text, "", 9) == []


@given(PAIRS)
def test_the_two_sides_are_told_apart(pair: tuple[bytes, bytes]) -> None:
    """With file and row exchanged, the same places differ, their values exchanged."""
    there = {(one.pointer, one.in_file, one.in_row) for one in differences(*pair, "", 1_000)}
    back = {(one.pointer, one.in_row, one.in_file) for one in differences(pair[1], pair[0], "", 1_000)}
    assert there == back


@pytest.mark.parametrize(
    ("file", "row", "found"),
    [
        (b'{"a": 1E2}', b'{"a": 100}', []),
        (b"[-0, 1.10]", b"[0, 1.1]", []),
        (b'{"a": 1, "a": 2}', b'{"a": 2}', []),
        (b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}', []),
        (b"1e131071", b"1" + b"0" * 131_071, []),
        (b'"1"', b"1", [("", '"1"', "1")]),
        (b"1", b"true", [("", "1", "true")]),
        (b"[1]", b'{"0": 1}', [("", "[1]", '{"0": 1}')]),
        (b"[]", b"null", [("", "[]", "null")]),
        (b"[1, 2]", b"[2, 1]", [("/0", "1", "2"), ("/1", "2", "1")]),
        (b"[1, [2, 3]]", b"[1]", [("/1", "[2, 3]", None)]),
        (b'{"a/b": {"~": 1}}', b'{"a/b": {"~": 2}}', [("/a~1b/~0", "1", "2")]),
        (b'{"": {"x": 1}}', b'{"": {}}', [("//x", "1", None)]),
        (b'{"a": {"b": 1}}', b'{"c": 0}', [("/a", '{"b": 1}', None), ("/c", None, "0")]),
        (b'{"a": null}', b"{}", [("/a", "null", None)]),
        (b'"\\u00e9\\u0065"', '"\u00e9f"'.encode(), [("", '"\u00e9e"', '"\u00e9f"')]),
    ],
)
def test_what_differs(file: bytes, row: bytes, found: list[tuple[str, str | None, str | None]]) -> None:
    """Values as Postgres compares them; a subtree that one side lacks is one place."""
    assert differences(file, row, "", 9) == [Difference(*one) for one in found]


def test_long_values_are_cut_to_where_they_differ() -> None:
    """Two long texts that begin alike are shown around their first difference, never inside a character."""
    one, other = (json.dumps({"a": "\u00e9" * 500 + middle + "z" * 500}).encode() for middle in ("A", "\U0001f600"))
    (found,) = differences(one, other, "/data", 9)
    assert found.in_file == "\u2026" + "\u00e9" * 20 + "A" + "z" * (MAX_SHOWN_CHARS - 21) + "\u2026"
    assert found.in_row == "\u2026" + "\u00e9" * 20 + "\U0001f600" + "z" * (MAX_SHOWN_CHARS - 21) + "\u2026"
    (found,) = differences(b"[]", ("[[" + '"\u00e9",' * 900 + "1]]").encode(), "", 9)
    assert found.in_file is None
    assert found.in_row == ('["' + '\u00e9","' * 900)[:MAX_SHOWN_CHARS] + "\u2026"


def test_no_more_than_are_wanted() -> None:
    """The first ones in the file's order."""
    many = json.dumps({str(number): number for number in range(1_000)}).encode()
    assert [one.pointer for one in differences(many, b"{}", "/data", 3)] == ["/data/0", "/data/1", "/data/2"]
    assert differences(many, b"{}", "/data", 0) == []


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"key": ', b"}"), (b'[{"k": ', b"}]")])
def test_any_depth(opening: bytes, closing: bytes) -> None:
    """What lies deeper than Python can recurse is found, and its pointer is cut."""
    one, other = (opening * 14_000 + value + closing * 14_000 for value in (b"1", b"2"))
    (found,) = differences(one, other, "/data", 9)
    assert (found.in_file, found.in_row) == ("1", "2")
    assert found.pointer.startswith("/data/")
    assert found.pointer.endswith("/...")
    assert len(found.pointer) <= MAX_POINTER_CHARS
    (found,) = differences(one, b"0", "/data", 9)
    assert len(found.in_file or "") == MAX_SHOWN_CHARS + 1


def test_a_huge_key_does_not_make_a_huge_pointer() -> None:
    """A part that fits into no pointer ends it."""
    (found,) = differences(json.dumps({"k" * 5_000_000: 1}).encode(), b"{}", "/data", 9)
    assert found.pointer == "/data/..."


def test_huge_texts_are_compared_as_a_whole() -> None:
    """What is too long to be taken apart differs as one place, unless it is the same byte for byte."""
    huge = b"[" + b"1," * (MAX_BYTES // 2) + b"1]"
    assert differences(huge, huge, "/data", 9) == []
    (found,) = differences(huge, b"[1]", "/data", 9)
    assert (found.pointer, found.in_row) == ("/data", "[1]")
    assert len(found.in_file or "") <= MAX_SHOWN_CHARS + 2


def test_what_is_no_json() -> None:
    """The caller is told; nothing is guessed."""
    with pytest.raises(JsonFaultError):
        differences(b"{", b"{}", "", 9)
