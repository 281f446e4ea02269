"""The place that is named for what Postgres refused."""

from __future__ import annotations

import pytest

from tracewatchd.model.refusal import place_of_refusal

DEEP = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.mark.parametrize(
    ("sqlstate", "document", "place"),
    [
        ("22003", b'{"a": [1, {"b/c": 1e131072}]}', "/data/a/1/b~1c"),
        ("22003", b'{"a": 1.5, "b": [[], -1e-16384]}', "/data/b/1"),
        ("22003", b'{"a": {"x": 1}, "b": 1e99999999999999999999}', "/data/b"),
        ("22003", b'{"a": ' + b"9" * 131_073 + b"}", "/data/a"),
        ("22003", b'{"a": 1e131071, "b": 1e-16383, "c": "1e999999"}', None),
        ("22003", b'{"' + b"k" * 200 + b'": 1e131072}', "/data/" + "k" * 100 + "..."),
        ("54001", DEEP, "/data/a/0/0/0/0/0/0/0/..."),
        ("54001", b'{"a": {"b": [[1]]}, "c": [1]}', "/data/a/b/0"),
        ("22P05", b'{"a": 1e131072}', None),
        (None, DEEP, None),
    ],
)
def test_the_place_of_a_refusal(sqlstate: str | None, document: bytes, place: str | None) -> None:
    """A number beyond jsonb's range or the deepest nesting is named by its pointer; anything else by nothing."""
    assert place_of_refusal(sqlstate, document, "/data") == place
