from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracewatchd.model.sanitize import (
    MAX_POINTER_CHARS,
    MAX_POINTERS,
    Changes,
    may_need_sanitizing,
    without_unstorable,
)
from tracewatchd.model.scan import JsonFaultError, members, tokens

CHARACTERS = st.one_of(
    st.characters(), st.sampled_from(["\0", "\ud800", "\udc00", "\ufffd", "\\", '"', "u0000", "/", "~"])
)
TEXTS = st.lists(CHARACTERS, max_size=5).map("".join)
SCALARS = st.one_of(
    TEXTS, st.integers(), st.floats(), st.booleans(), st.none(), st.sampled_from([float("nan"), float("-inf")])
)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
OBJECTS = st.dictionaries(TEXTS, DOCUMENTS, max_size=4)


def sanitized(text: bytes) -> tuple[bytes, tuple[str, ...]]:
    changes = Changes()
    return without_unstorable(text, "/data", changes), changes.listed()


def refuse(word: str) -> None:
    raise ValueError(word)


def strict(text: bytes) -> Any:
    return json.loads(text, parse_constant=refuse)


def written(document: Any, *, ascii_only: bool) -> bytes:
    """The document as Python writes it; with escapes, too, where a lone surrogate has no UTF-8."""
    try:
        return json.dumps(document, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return json.dumps(document).encode()


def at(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("/data").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key) if isinstance(document, list) else key]
    return document


@settings(deadline=None)
@given(OBJECTS, st.booleans())
def test_whatever_python_writes_becomes_strict_json(document: Any, ascii_only: bool) -> None:  # noqa: FBT001  (drawn)
    """The result is strict JSON without NUL and lone surrogates, every pointer leads somewhere, and nothing is left."""
    text = written(document, ascii_only=ascii_only)
    clean, pointers = sanitized(text)
    after = strict(clean)
    said = json.dumps(after, ensure_ascii=False)
    said.encode()
    assert "\\u0000" not in said.replace("\\\\", "")
    for pointer in pointers:
        at(after, pointer)
    assert sanitized(clean) == (clean, ())
    assert (clean == text) == (pointers == ())
    assert may_need_sanitizing(text) or not pointers
    assert len(after) == len(json.loads(text))


@pytest.mark.parametrize(
    ("text", "clean", "pointers"),
    [
        (rb'{"a": "x\u0000y"}', rb'{"a": "x\ufffdy"}', ("/data/a",)),
        (rb'{"a":"\\u0000 \\\\u0000"}', rb'{"a":"\\u0000 \\\\u0000"}', ()),
        (rb'{"a":"\\\u0000"}', rb'{"a":"\\\ufffd"}', ("/data/a",)),
        (rb'{"a":"\ud83d\ude00\uD83D\uDE00"}', rb'{"a":"\ud83d\ude00\uD83D\uDE00"}', ()),
        (rb'{"a":["\ud800",1,"\udc00x"]}', rb'{"a":["\ufffd",1,"\ufffdx"]}', ("/data/a/0", "/data/a/2")),
        (rb'{"a":"\\ud83d\ude00"}', rb'{"a":"\\ud83d\ufffd"}', ("/data/a",)),
        (rb'{"a":"\ud800\ud800\udc00"}', rb'{"a":"\ufffd\ud800\udc00"}', ("/data/a",)),
        (
            b'{"a":NaN,"b":[Infinity , -Infinity],"c":"NaN"}',
            b'{"a":null,"b":[null , null],"c":"NaN"}',
            ("/data/a", "/data/b/0", "/data/b/1"),
        ),
        (rb'{"a/~\u0000":{"b":NaN}}', rb'{"a/~\ufffd":{"b":null}}', ("/data/a~1~0\ufffd", "/data/a~1~0\ufffd/b")),
        (rb'{"\u0000":NaN}', rb'{"\ufffd":null}', ("/data/\ufffd",)),
        (b"NaN", b"null", ("/data",)),
    ],
)
def test_only_what_stands_there_is_replaced(text: bytes, clean: bytes, pointers: tuple[str, ...]) -> None:
    """Escapes and words that jsonb refuses are replaced where they stand; every other byte stays."""
    assert sanitized(text) == (clean, pointers)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (rb'{"\u0000":1,"\ufffd":2}', rb'{"\ufffd_2":1,"\ufffd":2}'),
        (rb'{"\ufffd":1,"\u0000":2,"\ud800":3}', rb'{"\ufffd":1,"\ufffd_2":2,"\ufffd_3":3}'),
        (rb'{"\ufffd_2":0,"\u0000":1,"\ud800":2}', rb'{"\ufffd_2":0,"\ufffd":1,"\ufffd_3":2}'),
        (rb'{"\u0000":1,"\u0000":2}', rb'{"\ufffd":1,"\ufffd":2}'),
        (rb'{"\u0000":1,"\ud800":2,"\ud800":3}', rb'{"\ufffd":1,"\ufffd_2":2,"\ufffd_2":3}'),
        (rb'{"\u0000":{"\u0000":1},"x":{"\ufffd":1}}', rb'{"\ufffd":{"\ufffd":1},"x":{"\ufffd":1}}'),
    ],
)
def test_keys_that_collide_by_it_get_a_number(text: bytes, clean: bytes) -> None:
    """A key that was written so keeps its name, keys equal before stay equal, and each object is its own."""
    assert sanitized(text)[0] == clean


def test_the_list_of_pointers_is_bounded() -> None:
    """Beyond the limit places are counted, and a long pointer is cut."""
    _, pointers = sanitized(b"[" + b"NaN," * (MAX_POINTERS + 4) + b"NaN]")
    assert len(pointers) == MAX_POINTERS + 1
    assert pointers[-1] == "... 5 more"
    deep = b"[" * MAX_POINTER_CHARS + b"NaN" + b"]" * MAX_POINTER_CHARS
    long_key = b'{"a":{"' + b"k" * 20_000 + b'":NaN}}'
    assert sanitized(long_key)[1] == ("/data/a/...",)
    assert len(sanitized(deep)[1][0]) <= MAX_POINTER_CHARS


@pytest.mark.parametrize(
    ("text", "offset", "truncated"),
    [
        (b"", 0, True),
        (b"[1, ", 4, True),
        (b'{"a', 3, True),
        (b'{"a":"\\u00', 10, True),
        (b'{"a":"\\', 7, True),
        (b'{"a":"\\x"}', 6, False),
        (b'{"a":"b\nc"}', 7, False),
        (b'{"a"', 4, True),
        (b"[tru", 1, True),
        (b"[trx", 1, False),
        (b"[-", 1, True),
        (b"[-Inf", 1, True),
        (b"[1.", 2, True),
        (b"[1e+", 2, True),
        (b"[01]", 2, False),
        (b"[1.]", 2, False),
        (b"[1 .", 3, False),
        (b"[1,]", 3, False),
        (b'{"a":1,}', 7, False),
        (b"{t", 1, False),
        (b"{} x", 3, False),
        (b"[}", 1, False),
        (b"\x00", 0, False),
        (b"[1]]", 3, False),
    ],
)
def test_a_fault_has_a_place_and_is_truncated_or_wrong(text: bytes, offset: int, truncated: bool) -> None:  # noqa: FBT001  (a table)
    """Truncated means that more bytes could have made it JSON; the offset is the first byte that cannot stand."""
    with pytest.raises(JsonFaultError) as caught:
        list(tokens(text))
    assert (caught.value.offset, caught.value.truncated) == (offset, truncated)


@settings(max_examples=30, deadline=None)
@given(OBJECTS)
def test_every_cut_of_a_document_is_truncated(document: Any) -> None:
    """No prefix of an object is taken for wrong JSON or for whole JSON."""
    text = json.dumps(document).encode()
    for end in range(len(text)):
        with pytest.raises(JsonFaultError) as caught:
            list(tokens(text[:end]))
        assert caught.value.truncated


def test_members_are_found_and_the_last_of_equal_keys_counts() -> None:
    """Own members only, escaped keys included, whatever their depth; what is no object has none."""
    text = b'{"b":{"a":0},"\\u0061":[1],"a": [[2]] ,"c":NaN}'
    found = members(text, {"a", "b", "c"})
    assert found is not None
    assert {key: text[start:end] for key, (start, end) in found.items()} == {
        "a": b"[[2]]",
        "b": b'{"a":0}',
        "c": b"NaN",
    }
    assert [members(text, {"a"}) for text in (b"[]", b'"{}"', b'[{"a":1}]', b"1")] == [None] * 4
    assert members(b" {}", {"a"}) == {}
