"""A JSON scanner that does not recurse: any depth costs one byte a level.

The grammar is that of Postgres's jsonb input, which is RFC 8259, with two things that run files hold and jsonb refuses:
``NaN``, ``Infinity`` and ``-Infinity`` as values (Python's writers emit them), and escapes of lone surrogates. The text
must be UTF-8 without a byte order mark; whoever calls has seen to that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Literal, TypeAlias, cast

Kind = Literal["key", "open", "close", "string", "plain", "no_json"]
"""``plain`` is a number, true, false or null; ``no_json`` is NaN or an infinity."""

Token: TypeAlias = tuple[Kind, int, int]
"""What stands there, the offset of its first byte, and that of the byte after it."""

_SPACE = rb"[ \t\n\r]*+"
_CONTENT = rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+'  # possessive: no memory for going back
_STRING = rb'"' + _CONTENT + rb'"'
STRING = re.compile(_STRING)
"""One whole string token, quotes included."""

# No optional group is possessive: Python 3.11.2 goes on in the wrong place where one does not match.
_VALUE = (
    rb"(?P<string>" + _STRING + rb")"
    rb"|(?P<plain>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)"
    rb"|(?P<no_json>NaN|-?Infinity)"
    rb"|(?P<open>[\[{])"
)


def _expecting(*alternatives: bytes) -> re.Pattern[bytes]:
    return re.compile(_SPACE + rb"(?:" + rb"|".join(alternatives) + rb")")


_A_VALUE = _expecting(_VALUE)
_ITEM_OR_END = _expecting(_VALUE, rb"(?P<close>\])")
_A_KEY = _expecting(rb"(?P<key>" + _STRING + rb")")
_KEY_OR_END = _expecting(rb"(?P<key>" + _STRING + rb")", rb"(?P<close>\})")
_COLON = _expecting(rb":")
_COMMA_OR_BRACE = _expecting(rb",", rb"(?P<close>\})")
_COMMA_OR_BRACKET = _expecting(rb",", rb"(?P<close>\])")
_THE_END = _expecting(rb"\Z")

_AFTER_OPENING = {ord("{"): _KEY_OR_END, ord("["): _ITEM_OR_END}
_AFTER_VALUE_IN = {ord("{"): _COMMA_OR_BRACE, ord("["): _COMMA_OR_BRACKET}
_AFTER_PUNCTUATION = {_COLON: _A_VALUE, _COMMA_OR_BRACE: _A_KEY, _COMMA_OR_BRACKET: _A_VALUE}

_STRINGS_STAND_IN = frozenset({_A_VALUE, _ITEM_OR_END, _A_KEY, _KEY_OR_END})
_VALUES_STAND_IN = frozenset({_A_VALUE, _ITEM_OR_END})
_WHITE = re.compile(_SPACE)
_UNCLOSED = re.compile(rb'"' + _CONTENT + rb"(?:\\(?:u[0-9a-fA-F]{0,3}+)?\Z)?")
_WORDS = (b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity")
_LONGEST_WORD = max(map(len, _WORDS))
_CUT_NUMBER = re.compile(rb"(?<=[0-9])(?:\.|[eE][+-]?)\Z")


class JsonFaultError(Exception):
    """The text is no JSON.

    ``offset`` is that of the first byte that cannot stand where it stands; ``truncated`` is true where no byte is
    wrong but the text ends inside an open structure or token, so that more bytes could make it JSON.
    """

    def __init__(self, offset: int, *, truncated: bool) -> None:
        super().__init__(offset, truncated)
        self.offset = offset
        self.truncated = truncated


def tokens(text: bytes) -> Iterator[Token]:
    """The keys, values and brackets of a JSON text in their order.

    Raises:
        JsonFaultError: the text is no JSON; what came before the fault has been yielded.
    """
    brackets = bytearray()
    expected: re.Pattern[bytes] | None = _A_VALUE
    at = 0
    while expected is not None:
        found = expected.match(text, at)
        if found is None:
            raise _fault(text, at, expected)
        at = found.end()
        kind = cast("Kind | None", found.lastgroup)
        if kind is None:
            expected = _AFTER_PUNCTUATION.get(expected)
            continue
        yield kind, found.start(kind), at
        if kind == "key":
            expected = _COLON
        elif kind == "open":
            brackets.append(text[at - 1])
            expected = _AFTER_OPENING[brackets[-1]]
        else:
            if kind == "close":
                brackets.pop()
            expected = _AFTER_VALUE_IN[brackets[-1]] if brackets else _THE_END


def _fault(text: bytes, at: int, expected: re.Pattern[bytes]) -> JsonFaultError:
    start = _end_of(_WHITE, text, at)
    if start == len(text):
        return JsonFaultError(start, truncated=True)
    if expected in _STRINGS_STAND_IN and text[start] == ord('"'):
        end = _end_of(_UNCLOSED, text, start)
        return JsonFaultError(end, truncated=end == len(text))
    if expected in _VALUES_STAND_IN:
        rest = text[start : start + _LONGEST_WORD]
        cut = start + len(rest) == len(text) and any(word.startswith(rest) for word in _WORDS)
        return JsonFaultError(start, truncated=cut)
    return JsonFaultError(start, truncated=_CUT_NUMBER.match(text, start) is not None)


def _end_of(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def members(text: bytes, wanted: Collection[str]) -> dict[str, tuple[int, int]] | None:
    """Where the values of an object's own members stand, as far as wanted; None where the text is no object.

    Of equal keys the last one counts, as in jsonb.

    Raises:
        JsonFaultError: the text is no JSON.
    """
    found: dict[str, tuple[int, int]] = {}
    depth = begin = 0
    key: str | None = None
    is_object = False
    for kind, start, end in tokens(text):
        depth -= kind == "close"
        if depth == 0:
            is_object = text[end - 1] in b"{}" and kind != "string"
        elif depth == 1 and kind == "key":
            key = string_value(text[start:end])
        elif depth == 1 and kind == "open":
            begin = start
        elif depth == 1 and key in wanted:
            found[str(key)] = (begin if kind == "close" else start, end)
        depth += kind == "open"
    return found if is_object else None


def string_value(token: bytes) -> str:
    """What a key or string says; an escape of a lone surrogate gives the lone surrogate."""
    return str(json.loads(token)) if b"\\" in token else token[1:-1].decode()
